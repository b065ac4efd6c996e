"""Sample budgets and confidence on votes that a reader can count."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from avengers_edge.calibration.outcomes import Answers, OutcomeRow
from avengers_edge.calibration.sample_budgets import (
    LEAST_QUESTIONS,
    Vote,
    Voter,
    calibrated,
    letters_vote,
    replay_vote,
    with_sample_budgets,
)
from avengers_edge.errors import BadRequest
from avengers_edge.records import Calibration, Kind
from avengers_edge.routing.router import Router
from avengers_edge.routing.table import FORMAT, CentroidTable, TableHeader

RIGHT, WRONG, ODD, NONE = ("7", 1.0), ("8", 0.0), ("9", 0.0), (None, 0.0)
EAST, NORTH = (1.0, 0.0), (0.0, 1.0)
MEMBERS = ("m:program", "m:brief")


def voter(greedy: tuple[str | None, float], *samples: tuple[str | None, float], expected: float = 0.5) -> Voter:
    return Voter("m:program", expected, greedy, samples)


# --- one vote


def test_a_budget_of_one_is_the_greedy_answer_of_the_first_who_has_one() -> None:
    assert replay_vote([voter(RIGHT), voter(WRONG)], "number", 1) == Vote("greedy", 1.0, None, 0.5, 1)
    assert replay_vote([voter(NONE), voter(RIGHT)], "number", 1) == Vote("greedy", 1.0, None, 0.5, 1)
    assert replay_vote([voter(NONE), voter(NONE)], "number", 1) == Vote("greedy", 0.0, None, 0.5, 1)


def test_two_ways_that_agree_or_of_which_one_is_silent_need_no_sample() -> None:
    for pair, score in (((RIGHT, RIGHT), 1.0), ((WRONG, WRONG), 0.0), ((NONE, RIGHT), 1.0), ((WRONG, NONE), 0.0)):
        vote = replay_vote([voter(pair[0]), voter(pair[1])], "number", 8)
        assert vote == Vote("ways", score, 1.0, 0.5, 2)


def test_two_ways_that_disagree_vote_on_in_turn() -> None:
    voters = [voter(WRONG, WRONG), voter(RIGHT, RIGHT)]
    assert replay_vote(voters, "number", 2) == Vote("ways", 0.0, 0.5, 0.5, 2)  # a tie, which the first one wins
    assert replay_vote([voter(WRONG, RIGHT), voter(RIGHT, RIGHT)], "number", 4) == Vote("ways", 1.0, 0.75, 0.5, 4)
    assert replay_vote(voters, "number", 6) is None  # so many were not recorded


def test_votes_weigh_by_the_record_of_who_casts_them() -> None:
    good, poor = voter(RIGHT, RIGHT, expected=0.9), voter(WRONG, WRONG, expected=0.2)
    vote = replay_vote([good, poor], "number", 4)
    assert vote is not None
    heavy, light = (math.log(11 * p / (1 - p)) for p in (0.9, 0.2))
    assert vote.score == 1.0
    assert vote.agreement == pytest.approx(heavy / (heavy + light), abs=1e-3)


def test_one_way_votes_by_its_samples_and_letters_by_their_orders() -> None:
    one = dataclasses.replace(voter(RIGHT, WRONG, RIGHT, RIGHT), agreement=0.7)
    assert replay_vote([one], "number", 2) == Vote("samples", 0.0, 0.5, 0.5, 2)
    assert replay_vote([one], "number", 3) == Vote("samples", 1.0, pytest.approx(2 / 3), 0.5, 3)
    assert letters_vote(one) == Vote("letters", 1.0, 0.7, 0.5, 1)


ANSWERS = st.sampled_from([RIGHT, WRONG, ODD, NONE])


@given(ANSWERS, ANSWERS, st.lists(st.tuples(ANSWERS, ANSWERS), max_size=4), st.integers(1, 10))
def test_a_vote_is_as_right_as_one_of_its_answers_and_never_made_up(
    first: tuple[str | None, float],
    second: tuple[str | None, float],
    rest: list[tuple[tuple[str | None, float], tuple[str | None, float]]],
    budget: int,
) -> None:
    voters = [voter(first, *(one for one, _ in rest)), voter(second, *(other for _, other in rest))]
    vote = replay_vote(voters, "number", budget)
    if vote is not None:
        assert vote.score in (0.0, *(score for each in voters for _, score in (each.greedy, *each.samples)))
        assert vote.samples in (1, 2, budget)


# --- a table


def table() -> CentroidTable:
    header = TableHeader(
        format=FORMAT,
        members=MEMBERS,
        embedder="e",
        clusters=2,
        method="by hand",
        seed=0,
        smoothing=0.0,
        datasets={"sums": 2},
        macro=(0.6, 0.5),
        best_single="m:program",
        similarity_floor=-1.0,
        kinds=("number", "choice"),
        fitted_at="",
        provenance="",
        top_k=1,
    )
    return CentroidTable(
        header,
        centroids=np.array([EAST, NORTH], dtype=np.float32),
        accuracy=np.array([[0.6, 0.5], [0.6, 0.5]], dtype=np.float32),
        counts=np.full((2, 2), 10, dtype=np.int32),
        kinds=np.array([[9, 0], [0, 9]], dtype=np.int32),
    )


def recorded(
    cases: Sequence[tuple[tuple[str | None, float], tuple[str | None, float], Answers, Answers]], kind: Kind = "number"
) -> tuple[list[OutcomeRow], list[OutcomeRow]]:
    """Rows of greedy answers and of samples: each case has both greedy answers and both members' samples."""
    votes, single = [], []
    for place, (one, other, ones, others) in enumerate(cases):
        scores = {MEMBERS[0]: one[1], MEMBERS[1]: other[1]}
        name = f"{kind}/{place}"
        votes.append(
            OutcomeRow(
                name, "sums", "maths", scores, kind=kind, answers=dict(zip(MEMBERS, (ones, others), strict=True))
            )
        )
        greedy = {MEMBERS[0]: (one,), MEMBERS[1]: (other,)}
        single.append(OutcomeRow(name, "sums", "maths", scores, kind=kind, answers=greedy))
    return single, votes


HELPED = (WRONG, RIGHT, (RIGHT,), (RIGHT,))  # the first greedy answer is wrong, and a vote of four right
SETTLED = (RIGHT, RIGHT, (), ())


def budgets(*cases: tuple[tuple[str | None, float], tuple[str | None, float], Answers, Answers]) -> list[int]:
    rows, votes = recorded(cases)
    found = with_sample_budgets(table(), np.array([EAST] * len(rows), dtype=np.float32), rows, votes)
    assert found.samples is not None
    return found.samples.tolist()


def test_a_budget_pays_where_the_gain_is_more_than_chance_on_thirty_questions() -> None:
    assert budgets(*[HELPED] * 10, *[SETTLED] * 20) == [4, 1]  # of numbers; no choice was voted on
    assert budgets(*[HELPED] * 10, *[SETTLED] * 19) == [1, 1]  # 29 questions are too few, whatever they gain
    assert budgets(*[HELPED] * 3, *[SETTLED] * 27) == [1, 1]  # 10 points, give or take 11


def test_without_votes_and_greedy_answers_of_who_is_routed_to_there_is_no_budget() -> None:
    (row,), votes = recorded([HELPED])
    silent = dataclasses.replace(row, scores={MEMBERS[1]: 1.0}, answers={MEMBERS[1]: (RIGHT,)})
    for known, samples in ((row, []), (silent, votes)):
        with pytest.raises(BadRequest, match="without and with --samples 8"):
            with_sample_budgets(table(), np.array([EAST], dtype=np.float32), [known], samples)


@pytest.mark.parametrize("kind", ["text", "code"])
def test_what_is_not_voted_on_says_nothing_of_votes(kind: Kind) -> None:
    rows, votes = recorded([HELPED] * LEAST_QUESTIONS, kind)
    with pytest.raises(BadRequest, match="--samples 8"):
        with_sample_budgets(table(), np.array([EAST] * len(rows), dtype=np.float32), rows, votes)


def test_budgets_and_confidence_come_back_from_the_file_and_out_of_the_router(tmp_path: Path) -> None:
    calibration = {"ways": Calibration(-1.0, 2.0, 0.5)}
    header = dataclasses.replace(table().header, confidence=calibration)
    whole = dataclasses.replace(table(), header=header, samples=np.array([4, 1], dtype=np.int32))
    whole.save(tmp_path / "t.safetensors")
    router = Router(CentroidTable.load(tmp_path / "t.safetensors", fingerprint="e"))
    assert [router.route(vector).samples for vector in (EAST, NORTH)] == [4, 1]
    assert router.route(EAST).confidence == calibration
    assert router.route(EAST).expected == pytest.approx((0.6, 0.5))
    assert Router(table()).route(EAST).samples is None


# --- confidence


def test_confidence_is_the_share_of_such_votes_that_were_right() -> None:
    unanimous = [Vote("ways", float(place % 10 < 9), 1.0, 0.5, 2) for place in range(100)]
    split = [Vote("ways", float(place % 10 < 4), 0.5, 0.5, 8) for place in range(100)]
    chance = calibrated([*unanimous, *split])["ways"].chance
    assert chance(1.0, 0.5) == pytest.approx(0.9, abs=0.03)
    assert chance(0.5, 0.5) == pytest.approx(0.4, abs=0.03)


def test_too_few_votes_or_votes_of_one_outcome_calibrate_nothing() -> None:
    few = [Vote("ways", float(place % 2), 1.0, 0.5, 2) for place in range(LEAST_QUESTIONS - 1)]
    alike = [Vote("letters", 1.0, 1.0, 0.5, 4)] * 50
    assert calibrated([*few, *alike]) == {}


@given(st.floats(-5, 5), st.floats(0, 5), st.floats(0, 5), st.floats(0, 1), st.floats(0, 1))
def test_a_chance_grows_with_the_winners_share(
    intercept: float, slope: float, record: float, one: float, other: float
) -> None:
    calibration = Calibration(intercept, slope, record)
    less, more = (calibration.chance(share, 0.5) for share in sorted((one, other)))
    assert 0 <= less <= more <= 1
