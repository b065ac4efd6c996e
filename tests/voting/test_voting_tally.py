"""Counting: more votes first, then the earlier sample; free text has a centre instead."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from avengers_edge.records import Vote
from avengers_edge.voting.ballot import agreement, medoid, representative, tally, winner

keys = st.lists(st.sampled_from([None, "a", "b", "c"]), max_size=12)


def test_more_votes_come_first() -> None:
    assert tally(["a", "b", "b"]) == (Vote("b", 2), Vote("a", 1))


def test_a_tie_goes_to_the_earliest_sample() -> None:
    assert tally(["b", "a", None, "a", "b"]) == (Vote("b", 2), Vote("a", 2))


def test_nobody_voted() -> None:
    assert tally([None, None]) == ()
    assert winner(()) is None
    assert agreement(()) is None


def test_agreement_is_the_share_of_votes_cast_not_of_samples() -> None:
    assert agreement(tally(["a", "a", "b", None])) == 2 / 3


@given(keys)
def test_votes_add_up_and_are_ordered(given_keys: list[str | None]) -> None:
    votes = tally(given_keys)
    assert sum(vote.count for vote in votes) == sum(key is not None for key in given_keys)
    order = [(-vote.count, given_keys.index(vote.key)) for vote in votes]
    assert order == sorted(order)


def test_the_representative_is_the_first_of_its_group_that_ran_to_its_end() -> None:
    assert representative(["a", "b", "b", "b"], ["stop", "length", "stop", "stop"], "b") == 2
    assert representative(["a", "b", "b"], ["stop", "length", "length"], "b") == 1


def test_the_medoid_is_closest_to_the_others() -> None:
    assert medoid([(1, 0), (0, 1), (1, 1)]) == 2
    assert medoid([(1, 0.2), (9, 0), (1, -0.2)]) == 1


def test_medoid_ties_go_to_the_lowest_index_despite_rounding() -> None:
    assert medoid([(0.1, 0.7)]) == 0
    assert medoid([(0.1, 0.7), (0.3, 0.2)]) == 0
    assert medoid([(math.cos(t), math.sin(t)) for t in (0, 2 * math.pi / 3, 4 * math.pi / 3)]) == 0


def test_vectors_without_direction_are_close_to_nothing() -> None:
    assert medoid([(0, 0), (1, 0), (1, 0)]) == 1
    assert medoid([(math.inf, 0), (1, 0), (1, 0)]) == 1
    assert medoid([(0, 0), (0, 0)]) == 0


@given(st.lists(st.tuples(st.integers(-9, 9), st.integers(-9, 9)), min_size=1, max_size=8), st.integers(1, 5))
def test_a_medoid_does_not_depend_on_length(vectors: list[tuple[int, int]], scale: int) -> None:
    assert medoid(vectors) == medoid([(scale * x, scale * y) for x, y in vectors])
