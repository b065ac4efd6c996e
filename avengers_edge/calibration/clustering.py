"""Vectors in, centroids out: the five ways of clustering that the paper compares."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avengers_edge.calibration.outcomes import Vectors
from avengers_edge.errors import BadRequest, MissingExtra


@contextmanager
def one_thread(purpose: str = "comparing routers") -> Iterator[None]:
    """Hold the numeric libraries to one thread, and keep a bound on their work from being called a fault.

    Raises:
        MissingExtra: scikit-learn, which brings what can do this, is not installed; `purpose` says what needs it.

    """
    try:
        import threadpoolctl
        from sklearn import exceptions
    except ImportError as error:
        raise MissingExtra("scikit-learn", "calibrate", purpose) from error
    with threadpoolctl.threadpool_limits(limits=1), warnings.catch_warnings():
        warnings.simplefilter("ignore", exceptions.ConvergenceWarning)  # fewer distinct questions than clusters, say
        yield


_STARTS, _MANY, _STARTS_OF_MANY = 10, 5000, 3
_MOST_COMPARED = 4000
"""Rows that the methods which compare all pairs are given; the others go to the nearest of their centroids."""


def cluster(vectors: Vectors, clusters: int, method: str = "kmeans", seed: int = 42) -> Vectors:
    """Cluster unit vectors (N, D) and give unit centroids (at most `clusters`, D), none of them far from every row.

    A centroid is the mean of its cluster's vectors, scaled to length 1; a question belongs to the one at the highest
    cosine, whatever the method that found it. The same input gives the same centroids on the same machine.

    Raises:
        BadRequest: an unknown method, or more clusters than rows.
        MissingExtra: scikit-learn is not installed.

    """
    if method not in METHODS:
        raise BadRequest(f"method is {method!r}: use one of {', '.join(METHODS)}")
    check(clusters, len(vectors))
    rows = vectors.astype(np.float64)
    with one_thread("fitting a centroid table"):
        chosen = rows if method == "kmeans" else _some(rows, max(_MOST_COMPARED, clusters), seed)
        one = np.zeros(len(chosen), dtype=np.intp)  # which not every method can find
        labels = METHODS[method](chosen, clusters, seed) if clusters > 1 else one
    means = np.array([chosen[labels == label].mean(axis=0) for label in np.unique(labels)])
    lengths = np.linalg.norm(means, axis=1, keepdims=True)
    centroids = (means / np.where(lengths > 0, lengths, 1)).astype(np.float32)
    used = np.unique(nearest(vectors, centroids))
    return np.ascontiguousarray(centroids[used])


def check(clusters: int, questions: int) -> None:
    """Refuse a number of clusters that so many questions cannot have.

    Raises:
        BadRequest: it is below 1 or above the number of questions.

    """
    if not 1 <= clusters <= questions:
        raise BadRequest(f"{clusters} clusters were asked of {questions} questions: use 1 to {questions}")


def nearest(vectors: Vectors, centroids: Vectors) -> NDArray[np.intp]:
    """Give each row (N, D) the place of the centroid (K, D) at the highest cosine, shape (N,)."""
    places: NDArray[np.intp] = (vectors.astype(np.float64) @ centroids.astype(np.float64).T).argmax(axis=1)
    return places


def _some(rows: NDArray[np.float64], most: int, seed: int) -> NDArray[np.float64]:
    if len(rows) <= most:
        return rows
    return rows[np.sort(np.random.default_rng(seed).choice(len(rows), most, replace=False))]


def _kmeans(rows: NDArray[np.float64], clusters: int, seed: int) -> NDArray[Any]:
    """K-means as in the reference implementation: k-means++, Elkan, at most 1000 iterations, the best of ten starts.

    Three starts where there are many questions: they end alike there, and each takes seconds.
    """
    from sklearn.cluster import KMeans

    starts = _STARTS if len(rows) <= _MANY else _STARTS_OF_MANY
    model = KMeans(clusters, init="k-means++", n_init=starts, max_iter=1000, algorithm="elkan", random_state=seed)
    labels: NDArray[Any] = model.fit_predict(rows)
    return labels


def _agglomerative(rows: NDArray[np.float64], clusters: int, seed: int) -> NDArray[Any]:  # noqa: ARG001
    from sklearn.cluster import AgglomerativeClustering

    labels: NDArray[Any] = AgglomerativeClustering(clusters, linkage="ward").fit_predict(rows)
    return labels


def _mixture(rows: NDArray[np.float64], clusters: int, seed: int) -> NDArray[Any]:
    from sklearn.mixture import GaussianMixture

    model = GaussianMixture(clusters, covariance_type="spherical", reg_covar=1e-4, random_state=seed)
    labels: NDArray[Any] = model.fit_predict(rows)
    return labels


def _spectral(rows: NDArray[np.float64], clusters: int, seed: int) -> NDArray[Any]:
    from sklearn.cluster import SpectralClustering

    affinity = np.exp(6.0 * (rows @ rows.T - 1))  # the router's own weights at beta 6
    model = SpectralClustering(clusters, affinity="precomputed", assign_labels="kmeans", random_state=seed)
    labels: NDArray[Any] = model.fit_predict(affinity)
    return labels


def _birch(rows: NDArray[np.float64], clusters: int, seed: int) -> NDArray[Any]:  # noqa: ARG001
    from sklearn.cluster import Birch

    labels: NDArray[Any] = Birch(threshold=0.5, n_clusters=clusters).fit_predict(rows)
    return labels


METHODS: Mapping[str, Callable[[NDArray[np.float64], int, int], NDArray[Any]]] = MappingProxyType(
    {
        "kmeans": _kmeans,
        "agglomerative": _agglomerative,
        "gmm": _mixture,
        "spectral": _spectral,
        "birch": _birch,
    }
)
