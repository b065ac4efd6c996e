"""The text of one sample as its tokens arrive: whole UTF-8 characters, cut at the first stop string."""

from __future__ import annotations

import codecs
from collections.abc import Sequence


class Transcript:
    """Collects token pieces (bytes) and decides which text may be shown.

    A character is decided when all its bytes are there, and text when no stop string can still begin in it. So neither
    half a character nor half a stop string ever leaks into a stream.

    Args:
        stop: the stop strings.
        opened: what the prompt begins of the text.

    """

    def __init__(self, stop: Sequence[str] = (), opened: str = "") -> None:
        self._stop = tuple(stop)
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._decided = [opened] if opened else []
        self._held = ""
        self.stopped = False

    @property
    def text(self) -> str:
        """Everything decided so far."""
        return "".join(self._decided)

    def push(self, piece: bytes) -> str:
        """Take the next token's bytes; return the text that became decided."""
        return self._decide(self._held + self._decoder.decode(piece))

    def close(self) -> str:
        """Take the end of the sample; return what was held back for a stop string that never came.

        A character whose last bytes never came is left out.
        """
        if self.stopped:
            return ""
        rest, self._held = self._held, ""
        return self._keep(rest)

    def _decide(self, pending: str) -> str:
        if self.stopped:
            return ""
        found = [(at + len(stop), at) for stop in self._stop if (at := pending.find(stop)) >= 0]
        if found:
            _, start = min(found)  # the first to be complete, so that it does not matter how the tokens cut the text
            self.stopped, self._held = True, ""
            return self._keep(pending[:start])
        safe = len(pending) - self._longest_open_stop(pending)
        self._held = pending[safe:]
        return self._keep(pending[:safe])

    def _longest_open_stop(self, pending: str) -> int:
        """Measure the longest tail of `pending` that is the beginning of a stop string."""
        for length in range(min(len(pending), max(map(len, self._stop), default=1) - 1), 0, -1):
            tail = pending[-length:]
            if any(stop.startswith(tail) for stop in self._stop):
                return length
        return 0

    def _keep(self, text: str) -> str:
        self._decided.append(text)
        return text
