"""From the bytes of a request to its type: bounded in bytes, time and nesting; a refusal names the field to blame."""

from __future__ import annotations

import asyncio
import functools
import json
import re
from collections.abc import Iterator
from typing import Any, TypeVar

import msgspec
from starlette.requests import ClientDisconnect, Request

from avengers_edge.server.options import Limits
from avengers_edge.server.problems import Problem, refuse
from avengers_edge.server.schemas import LIMITED

_T = TypeVar("_T", bound=msgspec.Struct)

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
"""What to do instead of giving a field that clients know from elsewhere."""
_HINTS = {
    "model": "name one of /v1/models, like avengers",
    "messages": "send at least one message of a user",
    "prompt": "send a text that is not empty",
    "role": "use system, user, assistant or tool",
    "tool_call_id": "name the call that this is the result of",
}
_WORDS = {
    "int": "a whole number",
    "float": "a number",
    "str": "a text",
    "bool": "true or false",
    "object": "an object",
    "array": "a list",
}
_VERBATIM = ("parameters", "schema", "metadata")
"""Objects in which null is a value."""
_LARGE = 64 * 1024
"""Bytes from which parsing would hold up the event loop noticeably."""


async def read_request(request: Request, kind: type[_T], limits: Limits) -> _T:
    """Read and check a request's body.

    Raises:
        Problem: 415 for another content type, 413 for too many bytes, 408 for too slow ones, 400 for what is no such
            object, naming the field.

    """
    sent = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if sent != "application/json":  # what a page of another origin can send without asking is not this
        raise Problem(415, f"the content type is {sent[:60] or 'missing'}: send application/json", code="content_type")
    try:
        async with asyncio.timeout(limits.body_seconds):
            content = await _read(request, limits)
    except TimeoutError:
        complaint = f"the body did not come within {limits.body_seconds:g} s: send it faster"
        raise Problem(408, complaint, code="timeout") from None
    except ClientDisconnect:
        raise Problem(499, "the client left before its request was complete", code="cancelled") from None
    if len(content) <= _LARGE:
        return convert(parse_object(content, limits.depth), kind, limits)
    return await asyncio.to_thread(lambda: convert(parse_object(content, limits.depth), kind, limits))


async def _read(request: Request, limits: Limits) -> bytes:
    too_large = Problem(413, f"the body has more than {limits.body} bytes: send less", code="body_too_large")
    length = request.headers.get("content-length", "0")
    if not length.isdecimal() or len(length) > 18 or int(length) > limits.body:
        raise too_large
    content = bytearray()
    async for chunk in request.stream():
        content += chunk
        if len(content) > limits.body:
            raise too_large
    return bytes(content)


def parse_object(content: bytes, depth: int) -> dict[str, Any]:
    """Parse JSON that is nested at most `depth` deep and is an object.

    Raises:
        Problem: 400.

    """
    try:
        values = msgspec.json.decode(content)
    except RecursionError:
        raise _too_deep(depth) from None
    except msgspec.ValidationError:
        raise Problem(400, "the body is not valid JSON: a number is too large", code="invalid_json") from None
    except msgspec.DecodeError as error:
        raise Problem(400, f"the body is not valid JSON: {error}", code="invalid_json") from None
    if not isinstance(values, dict):
        raise Problem(400, "the body is not a JSON object: send {…}", code="invalid_json")
    level: list[Any] = [values]
    for _ in range(depth):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return values
    raise _too_deep(depth)


def convert(values: dict[str, Any], kind: type[_T], limits: Limits) -> _T:
    """Turn a parsed object into a request.

    Raises:
        Problem: 400, naming the field.

    """
    values = _without_null(values)
    try:
        request = msgspec.convert(values, kind)
    except msgspec.ValidationError as error:
        raise _refused(str(error), values, kind) from None
    for where, given in (("", values), ("avengers.", values.get("avengers", {}))):
        for name in LIMITED.keys() & given.keys():
            most = getattr(limits, LIMITED[name])
            if given[name] > most:
                complaint = f"{where}{name} is {shown(given[name])}: expected a whole number <= {most}"
                raise refuse(where + name, complaint)
    return request


def shown(value: object) -> str:
    """Quote the head of a value."""
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    if isinstance(value, str):
        value = value[:48]
    elif isinstance(value, int) and abs(value) > 10**40:
        return "a huge number"
    text = json.dumps(value)
    return text if len(text) <= 48 else f"{text[:47]}…"


def _without_null(value: Any) -> Any:  # noqa: ANN401 - JSON
    if isinstance(value, list):
        return [_without_null(each) for each in value]
    if not isinstance(value, dict):
        return value
    given = {name: each for name, each in value.items() if each is not None}
    return {name: each if name in _VERBATIM else _without_null(each) for name, each in given.items()}


def _refused(message: str, values: dict[str, Any], kind: type[msgspec.Struct]) -> Problem:
    """Turn msgspec's message, like "Expected `int`, got `str` - at `$.n`", into one that names field and value."""
    reason, _, place = message.partition(" - at ")
    path = re.findall(r"\.([^.\[`]+)|\[(\d+)\]", place)
    where = "".join(f".{name}" if name else f"[{index}]" for name, index in path).removeprefix(".")
    if found := re.fullmatch(r"Object missing required field `(.+)`", reason):
        name = f"{where}.{found[1]}".removeprefix(".")
        return refuse(name, f"{name} is missing: {_HINTS.get(found[1], 'send it')}", "missing_parameter")
    if found := re.fullmatch(r"Object contains unknown field `(.+)`", reason, re.DOTALL):
        name = f"{where}.{found[1][:80]}".removeprefix(".")
        return refuse(name, f"{name} is not supported: {REASONS.get(name, 'leave it out')}", "unsupported_parameter")
    value: Any = values
    for name, index in path:
        value = value[name] if name else value[int(index)]
    if reason.startswith("Invalid"):
        return refuse(where, f"{where} is {shown(value)}: use one of {', '.join(_words_of(kind, path))}")
    expected = re.sub(r"`([\w |]+)`", lambda types: _in_words(types[1]), reason.partition(", got ")[0])
    return refuse(where, f"{where} is {shown(value)}: {expected[:1].lower()}{expected[1:]}")


def _words_of(kind: type[msgspec.Struct], path: list[tuple[str, str]]) -> list[str]:
    """List the words that a field may have, as the type's own schema says."""
    schema = msgspec.json.schema(kind)
    nodes = [schema]
    for name, _ in path:
        step = ("properties", name) if name else ("items",)
        nodes = [functools.reduce(lambda node, key: node.get(key, {}), step, each) for each in _flat(nodes, schema)]
    return list(dict.fromkeys(str(word) for node in _flat(nodes, schema) for word in node.get("enum", ())))


def _flat(nodes: list[dict[str, Any]], schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Resolve references and alternatives."""
    for node in nodes:
        if "$ref" in node:
            yield from _flat([schema["$defs"][node["$ref"].rpartition("/")[2]]], schema)
        elif "anyOf" in node:
            yield from _flat(node["anyOf"], schema)
        else:
            yield node


def _in_words(types: str) -> str:
    return " or ".join(_WORDS.get(each, each) for each in types.split(" | ") if each != "null")


def _too_deep(depth: int) -> Problem:
    return Problem(400, f"the body is nested more than {depth} deep", code="invalid_json")
