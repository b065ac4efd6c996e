"""The frozen values that flow between the steps, and the shapes the steps depend on.

Each value refuses what it cannot mean when it is made, so no step checks its input again.
"""

from __future__ import annotations

import abc
import dataclasses
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self, get_args

from avengers_edge.errors import BadRequest

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Kind = Literal["number", "choice", "label", "expression", "code", "text"]
"""What an answer is, and so how two of them are compared."""

Role = Literal["system", "user", "assistant"]
FinishReason = Literal["stop", "length", "cancelled"]
EarlyStop = Literal["exact", "adaptive", "off"]

KINDS: tuple[Kind, ...] = get_args(Kind)
SEED_LIMIT = 2**32 - 1
"""Seeds are 32 bits wide; llama.cpp keeps the largest one for "pick at random"."""


def _require(holds: bool, complaint: str) -> None:
    if not holds:
        raise BadRequest(complaint)


# --- what is asked -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation."""

    role: Role
    content: str

    def __post_init__(self) -> None:
        _require(self.role in get_args(Role), f"unknown role {self.role!r}: use one of {', '.join(get_args(Role))}")


@dataclass(frozen=True, slots=True)
class SamplingParams:
    """How tokens are drawn. Defaults are the paper's: temperature 0.7, the whole distribution.

    `temperature` 0 is greedy decoding. `top_k` 0 and `min_p` 0 are off.
    """

    temperature: float = 0.7
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    max_tokens: int = 512
    stop: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _require(0 <= self.temperature <= 2, f"temperature is {self.temperature}: use 0 (greedy) to 2")
        _require(0 < self.top_p <= 1, f"top_p is {self.top_p}: use more than 0 and at most 1")
        _require(self.top_k >= 0, f"top_k is {self.top_k}: use 0 (off) or more")
        _require(0 <= self.min_p <= 1, f"min_p is {self.min_p}: use 0 (off) to 1")
        _require(self.max_tokens >= 1, f"max_tokens is {self.max_tokens}: use 1 or more")
        _require(all(self.stop), "a stop string is empty: leave it out")


@dataclass(frozen=True, slots=True)
class Request:
    """One prompt to be sampled `n` times. Sample i draws with a seed derived from `seed` and i."""

    messages: tuple[Message, ...]
    sampling: SamplingParams = SamplingParams()
    n: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        _require(bool(self.messages), "there is no message to answer")
        _require(self.n >= 1, f"{self.n} samples were asked for: use 1 or more")
        _require(0 <= self.seed < SEED_LIMIT, f"seed is {self.seed}: use 0 to {SEED_LIMIT - 1}")


@dataclass(frozen=True, slots=True)
class Ask:
    """How a question is to be answered; what is None is left to the team, the member or the question.

    `member` skips routing. `prefer` is accuracy (1) against speed (0). `seed` None draws one.
    """

    samples: int | None = None
    kind: Kind | None = None
    member: str | None = None
    system: str | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    early_stop: EarlyStop = "exact"
    prefer: float = 1.0

    def __post_init__(self) -> None:
        _require(self.samples is None or 1 <= self.samples <= 1000, f"samples is {self.samples}: use 1 to 1000")
        _require(self.kind is None or self.kind in KINDS, f"kind is {self.kind!r}: use one of {', '.join(KINDS)}")
        _require(
            self.early_stop in get_args(EarlyStop), f"early_stop is {self.early_stop!r}: use exact, adaptive or off"
        )
        _require(0 <= self.prefer <= 1, f"prefer is {self.prefer}: use 0 (speed) to 1 (accuracy)")


# --- who is asked ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Mode:
    """A way of asking: an instruction per answer kind, a system prompt, sampling and token limits.

    A kind without an instruction is asked as it is.
    """

    name: str
    instructions: Mapping[Kind, str] = field(default_factory=lambda: MappingProxyType({}))
    system: str | None = None
    max_tokens: int | None = None

    def __post_init__(self) -> None:
        unknown = sorted(set(self.instructions) - set(KINDS))
        _require(not unknown, f"mode {self.name!r} has instructions for unknown kinds: {', '.join(unknown)}")
        _require(
            self.max_tokens is None or self.max_tokens >= 1,
            f"mode {self.name!r} has max_tokens {self.max_tokens}: use 1 or more",
        )

    def limit(self, kind: Kind) -> int | None:
        """Give the token limit for a kind of answer: it holds where an instruction narrows the answer."""
        return self.max_tokens if kind in self.instructions else None


@dataclass(frozen=True, slots=True)
class Member:
    """A model and, optionally, a way of asking it; written `model` or `model:mode`."""

    model: str
    mode: Mode | None = None

    @property
    def name(self) -> str:
        """The member as tables and users write it."""
        return self.model if self.mode is None else f"{self.model}:{self.mode.name}"


@dataclass(frozen=True, slots=True)
class Team:
    """Members that answer together, the table that ranks them, and their defaults."""

    name: str
    description: str
    members: tuple[Member, ...]
    table: str | None
    samples: int = 8
    sampling: SamplingParams = SamplingParams()

    def __post_init__(self) -> None:
        _require(bool(self.members), f"team {self.name!r} has no members")
        names = [member.name for member in self.members]
        _require(len(set(names)) == len(names), f"team {self.name!r} names a member twice")
        _require(self.samples >= 1, f"team {self.name!r} has samples {self.samples}: use 1 or more")

    @property
    def models(self) -> tuple[str, ...]:
        """The models to be installed, each once, in member order."""
        return tuple(dict.fromkeys(member.model for member in self.members))

    def member(self, name: str) -> Member | None:
        """Find the member of that name, or None."""
        return next((member for member in self.members if member.name == name), None)


# --- where a question goes ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Ranked:
    """A member's score for one question; higher is better."""

    model: str
    score: float


@dataclass(frozen=True, slots=True)
class Route:
    """A routing decision: members best first, and how it came about.

    `cluster` is the nearest centroid and `similarity` the cosine to it; both are None when nothing was routed
    (the user named a model). `margin` is the lead of the first member over the second. `fallback` says why the
    ranking is not the clusters' own, or is None.
    """

    cluster: int | None
    similarity: float | None
    ranking: tuple[Ranked, ...]
    margin: float
    fallback: str | None = None

    def __post_init__(self) -> None:
        _require(bool(self.ranking), "a route ranks no member")


# --- what comes back ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Completion:
    """What the engine made of sample `index`. `tokens` counts generated tokens, end marker left out."""

    index: int
    seed: int
    text: str
    tokens: int
    finish_reason: FinishReason


@dataclass(frozen=True, slots=True)
class Generation:
    """All samples of one request in index order, with what they cost in tokens and milliseconds."""

    completions: tuple[Completion, ...]
    prompt_tokens: int
    prefill_ms: float
    decode_ms: float


@dataclass(frozen=True, slots=True)
class Sample:
    """A completion with the member that wrote it and the key it votes for (None: no answer found)."""

    model: str
    seed: int
    text: str
    key: str | None
    tokens: int
    finish_reason: FinishReason


@dataclass(frozen=True, slots=True)
class Vote:
    """How many samples gave one answer."""

    key: str
    count: int


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens evaluated once and tokens generated over all samples."""

    prompt_tokens: int
    completion_tokens: int


@dataclass(frozen=True, slots=True)
class Timings:
    """Milliseconds spent in each step."""

    embed: float
    route: float
    load: float
    prefill: float
    decode: float
    total: float


@dataclass(frozen=True, slots=True)
class Answer:
    """The result of one question. `text` is the text of one real sample of the winning group.

    `confidence` is the winner's share of the votes, or None where no vote was held (free text).
    `samples_used` counts the samples that ran to their own end.
    """

    answer: str
    text: str
    kind: Kind
    model: str
    models: tuple[str, ...]
    confidence: float | None
    route: Route
    votes: tuple[Vote, ...]
    samples_requested: int
    samples_used: int
    stopped_early: bool
    samples: tuple[Sample, ...]
    usage: Usage
    timings_ms: Timings

    def as_dict(self) -> dict[str, Any]:
        """Turn the answer into the plain values that `ask --json` prints."""
        return dataclasses.asdict(self)


# --- shapes ------------------------------------------------------------------------------------


class Closing(abc.ABC):
    """Something that holds memory until it is closed; a context manager, so that it is."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @abc.abstractmethod
    def close(self) -> None:
        """Free it; a second call does nothing."""


class Embedder(Protocol):
    """Texts in, one unit vector each out."""

    @property
    def fingerprint(self) -> str:
        """Identifies the weights; a table fitted with another embedder is refused."""

    @property
    def dimension(self) -> int:
        """The length D of a vector."""

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed into shape (len(texts), D), rows of length 1."""


OnFinish = Callable[[Completion], bool]
"""Hears of each sample as it ends; returning True means enough: the others are cancelled."""

OnToken = Callable[[int, str], None]
"""Hears of each piece of text as it is decided: sample index, piece."""


class Engine(Protocol):
    """One loaded model: a request in, its samples out."""

    def generate(
        self,
        request: Request,
        *,
        on_finish: OnFinish | None = None,
        on_token: OnToken | None = None,
        cancel: threading.Event | None = None,
    ) -> Generation:
        """Sample a request; what was unfinished when it was cancelled comes back as it was.

        Raises:
            DoesNotFit: the prompt and one sample are longer than the context.
            EngineDied: llama.cpp failed.

        """
