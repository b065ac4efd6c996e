"""Reads a JSON object field by field; what nobody asked for is refused by its name, never passed over."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from avengers_edge.server.problems import Problem, refuse

_T = TypeVar("_T")
_LARGEST = 2**53
"""Integers beyond it do not survive the JSON readers of other languages."""


class Fields:
    """The fields of one object. `null` is a field that was not given.

    Args:
        values: the parsed object.
        where: how its fields are named in complaints, like `stream_options.`.

    """

    def __init__(self, values: Mapping[str, Any], where: str = "") -> None:
        self._left = {name: value for name, value in values.items() if value is not None}
        self._where = where

    def text(self, name: str) -> str | None:
        """Take a text."""
        value = self._take(name, str, "a text")
        return None if value is None else well_formed(value, self._where + name)

    def flag(self, name: str) -> bool | None:
        """Take true or false."""
        return self._take(name, bool, "true or false")

    def whole(self, name: str, least: int = -_LARGEST, most: int = _LARGEST) -> int | None:
        """Take a whole number within bounds."""
        value = self._left.pop(name, None)
        if value is None:
            return None
        if type(value) is not int or not least <= value <= most:
            bounds = "" if least == -_LARGEST else f" of {least} to {most}"
            raise refuse(self._where + name, f"{self._where}{name} is {shown(value)}: use a whole number{bounds}")
        return value

    def number(self, name: str, least: float = -_LARGEST, most: float = _LARGEST) -> float | None:
        """Take a number within bounds."""
        value = self._left.pop(name, None)
        if value is None:
            return None
        if type(value) not in (int, float) or not least <= value <= most:
            bounds = "" if least == -_LARGEST else f" of {least} to {most}"
            raise refuse(self._where + name, f"{self._where}{name} is {shown(value)}: use a number{bounds}")
        return float(value)

    def word(self, name: str, words: Sequence[str]) -> str | None:
        """Take one of several words."""
        value = self._left.pop(name, None)
        if value is not None and (not isinstance(value, str) or value not in words):
            raise refuse(self._where + name, f"{self._where}{name} is {shown(value)}: use one of {', '.join(words)}")
        return value

    def object(self, name: str) -> Fields:
        """Take an object; one that was not given has no field."""
        value = self._take(name, dict, "an object")
        return Fields(value or {}, f"{self._where}{name}.")

    def mapping(self, name: str) -> dict[str, Any] | None:
        """Take an object as it is."""
        return self._take(name, dict, "an object")

    def list(self, name: str) -> list[Any] | None:
        """Take a list as it is."""
        return self._take(name, list, "a list")

    def any(self, name: str) -> Any:  # noqa: ANN401 - the caller finds out
        """Take whatever is there."""
        return self._left.pop(name, None)

    def has(self, name: str) -> bool:
        """Tell whether a field is given and not taken yet."""
        return name in self._left

    def done(self, because: Mapping[str, str] | None = None) -> None:
        """Refuse what is left; `because` has reasons for names that clients know from elsewhere.

        Raises:
            Problem: 400, naming the first field that is left.

        """
        for name in self._left:
            reason = (because or {}).get(name, "leave it out")
            message = f"{self._where}{name[:80]} is not supported: {reason}"
            raise Problem(400, message, f"{self._where}{name[:80]}", "unsupported_parameter")

    def _take(self, name: str, kind: type[_T], words: str) -> _T | None:
        value = self._left.pop(name, None)
        if value is None or isinstance(value, kind):
            return value
        raise refuse(self._where + name, f"{self._where}{name} is {shown(value)}: use {words}")


def well_formed(text: str, where: str) -> str:
    """Refuse a text with half a character: JSON can write one, UTF-8 cannot."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise refuse(where, f"{where} has a character at {error.start} that is not valid Unicode") from error
    return text


def shown(value: object) -> str:
    """Quote the head of a value."""
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    if isinstance(value, str):
        value = value[:48]
    elif isinstance(value, int) and abs(value) > 10**40:
        return "a huge number"
    said = json.dumps(value)
    return said if len(said) <= 48 else f"{said[:47]}…"
