"""Rival routers: each learns what a reader can see, none depends on chance."""

import sys

import numpy as np
import pytest
from study_rows import two_directions, unit

from avengers_edge.calibration.outcomes import matrix
from avengers_edge.errors import MissingExtra

pytest.importorskip("sklearn")
from rival_routers import LEARNERS, compared, fit_factors, fit_logistic, fit_neighbours, turned

VECTORS, ROWS = two_directions(40)
SCORES = matrix([row.scores for row in ROWS], ["a", "b"])


@pytest.mark.parametrize("name", LEARNERS)
def test_every_learner_prefers_each_member_where_it_is_right(name):
    predict = LEARNERS[name](VECTORS, SCORES)
    expected = predict(unit([1, 181]))
    assert expected.shape == (2, 2)
    assert expected.argmax(axis=1).tolist() == [0, 1]
    assert ((expected >= 0) & (expected <= 1)).all()


@pytest.mark.parametrize("name", LEARNERS)
def test_every_learner_says_the_same_again(name):
    draw = np.random.default_rng(3)
    vectors = draw.normal(size=(60, 8)).astype(np.float32)
    scores = draw.random((60, 3))
    first, again = (LEARNERS[name](vectors, scores)(vectors) for _ in range(2))
    assert np.array_equal(first, again)


@pytest.mark.parametrize("name", LEARNERS)
def test_every_learner_takes_one_member_few_questions_and_a_member_that_is_always_right(name):
    vectors = unit([0, 30, 60, 90])
    assert LEARNERS[name](vectors, np.array([[0.0], [1.0], [0.5], [1.0]]))(vectors).shape == (4, 1)
    always = LEARNERS[name](vectors, np.ones((4, 2)))(vectors)
    assert np.isfinite(always).all()


def test_neighbours_average_the_nearest_questions():
    predict = fit_neighbours(unit([0, 10, 90]), np.array([[1.0, 0], [0.5, 0], [0, 1]]), neighbours=2)
    assert predict(unit([4])).tolist() == [[0.75, 0.0]]


def test_logistic_regression_counts_half_a_point_as_half_an_answer():
    halves = fit_logistic(unit([0, 90]), np.array([[0.5], [0.5]]))(unit([0, 90]))
    assert halves == pytest.approx(np.full((2, 1), 0.5), abs=1e-3)


def test_factors_of_full_rank_are_ridge_regression_and_lower_ranks_fit_no_better():
    draw = np.random.default_rng(0)
    vectors = draw.normal(size=(200, 6)).astype(np.float32)
    scores = np.clip(0.5 + 0.05 * vectors @ draw.normal(size=(6, 4)) + 0.01 * draw.normal(size=(200, 4)), 0, 1)
    errors = [((fit_factors(vectors, scores, rank=rank)(vectors) - scores) ** 2).mean() for rank in (1, 2, 3, 4)]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.001 < errors[0]


def test_without_scikit_learn_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "threadpoolctl", None)
    with pytest.raises(MissingExtra, match=r"\[calibrate\]"):
        fit_logistic(VECTORS, SCORES)


def test_the_router_is_compared_with_each_learner_and_at_each_setting():
    lines = compared(VECTORS, ROWS, ["a", "b"], range(1))
    assert [line.split()[0] for line in lines] == ["router", *(name.split()[0] for name in LEARNERS), "best"]
    assert float(lines[0].split()[1]) == 100
    assert all("(" in line for line in turned(VECTORS, ROWS, ["a", "b"], range(1)) if line.startswith("beta"))
