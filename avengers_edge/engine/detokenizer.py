"""The text of one sample as its tokens arrive: whole characters, stop strings, the end of a thought.

A model that thinks writes a `<think>` section first. One that has taken its budget is closed for the model, which then
answers from what it has, before the token limit cuts the text: "budget forcing" (s1, arXiv 2501.19393), Qwen3's
"thinking budget" (arXiv 2505.09388) and llama.cpp's "reasoning budget".
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Sequence

from avengers_edge.records import SamplingParams

OPENING, CLOSING = "<think>", "</think>"
THOUGHT_END = f"\n\nTime is up, so I answer from what I have.\n{CLOSING}\n\n"
"""What ends a thought that has taken its budget."""

_TAG = re.compile(rb"<(/?)think>")
_HALF_TAG = len(CLOSING) - 1


class Detokenizer:
    """Collects token pieces (bytes) and decides which text may be shown; `opened` is what the prompt begins of it.

    A character is decided when all its bytes are there, and text when no stop string can still begin in it.
    """

    def __init__(self, stop: Sequence[str] = (), opened: str = "") -> None:
        self._stop = tuple(stop)
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._decided = [opened] if opened else []
        self._held = ""
        self.stopped = False

    @property
    def text(self) -> str:
        return "".join(self._decided)

    def push(self, piece: bytes) -> str:
        """Take the next token's bytes; return the text that became decided."""
        return self._decide(self._held + self._decoder.decode(piece))

    def close(self) -> str:
        """Take the end of the sample; return what was held back, but no character whose last bytes never came."""
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
        longest = min(len(pending), max(map(len, self._stop), default=1) - 1)
        lengths = (n for n in range(longest, 0, -1) if any(stop.startswith(pending[-n:]) for stop in self._stop))
        return next(lengths, 0)

    def _keep(self, text: str) -> str:
        self._decided.append(text)
        return text


class ThinkingBudget:
    """Counts the tokens of one sample's thoughts, of which the prompt may have `opened` one.

    An answer keeps at least a sixth of the tokens there are.
    """

    def __init__(self, sampling: SamplingParams, longest: int, *, opened: bool) -> None:
        budget = sampling.thinking_budget
        self._left = None if budget is None else min(budget, longest * 5 // 6)
        self._thinking, self._tail = opened, b""

    def push(self, piece: bytes) -> bool:
        """Take the next token's bytes; return whether a thought is under way that has taken its budget."""
        if self._left is None:
            return False
        text, seen = self._tail + piece, 0
        for tag in _TAG.finditer(text):
            self._thinking, seen = not tag[1], tag.end()
        self._tail = text[seen:][-_HALF_TAG:]
        self._left -= self._thinking
        return self._thinking and self._left <= 0
