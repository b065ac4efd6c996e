"""Speculative decoding without a draft model: draft tokens read off the prompt and the sibling samples.

Samples of one question repeat its words and each other's, and a step has rows to spare. Where a sample draws the token
that was drafted, the next row is already there. Every token is still drawn from the model's own distribution with the
sample's own random number, so a draft changes the number of steps, not the text. This is prompt-lookup decoding
(Saxena, 2023) across samples, with the acceptance rule of speculative sampling (arXiv 2211.17192).
"""

from __future__ import annotations

import itertools
import operator
from collections.abc import Sequence

_ORDER = 3  # tokens that have to agree; two draft too much, four too little
LONGEST = 8
_PRIOR = (1, 2)  # accepted of tried, before anything is known


class PromptLookup:
    """What followed each run of `_ORDER` tokens in one request, and how often drafts were accepted at each depth."""

    def __init__(self, prompt: Sequence[int]) -> None:
        self._after: dict[tuple[int, ...], tuple[Sequence[int], int]] = {}
        self._accepted = [_PRIOR[0]] * LONGEST
        self._tried = [_PRIOR[1]] * LONGEST
        for end in range(_ORDER, len(prompt)):
            self._after[tuple(prompt[end - _ORDER : end])] = prompt, end

    def learn(self, tokens: Sequence[int]) -> None:
        """Record a sample's newest token; `tokens` is the sample's own growing list."""
        end = len(tokens) - 1
        if end >= _ORDER:
            self._after[tuple(tokens[end - _ORDER : end])] = tokens, end

    def draft(self, tokens: Sequence[int]) -> tuple[int, ...]:
        """Return at most `LONGEST` tokens that may follow, none where nothing like it was seen."""
        found = self._after.get(tuple(tokens[-_ORDER:]))
        if found is None:
            return ()
        source, at = found
        return tuple(source[at : at + LONGEST])

    def record(self, drafted: int, accepted: int) -> None:
        """Record how far a draft was right: its first `accepted` of `drafted` tokens."""
        for depth in range(min(drafted, accepted + 1)):
            self._tried[depth] += 1
            self._accepted[depth] += depth < accepted

    @property
    def acceptance(self) -> list[float]:
        """Estimate the probability that a draft is accepted up to each depth."""
        rates = (accepted / tried for accepted, tried in zip(self._accepted, self._tried, strict=True))
        return list(itertools.accumulate(rates, operator.mul))
