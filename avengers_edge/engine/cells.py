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


class Context(Protocol):
    """A KV cache and the step that fills it; see `native.LlamaContext`."""

    cells: int
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

    def open_for(self, prompt: list[int], running: Collection[Held]) -> tuple[int, int]:
        """Promise a prompt its cells and take a sequence for it; say how many of its tokens are there already.

        A kept sequence that the prompt goes on from is taken over as it is, and the samples beside it, which the
        conversation did not choose, are dropped. One that shares only its beginning is left to its own conversation.
        """
        found = best_source([*self._kept, *running], prompt, rewinds=self._rewinds)
        if found and found[0] in self._kept and 2 * found[1] >= len(found[0].tokens):
            source, reused = found
            self._drop(self._kept.take(source))
            self.promise(len(prompt))
            if reused < len(source.tokens):
                self._context.truncate(source.sequence, reused)
            return source.sequence, reused
        self.promise(len(prompt))
        sequence = self.open()
        if found and (found[0] in running or found[0] in self._kept):  # it did not have to give way
            self._context.share(found[0].sequence, sequence, found[1])
            return sequence, found[1]
        return sequence, 0

    def open_from(self, source: int, tokens: int) -> int | None:
        """Take a sequence that shares another's cells, or None where none is free."""
        if not self._free and not self._kept:
            return None
        sequence = self.open()
        self._context.share(source, sequence, tokens)
        return sequence

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
        self.keep(Held(sequence, tokens))
        return len(tokens)

    def _drop(self, given_up: Iterable[Held]) -> None:
        for held in given_up:
            self.close(held.sequence)
