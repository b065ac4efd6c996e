"""A chat or text completion request in the runtime's terms."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any, Literal

from avengers_edge.engine.json_schema import schema_grammar
from avengers_edge.errors import BadRequest
from avengers_edge.records import Ask, Message, Tools
from avengers_edge.server.conversation import Conversation, conversation_of, tools_of
from avengers_edge.server.problems import refuse
from avengers_edge.server.schemas import (
    SAMPLING,
    ChatCompletionRequest,
    CompletionRequest,
    Extension,
    ResponseFormat,
    SamplingRequest,
)
from avengers_edge.server.validation import Given, shown


@dataclasses.dataclass(frozen=True, slots=True)
class Parameters:
    """The parameters of one answer.

    `sampling` holds what is given of `SamplingParams`, by its names there; `prompt_field` names the field with the
    question, `ignored` those that were passed over.
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
    sampling: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    extension: Extension = dataclasses.field(default_factory=Extension)
    prompt_field: Literal["messages", "prompt"] = "messages"
    ignored: tuple[str, ...] = ()

    @property
    def voted(self) -> bool:
        """Whether a member that is asked by its name is to vote: it is where a number of samples is given.

        Raises:
            Problem: 400, options of a vote without a vote.

        """
        if self.extension.samples is None and self.extension != Extension():
            raise refuse("avengers", "a member that is asked by its name votes only if avengers.samples is given")
        return self.extension.samples is not None

    def ask(self, member: str | None) -> Ask:
        """Return the options of `Avengers.run`; a member skips routing.

        Raises:
            BadRequest: a value that cannot be used.
            Problem: 400, something that a vote has no meaning for.

        """
        if self.n > 1:
            raise refuse(
                "n", "n asks for several answers, and a vote elects one: use n=1, or a member's own name as model"
            )
        for name in ("logprobs", "logit_bias"):
            if name in self.sampling:
                raise refuse(name, f"{name} is of one model's tokens, and several may answer: ask a member by its name")
        extension = self.extension
        return Ask(
            samples=extension.samples,
            kind=extension.kind,
            member=member,
            system=self.system,
            seed=self.seed,
            early_stop=extension.early_stop,
            prefer=extension.prefer,
            switch_below=extension.switch_below,
            history=self.history,
            tools=self.tools,
            results=self.results,
            **self.sampling,
        )


def parameters_of(given: Given[ChatCompletionRequest | CompletionRequest]) -> Parameters:
    """Check what the fields of a request mean together.

    Raises:
        Problem: 400, naming the field.

    """
    request = given.body
    ignored = (*given.ignored, *(("store",) if request.store else ()))
    made = _of_chat(request) if isinstance(request, ChatCompletionRequest) else _of_prompt(request)
    return dataclasses.replace(made, ignored=ignored)


def _of_prompt(request: CompletionRequest) -> Parameters:
    (prompt,) = [request.prompt] if isinstance(request.prompt, str) else request.prompt
    if not prompt.strip():
        raise refuse("prompt", "prompt is empty: send a text")
    sampling = _sampling(request)
    if request.logprobs is not None:
        sampling["logprobs"] = request.logprobs
    return dataclasses.replace(_parameters(request, Conversation(None, (), prompt), sampling), prompt_field="prompt")


def _of_chat(request: ChatCompletionRequest) -> Parameters:
    sampling = _sampling(request)
    longest = request.max_completion_tokens
    if longest is not None:
        if sampling.get("max_tokens", longest) != longest:
            raise refuse("max_tokens", "max_tokens and max_completion_tokens differ: give one")
        sampling["max_tokens"] = longest
    if request.top_logprobs and not request.logprobs:
        raise refuse("top_logprobs", "top_logprobs needs logprobs: true")
    if request.logprobs:
        sampling["logprobs"] = request.top_logprobs or 0
    if (schema := _schema(request.response_format)) is not None:
        sampling["schema"] = schema
    tools = tools_of(request)
    if tools is not None and (bounded := {"schema", "grammar"} & sampling.keys()):
        name = "response_format" if "schema" in bounded else "grammar"
        raise refuse(name, f"{name} and tools bound the same text: give one, or tool_choice none")
    return dataclasses.replace(_parameters(request, conversation_of(request.messages), sampling), tools=tools)


def _parameters(request: SamplingRequest, conversation: Conversation, sampling: dict[str, Any]) -> Parameters:
    return Parameters(
        model=request.model,
        question=conversation.question,
        system=conversation.system,
        history=conversation.history,
        results=conversation.results,
        n=request.n,
        seed=request.seed,
        stream=request.stream,
        include_usage=request.stream_options is not None and request.stream_options.include_usage,
        sampling=sampling,
        extension=request.avengers,
    )


def _sampling(request: SamplingRequest) -> dict[str, Any]:
    given = {name: getattr(request, name) for name in SAMPLING}
    given["stop"] = tuple([request.stop] if isinstance(request.stop, str) else request.stop or ()) or None
    given["logit_bias"] = _biases(request.logit_bias or {}) or None
    return {name: value for name, value in given.items() if value is not None}


def _biases(values: Mapping[str, Any]) -> tuple[tuple[int, float], ...]:
    for token, bias in values.items():
        whole, number = token.isascii() and token.isdecimal() and len(token) <= 7, type(bias) in (int, float)
        if not whole or not number or not -100 <= bias <= 100:
            said = f"{shown(token)}: {shown(bias)}"
            raise refuse("logit_bias", f"logit_bias has {said}: use token ids with numbers of -100 to 100")
    return tuple((int(token), float(bias)) for token, bias in values.items())


def _schema(wanted: ResponseFormat | None) -> str | None:
    """Return the JSON schema that bounds the answer."""
    if wanted is None or wanted.type == "text":
        return None
    described = wanted.json_schema if wanted.type == "json_schema" else None
    schema = json.dumps((described and described.schema) or {"type": "object"})
    try:
        schema_grammar(schema)
    except BadRequest as error:
        raise refuse("response_format", str(error)) from error
    return schema
