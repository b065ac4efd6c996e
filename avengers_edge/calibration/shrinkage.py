"""Shrinkage of cells towards their data sets, and of data sets towards a member's mean, estimated from the outcomes.

Its strength is the ratio of two variances, within groups and between them, estimated by the method of moments for
one-way random effects (empirical Bayes: Efron and Morris 1975; the estimate is that of DerSimonian and Laird 1986).
Routing needs to know which member is better, so that the variances are those of contrasts: a member's score less the
mean of all members on the same question.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from avengers_edge.calibration.outcomes import Floats, known_mean

USUAL = 20.0
"""Pseudo-counts where there is nothing to estimate from."""

_LEAST, _MOST = 1.0, 1000.0
_LEAST_GROUPS = 3  # data sets that it takes to estimate how they differ

Places = NDArray[np.intp]


def cell_pseudo_counts(scores: Floats, assigned: Places, datasets: Places) -> float:
    """Estimate how many answers at the rate of its data set are added to a cell.

    Args:
        scores: (N, M), NaN where a member was not asked.
        assigned: (N,) the cluster of each question.
        datasets: (N,) the data set of each question.

    """
    contrasts = _contrasts(scores)
    parts = [
        part
        for dataset in np.unique(datasets)
        for part in _variances(contrasts[datasets == dataset], assigned[datasets == dataset])
    ]
    return _pseudo_counts(parts)


def shrunk_means(scores: Floats, datasets: Places) -> Floats:
    """Average each member's scores by data set, (S, M), shrunk towards its mean over the data sets it was asked of."""
    means, counts = _means(scores, datasets)
    asked = counts > 0
    overall = means.sum(axis=0) / np.maximum(asked.sum(axis=0), 1)
    few = len(means) < _LEAST_GROUPS
    added = USUAL if few else _pseudo_counts(list(_variances(_contrasts(scores), datasets)))
    shrunk: Floats = (means * counts + added * overall) / (counts + added)
    return shrunk


def priors(means: Floats, assigned: Places, datasets: Places) -> Floats:
    """Mix the data sets' means (S, M) by each cluster's make-up into its cells' priors, (K, M)."""
    shares = np.zeros((int(assigned.max()) + 1, len(means)))
    np.add.at(shares, (assigned, datasets), 1.0)
    mixed: Floats = shares / shares.sum(axis=1, keepdims=True) @ means
    return mixed


def _contrasts(scores: Floats) -> Floats:
    return scores - known_mean(scores.T)[:, None]


def _means(values: Floats, groups: Places) -> tuple[Floats, Floats]:
    """Average the rows of each group over what is known, (G, M), and count it, (G, M)."""
    known = ~np.isnan(values)
    sums, counts = (np.zeros((int(groups.max()) + 1, values.shape[1])) for _ in range(2))
    np.add.at(sums, groups, np.where(known, values, 0))
    np.add.at(counts, groups, known)
    return sums / np.maximum(counts, 1), counts


def _variances(contrasts: Floats, groups: Places) -> Iterator[tuple[float, float]]:
    """Yield each member's excess of variance between groups over chance, and what it would be at a ratio of 1."""
    _, places = np.unique(groups, return_inverse=True)
    means, counts = _means(contrasts, places)
    known = ~np.isnan(contrasts)
    for member in range(contrasts.shape[1]):
        sizes = counts[counts[:, member] > 0, member]
        total, between = sizes.sum(), len(sizes) - 1
        if between < 1 or total <= len(sizes):
            continue
        rows = known[:, member]
        values, own = contrasts[rows, member], means[places[rows], member]
        within = ((values - own) ** 2).sum() / (total - len(sizes))
        spread = ((own - values.mean()) ** 2).sum()
        yield spread - between * within, (total - (sizes**2).sum() / total) * within


def _pseudo_counts(parts: list[tuple[float, float]]) -> float:
    """Turn variances into the number of answers that weigh as much as the prior."""
    excess, unit = (sum(column) for column in zip(*parts, strict=True)) if parts else (0.0, 0.0)
    if unit <= 0:
        return USUAL
    return float(np.clip(unit / excess if excess > 0 else _MOST, _LEAST, _MOST))
