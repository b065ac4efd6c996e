"""What the tests of the built-in questions share: the start of one data set under a seed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction
from itertools import islice

import hypothesis.strategies as st

from avengers_edge.calibration.builtin.drafts import Draft
from avengers_edge.calibration.builtin.families import FAMILIES

seeds = st.integers(0, 2**32 - 1)


def drafts_of(name: str, seed: int, count: int) -> list[Draft]:
    """The first questions of a data set, by its name without `builtin_`."""
    family = next(family for family in FAMILIES if family.name == name)
    return list(islice(family.drafts(f"{name}/{seed}"), count))


def numbers_in(text: str) -> list[Fraction]:
    """All numbers of a text in their order, without their signs."""
    return [Fraction(found) for found in re.findall(r"\d+(?:\.\d+)?", text)]


def chosen(draft: Draft) -> str:
    """The text of the right option."""
    assert draft.choices is not None
    assert draft.answer is not None
    return draft.choices["ABCDEFGH".index(draft.answer)]


def only(found: Sequence[str]) -> str:
    """The one element there is."""
    (value,) = found
    return value
