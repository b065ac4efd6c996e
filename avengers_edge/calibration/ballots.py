"""What votes are worth: recorded answers in, each cluster's sample budget and a calibration of confidence out.

A vote is a function of its samples, so that it is replayed here from what was recorded, by the rules of `election`: two
ways of one model begin with their greedy answers and are sampled on where these differ; one way has all its samples
vote.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np

from avengers_edge.calibration.clustering import one_thread
from avengers_edge.calibration.outcomes import Answers, OutcomeRow, Vectors
from avengers_edge.errors import BadRequest
from avengers_edge.records import Calibration, Kind, VoteForm
from avengers_edge.routing.router import Router
from avengers_edge.routing.table import CentroidTable
from avengers_edge.voting.ballot import agreement, tally, vote_weight
from avengers_edge.voting.kinds import SINGLE_SAMPLE_KINDS

LEAST_QUESTIONS = 30
"""A budget and a calibration rest on so many questions at least."""

BUDGETS = (1, 2, 4, 6, 8, 10, 12, 16)
_CONFIDENT = 1.96
"""Standard errors of a gain that is more than chance in 19 of 20 cases."""

_LETTERS = ":letters"


@dataclasses.dataclass(frozen=True, slots=True)
class Voter:
    """One member's record on one question: its expected accuracy, its greedy answer, and its samples, if any."""

    name: str
    expected: float
    greedy: tuple[str | None, float]
    samples: Answers = ()
    agreement: float | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Vote:
    """How a vote went: how right its winner is, the winner's share, and who is expected to know best how well."""

    form: VoteForm
    score: float
    agreement: float | None
    expected: float
    samples: int


def hold(voters: Sequence[Voter], kind: Kind, budget: int) -> Vote | None:
    """Replay a vote; None where too few samples were recorded for it.

    Args:
        voters: the ranked members, best first; only the first two vote, and only if they are ways of one model.
        kind: what an answer is.
        budget: how many samples may vote. 1 is the greedy answer of the first voter that has one.

    """
    first, *others = voters
    if budget == 1:
        return _greedy(voters)
    weights = [vote_weight(voter.expected, kind) for voter in voters[:2]]
    if not others:
        answers = first.samples[:budget]
        return _elected("samples", [(*each, weights[0]) for each in answers], first, budget)
    pair = (first.greedy, others[0].greedy)
    opening = [(*answer, weight) for answer, weight in zip(pair, weights, strict=True)]
    keys = [key for key, _ in pair]
    if None in keys or keys[0] == keys[1]:
        return _elected("ways", opening, first, 2)
    rest = [
        (*answer, weight)
        for both in zip(first.samples, others[0].samples, strict=False)
        for answer, weight in zip(both, weights, strict=True)
    ]
    return _elected("ways", [*opening, *rest][:budget], first, budget)


def _greedy(voters: Sequence[Voter]) -> Vote:
    for voter in voters:
        if voter.greedy[0] is not None or voter is voters[-1]:
            return Vote("greedy", voter.greedy[1], None, voter.expected, 1)
    raise AssertionError("there is no voter")


def _elected(form: VoteForm, votes: Sequence[tuple[str | None, float, int]], first: Voter, count: int) -> Vote | None:
    if len(votes) < count:
        return None
    standing = tally([key for key, _, _ in votes], [weight for _, _, weight in votes])
    right = next((score for key, score, _ in votes if standing and key == standing[0].key), 0.0)
    return Vote(form, right, agreement(standing), first.expected, count)


def letters_vote(voter: Voter) -> Vote:
    """Give the vote over the orders of the options, which a greedy answer by letters is."""
    return Vote("letters", voter.greedy[1], voter.agreement, voter.expected, 1)


def with_ballots(
    table: CentroidTable, vectors: Vectors, rows: Sequence[OutcomeRow], votes: Sequence[OutcomeRow]
) -> CentroidTable:
    """Give a table the sample budgets and the calibrated confidence that recorded votes support.

    A budget is worth what it gains over the greedy answer to the same questions, kind by kind. It pays only if at least
    `LEAST_QUESTIONS` questions say so and the gain is more than chance (a 95 % interval above 0); of those that pay,
    the smallest is taken that is not worse than the best by more than one standard error (Breiman's rule). A cluster
    takes the budget of the kind that most of its questions are of. Two ways that agree say how right that is without
    samples.

    Args:
        table: with the members that were recorded.
        vectors: (N, D) unit rows, one a question.
        rows: the N outcomes of greedy answers.
        votes: outcomes with several answers, to some of the same questions, their keys named as in `rows`.

    Raises:
        BadRequest: no question has both a greedy and a voted answer of the member that it would be routed to.

    """
    records = _records(table, vectors, rows, votes)
    if not any(voter.samples for _, voters in records for voter in voters):
        raise BadRequest(
            "no question was answered both greedily and several times by the members it would be routed to: measure "
            "the same questions with `avengers calibrate measure`, without and with --samples 8"
        )
    budgets = {kind: _budget([voters for own, voters in records if own == kind], kind) for kind, _ in records}
    chosen = [_of_cluster(made_of, table, budgets) for made_of in table.kinds]
    held = [
        vote
        for kind, voters in records
        if (vote := letters_vote(voters[0]) if _by_letters(voters) else hold(voters, kind, max(2, budgets[kind])))
    ]
    return dataclasses.replace(
        table,
        header=dataclasses.replace(table.header, confidence=calibrated(held)),
        samples=np.array(chosen, dtype=np.int32),
    )


def _records(
    table: CentroidTable, vectors: Vectors, rows: Sequence[OutcomeRow], votes: Sequence[OutcomeRow]
) -> list[tuple[Kind, tuple[Voter, ...]]]:
    """Find who would be asked each question, and what they answered."""
    members, expected = table.header.members, Router(table).expected(vectors)
    sampled = {(row.id, row.prompt): row.answers or {} for row in votes}
    records = []
    for row, accuracy in zip(rows, expected, strict=True):
        if row.kind is None or row.kind in SINGLE_SAMPLE_KINDS:
            continue
        samples = sampled.get((row.id, row.prompt), {})
        order = sorted(range(len(members)), key=lambda place: -accuracy[place])
        voters = [
            Voter(
                members[place],
                float(accuracy[place]),
                greedy,
                samples.get(members[place], ()),
                (row.agreement or {}).get(members[place]),
            )
            for place in order
            if (greedy := _greedy_of(row, members[place]))
        ]
        if not voters or voters[0].name != members[order[0]]:
            continue
        by_letters = any(each.name.endswith(_LETTERS) for each in voters[:2])
        second = [each for each in voters[1:2] if not by_letters and _model(each) == _model(voters[0])]
        records.append((row.kind, (voters[0], *second)))
    return records


def _greedy_of(row: OutcomeRow, name: str) -> tuple[str | None, float] | None:
    """Find a member's greedy answer; where its key was not kept it is one that nobody else gave."""
    answers = (row.answers or {}).get(name, ())
    if len(answers) > 1 or name not in row.scores:
        return None
    return answers[0] if answers else (f"of {name}", row.scores[name])


def _model(voter: Voter) -> str:
    return voter.name.partition(":")[0]


def _by_letters(voters: Sequence[Voter]) -> bool:
    return voters[0].name.endswith(_LETTERS)


def _budget(records: Sequence[Sequence[Voter]], kind: Kind) -> int:
    """Choose the budget of one kind of answer."""
    best, best_mean = 1, 0.0
    paying: list[tuple[int, float, float]] = []
    for budget in BUDGETS[1:]:
        pairs = [
            (vote.score, hold(voters, kind, 1).score)  # type: ignore[union-attr]
            for voters in records
            if not _by_letters(voters) and (vote := hold(voters, kind, budget)) is not None
        ]
        if len(pairs) < LEAST_QUESTIONS:
            continue
        gains = np.array([voted - alone for voted, alone in pairs])
        error = float(gains.std(ddof=1)) / math.sqrt(len(gains))
        if gains.mean() - _CONFIDENT * error > 0:
            paying.append((budget, float(gains.mean()), error))
    if paying:
        best, best_mean, error = max(paying, key=lambda each: each[1])
        best = next(budget for budget, mean, _ in paying if mean >= best_mean - error)
    return best


def _of_cluster(made_of: Sequence[int], table: CentroidTable, budgets: Mapping[Kind, int]) -> int:
    counts = [int(count) for count in made_of]
    if not any(counts):
        return 1
    most = table.header.kinds[counts.index(max(counts))]
    return next((budget for kind, budget in budgets.items() if kind == most), 1)


def calibrated(votes: Sequence[Vote]) -> dict[VoteForm, Calibration]:
    """Fit the chance that a vote's winner is right to its share and its first member's record (Platt 1999).

    Raises:
        MissingExtra: scikit-learn is not installed.

    """
    found: dict[VoteForm, Calibration] = {}
    for form in dict.fromkeys(vote.form for vote in votes):
        own = [vote for vote in votes if vote.form == form and vote.agreement is not None]
        right = np.array([vote.score >= 0.5 for vote in own])
        if len(own) < LEAST_QUESTIONS or right.all() or not right.any():
            continue
        with one_thread("calibrating confidence"):
            from sklearn.linear_model import LogisticRegression

            shares = np.array([[vote.agreement or 0.0, Calibration.log_odds(vote.expected)] for vote in own])
            model = LogisticRegression(C=10.0).fit(shares, right)
        agreed, expected = model.coef_[0].tolist()
        found[form] = Calibration(float(model.intercept_[0]), agreed, expected)
    return found
