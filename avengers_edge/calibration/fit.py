"""Outcomes in, centroid table out; or more outcomes for a table that is there, whose centroids stay.

Fitting takes vectors, not texts: whoever calls has embedded the questions, so it is a pure function.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avengers_edge.calibration import clustering
from avengers_edge.calibration.clustering import nearest
from avengers_edge.calibration.outcomes import (
    Floats,
    OutcomeRow,
    Vectors,
    by_dataset,
    checked_members,
    known_mean,
    macro_accuracy,
    matrix,
    measured,
)
from avengers_edge.calibration.shrinkage import cell_pseudo_counts, drawn_means, priors
from avengers_edge.records import KINDS
from avengers_edge.records.basics import require
from avengers_edge.routing.table import FORMAT, CentroidTable, TableHeader

METHOD = "kmeans"
SEED = 42
TOP_K, BETA = 10, 40.0
_QUESTIONS_A_CLUSTER, _MOST_CLUSTERS = 80, 256
_FLOOR_PERCENTILE = 1.0
_ROUNDING = 1e-6  # so that a question at the floor is inside whatever order it is summed in


def default_clusters(questions: int, datasets: int = 1) -> int:
    """Choose K: a cluster for every 80 questions, at least one a data set, at most 256, never more than questions."""
    return min(questions, max(datasets, min(_MOST_CLUSTERS, round(questions / _QUESTIONS_A_CLUSTER)), 1))


@dataclass(frozen=True, slots=True)
class FitOptions:
    """How a table is fitted.

    Attributes:
        members: the columns; None takes the members of the first row in its order.
        clusters: K; None takes `default_clusters`.
        method: of clustering, see `clustering.METHODS`.
        across: cluster over the borders of data sets.
        seed: of the clustering.
        smoothing: pseudo-counts, by how many answers of its data set a cell is completed; None estimates it.
        top_k: how many of the nearest clusters a question is judged by.
        beta: how fast their weight falls with distance.
        partly: a member need not have answered every question; each cell is the mean over those that it answered.

    """

    members: Sequence[str] | None = None
    clusters: int | None = None
    method: str = METHOD
    across: bool = False
    seed: int = SEED
    smoothing: float | None = None
    top_k: int = TOP_K
    beta: float = BETA
    partly: bool = False

    def __post_init__(self) -> None:
        given = 0.0 if self.smoothing is None else self.smoothing
        require(0 <= given < math.inf, f"smoothing is {self.smoothing}: use 0 or more")
        require(0 <= self.seed < 2**32, f"seed is {self.seed}: use 0 to {2**32 - 1}")


_USUAL = FitOptions()


def fit_table(
    vectors: Vectors,
    rows: Sequence[OutcomeRow],
    options: FitOptions = _USUAL,
    *,
    embedder: str = "",
    fitted_at: str = "",
    provenance: str = "",
) -> CentroidTable:
    """Cluster the questions and take each member's mean score in each cluster (arXiv 2505.19797).

    Beyond the recipe, because held-out questions say so: cells are drawn towards their data sets' means (see
    `shrinkage`), and each data set is clustered by itself, K shared out by size, so
    that no cluster straddles two of them. With fewer clusters than data sets, or `across`, all questions are clustered
    at once as the paper does. The similarity floor is the first percentile of the questions' own cosine to their
    centroid: what lies farther out than all but 1 % of them is foreign. The same input gives the same table to the last
    bit on the same machine.

    Args:
        vectors: (N, D) unit rows, one a question.
        rows: the N outcomes, in the same order.
        options: how.
        embedder: fingerprint of what made the vectors.
        fitted_at: when, in ISO 8601.
        provenance: where the outcomes came from.

    Raises:
        BadRequest: no rows, a row without a score of every member, a question twice, more clusters than questions.
        MissingExtra: scikit-learn is not installed.

    """
    members = checked_members(vectors, rows, options.members, partly=options.partly)
    datasets = by_dataset(rows)
    clusters = default_clusters(len(rows), len(datasets)) if options.clusters is None else options.clusters
    clustering.check(clusters, len(rows))
    within = not options.across and clusters >= len(datasets)
    parts = list(datasets.values()) if within else [list(range(len(rows)))]
    centroids, assigned = _cluster_parts(vectors, parts, clusters, options)
    scores = matrix([row.scores for row in rows], members)
    macro = np.clip(macro_accuracy(scores, rows), 0, 1)
    sets = np.array([list(datasets).index(row.dataset) for row in rows], dtype=np.intp)
    smoothing = cell_pseudo_counts(scores, assigned, sets) if options.smoothing is None else options.smoothing
    header = TableHeader(
        format=FORMAT,
        members=tuple(members),
        embedder=embedder,
        clusters=len(centroids),
        method=options.method,
        seed=options.seed,
        smoothing=float(smoothing),
        datasets={name: len(places) for name, places in datasets.items()},
        macro=tuple(macro.tolist()),
        best_single=members[int(macro.argmax())],
        similarity_floor=_floor(vectors, centroids[assigned]),
        kinds=KINDS,
        fitted_at=fitted_at,
        provenance=provenance,
        top_k=options.top_k,
        beta=float(options.beta),
    )
    return CentroidTable(
        header,
        centroids=centroids,
        accuracy=np.clip(_cluster_means(scores, assigned), 0, 1).astype(np.float32),
        counts=_cluster_counts(scores, assigned),
        kinds=_count_kinds(rows, assigned),
        prior=np.clip(priors(drawn_means(scores, sets), assigned, sets), 0, 1).astype(np.float32),
        seconds=_measured_means([row.seconds for row in rows], members, assigned, partly=options.partly),
        tokens=_measured_means([row.tokens for row in rows], members, assigned, partly=options.partly),
    )


def share_out(total: int, sizes: Sequence[int]) -> list[int]:
    """Share out clusters in proportion to sizes: at least one each, never more than a size."""
    shares = [1] * len(sizes)
    for _ in range(min(total, sum(sizes)) - len(sizes)):
        room = [place for place, size in enumerate(sizes) if shares[place] < size]
        shares[max(room, key=lambda place: (sizes[place] / shares[place], -place))] += 1
    return shares


def _cluster_parts(
    vectors: Vectors, parts: Sequence[Sequence[int]], clusters: int, options: FitOptions
) -> tuple[Vectors, NDArray[np.intp]]:
    """Cluster each part of the rows by itself; give all centroids (K, D) and the place of each row's own."""
    assigned, found = np.empty(len(vectors), dtype=np.intp), 0
    centroids = []
    for places, share in zip(parts, share_out(clusters, [len(part) for part in parts]), strict=True):
        chosen = np.asarray(places)
        own = clustering.cluster(vectors[chosen], share, options.method, options.seed)
        assigned[chosen] = found + clustering.nearest(vectors[chosen], own)
        found += len(own)
        centroids.append(own)
    return np.concatenate(centroids), assigned


def _floor(vectors: Vectors, own: Vectors) -> float:
    similarity = (vectors.astype(np.float64) * own.astype(np.float64)).sum(axis=1)
    floor = float(np.percentile(similarity, _FLOOR_PERCENTILE, method="lower")) - _ROUNDING
    return min(max(floor, -1.0), 1.0)


def _cluster_means(values: Floats, assigned: NDArray[np.intp]) -> Floats:
    return np.array([known_mean(values[assigned == cluster]) for cluster in range(assigned.max() + 1)])


def _cluster_counts(scores: Floats, assigned: NDArray[np.intp]) -> NDArray[np.int32]:
    known = ~np.isnan(scores)
    counts = [known[assigned == cluster].sum(axis=0) for cluster in range(assigned.max() + 1)]
    return np.array(counts, dtype=np.int32)


def _measured_means(
    values: Sequence[Mapping[str, float] | None],
    members: Sequence[str],
    assigned: NDArray[np.intp],
    *,
    partly: bool,
) -> Vectors | None:
    """Average per cluster, or None where a row or a member was not measured."""
    known = measured(values, members, partly=partly)
    return None if known is None else _cluster_means(known, assigned).astype(np.float32)


def _count_kinds(rows: Sequence[OutcomeRow], assigned: NDArray[np.intp]) -> NDArray[np.int32]:
    counts = np.zeros((assigned.max() + 1, len(KINDS)), dtype=np.int32)
    for row, cluster in zip(rows, assigned, strict=True):
        if row.kind is not None:
            counts[cluster, KINDS.index(row.kind)] += 1
    return counts


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
