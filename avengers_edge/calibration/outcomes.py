"""Outcomes: how every member did on every question, checked before anything is fitted to them or judged by them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import msgspec
import numpy as np
from numpy.typing import NDArray

from avengers_edge.errors import BadRequest
from avengers_edge.records import Kind

Vectors = NDArray[np.float32]
Floats = NDArray[np.float64]

# What msgspec checks where a row is read from a file.
_Text = Annotated[str, msgspec.Meta(min_length=1)]
_Share = Annotated[float, msgspec.Meta(ge=0, le=1)]

Answers = tuple[tuple[str | None, _Share], ...]
"""A member's samples of one question: the answer key each votes for (None: no answer) and its score."""


@dataclass(frozen=True, slots=True)
class OutcomeRow:
    """How every member did on one question: scores 0 to 1, and, where measured, seconds, tokens, answers and texts.

    `agreement` is the winner's share where the one answer was elected, as by letters. A score is the mean over a
    member's samples. Rows with the same `group` (a shared rule, say) know of each other, so a split never parts them;
    without one it is the prompt that must not be on both sides.
    """

    id: _Text
    dataset: _Text
    category: _Text
    scores: Annotated[Mapping[_Text, float], msgspec.Meta(min_length=1)]
    seconds: Mapping[_Text, float] | None = None
    tokens: Mapping[_Text, float] | None = None
    kind: Kind | None = None
    prompt: str | None = None
    group: str | None = None
    answers: Mapping[_Text, Answers] | None = None
    texts: Mapping[_Text, tuple[str, ...]] | None = None
    agreement: Mapping[_Text, _Share] | None = None

    def __post_init__(self) -> None:
        if wrong := [name for name, score in self.scores.items() if not 0 <= score <= 1]:
            raise BadRequest(f"outcome {self.id!r}: {wrong[0]} has score {self.scores[wrong[0]]}, use 0 to 1")
        for measured in (self.seconds or {}, self.tokens or {}):
            if wrong := [name for name, value in measured.items() if not 0 <= value < float("inf")]:
                raise BadRequest(f"outcome {self.id!r}: {wrong[0]} took {measured[wrong[0]]}, use 0 or more")


def checked_members(
    vectors: Vectors, rows: Sequence[OutcomeRow], members: Sequence[str] | None, *, partly: bool = False
) -> list[str]:
    """Return the members, or those of the first row where None, once the vectors and all rows are known to suit.

    Args:
        vectors: (N, D), one a question.
        rows: the N outcomes, in the same order.
        members: whose scores every row must have.
        partly: a member need only have answered some of the questions.

    Raises:
        BadRequest: no rows, vectors that do not belong to them or are not finite, a member or a question named twice,
            a row without a score of every member.

    """
    if not rows:
        raise BadRequest("there are no outcomes: measure them with `avengers calibrate measure`")
    if vectors.ndim != 2 or len(vectors) != len(rows):
        raise BadRequest(f"vectors of shape {vectors.shape} do not belong to {len(rows)} outcomes")
    if not np.isfinite(vectors).all():
        raise BadRequest("a vector has a number that is not finite: embed the questions again")
    names = list(rows[0].scores if members is None else members)
    if not names or len(set(names)) != len(names):
        raise BadRequest(f"members are {', '.join(names) or 'none'}: name at least one, each once")
    seen = set()
    for row in rows:
        missing = [name for name in names if name not in row.scores]
        if missing and not partly:
            raise BadRequest(f"outcome {row.id!r} has no score of {missing[0]}: measure it, or leave the member out")
        if row.id in seen:
            raise BadRequest(f"outcome {row.id!r} occurs twice: name each file once")
        seen.add(row.id)
    if partly and (unknown := [name for name in names if not any(name in row.scores for row in rows)]):
        raise BadRequest(f"no outcome has a score of {unknown[0]}: measure it, or leave the member out")
    return names


def matrix(values: Iterable[Mapping[str, float]], members: Sequence[str]) -> Floats:
    """Put N mappings side by side as (N, M), the columns in the order of `members`; NaN where one has no value."""
    return np.array([[row.get(name, np.nan) for name in members] for row in values], dtype=np.float64)


def macro_accuracy(scores: Floats, rows: Sequence[OutcomeRow]) -> Floats:
    """Average (N, M) over the rows of each data set, then over data sets, shape (M,).

    A score that is NaN was not measured; a data set of which a member answered nothing counts as answered wrongly.
    """
    macro: Floats = np.mean([known_mean(scores[places]) for places in by_dataset(rows).values()], axis=0)
    return macro


def known_mean(scores: Floats) -> Floats:
    """Average the rows of (N, M) over those that were measured; 0 where none was."""
    known = ~np.isnan(scores)
    means: Floats = np.where(known, scores, 0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    return means


def measured(
    values: Sequence[Mapping[str, float] | None], members: Sequence[str], *, partly: bool = False
) -> Floats | None:
    """Put measurements side by side as (N, M), or give None where a row or, unless `partly`, a member has none."""
    known = [row for row in values if row is not None and (partly or all(name in row for name in members))]
    return matrix(known, members) if len(known) == len(values) else None


def percent(share: float) -> float:
    """Turn a share into percent, to two places."""
    return round(100 * float(share), 2)


def by_dataset(rows: Sequence[OutcomeRow]) -> dict[str, list[int]]:
    """Return the places of each data set's rows, by the data sets' names."""
    places: dict[str, list[int]] = {}
    for place, row in enumerate(rows):
        places.setdefault(row.dataset, []).append(place)
    return dict(sorted(places.items()))
