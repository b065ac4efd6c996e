"""Outcomes in, a part to fit on and a part to judge by out; what knows of each other stays on one side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from avengers_edge.calibration.outcomes import OutcomeRow, by_dataset
from avengers_edge.errors import BadRequest

FITTED_SHARE = 0.7
"""The paper fits on 70 % of each data set and judges by the rest."""

Places = NDArray[np.intp]


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """The places of the rows to fit on and of those to judge by, in ascending order; every row is in one of them."""

    seed: int
    fitted: Places
    judged: Places


def units_of(rows: Sequence[OutcomeRow]) -> Places:
    """Give each row the number of its unit, shape (N,), counted as they first occur.

    Rows that share a prompt or a group, directly or through others, share a unit.
    """
    parent = list(range(len(rows)))

    def root(place: int) -> int:
        while parent[place] != place:
            parent[place] = parent[parent[place]]
            place = parent[place]
        return place

    first: dict[tuple[str, str], int] = {}
    for place, row in enumerate(rows):
        for name, value in (("prompt", row.prompt), ("group", row.group)):
            if value is not None:
                parent[root(place)] = root(first.setdefault((name, value), place))
    numbers: dict[int, int] = {}
    return np.array([numbers.setdefault(root(place), len(numbers)) for place in range(len(rows))], dtype=np.intp)


def split_rows(rows: Sequence[OutcomeRow], seed: int, share: float = FITTED_SHARE) -> Split:
    """Split each data set's units at random, so that as near to `share` of its rows as their sizes allow are fitted.

    A unit that spans data sets counts with that of its first row. A data set of two units or more is on both sides; one
    of a single unit is fitted only. The same rows and seed give the same split.

    Raises:
        BadRequest: `share` is not between 0 and 1, or there is nothing left to judge by.

    """
    if not 0 < share < 1:
        raise BadRequest(f"share is {share}: use a number between 0 and 1, such as {FITTED_SHARE}")
    units, draw = units_of(rows), np.random.default_rng(seed)
    _, first, sizes = np.unique(units, return_index=True, return_counts=True)
    is_fitted = np.zeros(len(sizes), dtype=bool)
    for places in by_dataset(rows).values():
        own = units[np.intersect1d(places, first)]
        is_fitted[_drawn(draw.permutation(own), sizes, share)] = True
    fitted = is_fitted[units]
    if fitted.all():
        raise BadRequest(
            f"{len(rows)} outcomes with {len(sizes)} different questions leave none to judge by: measure more questions"
        )
    return Split(seed, np.flatnonzero(fitted), np.flatnonzero(~fitted))


def _drawn(shuffled: Places, sizes: Places, share: float) -> Places:
    """Take units from the front until the next one would lead farther from the share than stopping does."""
    if len(shuffled) < 2:
        return shuffled
    taken = sizes[shuffled].cumsum()
    wanted = share * taken[-1]
    count = int(np.abs(taken - wanted).argmin()) + 1
    return shuffled[: min(count, len(shuffled) - 1)]
