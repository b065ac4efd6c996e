"""A cancel event that tells at once."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator


class Recall(threading.Event):
    """An event that calls whoever waits for it, so that he need not look again and again.

    It can be given wherever a `cancel` event is taken.
    """

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()
        self._listeners: list[Callable[[], None]] = []

    def set(self) -> None:
        """Set it, and call the listeners in this thread."""
        super().set()
        with self._lock:
            listeners = tuple(self._listeners)
        for listener in listeners:
            listener()

    @contextlib.contextmanager
    def calling(self, listener: Callable[[], None]) -> Iterator[None]:
        """Have it call while the block runs; at once where it is set already, twice at the most."""
        with self._lock:
            self._listeners.append(listener)
        try:
            if self.is_set():
                listener()
            yield
        finally:
            with self._lock:
                self._listeners.remove(listener)
