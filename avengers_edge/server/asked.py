"""What a client asks for: the body of a chat or a completion request, read field by field."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any, Literal, get_args

from avengers_edge.engine.json_schema import schema_grammar
from avengers_edge.errors import BadRequest
from avengers_edge.records import KINDS, SEED_LIMIT, Ask, EarlyStop, Kind, Message, Tools
from avengers_edge.server.conversation import Conversation, read_messages
from avengers_edge.server.fields import Fields, shown, well_formed
from avengers_edge.server.options import Limits
from avengers_edge.server.problems import refuse
from avengers_edge.server.tools import read_tools

Shown = Literal["elected", "first"]

REASONS = {
    "functions": "use tools",
    "function_call": "use tool_choice",
    "tools": "ask /v1/chat/completions",
    "audio": "answers are text",
    "modalities": "answers are text",
    "prediction": "leave it out",
    "reasoning_effort": "choose a member's mode by its name instead, like model:think",
    "best_of": 'ask for a vote: {"avengers": {"samples": 8}}',
    "suffix": "text is continued, not filled in",
    "echo": "the prompt is not repeated",
    "web_search_options": "nothing is fetched",
}

_SAMPLING_NUMBERS = ("temperature", "top_p", "min_p", "repeat_penalty", "frequency_penalty", "presence_penalty")
_MOST_STOPS = 16


@dataclasses.dataclass(frozen=True, slots=True)
class Knobs:
    """The extension object `avengers` of a request; what is None is left to the team.

    `texts` asks for every sample with its text, beside the elected one.
    """

    samples: int | None = None
    early_stop: EarlyStop = "exact"
    switch_below: float | None = None
    prefer: float = 1.0
    kind: Kind | None = None
    team: str | None = None
    stream: Shown = "elected"
    texts: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Asked:
    """A chat or completion request.

    `said` holds what it says of sampling, by the names of `SamplingParams`; `said_in` is the field with the question.
    """

    model: str
    question: str
    system: str | None = None
    history: tuple[Message, ...] = ()
    results: tuple[Message, ...] = ()
    tools: Tools | None = None
    n: int = 1
    seed: int | None = None
    stream: bool = False
    include_usage: bool = False
    said: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    knobs: Knobs = Knobs()
    said_in: Literal["messages", "prompt"] = "messages"

    @property
    def voted(self) -> bool:
        """Whether a member that is asked by its name is to vote: it is where a number of samples is given.

        Raises:
            Problem: 400, a knob of a vote without a vote.

        """
        if self.knobs.samples is None and self.knobs != Knobs():
            raise refuse("avengers", "a member that is asked by its name votes only if avengers.samples is given")
        return self.knobs.samples is not None

    def ask(self, member: str | None) -> Ask:
        """Say the same to `Avengers.answer`; a member skips routing.

        Raises:
            BadRequest: a value that cannot be used.
            Problem: 400, something that a vote has no meaning for.

        """
        if self.n > 1:
            raise refuse(
                "n", "n asks for several answers, and a vote elects one: use n=1, or a member's own name as model"
            )
        for name in ("logprobs", "logit_bias"):
            if name in self.said:
                raise refuse(name, f"{name} is of one model's tokens, and several may answer: ask a member by its name")
        knobs = self.knobs
        return Ask(
            samples=knobs.samples,
            kind=knobs.kind,
            member=member,
            system=self.system,
            seed=self.seed,
            early_stop=knobs.early_stop,
            prefer=knobs.prefer,
            switch_below=knobs.switch_below,
            history=self.history,
            tools=self.tools,
            results=self.results,
            **self.said,
        )


def read_chat(values: Mapping[str, Any], limits: Limits) -> Asked:
    """Read the body of `/v1/chat/completions`.

    Raises:
        Problem: 400, naming the field.

    """
    fields = Fields(values)
    said = _sampling(fields, limits)
    longest = fields.whole("max_completion_tokens", 1, limits.tokens)
    if longest is not None:
        if said.get("max_tokens", longest) != longest:
            raise refuse("max_tokens", "max_tokens and max_completion_tokens differ: give one")
        said["max_tokens"] = longest
    top, wanted = fields.whole("top_logprobs", 0, 20), fields.flag("logprobs")
    if top and not wanted:
        raise refuse("top_logprobs", "top_logprobs needs logprobs: true")
    if wanted:
        said["logprobs"] = top or 0
    if (schema := _schema(fields)) is not None:
        said["schema"] = schema
    tools = read_tools(fields)
    if tools is not None and (bounded := {"schema", "grammar"} & said.keys()):
        name = "response_format" if "schema" in bounded else "grammar"
        raise refuse(name, f"{name} and tools bound the same text: give one, or tool_choice none")
    return _finish(fields, limits, read_messages(fields), said, tools)


def read_completion(values: Mapping[str, Any], limits: Limits) -> Asked:
    """Read the body of `/v1/completions`: the prompt is what a user says, and the model's chat template is applied.

    Raises:
        Problem: 400, naming the field.

    """
    fields = Fields(values)
    said = _sampling(fields, limits)
    if (top := fields.whole("logprobs", 0, 20)) is not None:
        said["logprobs"] = top
    prompt = fields.any("prompt")
    if isinstance(prompt, list) and len(prompt) == 1:
        prompt = prompt[0]
    if not isinstance(prompt, str) or not prompt.strip():
        raise refuse("prompt", "prompt is not one text: send a string that is not empty, no list and no tokens")
    asked = _finish(fields, limits, Conversation(None, (), well_formed(prompt, "prompt")), said)
    return dataclasses.replace(asked, said_in="prompt")


def read_model(fields: Fields) -> str:
    """Take the model's name."""
    model = fields.text("model")
    if not model:
        raise refuse("model", "model is missing: name one of /v1/models, like avengers", "missing_parameter")
    return model


def _finish(
    fields: Fields,
    limits: Limits,
    conversation: Conversation,
    said: dict[str, Any],
    tools: Tools | None = None,
) -> Asked:
    stream = fields.flag("stream") or False
    if fields.has("stream_options") and not stream:
        raise refuse("stream_options", "stream_options needs stream: true")
    options = fields.object("stream_options")
    asked = Asked(
        model=read_model(fields),
        question=conversation.question,
        system=conversation.system,
        history=conversation.history,
        results=conversation.results,
        tools=tools,
        n=fields.whole("n", 1, limits.samples) or 1,
        seed=fields.whole("seed", 0, SEED_LIMIT - 1),
        stream=stream,
        include_usage=options.flag("include_usage") or False,
        said=said,
        knobs=_knobs(fields.object("avengers"), limits),
    )
    options.done()
    drop_ignored(fields)
    fields.done(REASONS)
    return asked


def drop_ignored(fields: Fields) -> None:
    """Take what is for a provider's own books, where it changes nothing about the answer.

    Raises:
        Problem: 400, it would change something.

    """
    for name in ("user", "safety_identifier", "prompt_cache_key"):
        fields.text(name)
    fields.mapping("metadata")
    if fields.flag("store"):
        raise refuse("store", "store is true, and nothing is kept here: leave it out")
    fields.word("service_tier", ("auto", "default"))


def _sampling(fields: Fields, limits: Limits) -> dict[str, Any]:
    """Take what is said of sampling by the names that it has here too."""
    said: dict[str, Any] = {name: fields.number(name) for name in _SAMPLING_NUMBERS}
    said["top_k"] = fields.whole("top_k", 0, 2**20)
    said["max_tokens"] = fields.whole("max_tokens", 1, limits.tokens)
    said["grammar"] = fields.text("grammar")
    said["stop"] = _stops(fields.any("stop"))
    said["logit_bias"] = _biases(fields.mapping("logit_bias"))
    return {name: value for name, value in said.items() if value is not None}


def _stops(value: object) -> tuple[str, ...] | None:
    stops = [value] if isinstance(value, str) else value
    if stops is None or stops == []:
        return None
    if (
        not isinstance(stops, list)
        or len(stops) > _MOST_STOPS
        or not all(isinstance(each, str) and each for each in stops)
    ):
        raise refuse("stop", f"stop is {shown(value)}: use a text that is not empty, or a list of up to {_MOST_STOPS}")
    return tuple(well_formed(each, "stop") for each in stops)


def _biases(values: dict[str, Any] | None) -> tuple[tuple[int, float], ...] | None:
    if not values:
        return None
    for token, bias in values.items():
        whole, number = token.isascii() and token.isdecimal() and len(token) <= 7, type(bias) in (int, float)
        if not whole or not number or not -100 <= bias <= 100:
            said = f"{shown(token)}: {shown(bias)}"
            raise refuse("logit_bias", f"logit_bias has {said}: use token ids with numbers of -100 to 100")
    return tuple((int(token), float(bias)) for token, bias in values.items())


def _schema(fields: Fields) -> str | None:
    """Turn `response_format` into the JSON schema that bounds the answer."""
    wanted = fields.object("response_format")
    kind = wanted.word("type", ("text", "json_object", "json_schema"))
    schema = None
    if kind == "json_object":
        schema = '{"type": "object"}'
    elif kind == "json_schema":
        described = wanted.object("json_schema")
        described.text("name"), described.text("description"), described.flag("strict")  # a schema is always enforced
        schema = json.dumps(described.mapping("schema") or {"type": "object"})
        described.done()
        try:
            schema_grammar(schema)
        except BadRequest as error:
            raise refuse("response_format", str(error)) from error
    wanted.done()
    return schema


def _knobs(fields: Fields, limits: Limits) -> Knobs:
    knobs = Knobs(
        samples=fields.whole("samples", 1, limits.samples),
        early_stop=fields.word("early_stop", get_args(EarlyStop)) or "exact",  # type: ignore[arg-type]
        switch_below=fields.number("switch_below", 0, 1),
        prefer=1.0 if (prefer := fields.number("prefer", 0, 1)) is None else prefer,
        kind=fields.word("kind", KINDS),  # type: ignore[arg-type]
        team=fields.text("team"),
        stream=fields.word("stream", get_args(Shown)) or "elected",  # type: ignore[arg-type]
        texts=fields.flag("texts") or False,
    )
    fields.done()
    return knobs
