"""Tools as OpenAI's clients name them: what may be called, and calls and their results in a conversation."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from avengers_edge.engine.json_schema import schema_grammar
from avengers_edge.errors import BadRequest
from avengers_edge.records import Message, Tool, ToolCall, Tools
from avengers_edge.server.fields import Fields, shown, well_formed
from avengers_edge.server.problems import refuse

_CHOICES = ("none", "auto", "required")
_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
_ID_LETTERS = 9
"""Some chat templates want ids of just so many letters and digits."""


def read_tools(fields: Fields) -> Tools | None:
    """Take `tools`, `tool_choice` and `parallel_tool_calls`; None where nothing may be called.

    Raises:
        Problem: 400, naming the field.

    """
    listed = fields.list("tools")
    parallel = fields.flag("parallel_tool_calls")
    choice = fields.any("tool_choice")
    if not listed:
        if choice not in (None, "none"):
            raise refuse("tool_choice", f"tool_choice is {shown(choice)} and there are no tools: leave it out")
        return None
    functions = tuple(_tool(each, f"tools[{place}]") for place, each in enumerate(listed))
    must, only = _choice(choice)
    if choice == "none":
        return None
    try:
        tools = Tools(functions, must, only, parallel is not False)  # bounds how much there is to look at below
    except BadRequest as error:
        blamed = "tool_choice" if only is not None and only not in {tool.name for tool in functions} else "tools"
        raise refuse(blamed, str(error)) from error
    for place, tool in enumerate(functions):
        if tool.strict or (must and only in (None, tool.name)):
            _require_enforceable(tool, f"tools[{place}].function.parameters")
    return tools


def read_calls(listed: Sequence[Any], where: str) -> tuple[ToolCall, ...]:
    """Take the calls of an assistant's message.

    Raises:
        Problem: 400, naming the field.

    """
    return tuple(_call(each, f"{where}[{place}]") for place, each in enumerate(listed))


def require_answered(messages: Sequence[Message], places: Sequence[int]) -> None:
    """Refuse a conversation in which a call has no result, or a result no call.

    Args:
        messages: what was said, without system prompts.
        places: where each stands in the request.

    Raises:
        Problem: 400, naming the message.

    """
    open_calls: dict[str, str] = {}
    seen: set[str] = set()
    for message, place in zip(messages, places, strict=True):
        where = f"messages[{place}]"
        if message.call_id is not None:
            if message.call_id not in open_calls:
                complaint = f"{where}.tool_call_id is {shown(message.call_id)}: no call of that id waits for its result"
                raise refuse(f"{where}.tool_call_id", complaint)
            del open_calls[message.call_id]
            continue
        _require_none(open_calls, where)
        for call in message.calls:
            if call.id in seen:
                raise refuse(
                    f"{where}.tool_calls", f"{where}.tool_calls has the id {shown(call.id)} again: use another"
                )
            seen.add(call.id)
            open_calls[call.id] = where
    _require_none(open_calls, "the end")


def new_id() -> str:
    """Make an id for a call."""
    return "".join(secrets.choice(_LETTERS) for _ in range(_ID_LETTERS))


def shape_of(call: ToolCall) -> dict[str, Any]:
    """Give a call in OpenAI's shape."""
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


def _require_none(open_calls: Mapping[str, str], where: str) -> None:
    for ident, made in open_calls.items():
        complaint = f"{made} calls a function, and {where} comes before the result of {shown(ident)}: send it"
        raise refuse(f"{made}.tool_calls", complaint)


def _tool(value: object, where: str) -> Tool:
    fields = _object(value, where)
    kind = fields.text("type")
    if kind != "function":
        raise refuse(f"{where}.type", f"{where}.type is {shown(kind)}: use function")
    function = fields.object("function")
    fields.done()
    name = function.text("name")
    if not name:
        raise refuse(f"{where}.function.name", f"{where}.function.name is missing: name the function")
    parameters = function.mapping("parameters")
    schema = _schema(parameters or {"type": "object", "properties": {}}, f"{where}.function.parameters")
    description, strict = function.text("description") or "", function.flag("strict") or False
    function.done()
    try:
        return Tool(name, description, schema, strict)
    except BadRequest as error:  # the rest was looked at here
        raise refuse(f"{where}.function.name", f"{where}.function.name: {error}") from error


def _schema(parameters: dict[str, Any], where: str) -> str:
    """Write a schema down; what is wrong with it whatever it is used for is refused."""
    properties, required = parameters.get("properties", {}), parameters.get("required", [])
    if (
        parameters.get("type", "object") != "object"
        or not isinstance(properties, dict)
        or not all(isinstance(each, dict | bool) for each in properties.values())
        or not isinstance(required, list)
        or not all(isinstance(name, str) for name in required)
    ):
        complaint = f"{where} is no JSON schema of an object: its properties are schemas, its required are names"
        raise refuse(where, complaint)
    return well_formed(json.dumps(parameters, ensure_ascii=False), where)


def _require_enforceable(tool: Tool, where: str) -> None:
    try:
        schema_grammar(tool.parameters)
    except BadRequest as error:
        raise refuse(where, f"{where} cannot be enforced, which strict or tool_choice asks for: {error}") from error


def _choice(choice: object) -> tuple[bool, str | None]:
    """Give whether a call has to be made, and of which function."""
    if choice is None or (isinstance(choice, str) and choice in _CHOICES):
        return choice == "required", None
    if not isinstance(choice, dict):
        names = ", ".join(_CHOICES)
        raise refuse("tool_choice", f"tool_choice is {shown(choice)}: use {names}, or an object that names a function")
    fields = Fields(choice, "tool_choice.")
    kind, function = fields.text("type"), fields.object("function")
    name = function.text("name")
    if kind != "function" or not name:
        raise refuse("tool_choice", f"tool_choice is of type {shown(kind)}: use function, and name it")
    function.done()
    fields.done()
    return True, name


def _call(value: object, where: str) -> ToolCall:
    fields = _object(value, where)
    fields.any("index")  # in what was put together from a stream
    ident, kind = fields.text("id"), fields.text("type")
    if not ident:
        raise refuse(f"{where}.id", f"{where}.id is missing: its result refers to it")
    if kind not in (None, "function"):
        raise refuse(f"{where}.type", f"{where}.type is {shown(kind)}: use function")
    function = fields.object("function")
    name, arguments = function.text("name") or "", function.text("arguments") or "{}"
    function.done()
    fields.done()
    try:
        Tool(name)  # has the names of functions checked
    except BadRequest as error:
        raise refuse(f"{where}.function.name", f"{where}.function.name: {error}") from error
    try:
        return ToolCall(name, arguments, ident)
    except BadRequest as error:
        raise refuse(f"{where}.function.arguments", f"{where}.function.arguments: {error}") from error


def _object(value: object, where: str) -> Fields:
    if not isinstance(value, dict):
        raise refuse(where, f"{where} is {shown(value)}: use an object")
    return Fields(value, f"{where}.")
