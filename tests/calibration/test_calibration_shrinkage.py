"""How strongly cells are drawn to their data sets, on outcomes whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from avengers_edge.calibration.shrinkage import USUAL, cell_pseudo_counts, priors, shrunk_means

NAN = float("nan")


def outcomes(spread: float, seed: int = 0, cells: int = 40, each: int = 50) -> tuple[np.ndarray, np.ndarray]:
    """Scores of two members in one data set, whose chances differ by cells as far as `spread` says."""
    draw = np.random.default_rng(seed)
    assigned = np.repeat(np.arange(cells), each)
    chances = 0.5 + spread * draw.choice([-1, 1], (cells, 1)) * np.array([[1, -1]])
    return (draw.random((cells * each, 2)) < chances[assigned]).astype(float), assigned


def test_cells_that_differ_keep_what_they_say_and_cells_that_do_not_say_what_their_data_set_does() -> None:
    strengths = []
    for spread in (0.4, 0.1, 0.0):
        scores, assigned = outcomes(spread)
        strengths.append(cell_pseudo_counts(scores, assigned, np.zeros_like(assigned)))
    assert strengths[0] < 2 < strengths[1] < 100 < strengths[2]


def test_the_estimate_is_the_ratio_of_the_variances_of_contrasts() -> None:
    spread = 0.2  # contrasts are +-0.2 by cell; within a cell their variance is that of half a difference of two coins
    scores, assigned = outcomes(spread, cells=400)
    within = (2 * (0.25 - spread**2)) / 4
    assert cell_pseudo_counts(scores, assigned, np.zeros_like(assigned)) == pytest.approx(within / spread**2, rel=0.15)


def test_where_nothing_tells_the_usual_strength_is_taken() -> None:
    scores, assigned = outcomes(0.4)
    assert cell_pseudo_counts(scores, np.zeros_like(assigned), np.zeros_like(assigned)) == USUAL  # one cell
    assert cell_pseudo_counts(scores, assigned, assigned) == USUAL  # a cell a data set
    assert cell_pseudo_counts(scores[:, :1], assigned, np.zeros_like(assigned)) == USUAL  # one member has no rival


def test_a_data_set_that_a_member_was_not_asked_of_is_expected_to_be_like_the_others() -> None:
    scores = np.array([[1.0, NAN], [1.0, NAN], [0.0, 1.0], [0.0, 0.0]])
    means = shrunk_means(scores, np.array([0, 0, 1, 1]))
    assert means[0, 1] == pytest.approx(0.5)
    assert means[:, 0] == pytest.approx([(2 + USUAL * 0.5) / (2 + USUAL), USUAL * 0.5 / (2 + USUAL)])


def test_a_cluster_over_two_data_sets_is_drawn_to_the_mean_of_both() -> None:
    means = np.array([[0.2], [0.8]])
    assert priors(means, np.array([0, 0, 0, 1]), np.array([0, 0, 1, 1])) == pytest.approx(np.array([[0.4], [0.8]]))


@given(
    st.lists(
        st.tuples(
            st.sampled_from([0.0, 1.0, NAN]), st.sampled_from([0.0, 0.5, 1.0]), st.integers(0, 3), st.integers(0, 5)
        ),
        min_size=1,
        max_size=40,
    )
)
def test_whatever_was_answered_strengths_are_finite_and_means_are_shares(
    rows: list[tuple[float, float, int, int]],
) -> None:
    scores = np.array([row[:2] for row in rows])
    datasets, assigned = (np.unique([row[at] for row in rows], return_inverse=True)[1] for at in (2, 3))
    assert 1 <= cell_pseudo_counts(scores, assigned, datasets) <= 1000
    means = shrunk_means(scores, datasets)
    assert ((means >= 0) & (means <= 1)).all()
    assert ((priors(means, assigned, datasets) >= 0) & (priors(means, assigned, datasets) <= 1 + 1e-9)).all()
