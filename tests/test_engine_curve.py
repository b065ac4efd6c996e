"""Laws of the step-time curve: every decision about width is the one that brute force finds."""

from __future__ import annotations

import math

import pytest
from fake_llama import FLAT, STEEP
from hypothesis import given
from hypothesis import strategies as st

from avengers_edge.engine.curve import UNMEASURED, StepCurve
from avengers_edge.errors import BadRequest

LEAST_PREFILL = 16
SECONDS = st.floats(1e-4, 10)
CURVES = st.dictionaries(st.integers(1, 300), SECONDS, min_size=1, max_size=8).map(
    lambda points: StepCurve(tuple(sorted(points.items())))
)
RISING = st.lists(st.tuples(st.integers(1, 40), st.floats(0, 1)), min_size=1, max_size=8).map(
    lambda steps: StepCurve(
        tuple(
            (sum(rows for rows, _ in steps[: end + 1]), 0.01 + sum(more for _, more in steps[: end + 1]))
            for end in range(len(steps))
        )
    )
)
BENT = StepCurve(((2, 1.0), (4, 2.0), (8, 2.0), (16, 4.0)))
"""A tile of 8 rows: 5 to 8 rows cost the same."""


@given(CURVES)
def test_a_curve_goes_through_its_points(curve):
    for rows, seconds in curve.points:
        assert curve.seconds(rows) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("rows", "seconds"),
    [(0, 1.0), (1, 1.0), (2, 1.0), (3, 1.5), (4, 2.0), (6, 2.0), (12, 3.0), (16, 4.0), (24, 6.0), (160, 40.0)],
)
def test_between_the_points_it_is_linear_before_the_first_level_and_beyond_the_last_it_goes_on(rows, seconds):
    assert BENT.seconds(rows) == pytest.approx(seconds)


def test_a_curve_of_one_point_is_level():
    curve = StepCurve(((5, 0.25),))
    assert [curve.seconds(rows) for rows in (0, 1, 5, 500)] == [0.25] * 4


@given(CURVES, st.integers(0, 2000))
def test_a_step_never_takes_less_than_the_quickest_point(curve, rows):
    """Also where the last two points fall, as they may when the machine had other work meanwhile."""
    assert curve.seconds(rows) >= min(seconds for _, seconds in curve.points) * (1 - 1e-9)


@given(RISING, st.integers(0, 600), st.integers(0, 600))
def test_on_a_rising_curve_more_rows_never_take_less(curve, few, more):
    few, more = sorted((few, more))
    assert curve.seconds(few) <= curve.seconds(more) * (1 + 1e-9)


@given(CURVES, st.integers(1, 255))
def test_the_widest_step_has_the_most_tokens_a_second(curve, limit):
    rates = [rows / curve.seconds(rows) for rows in range(1, limit + 1)]
    assert 1 <= curve.widest(limit) <= limit
    assert rates[curve.widest(limit) - 1] == max(rates)


def test_where_width_is_free_all_run_at_once_and_where_it_pays_nothing_one_runs():
    assert FLAT.widest(60) == 60
    assert STEEP.widest(60) == 1
    assert BENT.widest(16) == 8


@given(CURVES, st.integers(0, 64), st.integers(0, 64))
def test_as_many_start_beside_as_cost_there_at_most_four_fifths_of_what_they_cost_afterwards(curve, running, waiting):
    now = curve.seconds(running) if running else 0.0

    def pays(count):
        return curve.seconds(running + count) - now <= 0.8 * curve.seconds(count)

    chosen = curve.beside(running, waiting)
    assert 0 <= chosen <= waiting
    assert chosen == 0 or pays(chosen)
    assert not any(pays(count) for count in range(chosen + 1, waiting + 1))


@given(st.integers(1, 60), st.integers(0, 60))
def test_nothing_starts_beside_on_a_steep_curve_and_everything_on_a_flat_one(running, waiting):
    assert STEEP.beside(running, waiting) == 0
    assert FLAT.beside(running, waiting) == waiting


def test_a_tile_that_is_begun_is_filled():
    """Five rows cost what eight do; nine cost a quarter of a second more, and one alone a second: still worth it."""
    assert BENT.beside(5, 3) == 3
    assert BENT.beside(4, 20) == next(
        count for count in range(20, 0, -1) if BENT.seconds(4 + count) - 2.0 <= 0.8 * BENT.seconds(count)
    )


def longest_step(curve, running):
    return curve.seconds(running) + max(curve.seconds(running), 1.0)


@given(CURVES, st.integers(1, 64), st.integers(0, 512))
def test_prompt_tokens_beside_at_most_double_the_step_or_add_a_second_or_are_the_least(curve, running, most):
    chosen = curve.prefill_beside(running, most)
    least = min(LEAST_PREFILL, most)
    assert least <= chosen <= most
    assert chosen == least or curve.seconds(running + chosen) <= longest_step(curve, running)


@given(RISING, st.integers(1, 64), st.integers(0, 512))
def test_prompt_tokens_beside_are_as_many_as_such_a_step_takes(curve, running, most):
    chosen = curve.prefill_beside(running, most)
    assert chosen == most or curve.seconds(running + chosen + 1) > longest_step(curve, running) * (1 - 1e-9)


def test_where_rows_are_quick_prompts_take_a_second_beside_few_samples():
    quick = StepCurve(((1, 0.02), (51, 1.02)))
    assert quick.prefill_beside(4, 128) == 50
    assert quick.prefill_beside(60, 128) == 60


def test_a_prompt_runs_at_full_width_beside_where_width_is_free_and_crawls_where_it_is_not():
    assert FLAT.prefill_beside(8, 128) == 128
    assert STEEP.prefill_beside(8, 128) == LEAST_PREFILL
    assert STEEP.prefill_beside(40, 128) == 40


@given(CURVES, st.integers(1, 64), st.lists(st.floats(0, 1), max_size=24))
def test_guesses_are_added_up_to_the_most_expected_tokens_a_second(curve, rows, gains):
    gains = sorted(gains, reverse=True)
    rates = [(rows + math.fsum(gains[:count])) / curve.seconds(rows + count) for count in range(len(gains) + 1)]
    chosen = curve.with_guesses(rows, gains)
    assert 0 <= chosen <= len(gains)
    assert rates[chosen] == pytest.approx(max(rates))


def test_a_free_guess_is_taken_and_one_that_costs_what_it_gives_is_not():
    assert FLAT.with_guesses(4, [0.5, 0.25, 0.01]) == 3
    assert STEEP.with_guesses(4, [0.5, 0.25]) == 0
    assert STEEP.with_guesses(4, [1.0]) == 0  # as many tokens a second, for nothing
    assert FLAT.with_guesses(4, []) == 0


@pytest.mark.parametrize(
    "points",
    [
        (),
        ((0, 1.0),),
        ((-1, 1.0), (2, 1.0)),
        ((2, 1.0), (1, 1.0)),
        ((1, 1.0), (1, 2.0)),
        ((1, 0.0),),
        ((1, -1.0),),
        ((1, math.nan),),
        ((1, math.inf),),
        ((1, 1.0), (2, 1e6)),
    ],
)
def test_points_that_are_no_curve_are_refused_with_what_to_do(points):
    with pytest.raises(BadRequest, match="measure it again"):
        StepCurve(points)


def test_an_unmeasured_machine_is_taken_to_gain_by_width():
    assert UNMEASURED.widest(64) > 8
    assert UNMEASURED.beside(3, 7) > 0
