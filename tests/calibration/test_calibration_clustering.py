"""Clustering, sharing out, extending and selecting, on vectors that a reader can see."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from avengers_edge.calibration.clustering import METHODS, cluster, nearest
from avengers_edge.calibration.fit import FitOptions, add_outcomes, fit_table, share_out
from avengers_edge.calibration.outcomes import OutcomeRow
from avengers_edge.calibration.pipeline import select_members
from avengers_edge.errors import BadRequest
from avengers_edge.routing.router import Router
from avengers_edge.routing.table import CentroidTable

pytest.importorskip("sklearn")


def at(*degrees: float) -> np.ndarray:
    radians = np.radians(np.array(degrees, dtype=np.float64))
    return np.stack([np.cos(radians), np.sin(radians)], axis=1).astype(np.float32)


TWO_PLACES = at(0, 1, 2, 3, 4, 90, 91, 92, 93, 94)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_finds_two_places(method: str) -> None:
    centroids = cluster(TWO_PLACES, 2, method)
    assert np.linalg.norm(centroids, axis=1) == pytest.approx([1, 1])
    labels = nearest(TWO_PLACES, centroids)
    assert len(set(labels[:5])) == len(set(labels[5:])) == 1
    assert labels[0] != labels[9]
    assert cluster(TWO_PLACES, 2, method).tobytes() == centroids.tobytes()


@pytest.mark.parametrize("method", METHODS)
def test_one_cluster_is_the_mean_direction(method: str) -> None:
    mean = TWO_PLACES.mean(axis=0)
    assert cluster(TWO_PLACES, 1, method)[0] == pytest.approx(mean / np.linalg.norm(mean), abs=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_one_question_is_its_own_cluster(method: str) -> None:
    assert cluster(at(30), 1, method) == pytest.approx(at(30))


@pytest.mark.parametrize(("clusters", "method"), [(0, "kmeans"), (11, "kmeans"), (2, "magic")])
def test_what_cannot_be_clustered_is_refused(clusters: int, method: str) -> None:
    with pytest.raises(BadRequest):
        cluster(TWO_PLACES, clusters, method)


@given(st.lists(st.integers(1, 50), min_size=1, max_size=8), st.integers(0, 200))
def test_clusters_are_shared_out_whole_and_by_size(sizes: list[int], more: int) -> None:
    total = len(sizes) + more
    shares = share_out(total, sizes)
    assert sum(shares) == min(total, sum(sizes))
    assert all(1 <= share <= size for share, size in zip(shares, sizes, strict=True))
    for left, here in zip(sizes, shares, strict=True):
        for right, there in zip(sizes, shares, strict=True):
            assert left <= right or here >= there or here == left


def rows(*scores: dict[str, float], dataset: str = "d", first: int = 0) -> list[OutcomeRow]:
    return [OutcomeRow(f"{dataset}/{first + place}", dataset, "c", each) for place, each in enumerate(scores)]


def fit(vectors: Any, outcomes: Any, **options: Any) -> CentroidTable:
    return fit_table(vectors, outcomes, FitOptions(**options), embedder="e", fitted_at="now")


def test_no_cluster_straddles_two_data_sets_unless_told() -> None:
    vectors = at(0, 10, 0, 10)
    mixed = [*rows({"a": 1}, {"a": 1}), *rows({"a": 0}, {"a": 0}, dataset="z")]
    assert sorted(fit(vectors, mixed, clusters=2).accuracy.ravel()) == [0, 1]
    assert sorted(fit(vectors, mixed, clusters=2, cluster_jointly=True).accuracy.ravel()) == [0.5, 0.5]
    assert fit(vectors, mixed, clusters=1).accuracy.ravel() == [0.5]


def test_expected_accuracies_are_what_routes_are_ranked_by() -> None:
    draw = np.random.default_rng(1)
    outcomes = rows(*({"a": float(draw.random()), "b": float(draw.random())} for _ in range(10)))
    router = Router(fit(TWO_PLACES, outcomes, clusters=3))
    questions = at(*range(0, 360, 15))
    for vector, expected in zip(questions, router.expected(questions), strict=True):
        scores = {ranked.model: ranked.score for ranked in router.route(vector).ranking}
        assert expected == pytest.approx([scores["a"], scores["b"]])


def test_a_new_member_gets_a_column_and_nothing_else_moves() -> None:
    old = fit(TWO_PLACES, rows(*[{"a": 1.0}] * 5, *[{"a": 0.0}] * 5), clusters=2)
    new = add_outcomes(old, at(2, 92, 93), rows({"b": 0.5}, {"b": 1.0}, {"b": 0.0}, first=10), fitted_at="later")
    assert new.header.members == ("a", "b")
    assert new.centroids.tobytes() == old.centroids.tobytes()
    assert new.accuracy[:, 0].tolist() == old.accuracy[:, 0].tolist()
    east = int(new.centroids[:, 0].argmax())
    assert new.accuracy[[east, 1 - east], 1].tolist() == [0.5, 0.5]
    assert new.counts[[east, 1 - east]].tolist() == [[5, 1], [5, 2]]
    assert new.header.macro == pytest.approx((0.5, 0.5))
    assert new.header.datasets == {"d": 10}  # the same questions, as far as one can tell
    assert Router(new).expected(at(2)).shape == (1, 2)


def test_a_new_member_is_not_quick_where_it_answered_nothing() -> None:
    timed = [replace(row, seconds={"a": 4.0}) for row in rows(*[{"a": 1.0}] * 10)]
    old = fit(TWO_PLACES, timed, clusters=2)
    added = [replace(row, seconds={"b": 6.0}) for row in rows({"b": 1.0}, {"b": 1.0}, first=10)]
    new = add_outcomes(old, at(2, 3), added, fitted_at="later", provenance="b's own")
    assert new.seconds is not None
    assert new.seconds.tolist() == [[4.0, 6.0], [4.0, 6.0]]
    assert new.header.provenance.endswith("b's own")


def test_what_is_added_to_a_prior_soon_outweighs_it() -> None:
    fitted = fit(TWO_PLACES, rows(*[{"a": 1.0}] * 10), clusters=2)
    prior = replace(fitted, counts=np.ones_like(fitted.counts))  # each cell is worth one answer
    new = add_outcomes(prior, at(*[1] * 6), rows(*[{"a": 0.0}] * 6, first=10), fitted_at="later")
    assert new.header.macro == pytest.approx((2 / 8,))


def test_more_outcomes_count_as_if_they_had_been_there() -> None:
    old = fit(TWO_PLACES, rows(*[{"a": 1.0}] * 5, *[{"a": 0.0}] * 5), clusters=2)
    new = add_outcomes(old, at(1, 1, 1, 1, 1), rows(*[{"a": 0.0}] * 5, first=10), fitted_at="later")
    east = int(new.centroids[:, 0].argmax())
    assert new.accuracy[east, 0] == pytest.approx(0.5)
    assert new.counts[east, 0] == 10
    assert new.header.datasets == {"d": 15}
    assert new.header.macro == pytest.approx((0.5 * 10 / 15,))


@given(st.lists(st.floats(0, 1), min_size=10, max_size=10))
def test_extending_with_half_is_fitting_on_all_at_the_same_centroids(scores: list[float]) -> None:
    every = rows(*({"a": score} for score in scores))
    halves = [0, 1, 5, 6], [2, 3, 4, 7, 8, 9]
    base = fit(TWO_PLACES[halves[0]], [every[i] for i in halves[0]], clusters=2)
    new = add_outcomes(base, TWO_PLACES[halves[1]], [every[i] for i in halves[1]], fitted_at="n")
    places = nearest(TWO_PLACES, base.centroids)
    for place in range(2):
        mean = math.fsum(scores[i] for i in range(10) if places[i] == place) / 5
        assert new.accuracy[place, 0] == pytest.approx(mean, abs=1e-6)


def test_a_team_is_those_that_are_first_the_most_often() -> None:
    outcomes = rows(*[{"a": 1, "b": 0.9, "c": 0}] * 5, *[{"a": 0, "b": 0.5, "c": 1}] * 5)
    table = fit(TWO_PLACES, outcomes, clusters=2)
    assert select_members(table, 2) == ["a", "c"]  # equal in points; a is better over all
    assert select_members(table, 3) == ["a", "c", "b"]
    for size in (0, 4):
        with pytest.raises(BadRequest, match=f"a team of {size}"):
            select_members(table, size)
