"""Draws that are the same on every platform and every Python."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


class Draw:
    """A stream of draws known by its name: the same name gives the same draws.

    All of them go through `random()`, the one method whose sequence Python promises to keep for a seed.
    """

    def __init__(self, name: str) -> None:
        self._next = random.Random(name).random

    def whole(self, least: int, most: int) -> int:
        """Draw a whole number, both ends included."""
        return least + int(self._next() * (most - least + 1))

    def chance(self, share: float) -> bool:
        """Say yes in that share of draws."""
        return self._next() < share

    def pick(self, values: Sequence[T]) -> T:
        """Draw one value."""
        return values[self.whole(0, len(values) - 1)]

    def shuffled(self, values: Sequence[T]) -> list[T]:
        """Put the values in another order (Fisher and Yates)."""
        order = list(values)
        for last in range(len(order) - 1, 0, -1):
            other = self.whole(0, last)
            order[last], order[other] = order[other], order[last]
        return order

    def some(self, values: Sequence[T], count: int) -> list[T]:
        """Draw that many different places of `values`."""
        order = list(values)
        for place in range(count):
            other = self.whole(place, len(order) - 1)
            order[place], order[other] = order[other], order[place]
        return order[:count]

    def different(self, least: int, most: int, count: int) -> list[int]:
        """Draw that many different whole numbers, both ends included."""
        return self.some(range(least, most + 1), count)
