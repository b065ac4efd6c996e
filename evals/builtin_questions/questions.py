"""All built-in questions under a seed, in their order."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from avengers_edge.calibration.questions import Question
from builtin_questions.families import FAMILIES, Family

PER_DATASET = 50


def draw_questions(seed: int = 0) -> Iterator[Question]:
    """Make 50 questions of each data set, the same for a seed on every platform and every Python.

    Another seed gives other questions, except for general knowledge, which is written by hand: there it gives another
    choice of the items, another order and other places of the right options.
    """
    return (question for family in FAMILIES for question in islice(_questions(family, seed), PER_DATASET))


def _questions(family: Family, seed: int) -> Iterator[Question]:
    stream = f"{family.name}/{seed}"
    for place, draft in enumerate(family.drafts(stream)):
        yield Question(
            id=f"builtin_{stream}/{place}",
            dataset=f"builtin_{family.name}",
            category=family.category,
            question=draft.question,
            choices=draft.choices,
            answer=draft.answer,
            answer_type=draft.kind,
            split="train",
            tests=draft.tests,
        )
