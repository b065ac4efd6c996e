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
    UserMessage,
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
    """Split a request's messages; system prompts are joined wherever they stand, and so are turns of one role.

    A last message of the assistant's is continued.

    Raises:
        Problem: 400, naming the message that is out of place.

    """
    system = [_text(each.content) for each in messages if isinstance(each, SystemMessage | DeveloperMessage)]
    rest = [
        (f"messages[{place}]", _message(each, f"messages[{place}]"))
        for place, each in enumerate(messages)
        if not isinstance(each, SystemMessage | DeveloperMessage)
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
