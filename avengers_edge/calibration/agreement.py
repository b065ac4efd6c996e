"""Does agreement among samples tell right answers from wrong ones? Votes in, a reliability diagram's numbers out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from avengers_edge.calibration.findings import Bin, Reliability
from avengers_edge.calibration.outcomes import OutcomeRow, percent
from avengers_edge.voting.ballot import agreement, tally

_BINS = 10
_ROUNDING = 1e-9  # so that 3 of 10 votes lie in the bin that ends at 30 %


def reliability(rows: Sequence[OutcomeRow], members: Sequence[str]) -> Reliability | None:
    """Compare each member's vote on each question with whether it was right; None if nobody gave two samples."""
    votes = np.array(list(_votes(rows, members)))
    if not len(votes):
        return None
    share, right = votes.T
    place = np.ceil(share * _BINS - _ROUNDING).astype(int) - 1
    bins = tuple(
        Bin(
            low=100 * at / _BINS,
            high=100 * (at + 1) / _BINS,
            votes=int((place == at).sum()),
            agreement=percent(share[place == at].mean()),
            right=percent(right[place == at].mean()),
        )
        for at in np.unique(place).tolist()
    )
    gap = sum(each.votes * abs(each.agreement - each.right) for each in bins) / len(votes)
    return Reliability(len(votes), bins, round(gap, 2), round(float(((share - right) ** 2).mean()), 4))


def _votes(rows: Sequence[OutcomeRow], members: Sequence[str]) -> Iterator[tuple[float, float]]:
    """Yield the winner's share of the votes cast, and the score of the first sample that gave it."""
    for row in rows:
        for member in members:
            answers = (row.answers or {}).get(member, ())
            votes = tally([key for key, _ in answers])
            share = agreement(votes)
            if len(answers) > 1 and share is not None:
                yield share, next(score for key, score in answers if key == votes[0].key)
