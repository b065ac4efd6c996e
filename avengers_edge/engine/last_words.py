"""What a worker process says on standard error, and why it ended."""

from __future__ import annotations

import collections
import io
import logging
import re
import signal
import threading
from typing import IO, cast

logger = logging.getLogger("avengers_edge.llama")

_TELLING = re.compile(r"GGML_ASSERT|GGML_ABORT|terminate called|bad_alloc|MemoryError|out of memory", re.IGNORECASE)
_COMPLAINING = re.compile(r"\berror\b|\w+Error:|failed|fatal", re.IGNORECASE)
_TOO_LATE = re.compile(r"Timeout \([0-9:.]+\)!")  # what faulthandler says at `worker.template_limits`
_LINES, _LONGEST_LINE, _LONGEST_REASON = 20, 8192, 200


class LastWords:
    """The end of what a process says: all of it goes to the log, and the line that tells why it ended is kept."""

    def __init__(self) -> None:
        self._said: collections.deque[str] = collections.deque(maxlen=_LINES)
        self._too_late = False
        self.ended = threading.Event()

    def listen(self, stream: IO[bytes]) -> None:
        """Read an unbuffered stream to its end, close it and set `ended`."""
        try:
            self._read(stream)
        finally:
            self.ended.set()

    def reason(self) -> str:
        """Give the last line that tells a reason, as `": reason"`, or nothing."""
        said = tuple(self._said)
        if self._too_late:
            return ": its chat template takes too long, so take another model"
        for pattern in (_TELLING, _COMPLAINING):
            for line in reversed(said):
                if pattern.search(line):
                    return f": {line[:_LONGEST_REASON]}"
        return ""

    def _read(self, stream: IO[bytes]) -> None:
        with io.BufferedReader(cast(io.RawIOBase, stream)) as reader:
            while raw := reader.readline(_LONGEST_LINE):
                text = raw.decode("utf-8", errors="replace")
                line = "".join(letter for letter in text if letter.isprintable()).strip()
                if line:
                    self._said.append(line)
                    self._too_late = self._too_late or _TOO_LATE.fullmatch(line) is not None
                    logger.debug("%s", line)


def ending(code: int) -> str:
    """Put a process's exit status, as `subprocess` gives it, into words."""
    if code >= 0:
        return f"ended with exit code {code if code < 2**16 else hex(code)}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    if name == "SIGKILL":
        return "was killed (SIGKILL; the system does that when memory runs out)"
    return f"died of {name}"
