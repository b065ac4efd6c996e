"""What is asked, and how: questions, messages, sampling, and the tools that a model may ask its caller to call."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import get_args

from avengers_edge.records.basics import (
    KINDS,
    MOST_SAMPLES,
    SEED_LIMIT,
    EarlyStop,
    Kind,
    Speaker,
    require,
    require_number,
    require_text,
    require_whole,
)

MOST_TOOLS = 128
"""OpenAI's own limit."""
MOST_SCHEMA_BYTES = 64 * 1024
"""Of all parameters together."""

AS_LONG_AS_FITS = 2**20
"""The `max_tokens` of an answer that ends where the model ends it, or where the context is full."""

_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")


@dataclass(frozen=True, slots=True)
class Tool:
    """A function as models are told of it. `parameters` is a JSON schema of an object, as text.

    A call of a `strict` one is valid against that schema, whatever the model would like to write.
    """

    name: str
    description: str = ""
    parameters: str = '{"type": "object", "properties": {}}'
    strict: bool = False

    def __post_init__(self) -> None:
        named = isinstance(self.name, str) and _NAME.fullmatch(self.name)
        require(bool(named), f"tools has the name {self.name!r:.40}: use up to 64 letters, digits, _ and -")
        require(isinstance(self.description, str), f"tools describes {self.name} with no text")
        try:
            schema = json.loads(self.parameters)
        except (TypeError, ValueError, RecursionError):
            schema = None
        holds = isinstance(schema, dict) and schema.get("type", "object") == "object"
        require(holds, f"tools has parameters of {self.name} that are no JSON schema of an object")


@dataclass(frozen=True, slots=True)
class Tools:
    """What may be called. `must` asks for a call, `only` for one of that function, `parallel` allows several."""

    functions: tuple[Tool, ...]
    must: bool = False
    only: str | None = None
    parallel: bool = True

    def __post_init__(self) -> None:
        require(bool(self.functions), "tools is empty: leave it out")
        require(len(self.functions) <= MOST_TOOLS, f"tools has {len(self.functions)} functions: use {MOST_TOOLS}")
        names = self.names
        twice = next((name for place, name in enumerate(names) if name in names[:place]), None)
        require(twice is None, f"tools has two functions {twice!r}: name each differently")
        size = sum(len(tool.parameters.encode("utf-8", "replace")) for tool in self.functions)
        require(size <= MOST_SCHEMA_BYTES, f"tools has {size} bytes of parameters: use up to {MOST_SCHEMA_BYTES}")
        require(self.only is None or self.only in names, f"tools has no function {self.only!r:.80}: name one of them")

    @property
    def names(self) -> tuple[str, ...]:
        """The functions' names in their order."""
        return tuple(tool.name for tool in self.functions)


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call that a model asks for. `arguments` is a JSON object, as text; `id` is what its result refers to."""

    name: str
    arguments: str
    id: str = ""

    def __post_init__(self) -> None:
        try:
            value = json.loads(self.arguments)
            json.dumps(value, ensure_ascii=False, allow_nan=False).encode()  # JSON has no NaN and no half characters
        except (TypeError, ValueError, RecursionError):
            value = None
        require(isinstance(value, dict), f"a call of {self.name!r:.80} has arguments that are no JSON object")


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation. An assistant's may have `calls`; a tool's is the result of the call of that id."""

    role: Speaker
    content: str
    calls: tuple[ToolCall, ...] = ()
    call_id: str | None = None

    def __post_init__(self) -> None:
        roles = get_args(Speaker)
        require(self.role in roles, f"unknown role {self.role!r}: use one of {', '.join(roles)}")
        require(isinstance(self.content, str), f"a message says {self.content!r:.40}: use a text")
        require(not self.calls or self.role == "assistant", f"a message of the {self.role} calls functions")
        require((self.call_id is not None) == (self.role == "tool"), "a tool's message, and no other, names a call")


@dataclass(frozen=True, slots=True)
class SamplingParams:
    """How tokens are drawn. Defaults are the paper's: temperature 0.7, the whole distribution.

    `temperature` 0 is greedy decoding. `top_k` 0 and `min_p` 0 are off. The penalties look back over the last
    `penalty_window` generated tokens: `repeat_penalty` divides a repeated token's logit (1 is off, CTRL, arXiv
    1909.05858), the other two subtract once a token and once an occurrence, as OpenAI's do. `logit_bias` adds to single
    tokens' logits. `grammar` (GBNF) or `schema` (a JSON schema, as text) bounds what can be written. `logprobs` asks
    for each token's log-probability and for that many alternatives. `thinking_budget` is how many of `max_tokens` a
    model that thinks before it answers may think for: 0 asks it not to, None leaves that to the model.
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
    thinking_budget: int | None = None

    def __post_init__(self) -> None:
        require_whole(self, "top_k", "max_tokens", "penalty_window", "logprobs", "thinking_budget")
        require_number(self, "temperature", "top_p", "min_p", "repeat_penalty", "frequency_penalty", "presence_penalty")
        require(0 <= self.temperature <= 2, f"temperature is {self.temperature}: use 0 (greedy) to 2")
        require(0 < self.top_p <= 1, f"top_p is {self.top_p}: use more than 0 and at most 1")
        require(self.top_k >= 0, f"top_k is {self.top_k}: use 0 (off) or more")
        require(0 <= self.min_p <= 1, f"min_p is {self.min_p}: use 0 (off) to 1")
        require(self.max_tokens >= 1, f"max_tokens is {self.max_tokens}: use 1 or more")
        texts = isinstance(self.stop, tuple) and all(isinstance(stop, str) for stop in self.stop)
        require(texts, f"stop is {self.stop!r:.40}: use a tuple of texts")
        require(all(self.stop), "a stop string is empty: leave it out")
        require(0.1 <= self.repeat_penalty <= 10, f"repeat_penalty is {self.repeat_penalty}: use 1 (off), 0.1 to 10")
        for name in ("frequency_penalty", "presence_penalty"):
            require(-2 <= getattr(self, name) <= 2, f"{name} is {getattr(self, name)}: use -2 to 2")
        require(0 <= self.penalty_window <= 2**20, f"penalty_window is {self.penalty_window}: use 0 to {2**20}")
        require(
            isinstance(self.logit_bias, tuple)
            and all(type(token) is int and token >= 0 and -100 <= bias <= 100 for token, bias in self.logit_bias),
            "logit_bias is not a tuple of pairs of a token and a bias of -100 to 100",
        )
        for name in ("grammar", "schema"):
            require(isinstance(getattr(self, name), str | None), f"{name} is not a text")
        require(self.grammar is None or self.schema is None, "grammar and schema bound the same text: give one")
        require(self.logprobs is None or 0 <= self.logprobs <= 20, f"logprobs is {self.logprobs}: use 0 to 20")
        require(
            self.thinking_budget is None or self.thinking_budget >= 0,
            f"thinking_budget is {self.thinking_budget}: use 0 (do not think) or more",
        )


@dataclass(frozen=True, slots=True)
class Request:
    """One prompt to be sampled `n` times. Sample i draws with a seed derived from `seed` and i.

    `least` says how many samples can decide, so that the engine may begin with as few (None: all are needed);
    `OnFinish` then says how many more are. `keep` leaves the samples in the KV cache, for the next turn of a chat.
    `tools` may be called; a call is part of a completion's text, in the model's own form.
    """

    messages: tuple[Message, ...]
    sampling: SamplingParams = SamplingParams()
    n: int = 1
    seed: int = 0
    least: int | None = None
    keep: bool = False
    tools: Tools | None = None

    def __post_init__(self) -> None:
        require(bool(self.messages), "there is no message to answer")
        require(all(isinstance(message, Message) for message in self.messages), "messages are to be `Message`s")
        require(isinstance(self.keep, bool), f"keep is {self.keep!r}: use True or False")
        require_whole(self, "n", "seed", "least")
        require(1 <= self.n <= MOST_SAMPLES, f"{self.n} samples were asked for: use 1 to {MOST_SAMPLES}")
        require(0 <= self.seed < SEED_LIMIT, f"seed is {self.seed}: use 0 to {SEED_LIMIT - 1}")
        require(self.least is None or 1 <= self.least <= self.n, f"least is {self.least}: use 1 to n, here {self.n}")
        bounded = self.sampling.grammar is not None or self.sampling.schema is not None
        require(self.tools is None or not bounded, "tools and a grammar or schema bound the same text: give one")


@dataclass(frozen=True, slots=True)
class Ask:
    """How a question is to be answered; what is None is left to the team, the member or the question.

    `member` skips routing. `prefer` is accuracy (1) against speed (0). `seed` None draws one. When less than
    `switch_below` of the first member's samples agree, the second-ranked member is sampled as well. The fields that
    `SamplingParams` has too mean the same there. An answer that a `schema` bounds is free text unless `kind` is given,
    and several samples of it vote by their JSON value.
    `tests` are Python asserts that code has to pass: samples that do not lose to those that do. `history` is what was
    said before in a chat, oldest first, without the system prompt; () begins one, None is no chat.
    The model may ask for calls of `tools`: samples with the same calls agree, and so do those without any.
    `results` are what followed the question already: calls, and the results of each.
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
    tests: str | None = None
    history: tuple[Message, ...] | None = None
    tools: Tools | None = None
    results: tuple[Message, ...] = ()

    def __post_init__(self) -> None:
        require_whole(self, "samples")
        require_number(self, "prefer", *(() if self.switch_below is None else ("switch_below",)))
        for name in ("member", "system", "tests", "grammar", "schema"):
            if (said := getattr(self, name)) is not None:
                require_text(said, name)
        require(
            isinstance(self.history, tuple | None) and isinstance(self.results, tuple),
            "history and results are tuples of messages",
        )
        require(
            self.tests is None or self.kind in (None, "code"),
            f"tests are of code, and kind is {self.kind!r}: leave one of the two out",
        )
        require(self.tests is None or bool(self.tests.strip()), "the tests are empty: write asserts, or leave them out")
        require(
            self.samples is None or 1 <= self.samples <= MOST_SAMPLES,
            f"samples is {self.samples}: use 1 to {MOST_SAMPLES}",
        )
        require(
            self.history is None or all(isinstance(said, Message) and said.role != "system" for said in self.history),
            "history is not a tuple of messages of user and assistant",
        )
        require(
            all(isinstance(said, Message) and said.role in ("assistant", "tool") for said in self.results),
            "results is not a tuple of messages of assistant and tool",
        )
        require(
            self.tools is None or (self.kind in (None, "text") and self.tests is None),
            "tools are for answers in free text: leave kind and tests out",
        )
        require(self.kind is None or self.kind in KINDS, f"kind is {self.kind!r}: use one of {', '.join(KINDS)}")
        require(
            self.early_stop in get_args(EarlyStop), f"early_stop is {self.early_stop!r}: use exact, adaptive or off"
        )
        require(0 <= self.prefer <= 1, f"prefer is {self.prefer}: use 0 (speed) to 1 (accuracy)")
        require(
            self.switch_below is None or 0 <= self.switch_below <= 1,
            f"switch_below is {self.switch_below}: use 0 (never) to 1 (unless all agree)",
        )
