"""What one rendering of a chat template may do, hold and print: a foreign template is a program, and may be a bomb.

Values share their parts, so that a small one can be huge to whoever walks through it, as printing and comparing do.
Therefore a value is weighed as the tree it would be if nothing were shared, and before anything is made of it.
"""

from __future__ import annotations

from collections.abc import ItemsView, KeysView, ValuesView
from typing import Any

from jinja2.utils import Namespace

MOST_STEPS = 100_000
"""Loop items and calls of one rendering."""
LARGEST = 1_000_000
"""Characters or items of one value, bits of a number, and what a number may ask a function for."""
MOST_CHARACTERS = 30_000_000
"""What one rendering may print, join, compare, or give to functions and get from them, kept or not."""
MOST_WEIGHED = 300_000
"""Values that are looked at to find out how large others are."""

_LIMITS = {"round": 100, "slice": 10_000}
"""What a number may ask of functions whose work grows faster than it."""
_WIDENING = frozenset({"indent", "expandtabs", "tojson", "batch", "slice", "center", "ljust", "rjust", "zfill"})
"""Filters and methods to which a number says how much to add."""
_COPIED = 8
"""Characters or items that are copied at the cost of one that is looked at."""
_MANY = (list, tuple, set, frozenset, KeysView, ValuesView, ItemsView)


class Budget:
    """What is left to one rendering.

    Every method raises `OverflowError` when there is nothing left.
    """

    def __init__(self) -> None:
        self._steps, self._characters, self._weighed = MOST_STEPS, MOST_CHARACTERS, MOST_WEIGHED

    def step(self, count: int = 1) -> None:
        """Charge loop items or calls."""
        self._steps -= count
        if self._steps < 0:
            raise OverflowError(f"it takes more than {MOST_STEPS} steps")

    def print(self, count: int) -> None:
        """Charge characters."""
        self._characters -= count
        if self._characters < 0:
            raise OverflowError(f"it prints more than {MOST_CHARACTERS} characters")

    def weigh(self, value: object) -> int:
        """Count the characters and items of a value; one that could never be printed is refused."""
        weight, stack = 0, [value]
        while stack:
            each = stack.pop()
            self._weighed -= 1
            if isinstance(each, str | bytes):
                weight += len(each)
            elif isinstance(each, dict):
                weight += 2 * len(each)
                self._refuse_beyond(weight)
                stack.extend(each.keys())
                stack.extend(each.values())
            elif isinstance(each, _MANY):
                weight += len(each)
                self._refuse_beyond(weight)
                stack.extend(each)
            elif isinstance(each, Namespace):
                stack.append(_attributes(each))
            else:
                weight += 1
            self._refuse_beyond(weight)
            if self._weighed < 0:
                raise OverflowError(f"it takes more than {MOST_WEIGHED} values together")
        return weight

    def _refuse_beyond(self, weight: int) -> None:
        if weight > MOST_CHARACTERS:
            raise OverflowError(f"it prints more than {MOST_CHARACTERS} characters, or computes with as many")

    def charge_call(self, name: str, receiver: object, arguments: tuple[object, ...]) -> None:
        """Charge a call before it is made: what it can make grows with the product of what it is given."""
        self.step()
        limit = _LIMITS.get(name, LARGEST)
        for argument in arguments:
            if isinstance(argument, int) and abs(argument) > limit:
                raise OverflowError(f"it calls {name} with a number beyond {limit}")
        weight = self.weigh(receiver)
        times = 1 + sum(self._times(name, argument) for argument in arguments)
        if weight * times > MOST_CHARACTERS:
            raise OverflowError(f"it calls {name} so that it makes a value larger than {MOST_CHARACTERS}")
        self.print(weight * times if name in _WIDENING else weight + times)

    def charge_copy(self, value: Any) -> Any:  # noqa: ANN401 - whatever a template computes
        """Charge what was put together, and give it back: templates build long texts piece by piece."""
        if isinstance(value, str | list | tuple):
            self.print(len(value) // _COPIED)
        return value

    def charge_made(self, value: Any) -> Any:  # noqa: ANN401 - whatever a template computes
        """Charge what a call has made, and give it back; the parts of a list were charged when they were made."""
        if isinstance(value, str | bytes | list | tuple | dict):
            self.print(len(value))
        return value

    def _times(self, name: str, argument: object) -> int:
        if isinstance(argument, int):
            return abs(argument) if name in _WIDENING else 1
        return self.weigh(argument)


def _attributes(namespace: Namespace) -> object:
    # Namespace answers every look-up of an attribute by its contents.
    return object.__getattribute__(namespace, "_Namespace__attrs")
