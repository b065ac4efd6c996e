"""Small TOML files read into typed values by msgspec, and written; a refusal names the file and the field."""

from __future__ import annotations

import contextlib
import json
import re
import reprlib
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

import msgspec

from avengers_edge._util.files import read_small, reading
from avengers_edge.errors import BadRequest

MAX_TOML_BYTES = 64 * 2**10
MAX_DOTS = 50
"""In one line: the time that `tomllib` takes grows with the square of a dotted key's parts."""

_MAX_INTEGER = 2**63 - 1
"""TOML promises 64 bits. Python goes on, up to numbers that it then neither prints nor turns into a float."""

_PLACE = re.compile(r"(.*) - at `\$\.?(.*)`")
_UNKNOWN, _MISSING = (re.compile(f"Object {what} field `(.*)`") for what in ("contains unknown", "missing required"))

_ANY: Mapping[str, str] = MappingProxyType({})

_WRONG_TYPE = re.compile("Expected (.*), got .*")
_STEP = re.compile(r"([^.\[\]]+)|\[(\d+)\]")

_T = TypeVar("_T")


def read_toml(path: Path, kind: type[_T], *, allowed: Mapping[str, str] = _ANY) -> _T:
    """Read a small TOML file into a value of a type; `allowed` is as in `convert`.

    Raises:
        FileNotFoundError: there is no such file; the caller knows what it meant.
        AvengersError: it cannot be read, or is not a regular file.
        BadRequest: it is not a small UTF-8 file of valid TOML, or a key in it is unknown, missing or of another type.

    """
    return convert(parse_toml(read_toml_text(path), path), kind, path, allowed=allowed)


def read_toml_text(path: Path) -> str:
    """Read the text of a small TOML file, which need not be valid; raises what `read_toml` does."""
    try:
        return read_small(path, MAX_TOML_BYTES).decode("utf-8-sig")
    except FileNotFoundError:
        raise
    except NotADirectoryError as error:
        raise FileNotFoundError(path) from error
    except OSError:
        with reading(path):
            raise
    except ValueError as error:
        raise BadRequest(f"{path} is not valid TOML: {error}") from error


def parse_toml(text: str, where: Path | str) -> dict[str, Any]:
    """Parse a TOML text; `where` names it in a refusal.

    Raises:
        BadRequest: it is not valid TOML.

    """
    try:
        for number, line in enumerate(text.split("\n"), start=1):
            if line.count(".") > MAX_DOTS and not line.lstrip().startswith("#"):
                raise ValueError(f"line {number} has more than {MAX_DOTS} dots")
        values = tomllib.loads(text)
        _refuse_wide_integers(values)
    except (ValueError, RecursionError) as error:  # tomllib's own errors, and int's of thousands of digits
        raise BadRequest(f"{where} is not valid TOML: {error}") from error
    return values


def convert(values: object, kind: type[_T], where: Path | str, *, allowed: Mapping[str, str] = _ANY) -> _T:
    """Make a typed value of parsed TOML; `where` names the file, and the table in it, in a refusal.

    `allowed` names, by the last part of a field's path, the values that it can have.

    Raises:
        BadRequest: a key is unknown, missing or of another type, or the type refuses a value.

    """
    with blaming(where):
        try:
            return msgspec.convert(values, kind)
        except msgspec.ValidationError as error:
            raise BadRequest(_refusal(str(error), str(where), values, allowed)) from error


@contextlib.contextmanager
def blaming(where: Path | str) -> Iterator[None]:
    """Name the file in a refusal that does not name it yet."""
    try:
        yield
    except BadRequest as error:
        message = str(error)
        raise BadRequest(message if message.startswith(str(where)) else f"{where}: {message}") from error


def quoted(text: str) -> str:
    """Quote a text as a TOML basic string; JSON's escapes are a subset of TOML's, except for DEL."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def toml_text(value: msgspec.Struct) -> str:
    """Write a struct so that `convert` gives it back: lists of structs as arrays of tables, what is None left out."""
    return "\n".join(_table_lines(msgspec.to_builtins(value))) + "\n"


def _table_lines(table: dict[str, Any]) -> Iterator[str]:
    tables = {key: rows for key, rows in table.items() if isinstance(rows, list | tuple)}
    for key, value in table.items():
        if value is not None and key not in tables:
            yield f"{key} = {_inline(value)}"
    for key, rows in tables.items():
        for row in rows:
            yield from ("", f"[[{key}]]")
            for name, value in row.items():
                if isinstance(value, list | tuple) and value:
                    yield from (f"{name} = [", *(f"  {_inline(each)}," for each in value), "]")
                elif value is not None and not isinstance(value, list | tuple):
                    yield f"{name} = {_inline(value)}"


def _inline(value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return quoted(value)
        case dict():
            pairs = (f"{key} = {_inline(each)}" for key, each in value.items() if each is not None)
            return "{ " + ", ".join(pairs) + " }"
    return str(value)


def _refusal(complaint: str, where: str, values: object, allowed: Mapping[str, str]) -> str:
    match = _PLACE.fullmatch(complaint)
    reason, field = (match[1], match[2]) if match else (complaint, "")
    place = f"{where}, {field}" if field else where
    if unknown := _UNKNOWN.fullmatch(reason):
        return f"{place} has unknown key {unknown[1][:40]!r}: remove it or correct its name"
    if missing := _MISSING.fullmatch(reason):
        return f"{place} lacks {missing[1]!r}: add it"
    expected = _WRONG_TYPE.fullmatch(reason)
    kind = expected[1].replace("object", "table") if expected else ""
    if "[...]" in field:  # msgspec hides the key of a table whose keys are free
        return f"{where}: {field.partition('[')[0]} has a value that cannot be used: expected {kind or reason[:80]}"
    found = f"{where}: {field or 'it'} is {_shown(_value_at(values, field))}"
    last = field.rpartition(".")[2]
    if last in allowed:
        return f"{found}: use {allowed[last]}"
    if expected:
        return f"{found}, which is of the wrong type: expected {kind}"
    return f"{found}, which cannot be used: {reason[:80]}"


def _value_at(values: object, field: str) -> Any:  # noqa: ANN401 - whatever a file has there
    """Return the value that a field's path leads to, as in `sources[0].kind`."""
    value: Any = values
    for name, index in _STEP.findall(field):
        value = value[int(index) if index else name]
    return value


def _shown(value: object) -> str:
    """Show a value of a wrong type in a few characters; what is nested may be too deep to print."""
    match value:
        case dict():
            return "a table"
        case list():
            return "a list"
    return reprlib.repr(value)


def _refuse_wide_integers(value: object, field: str = "") -> None:
    if isinstance(value, dict):
        for key, each in value.items():
            _refuse_wide_integers(each, key)
    elif isinstance(value, list):
        for each in value:
            _refuse_wide_integers(each, field)
    elif isinstance(value, int) and abs(value) > _MAX_INTEGER:
        raise ValueError(f"{field[:40]} is a number of more than 64 bits: use a smaller one")
