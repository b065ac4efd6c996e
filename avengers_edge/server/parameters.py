"""A chat or text completion request in the runtime's terms: system prompts first, calls with results, the question."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from avengers_edge.engine.json_schema import relaxed, schema_grammar
from avengers_edge.errors import BadRequest
from avengers_edge.records import Ask, Message, Tool, ToolCall, Tools
from avengers_edge.server.problems import refuse
from avengers_edge.server.schemas import (
    SAMPLING,
    AssistantMessage,
    Call,
    ChatCompletionRequest,
    ChatMessage,
    CompletionRequest,
    Content,
    Extension,
    Function,
    ResponseFormat,
    SamplingRequest,
    SystemMessage,
    ToolChoice,
    ToolMessage,
    UserMessage,
)
from avengers_edge.server.validation import Given, shown


@dataclasses.dataclass(frozen=True, slots=True)
class Conversation:
    """System prompt, earlier messages, the question, and the calls and results that followed it."""

    system: str | None
    history: tuple[Message, ...]
    question: str
    results: tuple[Message, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Parameters:
    """The parameters of one answer.

    `sampling` holds what is given of `SamplingParams`, by its names there; `prompt_field` names the field with the
    question, `ignored` those that were passed over.
    """

    model: str
    conversation: Conversation
    sampling: Mapping[str, Any]
    prompt_field: Literal["messages", "prompt"]
    tools: Tools | None = None
    n: int = 1
    seed: int | None = None
    stream: bool = False
    include_usage: bool = False
    extension: Extension = dataclasses.field(default_factory=Extension)
    ignored: tuple[str, ...] = ()

    @property
    def voted(self) -> bool:
        """Whether a member that is asked by its name is to vote: it is where a number of samples is given."""
        if self.extension.samples is None and self.extension != Extension():
            raise refuse("avengers", "a member that is asked by its name votes only if avengers.samples is given")
        return self.extension.samples is not None

    def ask(self, member: str | None) -> Ask:
        """Return the options of `Avengers.run`; a member skips routing."""
        if self.n > 1:
            raise refuse(
                "n", "n asks for several answers, and a vote elects one: use n=1, or a member's own name as model"
            )
        for name in ("logprobs", "logit_bias"):
            if name in self.sampling:
                raise refuse(name, f"{name} is of one model's tokens, and several may answer: ask a member by its name")
        said, extension = self.conversation, self.extension
        return Ask(
            samples=extension.samples,
            kind=extension.kind,
            member=member,
            system=said.system,
            seed=self.seed,
            early_stop=extension.early_stop,
            prefer=extension.prefer,
            switch_below=extension.switch_below,
            history=said.history,
            tools=self.tools,
            results=said.results,
            **self.sampling,
        )


def parameters_of(given: Given[ChatCompletionRequest | CompletionRequest]) -> Parameters:
    """Check what the fields of a request mean together."""
    request = given.body
    sampling, tools = _sampling(request), None
    unbound: tuple[str, ...] = ()
    if isinstance(request, ChatCompletionRequest):
        sampling |= _chat_sampling(request, sampling.get("max_tokens"))
        schema, unbound = _schema(request.response_format)
        if schema is not None:
            sampling["schema"] = schema
        tools = _tools_of(request)
        if tools is not None and (bounded := {"schema", "grammar"} & sampling.keys()):
            name = "response_format" if "schema" in bounded else "grammar"
            raise refuse(name, f"{name} and tools bound the same text: give one, or tool_choice none")
        conversation = _conversation_of(request.messages)
    else:
        (prompt,) = [request.prompt] if isinstance(request.prompt, str) else request.prompt
        if not prompt.strip():
            raise refuse("prompt", "prompt is empty: send a text")
        if request.logprobs is not None:
            sampling["logprobs"] = request.logprobs
        conversation = Conversation(None, (), prompt)
    return Parameters(
        model=request.model,
        conversation=conversation,
        sampling=sampling,
        prompt_field="messages" if isinstance(request, ChatCompletionRequest) else "prompt",
        tools=tools,
        n=request.n,
        seed=request.seed,
        stream=request.stream,
        include_usage=request.stream_options is not None and request.stream_options.include_usage,
        extension=request.avengers,
        ignored=(*given.ignored, *(("store",) if request.store else ()), *unbound),
    )


def _chat_sampling(request: ChatCompletionRequest, max_tokens: int | None) -> dict[str, Any]:
    """Return what only a chat completion can bound an answer by."""
    sampling: dict[str, Any] = {}
    if (longest := request.max_completion_tokens) is not None:
        if max_tokens not in (None, longest):
            raise refuse("max_tokens", "max_tokens and max_completion_tokens differ: give one")
        sampling["max_tokens"] = longest
    if request.top_logprobs and not request.logprobs:
        raise refuse("top_logprobs", "top_logprobs needs logprobs: true")
    if request.logprobs:
        sampling["logprobs"] = request.top_logprobs or 0
    return sampling


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


def _schema(wanted: ResponseFormat | None) -> tuple[str | None, tuple[str, ...]]:
    """Return the JSON schema that bounds the answer, and which of its keywords do not."""
    if wanted is None or wanted.type == "text":
        return None, ()
    described = wanted.json_schema if wanted.type == "json_schema" else None
    schema, lost = relaxed(json.dumps((described and described.schema) or {"type": "object"}))
    if lost and described is not None and described.strict:
        complaint = f"response_format has {lost[0]}, which cannot be enforced, and strict asks for that: leave it out"
        raise refuse("response_format", complaint)
    try:
        schema_grammar(schema)
    except BadRequest as error:
        raise refuse("response_format", str(error)) from error
    return schema, tuple(f"response_format.{path}" for path in lost)


def _conversation_of(messages: Sequence[ChatMessage]) -> Conversation:
    """Split a request's messages; system prompts and turns of one role are joined, an assistant's last is continued."""
    system = [_text(each.content) for each in messages if isinstance(each, SystemMessage)]
    rest = [
        (f"messages[{place}]", _message(each, f"messages[{place}]"))
        for place, each in enumerate(messages)
        if not isinstance(each, SystemMessage)
    ]
    _require_results(rest)
    rest = _joined(rest)
    last = f"messages[{len(messages) - 1}]"
    asked = max((place for place, (_, message) in enumerate(rest) if message.role == "user"), default=None)
    if asked is None:
        raise refuse(last, "there is no message of a user: there is nothing to answer")
    where, question = rest[asked]
    if not question.content.strip():
        raise refuse(f"{where}.content", "the last message of the user is empty: ask something")
    said = [message for _, message in rest]
    system_prompt = "\n\n".join(filter(None, system)) or None
    return Conversation(system_prompt, tuple(said[:asked]), question.content, tuple(said[asked + 1 :]))


def _message(message: UserMessage | AssistantMessage | ToolMessage, where: str) -> Message:
    if isinstance(message, ToolMessage):
        return Message("tool", _text(message.content), call_id=message.tool_call_id)
    if isinstance(message, UserMessage):
        return Message("user", _text(message.content))
    if message.content is None and not message.tool_calls:
        raise refuse(f"{where}.content", f"{where}.content is missing: send a text or tool_calls")
    return Message("assistant", _text(message.content or ""), tuple(map(_call, message.tool_calls)))


def _joined(messages: Sequence[tuple[str, Message]]) -> list[tuple[str, Message]]:
    """Make one message of turns of one role that follow each other, which most templates refuse."""
    joined: list[tuple[str, Message]] = []
    for where, message in messages:
        before = joined[-1][1] if joined else None
        if before is None or before.role != message.role or message.role == "tool":
            joined.append((where, message))
            continue
        content = "\n\n".join(filter(None, (before.content, message.content)))
        joined[-1] = (where, dataclasses.replace(before, content=content, calls=(*before.calls, *message.calls)))
    return joined


def _text(content: Content) -> str:
    return content if isinstance(content, str) else "\n".join(part.text for part in content)


def _call(call: Call) -> ToolCall:
    """Read a call; arguments that are no JSON object, which models write at times, are kept as a text."""
    try:
        return ToolCall(call.function.name, call.function.arguments, call.id)
    except BadRequest:
        return ToolCall(call.function.name, json.dumps({"arguments": call.function.arguments}), call.id)


def _require_results(messages: Sequence[tuple[str, Message]]) -> None:
    """Refuse a call without a result, or a result without a call."""
    waiting: dict[str, str] = {}
    seen: set[str] = set()
    for where, message in messages:
        if message.call_id is not None:
            if message.call_id not in waiting:
                complaint = f"{where}.tool_call_id is {shown(message.call_id)}: no call of that id waits for its result"
                raise refuse(f"{where}.tool_call_id", complaint)
            del waiting[message.call_id]
            continue
        _require_results_of(waiting, where)
        for call in message.calls:
            if call.id in seen:
                complaint = f"{where}.tool_calls has the id {shown(call.id)} again: use another"
                raise refuse(f"{where}.tool_calls", complaint)
            seen.add(call.id)
            waiting[call.id] = where
    _require_results_of(waiting, "the end")


def _require_results_of(waiting: Mapping[str, str], where: str) -> None:
    for ident, made in waiting.items():
        complaint = f"{made} calls a function, and {where} comes before the result of {shown(ident)}: send it"
        raise refuse(f"{made}.tool_calls", complaint)


def _tools_of(request: ChatCompletionRequest) -> Tools | None:
    choice = request.tool_choice
    if not request.tools:
        return None
    functions = tuple(_tools([each.function for each in request.tools]))
    if choice == "none":
        return None
    only = choice.function.name if isinstance(choice, ToolChoice) else None
    must = choice == "required" or only is not None
    try:
        tools = Tools(functions, must, only, request.parallel_tool_calls)  # bounds how much is checked below
    except BadRequest as error:
        blamed = "tool_choice" if only is not None and only not in {tool.name for tool in functions} else "tools"
        raise refuse(blamed, str(error)) from error
    for place, tool in enumerate(functions):
        if tool.strict or (must and only in (None, tool.name)):
            _require_enforceable(tool, f"tools[{place}].function.parameters")
    return tools


def _tools(functions: Sequence[Function]) -> Iterator[Tool]:
    for place, function in enumerate(functions):
        where = f"tools[{place}].function.parameters"
        schema = function.parameters or {"type": "object", "properties": {}}
        properties, required = schema.get("properties", {}), schema.get("required", [])
        if (
            schema.get("type", "object") != "object"
            or not isinstance(properties, dict)
            or not all(isinstance(each, dict | bool) for each in properties.values())
            or not isinstance(required, list)
            or not all(isinstance(name, str) for name in required)
        ):
            complaint = f"{where} is no JSON schema of an object: its properties are schemas, its required are names"
            raise refuse(where, complaint)
        try:
            text = json.dumps(schema, ensure_ascii=False)
            yield Tool(function.name, function.description, text, function.strict)
        except BadRequest as error:
            raise refuse(f"tools[{place}].function", f"tools[{place}].function: {error}") from error


def _require_enforceable(tool: Tool, where: str) -> None:
    schema, lost = relaxed(tool.parameters)
    if tool.strict and lost:
        raise refuse(where, f"{where} has {lost[0]}, which cannot be enforced, and strict asks for that: leave it out")
    try:
        schema_grammar(schema)
    except BadRequest as error:
        raise refuse(where, f"{where} cannot be enforced, which strict or tool_choice asks for: {error}") from error
