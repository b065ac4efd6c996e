"""How good a centroid table is, against what it has to beat, and which number of clusters fits best.

Judging takes vectors, not texts: whoever calls has embedded the questions, so both judges are pure functions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avengers_edge.calibration.fit import SEED, SMOOTHING, fit_table
from avengers_edge.calibration.outcomes import OutcomeRow, Vectors, by_dataset, checked_members, matrix
from avengers_edge.errors import BadRequest
from avengers_edge.routing.router import Router
from avengers_edge.routing.table import CentroidTable


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
    everywhere = np.arange(len(rows))
    settings = {
        "router": scores[everywhere, chosen],
        "random": scores.mean(axis=1),
        "best_single": scores[:, members.index(table.header.best_single)],
        "dataset_oracle": np.empty(len(rows)),
        "query_oracle": scores.max(axis=1),
    }
    datasets = by_dataset(rows)
    for places in datasets.values():
        settings["dataset_oracle"][places] = scores[places, scores[places].mean(axis=0).argmax()]
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


@dataclass(frozen=True, slots=True)
class CrossValidated:
    """Macro accuracy in percent on questions that were not fitted, averaged over folds."""

    clusters: int
    smoothing: float
    router: float
    best_single: float


def cross_validate(
    vectors: Vectors,
    rows: Sequence[OutcomeRow],
    *,
    clusters: Sequence[int],
    smoothings: Sequence[float] = (SMOOTHING,),
    members: Sequence[str] | None = None,
    folds: int = 5,
    seed: int = SEED,
) -> tuple[CrossValidated, ...]:
    """Compare numbers of clusters and smoothings; each data set is dealt evenly over the folds.

    Choose K and smoothing here and leave the test questions for one look at the end.

    Raises:
        BadRequest: fewer than 2 folds or questions, or more clusters than a fold leaves questions.
        MissingExtra: scikit-learn is not installed.

    """
    members = checked_members(vectors, rows, members)
    if not 2 <= folds <= len(rows):
        raise BadRequest(f"{folds} folds were asked of {len(rows)} questions: use 2 to {len(rows)}")
    fold_of = _deal(rows, folds, seed)
    found: dict[tuple[int, float], list[tuple[float, float]]] = {}
    for fold in range(folds):
        train, test = np.flatnonzero(fold_of != fold).tolist(), np.flatnonzero(fold_of == fold).tolist()
        for count in clusters:
            table = fit_table(
                vectors[train],
                [rows[place] for place in train],
                embedder="",
                fitted_at="",
                members=members,
                clusters=count,
                seed=seed,
            )
            for smoothing in smoothings:
                judged = replace(table, header=replace(table.header, smoothing=float(smoothing)))
                macro = evaluate_table(judged, vectors[test], [rows[place] for place in test])["macro"]
                found.setdefault((count, smoothing), []).append((macro["router"], macro["best_single"]))
    return tuple(
        CrossValidated(count, smoothing, *(round(float(mean), 2) for mean in np.mean(pairs, axis=0)))
        for (count, smoothing), pairs in found.items()
    )


def _deal(rows: Sequence[OutcomeRow], folds: int, seed: int) -> NDArray[np.intp]:
    """Give each row a fold: every data set is shuffled and dealt on where the one before ended."""
    draw, dealt, fold_of = np.random.default_rng(seed), 0, np.empty(len(rows), dtype=np.intp)
    for places in by_dataset(rows).values():
        for place in draw.permutation(places):
            fold_of[place] = dealt % folds
            dealt += 1
    return fold_of


def _percent(shares: Mapping[str, float]) -> dict[str, float]:
    return {name: round(100 * float(share), 2) for name, share in shares.items()}
