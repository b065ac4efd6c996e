"""A ballot is told of votes as samples finish and says when that is enough."""

from __future__ import annotations

import itertools
import random
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avengers_edge.records import EarlyStop, Vote
from avengers_edge.voting.ballot import UNIT, Ballot, tally


def even(n: int) -> list[int]:
    return [UNIT] * n


def test_a_ballot_is_decided_when_no_straggler_can_change_it() -> None:
    ballot = Ballot(even(4))
    assert ballot.needed == 2
    assert ballot.add(0, "5") == 1
    assert ballot.add(2, "5") == 0
    assert ballot.leader == Vote("5", 2, 2.0)
    assert ballot.finished == 2
    assert ballot.votes == (Vote("5", 2),)


def test_ties_go_to_the_lower_index_whatever_finished_first() -> None:
    ballot = Ballot(even(2), "off")
    assert ballot.add(1, "B") == 1
    assert ballot.add(0, "A") == 0
    assert ballot.leader == Vote("A", 1)


# --- weights

WEIGHTS = st.sampled_from([UNIT // 2, UNIT, UNIT, 3 * UNIT // 2, 2 * UNIT])
KEYS = st.sampled_from([None, "1", "1", "2", "3"])


@st.composite
def weighted_runs(draw: st.DrawFn) -> tuple[list[str | None], list[int], list[int]]:
    """Keys and weights of n samples, and the order in which they finish."""
    n = draw(st.integers(1, 6))
    keys = draw(st.lists(KEYS, min_size=n, max_size=n))
    return keys, draw(st.lists(WEIGHTS, min_size=n, max_size=n)), draw(st.permutations(range(n)))


@given(weighted_runs())
def test_exact_elects_as_all_weighted_votes_would(run: tuple[list[str | None], list[int], list[int]]) -> None:
    keys, weights, order = run
    ballot = Ballot(weights)
    for index in order:
        if not ballot.needed:
            break
        ballot.add(index, keys[index])
    full = tally(keys, weights)
    assert (ballot.leader and ballot.leader.key) == (full[0].key if full else None)


@given(weighted_runs(), st.integers(0, 3))
def test_a_weighted_vote_is_open_exactly_as_long_as_some_completion_elects_another(
    run: tuple[list[str | None], list[int], list[int]], left: int
) -> None:
    keys, weights, order = run
    finished = sorted(order[: max(0, len(order) - left)])
    ballot = Ballot(weights)
    for index in finished:
        ballot.add(index, keys[index])
    missing = [index for index in range(len(keys)) if index not in finished]
    winners = set()
    for filled in product([None, "1", "2", "3", "new"], repeat=len(missing)):
        full = dict(enumerate(keys)) | dict(zip(missing, filled, strict=True))
        votes = tally([full[index] for index in range(len(keys))], weights)
        winners.add(votes[0].key if votes else None)
    assert (ballot.needed == 0) == (not missing or len(winners) == 1)


@given(weighted_runs())
def test_no_vote_lowers_the_need_by_more_than_one_and_the_last_one_ends_it(
    run: tuple[list[str | None], list[int], list[int]],
) -> None:
    keys, weights, order = run
    ballot = Ballot(weights)
    needs = [ballot.needed, *(ballot.add(index, keys[index]) for index in order)]
    assert all(before - 1 <= after for before, after in itertools.pairwise(needs))
    assert needs[-1] == 0


def test_a_heavy_vote_outweighs_two_light_ones() -> None:
    ballot = Ballot([3 * UNIT, UNIT, UNIT])
    assert ballot.add(1, "6") == 1
    assert ballot.add(0, "5") == 0
    assert ballot.votes == (Vote("5", 1, 3.0), Vote("6", 1, 1.0))


# --- Model-Switch

SHARES = st.sampled_from([0.0, 0.3, 0.5, 0.6, 0.8, 1.0])


@st.composite
def two_members(draw: st.DrawFn) -> tuple[list[list[str | None]], list[list[int]], list[list[int]]]:
    """The keys and weights of n samples of either member, and the orders in which they finish."""
    n = draw(st.integers(2, 7))
    keys = [draw(st.lists(KEYS, min_size=n, max_size=n)) for _ in range(2)]
    return keys, [[draw(WEIGHTS)] * n for _ in range(2)], [draw(st.permutations(range(n))) for _ in range(2)]


def sample(ballot: Ballot, keys: list[str | None], order: list[int]) -> None:
    """Lets samples finish until the ballot has enough."""
    waiting = iter(order)
    needed = ballot.needed
    while needed:
        index = next(waiting)
        needed = ballot.add(index, keys[index])


def elect(
    rule: EarlyStop, share: float, keys: list[list[str | None]], weights: list[list[int]], orders: list[list[int]]
) -> tuple[bool, str | None]:
    """Whether the second member was asked, and what was elected."""
    ballot = Ballot(weights[0], rule, switch_below=share)
    sample(ballot, keys[0], orders[0])
    union = ballot.switch(weights[1])
    if union is not None:
        assert union.needed > 0
        sample(union, keys[1], orders[1])
        ballot = union
    return union is not None, ballot.leader.key if ballot.leader else None


@given(two_members(), SHARES)
def test_all_samples_switch_if_too_few_agree_and_elect_over_the_union(
    run: tuple[list[list[str | None]], list[list[int]], list[list[int]]], share: float
) -> None:
    (first, second), weights, orders = run
    votes = tally(first, weights[0])
    switched = (votes[0].count if votes else 0) / len(first) < share
    together = tally(first + second, weights[0] + weights[1])
    off, key = elect("off", share, [first, second], weights, orders)
    assert (
        key == (together if off else votes or [Vote("nobody", 0)])[0].key
        if (votes or (off and together))
        else key is None
    )
    assert not off or switched
    if weights[0] == weights[1]:
        assert off == switched
        assert elect("exact", share, [first, second], weights, orders) == (off, key)


@given(st.lists(KEYS, min_size=2, max_size=6), st.integers(0, 3), SHARES, st.randoms(use_true_random=False))
def test_exact_goes_on_only_while_something_is_open(
    keys: list[str | None], left: int, share: float, draw: random.Random
) -> None:
    n, left = len(keys), min(left, len(keys))
    finished = sorted(draw.sample(range(n), n - left))
    ballot = Ballot(even(n), switch_below=share)
    for index in finished:
        ballot.add(index, keys[index])
    missing = [index for index in range(n) if index not in finished]
    outcomes = set()
    for filled in product([None, "1", "2", "3", "4"], repeat=left):
        full = dict(enumerate(keys)) | dict(zip(missing, filled, strict=True))
        votes = tally([full[index] for index in range(n)]) or (Vote("nobody", 0),)
        outcomes.add(votes[0].key if votes[0].count / n >= share else "switch")
    certain = len(outcomes) == 1 and outcomes != {"switch"}
    assert (ballot.needed == 0) == (left == 0 or certain)


def test_a_switch_that_is_certain_wants_all_samples_of_the_first_member() -> None:
    ballot = Ballot(even(10), switch_below=0.8)
    assert ballot.needed == 8
    assert [ballot.add(index, str(index)) for index in range(4)] == [7, 7, 7, 6]
    assert [ballot.add(index, "0") for index in range(4, 10)] == [5, 4, 3, 2, 1, 0]
    union = ballot.switch(even(10))
    assert union is not None
    assert (union.asked, union.finished, union.leader) == (20, 10, Vote("0", 7))
    assert union.needed == 2  # 7 + 2 votes against 1 + 8, and the tie goes to sample 0


def test_adaptive_judges_by_the_samples_that_it_let_end() -> None:
    ballot = Ballot(even(8), "adaptive", switch_below=0.8)
    for index, key in enumerate("1212111"):
        needed = ballot.add(index, key)
    assert needed == 0  # 5 against 2 and one to come; the Beta rule would want 8 against 2
    union = ballot.switch(even(8))
    assert union is not None
    assert (union.asked, union.finished) == (15, 7)  # who was cancelled has no say in it
    unanimous = Ballot(even(8), "adaptive", switch_below=1.0)
    assert [unanimous.add(index, "1") for index in range(4)] == [3, 2, 1, 0]
    assert unanimous.switch(even(8)) is None


def test_the_beta_rule_is_not_overruled_by_a_second_member() -> None:
    ballot = Ballot(even(40), "adaptive", switch_below=0.8)
    for index, key in enumerate("211211121111"):  # 9 against 3 is enough for it, 8 is not
        needed = ballot.add(index, key)
    assert needed == 0
    assert ballot.switch(even(40)) is None


@pytest.mark.parametrize(("n", "share"), [(1, 1.0), (2, 0.0)])
def test_a_single_sample_and_a_share_of_zero_never_switch(n: int, share: float) -> None:
    ballot = Ballot(even(n), "off", switch_below=share)
    for index in range(n):
        ballot.add(index, None)
    assert ballot.switch(even(n)) is None
