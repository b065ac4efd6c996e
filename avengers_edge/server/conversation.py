"""Messages and tools in the runtime's terms: system prompts first, calls with results, the question last."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence

from avengers_edge.engine.json_schema import schema_grammar
from avengers_edge.errors import BadRequest
from avengers_edge.records import Message, Tool, ToolCall, Tools
from avengers_edge.server.problems import refuse
from avengers_edge.server.schemas import (
    AssistantMessage,
    Call,
    ChatCompletionRequest,
    ChatMessage,
    Content,
    DeveloperMessage,
    Function,
    SystemMessage,
    ToolChoice,
    ToolMessage,
)
from avengers_edge.server.validation import shown


@dataclasses.dataclass(frozen=True, slots=True)
class Conversation:
    """System prompt, earlier messages, the question, and the calls and results that followed it."""

    system: str | None
    history: tuple[Message, ...]
    question: str
    results: tuple[Message, ...] = ()


def conversation_of(messages: Sequence[ChatMessage]) -> Conversation:
    """Split a request's messages.

    Raises:
        Problem: 400, naming the message that is out of place.

    """
    system = []
    for each in messages:
        if not isinstance(each, SystemMessage | DeveloperMessage):
            break
        system.append(_text(each.content))
    rest = [_message(each, f"messages[{place}]") for place, each in enumerate(messages[len(system) :], len(system))]
    last = f"messages[{len(messages) - 1}]"
    _require_results(rest, len(system))
    if not rest or rest[-1].role == "assistant":
        raise refuse(last, "the last message is not a user's: there is nothing to answer")
    asked = max((place for place, message in enumerate(rest) if message.role == "user"), default=None)
    if asked is None:
        raise refuse(last, "there is no message of a user: there is nothing to answer")
    question = rest[asked].content
    if not question.strip():
        where = f"messages[{asked + len(system)}].content"
        raise refuse(where, "the last message of the user is empty: ask something")
    return Conversation("\n\n".join(system) or None, tuple(rest[:asked]), question, tuple(rest[asked + 1 :]))


def _message(message: ChatMessage, where: str) -> Message:
    if isinstance(message, SystemMessage | DeveloperMessage):
        raise refuse(where, f"{where} is a system prompt after other messages: put it first")
    if isinstance(message, ToolMessage):
        return Message("tool", _text(message.content), call_id=message.tool_call_id)
    if not isinstance(message, AssistantMessage):
        return Message("user", _text(message.content))
    if message.content is None and not message.tool_calls:
        raise refuse(f"{where}.content", f"{where}.content is missing: send a text or tool_calls")
    places = (f"{where}.tool_calls[{place}]" for place in range(len(message.tool_calls)))
    return Message("assistant", _text(message.content or ""), tuple(map(_call, message.tool_calls, places)))


def _text(content: Content) -> str:
    return content if isinstance(content, str) else "".join(part.text for part in content)


def _call(call: Call, where: str) -> ToolCall:
    try:
        return ToolCall(call.function.name, call.function.arguments, call.id)
    except BadRequest as error:
        raise refuse(f"{where}.function.arguments", f"{where}.function.arguments: {error}") from error


def _require_results(messages: Sequence[Message], first: int) -> None:
    """Refuse a call without a result, or a result without a call; `first` is the place of the first message."""
    waiting: dict[str, str] = {}
    seen: set[str] = set()
    for place, message in enumerate(messages, first):
        where = f"messages[{place}]"
        if message.call_id is not None:
            if message.call_id not in waiting:
                complaint = f"{where}.tool_call_id is {shown(message.call_id)}: no call of that id waits for its result"
                raise refuse(f"{where}.tool_call_id", complaint)
            del waiting[message.call_id]
            continue
        _require_none(waiting, where)
        for call in message.calls:
            if call.id in seen:
                complaint = f"{where}.tool_calls has the id {shown(call.id)} again: use another"
                raise refuse(f"{where}.tool_calls", complaint)
            seen.add(call.id)
            waiting[call.id] = where
    _require_none(waiting, "the end")


def _require_none(waiting: Mapping[str, str], where: str) -> None:
    for ident, made in waiting.items():
        complaint = f"{made} calls a function, and {where} comes before the result of {shown(ident)}: send it"
        raise refuse(f"{made}.tool_calls", complaint)


def tools_of(request: ChatCompletionRequest) -> Tools | None:
    """Return the functions that may be called, or None where there are none.

    Raises:
        Problem: 400, naming the field.

    """
    choice = request.tool_choice
    if not request.tools:
        if choice not in (None, "none"):
            value = shown(choice) if isinstance(choice, str) else "an object"
            raise refuse("tool_choice", f"tool_choice is {value} and there are no tools: leave it out")
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
    try:
        schema_grammar(tool.parameters)
    except BadRequest as error:
        raise refuse(where, f"{where} cannot be enforced, which strict or tool_choice asks for: {error}") from error
