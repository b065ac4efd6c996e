"""How many samples a vote is worth, cluster by cluster: votes that were measured in, a sample budget a cluster out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from avengers_edge.calibration.clustering import nearest
from avengers_edge.calibration.outcomes import Answers, Floats, OutcomeRow, Vectors
from avengers_edge.errors import BadRequest
from avengers_edge.routing.router import Router
from avengers_edge.routing.table import CentroidTable
from avengers_edge.voting.tally import tally

_WORTHLESS = 0.005
"""A gain below half a point of accuracy is not worth doubling the samples."""


def with_budgets(table: CentroidTable, vectors: Vectors, rows: Sequence[OutcomeRow]) -> CentroidTable:
    """Give each cluster of a table the fewest samples whose vote gains all that voting gains there.

    Each question's votes are those of the member that the table ranks first for it. A vote of n is judged on
    consecutive groups of n samples, n in powers of two. A cluster's gain over a single sample is drawn towards the gain
    over all questions as its accuracies are, by the table's smoothing, and counts as far as it is more than chance.

    Args:
        table: with members that were measured with several samples.
        vectors: (N, D) unit rows, one a question.
        rows: the N outcomes with their answers, all with as many samples.

    Raises:
        BadRequest: no row has two samples of the member that it would be routed to.

    """
    members, places = table.header.members, Router(table).expected(vectors).argmax(axis=1)
    answers = [(row.answers or {}).get(members[place], ()) for row, place in zip(rows, places, strict=True)]
    usable = [at for at, each in enumerate(answers) if len(each) > 1]
    if not usable:
        raise BadRequest(
            "no question was answered several times by the member it would be routed to: measure votes with "
            "`avengers calibrate measure --samples 8`"
        )
    widths = _widths(min(len(answers[at]) for at in usable))
    curves = np.array([[voted(answers[at], width) for width in widths] for at in usable])
    gains = curves - curves[:, :1]
    assigned = nearest(vectors[usable], table.centroids)
    budgets = [
        widths[_enough(gains, _weights(assigned == cluster, table.header.smoothing))]
        for cluster in range(table.header.clusters)
    ]
    return replace(table, samples=np.array(budgets, dtype=np.int32))


def voted(answers: Answers, width: int) -> float:
    """Give the mean score of the votes of each `width` samples in a row; a vote is as right as its first sample."""
    return float(np.mean(list(_votes(answers, width))))


def _votes(answers: Answers, width: int) -> Iterator[float]:
    for start in range(0, len(answers) - width + 1, width):
        group = answers[start : start + width]
        votes = tally([key for key, _ in group])
        yield next(score for key, score in group if key == votes[0].key) if votes else 0.0


def _widths(most: int) -> list[int]:
    return [2**power for power in range(most.bit_length())]


def _weights(own: NDArray[np.bool_], smoothing: float) -> Floats:
    """Weigh the questions: a cluster's own, and all of them together as `smoothing` more of it; the sum is 1."""
    added = max(smoothing, 1e-9)  # a cluster without votes takes the gain over all
    weights: Floats = (own + added / len(own)) / (own.sum() + added)
    return weights


def _enough(gains: Floats, weights: Floats) -> int:
    """Choose the first width whose gain is not less than the best one's by more than chance or a trifle.

    The margin is one standard error of the mean of the differences, question by question: with a few dozen of them the
    widest vote would else win by luck, and each doubling of the samples doubles the seconds.
    """
    behind = gains[:, [int((weights @ gains).argmax())]] - gains
    mean = weights @ behind
    error = np.sqrt(weights**2 @ (behind - mean) ** 2)
    return int(np.argmax(mean <= np.maximum(error, _WORTHLESS)))
