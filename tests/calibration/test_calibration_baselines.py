"""Baselines: each learns what a reader can see, none depends on chance, and the oracles know the answers."""

import sys

import numpy as np
import pytest
from study_rows import two_directions, unit

from avengers_edge.calibration.baselines import (
    LEARNERS,
    chosen_scores,
    fit_factors,
    fit_logistic,
    fit_neighbours,
    without_vectors,
)
from avengers_edge.calibration.outcomes import OutcomeRow, macro_accuracy, matrix
from avengers_edge.errors import BadRequest, MissingExtra

pytest.importorskip("sklearn")

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


def test_what_is_expected_to_do_best_is_asked_and_the_first_of_equals():
    scores = np.array([[0.1, 0.9], [0.3, 0.7]])
    assert chosen_scores(np.array([[0.2, 0.4], [0.5, 0.5]]), scores).tolist() == [0.9, 0.3]
    with pytest.raises(BadRequest, match="do not belong"):
        chosen_scores(np.zeros((2, 3)), scores)


def test_macro_accuracy_gives_each_data_set_the_same_weight():
    rows = [OutcomeRow(str(place), name, "c", {"a": 1}) for place, name in enumerate("dddde")]
    assert macro_accuracy(np.array([[1.0], [1], [1], [1], [0]]), rows) == pytest.approx([0.5])


def test_what_needs_no_vectors_by_hand():
    judged_rows = [OutcomeRow(str(place), name, "c", {}) for place, name in enumerate("ddee")]
    judged = np.array([[1.0, 0], [0, 1], [0, 1], [0, 1]])
    found = without_vectors(0, judged_rows, judged)
    assert {name: scores.tolist() for name, scores in found.items()} == {
        "random": [0.5, 0.5, 0.5, 0.5],
        "best single": [1, 0, 0, 0],
        "dataset oracle": [1, 0, 1, 1],
        "query oracle": [1, 1, 1, 1],
    }


def test_without_scikit_learn_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "threadpoolctl", None)
    with pytest.raises(MissingExtra, match=r"\[calibrate\]"):
        fit_logistic(VECTORS, SCORES)
