"""When a worker process that says nothing is to be given up."""

from __future__ import annotations

_LOOKS = 8
_LONGEST_GLANCE = 5.0


class Silence:
    """Counts how long a worker that has something to do has said nothing.

    It is counted in glances, not on a clock: when the machine or this process slept, the worker is not to blame.
    """

    def __init__(self, patience: float) -> None:
        self.patience = patience
        self._heard, self._seconds = -1, 0.0

    @property
    def glance(self) -> float:
        """How many seconds lie between two looks."""
        return min(self.patience / _LOOKS, _LONGEST_GLANCE)

    def too_long(self, heard: int, *, excused: bool) -> bool:
        """Take a look: `heard` counts its signs of life, `excused` means that none is due.

        Returns:
            Whether it has been silent for as long as `patience`.

        """
        if excused or heard != self._heard:
            self._heard, self._seconds = heard, 0.0
        else:
            self._seconds += self.glance
        return self._seconds >= self.patience
