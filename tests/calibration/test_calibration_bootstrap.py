"""Intervals: paired, stratified and by whole units; and what agreement says of votes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from avengers_edge.calibration.outcomes import OutcomeRow
from avengers_edge.calibration.resampling import resample
from avengers_edge.calibration.study import reliability
from avengers_edge.errors import BadRequest


def rows_of(datasets):
    return [OutcomeRow(str(place), name, "c", {}) for place, name in enumerate(datasets)]


def resampled(sums, datasets, *, times=None, units=None, draws=400, seed=0):
    sums = np.asarray(sums, dtype=np.float64)
    times = np.ones(len(sums), dtype=np.intp) if times is None else np.asarray(times)
    units = np.arange(len(sums)) if units is None else np.asarray(units)
    return resample(sums, times, units, rows_of(datasets), draws=draws, seed=seed)


def test_macro_averages_data_sets_and_micro_questions():
    found = resampled([[1], [1], [1], [0]], "ddde")
    assert (found.interval(0).mean, found.interval(0, micro=True).mean) == (50, 75)


def test_a_row_judged_twice_counts_as_its_mean_and_one_never_judged_not_at_all():
    found = resampled([[1.0], [0.0], [0.0]], "ddd", times=[2, 2, 0])
    assert found.interval(0).mean == 25


@given(st.lists(st.tuples(st.sampled_from("de"), st.floats(0, 1)), min_size=1, max_size=20), st.integers(0, 99))
def test_a_constant_lead_has_an_interval_of_no_width(facts, seed):
    base = np.array([value for _, value in facts])
    found = resampled(np.column_stack([base, base + 0.25]), [name for name, _ in facts], draws=50, seed=seed)
    lead = found.interval(1, less=0)
    assert (lead.mean, lead.low, lead.high) == pytest.approx((25, 25, 25))


def test_the_interval_narrows_like_the_root_of_the_questions_and_holds_the_mean():
    draw = np.random.default_rng(1)
    widths = []
    for count in (100, 400):
        interval = resampled(draw.integers(0, 2, (count, 1)), "d" * count, draws=2000).interval(0)
        assert interval.low < interval.mean < interval.high
        widths.append(interval.high - interval.low)
    assert widths[0] == pytest.approx(2 * 98 / np.sqrt(100), rel=0.15)  # 1.96 standard errors of a fair coin, twice
    assert widths[1] == pytest.approx(widths[0] / 2, rel=0.15)


def test_questions_that_stand_and_fall_together_count_as_one():
    values = np.repeat([[0.0], [1.0]], 50, axis=0)
    alone = resampled(values, "d" * 100, draws=2000).interval(0)
    together = resampled(values, "d" * 100, units=np.repeat(np.arange(10), 10), draws=2000).interval(0)
    assert together.high - together.low > 2.5 * (alone.high - alone.low)


def test_the_seed_decides_the_draws():
    values = [[0.0], [1.0], [1.0], [0.0]]
    one, again, other = (resampled(values, "dddd", seed=seed).macro_draws.tolist() for seed in (1, 1, 2))
    assert one == again != other


def test_nothing_judged_is_refused():
    with pytest.raises(BadRequest, match="judged"):
        resampled([[1.0]], "d", times=[0])


# --- agreement ---


def answered(*answers):
    return OutcomeRow("q", "d", "c", {"a": 0.5}, answers={"a": answers})


def test_the_bins_hold_the_winners_share_and_whether_it_was_right():
    rows = [
        answered(("4", 1.0), ("4", 1.0), ("5", 0.0), ("6", 0.0)),  # half the votes, right
        answered(("5", 0.0), ("5", 0.0), ("4", 1.0), ("6", 0.0)),  # half the votes, wrong
        answered(("4", 1.0), ("4", 1.0), (None, 0.0), (None, 0.0)),  # all that voted, right
    ]
    found = reliability(rows, ["a"])
    assert [(each.high, each.votes, each.agreement, each.right) for each in found.bins] == [
        (50, 2, 50, 50),
        (100, 1, 100, 100),
    ]
    assert (found.votes, found.calibration_error) == (3, 0)
    assert found.brier == pytest.approx((0.25 + 0.25 + 0) / 3, abs=1e-4)


def test_the_calibration_error_weighs_gaps_by_votes():
    sure = (("4", 0.0), ("4", 0.0))
    found = reliability([answered(*sure)] * 3 + [answered(("4", 1.0), ("4", 1.0))], ["a"])
    assert found.calibration_error == 75


@pytest.mark.parametrize("answers", [(), (("4", 1.0),), ((None, 0.0), (None, 0.0))])
def test_without_a_vote_of_two_samples_there_is_no_diagram(answers):
    assert reliability([answered(*answers)], ["a"]) is None


def test_rows_without_answers_make_no_diagram():
    assert reliability([OutcomeRow("q", "d", "c", {"a": 1.0})], ["a"]) is None
