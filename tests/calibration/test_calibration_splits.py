"""Splits: nothing that knows of the other side is on both, whatever the rows are."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avengers_edge.calibration.outcomes import OutcomeRow
from avengers_edge.calibration.resampling import split_rows, units_of
from avengers_edge.errors import BadRequest


def row(place, dataset="d", prompt=None, group=None):
    return OutcomeRow(str(place), dataset, "c", {"a": 1.0}, prompt=prompt, group=group)


def some(values):
    return st.one_of(st.none(), st.sampled_from(values))


drawn_rows = st.lists(st.tuples(st.sampled_from("de"), some("pqrstu"), some("ghij")), min_size=1, max_size=40).map(
    lambda facts: [row(place, *each) for place, each in enumerate(facts)]
)


@given(drawn_rows, st.integers(0, 2**32 - 1), st.floats(0.05, 0.95))
def test_no_prompt_and_no_group_is_on_both_sides_and_no_row_is_lost(rows, seed, share):
    owners = {}
    for unit, each in zip(units_of(rows).tolist(), rows, strict=True):
        owners.setdefault(unit, each.dataset)
    if max(Counter(owners.values()).values()) < 2:  # each data set has one unit, which is fitted
        with pytest.raises(BadRequest, match="none to judge by"):
            split_rows(rows, seed, share)
        return
    split = split_rows(rows, seed, share)
    assert sorted([*split.fitted, *split.judged]) == list(range(len(rows)))
    for fact in ("prompt", "group"):
        fitted, judged = ({getattr(rows[at], fact) for at in side} - {None} for side in (split.fitted, split.judged))
        assert fitted.isdisjoint(judged)


def test_rows_linked_through_others_are_one_unit():
    rows = [
        row(0, prompt="p"),
        row(1, prompt="q", group="g"),
        row(2, prompt="p", group="g"),
        row(3, prompt="r"),
        row(4),
    ]
    assert units_of(rows).tolist() == [0, 0, 0, 1, 2]


@given(st.integers(2, 60), st.integers(2, 60), st.integers(0, 1000))
def test_each_data_set_of_lone_questions_is_split_at_the_share(first, second, seed):
    rows = [row(f"{name}{place}", name) for name, size in (("d", first), ("e", second)) for place in range(size)]
    split = split_rows(rows, seed)
    for name, size in (("d", first), ("e", second)):
        fitted = sum(rows[at].dataset == name for at in split.fitted)
        assert fitted == min(max(round(0.7 * size), 1), size - 1) or abs(fitted - 0.7 * size) == pytest.approx(0.5)


def test_the_seed_decides_the_split():
    rows = [row(place) for place in range(50)]
    again, other = split_rows(rows, 1), split_rows(rows, 2)
    assert split_rows(rows, 1).fitted.tolist() == again.fitted.tolist()
    assert again.fitted.tolist() != other.fitted.tolist()


def test_a_data_set_of_one_unit_is_fitted():
    rows = [row("lone", "e", group="g"), *(row(place) for place in range(10))]
    assert all(0 in split_rows(rows, seed).fitted for seed in range(5))


@pytest.mark.parametrize("rows", [[], [row(0)], [row(0, prompt="p"), row(1, prompt="p")]])
def test_what_leaves_nothing_to_judge_by_is_refused(rows):
    with pytest.raises(BadRequest, match="none to judge by"):
        split_rows(rows, 0)


@pytest.mark.parametrize("share", [0, 1, -0.5, float("nan")])
def test_a_share_outside_0_to_1_is_refused(share):
    with pytest.raises(BadRequest, match="share is"):
        split_rows([row(0), row(1)], 0, share)
