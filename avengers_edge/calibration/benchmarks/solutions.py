"""Questions to be answered by a number, a formula or code: competition mathematics, FinQA, and what tests decide.

LiveMathBench, MathBench and StudentEval are written from their data set cards and from how OpenCompass and the BigCode
evaluation harness load them: the files themselves are not on GitHub.
"""

from __future__ import annotations

import math
import re
from itertools import accumulate

from avengers_edge.calibration.benchmarks.rows import (
    UNPUBLISHED,
    Asked,
    LeftOut,
    Row,
    multiple_choice,
    number_or_expression,
    place_of_letter,
    shown,
)
from avengers_edge.calibration.questions import CodeTests

_DECORATION = re.compile(r"\\(?:circ|degree|left|right|text\{[^}]*\})|[$^{}\\,\s]|°")
_BOXED = re.compile(r"\\f?boxed\s*\{")


def aime(row: Row) -> Asked | LeftOut:
    """AIME: an answer is a whole number from 0 to 999; copies write it as a number, as 033, or with LaTeX around it."""
    said = row.word("answer", "Answer")
    digits = _DECORATION.sub("", said)
    if not re.fullmatch(r"[0-9]{1,3}", digits):
        return LeftOut(f"an answer like {shown(said)} is no whole number from 0 to 999")
    problem = row.text("problem", "question", "Problem", "Question").strip()
    return Asked(problem, "number", str(int(digits)), meta=row.some("id", "ID", "year", "Year", "url"))


def math500(row: Row) -> Asked | LeftOut:
    """MATH: the LaTeX answer, or what the solution boxes last where a copy has no field of its own for it."""
    answer = row.word("answer") if row.has("answer") else _last_boxed(row.text("solution"))
    if not answer:
        return LeftOut("the solution boxes no answer")
    return Asked(row.text("problem"), "expression", answer, meta=row.some("unique_id", "subject", "type", "level"))


def _last_boxed(solution: str) -> str | None:
    for opened in reversed(list(_BOXED.finditer(solution))):
        body = solution[opened.end() :]
        depths = accumulate(({"{": 1, "}": -1}.get(sign, 0) for sign in body), initial=1)
        closed = next((at for at, depth in enumerate(depths) if depth == 0), None)
        if closed is not None:
            return body[: closed - 1].strip()
    return None


def livemathbench(row: Row) -> Asked:
    """LiveMathBench: problems of competitions, to be answered by a number or an expression."""
    kind, answer = number_or_expression(row, row.word("answer"))
    return Asked(row.text("question").strip(), kind, answer, meta=row.some("task", "question_type"))


def mathbench(row: Row) -> Asked:
    """MathBench: four options and a letter, or (arithmetic, `cloze`) a number."""
    meta = row.some("task", "topic", "topic_level")
    if row.has("options"):
        right = place_of_letter(row, "answer")
        return multiple_choice(row, row.text("question"), row.texts("options"), right, meta=meta)
    kind, answer = number_or_expression(row, row.word("answer"))
    return Asked(row.text("question").strip(), kind, answer, meta=meta)


# --- FinQA ---

_YES_NO = ("yes", "no")
_DECIMALS = 5


def finqa(row: Row) -> Asked | LeftOut:
    """FinQA: passages around a table, the table, the question; the answer is what the gold program gives."""
    asked = row.inner("qa")
    if not asked.has("exe_ans"):
        return UNPUBLISHED
    question = (
        f"{_page(row)}\n\nBased on the passages and the table, answer the question: {asked.text('question').strip()}"
    )
    meta = row.some("id") | asked.some("program")
    answer = asked.word("exe_ans")
    if answer.lower() in _YES_NO:
        return Asked(f"{question}\nAnswer yes or no.", "label", answer.lower(), _YES_NO, meta=meta)
    try:
        value = float(answer)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        asked.refuse(f"exe_ans is {shown(answer)}, neither a number nor yes or no")
    return Asked(question, "number", _decimal(value), meta=meta)


def _page(row: Row) -> str:
    passages = [line.strip() for name in ("pre_text", "post_text") if name in row.values for line in row.texts(name)]
    lines = [line for line in passages if line.strip(". ")]  # a full stop alone is how the set ends a paragraph
    table = [[str(cell).strip() for cell in cells] for cells in row.value(tuple[list[object], ...], "table")]
    if not table:
        row.refuse("its table is empty")
    text = "Passages from a financial report:\n" + "\n".join(lines) + "\n\n" if lines else ""
    return f"{text}Table:\n" + "\n".join(f"| {' | '.join(cells)} |" for cells in table)


def _decimal(value: float) -> str:
    """Write a number with 5 decimals at most, and with as many as it has where 5 would leave nothing."""
    rounded = round(value, _DECIMALS)
    if not rounded and value:
        return repr(value)
    text = f"{rounded:.{_DECIMALS}f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


# --- code ---

_DEFINED = re.compile(r"^def\s+(\w+)", re.MULTILINE)
_STUDENT_SUBSETS = ("is_first_success", "is_last_success", "is_first_failure", "is_last_failure")
_COMPLETE = (
    "Complete the following Python function. "
    "Return the whole function, including the signature and any imports it needs."
)


def mbpp(row: Row) -> Asked | LeftOut:
    """MBPP: the description with its asserts, as in the paper; the full file and the sanitized one.

    The task's number decides its split: up to 10 prompt, up to 510 test, up to 600 validation, then train.
    """
    task = row.value(int, "task_id")
    split = "prompt" if task <= 10 else "test" if task <= 510 else "validation" if task <= 600 else "train"
    if split != row.split:
        return LeftOut(f"belongs to the split {split}")
    tests = "\n".join(line.strip() for line in row.texts("test_list"))
    reference = row.text("code").replace("\r\n", "\n")
    called = [name for name in _DEFINED.findall(reference) if re.search(rf"\b{name}\s*\(", tests)]
    if not called:
        row.refuse("its tests call no function of its code")
    setup = "\n".join(row.texts("test_imports")) if row.has("test_imports") else ""
    if row.has("test_setup_code"):  # it builds what the asserts use out of classes that the candidate defines
        tests = row.text("test_setup_code").replace("\r\n", "\n").strip() + "\n" + tests
    asked = row.text("text", "prompt").strip()
    question = f"{asked}\n\nWrite Python code that passes these tests:\n\n```python\n{tests}\n```"
    code = CodeTests(entry_point=called[0], setup=setup, test=f"{tests}\n", reference=reference)
    return Asked(question, "code", None, tests=code, meta={"task_id": task})


def humaneval(row: Row) -> Asked:
    """HumanEval: a signature with its docstring; `setup` is what stands before the function asked for."""
    prompt, entry = row.text("prompt"), row.text("entry_point")
    test = f"{row.text('test').rstrip()}\n\ncheck({entry})\n"
    code = CodeTests(entry, _before(row, prompt, entry), test, prompt + row.text("canonical_solution"))
    return Asked(_complete(prompt), "code", None, tests=code, meta={"task_id": row.text("task_id")})


def studenteval(row: Row) -> Asked | LeftOut:
    """StudentEval: prompts by students; the four subsets that it is scored on."""
    told = [name for name in _STUDENT_SUBSETS if row.has(name)]
    subset = next((name for name in told if row.value(bool, name)), None)
    if told and subset is None:
        return LeftOut("is in none of the four subsets: neither a first nor a last attempt")
    prompt, entry = row.text("prompt"), row.text("entrypoint")
    code = CodeTests(entry, _before(row, prompt, entry), f"{row.text('assertions').strip()}\n")
    meta = row.some("problem", "username") | ({"subset": subset.removeprefix("is_")} if subset else {})
    return Asked(_complete(prompt), "code", None, tests=code, meta=meta)


def _complete(prompt: str) -> str:
    return f"{_COMPLETE}\n\n```python\n{prompt.rstrip()}\n```"


def _before(row: Row, prompt: str, entry: str) -> str:
    """Cut off the prompt where the function asked for begins."""
    begin = re.search(rf"^def\s+{re.escape(entry)}\s*\(", prompt, re.MULTILINE)
    return prompt[: begin.start()] if begin else row.refuse(f"its prompt does not define {entry}")
