"""How good a centroid table is, against what it has to beat, and which number of clusters fits best.

Evaluation takes vectors, not texts, so that it is a pure function.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
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
    means = {name: [values[places].mean() for places in datasets.values()] for name, values in settings.items()}
    return {
        "n": len(rows),
        "datasets": {
            name: {"n": len(places), **{setting: percent(means[setting][at]) for setting in settings}}
            for at, (name, places) in enumerate(datasets.items())
        },
        "macro": {setting: percent(np.mean(each)) for setting, each in means.items()},
        "micro": {setting: percent(values.mean()) for setting, values in settings.items()},
        "best_single_member": table.header.best_single,
    }


def references(single: int, rows: Sequence[OutcomeRow], scores: Floats) -> dict[str, Floats]:
    """Compute the scores (N,) of what needs no vectors, from the rows' scores (N, M).

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


def choose_clusters(vectors: Vectors, rows: Sequence[OutcomeRow], options: FitOptions) -> int:
    """Choose K by cross-validation among half, once, twice and four times the default; of equals the smallest.

    Raises:
        BadRequest: fewer than five questions that have nothing to do with each other.
        MissingExtra: scikit-learn is not installed.

    """
    fold_of = deal(rows, _FOLDS, options.seed)
    sizes = np.bincount(fold_of, minlength=_FOLDS)
    if not sizes.all():
        raise BadRequest(
            f"{len(rows)} questions are too few to choose the number of clusters by them: name one, or measure more"
        )
    usual, most = default_clusters(len(rows), len(by_dataset(rows))), len(rows) - int(sizes.max())
    candidates = sorted({min(max(1, count), most) for count in (usual // 2, usual, 2 * usual, 4 * usual)})
    return max(candidates, key=lambda count: cross_validate(vectors, rows, replace(options, clusters=count), fold_of))


def cross_validate(
    vectors: Vectors, rows: Sequence[OutcomeRow], options: FitOptions, fold_of: NDArray[np.intp]
) -> float:
    """Average over folds the router's macro accuracy, in percent, on questions that were not fitted."""
    found = []
    for fold in np.unique(fold_of):
        train, test = np.flatnonzero(fold_of != fold), np.flatnonzero(fold_of == fold)
        table = fit_table(vectors[train], [rows[place] for place in train.tolist()], options)
        found.append(evaluate_table(table, vectors[test], [rows[place] for place in test.tolist()])["macro"]["router"])
    return round(float(np.mean(found)), 2)


def deal(rows: Sequence[OutcomeRow], folds: int, seed: int) -> NDArray[np.intp]:
    """Deal each data set's units over folds, shuffled, going on where the one before ended: the fold of each row."""
    units, draw, dealt = units_of(rows), np.random.default_rng(seed), 0
    fold_of_unit = np.full(int(units.max()) + 1, -1, dtype=np.intp)
    for places in by_dataset(rows).values():
        for unit in draw.permutation(np.unique(units[places])):
            if fold_of_unit[unit] < 0:
                fold_of_unit[unit] = dealt % folds
                dealt += 1
    return fold_of_unit[units]
