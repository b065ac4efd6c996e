"""How long the rest of a long run may take."""

from __future__ import annotations

import time
from collections.abc import Callable


class Pace:
    """Guesses what is left of `total` steps from what was done since the start; `done` were done before it.

    `clock` gives seconds that only grow.
    """

    def __init__(self, done: int, total: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.done, self.total = done, total
        self._clock, self._began, self._first = clock, clock(), done

    def tick(self) -> float:
        """Count a step; give the seconds that the rest may take."""
        self.done += 1
        each = (self._clock() - self._began) / (self.done - self._first)
        return each * (self.total - self.done)
