"""What a worker and its parent say to each other: one JSON object a line, each of a shape that is known beforehand."""

from __future__ import annotations

import typing
from dataclasses import dataclass

from avengers_edge import errors
from avengers_edge.engine import codec
from avengers_edge.engine.protocol import EngineFacts, LoadOptions
from avengers_edge.engine.step_cost import StepCurve
from avengers_edge.errors import AvengersError, EngineDied
from avengers_edge.records import Completion, Generation, Request

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
    wants_finish: bool
    wants_tokens: bool


@dataclass(frozen=True, slots=True)
class Cancel:
    """Cancel a request; it still ends with `Done`."""

    id: int


@dataclass(frozen=True, slots=True)
class StopDecision:
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
class Heartbeat:
    """The engine makes progress."""


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
    """A sample ended; the worker waits for the `StopDecision`."""

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
        """Rebuild the error; a name that is not in the tree becomes `EngineDied`."""
        kind = getattr(errors, self.kind, None)
        if not (isinstance(kind, type) and issubclass(kind, AvengersError)):
            kind = EngineDied
        return kind.__new__(kind, self.message)  # past __init__: some make the message of other arguments


Command = Open | Submit | Cancel | StopDecision | Count | Measure | SaveState | LoadState
Event = Heartbeat | Ready | Token | Finish | Part | Done | Number | Measured | Failed
Frame = Command | Event

_KINDS: dict[str, type] = {kind.__name__: kind for kind in typing.get_args(Frame)}


def encode(frame: Frame) -> bytes:
    """Write a frame as one line.

    Raises:
        BadRequest: it is longer than `codec.LONGEST`.

    """
    return codec.encode(frame)


def encode_strictly(frame: Frame) -> bytes:
    """Write a frame with values of the user's in it as one line.

    Raises:
        BadRequest: one of them has the wrong type, or it is longer than `codec.LONGEST`.

    """
    return codec.encode_strictly(frame, _KINDS)


def decode(line: bytes) -> Frame:
    """Read one line.

    Raises:
        codec.BrokenFrame: it is not JSON, no frame that is known, or has a field of the wrong type.

    """
    return typing.cast(Frame, codec.decode(line, _KINDS))
