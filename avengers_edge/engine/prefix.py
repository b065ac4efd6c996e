"""Which evaluated tokens a new prompt can take over: a chat's earlier turns, or a prompt that begins alike."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

_WORTH = 16  # tokens below which sharing is not worth a sequence
_MOST_KEPT = 16


def common_prefix(left: list[int], right: list[int]) -> int:
    """Count the tokens that two sequences begin with alike."""
    low, high = 0, min(len(left), len(right))
    while low < high:  # the first `low` agree, and the answer is at most `high`
        middle = (low + high + 1) // 2
        low, high = (middle, high) if left[low:middle] == right[low:middle] else (low, middle - 1)
    return low


@dataclass(frozen=True, slots=True, eq=False)
class Held:
    """A sequence and the tokens whose cells it holds; samples of one request share the first `shared` of them."""

    sequence: int
    tokens: list[int]
    group: int = 0
    shared: int = 0


def best_source(sources: Iterable[Held], prompt: list[int], *, rewinds: bool) -> tuple[Held, int] | None:
    """Find the sequence that holds most of a prompt, and how many of its tokens can be taken over.

    The prompt's last token is never taken over: each sample feeds it. A model that does not rewind can only go on from
    where a sequence ends.
    """
    best: tuple[Held, int] | None = None
    for held in sources:
        usable = min(common_prefix(held.tokens, prompt), len(prompt) - 1)
        if not rewinds and usable < len(held.tokens):
            usable = 0
        if usable >= _WORTH and (best is None or usable > best[1]):
            best = held, usable
    return best


class Kept:
    """Sequences kept after their request, least recently used first. They are given up when room is needed."""

    def __init__(self) -> None:
        self._held: list[Held] = []

    def __iter__(self) -> Iterator[Held]:
        return iter(tuple(self._held))

    def __len__(self) -> int:
        return len(self._held)

    @property
    def cells(self) -> int:
        """How many cells they hold."""
        prompts = {held.group: held.shared for held in self._held}
        return sum(prompts.values()) + sum(len(held.tokens) - held.shared for held in self._held)

    @property
    def latest(self) -> Held | None:
        """The most recently used one."""
        return self._held[-1] if self._held else None

    def add(self, held: Held) -> list[Held]:
        """Keep one more; give those that it makes superfluous or that are too many."""
        superfluous = [old for old in self._held if held.tokens[: len(old.tokens)] == old.tokens]
        self._held = [old for old in self._held if old not in superfluous] + [held]
        excess = len(self._held) - _MOST_KEPT
        return superfluous + [self._held.pop(0) for _ in range(excess)]

    def take(self, held: Held) -> list[Held]:
        """Take one out; give up the samples beside it, which were not chosen."""
        lost = [old for old in self._held if old.group == held.group and old is not held]
        self._held = [old for old in self._held if old not in (*lost, held)]
        return lost

    def pop(self) -> Held:
        """Give up the least recently used."""
        return self._held.pop(0)
