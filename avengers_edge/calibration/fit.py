"""Outcomes in, centroid table out; and how good a table is, against what it has to beat.

Fit and evaluation take vectors, not texts: whoever calls has embedded the questions, so both are pure functions.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avengers_edge.errors import BadRequest, MissingExtra
from avengers_edge.records import KINDS, Kind
from avengers_edge.routing.router import Router
from avengers_edge.routing.table import FORMAT, CentroidTable, TableHeader

METHOD = "kmeans"
SEED = 42
SMOOTHING = 10.0
_MOST_CLUSTERS, _QUESTIONS_A_CLUSTER = 64, 20
_FLOOR_PERCENTILE = 1.0
_ROUNDING = 1e-6  # so that a question at the floor is inside whatever order it is summed in

Vectors = NDArray[np.float32]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class OutcomeRow:
    """How every member did on one question: scores 0 to 1, and, where measured, seconds and generated tokens."""

    id: str
    dataset: str
    category: str
    scores: Mapping[str, float]
    seconds: Mapping[str, float] | None = None
    tokens: Mapping[str, float] | None = None
    kind: Kind | None = None

    def __post_init__(self) -> None:
        if wrong := [name for name, score in self.scores.items() if not 0 <= score <= 1]:
            raise BadRequest(f"outcome {self.id!r}: {wrong[0]} has score {self.scores[wrong[0]]}, use 0 to 1")
        for measured in (self.seconds or {}, self.tokens or {}):
            if wrong := [name for name, value in measured.items() if not 0 <= value < float("inf")]:
                raise BadRequest(f"outcome {self.id!r}: {wrong[0]} took {measured[wrong[0]]}, use 0 or more")


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
    members = _checked_members(vectors, rows, members)
    if clusters is None:
        clusters = default_clusters(len(rows))
    if not 1 <= clusters <= len(rows):
        raise BadRequest(f"{clusters} clusters were asked of {len(rows)} questions: use 1 to {len(rows)}")
    if not 0 <= smoothing < float("inf"):
        raise BadRequest(f"smoothing is {smoothing}: use 0 or more")
    if not 0 <= seed < 2**32:
        raise BadRequest(f"seed is {seed}: use 0 to {2**32 - 1}")
    centroids, assigned = _cluster(vectors, clusters, seed)
    scores = _matrix([row.scores for row in rows], members)
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
        datasets={name: len(places) for name, places in _by_dataset(rows).items()},
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


def evaluate_table(table: CentroidTable, vectors: Vectors, rows: Sequence[OutcomeRow]) -> dict[str, Any]:
    """Judge a table on outcomes, in percent, beside the settings it has to beat.

    `router` is the score of the first-ranked member, `random` the mean over members, `best_single` the table's own
    best single member, `dataset_oracle` the best member of each data set on these rows, `query_oracle` the best member
    of each row. `macro` averages data sets, `micro` averages rows.

    Raises:
        BadRequest: no rows, or a row without a score of every member of the table.

    """
    members = _checked_members(vectors, rows, table.header.members)
    scores = _matrix([row.scores for row in rows], members)
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
    datasets = _by_dataset(rows)
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
    members = _checked_members(vectors, rows, members)
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


def _checked_members(vectors: Vectors, rows: Sequence[OutcomeRow], members: Sequence[str] | None) -> list[str]:
    if not rows:
        raise BadRequest("there are no outcomes: run `avengers calibrate measure` first")
    if vectors.ndim != 2 or len(vectors) != len(rows):
        raise BadRequest(f"vectors of shape {vectors.shape} do not belong to {len(rows)} outcomes")
    if not np.isfinite(vectors).all():
        raise BadRequest("a vector has a number that is not finite: embed the questions again")
    names = list(rows[0].scores if members is None else members)
    if not names or len(set(names)) != len(names):
        raise BadRequest(f"members are {', '.join(names) or 'none'}: name at least one, each once")
    seen = set()
    for row in rows:
        if missing := [name for name in names if name not in row.scores]:
            raise BadRequest(f"outcome {row.id!r} has no score of {missing[0]}: measure it, or leave the member out")
        if row.id in seen:
            raise BadRequest(f"outcome {row.id!r} occurs twice: name each file once")
        seen.add(row.id)
    return names


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


def _matrix(values: Iterable[Mapping[str, float]], members: Sequence[str]) -> Floats:
    return np.array([[row[name] for name in members] for row in values], dtype=np.float64)


def _by_dataset(rows: Sequence[OutcomeRow]) -> dict[str, list[int]]:
    places: dict[str, list[int]] = {}
    for place, row in enumerate(rows):
        places.setdefault(row.dataset, []).append(place)
    return dict(sorted(places.items()))


def _macro(scores: Floats, rows: Sequence[OutcomeRow]) -> Floats:
    """Average (N, M) over the rows of each data set, then over data sets."""
    means = np.array([scores[places].mean(axis=0) for places in _by_dataset(rows).values()])
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
    return _cluster_means(_matrix(measured, members), assigned).astype(np.float32)


def _count_kinds(rows: Sequence[OutcomeRow], assigned: NDArray[np.intp]) -> NDArray[np.int32]:
    counts = np.zeros((assigned.max() + 1, len(KINDS)), dtype=np.int32)
    for row, cluster in zip(rows, assigned, strict=True):
        if row.kind is not None:
            counts[cluster, KINDS.index(row.kind)] += 1
    return counts


def _deal(rows: Sequence[OutcomeRow], folds: int, seed: int) -> NDArray[np.intp]:
    """Give each row a fold: every data set is shuffled and dealt on where the one before ended."""
    draw, dealt, fold_of = np.random.default_rng(seed), 0, np.empty(len(rows), dtype=np.intp)
    for places in _by_dataset(rows).values():
        for place in draw.permutation(places):
            fold_of[place] = dealt % folds
            dealt += 1
    return fold_of


def _percent(shares: Mapping[str, float]) -> dict[str, float]:
    return {name: round(100 * float(share), 2) for name, share in shares.items()}
