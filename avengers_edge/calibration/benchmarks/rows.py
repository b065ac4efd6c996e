"""A published row, and how its fields are read: what is missing or odd is refused in one line that names the row."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NoReturn

from avengers_edge.errors import BadRequest

_WHOLE = re.compile(r"[+-]?[0-9]{1,18}")
_MOST_SHOWN = 60


@dataclass(frozen=True, slots=True)
class Row:
    """What a benchmark publishes of one question, or of several that `Benchmark.unfold` takes apart.

    `where` names the row in refusals (a file and a line), `place` in identifiers (a split and a number); `file` is what
    it was read from, if it was a file.
    """

    values: Mapping[str, object]
    where: str
    place: str
    split: str
    file: Path | None = None

    def refuse(self, complaint: str) -> NoReturn:
        """Raise `BadRequest` with the row's place."""
        raise BadRequest(f"{self.where}: {complaint}")

    def with_values(self, more: Mapping[str, object], place: str | None = None) -> Row:
        """Return the row with more values, and at another place where one is given."""
        return replace(self, values={**self.values, **more}, place=place or self.place)

    def has(self, name: str) -> bool:
        """Tell whether there is anything under that name; blank text is nothing."""
        value = self.values.get(name)
        return value is not None and (not isinstance(value, str) or bool(value.strip()))

    def text(self, *names: str) -> str:
        """Read text as it is, from the first name that holds something.

        Raises:
            BadRequest: there is none, or it is no text.

        """
        name = self._first(names)
        value = self.values[name]
        return value if isinstance(value, str) else self.refuse(f"{name} is {shown(value)}, not text")

    def word(self, *names: str) -> str:
        """Read text without the space around it, or a number as text, from the first name that holds something.

        Raises:
            BadRequest: there is none, or it is neither.

        """
        name = self._first(names)
        word = _as_word(self.values[name])
        return self.refuse(f"{name} is {shown(self.values[name])}, neither text nor a number") if word is None else word

    def whole(self, name: str) -> int:
        """Read a whole number, which a table of text writes in digits.

        Raises:
            BadRequest: there is none, or it is something else.

        """
        value = self.values[self._first((name,))]
        if type(value) is int:
            return value
        if isinstance(value, str) and _WHOLE.fullmatch(value.strip()):
            return int(value)
        return self.refuse(f"{name} is {shown(value)}, not a whole number")

    def flag(self, name: str) -> bool:
        """Read a truth value, which a table of text writes as True or False.

        Raises:
            BadRequest: there is none, or it is something else.

        """
        value = self.values[self._first((name,))]
        said = {"true": True, "false": False, "1": True, "0": False}.get(str(value).strip().lower())
        return self.refuse(f"{name} is {shown(value)}, neither true nor false") if said is None else said

    def items(self, name: str) -> tuple[object, ...]:
        """Read a list of anything.

        Raises:
            BadRequest: there is none, or it is something else.

        """
        value = self.values[self._first((name,))]
        return tuple(value) if isinstance(value, list | tuple) else self.refuse(f"{name} is {shown(value)}, not a list")

    def texts(self, name: str) -> tuple[str, ...]:
        """Read a list of texts; what is blank in it stays.

        Raises:
            BadRequest: there is none, or it is something else.

        """
        return tuple(
            item if isinstance(item, str) else self.refuse(f"{name} holds {shown(item)}, which is not text")
            for item in self.items(name)
        )

    def words(self, name: str) -> tuple[str, ...]:
        """Read a list of texts and numbers, as text without the space around it.

        Raises:
            BadRequest: there is none, or it is something else.

        """
        return tuple(
            self.refuse(f"{name} holds {shown(item)}, neither text nor a number") if word is None else word
            for item, word in ((item, _as_word(item)) for item in self.items(name))
        )

    def inner(self, name: str) -> Row:
        """Read an object inside the row, as a row at the same place.

        Raises:
            BadRequest: there is none, or it is something else.

        """
        value = self.values[self._first((name,))]
        if not isinstance(value, Mapping):
            self.refuse(f"{name} is {shown(value)}, not an object")
        return replace(self, values=value)

    def inners(self, name: str) -> tuple[Row, ...]:
        """Read a list of objects, as rows at the same place.

        Raises:
            BadRequest: there is none, or it is something else.

        """
        return tuple(
            replace(self, values=item)
            if isinstance(item, Mapping)
            else self.refuse(f"{name} holds {shown(item)}, which is not an object")
            for item in self.items(name)
        )

    def some(self, *names: str) -> dict[str, object]:
        """Take those of the names that hold something."""
        return {name: self.values[name] for name in names if self.has(name)}

    def _first(self, names: tuple[str, ...]) -> str:
        for name in names:
            if self.has(name):
                return name
        return self.refuse(f"has no {' or '.join(names)}")


def shown(value: object) -> str:
    """Write a value so that it fits into a line."""
    text = repr(value)
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}…"


def _as_word(value: object) -> str | None:
    """Write text or a finite number as text; a truth value is neither."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    return None if isinstance(value, float) and not math.isfinite(value) else str(value).strip()
