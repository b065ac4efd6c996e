"""Stopping rules: exact never changes the winner, and stops as early as that allows."""

from __future__ import annotations

from itertools import combinations, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avengers_edge.records import EarlyStop
from avengers_edge.voting.ballot import likely_ahead, quorum_of, still_needed, tally, winner


def is_decided(rule, keys, n):
    """Whether sampling may stop."""
    return still_needed(rule, keys, n) == 0


def elected(keys: list[str | None]) -> str | None:
    won = winner(tally(keys))
    return None if won is None else won.key


@st.composite
def runs(draw: st.DrawFn) -> tuple[list[str | None], list[int]]:
    keys = draw(st.lists(st.sampled_from([None, "a", "a", "b", "c"]), min_size=1, max_size=12))
    return keys, draw(st.permutations(range(len(keys))))


@given(runs())
def test_once_decided_exactly_the_full_vote_has_the_same_winner(run: tuple[list[str | None], list[int]]) -> None:
    keys, order = run
    finished: dict[int, str | None] = {}
    for index in order:
        finished[index] = keys[index]
        if is_decided("exact", finished, len(keys)):
            assert elected([finished[at] for at in sorted(finished)]) == elected(keys)


@st.composite
def half_runs(draw: st.DrawFn) -> tuple[dict[int, str | None], int]:
    n = draw(st.integers(1, 7))
    left = draw(st.integers(0, min(n, 4)))
    done = draw(st.permutations(range(n)))[: n - left]
    return {index: draw(st.sampled_from([None, "a", "b", "c"])) for index in done}, n


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
    assert is_decided("exact", finished, n) == (len(winners) == 1)


@given(runs())
def test_a_decision_stays_decided(run: tuple[list[str | None], list[int]]) -> None:
    keys, order = run
    steps = [{index: keys[index] for index in order[:ended]} for ended in range(len(keys) + 1)]
    decisions = [is_decided("exact", finished, len(keys)) for finished in steps]
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
    assert is_decided("exact", finished, n) is decided


@pytest.mark.parametrize(("rival", "leader"), list(enumerate([4, 6, 8, 9, 11, 12, 14, 15])))
def test_the_beta_rule_needs_the_published_leads(rival: int, leader: int) -> None:
    assert likely_ahead(leader, rival)
    assert not likely_ahead(leader - 1, rival)


def test_adaptive_is_exact_or_beta_on_the_finished_samples() -> None:
    four = {3: "a", 5: "a", 7: "a", 9: "a"}
    assert is_decided("adaptive", four, 40)
    assert not is_decided("exact", four, 40)
    assert not is_decided("adaptive", {**four, 11: "b"}, 40)
    assert not is_decided("adaptive", {}, 4)
    assert is_decided("adaptive", {0: "a", 1: "a"}, 3)


def test_each_rule_is_found_by_its_name() -> None:
    four = dict.fromkeys(range(4), "a")
    assert [is_decided(rule, four, 20) for rule in ("exact", "adaptive", "off")] == [False, True, False]  # type: ignore[arg-type]
    assert [is_decided(rule, four, 5) for rule in ("exact", "adaptive", "off")] == [True, True, False]  # type: ignore[arg-type]
    assert is_decided("off", four, 4)


# --- how many more


RULES: tuple[EarlyStop, ...] = ("exact", "adaptive", "off")
SMALL = [None, "a", "b", "new"]


def settled(rule: EarlyStop, finished: dict[int, str | None], n: int, quorum: int) -> bool:
    """The definition, by trying every completion."""
    missing = [index for index in range(n) if index not in finished]
    if not missing:
        return True
    votes = tally([finished[index] for index in sorted(finished)])
    counts = [*(vote.count for vote in votes[:2]), 0, 0]
    if counts[0] < quorum or rule == "off":
        return False
    if rule == "adaptive" and likely_ahead(counts[0], counts[1]):
        return True
    winners = set()
    for filled in product(SMALL, repeat=len(missing)):
        full = {**finished, **dict(zip(missing, filled, strict=True))}
        winners.add(elected([full[index] for index in range(n)]))
    return len(winners) == 1


@st.composite
def nearly_done(draw: st.DrawFn) -> tuple[dict[int, str | None], int]:
    n = draw(st.integers(1, 8))
    left = draw(st.integers(0, min(n, 3)))
    done = draw(st.permutations(range(n)))[: n - left]
    return {index: draw(st.sampled_from(SMALL[:3])) for index in done}, n


@given(nearly_done(), st.sampled_from(RULES), st.integers(0, 8))
def test_so_many_more_can_settle_it_and_fewer_never_do(
    run: tuple[dict[int, str | None], int], rule: EarlyStop, quorum: int
) -> None:
    finished, n = run
    missing = [index for index in range(n) if index not in finished]

    def can_be_settled_by(more: int) -> bool:
        return any(
            settled(rule, {**finished, **dict(zip(chosen, filled, strict=True))}, n, quorum)
            for chosen in combinations(missing, more)
            for filled in product(SMALL, repeat=more)
        )

    fewest = next(more for more in range(len(missing) + 1) if can_be_settled_by(more))
    assert still_needed(rule, finished, n, quorum) == fewest


@given(runs(), st.sampled_from(RULES), st.integers(0, 12))
def test_a_sample_lowers_the_need_by_at_most_one(
    run: tuple[list[str | None], list[int]], rule: EarlyStop, quorum: int
) -> None:
    keys, order = run
    finished: dict[int, str | None] = {}
    before = still_needed(rule, finished, len(keys), quorum)
    for index in order:
        finished[index] = keys[index]
        now = still_needed(rule, finished, len(keys), quorum)
        assert before - 1 <= now <= len(keys) - len(finished)
        before = now
    assert before == 0


@given(st.integers(1, 1000), st.sampled_from(RULES), st.integers(0, 1000))
def test_samples_that_all_agree_settle_it_in_as_few_as_were_promised(n: int, rule: EarlyStop, quorum: int) -> None:
    fewest = still_needed(rule, {}, n, quorum)
    assert still_needed(rule, dict.fromkeys(range(fewest), "a"), n, quorum) == 0
    assert still_needed(rule, dict.fromkeys(range(fewest - 1), "a"), n, quorum) == 1


@pytest.mark.parametrize(
    ("rule", "finished", "n", "quorum", "needed"),
    [
        ("exact", {}, 10, 0, 5),  # the five lowest indices win a tie
        ("exact", {}, 9, 0, 5),
        ("exact", {0: None}, 10, 0, 5),
        ("exact", {0: "a", 1: "b"}, 10, 0, 4),
        ("exact", {9: "a", 8: "a"}, 10, 0, 3),
        ("exact", {}, 10, 8, 8),
        ("exact", {0: "a", 1: "b", 2: "c"}, 10, 8, 7),  # all of them: 8 cannot be reached
        ("adaptive", {}, 10, 0, 4),
        ("adaptive", {0: "a", 1: "b"}, 10, 0, 4),  # exact comes before the Beta rule's 6 against 1
        ("adaptive", {0: "a", 1: "b"}, 40, 0, 5),
        ("off", {0: "a", 1: "a"}, 10, 0, 8),
    ],
)
def test_the_need_by_hand(rule: EarlyStop, finished: dict[int, str | None], n: int, quorum: int, needed: int) -> None:
    assert still_needed(rule, finished, n, quorum) == needed


@given(st.integers(1, 1000), st.integers(0, 100))
def test_a_quorum_is_the_fewest_votes_that_reach_the_share(n: int, percent: int) -> None:
    fewest = quorum_of(percent / 100, n)
    assert fewest == -(-percent * n // 100)
