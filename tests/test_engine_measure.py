"""Laws of measuring step times: the curve is what steps cost, and the cache is as empty afterwards as before."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from fake_llama import FakeContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from avengers_edge.engine import measure
from avengers_edge.engine.measure import measure_steps
from avengers_edge.errors import EngineDied

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
            measure, "time", SimpleNamespace(monotonic=context.clock, perf_counter=context.clock, sleep=None)
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
    timed(context, 1, on_beat=lambda: beats.append(context.now))
    assert len(beats) == len(context.steps)


def test_each_row_of_a_measured_step_is_a_sample_of_its_own_with_something_before_it(timed):
    context = TimedContext(tiled)
    timed(context, 0)
    widths = {len(step): step for step in context.steps if len({row[2] for row in step}) == len(step)}
    assert all(position > 0 for width in (8, 16) for _, position, _ in widths[width])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
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
