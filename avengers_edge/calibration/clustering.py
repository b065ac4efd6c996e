"""Vectors in, centroids out: the five ways of clustering that the paper compares."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avengers_edge.calibration.outcomes import Vectors
from avengers_edge.errors import BadRequest, MissingExtra

METHODS = ("kmeans", "agglomerative", "gmm", "spectral", "birch")
_STARTS, _MANY, _STARTS_OF_MANY = 10, 5000, 3  # starts of many questions end alike, and each takes seconds
_MOST_COMPARED = 4000
"""Rows that the methods which compare all pairs are given; the others go to the nearest of their centroids."""


@contextmanager
def one_thread(purpose: str = "comparing routers") -> Iterator[None]:
    """Limit the numeric libraries to one thread, without warnings of a bound on their iterations.

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


def cluster(vectors: Vectors, clusters: int, method: str = "kmeans", seed: int = 42) -> Vectors:
    """Cluster unit vectors (N, D) into unit centroids (at most `clusters`, D), each the nearest one to some row.

    A centroid is the mean of its cluster's vectors, scaled to length 1; a question belongs to the one at the highest
    cosine, whatever the method that found it. The same input gives the same centroids on the same machine.

    Raises:
        BadRequest: an unknown method, or more clusters than rows.
        MissingExtra: scikit-learn is not installed.

    """
    if method not in METHODS:
        raise BadRequest(f"method is {method!r}: use one of {', '.join(METHODS)}")
    check_clusters(clusters, len(vectors))
    rows, most = vectors.astype(np.float64), max(_MOST_COMPARED, clusters)
    if method != "kmeans" and len(rows) > most:
        rows = rows[np.sort(np.random.default_rng(seed).choice(len(rows), most, replace=False))]
    with one_thread("fitting a centroid table"):
        one = np.zeros(len(rows), dtype=np.intp)  # which not every method can find
        labels = _labels(rows, clusters, method, seed) if clusters > 1 else one
    means = np.array([rows[labels == label].mean(axis=0) for label in np.unique(labels)])
    lengths = np.linalg.norm(means, axis=1, keepdims=True)
    centroids = (means / np.where(lengths > 0, lengths, 1)).astype(np.float32)
    return np.ascontiguousarray(centroids[np.unique(nearest(vectors, centroids))])


def check_clusters(clusters: int, questions: int) -> None:
    """Refuse a number of clusters that so many questions cannot have.

    Raises:
        BadRequest: it is below 1 or above the number of questions.

    """
    if not 1 <= clusters <= questions:
        raise BadRequest(f"{clusters} clusters were asked of {questions} questions: use 1 to {questions}")


def nearest(vectors: Vectors, centroids: Vectors) -> NDArray[np.intp]:
    """Find for each row (N, D) the place of the centroid (K, D) at the highest cosine, shape (N,)."""
    places: NDArray[np.intp] = (vectors.astype(np.float64) @ centroids.astype(np.float64).T).argmax(axis=1)
    return places


def _labels(rows: NDArray[np.float64], clusters: int, method: str, seed: int) -> NDArray[Any]:
    """Label each row; k-means as in the reference implementation: k-means++, Elkan, at most 1000 iterations."""
    from sklearn import cluster as models
    from sklearn.mixture import GaussianMixture

    model: Any
    if method == "kmeans":
        starts = _STARTS if len(rows) <= _MANY else _STARTS_OF_MANY
        model = models.KMeans(clusters, n_init=starts, max_iter=1000, algorithm="elkan", random_state=seed)
    elif method == "agglomerative":
        model = models.AgglomerativeClustering(clusters, linkage="ward")
    elif method == "gmm":
        model = GaussianMixture(clusters, covariance_type="spherical", reg_covar=1e-4, random_state=seed)
    elif method == "spectral":
        rows = np.exp(6.0 * (rows @ rows.T - 1))  # the router's own weights at beta 6
        model = models.SpectralClustering(clusters, affinity="precomputed", random_state=seed)
    else:
        model = models.Birch(threshold=0.5, n_clusters=clusters)
    labels: NDArray[Any] = model.fit_predict(rows)
    return labels
