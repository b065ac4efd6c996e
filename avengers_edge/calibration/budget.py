"""How many samples a vote is worth, cluster by cluster: votes that were measured in, a sample budget a cluster out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from avengers_edge.calibration.clustering import nearest
from avengers_edge.calibration.outcomes import Answers, Floats, OutcomeRow, Vectors
from avengers_edge.errors import BadRequest
from avengers_edge.records import Kind
from avengers_edge.routing.router import Router
from avengers_edge.routing.table import CentroidTable
from avengers_edge.voting.kinds import UNVOTED
from avengers_edge.voting.tally import tally

_LEAST_VOTE = 4
"""Two samples that differ are a tie, which the first one wins: that is one answer at the price of two."""

_WORTHLESS = 0.005
"""A gain below half a point of accuracy is not worth doubling the samples."""

_ALONE, _ROUNDING = 1 - 1e-6, 1e-9
"""A question with more of the weight than this stands alone; a gain equal to its error is not more than it."""


def with_budgets(
    table: CentroidTable, vectors: Vectors, rows: Sequence[OutcomeRow], single: Sequence[OutcomeRow]
) -> CentroidTable:
    """Give each cluster of a table the fewest samples whose vote gains all that voting gains there.

    Each question's votes are those of the member that the table ranks first for it. A vote of n is judged on
    consecutive groups of n samples, and has to be better than the greedy answer to the same question, which is what a
    budget of 1 asks for; questions without one, and those whose answers no vote counts, say nothing. A cluster's gain
    is drawn, by the table's smoothing, towards the gain over all questions of the kinds that it is made of: whether
    voting helps depends on what is voted on more than on what is asked about. It counts as far as it is more than
    chance.

    Args:
        table: with members that were measured with several samples.
        vectors: (N, D) unit rows, one a question.
        rows: the N outcomes with their answers.
        single: outcomes of greedy answers, of these questions or of others.

    Raises:
        BadRequest: no row has a vote, and a greedy answer, of the member that it would be routed to.

    """
    members, places = table.header.members, Router(table).expected(vectors).argmax(axis=1)
    greedy = _greedy_scores(single)
    asked = [(row, members[place]) for row, place in zip(rows, places, strict=True)]
    votes = [(row.answers or {}).get(name, ()) for row, name in asked]
    usable = [
        at
        for at, (row, name) in enumerate(asked)
        if len(votes[at]) >= _LEAST_VOTE and row.kind not in UNVOTED and (row.id, row.prompt, name) in greedy
    ]
    if not usable:
        raise BadRequest(
            "no question was answered both greedily and several times by the member it would be routed to: measure "
            "the same questions with `avengers calibrate measure`, without and with --samples 8"
        )
    widths = _widths(min(len(votes[at]) for at in usable))
    singly = np.array([[greedy[row.id, row.prompt, name]] for row, name in (asked[at] for at in usable)])
    curves = np.array([[voted(votes[at], width) for width in widths] for at in usable])
    gains = np.hstack([singly, curves]) - singly
    assigned = nearest(vectors[usable], table.centroids)
    kinds = [rows[at].kind for at in usable]
    budgets = []
    for cluster, made_of in enumerate(table.kinds):
        alike = _alike(kinds, dict(zip(table.header.kinds, made_of.tolist(), strict=True)))
        budgets.append((1, *widths)[_enough(gains, _weights(assigned == cluster, alike, table.header.smoothing))])
    return replace(table, samples=np.array(budgets, dtype=np.int32))


def _greedy_scores(rows: Sequence[OutcomeRow]) -> dict[tuple[str, str | None, str], float]:
    """Find the scores of single answers, by id and prompt of the question and by member."""
    return {
        (row.id, row.prompt, name): score
        for row in rows
        for name, score in row.scores.items()
        if len((row.answers or {}).get(name, ())) <= 1  # what others measured comes without its answers
    }


def voted(answers: Answers, width: int) -> float:
    """Give the mean score of the votes of each `width` samples in a row; a vote is as right as its first sample."""
    return float(np.mean(list(_votes(answers, width))))


def _votes(answers: Answers, width: int) -> Iterator[float]:
    for start in range(0, len(answers) - width + 1, width):
        group = answers[start : start + width]
        votes = tally([key for key, _ in group])
        yield next(score for key, score in group if key == votes[0].key) if votes else 0.0


def _widths(most: int) -> list[int]:
    return [2**power for power in range(most.bit_length()) if 2**power >= _LEAST_VOTE]


def _alike(kinds: Sequence[Kind | None], made_of: Mapping[str, int]) -> Floats:
    """Weigh the questions by how much of a cluster is of their kind; all alike where it has none of their kinds."""
    asked = Counter(kinds)
    shares = np.array([made_of.get(kind or "", 0) / asked[kind] for kind in kinds])
    return shares / shares.sum() if shares.any() else np.full(len(kinds), 1 / len(kinds))


def _weights(own: NDArray[np.bool_], alike: Floats, smoothing: float) -> Floats:
    """Weigh the questions: a cluster's own, and those like them as `smoothing` more of it; the sum is 1."""
    added = max(smoothing, 1e-9)  # a cluster without votes takes the gain of its kinds
    weights: Floats = (own + added * alike) / (own.sum() + added)
    return weights


def _enough(gains: Floats, weights: Floats) -> int:
    """Choose the first width whose gain is not less than the best one's by more than chance or a trifle.

    The margin is one standard error of the weighted mean of the differences, question by question: with a few dozen of
    them the widest vote would else win by luck, and each doubling of the samples doubles the seconds. The variance is
    the unbiased one, by which a single question says nothing, however much it gains.
    """
    behind = gains[:, [int((weights @ gains).argmax())]] - gains
    mean = weights @ behind
    variance, bias = weights**2 @ (behind - mean) ** 2, weights @ weights
    error = np.sqrt(variance / (1 - bias)) if bias < _ALONE else np.full_like(mean, np.inf)
    return int(np.argmax(mean <= np.maximum(error, _WORTHLESS) + _ROUNDING))
