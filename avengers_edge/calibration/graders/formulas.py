r"""Is one formula another one? The cheap answers first, an algebra system for what is left."""

from __future__ import annotations

import re
from typing import Protocol

from avengers_edge.voting.keys import canonical_key, extract_answer
from avengers_edge.voting.markers import Marked, marked_answers, split_thoughts

_INTEGER = re.compile(r"-?[0-9]+")
_LONGEST = 2000
_SIDE_BY_SIDE = 60
"""How far apart, in characters, two boxes may stand to be one answer in two parts."""


class Equal(Protocol):
    """Tells whether two formulas in LaTeX are equal. What cannot be decided in time is not."""

    def __call__(self, gold: str, given: str) -> bool:
        """Compare the formula wanted with the formula given."""
        ...


def is_formula(gold: str, text: str, truncated: bool, equal: Equal) -> bool:
    r"""Tell whether a text's answer is this formula.

    Where it is not and the answer stands in several boxes of one line, `\boxed{1}` and `\boxed{-2}`, all of them count
    together.
    """
    given = extract_answer(text, "expression", truncated=truncated)
    if given is not None and same_formula(gold, given, equal):
        return True
    joined = _boxes_in_a_row(text)
    return joined is not None and same_formula(gold, joined, equal)


def same_formula(gold: str, given: str, equal: Equal) -> bool:
    """Compare two formulas: equal keys are right, two different whole numbers wrong, and `equal` decides the rest."""
    wanted, said = canonical_key(gold, "expression"), canonical_key(given, "expression")
    if said is None or "\0" in given:
        return False
    if wanted == said:
        return True
    both_whole = wanted is not None and _INTEGER.fullmatch(wanted) and _INTEGER.fullmatch(said)
    if (both_whole and "%" not in gold + given) or len(given) > _LONGEST:
        return False
    return equal(gold, given)


def _boxes_in_a_row(text: str) -> str | None:
    said, _ = split_thoughts(text)
    markers = marked_answers(said)
    boxes = [marked for marked in markers if marked.form == "boxed"]
    if len(boxes) < 2 or markers[0] is not boxes[0]:
        return None
    row = [boxes[0]]
    for earlier in boxes[1:]:
        if not _side_by_side(said, earlier, row[0]):
            break
        row.insert(0, earlier)
    return ", ".join(marked.body for marked in row) if len(row) > 1 else None


def _side_by_side(text: str, left: Marked, right: Marked) -> bool:
    between = text[left.start + len(left.body) : right.start]
    return len(between) <= _SIDE_BY_SIDE and "\n" not in between
