"""Splits that keep together what knows of each other, and the paired bootstrap over questions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from avengers_edge.calibration.outcomes import Floats, OutcomeRow, by_dataset
from avengers_edge.errors import BadRequest

FITTED_SHARE = 0.7
"""The paper fits on 70 % of each data set and judges by the rest."""

Places = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean with the bounds of its 95 % bootstrap interval."""

    mean: float
    low: float
    high: float


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


_LOW, _HIGH = 2.5, 97.5


@dataclass(frozen=True, slots=True, eq=False)
class Resampled:
    """Accuracies 0 to 1 of S ways of choosing, (S,), and in each of B draws of the same questions for all, (B, S)."""

    macro: Floats
    macro_draws: Floats
    micro: Floats
    micro_draws: Floats

    def interval(self, way: int, *, less: int | None = None, micro: bool = False) -> Interval:
        """Give one way's accuracy in percent, or what it has over another one in points."""
        mean, draws = (self.micro, self.micro_draws) if micro else (self.macro, self.macro_draws)
        if less is not None:
            mean, draws = mean - mean[less], draws - draws[:, [less]]
        low, high = np.percentile(draws[:, way], [_LOW, _HIGH])
        return Interval(*(round(100 * float(value), 2) for value in (mean[way], low, high)))


def resample(
    sums: Floats, times: NDArray[np.intp], units: NDArray[np.intp], rows: Sequence[OutcomeRow], *, draws: int, seed: int
) -> Resampled:
    """Draw questions with replacement within each data set, whole units at a time (Efron's bootstrap of clusters).

    Args:
        sums: (N, S) score of each way of choosing on each row, added up over the splits that judged it.
        times: (N,) how many splits that were; a row that none judged does not count.
        units: (N,) rows of the same number are drawn together, because they stand and fall together.
        rows: the N outcomes, for their data sets.
        draws: B.
        seed: of the draws.

    Raises:
        BadRequest: no row was judged.

    """
    if not times.any():
        raise BadRequest("no outcome was judged: measure more questions")
    draw = np.random.default_rng(seed)
    means, mean_draws = [], []
    total, total_times = np.zeros((draws, sums.shape[1])), np.zeros((draws, 1))
    for places in by_dataset(rows).values():
        judged = np.array([place for place in places if times[place]], dtype=np.intp)
        if not len(judged):
            continue
        _, unit = np.unique(units[judged], return_inverse=True)
        count = int(unit.max()) + 1
        unit_sums = np.zeros((count, sums.shape[1]))
        np.add.at(unit_sums, unit, sums[judged])
        unit_times = np.bincount(unit, weights=times[judged])
        drawn = draw.multinomial(count, np.full(count, 1 / count), size=draws)
        drawn_sums, drawn_times = drawn @ unit_sums, (drawn @ unit_times)[:, None]
        means.append(unit_sums.sum(axis=0) / unit_times.sum())
        mean_draws.append(drawn_sums / drawn_times)
        total += drawn_sums
        total_times += drawn_times
    return Resampled(
        macro=np.mean(means, axis=0),
        macro_draws=np.mean(mean_draws, axis=0),
        micro=sums.sum(axis=0) / times.sum(),
        micro_draws=total / total_times,
    )
