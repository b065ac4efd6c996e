"""What a step costs by its number of rows: measured once a model and machine, and the basis of every plan."""

from __future__ import annotations

import bisect
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from avengers_edge.errors import BadRequest

if TYPE_CHECKING:  # it brings numpy, which the parent of a worker does without
    from avengers_edge.engine.llama_context import LlamaContext

_LEAST_PREFILL = 16
_PAUSE = 1.0  # seconds
_ODDS = 0.8
_MOST_ROWS = 2**20

_SAMPLES = (1, 2, 4, 6, 8, 10, 12, 16, 20, 24, 32, 48, 63, 96, 128, 192, 255)
_PROMPT_ROWS = 256  # more than any step of samples has
_CONTEXT = 64  # tokens before each row, as an early sample has
_REPEATS = 3
_LEAST = 16  # samples; beyond, the curve goes on as it went


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


def measure_steps(
    context: LlamaContext, *, budget: float, on_heartbeat: Callable[[], None] = lambda: None, token: int = 0
) -> StepCurve:
    """Time steps of one row a sample, and one of prompt tokens only. The cache has to be empty, and is so afterwards.

    Narrow ones are timed in any case, wide ones and all of them again while `budget` seconds last; the quickest time
    counts, since whatever else the machine does only ever adds.
    """
    end = time.monotonic() + budget
    most = min(context.outputs, context.sequences - 1, context.cells - _CONTEXT)
    widths = [rows for rows in _SAMPLES if rows <= most]
    prompt_rows = min(_PROMPT_ROWS, context.batch_size, context.cells - _CONTEXT, context.longest)
    best: dict[int, float] = {}

    def timed(sequences: Sequence[int], first: int, *, wanted: bool) -> None:
        count = len(sequences)
        positions = [first] * count if wanted else list(range(first, first + count))
        begin = time.perf_counter()
        context.decode([token] * count, positions, list(sequences), [wanted] * count)
        seconds = max(round(time.perf_counter() - begin, 6), 1e-6)  # as it is kept, so that every plan is the same
        best[count] = min(seconds, best.get(count, seconds))
        on_heartbeat()

    def step(rows: int) -> None:
        samples = range(1, rows + 1)
        for sample in samples:
            context.copy_prefix(0, sample, _CONTEXT)
        at = _CONTEXT
        if context.split:  # the cells are copied by the first step that reads them
            context.decode([token] * rows, [at] * rows, list(samples), [False] * rows)
            at += 1
        timed(samples, at, wanted=True)
        for sample in samples:
            context.release(sample)

    def prompt() -> None:
        timed([1] * prompt_rows, 0, wanted=False)
        context.release(1)

    context.clear()
    try:
        timed([0] * _CONTEXT, 0, wanted=False)
        step(1)  # warms up
        best.clear()
        for repeat in range(_REPEATS):
            for rows in widths:
                if rows <= _LEAST or time.monotonic() < end:
                    step(rows)
            if not repeat or time.monotonic() < end:
                prompt()
            if time.monotonic() >= end:
                break
    finally:
        context.clear()
    return StepCurve(tuple(sorted(best.items())))
