"""What a step costs by its number of rows: measured once a model and machine, and the basis of every plan."""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from dataclasses import dataclass

from avengers_edge.errors import BadRequest

_LEAST_PREFILL = 16
_PAUSE = 1.0  # seconds
_ODDS = 0.8
_MOST_ROWS = 2**20


@dataclass(frozen=True, slots=True)
class StepCurve:
    """Seconds of one `llama_decode` by its number of rows (tokens), at ascending row counts; linear in between."""

    points: tuple[tuple[int, float], ...]

    def __post_init__(self) -> None:
        rows = [row for row, _ in self.points]
        ascending = bool(rows) and rows[0] >= 1 and rows[-1] <= _MOST_ROWS and rows == sorted(set(rows))
        if not ascending or any(not 1e-7 <= seconds < 1e6 for _, seconds in self.points):
            raise BadRequest("a step-time curve needs ascending row counts and plausible seconds: measure it again")

    def seconds(self, rows: int) -> float:
        """Estimate a step's seconds; beyond the last point as the last two go on."""
        counts = [row for row, _ in self.points]
        if rows <= counts[0] or len(counts) == 1:
            return self.points[0][1]
        right = min(max(bisect.bisect_left(counts, rows), 1), len(counts) - 1)
        (r0, s0), (r1, s1) = self.points[right - 1], self.points[right]
        return max(s0 + (s1 - s0) * (rows - r0) / (r1 - r0), min(s0, s1))

    def widest(self, limit: int) -> int:
        """Choose the number of samples to run at once when there is no end of them: most tokens a second."""
        return max(range(1, limit + 1), key=lambda rows: rows / self.seconds(rows))

    def beside(self, running: int, waiting: int) -> int:
        """Choose how many of `waiting` samples that may not be needed at all should start beside the running ones.

        Beside, k samples make each step longer by T(running + k) - T(running); afterwards they take steps of T(k). They
        are started while the first is at most four fifths of the second: small models seldom agree early.
        """
        now = self.seconds(running) if running else 0.0
        affordable = (k for k in range(waiting, 0, -1) if self.seconds(running + k) - now <= _ODDS * self.seconds(k))
        return next(affordable, 0)

    def prefill_beside(self, running: int, most: int) -> int:
        """Choose how many prompt tokens to evaluate in a step of running samples: about as long as the samples take.

        Or a second where that is longer: by so much a stream's next token comes later, and a newcomer's first sooner.
        """
        alone = self.seconds(running)
        limit = alone + max(alone, _PAUSE)
        low, high = min(_LEAST_PREFILL, most), most
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self.seconds(running + middle) <= limit else (low, middle - 1)
        return low

    def with_drafts(self, rows: int, acceptance: Sequence[float]) -> int:
        """Choose how many draft tokens to add to a step of `rows`: most expected tokens a second.

        `acceptance` has the probability that each is accepted, best first.
        """
        best, rate, expected = 0, rows / self.seconds(rows), float(rows)
        for count, probability in enumerate(acceptance, 1):
            expected += probability
            if (now := expected / self.seconds(rows + count)) > rate:
                best, rate = count, now
        return best


UNMEASURED = StepCurve(((1, 0.1), (16, 0.2), (64, 0.6), (512, 4.5)))
"""The shape of a CPU's curve, for when nothing was measured."""
