"""Outcomes in, centroid table out.

Fitting takes vectors, not texts: whoever calls has embedded the questions, so it is a pure function.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from avengers_edge.calibration.outcomes import Floats, OutcomeRow, Vectors, by_dataset, checked_members, matrix
from avengers_edge.errors import BadRequest, MissingExtra
from avengers_edge.records import KINDS
from avengers_edge.routing.table import FORMAT, CentroidTable, TableHeader

METHOD = "kmeans"
SEED = 42
SMOOTHING = 10.0
_MOST_CLUSTERS, _QUESTIONS_A_CLUSTER = 64, 20
_FLOOR_PERCENTILE = 1.0
_ROUNDING = 1e-6  # so that a question at the floor is inside whatever order it is summed in


def default_clusters(questions: int) -> int:
    """Choose K: a cluster for every 20 questions, 2 to the paper's 64, never more than questions."""
    return min(questions, _MOST_CLUSTERS, max(2, questions // _QUESTIONS_A_CLUSTER))


def fit_table(
    vectors: Vectors,
    rows: Sequence[OutcomeRow],
    *,
    embedder: str,
    fitted_at: str,
    provenance: str = "",
    members: Sequence[str] | None = None,
    clusters: int | None = None,
    seed: int = SEED,
    smoothing: float = SMOOTHING,
) -> CentroidTable:
    """Cluster the questions and take each member's mean score in each cluster (arXiv 2505.19797).

    K-means as in the reference implementation: k-means++, Elkan, at most 1000 iterations, seed 42, the best of ten
    starts, on vectors of length 1; centroids are scaled back to length 1. The similarity floor is the first percentile
    of the questions' own cosine to their nearest centroid: what lies farther out than all but 1 % of them is foreign.
    The same input gives the same table to the last bit on the same machine.

    Args:
        vectors: (N, D) unit rows, one a question.
        rows: the N outcomes, in the same order.
        embedder: fingerprint of what made the vectors.
        fitted_at: when, in ISO 8601.
        provenance: where the outcomes came from.
        members: the columns; None takes the members of the first row in its order.
        clusters: K; None takes `default_clusters`.
        seed: of the clustering.
        smoothing: see `routing.router.Router`.

    Raises:
        BadRequest: no rows, a row without a score of every member, a question twice, more clusters than questions.
        MissingExtra: scikit-learn is not installed.

    """
    members = checked_members(vectors, rows, members)
    if clusters is None:
        clusters = default_clusters(len(rows))
    if not 1 <= clusters <= len(rows):
        raise BadRequest(f"{clusters} clusters were asked of {len(rows)} questions: use 1 to {len(rows)}")
    if not 0 <= smoothing < float("inf"):
        raise BadRequest(f"smoothing is {smoothing}: use 0 or more")
    if not 0 <= seed < 2**32:
        raise BadRequest(f"seed is {seed}: use 0 to {2**32 - 1}")
    centroids, assigned = _cluster(vectors, clusters, seed)
    scores = matrix([row.scores for row in rows], members)
    macro = _macro(scores, rows)
    sizes = np.bincount(assigned)
    header = TableHeader(
        format=FORMAT,
        members=tuple(members),
        embedder=embedder,
        clusters=len(centroids),
        method=METHOD,
        seed=seed,
        smoothing=float(smoothing),
        datasets={name: len(places) for name, places in by_dataset(rows).items()},
        macro=tuple(macro.tolist()),
        best_single=members[int(macro.argmax())],
        similarity_floor=_floor(vectors, centroids),
        kinds=KINDS,
        fitted_at=fitted_at,
        provenance=provenance,
    )
    return CentroidTable(
        header=header,
        centroids=centroids,
        accuracy=np.clip(_cluster_means(scores, assigned), 0, 1).astype(np.float32),
        counts=np.repeat(sizes[:, None], len(members), axis=1).astype(np.int32),
        kinds=_count_kinds(rows, assigned),
        seconds=_measured_means([row.seconds for row in rows], members, assigned),
        tokens=_measured_means([row.tokens for row in rows], members, assigned),
    )


def _cluster(vectors: Vectors, clusters: int, seed: int) -> tuple[Vectors, NDArray[np.intp]]:
    """Cluster, giving unit centroids (K, D), none of them empty, and the cluster of each row."""
    cluster, exceptions, threadpoolctl = _scikit_learn()
    algorithm = "elkan" if clusters > 1 else "lloyd"  # Elkan's bounds lie between clusters
    kmeans = cluster.KMeans(
        n_clusters=clusters, init="k-means++", n_init=10, max_iter=1000, algorithm=algorithm, random_state=seed
    )
    # With several threads the order of additions, and with it the last bits, would vary from run to run.
    with threadpoolctl.threadpool_limits(limits=1), warnings.catch_warnings():
        warnings.simplefilter("ignore", exceptions.ConvergenceWarning)  # fewer distinct questions than clusters
        labels = kmeans.fit_predict(vectors.astype(np.float64))
    used, assigned = np.unique(labels, return_inverse=True)
    centers = kmeans.cluster_centers_[used]
    return (centers / np.linalg.norm(centers, axis=1, keepdims=True)).astype(np.float32), assigned


def _floor(vectors: Vectors, centroids: Vectors) -> float:
    nearest = (vectors.astype(np.float64) @ centroids.astype(np.float64).T).max(axis=1)
    floor = float(np.percentile(nearest, _FLOOR_PERCENTILE)) - _ROUNDING
    return min(max(floor, -1.0), 1.0)


def _scikit_learn() -> tuple[ModuleType, ModuleType, ModuleType]:
    try:
        import threadpoolctl
        from sklearn import cluster, exceptions
    except ImportError as error:
        raise MissingExtra("scikit-learn", "calibrate", "fitting a centroid table") from error
    return cluster, exceptions, threadpoolctl


def _macro(scores: Floats, rows: Sequence[OutcomeRow]) -> Floats:
    """Average (N, M) over the rows of each data set, then over data sets."""
    means = np.array([scores[places].mean(axis=0) for places in by_dataset(rows).values()])
    macro: Floats = np.clip(means.mean(axis=0), 0, 1)
    return macro


def _cluster_means(values: Floats, assigned: NDArray[np.intp]) -> Floats:
    return np.array([values[assigned == cluster].mean(axis=0) for cluster in range(assigned.max() + 1)])


def _measured_means(
    values: Sequence[Mapping[str, float] | None], members: Sequence[str], assigned: NDArray[np.intp]
) -> Vectors | None:
    """Average per cluster, or None where a row or a member was not measured."""
    measured = [row for row in values if row is not None and all(name in row for name in members)]
    if len(measured) < len(values):
        return None
    return _cluster_means(matrix(measured, members), assigned).astype(np.float32)


def _count_kinds(rows: Sequence[OutcomeRow], assigned: NDArray[np.intp]) -> NDArray[np.int32]:
    counts = np.zeros((assigned.max() + 1, len(KINDS)), dtype=np.int32)
    for row, cluster in zip(rows, assigned, strict=True):
        if row.kind is not None:
            counts[cluster, KINDS.index(row.kind)] += 1
    return counts
