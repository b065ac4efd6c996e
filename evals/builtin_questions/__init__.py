"""The generators of the questions that ship as `builtin`; `write_builtin_questions.py` writes the file."""
