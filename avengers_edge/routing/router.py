"""A question's vector in, members best first out."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from avengers_edge.errors import BadRequest, NotFound
from avengers_edge.records import Ranked, Route
from avengers_edge.records.basics import require
from avengers_edge.routing.table import CentroidTable

Vector = NDArray[np.float64]


class Router:
    """Ranks a table's members for a question by their expected accuracy on questions like it.

    The nearest `top_k` clusters at cosine distance d weigh softmax(-beta d), and a member's score is the weighted mean
    of its accuracies there. Nearest clusters and weights are those of the Avengers (arXiv 2505.19797), which then adds
    weight / (rank + 0.1); the accuracy itself routes as well and is a number that a user can read. Each accuracy is
    first shrunk towards its prior, that of its data sets, by `header.smoothing` pseudo-counts, so that a cluster of
    five questions does not overrule all the others.

    Args:
        table: what was measured.
        top_k: how many clusters to average instead of the table's `top_k`; a table with fewer uses all.
        beta: how fast a cluster's weight falls with distance, instead of the table's `beta`; 0 weighs all alike.

    Raises:
        BadRequest: `top_k` below 1 or `beta` below 0.

    """

    def __init__(self, table: CentroidTable, *, top_k: int | None = None, beta: float | None = None) -> None:
        header = table.header
        top_k, beta = header.top_k if top_k is None else top_k, header.beta if beta is None else beta
        require(top_k >= 1, f"top_k is {top_k}: use 1 or more")
        require(0 <= beta < math.inf, f"beta is {beta}: use 0 or more")
        self.table = table
        self._top_k, self._beta = min(top_k, header.clusters), beta
        self._centroids = table.centroids.astype(np.float64)
        self._overall = np.array(header.macro)
        counts = table.counts.astype(np.float64)
        prior = self._overall if table.prior is None else table.prior.astype(np.float64)
        answers = counts + header.smoothing
        known = table.accuracy * counts + header.smoothing * prior
        self._accuracy = np.where(answers > 0, known / np.where(answers > 0, answers, 1), prior)
        self._variance = binomial_variance(self._accuracy, answers)
        self._overall_variance = binomial_variance(self._overall, counts.sum(axis=0))
        self._overall_samples: int | None = None
        if table.samples is not None:  # what most questions are worth
            budgets, places = np.unique(table.samples, return_inverse=True)
            self._overall_samples = int(budgets[np.bincount(places, weights=counts.sum(axis=1)).argmax()])
        self._seconds: Vector | None = None
        self._overall_seconds: Vector | None = None
        if table.seconds is not None:
            self._seconds = table.seconds.astype(np.float64)
            self._overall_seconds = (self._seconds * counts).sum(axis=0) / np.maximum(counts.sum(axis=0), 1)

    def route(
        self,
        vector: ArrayLike,
        *,
        members: Sequence[str] | None = None,
        prefer: float = 1.0,
        resident: Collection[str] = (),
    ) -> Route:
        """Rank members for the question with this unit vector, shape (D,).

        A question whose nearest centroid is below the out-of-distribution threshold is ranked by overall accuracy,
        voted on as most questions are, and the route's `fallback` says so. Equal scores go to the faster member, then
        to table order.

        Loading a model takes longer than many an answer, so where the best member's model is not loaded and a loaded
        one's score is within the margin of error of the best, that one comes first and `fallback` says so. The margin
        is one standard error of the difference. An accuracy p out of N answers, pseudo-counts included, has the
        binomial variance p (1 - p) / N; with cluster weights w the variance of a score is the sum of w^2 times those,
        and that of a difference is the sum of both scores'. Members were asked the same questions and tend to fail at
        the same ones, so the true margin is narrower.

        Args:
            vector: the question's embedding.
            members: rank only these; None ranks all.
            prefer: the quality weight w, as in Avengers-Pro (arXiv 2508.12631). At 1 a score is the expected
                accuracy, 0 to 1. Below 1 it is w * p + (1 - w) * (1 - q): p and q are expected accuracy and seconds,
                scaled to 0 to 1 over the ranked members. A table without seconds ranks by accuracy at any weight.
            resident: models that are loaded; a member's model is its name up to the colon.

        Raises:
            BadRequest: a vector of the wrong shape, no members, or a weight outside 0 to 1.
            NotFound: a member that the table does not have.

        """
        require(0 <= prefer <= 1, f"prefer is {prefer}: use 0 (fast) to 1 (accurate)")
        columns = self._columns(members)
        question, dimension = np.asarray(vector, dtype=np.float64), self._centroids.shape[1]
        if question.shape != (dimension,) or not np.isfinite(question).all():
            raise BadRequest(f"a vector of shape {question.shape} cannot be routed: use {dimension} finite numbers")
        nearest, near, weights = self._near(self._centroids @ question)
        best, floor = float(near[0]), self.table.header.similarity_floor
        if best < floor:
            accuracy, variance, seconds = self._overall, self._overall_variance, self._overall_seconds
            fallback = f"nearest cluster at cosine {best:.2f}, below {floor:.2f}: ranked by overall accuracy"
            samples = self._overall_samples
        else:
            accuracy = weighted(self._accuracy[nearest], weights)
            variance = weighted(self._variance[nearest], weights**2)
            seconds = None if self._seconds is None else weighted(self._seconds[nearest], weights)
            fallback = None
            samples = None if self.table.samples is None else int(self.table.samples[nearest[0]])
        scores, variance = accuracy[columns], variance[columns]
        cost = np.zeros(len(columns)) if seconds is None else seconds[columns]
        if prefer < 1 and seconds is not None:
            # Seconds are taken as exact, and so is the scale.
            variance = variance * (prefer / max(np.ptp(scores), 1e-9)) ** 2
            scores = prefer * scaled(scores) + (1 - prefer) * (1 - scaled(cost))
        scores = np.clip(scores, 0, 1)
        order = sorted(range(len(columns)), key=lambda place: (-scores[place], cost[place], place))
        names = [self.table.header.members[column] for column in columns]
        ranking = tuple(Ranked(names[place], float(scores[place])) for place in order)
        ranking, reason = favour_resident(ranking, dict(zip(names, variance, strict=True)), resident)
        expected = dict(zip(names, accuracy[columns].tolist(), strict=True))
        return Route(
            cluster=int(nearest[0]),
            similarity=best,
            ranking=ranking,
            margin=ranking[0].score - ranking[1].score if len(ranking) > 1 else 0.0,
            fallback=fallback,
            samples=samples,
            expected=tuple(expected[ranked.model] for ranked in ranking),
            confidence=self.table.header.confidence,
        ).noting(reason)

    def best_of(self, members: Collection[str]) -> str:
        """Name the one of these members that is best over all; a team may have fewer of them than its table."""
        best = max(self._columns(list(members)), key=self._overall.__getitem__)
        return self.table.header.members[best]

    def expected(self, vectors: NDArray[np.float32]) -> Vector:
        """Return the members' expected accuracies, (N, D) to (N, M): what `route` ranks by at `prefer` 1."""
        similarity = vectors.astype(np.float64) @ self._centroids.T
        nearest, near, weights = self._near(similarity)
        accuracy = weighted(self._accuracy[nearest], weights)
        accuracy[near[:, 0] < self.table.header.similarity_floor] = self._overall
        return accuracy

    def _near(self, similarity: Vector) -> tuple[NDArray[np.intp], Vector, Vector]:
        """Find the nearest clusters by similarity (..., K): their places, similarities and weights, each (..., k)."""
        nearest = np.argsort(-similarity, axis=-1, kind="stable")[..., : self._top_k]
        near = np.take_along_axis(similarity, nearest, axis=-1)
        return nearest, near, softmax(-self._beta * (1 - near))

    def _columns(self, members: Sequence[str] | None) -> list[int]:
        names = self.table.header.members
        if members is None:
            return list(range(len(names)))
        if not members:
            raise BadRequest("no member is left to route to: name at least one")
        if missing := [name for name in members if name not in names]:
            raise NotFound(
                f"the table has no member {missing[0]!r}, it has {', '.join(names)}: "
                f"ask it alone with `avengers ask --model {missing[0]}`"
            )
        return sorted({names.index(name) for name in members})


def softmax(values: Vector) -> Vector:
    """Turn values (..., k) into weights above 0 that add up to 1."""
    grown: Vector = np.exp(values - values.max(axis=-1, keepdims=True))
    shares: Vector = grown / grown.sum(axis=-1, keepdims=True)
    return shares


def weighted(rows: Vector, weights: Vector) -> Vector:
    """Average rows (..., k, M) by weights (..., k). No matrix product: equal columns stay equal to the last bit."""
    mean: Vector = (rows * weights[..., None]).sum(axis=-2)
    return mean


def binomial_variance(rates: Vector, counts: Vector) -> Vector:
    """Return the variance of rates seen over so many answers each; one that was never seen counts as seen once."""
    variance: Vector = rates * (1 - rates) / np.maximum(counts, 1)
    return variance


def favour_resident(
    ranking: tuple[Ranked, ...], variance: Mapping[str, float], resident: Collection[str]
) -> tuple[tuple[Ranked, ...], str | None]:
    """Put the best loaded member first where it may well be as good as the best; the reason, or None if it stays.

    `variance` is that of each member's score. Scores stay what they are.
    """
    best = ranking[0]
    if not resident or _model(best.model) in resident:
        return ranking, None
    for place, ranked in enumerate(ranking):
        error = math.sqrt(variance[best.model] + variance[ranked.model])
        if _model(ranked.model) in resident and best.score - ranked.score <= error:
            moved = (ranked, *ranking[:place], *ranking[place + 1 :])
            return moved, f"{ranked.model} is loaded and within the margin of error of {best.model}"
    return ranking, None


def _model(member: str) -> str:
    return member.partition(":")[0]


def scaled(values: Vector) -> Vector:
    """Scale to 0 for the least and 1 for the greatest; all 0 where they are equal."""
    width = np.ptp(values)
    return (values - values.min()) / width if width > 0 else np.zeros_like(values)


def pick_only(member: str) -> Route:
    """Make the route of a member that the user named: nothing was compared, its score is 1."""
    return Route(cluster=None, similarity=None, ranking=(Ranked(member, 1.0),), margin=0.0)


def unfitted_route(team: str, members: Sequence[str]) -> Route:
    """Make the route of a team without a table: its members in their own order, all with score 0."""
    return Route(
        cluster=None,
        similarity=None,
        ranking=tuple(Ranked(member, 0.0) for member in members),
        margin=0.0,
        fallback=f"team {team} has no table: members keep their order, `avengers ask --model NAME` picks one",
    )
