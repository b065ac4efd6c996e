"""How good a centroid table is, against what it has to beat, and which number of clusters fits best.

Judging takes vectors, not texts: whoever calls has embedded the questions, so both judges are pure functions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avengers_edge.calibration.fit import FitOptions, default_clusters, fit_table
from avengers_edge.calibration.outcomes import Floats, OutcomeRow, Vectors, by_dataset, checked_members, matrix, percent
from avengers_edge.calibration.resampling import units_of
from avengers_edge.errors import BadRequest
from avengers_edge.routing.router import Router
from avengers_edge.routing.table import CentroidTable

_FOLDS = 5


def evaluate_table(table: CentroidTable, vectors: Vectors, rows: Sequence[OutcomeRow]) -> dict[str, Any]:
    """Judge a table on outcomes, in percent, beside the settings it has to beat.

    `router` is the score of the first-ranked member, `random` the mean over members, `best_single` the table's own
    best single member, `dataset_oracle` the best member of each data set on these rows, `query_oracle` the best member
    of each row. `macro` averages data sets, `micro` averages rows.

    Raises:
        BadRequest: no rows, or a row without a score of every member of the table.

    """
    members = checked_members(vectors, rows, table.header.members)
    scores = matrix([row.scores for row in rows], members)
    router = Router(table)
    chosen = [members.index(router.route(vector).ranking[0].model) for vector in vectors]
    others = references(members.index(table.header.best_single), rows, scores)
    settings = {"router": scores[np.arange(len(rows)), chosen]}
    settings |= {name.replace(" ", "_"): values for name, values in others.items()}
    datasets = by_dataset(rows)
    means = {
        name: {setting: values[places].mean() for setting, values in settings.items()}
        for name, places in datasets.items()
    }
    return {
        "n": len(rows),
        "datasets": {name: {"n": len(places), **_percent(means[name])} for name, places in datasets.items()},
        "macro": _percent({setting: np.mean([mean[setting] for mean in means.values()]) for setting in settings}),
        "micro": _percent({setting: values.mean() for setting, values in settings.items()}),
        "best_single_member": table.header.best_single,
    }


def references(single: int, rows: Sequence[OutcomeRow], scores: Floats) -> dict[str, Floats]:
    """Give the scores (N,) of what needs no vectors, of rows with scores (N, M).

    `random` is the mean over members, `best single` the member in the column `single`. The oracles know what they are
    judged by: the best member of each data set, and of each question.
    """
    dataset_oracle = np.empty(len(scores))
    for places in by_dataset(rows).values():
        dataset_oracle[places] = scores[places, scores[places].mean(axis=0).argmax()]
    return {
        "random": scores.mean(axis=1),
        "best single": scores[:, single],
        "dataset oracle": dataset_oracle,
        "query oracle": scores.max(axis=1),
    }


@dataclass(frozen=True, slots=True)
class CrossValidated:
    """Macro accuracy in percent on questions that were not fitted, averaged over folds."""

    clusters: int
    router: float
    best_single: float


def cross_validate(
    vectors: Vectors,
    rows: Sequence[OutcomeRow],
    options: FitOptions,
    *,
    clusters: Sequence[int],
    folds: int = 5,
) -> tuple[CrossValidated, ...]:
    """Compare numbers of clusters; each data set is dealt evenly over the folds, questions that belong together whole.

    Choose K here and leave the test questions for one look at the end.

    Raises:
        BadRequest: fewer than 2 folds or questions, or more clusters than a fold leaves questions.
        MissingExtra: scikit-learn is not installed.

    """
    checked_members(vectors, rows, options.members)
    if not 2 <= folds <= len(rows):
        raise BadRequest(f"{folds} folds were asked of {len(rows)} questions: use 2 to {len(rows)}")
    fold_of = deal(rows, folds, options.seed)
    found: dict[int, list[tuple[float, float]]] = {count: [] for count in clusters}
    for fold in range(folds):
        train, test = np.flatnonzero(fold_of != fold).tolist(), np.flatnonzero(fold_of == fold).tolist()
        if not train or not test:
            raise BadRequest(f"the questions belong together, so that {folds} folds cannot be dealt: use fewer")
        for count, pairs in found.items():
            table = fit_table(vectors[train], [rows[place] for place in train], replace(options, clusters=count))
            macro = evaluate_table(table, vectors[test], [rows[place] for place in test])["macro"]
            pairs.append((macro["router"], macro["best_single"]))
    return tuple(
        CrossValidated(count, *(round(float(mean), 2) for mean in np.mean(pairs, axis=0)))
        for count, pairs in found.items()
    )


def choose_clusters(vectors: Vectors, rows: Sequence[OutcomeRow], options: FitOptions) -> int:
    """Choose K by cross-validation among half, once, twice and four times the default; of equals the smallest.

    Raises:
        BadRequest: fewer than five questions that have nothing to do with each other.
        MissingExtra: scikit-learn is not installed.

    """
    sizes = np.bincount(deal(rows, _FOLDS, options.seed), minlength=_FOLDS)
    if not sizes.all():
        raise BadRequest(
            f"{len(rows)} questions are too few to choose the number of clusters by them: name one, or measure more"
        )
    usual, most = default_clusters(len(rows), len(by_dataset(rows))), len(rows) - int(sizes.max())
    candidates = sorted({min(max(1, count), most) for count in (usual // 2, usual, 2 * usual, 4 * usual)})
    tried = cross_validate(vectors, rows, options, clusters=candidates, folds=_FOLDS)
    return max(tried, key=lambda result: (result.router, -result.clusters)).clusters


def deal(rows: Sequence[OutcomeRow], folds: int, seed: int) -> NDArray[np.intp]:
    """Give each row a fold: every data set's units are shuffled and dealt on where the one before ended."""
    units, draw, dealt = units_of(rows), np.random.default_rng(seed), 0
    fold_of_unit = np.full(int(units.max()) + 1, -1, dtype=np.intp)
    for places in by_dataset(rows).values():
        for unit in draw.permutation(np.unique(units[places])):
            if fold_of_unit[unit] < 0:
                fold_of_unit[unit] = dealt % folds
                dealt += 1
    return fold_of_unit[units]


def _percent(shares: Mapping[str, float]) -> dict[str, float]:
    return {name: percent(share) for name, share in shares.items()}
