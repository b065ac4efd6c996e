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


MOST_SAMPLES = 1000


def _require(holds: bool, complaint: str) -> None:
    if not holds:
        raise BadRequest(complaint)


def _require_whole(values: object, *names: str) -> None:
    """Refuse what is neither a whole number nor None; True and 1.0 are none to whoever counts tokens."""
    for name in names:
        value = getattr(values, name)
        _require(value is None or type(value) is int, f"{name} is {value!r}: use a whole number")


def _require_number(values: object, *names: str) -> None:
    for name in names:
        value = getattr(values, name)
        _require(type(value) in (int, float), f"{name} is {value!r}: use a number")


# --- what is asked -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation."""

    role: Role
    content: str

    def __post_init__(self) -> None:
        _require(self.role in get_args(Role), f"unknown role {self.role!r}: use one of {', '.join(get_args(Role))}")
        _require(isinstance(self.content, str), f"a message says {self.content!r:.40}: use a text")


@dataclass(frozen=True, slots=True)
class SamplingParams:
    """How tokens are drawn. Defaults are the paper's: temperature 0.7, the whole distribution.

    `temperature` 0 is greedy decoding. `top_k` 0 and `min_p` 0 are off. The penalties look back over the last
    `penalty_window` generated tokens: `repeat_penalty` divides a repeated token's logit (1 is off, CTRL, arXiv
    1909.05858), the other two subtract once a token and once an occurrence, as OpenAI's do. `logit_bias` adds to single
    tokens' logits. `grammar` (GBNF) or `schema` (a JSON schema, as text) bounds what can be written. `logprobs` asks
    for each token's log-probability and for that many alternatives.
    """

    temperature: float = 0.7
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    max_tokens: int = 512
    stop: tuple[str, ...] = ()
    repeat_penalty: float = 1.0
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    penalty_window: int = 64
    logit_bias: tuple[tuple[int, float], ...] = ()
    grammar: str | None = None
    schema: str | None = None
    logprobs: int | None = None

    def __post_init__(self) -> None:
        _require_whole(self, "top_k", "max_tokens", "penalty_window", "logprobs")
        _require_number(
            self, "temperature", "top_p", "min_p", "repeat_penalty", "frequency_penalty", "presence_penalty"
        )
        _require(0 <= self.temperature <= 2, f"temperature is {self.temperature}: use 0 (greedy) to 2")
        _require(0 < self.top_p <= 1, f"top_p is {self.top_p}: use more than 0 and at most 1")
        _require(self.top_k >= 0, f"top_k is {self.top_k}: use 0 (off) or more")
        _require(0 <= self.min_p <= 1, f"min_p is {self.min_p}: use 0 (off) to 1")
        _require(self.max_tokens >= 1, f"max_tokens is {self.max_tokens}: use 1 or more")
        texts = isinstance(self.stop, tuple) and all(isinstance(stop, str) for stop in self.stop)
        _require(texts, f"stop is {self.stop!r:.40}: use a tuple of texts")
        _require(all(self.stop), "a stop string is empty: leave it out")
        _require(0.1 <= self.repeat_penalty <= 10, f"repeat_penalty is {self.repeat_penalty}: use 1 (off), 0.1 to 10")
        for name in ("frequency_penalty", "presence_penalty"):
            _require(-2 <= getattr(self, name) <= 2, f"{name} is {getattr(self, name)}: use -2 to 2")
        _require(0 <= self.penalty_window <= 2**20, f"penalty_window is {self.penalty_window}: use 0 to {2**20}")
        _require(
            isinstance(self.logit_bias, tuple)
            and all(type(token) is int and token >= 0 and -100 <= bias <= 100 for token, bias in self.logit_bias),
            "logit_bias is not a tuple of pairs of a token and a bias of -100 to 100",
        )
        for name in ("grammar", "schema"):
            _require(isinstance(getattr(self, name), str | None), f"{name} is not a text")
        _require(self.grammar is None or self.schema is None, "grammar and schema bound the same text: give one")
        _require(self.logprobs is None or 0 <= self.logprobs <= 20, f"logprobs is {self.logprobs}: use 0 to 20")


@dataclass(frozen=True, slots=True)
class Request:
    """One prompt to be sampled `n` times. Sample i draws with a seed derived from `seed` and i.

    `least` says how many samples can decide, so that the engine may begin with as few (None: all are needed);
    `OnFinish` then says how many more are. `keep` leaves the samples in the KV cache, for the next turn of a chat.
    """

    messages: tuple[Message, ...]
    sampling: SamplingParams = SamplingParams()
    n: int = 1
    seed: int = 0
    least: int | None = None
    keep: bool = False

    def __post_init__(self) -> None:
        _require(bool(self.messages), "there is no message to answer")
        _require(all(isinstance(message, Message) for message in self.messages), "messages are to be `Message`s")
        _require(isinstance(self.keep, bool), f"keep is {self.keep!r}: use True or False")
        _require_whole(self, "n", "seed", "least")
        _require(1 <= self.n <= MOST_SAMPLES, f"{self.n} samples were asked for: use 1 to {MOST_SAMPLES}")
        _require(0 <= self.seed < SEED_LIMIT, f"seed is {self.seed}: use 0 to {SEED_LIMIT - 1}")
        _require(self.least is None or 1 <= self.least <= self.n, f"least is {self.least}: use 1 to n, here {self.n}")


@dataclass(frozen=True, slots=True)
class Ask:
    """How a question is to be answered; what is None is left to the team, the member or the question.

    `member` skips routing. `prefer` is accuracy (1) against speed (0). `seed` None draws one. When less than
    `switch_below` of the first member's samples agree, the second-ranked member is sampled as well. The fields that
    `SamplingParams` has too mean the same there. An answer that a `schema` bounds is free text unless `kind` is given.
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
    switch_below: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    repeat_penalty: float | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    stop: tuple[str, ...] | None = None
    grammar: str | None = None
    schema: str | None = None

    def __post_init__(self) -> None:
        _require(
            self.samples is None or 1 <= self.samples <= MOST_SAMPLES,
            f"samples is {self.samples}: use 1 to {MOST_SAMPLES}",
        )
        _require(self.kind is None or self.kind in KINDS, f"kind is {self.kind!r}: use one of {', '.join(KINDS)}")
        _require(
            self.early_stop in get_args(EarlyStop), f"early_stop is {self.early_stop!r}: use exact, adaptive or off"
        )
        _require(0 <= self.prefer <= 1, f"prefer is {self.prefer}: use 0 (speed) to 1 (accuracy)")
        _require(
            self.switch_below is None or 0 <= self.switch_below <= 1,
            f"switch_below is {self.switch_below}: use 0 (never) to 1 (unless all agree)",
        )


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
    switch_below: float = 0.8

    def __post_init__(self) -> None:
        _require(bool(self.members), f"team {self.name!r} has no members")
        names = [member.name for member in self.members]
        _require(len(set(names)) == len(names), f"team {self.name!r} names a member twice")
        _require(self.samples >= 1, f"team {self.name!r} has samples {self.samples}: use 1 or more")
        _require(
            0 <= self.switch_below <= 1, f"team {self.name!r} has switch_below {self.switch_below}: use 0 (never) to 1"
        )

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
class TokenLogprob:
    """A drawn token's text and natural log-probability before any truncation, and the likeliest tokens at its place."""

    text: str
    logprob: float
    top: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Completion:
    """What the engine made of sample `index`. `tokens` counts generated tokens, end marker left out."""

    index: int
    seed: int
    text: str
    tokens: int
    finish_reason: FinishReason
    logprobs: tuple[TokenLogprob, ...] | None = None


@dataclass(frozen=True, slots=True)
class Generation:
    """All samples that began, in index order, with what they cost in tokens and milliseconds.

    `reused_tokens` of the prompt were found in the KV cache and not evaluated again.
    """

    completions: tuple[Completion, ...]
    prompt_tokens: int
    prefill_ms: float
    decode_ms: float
    reused_tokens: int = 0


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
    """Tokens evaluated once and tokens generated over all samples.

    `cached_tokens` of the prompt were in the KV cache already. `saved_tokens` estimates what early stopping spared: the
    samples that did not run to their end, at the mean length of those that did, less what they had generated.
    """

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0
    saved_tokens: int = 0


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


OnFinish = Callable[[Completion], int]
"""Hears of each sample as it ends and says how many more are needed at the least; at 0 the others are cancelled.

It is called from the engine's own thread, which waits for it: it has to be quick.
"""

OnToken = Callable[[int, str], None]
"""Hears of each piece of text as it is decided: sample index, piece."""


class Engine(Protocol):
    """One loaded model: a request in, its samples out. Calls from several threads share one batch."""

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
            BadRequest: the model cannot do what the request asks for.
            DoesNotFit: the prompt and one sample are longer than the context.
            EngineDied: llama.cpp failed.

        """
