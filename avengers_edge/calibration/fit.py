"""Outcomes in, centroid table out; or more outcomes for a table whose centroids stay.

Fitting takes vectors, not texts, so that it is a pure function.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avengers_edge.calibration.clustering import check_clusters, cluster, nearest
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
from avengers_edge.calibration.shrinkage import cell_pseudo_counts, priors, shrunk_means
from avengers_edge.records import KINDS
from avengers_edge.records.basics import require
from avengers_edge.routing.table import FORMAT, CentroidTable, TableHeader

SEED = 42
TOP_K, BETA = 10, 40.0
_QUESTIONS_A_CLUSTER, _MOST_CLUSTERS = 80, 256
_THRESHOLD_PERCENTILE = 1.0
_ROUNDING = 1e-6  # so that a question at the threshold is inside whatever order it is summed in


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
        cluster_jointly: cluster all data sets together.
        seed: of the clustering.
        pseudo_counts: of the shrinkage of each cell; None estimates them.
        top_k: how many of the nearest clusters a question is judged by.
        beta: how fast their weight falls with distance.
        partly: a member need not have answered every question; each cell is the mean over those that it answered.

    """

    members: Sequence[str] | None = None
    clusters: int | None = None
    method: str = "kmeans"
    cluster_jointly: bool = False
    seed: int = SEED
    pseudo_counts: float | None = None
    top_k: int = TOP_K
    beta: float = BETA
    partly: bool = False

    def __post_init__(self) -> None:
        given = 0.0 if self.pseudo_counts is None else self.pseudo_counts
        require(0 <= given < math.inf, f"smoothing is {given}: use 0 or more")
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

    Beyond the recipe, because held-out questions say so: cells are shrunk towards their data sets' means (see
    `shrinkage`), and each data set is clustered by itself, K shared out by size. With fewer clusters than data sets, or
    `cluster_jointly`, all questions are clustered at once as the paper does. The out-of-distribution threshold is the
    first percentile of the questions' own cosine to their centroid. The same input gives the same table to the last bit
    on the same machine.

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
    check_clusters(clusters, len(rows))
    jointly = options.cluster_jointly or clusters < len(datasets)
    parts = [list(range(len(rows)))] if jointly else list(datasets.values())
    centroids, assigned = _cluster_parts(vectors, parts, clusters, options)
    scores = matrix([row.scores for row in rows], members)
    macro = np.clip(macro_accuracy(scores, rows), 0, 1)
    sets = np.array([list(datasets).index(row.dataset) for row in rows], dtype=np.intp)
    estimated = options.pseudo_counts is None
    header = TableHeader(
        format=FORMAT,
        members=tuple(members),
        embedder=embedder,
        clusters=len(centroids),
        method=options.method,
        seed=options.seed,
        smoothing=float(cell_pseudo_counts(scores, assigned, sets) if estimated else options.pseudo_counts or 0),
        datasets={name: len(places) for name, places in datasets.items()},
        macro=tuple(macro.tolist()),
        best_single=members[int(macro.argmax())],
        similarity_floor=_threshold(vectors, centroids[assigned]),
        kinds=KINDS,
        fitted_at=fitted_at,
        provenance=provenance,
        top_k=options.top_k,
        beta=float(options.beta),
    )
    seconds, tokens = (
        None if known is None else _cluster_means(known, assigned).astype(np.float32)
        for known in (
            measured([row.seconds for row in rows], members, partly=options.partly),
            measured([row.tokens for row in rows], members, partly=options.partly),
        )
    )
    return CentroidTable(
        header,
        centroids=centroids,
        accuracy=np.clip(_cluster_means(scores, assigned), 0, 1).astype(np.float32),
        counts=_cluster_sums(~np.isnan(scores), assigned),
        kinds=_cluster_sums(np.array([[row.kind == kind for kind in KINDS] for row in rows]), assigned),
        prior=np.clip(priors(shrunk_means(scores, sets), assigned, sets), 0, 1).astype(np.float32),
        seconds=seconds,
        tokens=tokens,
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
    """Cluster each part of the rows by itself: all centroids (K, D), and the number of each row's own."""
    assigned, found = np.empty(len(vectors), dtype=np.intp), 0
    centroids = []
    for places, share in zip(parts, share_out(clusters, [len(part) for part in parts]), strict=True):
        own = cluster(vectors[places], share, options.method, options.seed)
        assigned[places] = found + nearest(vectors[places], own)
        found += len(own)
        centroids.append(own)
    return np.concatenate(centroids), assigned


def _threshold(vectors: Vectors, own: Vectors) -> float:
    similarity = (vectors.astype(np.float64) * own.astype(np.float64)).sum(axis=1)
    return float(np.clip(np.percentile(similarity, _THRESHOLD_PERCENTILE, method="lower") - _ROUNDING, -1, 1))


def _cluster_means(values: Floats, assigned: NDArray[np.intp]) -> Floats:
    return np.array([known_mean(values[assigned == cluster]) for cluster in range(assigned.max() + 1)])


def _cluster_sums(values: NDArray[Any], assigned: NDArray[np.intp]) -> NDArray[np.int32]:
    sums = np.zeros((assigned.max() + 1, values.shape[1]), dtype=np.int32)
    np.add.at(sums, assigned, values)
    return sums


def add_outcomes(
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
    names, header = checked_members(vectors, rows, None), table.header
    members = list(dict.fromkeys([*header.members, *names]))
    columns = [members.index(name) for name in names]
    assigned = nearest(vectors, table.centroids)
    before = _widened(table.counts, len(members))
    total = before.copy()
    total[:, columns] += np.bincount(assigned, minlength=header.clusters)[:, None]

    def mixed(cells: Vectors, values: Floats) -> Floats:
        sums = np.zeros_like(total)
        np.add.at(sums, (assigned[:, None], np.array(columns)), values)
        known: Floats = np.divide(
            _widened(cells, len(members)) * before + sums, total, out=np.zeros_like(total), where=total > 0
        )
        return known

    def mixed_where_known(cells: Vectors | None, values: Sequence[Mapping[str, float] | None]) -> Vectors | None:
        known = measured(values, names)
        if cells is None or known is None:
            return None
        by_cluster = mixed(cells, known)
        overall = (by_cluster * total).sum(axis=0) / np.maximum(total.sum(axis=0), 1)
        return np.where(total > 0, by_cluster, overall).astype(np.float32)

    scores = matrix([row.scores for row in rows], names)
    macro = np.array([*header.macro, *[0.0] * (len(members) - len(header.macro))])
    weight = len(rows) / (before[:, columns].sum(axis=0) + len(rows))
    macro[columns] = (1 - weight) * macro[columns] + weight * macro_accuracy(scores, rows)
    macro = np.clip(macro, 0, 1)
    datasets = dict(header.datasets)
    further = not set(names).isdisjoint(header.members)
    for name, places in by_dataset(rows).items():
        if further or name not in datasets:
            datasets[name] = datasets.get(name, 0) + len(places)
    prior = table.prior
    if prior is not None:  # of a new member nothing is known but its overall accuracy
        prior = np.hstack([prior, np.tile(macro[prior.shape[1] :], (header.clusters, 1))]).astype(np.float32)
    return replace(
        table,
        header=replace(
            header,
            members=tuple(members),
            macro=tuple(macro.tolist()),
            best_single=members[int(macro.argmax())],
            datasets=datasets,
            fitted_at=fitted_at,
            provenance="; ".join(filter(None, (header.provenance, provenance))),
        ),
        prior=prior,
        accuracy=np.clip(mixed(table.accuracy, scores), 0, 1).astype(np.float32),
        counts=total.astype(np.int32),
        seconds=mixed_where_known(table.seconds, [row.seconds for row in rows]),
        tokens=mixed_where_known(table.tokens, [row.tokens for row in rows]),
    )


def _widened(cells: NDArray[Any], members: int) -> Floats:
    """Add columns of zeros: (K, M) to (K, members)."""
    return np.pad(cells.astype(np.float64), ((0, 0), (0, members - cells.shape[1])))
