"""The hand-written lines that questions are made of, kept as text files in `data`."""

from __future__ import annotations

from functools import cache
from pathlib import Path

_DIVIDER = " | "


@cache
def rows(name: str) -> tuple[tuple[str, ...], ...]:
    """Read a file of lines whose parts are divided by " | "."""
    file = Path(__file__).parent / "data" / f"{name}.txt"
    return tuple(tuple(line.split(_DIVIDER)) for line in file.read_text(encoding="utf-8").splitlines() if line)


@cache
def all_words() -> tuple[str, ...]:
    """Give common lower-case English words."""
    return tuple(word for (word,) in rows("words"))


@cache
def people() -> tuple[str, ...]:
    """Give the names of the people in the questions."""
    return tuple(name for (name,) in rows("names"))
