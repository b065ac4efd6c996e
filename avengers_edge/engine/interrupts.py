"""Ctrl-C during a native call.

llama.cpp calls back into Python to log. A KeyboardInterrupt that is raised there cannot pass through C++ and would be
lost, so it waits until the native call has returned.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator


@contextlib.contextmanager
def interrupt_after() -> Iterator[None]:
    """Hold SIGINT back while the block runs, then let the handler that was there hear of it."""
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield  # only the main thread hears signals
        return
    held: list[int] = []
    signal.signal(signal.SIGINT, lambda number, _frame: held.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if held:
            before(signal.SIGINT, None)
