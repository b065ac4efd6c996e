"""Frozen dataclasses as lines of JSON, and back.

Nothing is unpickled: a line is read field by field against the annotations of its dataclass, so whatever a damaged or
hostile process writes becomes a value of the right types or a `BrokenFrame`, never code.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Set
from typing import Any, Literal, Union

from avengers_edge.errors import AvengersError, BadRequest

LONGEST = 64 * 2**20
"""The most bytes of one line."""

_CHUNK = 2**16


class BrokenFrame(Exception):
    """A line that is no frame; the other process is not to be believed any further."""


def lines(read: Callable[[int], bytes | None]) -> Iterator[bytes]:
    """Split what `read(size)` gives into lines until it gives nothing; half a line at the end is dropped.

    Raises:
        BrokenFrame: a line is longer than `LONGEST`.

    """
    begun: list[bytes] = []
    held = 0
    while chunk := read(_CHUNK):
        first, *others = chunk.split(b"\n")
        begun.append(first)
        held += len(first)
        if held > LONGEST:
            raise BrokenFrame(f"a line of more than {LONGEST} bytes")
        if others:
            yield b"".join(begun)
            yield from others[:-1]
            begun, held = [others[-1]], len(others[-1])


def encode(frame: object) -> bytes:
    """Write a dataclass as one line, with its name.

    Raises:
        BadRequest: it is longer than `LONGEST`.

    """
    plain = {"is": type(frame).__name__, **_fields(frame)}
    # Half of a surrogate pair is no valid Unicode, but it has to arrive as it was for the engine to refuse it.
    line = _ENCODER.encode(plain).encode("utf-8", "surrogatepass") + b"\n"
    if len(line) > LONGEST:
        raise BadRequest(f"{len(line)} bytes are too many to pass to or from a worker: at most {LONGEST} are")
    return line


def decode(line: bytes, kinds: Mapping[str, type]) -> object:
    """Read one line as one of `kinds`, by their names.

    Raises:
        BrokenFrame: it is not JSON, no frame that is known, or has a field of the wrong type.

    """
    try:
        return _read(line, kinds)
    except _UNREADABLE as error:
        raise BrokenFrame(f"{line[:60]!r}: {error}"[:300]) from error


def encode_strictly(frame: object, kinds: Mapping[str, type]) -> bytes:
    """Write a dataclass as `encode` does, but only if the other side can read it.

    Annotations bind nobody, and a value of the wrong type would be a `BrokenFrame` there.

    Raises:
        BadRequest: a field of the wrong type, or the line is longer than `LONGEST`.

    """
    try:
        line = encode(frame)
        _read(line, kinds)
    except AvengersError:
        raise
    except _UNREADABLE as error:
        said = " ".join(str(error).split())
        raise BadRequest(f"a value has the wrong type: {said}"[:300]) from error
    return line


_UNREADABLE = (ValueError, TypeError, KeyError, AttributeError, RecursionError, AvengersError)


def _read(line: bytes, kinds: Mapping[str, type]) -> object:
    plain = json.loads(line.decode("utf-8", "surrogatepass"))
    return _reader(kinds[plain.pop("is")])(plain)


# --- values ------------------------------------------------------------------------------------

_Read = Callable[[object], object]


def _fields(value: Any) -> dict[str, object]:  # what json hands over has no type
    if not dataclasses.is_dataclass(value):
        raise TypeError(f"{value!r} is not a plain value")
    return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}


_ENCODER = json.JSONEncoder(default=_fields, ensure_ascii=False, check_circular=False, separators=(",", ":"))


@functools.cache
def _reader(kind: Any) -> _Read:  # an annotation has no type
    """Make the function that turns plain values into a `kind`, or raises."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        readers = {name: _reader(hint) for name, hint in typing.get_type_hints(kind).items()}
        # A worker that was started after an upgrade may know a field more than the program that started it.
        optional = {field.name for field in dataclasses.fields(kind) if field.default is not dataclasses.MISSING}
        return functools.partial(_read_fields, kind, readers, readers.keys() - optional)
    if origin is Literal:
        return functools.partial(_read_one_of, inner)
    if origin in (Union, types.UnionType) and inner[1:] == (type(None),):
        return functools.partial(_read_optional, _reader(inner[0]))
    if origin is tuple and inner[1:] == (Ellipsis,):
        return functools.partial(_read_sequence, _reader(inner[0]))
    if origin is tuple:
        return functools.partial(_read_row, [_reader(each) for each in inner])
    if kind in (int, float, str, bool):
        return functools.partial(_read_scalar, kind)
    raise AssertionError(f"a frame cannot hold {kind}")


def _read_fields(kind: type, readers: dict[str, _Read], needed: Set[str], plain: object) -> object:
    if not isinstance(plain, dict) or not needed <= plain.keys() <= readers.keys():
        raise TypeError(f"not the fields of {kind.__name__}")
    values = {}
    for name, value in plain.items():
        try:
            values[name] = readers[name](value)
        except (TypeError, ValueError) as error:
            raise TypeError(f"{name}: {error}") from None
    return kind(**values)


def _read_one_of(choices: tuple[object, ...], plain: object) -> object:
    if plain not in choices:
        raise ValueError(f"{plain!r} is not one of {choices}")
    return plain


def _read_optional(read: _Read, plain: object) -> object:
    return None if plain is None else read(plain)


def _read_sequence(read: _Read, plain: object) -> object:
    return tuple(map(read, _list(plain)))


def _read_row(readers: list[_Read], plain: object) -> object:
    return tuple(read(value) for read, value in zip(readers, _list(plain), strict=True))


def _list(plain: object) -> list[object]:
    if not isinstance(plain, list):
        raise TypeError(f"{plain!r} is not a list")
    return plain


def _read_scalar(kind: type, plain: object) -> object:
    # bool is an int to Python, and a float that is whole may come as an int.
    if type(plain) is not kind and not (kind is float and type(plain) is int):
        raise TypeError(f"{plain!r} is not {kind.__name__}")
    return plain
