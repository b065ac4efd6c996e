"""Stopping rules: exact never changes the winner, and stops as early as that allows."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avengers_edge.errors import BadRequest
from avengers_edge.voting.stopping import decided_adaptive, decided_exact, is_decided, likely_ahead
from avengers_edge.voting.tally import tally, winner


def elected(keys: list[str | None]) -> str | None:
    won = winner(tally(keys))
    return None if won is None else won.key


@st.composite
def runs(draw: st.DrawFn) -> tuple[list[str | None], list[int]]:
    keys = draw(st.lists(st.sampled_from([None, "a", "a", "b", "c"]), min_size=1, max_size=12))
    return keys, draw(st.permutations(range(len(keys))))


@settings(max_examples=500)
@given(runs())
def test_once_decided_exactly_the_full_vote_has_the_same_winner(run: tuple[list[str | None], list[int]]) -> None:
    keys, order = run
    finished: dict[int, str | None] = {}
    for index in order:
        finished[index] = keys[index]
        if decided_exact(finished, len(keys)):
            assert elected([finished[at] for at in sorted(finished)]) == elected(keys)


@st.composite
def half_runs(draw: st.DrawFn) -> tuple[dict[int, str | None], int]:
    n = draw(st.integers(1, 7))
    left = draw(st.integers(0, min(n, 4)))
    done = draw(st.permutations(range(n)))[: n - left]
    return {index: draw(st.sampled_from([None, "a", "b", "c"])) for index in done}, n


@settings(max_examples=300)
@given(half_runs())
def test_exact_is_decided_if_and_only_if_no_completion_changes_the_winner(
    run: tuple[dict[int, str | None], int],
) -> None:
    finished, n = run
    missing = [index for index in range(n) if index not in finished]
    winners = set()
    for filled in product([None, "a", "b", "c", "new"], repeat=len(missing)):
        full = {**finished, **dict(zip(missing, filled, strict=True))}
        winners.add(elected([full[index] for index in range(n)]))
    assert decided_exact(finished, n) == (len(winners) == 1)


@given(runs())
def test_a_decision_stays_decided(run: tuple[list[str | None], list[int]]) -> None:
    keys, order = run
    decisions = [decided_exact({index: keys[index] for index in order[:t]}, len(keys)) for t in range(len(keys) + 1)]
    assert decisions == sorted(decisions)
    assert decisions[-1]


@pytest.mark.parametrize(
    ("finished", "n", "decided"),
    [
        ({}, 1, False),
        ({}, 0, True),
        ({0: "a"}, 1, True),
        ({0: None}, 1, True),
        ({0: "a"}, 2, True),  # a tie goes to sample 0
        ({1: "a"}, 2, False),  # a tie would go to sample 0, which is not in yet
        ({0: "a", 1: "a", 2: "a", 3: "a", 4: "a"}, 10, True),
        ({5: "a", 6: "a", 7: "a", 8: "a", 9: "a"}, 10, False),
        ({4: "a", 5: "a", 6: "a", 7: "a", 8: "a", 9: "a"}, 10, True),
        ({0: "a", 1: "b", 2: "a"}, 4, True),
        ({0: "b", 1: "a", 2: "a"}, 4, False),  # a tie would go to b
        ({0: None, 1: "a"}, 3, True),
        ({0: None, 1: None}, 3, False),
    ],
)
def test_exact_by_hand(finished: dict[int, str | None], n: int, decided: bool) -> None:
    assert decided_exact(finished, n) is decided


@pytest.mark.parametrize(("rival", "leader"), list(enumerate([4, 6, 8, 9, 11, 12, 14, 15])))
def test_the_beta_rule_needs_the_published_leads(rival: int, leader: int) -> None:
    assert likely_ahead(leader, rival)
    assert not likely_ahead(leader - 1, rival)


def test_adaptive_is_exact_or_beta_on_the_finished_samples() -> None:
    four = {3: "a", 5: "a", 7: "a", 9: "a"}
    assert decided_adaptive(four, 40)
    assert not decided_exact(four, 40)
    assert not decided_adaptive({**four, 11: "b"}, 40)
    assert not decided_adaptive({}, 4)
    assert decided_adaptive({0: "a", 1: "a"}, 3)


def test_each_rule_is_found_by_its_name() -> None:
    four = dict.fromkeys(range(4), "a")
    assert [is_decided(rule, four, 20) for rule in ("exact", "adaptive", "off")] == [False, True, False]  # type: ignore[arg-type]
    assert [is_decided(rule, four, 5) for rule in ("exact", "adaptive", "off")] == [True, True, False]  # type: ignore[arg-type]
    assert is_decided("off", four, 4)


@pytest.mark.parametrize("index", [-1, 3])
def test_a_sample_outside_the_request_is_refused(index: int) -> None:
    with pytest.raises(BadRequest, match="is not one of 3"):
        decided_exact({index: "a"}, 3)
