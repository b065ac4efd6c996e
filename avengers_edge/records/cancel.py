"""The cancel token: an event that asks work to end, and calls whoever waits for it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator


class CancelToken(threading.Event):
    """An event with callbacks, so that what is to end need not poll it. It fits wherever a `cancel` event is taken.

    Args:
        parent: an event that cancels this one too, and may be shared by several calls.

    """

    def __init__(self, parent: threading.Event | None = None) -> None:
        super().__init__()
        self._parent = parent
        self._lock = threading.Lock()
        self._callbacks: list[Callable[[], None]] = []

    @property
    def polled(self) -> bool:
        """Whether it has to be polled all the same: a plain event above it calls nobody."""
        return self._parent.polled if isinstance(self._parent, CancelToken) else self._parent is not None

    def is_set(self) -> bool:
        """Return whether it or its parent was set."""
        return super().is_set() or (self._parent is not None and self._parent.is_set())

    def set(self) -> None:
        """Set it, and call the callbacks in this thread."""
        super().set()
        with self._lock:
            callbacks = tuple(self._callbacks)
        for callback in callbacks:
            callback()

    @contextlib.contextmanager
    def calling(self, callback: Callable[[], None]) -> Iterator[None]:
        """Register a callback while the block runs: it is called at once where this is set already, twice at most."""
        with contextlib.ExitStack() as registered:
            if isinstance(self._parent, CancelToken):
                registered.enter_context(self._parent.calling(callback))
            with self._lock:
                self._callbacks.append(callback)
            try:
                if super().is_set():
                    callback()
                yield
            finally:
                with self._lock:
                    self._callbacks.remove(callback)
