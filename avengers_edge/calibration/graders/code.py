"""Code is right when its tests hold: it is run, shut in, never read."""

from __future__ import annotations

from typing import Protocol

from avengers_edge.calibration.questions import Question
from avengers_edge.errors import BadRequest
from avengers_edge.voting.markers import split_thoughts
from avengers_edge.voting.source import code_in


class Passes(Protocol):
    """Runs a candidate between its setup and its test, and tells whether the test ran to its end."""

    def __call__(self, candidate: str, *, setup: str, test: str, entry_point: str) -> bool:
        """Run the three."""
        ...


def code_works(question: Question, text: str, truncated: bool, run: Passes) -> bool:
    """Take the program out of a text and run it; no program is wrong.

    Raises:
        BadRequest: the question has no tests.

    """
    tests = question.tests
    if tests is None:
        raise BadRequest(f"question {question.id!r} asks for code and has no tests: give it the field `tests`")
    said, thought = split_thoughts(text)
    candidate = code_in(said, truncated=truncated or thought is not None, defining=tests.entry_point)
    if candidate is None:
        return False
    return run(candidate, setup=tests.setup, test=tests.test, entry_point=tests.entry_point)
