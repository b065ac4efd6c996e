"""A ballot hears samples as they finish and says when that is enough."""

from __future__ import annotations

import random
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avengers_edge.errors import BadRequest
from avengers_edge.records import Completion, EarlyStop, FinishReason, Vote
from avengers_edge.voting.ballot import Ballot
from avengers_edge.voting.tally import tally


def completion(index: int, text: str, finish_reason: FinishReason = "stop") -> Completion:
    return Completion(index=index, seed=index, text=text, tokens=1, finish_reason=finish_reason)


def test_a_ballot_is_decided_when_no_straggler_can_change_it() -> None:
    ballot = Ballot("number", 4)
    assert ballot.needed == 2
    assert ballot.add(completion(0, "Answer: 5")) == 1
    assert ballot.add(completion(2, "5.0")) == 0
    assert ballot.leader == Vote("5", 2)
    assert ballot.finished == 2
    assert ballot.keys == {0: "5", 2: "5"}
    assert ballot.votes == (Vote("5", 2),)


def test_a_truncated_sample_votes_only_by_a_marker_and_a_cancelled_one_not_at_all() -> None:
    ballot = Ballot("number", 5)
    ballot.add(completion(0, "so 5", "length"))
    ballot.add(completion(1, "\\boxed{6}", "length"))
    ballot.add(completion(2, "\\boxed{7}", "cancelled"))
    assert ballot.keys == {0: None, 1: "6"}


def test_ties_go_to_the_lower_index_whatever_finished_first() -> None:
    ballot = Ballot("choice", 2, "off", ("x", "y"))
    assert ballot.add(completion(1, "B")) == 1
    assert ballot.add(completion(0, "A")) == 0
    assert ballot.leader == Vote("A", 1)


def test_free_text_is_never_decided_early() -> None:
    ballot = Ballot("text", 2, "adaptive")
    assert ballot.add(completion(0, "Hello")) == 1
    assert ballot.leader is None
    assert ballot.add(completion(1, "Hello")) == 0


def test_labels_are_read_with_the_choices() -> None:
    ballot = Ballot("label", 1, "exact", ["yes", "no"])
    ballot.add(completion(0, "No, it is not."))
    assert ballot.leader == Vote("no", 1)


def test_what_is_no_sample_of_the_request_is_refused() -> None:
    ballot = Ballot("number", 2)
    ballot.add(completion(0, "5"))
    with pytest.raises(BadRequest, match="finished twice"):
        ballot.add(completion(0, "5"))
    with pytest.raises(BadRequest, match="not one of 2"):
        ballot.add(completion(2, "5"))
    with pytest.raises(BadRequest, match="use 1 or more"):
        Ballot("number", 0)


# --- Model-Switch

KEYS = st.sampled_from([None, "1", "1", "2", "3"])
SHARES = st.sampled_from([0.0, 0.3, 0.5, 0.6, 0.8, 1.0])


@st.composite
def two_members(draw: st.DrawFn) -> tuple[list[list[str | None]], list[list[int]]]:
    """The keys of n samples of either member, and the orders in which they finish."""
    n = draw(st.integers(2, 7))
    keys = [draw(st.lists(KEYS, min_size=n, max_size=n)) for _ in range(2)]
    return keys, [draw(st.permutations(range(n))) for _ in range(2)]


def sample(ballot: Ballot, keys: list[str | None], order: list[int]) -> None:
    """Lets samples finish until the ballot has enough."""
    waiting = iter(order)
    needed = ballot.needed
    while needed:
        index = next(waiting)
        needed = ballot.add(completion(index, f"Answer: {keys[index]}" if keys[index] else "no idea"))


def elect(
    rule: EarlyStop, share: float, keys: list[list[str | None]], orders: list[list[int]]
) -> tuple[bool, str | None]:
    """Whether the second member was asked, and what was elected."""
    ballot = Ballot("number", len(keys[0]), rule, switch_below=share)
    sample(ballot, keys[0], orders[0])
    if switched := ballot.switches:
        ballot = ballot.union()
        assert ballot.needed > 0
        sample(ballot, keys[1], orders[1])
    return switched, ballot.leader.key if ballot.leader else None


@settings(max_examples=500)
@given(two_members(), SHARES)
def test_exact_switches_and_elects_as_all_samples_would(
    run: tuple[list[list[str | None]], list[list[int]]], share: float
) -> None:
    keys, orders = run
    assert elect("exact", share, keys, orders) == elect("off", share, keys, orders)


@given(two_members(), SHARES)
def test_all_samples_switch_if_too_few_agree_and_elect_over_the_union(
    run: tuple[list[list[str | None]], list[list[int]]], share: float
) -> None:
    (first, second), orders = run
    votes = tally(first)
    switched = (votes[0].count if votes else 0) / len(first) < share
    elected = tally(first + second) if switched else votes
    assert elect("off", share, [first, second], orders) == (switched, elected[0].key if elected else None)


@given(st.lists(KEYS, min_size=2, max_size=6), st.integers(0, 3), SHARES, st.randoms(use_true_random=False))
def test_exact_goes_on_only_while_something_is_open(
    keys: list[str | None], left: int, share: float, draw: random.Random
) -> None:
    n, left = len(keys), min(left, len(keys))
    finished = sorted(draw.sample(range(n), n - left))
    ballot = Ballot("number", n, switch_below=share)
    for index in finished:
        ballot.add(completion(index, f"Answer: {keys[index]}" if keys[index] else "no idea"))
    missing = [index for index in range(n) if index not in finished]
    outcomes = set()
    for filled in product([None, "1", "2", "3", "4"], repeat=left):
        full = dict(enumerate(keys)) | dict(zip(missing, filled, strict=True))
        votes = tally([full[index] for index in range(n)]) or (Vote("nobody", 0),)
        outcomes.add(votes[0].key if votes[0].count / n >= share else "switch")
    certain = len(outcomes) == 1 and outcomes != {"switch"}
    assert (ballot.needed == 0) == (left == 0 or certain)


def test_a_switch_that_is_certain_wants_all_samples_of_the_first_member() -> None:
    ballot = Ballot("number", 10, switch_below=0.8)
    assert ballot.needed == 8
    assert [ballot.add(completion(index, f"Answer: {index}")) for index in range(4)] == [7, 7, 7, 6]
    assert [ballot.add(completion(index, "Answer: 0")) for index in range(4, 10)] == [5, 4, 3, 2, 1, 0]
    assert ballot.switches
    union = ballot.union()
    assert (union.asked, union.finished, union.keys, union.leader) == (20, 10, {}, Vote("0", 7))
    assert union.needed == 2  # 7 + 2 votes against 1 + 8, and the tie goes to sample 0


def test_adaptive_judges_by_the_samples_that_it_let_end() -> None:
    ballot = Ballot("number", 8, "adaptive", switch_below=0.8)
    for index, key in enumerate([1, 2, 1, 2, 1, 1, 1]):
        needed = ballot.add(completion(index, f"Answer: {key}"))
    assert needed == 0  # 5 against 2 and one to come; the Beta rule would want 8 against 2
    assert ballot.switches
    union = ballot.union()
    assert (union.asked, union.finished) == (15, 7)  # who was cancelled has no say in it
    unanimous = Ballot("number", 8, "adaptive", switch_below=1.0)
    assert [unanimous.add(completion(index, "Answer: 1")) for index in range(4)] == [3, 2, 1, 0]
    assert not unanimous.switches


def test_the_beta_rule_is_not_overruled_by_a_second_member() -> None:
    ballot = Ballot("number", 40, "adaptive", switch_below=0.8)
    for index, key in enumerate([2, 1, 1, 2, 1, 1, 1, 2, 1, 1, 1, 1]):  # 9 against 3 is enough for it, 8 is not
        needed = ballot.add(completion(index, f"Answer: {key}"))
    assert needed == 0
    assert not ballot.switches


def test_free_text_a_single_sample_and_a_share_of_zero_never_switch() -> None:
    for kind, n, share in (("text", 2, 1.0), ("number", 1, 1.0), ("number", 2, 0.0)):
        ballot = Ballot(kind, n, "off", switch_below=share)  # type: ignore[arg-type]
        for index in range(n):
            ballot.add(completion(index, "no idea"))
        assert not ballot.switches
