"""Sample budgets on votes that a reader can count."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from avengers_edge.calibration.budget import voted, with_budgets
from avengers_edge.calibration.outcomes import Answers, OutcomeRow
from avengers_edge.errors import BadRequest
from avengers_edge.records import Kind
from avengers_edge.routing.router import Router
from avengers_edge.routing.table import FORMAT, CentroidTable, TableHeader

RIGHT, WRONG, ODD = ("7", 1.0), ("8", 0.0), ("9", 0.0)
HELPED: Answers = (WRONG, RIGHT, RIGHT, RIGHT)  # alone right 3 times of 4, a vote of four always
HURT: Answers = (RIGHT, WRONG, WRONG, WRONG)  # alone right once in 4 times, a vote of four never
ALIKE: Answers = (RIGHT, RIGHT, RIGHT, RIGHT)
EAST, NORTH = (1.0, 0.0), (0.0, 1.0)


def table(smoothing: float = 0.0) -> CentroidTable:
    header = TableHeader(
        format=FORMAT,
        members=("a", "b"),
        embedder="e",
        clusters=2,
        method="by hand",
        seed=0,
        smoothing=smoothing,
        datasets={"sums": 2},
        macro=(0.9, 0.1),
        best_single="a",
        similarity_floor=-1.0,
        kinds=(),
        fitted_at="",
        provenance="",
        top_k=1,
    )
    return CentroidTable(
        header,
        centroids=np.array([EAST, NORTH], dtype=np.float32),
        accuracy=np.array([[0.9, 0.1], [0.9, 0.1]], dtype=np.float32),
        counts=np.full((2, 2), 10, dtype=np.int32),
        kinds=np.zeros((2, 0), dtype=np.int32),
    )


def row(name: str, answers: Answers, kind: Kind | None = None) -> OutcomeRow:
    return OutcomeRow(name, "sums", "maths", {"a": 1.0, "b": 0.0}, kind=kind, answers={"a": answers, "b": ALIKE})


def single(name: str, score: float) -> OutcomeRow:
    return OutcomeRow(name, "sums", "maths", {"a": score, "b": 0.0})


def budgets(*answers: Answers, at: Any, smoothing: float = 0.0, greedy: Sequence[float] | None = None) -> list[int]:
    """Budgets after votes at these places, beside greedy answers that are as right as the first sample."""
    rows = [row(str(place), each) for place, each in enumerate(answers)]
    scores = [each[0][1] for each in answers] if greedy is None else greedy
    singles = [single(str(place), score) for place, score in enumerate(scores)]
    found = with_budgets(table(smoothing), np.array(at, dtype=np.float32), rows, singles).samples
    assert found is not None
    return list(found)


def test_a_vote_is_as_right_as_its_winner() -> None:
    assert voted((RIGHT, WRONG, WRONG, WRONG), 1) == 0.25
    assert voted((RIGHT, WRONG, WRONG, WRONG), 2) == 0.5  # the first pair is a tie, which the earlier sample wins
    assert voted((RIGHT, WRONG, WRONG, WRONG), 4) == 0.0
    assert voted(((None, 0.0), (None, 0.0)), 2) == 0.0


def test_samples_are_spent_where_the_vote_gains_and_nowhere_else() -> None:
    assert budgets(HELPED, HELPED, ALIKE, ALIKE, at=[EAST, EAST, NORTH, NORTH]) == [4, 1]


def test_a_vote_has_to_be_better_than_the_greedy_answer_not_than_a_sample() -> None:
    at = [EAST, EAST, NORTH, NORTH]
    assert budgets(*[HELPED] * 4, at=at, greedy=[1.0, 1.0, 0.0, 0.0]) == [1, 4]


def test_questions_without_a_greedy_answer_say_nothing() -> None:
    mean = row("0", HELPED)  # of four samples, so it is not the greedy answer
    other = dataclasses.replace(single("0", 0.0), prompt="another question under the same name")
    for singles in ([], [mean], [other], [single("1", 0.0)]):
        with pytest.raises(BadRequest, match="without and with --samples 8"):
            with_budgets(table(), np.array([EAST], dtype=np.float32), [row("0", HELPED)], singles)


@pytest.mark.parametrize("kind", ["text", "code"])
def test_what_is_not_voted_on_says_nothing_of_votes(kind: Kind) -> None:
    voted_on = [row("0", HELPED, "number"), row("1", HELPED, "number")]
    others = [row(f"other {place}", ALIKE, kind) for place in range(9)]
    singles = [single(each.id, each.answers["a"][0][1]) for each in [*voted_on, *others] if each.answers]
    at = np.array([EAST] * 11, dtype=np.float32)
    found = with_budgets(table(smoothing=1.0), at, [*voted_on, *others], singles).samples
    assert found is not None
    assert found.tolist() == [4, 4]


def test_a_gain_that_may_well_be_chance_is_not_paid_for() -> None:
    assert budgets(HELPED, at=[EAST]) == [1, 1]  # one question says nothing
    for others in (1, 9, 49, 500):  # and so it is among others that a vote does not change
        assert budgets(HELPED, *[ALIKE] * others, at=[EAST] * (1 + others)) == [1, 1]
    assert budgets(HELPED, HELPED, HURT, at=[EAST] * 3) == [1, 1]  # 33 points on average, give or take 67
    assert budgets(*[HELPED] * 9, HURT, at=[EAST] * 10) == [4, 4]  # 80 points, give or take 20


def test_the_fewest_samples_that_gain_all_there_is_are_enough() -> None:
    four = (WRONG, RIGHT, RIGHT, RIGHT)
    assert budgets(four + four, four + four, at=[EAST] * 2) == [4, 4]
    eight = (WRONG, WRONG, RIGHT, ODD, RIGHT, RIGHT, RIGHT, RIGHT)  # the first four elect a wrong one
    assert budgets(eight, eight, at=[EAST] * 2) == [8, 8]


def test_two_samples_are_no_vote() -> None:
    with pytest.raises(BadRequest, match="--samples 8"):
        budgets(HELPED[:2], HELPED[:2], at=[EAST] * 2)


@pytest.mark.parametrize("at", [EAST, NORTH])
def test_a_cluster_takes_what_holds_for_its_kinds_wherever_the_votes_were(at: tuple[float, float]) -> None:
    plain = table(smoothing=1000.0)
    header = dataclasses.replace(plain.header, kinds=("number", "choice"))
    mixed = dataclasses.replace(plain, header=header, kinds=np.array([[9, 0], [0, 9]], dtype=np.int32))
    votes: list[tuple[Kind, Answers]] = [("number", HELPED), ("number", HELPED), ("choice", ALIKE), ("choice", ALIKE)]
    rows = [row(str(place), each, kind) for place, (kind, each) in enumerate(votes)]
    singles = [single(str(place), each[0][1]) for place, (_, each) in enumerate(votes)]
    found = with_budgets(mixed, np.array([at] * 4, dtype=np.float32), rows, singles).samples
    assert found is not None
    assert found.tolist() == [4, 1]


def test_smoothing_draws_a_cluster_towards_all() -> None:
    at = [EAST, EAST, NORTH, NORTH]
    assert budgets(HELPED, HELPED, ALIKE, ALIKE, at=at, smoothing=1000.0) == [4, 4]


def test_without_votes_of_the_member_in_front_there_is_no_budget() -> None:
    other = OutcomeRow("0", "sums", "maths", {"a": 1.0, "b": 0.0}, answers={"a": (RIGHT,), "b": ALIKE})
    with pytest.raises(BadRequest, match="--samples 8"):
        with_budgets(table(), np.array([EAST], dtype=np.float32), [other], [single("0", 0.0)])


@given(st.lists(st.sampled_from([RIGHT, WRONG, ODD, (None, 0.0)]), min_size=4, max_size=16), st.integers(1, 9))
def test_a_budget_is_a_power_of_two_and_never_more_than_was_measured(answers: list[Any], alike: int) -> None:
    (east, north) = budgets(*[tuple(answers)] * alike, at=[EAST] * alike)
    assert east == north
    assert 1 <= east <= len(answers)
    assert east & (east - 1) == 0


def test_the_budget_comes_back_from_the_file_and_out_of_the_router(tmp_path: Path) -> None:
    whole = dataclasses.replace(table(), samples=np.array([4, 1], dtype=np.int32))
    whole.save(tmp_path / "t.safetensors")
    router = Router(CentroidTable.load(tmp_path / "t.safetensors", fingerprint="e"))
    assert [router.route(vector).samples for vector in (EAST, NORTH)] == [4, 1]
    assert Router(table()).route(EAST).samples is None
