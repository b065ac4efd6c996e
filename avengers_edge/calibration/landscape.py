"""What the questions look like from above: a map of them in the plane, and what lies in each cluster."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from avengers_edge.calibration.clustering import cluster, nearest
from avengers_edge.calibration.findings import ClusterShape, QuestionMap
from avengers_edge.calibration.one_thread import one_thread
from avengers_edge.calibration.outcomes import Floats, OutcomeRow, Vectors

MOST_DRAWN = 2000
"""Questions on the map; more would cover each other."""

_MOST_CLUSTERS, _QUESTIONS_A_CLUSTER = 16, 20
_DATASETS_NAMED = 3
_EXAMPLE_CHARACTERS = 200
_DIMENSIONS_BEFORE = 50
_PERPLEXITY, _TSNE_FROM = 30.0, 100


def describe_clusters(
    vectors: Vectors, rows: Sequence[OutcomeRow], scores: Floats, examples: int
) -> tuple[tuple[ClusterShape, ...], NDArray[np.intp]]:
    """Cluster all questions for the eye, 16 clusters at most; give them, largest first, and each question's number.

    The numbers (N,) count from 1. An example is a prompt near the centroid, cut to 200 characters.
    """
    count = min(_MOST_CLUSTERS, max(1, len(rows) // _QUESTIONS_A_CLUSTER))
    centroids = cluster(vectors, count)
    assigned = nearest(vectors, centroids)
    order = np.argsort(-np.bincount(assigned, minlength=len(centroids)), kind="stable")
    number_of = np.empty(len(order), dtype=np.intp)
    number_of[order] = np.arange(1, len(order) + 1)
    shapes = []
    for number, place in enumerate(order.tolist(), 1):
        inside = np.flatnonzero(assigned == place)
        closest = inside[np.argsort(-(vectors[inside] @ centroids[place]), kind="stable")]
        named = Counter(rows[at].dataset for at in inside.tolist()).most_common(_DATASETS_NAMED)
        prompts = dict.fromkeys(rows[at].prompt or "" for at in closest.tolist())
        shapes.append(
            ClusterShape(
                number=number,
                questions=len(inside),
                datasets=tuple((name, round(100 * times / len(inside), 1)) for name, times in named),
                accuracy=tuple(round(100 * float(mean), 1) for mean in scores[inside].mean(axis=0)),
                examples=tuple(_shortened(prompt) for prompt in list(prompts)[:examples] if prompt),
            )
        )
    return tuple(shapes), number_of[assigned]


def draw_map(vectors: Vectors, clusters: NDArray[np.intp], picks: Sequence[str], *, quick: bool) -> QuestionMap:
    """Place the questions in the plane, 2,000 at most: by t-SNE on 50 principal components, or by PCA if `quick`.

    t-SNE (van der Maaten and Hinton 2008) keeps neighbours together; distances far apart mean nothing in it. Fewer than
    100 questions are placed by PCA.
    """
    shown = np.arange(len(vectors))
    if len(shown) > MOST_DRAWN:
        shown = np.sort(np.random.default_rng(0).choice(len(shown), MOST_DRAWN, replace=False))
    rows = vectors[shown].astype(np.float64)
    method = "PCA" if quick or len(rows) < _TSNE_FROM else "t-SNE"
    placed = _principal(rows, 2 if method == "PCA" else _DIMENSIONS_BEFORE)
    if method == "t-SNE":
        with one_thread():
            from sklearn.manifold import TSNE

            placed = TSNE(
                init=placed[:, :2] / placed[:, 0].std() * 1e-4, perplexity=_PERPLEXITY, random_state=0
            ).fit_transform(placed)
    points = np.zeros((len(rows), 2))
    points[:, : placed.shape[1]] = placed[:, :2]
    return QuestionMap(
        method=method,
        points=tuple((round(float(x), 3), round(float(y), 3)) for x, y in points),
        clusters=tuple(clusters[shown].tolist()),
        picks=tuple(picks[place] for place in shown.tolist()),
    )


def _principal(rows: Floats, dimensions: int) -> Floats:
    """Project on the leading principal components; each one's largest loading is made positive, so that none flips."""
    centred = rows - rows.mean(axis=0)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    axes = axes[:dimensions]
    signs = np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(axis=1)])
    projected: Floats = centred @ (axes * np.where(signs == 0, 1, signs)[:, None]).T
    return projected


def _shortened(prompt: str) -> str:
    text = " ".join(prompt.split())
    return text if len(text) <= _EXAMPLE_CHARACTERS else text[: _EXAMPLE_CHARACTERS - 1] + "…"
