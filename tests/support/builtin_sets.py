"""What the tests of the built-in questions share: the questions that ship, and others by the same generators."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction
from functools import cache

from builtin_questions.questions import draw_questions

from avengers_edge.calibration.questions import Question, builtin_questions

OTHER_SEED = 2_024


@cache
def the_set(seed: int) -> tuple[Question, ...]:
    """All questions of a seed: what ships for 0, newly drawn ones for others."""
    return tuple(builtin_questions() if seed == 0 else draw_questions(seed))


def questions_of(name: str) -> list[Question]:
    """The questions of a data set, by its name without `builtin_`: 50 that ship, and 50 of another seed."""
    questions = (*the_set(0), *the_set(OTHER_SEED))
    return [question for question in questions if question.dataset == f"builtin_{name}"]


def numbers_in(text: str) -> list[Fraction]:
    """All numbers of a text in their order, without their signs."""
    return [Fraction(found) for found in re.findall(r"\d+(?:\.\d+)?", text)]


def chosen(question: Question) -> str:
    """The text of the right option."""
    assert question.choices is not None
    assert question.answer is not None
    return question.choices["ABCDEFGH".index(question.answer)]


def only(found: Sequence[str]) -> str:
    """The one element there is."""
    (value,) = found
    return value
