"""Small TOML files, read strictly: a key that nobody reads is refused."""

from __future__ import annotations

import contextlib
import reprlib
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, get_args

from avengers_edge._util.files import read_small, reading
from avengers_edge.errors import BadRequest

MAX_TOML_BYTES = 64 * 2**10
MAX_DOTS = 50
"""In one line: the time that `tomllib` takes grows with the square of a dotted key's parts."""

_MAX_INTEGER = 2**63 - 1
"""TOML promises 64 bits. Python goes on, up to numbers that it then neither prints nor turns into a float."""

_T = TypeVar("_T")


class Table:
    """A TOML table whose values are taken out one by one; `done` complains of what is left."""

    def __init__(self, values: dict[str, Any], where: str) -> None:
        self._values = dict(values)
        self.where = where

    def need(self, key: str, kind: type[_T]) -> _T:
        """Take out a value that must be there.

        Raises:
            BadRequest: it is missing or of another type.

        """
        if key not in self._values:
            raise BadRequest(f"{self.where} lacks {key!r}: add it")
        value = self.take(key, kind)
        assert value is not None
        return value

    def take(self, key: str, kind: type[_T] | UnionType) -> _T | None:
        """Take out a value, or None where there is none.

        Raises:
            BadRequest: it is of another type.

        """
        value = self._values.pop(key, None)
        self._bound(key, value)
        # bool is an int to Python, not to a user.
        if value is not None and (
            not isinstance(value, kind) or (isinstance(value, bool) and bool not in (get_args(kind) or (kind,)))
        ):
            raise BadRequest(f"{self.where}: {key} is {_shown(value)}, which is of the wrong type")
        return value

    def list_of(self, key: str, kind: type[_T]) -> tuple[_T, ...]:
        """Take out a list of values of one type; () where there is none.

        Raises:
            BadRequest: it is not a list, or one value is of another type.

        """
        values = self.take(key, list) or []
        for value in values:
            self._bound(key, value)
            if not isinstance(value, kind) or isinstance(value, bool):
                raise BadRequest(f"{self.where}: {key} holds {_shown(value)}, which is of the wrong type")
        return tuple(values)

    def tables(self, key: str) -> tuple[Table, ...]:
        """Take out a list of tables."""
        return tuple(
            Table(values, f"{self.where}, {key} {position}")
            for position, values in enumerate(self.list_of(key, dict), start=1)
        )

    def table(self, key: str) -> Table:
        """Take out a table; an empty one where there is none."""
        return Table(self.take(key, dict) or {}, f"{self.where}, {key}")

    def keys(self) -> tuple[str, ...]:
        """List the keys not yet taken."""
        return tuple(self._values)

    def done(self) -> None:
        """Refuse what nobody took.

        Raises:
            BadRequest: a key is left.

        """
        if self._values:
            key = reprlib.repr(next(iter(self._values)))
            raise BadRequest(f"{self.where} has unknown key {key}: remove it or mend its name")

    def _bound(self, key: str, value: object) -> None:
        if isinstance(value, int) and abs(value) > _MAX_INTEGER:
            raise BadRequest(f"{self.where}: {key} is a number of more than 64 bits: use a smaller one")


def read_toml(path: Path) -> Table:
    """Read a small TOML file.

    Raises:
        FileNotFoundError: there is no such file; the caller knows what it meant.
        AvengersError: it cannot be read, or is not a regular file.
        BadRequest: it is not valid TOML or not a small UTF-8 file.

    """
    return parse_toml(read_toml_text(path), path)


def read_toml_text(path: Path) -> str:
    """Read the text of a small TOML file, which need not be valid.

    Raises:
        FileNotFoundError: there is no such file; the caller knows what it meant.
        AvengersError: it cannot be read, or is not a regular file.
        BadRequest: it is not a small UTF-8 file.

    """
    try:
        return read_small(path, MAX_TOML_BYTES).decode("utf-8")
    except FileNotFoundError:
        raise
    except NotADirectoryError as error:
        raise FileNotFoundError(path) from error
    except OSError:
        with reading(path):
            raise
    except ValueError as error:
        raise BadRequest(f"{path} is not valid TOML: {error}") from error


def parse_toml(text: str, path: Path) -> Table:
    """Parse a TOML text as that of the file at `path`.

    Raises:
        BadRequest: it is not valid TOML.

    """
    try:
        _refuse_many_dots(text)
        return Table(tomllib.loads(text), str(path))
    except (ValueError, RecursionError) as error:  # tomllib's own errors, and int's of thousands of digits
        raise BadRequest(f"{path} is not valid TOML: {error}") from error


def _refuse_many_dots(text: str) -> None:
    for number, line in enumerate(text.split("\n"), start=1):
        if line.count(".") > MAX_DOTS and not line.lstrip().startswith("#"):
            raise ValueError(f"line {number} has more than {MAX_DOTS} dots")


def _shown(value: object) -> str:
    """Show a value of a wrong type in a few characters; what is nested may be too deep to print."""
    match value:
        case dict():
            return "a table"
        case list():
            return "a list"
    return reprlib.repr(value)


@contextlib.contextmanager
def blaming(path: Path) -> Iterator[None]:
    """Name the file in a complaint that does not name it yet."""
    try:
        yield
    except BadRequest as error:
        message = str(error)
        raise BadRequest(message if message.startswith(str(path)) else f"{path}: {message}") from error
