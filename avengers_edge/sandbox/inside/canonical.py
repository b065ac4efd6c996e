"""A value written so that equal values are written alike."""

from __future__ import annotations

import itertools
import re
import types

_MOST_ITEMS = 1000
_DEEPEST = 20
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
_DIGITS = 10


def canonical(value: object, depth: int = 0) -> str:
    """Write a value: sets and dictionaries in order, floats to 10 digits and as integers where they are whole.

    Iterators are read, up to a thousand items; addresses are left out.
    """
    if depth > _DEEPEST:
        return "…"
    kind = type(value)
    if kind is float:
        return _number(value)  # type: ignore[arg-type]
    if kind in (list, tuple):
        opening, closing = "[]" if kind is list else "()"
        return opening + ", ".join(canonical(item, depth + 1) for item in value) + closing  # type: ignore[attr-defined]
    if isinstance(value, set | frozenset):
        return "{" + ", ".join(sorted(canonical(item, depth + 1) for item in value)) + "}"
    if isinstance(value, dict):
        pairs = sorted(f"{canonical(key, depth + 1)}: {canonical(item, depth + 1)}" for key, item in value.items())
        return "dict(" + ", ".join(pairs) + ")"
    if isinstance(value, types.GeneratorType | map | filter | zip | range | itertools.chain | reversed):
        items = itertools.islice(value, _MOST_ITEMS)
        return "iter(" + ", ".join(canonical(item, depth + 1) for item in items) + ")"
    return _ADDRESS.sub("", repr(value))


def _number(value: float) -> str:
    if value.is_integer() and abs(value) < 2**53:
        return str(int(value))
    return f"{value:.{_DIGITS}g}"
