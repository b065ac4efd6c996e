"""More calls of a function, made from those that are given: each has one argument that is a little different."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from itertools import chain, zip_longest

_LONGEST_CALL = 2000


def varied(calls: Sequence[str], most: int) -> tuple[str, ...]:
    """Vary calls with literal arguments, in an order that depends on nothing else; each call gets its turn.

    Numbers become one more, one less, 0 and their negative; texts and sequences become empty, reversed, doubled and one
    shorter, and sequences have all their items grown; dictionaries become empty; truths turn.
    """
    turns = zip_longest(*(_variations(call) for call in calls))
    fresh = dict.fromkeys(call for call in chain.from_iterable(turns) if call is not None and call not in calls)
    return tuple(fresh)[:most]


def _variations(call: str) -> Iterator[str]:
    try:
        node = ast.parse(call, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return
    if not isinstance(node, ast.Call):
        return
    slots = [*enumerate(node.args), *((keyword.arg or "", keyword.value) for keyword in node.keywords)]
    ways = zip_longest(*([(place, other) for other in _others(value)] for place, value in slots))
    for place, other in (way for turn in ways for way in turn if way is not None):
        args = [other if at == place else argument for at, argument in enumerate(node.args)]
        keywords = [
            ast.keyword(keyword.arg, other if keyword.arg == place else keyword.value) for keyword in node.keywords
        ]
        text = ast.unparse(ast.Call(node.func, args, keywords))
        if len(text) <= _LONGEST_CALL:
            yield text


def _others(node: ast.expr) -> list[ast.expr]:
    """Write the values near a literal's; an argument that is none has none."""
    try:
        value = ast.literal_eval(node)
        return [ast.parse(repr(other), mode="eval").body for other in _near(value) if other != value]
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        return []


def _near(value: object) -> list[object]:
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int | float):
        return [value + 1, value - 1, 0, -value]
    if isinstance(value, str | bytes | list | tuple):
        others: list[object] = [value[:0], value[::-1], value + value, value[:-1]]  # type: ignore[operator]
        return others if isinstance(value, str | bytes) else [*others, type(value)(map(_grown, value))]
    return [{}] if isinstance(value, dict) else []


def _grown(item: object) -> object:
    """Make an item of a sequence larger: a number by one, a text or sequence to its double."""
    if isinstance(item, int | float) and not isinstance(item, bool):
        return item + 1
    return item + item if isinstance(item, str | bytes | list | tuple) else item  # type: ignore[operator]
