"""Texts in, answer out: answer keys per kind, tally, stopping rules. Pure Python."""
