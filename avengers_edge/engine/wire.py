"""What a worker and its parent say to each other: one JSON object a line, each of a shape that is known beforehand.

Nothing is unpickled: a line is read field by field against the annotations of its dataclass, so whatever a damaged or
hostile process writes becomes a frame of the right types or a `BrokenFrame`, never code.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import types
import typing
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, Union

from avengers_edge import errors
from avengers_edge.engine.curve import StepCurve
from avengers_edge.engine.facts import EngineFacts
from avengers_edge.engine.options import LoadOptions
from avengers_edge.errors import AvengersError, BadRequest, EngineDied
from avengers_edge.records import Completion, Generation, Request

LONGEST = 64 * 2**20
"""The most bytes of one frame."""

_CHUNK = 2**16


class BrokenFrame(Exception):
    """A line that is no frame; the other process is not to be believed any further."""


# --- what the parent says ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Open:
    """Load this model; the first frame of all. Answered by `Ready`."""

    id: int
    path: str
    options: LoadOptions
    curve: StepCurve | None


@dataclass(frozen=True, slots=True)
class Submit:
    """Sample this; `Token`, `Finish` and `Part` frames may follow before `Done`."""

    id: int
    request: Request
    hears_finish: bool
    hears_token: bool


@dataclass(frozen=True, slots=True)
class Cancel:
    """Call a request off; it still ends with `Done`."""

    id: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer to a `Finish`: how many more samples are needed at the least."""

    id: int
    needed: int


@dataclass(frozen=True, slots=True)
class Count:
    """Count the prompt's tokens. Answered by `Number`."""

    id: int
    request: Request


@dataclass(frozen=True, slots=True)
class Measure:
    """Measure the step-time curve in about `budget` seconds. Answered by `Measured`."""

    id: int
    budget: float


@dataclass(frozen=True, slots=True)
class SaveState:
    """Write the kept prefix to a file. Answered by `Number`."""

    id: int
    path: str


@dataclass(frozen=True, slots=True)
class LoadState:
    """Read a kept prefix from a file. Answered by `Number`."""

    id: int
    path: str


# --- what the worker says ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Beat:
    """A sign of life."""


@dataclass(frozen=True, slots=True)
class Ready:
    """The model is loaded."""

    id: int
    facts: EngineFacts


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of sample `index`'s text was decided."""

    id: int
    index: int
    piece: str


@dataclass(frozen=True, slots=True)
class Finish:
    """A sample ended; the worker waits for the `Verdict`."""

    id: int
    completion: Completion


@dataclass(frozen=True, slots=True)
class Part:
    """One completion of the generation that `Done` announces: many with log-probabilities are too long for a frame."""

    id: int
    completion: Completion


@dataclass(frozen=True, slots=True)
class Done:
    """A request ended; the completions of its generation came before, as `Part` frames."""

    id: int
    generation: Generation


@dataclass(frozen=True, slots=True)
class Number:
    """The answer to `Count`, `SaveState` and `LoadState`."""

    id: int
    value: int


@dataclass(frozen=True, slots=True)
class Measured:
    """The answer to `Measure`."""

    id: int
    curve: StepCurve


@dataclass(frozen=True, slots=True)
class Failed:
    """A request or call ended with an error, told by the name of its class; after a `fatal` one the worker ends."""

    id: int
    kind: str
    message: str
    fatal: bool

    @classmethod
    def of(cls, ident: int, error: BaseException, *, fatal: bool = False) -> Failed:
        """Write an error down; what is not of the package's own tree becomes `EngineDied`."""
        for kind in type(error).__mro__:
            if issubclass(kind, AvengersError) and getattr(errors, kind.__name__, None) is kind:
                return cls(ident, kind.__name__, str(error), fatal)
        said = " ".join(str(error).split())
        return cls(ident, EngineDied.__name__, f"the worker failed: {type(error).__name__}: {said}"[:400], fatal)

    def error(self) -> AvengersError:
        """Make the error again; a name that is not in the tree becomes `EngineDied`."""
        kind = getattr(errors, self.kind, None)
        if not (isinstance(kind, type) and issubclass(kind, AvengersError)):
            kind = EngineDied
        return kind.__new__(kind, self.message)  # past __init__: some make the message of other arguments


Command = Open | Submit | Cancel | Verdict | Count | Measure | SaveState | LoadState
Event = Beat | Ready | Token | Finish | Part | Done | Number | Measured | Failed
Frame = Command | Event

_KINDS: dict[str, type] = {kind.__name__: kind for kind in typing.get_args(Frame)}


# --- lines -------------------------------------------------------------------------------------


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


def encode(frame: Frame) -> bytes:
    """Write a frame as one line.

    Raises:
        BadRequest: it is longer than `LONGEST`.

    """
    plain = {"is": type(frame).__name__, **_fields(frame)}
    # Half of a surrogate pair is no valid Unicode, but it has to arrive as it was for the engine to refuse it.
    line = _ENCODER.encode(plain).encode("utf-8", "surrogatepass") + b"\n"
    if len(line) > LONGEST:
        raise BadRequest(f"{len(line)} bytes are too many to pass to or from a worker: at most {LONGEST} are")
    return line


def decode(line: bytes) -> Frame:
    """Read one line.

    Raises:
        BrokenFrame: it is not JSON, no frame that is known, or has a field of the wrong type.

    """
    try:
        plain = json.loads(line.decode("utf-8", "surrogatepass"))
        frame = _reader(_KINDS[plain.pop("is")])(plain)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, AvengersError) as error:
        raise BrokenFrame(f"{line[:60]!r}: {error}"[:300]) from error
    return typing.cast(Frame, frame)


# --- values ------------------------------------------------------------------------------------

_Read = Callable[[object], object]


def _fields(value: Any) -> dict[str, object]:  # noqa: ANN401  # what json hands over has no type
    return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}


_ENCODER = json.JSONEncoder(default=_fields, ensure_ascii=False, check_circular=False, separators=(",", ":"))


@functools.cache
def _reader(kind: Any) -> _Read:  # noqa: ANN401  # an annotation has no type
    """Make the function that turns plain values into a `kind`, or raises."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        readers = {name: _reader(hint) for name, hint in typing.get_type_hints(kind).items()}
        return functools.partial(_read_fields, kind, readers)
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


def _read_fields(kind: type, readers: dict[str, _Read], plain: object) -> object:
    if not isinstance(plain, dict) or plain.keys() != readers.keys():
        raise TypeError(f"not the fields of {kind.__name__}")
    return kind(**{name: read(plain[name]) for name, read in readers.items()})


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
