"""Sample budgets of clusters and a calibration of confidence, from recorded answers.

A vote is a function of its samples, so that it is replayed here from what was recorded, by the rules of `election`: two
ways of one model begin with their greedy answers and are sampled on where these differ; one way has all its samples
vote.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence

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

BUDGETS = (2, 4, 6, 8, 10, 12, 16)
_CONFIDENT = 1.96  # standard errors of a gain that is more than chance in 19 of 20 cases


@dataclasses.dataclass(frozen=True, slots=True)
class Voter:
    """One member's record on one question: its expected accuracy, its greedy answer, and its samples, if any.

    `agreement` is the winner's share where the greedy answer was elected, as by letters.
    """

    name: str
    expected: float
    greedy: tuple[str | None, float]
    samples: Answers = ()
    agreement: float | None = None

    @property
    def model(self) -> str:
        """The member's model."""
        return self.name.partition(":")[0]

    @property
    def by_letters(self) -> bool:
        """Whether its greedy answer is a vote over the orders of the options."""
        return self.name.endswith(":letters")


@dataclasses.dataclass(frozen=True, slots=True)
class Vote:
    """A replayed vote: the winner's score, its share, the first voter's expected accuracy, and the samples counted."""

    form: VoteForm
    score: float
    agreement: float | None
    expected: float
    samples: int


def replay_vote(voters: Sequence[Voter], kind: Kind, budget: int) -> Vote | None:
    """Replay a vote; None where too few samples were recorded for it.

    Args:
        voters: the ranked members, best first; only the first two vote, and only if they are ways of one model.
        kind: what an answer is.
        budget: how many samples may vote. 1 is the greedy answer of the first voter that has one.

    """
    if budget == 1:
        return _greedy(voters)
    first, *others = voters
    weights = [vote_weight(voter.expected, kind) for voter in voters[:2]]
    if not others:
        return _elected("samples", [(*each, weights[0]) for each in first.samples[:budget]], first, budget)
    opening, *rest = (
        [(*answer, weight) for answer, weight in zip(pair, weights, strict=True)]
        for pair in [(first.greedy, others[0].greedy), *zip(first.samples, others[0].samples, strict=False)]
    )
    keys = [key for key, _, _ in opening]
    if None in keys or keys[0] == keys[1]:
        return _elected("ways", opening, first, 2)
    return _elected("ways", [*opening, *itertools.chain(*rest)][:budget], first, budget)


def _greedy(voters: Sequence[Voter]) -> Vote:
    voter = next((each for each in voters if each.greedy[0] is not None), voters[-1])
    return Vote("greedy", voter.greedy[1], None, voter.expected, 1)


def _elected(form: VoteForm, votes: Sequence[tuple[str | None, float, int]], first: Voter, count: int) -> Vote | None:
    if len(votes) < count:
        return None
    ranked = tally([key for key, _, _ in votes], [weight for _, _, weight in votes])
    right = next((score for key, score, _ in votes if ranked and key == ranked[0].key), 0.0)
    return Vote(form, right, agreement(ranked), first.expected, count)


def letters_vote(voter: Voter) -> Vote:
    """Return the vote over the orders of the options, which a greedy answer by letters is."""
    return Vote("letters", voter.greedy[1], voter.agreement, voter.expected, 1)


def with_sample_budgets(
    table: CentroidTable, vectors: Vectors, rows: Sequence[OutcomeRow], votes: Sequence[OutcomeRow]
) -> CentroidTable:
    """Add the sample budgets and the calibrated confidence that recorded votes support to a table.

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
    budgets: dict[str, int] = {
        kind: _budget([voters for own, voters in records if own == kind], kind) for kind, _ in records
    }
    kinds = [table.header.kinds[made_of.argmax()] if made_of.any() else "" for made_of in table.kinds]
    replayed = [
        letters_vote(voters[0]) if voters[0].by_letters else replay_vote(voters, kind, max(2, budgets[kind]))
        for kind, voters in records
    ]
    return dataclasses.replace(
        table,
        header=dataclasses.replace(table.header, confidence=calibrated([vote for vote in replayed if vote])),
        samples=np.array([budgets.get(kind, 1) for kind in kinds], dtype=np.int32),
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
        samples, agreements = sampled.get((row.id, row.prompt), {}), row.agreement or {}
        ranked = [members[place] for place in np.argsort(-accuracy, kind="stable")]
        shares = dict(zip(members, accuracy.tolist(), strict=True))
        voters = [
            Voter(name, shares[name], greedy, samples.get(name, ()), agreements.get(name))
            for name in ranked
            if (greedy := _greedy_of(row, name))
        ]
        if not voters or voters[0].name != ranked[0]:
            continue
        first, second = voters[0], voters[1:2]
        if any(each.by_letters or each.model != first.model for each in (first, *second)):
            second = []
        records.append((row.kind, (first, *second)))
    return records


def _greedy_of(row: OutcomeRow, name: str) -> tuple[str | None, float] | None:
    """Find a member's greedy answer; where its key was not kept it is one that nobody else gave."""
    answers = (row.answers or {}).get(name, ())
    if len(answers) > 1 or name not in row.scores:
        return None
    return answers[0] if answers else (f"of {name}", row.scores[name])


def _budget(records: Sequence[Sequence[Voter]], kind: Kind) -> int:
    """Choose the budget of one kind of answer."""
    paying: list[tuple[int, float, float]] = []
    for budget in BUDGETS:
        gains = [
            vote.score - _greedy(voters).score
            for voters in records
            if not voters[0].by_letters and (vote := replay_vote(voters, kind, budget)) is not None
        ]
        if len(gains) < LEAST_QUESTIONS:
            continue
        mean, error = float(np.mean(gains)), float(np.std(gains, ddof=1)) / math.sqrt(len(gains))
        if mean - _CONFIDENT * error > 0:
            paying.append((budget, mean, error))
    if not paying:
        return 1
    _, best, error = max(paying, key=lambda each: each[1])
    return next(budget for budget, mean, _ in paying if mean >= best - error)


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
