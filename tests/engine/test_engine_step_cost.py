"""Laws of step costs: every decision by the curve is the one that brute force finds, and it is measured as it is."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
from fake_llama import FLAT, STEEP, FakeContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from avengers_edge.engine import llama_context
from avengers_edge.engine.llama_context import measure_steps
from avengers_edge.engine.step_cost import UNMEASURED, StepCurve
from avengers_edge.errors import BadRequest, EngineDied

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
def test_drafts_are_added_up_to_the_most_expected_tokens_a_second(curve, rows, acceptance):
    acceptance = sorted(acceptance, reverse=True)
    rates = [
        (rows + math.fsum(acceptance[:count])) / curve.seconds(rows + count) for count in range(len(acceptance) + 1)
    ]
    chosen = curve.with_drafts(rows, acceptance)
    assert 0 <= chosen <= len(acceptance)
    assert rates[chosen] == pytest.approx(max(rates))


def test_a_free_draft_token_is_taken_and_one_that_costs_what_it_gives_is_not():
    assert FLAT.with_drafts(4, [0.5, 0.25, 0.01]) == 3
    assert STEEP.with_drafts(4, [0.5, 0.25]) == 0
    assert STEEP.with_drafts(4, [1.0]) == 0  # as many tokens a second, for nothing
    assert FLAT.with_drafts(4, []) == 0


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


# --- measuring it

NARROW = 16
PROMPT_ROWS = 256


class TimedContext(FakeContext):
    """A cache whose steps take what `cost` says, by its own clock."""

    batch_size = 512

    def __init__(self, cost, *, cells=4096, sequences=64, outputs=64):
        super().__init__(cells=cells, sequences=sequences)
        self.cost, self.outputs, self.now = cost, outputs, 0.0

    def decode(self, tokens, positions, sequences, wanted):
        logits = super().decode(tokens, positions, sequences, wanted)
        spent = self.cost(len(tokens))
        self.now += spent
        self.seconds += spent
        return logits

    def clock(self):
        return self.now


@pytest.fixture
def timed(monkeypatch):
    def run(context, budget, **options):
        monkeypatch.setattr(
            llama_context, "time", SimpleNamespace(monotonic=context.clock, perf_counter=context.clock, sleep=None)
        )
        return measure_steps(context, budget=budget, **options)

    return run


def tiled(rows):
    """Tiles of 8 rows, a millisecond each."""
    return 0.005 + 0.001 * -(-rows // 8)


def test_the_curve_is_what_the_steps_cost(timed):
    curve = timed(TimedContext(tiled), 1000)
    assert [seconds for _, seconds in curve.points] == [
        pytest.approx(tiled(rows), abs=1e-6) for rows, _ in curve.points
    ]
    assert {1, 8, 10, 16, 32, PROMPT_ROWS} <= {rows for rows, _ in curve.points}


def test_seconds_are_whole_microseconds_so_that_what_is_kept_is_what_was_planned_by(timed):
    curve = timed(TimedContext(lambda rows: 0.01 + rows * 1.23456789e-5), 10)
    assert all(seconds == round(seconds, 6) for _, seconds in curve.points)


def test_a_step_too_quick_for_the_clock_still_took_some_time(timed):
    assert all(seconds > 0 for _, seconds in timed(TimedContext(lambda rows: 0.0), 0).points)


def test_without_a_budget_the_narrow_steps_and_a_prompt_are_measured_all_the_same(timed):
    rows = [rows for rows, _ in timed(TimedContext(tiled), 0).points]
    assert max(each for each in rows if each != PROMPT_ROWS) == NARROW
    assert rows[0] == 1
    assert rows[-1] == PROMPT_ROWS


def test_a_budget_is_kept_to_but_for_the_least(timed):
    """On a machine so slow that the least is beyond it, nothing is measured twice."""
    free, paid = TimedContext(lambda rows: 1.0), TimedContext(lambda rows: 1.0)
    timed(free, 0)
    timed(paid, 5)
    assert len(paid.steps) == len(free.steps)


def test_the_quickest_time_counts(timed):
    """Whatever else the machine does only adds: here all first steps take ten times as long."""
    seen = set()

    def disturbed(rows):
        first = rows not in seen
        seen.add(rows)
        return tiled(rows) * (10 if first else 1)

    curve = timed(TimedContext(disturbed), 1000)
    assert [seconds for _, seconds in curve.points] == [
        pytest.approx(tiled(rows), abs=1e-6) for rows, _ in curve.points
    ]


def test_the_first_step_of_all_is_not_counted(timed):
    """It finds cold memory: here it takes a minute."""
    steps = iter(range(10**6))
    curve = timed(TimedContext(lambda rows: 60.0 if next(steps) < 2 else tiled(rows)), 0)
    assert curve.seconds(1) == pytest.approx(tiled(1), abs=1e-6)


def test_the_cache_is_empty_afterwards(timed):
    context = TimedContext(tiled)
    timed(context, 10)
    assert context.held == {}


def test_what_was_in_the_cache_is_in_nobodys_way(timed):
    context = TimedContext(tiled, cells=512)
    context.decode([1] * 500, list(range(500)), [3] * 500, [False] * 500)
    timed(context, 0)
    assert context.held == {}


def test_the_cache_is_empty_after_a_failure_too(timed):
    context, steps = TimedContext(tiled), iter(range(10**6))

    def failing(rows):
        if next(steps) == 5:
            raise EngineDied("llama.cpp failed")
        return tiled(rows)

    context.cost = failing
    with pytest.raises(EngineDied, match="llama.cpp failed"):
        timed(context, 10)
    assert context.held == {}


def test_every_step_is_a_sign_of_life(timed):
    context, beats = TimedContext(tiled), []
    timed(context, 1, on_heartbeat=lambda: beats.append(context.now))
    assert len(beats) == len(context.steps)


def test_each_row_of_a_measured_step_is_a_sample_of_its_own_with_something_before_it(timed):
    context = TimedContext(tiled)
    timed(context, 0)
    widths = {len(step): step for step in context.steps if len({row[2] for row in step}) == len(step)}
    assert all(position > 0 for width in (8, 16) for _, position, _ in widths[width])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(2, 256), st.integers(0, 512), st.integers(0, 1))
def test_any_cache_that_can_be_loaded_can_be_measured(timed, sequences, more, budget):
    """The fake cache complains where cells, sequences or outputs run out; the limits are `LoadOptions`'s."""
    cells = max(256, 2 * sequences) + more
    context = TimedContext(tiled, cells=cells, sequences=sequences, outputs=max(64, sequences))
    context.batch_size = min(512, cells)
    curve = timed(context, budget)
    assert [seconds for _, seconds in curve.points] == [
        pytest.approx(tiled(rows), abs=1e-6) for rows, _ in curve.points
    ]
    assert curve.points[0][0] == 1
    assert curve.points[-1][0] == min(PROMPT_ROWS, cells - 64)
    assert context.held == {}
