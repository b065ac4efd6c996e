"""Laws of sharing a step's rows out among prompts."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from avengers_edge.engine.job import Job
from avengers_edge.engine.plan import share_prefill
from avengers_edge.records import Message, Request


def unready(*left):
    """Requests of whose prompts so many tokens are still to be evaluated."""
    jobs = [Job(Request((Message("user", "?"),))) for _ in left]
    for job, tokens in zip(jobs, left, strict=True):
        job.begin([1] * (tokens + 4))
        job.evaluated = 3
    return jobs


def shared(left, rows):
    jobs = unready(*left)
    counts = dict(share_prefill(jobs, rows))
    assert set(counts) <= set(jobs)
    assert all(counts.values())
    return [counts.get(job, 0) for job in jobs]


LEFT = st.lists(st.integers(1, 50), max_size=8)


@given(LEFT, st.integers(0, 200))
def test_all_rows_are_used_and_no_prompt_gets_more_than_it_has(left, rows):
    counts = shared(left, rows)
    assert sum(counts) == min(rows, sum(left))
    assert all(count <= most for count, most in zip(counts, left, strict=True))


@given(LEFT.filter(bool), st.integers(1, 200))
def test_the_first_gets_half_so_that_none_waits_forever(left, rows):
    assert shared(left, rows)[0] >= min(left[0], (rows + 1) // 2)


@given(LEFT.filter(bool), st.integers(1, 200))
def test_after_the_first_each_has_what_it_needs_before_the_next_gets_any(left, rows):
    counts = shared(left, rows)[1:]
    begun = [place for place, count in enumerate(counts) if count]
    assert all(counts[place] == left[1:][place] for place in begun[:-1])
    assert begun == list(range(len(begun)))


def test_by_hand():
    assert shared([], 10) == []
    assert shared([100], 10) == [10]
    assert shared([100, 3, 100], 10) == [5, 3, 2]
    assert shared([2, 3, 4], 100) == [2, 3, 4]
    assert shared([100, 1], 10) == [9, 1]
    assert shared([100, 100, 1], 10) == [5, 5, 0]
