"""Who holds which cells of the KV cache: sequence ids, promises to running requests, kept prefixes."""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from avengers_edge.engine.prefix import Held, Kept, best_source

Logits = NDArray[np.float32]

_RETOLD = 8
"""Tokens at the end of an answer that may read differently in the next turn, which is tokenized as a whole."""


class Context(Protocol):
    """A KV cache and the step that fills it; see `native.LlamaContext`. A sequence has at most `longest` cells."""

    cells: int
    longest: int
    split: bool
    sequences: int
    batch_size: int
    outputs: int

    def decode(self, tokens: list[int], positions: list[int], sequences: list[int], wanted: list[bool]) -> Logits:
        """Evaluate one token a row; give the logits of the wanted ones."""

    def share(self, source: int, target: int, tokens: int) -> None:
        """Give a sequence another's first cells."""

    def truncate(self, sequence: int, tokens: int) -> None:
        """Drop all cells of a sequence but the first."""

    def release(self, sequence: int) -> None:
        """Drop a sequence."""

    def clear(self) -> None:
        """Drop every sequence."""

    def save(self, path: Path, sequence: int, tokens: list[int]) -> None:
        """Write a sequence to a file."""

    def restore(self, path: Path, sequence: int) -> list[int]:
        """Read a sequence back; give its tokens."""


class Cells:
    """The book-keeping of one context's cells. What is kept from earlier requests gives way to what is asked now.

    Args:
        context: the cache.
        rewinds: whether the model's sequences can be cut back.

    """

    def __init__(self, context: Context, *, rewinds: bool) -> None:
        self._context, self._rewinds = context, rewinds
        self._kept = Kept()
        self._free = list(range(context.sequences))  # a heap: the lowest is taken first
        self._promised = 0

    def has_room(self, cells: int, sequences: int = 0) -> bool:
        """Tell whether so much can be promised, at the worst by giving up all that is kept."""
        return self._promised + cells <= self._context.cells and len(self._free) + len(self._kept) >= sequences

    def spares(self, cells: int) -> bool:
        """Tell whether so much is free without giving up anything that is kept."""
        return bool(self._free) and self._promised + self._kept.cells + cells <= self._context.cells

    def promise(self, cells: int) -> None:
        """Set cells aside for a request; they are there when it comes to use them."""
        self._promised += cells
        while self._kept and self._promised + self._kept.cells > self._context.cells:
            self._drop([self._kept.pop()])

    def take_back(self, cells: int) -> None:
        """End a promise."""
        self._promised -= cells

    def open(self) -> int:
        """Take a free sequence."""
        if not self._free:
            self._drop([self._kept.pop()])
        return heapq.heappop(self._free)

    def open_for(self, prompt: list[int], running: Collection[Held], *, beyond: int) -> tuple[int, int]:
        """Promise a prompt its cells and as many `beyond` it; take a sequence, and say how much of it is there already.

        A kept sequence that the prompt goes on from is taken over as it is, and the samples beside it, which the
        conversation did not choose, are dropped. Any other is left as it is, and only its beginning is shared, unless
        there is no room for both.
        """
        found = best_source([*self._kept, *running], prompt, rewinds=self._rewinds)
        need = len(prompt) + beyond
        if found and found[0] in self._kept:
            source, reused = found
            if reused + _RETOLD >= len(source.tokens) or not self.spares(need):
                self._drop(self._kept.take(source))
                self.promise(need)
                if reused < len(source.tokens):
                    self._context.truncate(source.sequence, reused)
                return source.sequence, reused
        self.promise(need)
        sequence = self.open()
        if found and (found[0] in running or found[0] in self._kept):  # it did not have to give way
            self._context.share(found[0].sequence, sequence, found[1])
            return sequence, found[1]
        return sequence, 0

    def share(self, source: int, target: int, tokens: int) -> None:
        """Give a sequence that was just taken the first cells of another."""
        self._context.share(source, target, tokens)

    def close(self, sequence: int) -> None:
        """Give a sequence back; cells that no other one shares are free at once."""
        self._context.release(sequence)
        heapq.heappush(self._free, sequence)

    def keep(self, held: Held) -> None:
        """Keep a sequence for a next turn."""
        self._drop(self._kept.add(held))

    def tidy(self) -> None:
        """With nothing held any more, let the next run find the cache as the first one did: same places, same sums."""
        if len(self._free) == self._context.sequences:
            self._context.clear()

    def save(self, path: Path) -> int:
        """Write the most recently used kept sequence to a file; give its number of tokens, 0 where nothing is kept."""
        held = self._kept.latest
        if held is None:
            return 0
        self._context.save(path, held.sequence, held.tokens)
        return len(held.tokens)

    def restore(self, path: Path) -> int:
        """Keep a sequence from a file; give its number of tokens, 0 where the file is of no use here."""
        if not self.has_room(0, sequences=1):
            return 0
        sequence = self.open()
        tokens = self._context.restore(path, sequence)
        if not tokens or self._promised + self._kept.cells + len(tokens) > self._context.cells:
            self.close(sequence)
            return 0
        self.keep(Held(sequence, tokens, group=-1 - sequence))
        return len(tokens)

    def _drop(self, given_up: Iterable[Held]) -> None:
        for held in given_up:
            self.close(held.sequence)
