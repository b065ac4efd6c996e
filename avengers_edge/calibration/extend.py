"""More outcomes for a table that is there: its centroids stay, so that what is known of the others stays too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avengers_edge.calibration.clustering import nearest
from avengers_edge.calibration.outcomes import (
    Floats,
    OutcomeRow,
    Vectors,
    by_dataset,
    checked_members,
    macro_accuracy,
    matrix,
    measured,
)
from avengers_edge.routing.table import CentroidTable


def extend_table(
    table: CentroidTable, vectors: Vectors, rows: Sequence[OutcomeRow], *, fitted_at: str, provenance: str = ""
) -> CentroidTable:
    """Count each outcome in at the centroid nearest to its question; a member that the table lacks gets a column.

    Cells are means weighted by counts, and so is a member's overall accuracy. Seconds and tokens are kept where both
    sides have them; where a new member answered nothing, they are its mean: nothing is not quick. A data set that is
    there counts further questions only with answers of a member that is there, since a new one is commonly measured on
    the same ones.

    Args:
        table: what is there.
        vectors: (N, D) unit rows of the table's embedder.
        rows: the N outcomes, all with the same members.
        fitted_at: when, in ISO 8601.
        provenance: where the outcomes came from, said beside what the table says of its own.

    Raises:
        BadRequest: no rows, or a row without a score of every member of the first one.

    """
    names = checked_members(vectors, rows, None)
    members = [*table.header.members, *(name for name in names if name not in table.header.members)]
    assigned, clusters = nearest(vectors, table.centroids), table.header.clusters
    columns = [members.index(name) for name in names]
    added = np.zeros((clusters, len(members)))
    added[:, columns] = np.bincount(assigned, minlength=clusters)[:, None]
    old = _widened(table.counts, len(members))
    total = old + added

    def mixed(cells: Floats, values: Floats) -> Floats:
        sums = np.zeros((clusters, len(members)))
        for cluster in range(clusters):
            sums[cluster, columns] = values[assigned == cluster].sum(axis=0)
        known: Floats = np.divide(cells * old + sums, total, out=np.zeros_like(total), where=total > 0)
        return known

    def mixed_where_known(cells: Vectors | None, values: Sequence[Mapping[str, float] | None]) -> Vectors | None:
        known = measured(values, names)
        if cells is None or known is None:
            return None
        by_cluster = mixed(_widened(cells, len(members)), known)
        overall = (by_cluster * total).sum(axis=0) / np.maximum(total.sum(axis=0), 1)
        return np.where(total > 0, by_cluster, overall).astype(np.float32)

    scores = matrix([row.scores for row in rows], names)
    accuracy = np.clip(mixed(_widened(table.accuracy, len(members)), scores), 0, 1)
    macro = _macro(table, members, names, scores, rows)
    datasets = dict(table.header.datasets)
    further = any(name in table.header.members for name in names)
    for name, places in by_dataset(rows).items():
        if further or name not in datasets:
            datasets[name] = datasets.get(name, 0) + len(places)
    header = replace(
        table.header,
        members=tuple(members),
        macro=tuple(macro.tolist()),
        best_single=members[int(macro.argmax())],
        datasets=datasets,
        fitted_at=fitted_at,
        provenance="; ".join(told for told in (table.header.provenance, provenance) if told),
    )
    prior = table.prior
    if prior is not None:  # of a new member nothing is known but how it answered on the whole
        prior = np.hstack([prior, np.tile(macro[prior.shape[1] :], (clusters, 1))]).astype(np.float32)
    return replace(
        table,
        header=header,
        prior=prior,
        accuracy=accuracy.astype(np.float32),
        counts=total.astype(np.int32),
        seconds=mixed_where_known(table.seconds, [row.seconds for row in rows]),
        tokens=mixed_where_known(table.tokens, [row.tokens for row in rows]),
    )


def _widened(cells: NDArray[Any], members: int) -> Floats:
    """Add columns of zeros: (K, M) to (K, members)."""
    wide: Floats = np.zeros((len(cells), members))
    wide[:, : cells.shape[1]] = cells
    return wide


def _macro(
    table: CentroidTable, members: Sequence[str], names: Sequence[str], scores: Floats, rows: Sequence[OutcomeRow]
) -> Floats:
    fresh = macro_accuracy(scores, rows)
    macro: Floats = np.array([*table.header.macro, *([0.0] * (len(members) - len(table.header.macro)))])
    for place, name in enumerate(names):
        column = members.index(name)
        before = int(table.counts[:, column].sum()) if name in table.header.members else 0
        weight = len(rows) / (before + len(rows))
        macro[column] = (1 - weight) * macro[column] + weight * fresh[place]
    return np.clip(macro, 0, 1)
