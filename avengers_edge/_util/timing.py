"""Where an answer's milliseconds went, and how long the rest of a long run may take."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence

from avengers_edge.records import Generation, Timings


class Clock:
    """Milliseconds by step, since the question came in."""

    def __init__(self) -> None:
        self._start = time.perf_counter()
        self._spent: dict[str, float] = {}

    @contextlib.contextmanager
    def __call__(self, step: str) -> Iterator[None]:
        """Time a step; what it took before is added to."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self._spent[step] = self._spent.get(step, 0.0) + (time.perf_counter() - start) * 1000

    def timings(self, generations: Sequence[Generation]) -> Timings:
        """Add what the engine took, and the total up to now."""
        spent = {step: round(self._spent.get(step, 0.0), 3) for step in ("embed", "route", "load")}
        return Timings(
            embed=spent["embed"],
            route=spent["route"],
            load=spent["load"],
            prefill=round(sum(generation.prefill_ms for generation in generations), 3),
            decode=round(sum(generation.decode_ms for generation in generations), 3),
            total=round((time.perf_counter() - self._start) * 1000, 3),
        )


class Eta:
    """Estimates the remaining time of `total` steps from those since the start; `done` were done before it.

    `clock` returns seconds that only grow.
    """

    def __init__(self, done: int, total: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.done, self.total = done, total
        self._clock, self._began, self._first = clock, clock(), done

    def tick(self) -> float:
        """Count a step; return the seconds that the rest may take."""
        self.done += 1
        each = (self._clock() - self._began) / (self.done - self._first)
        return each * (self.total - self.done)
