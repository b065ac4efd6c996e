"""Who holds which cells of the KV cache: sequence ids, reservations of running requests, the prefix cache."""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from avengers_edge.engine.llama_context import LlamaContext

_LEAST_SHARED = 16  # tokens below which sharing does not pay for a sequence
_MOST_KEPT = 16
_RETOKENIZED = 8
"""Tokens at the end of an answer that may differ in the next turn, which is tokenized as a whole."""


@dataclass(frozen=True, slots=True, eq=False)
class PrefixEntry:
    """A sequence and the tokens whose cells it holds; samples of one request share the first `shared` of them."""

    sequence: int
    tokens: list[int]
    group: int = 0
    shared: int = 0


class KVCacheManager:
    """The book-keeping of one context's cells. What is kept from earlier requests gives way to what is asked now."""

    def __init__(self, context: LlamaContext, *, supports_rollback: bool) -> None:
        self._context, self._supports_rollback = context, supports_rollback
        self._kept: list[PrefixEntry] = []  # the prefix cache, least recently used first
        self._free = list(range(context.sequences))  # a heap: the lowest is taken first
        self._reserved = 0

    @property
    def _kept_cells(self) -> int:
        prompts = {entry.group: entry.shared for entry in self._kept}
        return sum(prompts.values()) + sum(len(entry.tokens) - entry.shared for entry in self._kept)

    @property
    def unreserved(self) -> int:
        """How many cells no request has reserved; kept prefixes may lie in them."""
        return self._context.cells - self._reserved

    def can_reserve(self, cells: int, sequences: int = 0) -> bool:
        """Return whether so much can be reserved, at the worst by giving up all prefixes that are kept."""
        return self._reserved + cells <= self._context.cells and len(self._free) + len(self._kept) >= sequences

    def has_free(self, cells: int) -> bool:
        """Return whether so much is free without giving up a prefix."""
        return bool(self._free) and self._reserved + self._kept_cells + cells <= self._context.cells

    def reserve(self, cells: int) -> None:
        """Set cells aside for a request; they are there when it comes to use them."""
        self._reserved += cells
        while self._kept and self._reserved + self._kept_cells > self._context.cells:
            self._drop(self._kept[:1])

    def release(self, cells: int) -> None:
        self._reserved -= cells

    def open(self) -> int:
        if not self._free:
            self._drop(self._kept[:1])
        return heapq.heappop(self._free)

    def open_for(self, prompt: list[int], running: Collection[PrefixEntry], *, beyond: int) -> tuple[int, int]:
        """Reserve a prompt its cells and `beyond` more; return its sequence and how much of the prompt that has.

        A kept sequence that the prompt goes on from is taken over, and the samples beside it, which the conversation
        did not choose, are dropped. Of any other only the beginning is shared, unless there is no room for both.
        """
        found = best_prefix([*self._kept, *running], prompt, supports_rollback=self._supports_rollback)
        need = len(prompt) + beyond
        if found and found[0] in self._kept:
            source, reused = found
            if reused + _RETOKENIZED >= len(source.tokens) or not self.has_free(need):
                self._kept.remove(source)
                self._drop([entry for entry in self._kept if entry.group == source.group])
                self.reserve(need)
                if reused < len(source.tokens):
                    self._context.rollback(source.sequence, reused)
                return source.sequence, reused
        self.reserve(need)
        sequence = self.open()
        if found and (found[0] in running or found[0] in self._kept):  # it did not have to give way
            self._context.copy_prefix(found[0].sequence, sequence, found[1])
            return sequence, found[1]
        return sequence, 0

    def close(self, sequence: int) -> None:
        """Release a sequence; cells that no other one shares are free at once."""
        self._context.release(sequence)
        heapq.heappush(self._free, sequence)

    def keep(self, entry: PrefixEntry) -> None:
        """Keep a sequence for a next turn, instead of those that it begins with."""
        self._drop([old for old in self._kept if entry.tokens[: len(old.tokens)] == old.tokens])
        self._kept.append(entry)
        self._drop(self._kept[:-_MOST_KEPT])

    def reset_if_empty(self) -> None:
        """With nothing held any more, let the next run find the cache as the first one did: same places, same sums."""
        if len(self._free) == self._context.sequences:
            self._context.clear()

    def save(self, path: Path) -> int:
        """Write the most recently used kept sequence to a file; return its number of tokens, 0 for none."""
        if not self._kept:
            return 0
        self._context.save(path, self._kept[-1].sequence, self._kept[-1].tokens)
        return len(self._kept[-1].tokens)

    def restore(self, path: Path) -> int:
        """Keep a sequence from a file; return its number of tokens, 0 where the file is of no use here."""
        if not self.can_reserve(0, sequences=1):
            return 0
        sequence = self.open()
        tokens = self._context.restore(path, sequence)
        if not tokens or self._reserved + self._kept_cells + len(tokens) > self._context.cells:
            self.close(sequence)
            return 0
        self.keep(PrefixEntry(sequence, tokens, group=-1 - sequence))
        return len(tokens)

    def _drop(self, given_up: list[PrefixEntry]) -> None:
        for entry in given_up:
            self._kept.remove(entry)
            self.close(entry.sequence)


def best_prefix(
    entries: Iterable[PrefixEntry], prompt: list[int], *, supports_rollback: bool
) -> tuple[PrefixEntry, int] | None:
    """Find the sequence that holds most of a prompt, and how many of its tokens can be taken over.

    The last is never taken over: each sample feeds it. Without rollback a prompt can only go on from a sequence's end.
    """
    best: tuple[PrefixEntry, int] | None = None
    for entry in entries:
        usable = min(common_prefix(entry.tokens, prompt), len(prompt) - 1)
        if not supports_rollback and usable < len(entry.tokens):
            usable = 0
        if usable >= _LEAST_SHARED and (best is None or usable > best[1]):
            best = entry, usable
    return best


def common_prefix(left: list[int], right: list[int]) -> int:
    """Count the tokens that two sequences begin with alike."""
    low, high = 0, min(len(left), len(right))
    while low < high:  # the first `low` agree, and the answer is at most `high`
        middle = (low + high + 1) // 2
        low, high = (middle, high) if left[low:middle] == right[low:middle] else (low, middle - 1)
    return low
