"""The built-in question set under a seed, and the names by which the command line knows it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice

from avengers_edge.calibration.builtin.families import FAMILIES, Family
from avengers_edge.calibration.questions import Question
from avengers_edge.errors import BadRequest

BUILTIN_DATASETS: tuple[str, ...] = tuple(f"builtin_{family.name}" for family in FAMILIES)
"""The names of the data sets, in the order of the questions."""

PER_DATASET = 50
_NAME = re.compile(r"builtin(?::(.*))?", re.DOTALL)
_LARGEST_SEED = 2**32 - 1


def builtin_questions(seed: int = 0, per_dataset: int | None = None) -> tuple[Question, ...]:
    """Make the built-in questions, the same for a seed on every machine.

    Question n of a data set does not depend on how many are asked for. A data set that has fewer gives all it has: the
    general knowledge is written by hand and the same under every seed but for its order and its options'.

    Args:
        seed: 0 to 2**32 - 1; another one gives other questions.
        per_dataset: how many of each data set; None takes 50.

    Raises:
        BadRequest: a seed or a number that cannot be used.

    """
    count = PER_DATASET if per_dataset is None else per_dataset
    if type(seed) is not int or not 0 <= seed <= _LARGEST_SEED:
        raise BadRequest(f"seed is {seed!r}: use a whole number from 0 to {_LARGEST_SEED}")
    if type(count) is not int or count < 1:
        raise BadRequest(f"per_dataset is {per_dataset!r}: use a whole number of 1 or more")
    return tuple(question for family in FAMILIES for question in islice(_questions(family, seed), count))


def parse_builtin(name: str) -> int | None:
    """Read `builtin` or `builtin:SEED`, which stand for the built-in questions where a file could be named.

    Returns:
        The seed, 0 where none is named; None for every other name.

    Raises:
        BadRequest: a seed that cannot be used.

    """
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    if match[1] is None:
        return 0
    if not re.fullmatch(r"[0-9]{1,10}", match[1]) or int(match[1]) > _LARGEST_SEED:
        raise BadRequest(f"{name!r} has no usable seed: write builtin, or builtin:SEED with 0 to {_LARGEST_SEED}")
    return int(match[1])


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
