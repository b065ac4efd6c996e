"""Thinking before the answer: how a prompt asks for it or not, and the end of a thought that has taken its budget.

Models that think by themselves write a `<think>` section first; the templates of some open it in the prompt. A token
limit would cut such a text before its answer. So a thought that has taken its budget is closed for the model, which
then answers from what it has: "budget forcing" (s1, arXiv 2501.19393), Qwen3's "thinking budget" (arXiv 2505.09388) and
llama.cpp's "reasoning budget".
"""

from __future__ import annotations

import re

from avengers_edge.records import SamplingParams

OPENING, CLOSING = "<think>", "</think>"
LAST_WORDS = f"\n\nTime is up, so I answer from what I have.\n{CLOSING}\n\n"
"""What ends a thought that has taken its budget."""

_TAG = re.compile(rb"<(/?)think>")
_HALF_TAG = len(CLOSING) - 1


class ThinkingBudget:
    """Counts the tokens of one sample's thoughts. An answer keeps at least a sixth of the tokens there are.

    Args:
        sampling: the budget; without one nothing is counted.
        opened: whether the prompt ends in a thought.

    """

    def __init__(self, sampling: SamplingParams, *, opened: bool) -> None:
        budget = sampling.thinking_budget
        self._left = None if budget is None else min(budget, sampling.max_tokens * 5 // 6)
        self._thinking, self._tail = opened, b""

    def push(self, piece: bytes) -> bool:
        """Take the next token's bytes; tell whether a thought is under way that has taken all there is."""
        if self._left is None:
            return False
        text, seen = self._tail + piece, 0
        for tag in _TAG.finditer(text):
            self._thinking, seen = not tag[1], tag.end()
        self._tail = text[seen:][-_HALF_TAG:]
        self._left -= self._thinking
        return self._thinking and self._left <= 0
