"""The frames between a worker and its parent: typed values as lines of JSON, and back.

Whatever a damaged or hostile process writes becomes a value of the right types or a `BrokenFrame`, never code.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import msgspec

from avengers_edge import errors
from avengers_edge.engine.protocol import EngineFacts, LoadOptions
from avengers_edge.engine.step_cost import StepCurve
from avengers_edge.errors import AvengersError, BadRequest, EngineDied
from avengers_edge.records import Completion, Generation, Request

LONGEST = 64 * 2**20
"""The most bytes of one line."""

_CHUNK = 2**16
_UNREADABLE = (ValueError, TypeError, AttributeError, RecursionError, msgspec.MsgspecError, AvengersError)


class BrokenFrame(Exception):
    """A line that is no frame; the other process is not to be trusted any further."""


class _Frame(msgspec.Struct, frozen=True, tag=True, tag_field="is", forbid_unknown_fields=True):
    """A frame; its class is named in the field `is`."""


class _Numbered(_Frame, frozen=True):
    """A command, or what is sent in answer to the command of that number."""

    id: int


# --- what the parent says ----------------------------------------------------------------------


class Open(_Numbered, frozen=True):
    """Load this model; the first frame of all. Answered by `Ready`."""

    path: str
    options: LoadOptions
    curve: StepCurve | None


class Submit(_Numbered, frozen=True):
    """Sample this; `Token`, `Finish` and `Part` frames may follow before `Done`."""

    request: Request
    wants_finish: bool
    wants_tokens: bool


class Cancel(_Numbered, frozen=True):
    """Cancel a request; it still ends with `Done`."""


class StopDecision(_Numbered, frozen=True):
    """The answer to a `Finish`: how many more samples are needed at the least."""

    needed: int


class Count(_Numbered, frozen=True):
    """Count the prompt's tokens. Answered by `Number`."""

    request: Request


class Measure(_Numbered, frozen=True):
    """Measure the step-time curve in about `budget` seconds. Answered by `Measured`."""

    budget: float


class SaveState(_Numbered, frozen=True):
    """Write the kept prefix to a file. Answered by `Number`."""

    path: str


class LoadState(_Numbered, frozen=True):
    """Read a kept prefix from a file. Answered by `Number`."""

    path: str


# --- what the worker says ----------------------------------------------------------------------


class Heartbeat(_Frame, frozen=True):
    """The engine makes progress."""


class Ready(_Numbered, frozen=True):
    """The model is loaded."""

    facts: EngineFacts


class Token(_Numbered, frozen=True):
    """A piece of sample `index`'s text was decided."""

    index: int
    piece: str


class Finish(_Numbered, frozen=True):
    """A sample ended; the worker waits for the `StopDecision`."""

    completion: Completion


class Part(_Numbered, frozen=True):
    """One completion of the generation that `Done` announces: many with log-probabilities are too long for a frame."""

    completion: Completion


class Done(_Numbered, frozen=True):
    """A request ended; the completions of its generation came before, as `Part` frames."""

    generation: Generation


class Number(_Numbered, frozen=True):
    """The answer to `Count`, `SaveState` and `LoadState`."""

    value: int


class Measured(_Numbered, frozen=True):
    """The answer to `Measure`."""

    curve: StepCurve


class Failed(_Numbered, frozen=True):
    """A request or call ended with an error, told by the name of its class; after a `fatal` one the worker ends."""

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
        """Rebuild the error; a name that is not in the tree becomes `EngineDied`."""
        kind = getattr(errors, self.kind, None)
        if not (isinstance(kind, type) and issubclass(kind, AvengersError)):
            kind = EngineDied
        return kind.__new__(kind, self.message)  # past __init__: some make the message of other arguments


Command = Open | Submit | Cancel | StopDecision | Count | Measure | SaveState | LoadState
Event = Heartbeat | Ready | Token | Finish | Part | Done | Number | Measured | Failed
Frame = Command | Event

# --- lines -------------------------------------------------------------------------------------


def encode(frame: Frame) -> bytes:
    """Write a frame as one line of at most `LONGEST` bytes, or raise `BadRequest`."""
    # Half of a surrogate pair is no valid Unicode, but it has to arrive as it was for the engine to refuse it.
    text = json.dumps(msgspec.to_builtins(frame), ensure_ascii=False, check_circular=False, separators=(",", ":"))
    line = text.encode("utf-8", "surrogatepass") + b"\n"
    if len(line) > LONGEST:
        raise BadRequest(f"{len(line)} bytes are too many to pass to or from a worker: at most {LONGEST} are")
    return line


def encode_strictly(frame: Frame) -> bytes:
    """Write a frame as `encode` does; raise `BadRequest` where a value has the wrong type, too."""
    try:
        line = encode(frame)
        _read(line)
    except AvengersError:
        raise
    except _UNREADABLE as error:
        said = " ".join(str(error).split())
        raise BadRequest(f"a value has the wrong type: {said}"[:300]) from error
    return line


def decode(line: bytes) -> Frame:
    """Read one line, or raise `BrokenFrame`."""
    try:
        return _read(line)
    except _UNREADABLE as error:
        raise BrokenFrame(f"{line[:60]!r}: {error}"[:300]) from error


def lines(read: Callable[[int], bytes | None]) -> Iterator[bytes]:
    """Split what `read(size)` gives into lines until it gives nothing; half a line at the end is dropped."""
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


def _read(line: bytes) -> Frame:
    frame: Frame = msgspec.convert(json.loads(line.decode("utf-8", "surrogatepass")), Frame)
    return frame
