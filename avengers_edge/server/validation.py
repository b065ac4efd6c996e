"""From the bytes of a request to its type: bounded in bytes, time and nesting; a refusal names the field to blame."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Generic, TypeVar

import msgspec
from starlette.requests import ClientDisconnect, Request

from avengers_edge.server.options import Limits
from avengers_edge.server.problems import Problem, refuse
from avengers_edge.server.schemas import LIMITED

_T = TypeVar("_T", bound=msgspec.Struct)

WRONG = {
    "functions": "use tools",
    "function_call": "use tool_choice",
    "tools": "ask /v1/chat/completions",
    "audio": "answers are text",
    "modalities": "answers are text",
    "best_of": 'ask for a vote: {"avengers": {"samples": 8}}',
    "suffix": "text is continued, not filled in",
    "web_search_options": "nothing is fetched",
    "guided_json": "use response_format",
    "guided_regex": "use grammar or response_format",
    "guided_choice": "use grammar or response_format",
    "guided_grammar": "use grammar",
    "structured_outputs": "use response_format",
}
"""Fields without which the answer would not be the one that was asked for, and what to do instead."""

_NEUTRAL: Mapping[str, tuple[object, ...]] = MappingProxyType({
    "echo": (False,),
    "best_of": (1,),
    "suffix": ("",),
    "stop": ("", []),
    "modalities": (["text"],),
    "functions": ([],),
    "seed": (-1,),
    "top_k": (-1,),
    "max_tokens": (-1, -2),
    "max_completion_tokens": (-1, -2),
})  # fmt: skip
"""Values that ask for what is done anyway."""

_ALIASES: Mapping[str, str] = MappingProxyType({
    "n_predict": "max_tokens",
    "num_predict": "max_tokens",
    "repetition_penalty": "repeat_penalty",
})  # fmt: skip
"""Names that llama.cpp, Ollama and vLLM have for fields of OpenAI's form."""

_MOST_PASSED_OVER = 32
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
_STEP = re.compile(r"\.([^.\[`]+)|\[(\d+)\]")
_UNKNOWN = re.compile(r"Object contains unknown field `(.+)`", re.DOTALL)
_LARGE = 64 * 1024
"""Bytes from which parsing would hold up the event loop noticeably."""


async def read_request(request: Request, kind: type[_T], limits: Limits, *, strict: bool) -> Given[_T]:
    """Read and check a request's body; refuse other types with 415, large ones with 413 and slow ones with 408."""
    sent = request.headers.get("content-type", "").split(";")[0].strip().lower()
    # What a page of another origin can send without asking is not JSON; what no page sends may be anything.
    if sent != "application/json" and "origin" in request.headers:
        raise Problem(415, f"the content type is {sent[:60] or 'missing'}: send application/json", code="content_type")
    try:
        async with asyncio.timeout(limits.body_seconds):
            content = await _read(request, limits)
    except TimeoutError:
        complaint = f"the body did not come within {limits.body_seconds:g} s: send it faster"
        raise Problem(408, complaint, code="timeout") from None
    except ClientDisconnect:
        raise Problem(499, "the client left before its request was complete", code="cancelled") from None

    def read() -> Given[_T]:
        return convert(parse_object(content, limits.depth), kind, limits, strict=strict)

    return read() if len(content) <= _LARGE else await asyncio.to_thread(read)


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
    """Parse JSON that is nested at most `depth` deep and is an object; refuse others with 400."""
    too_deep = Problem(400, f"the body is nested more than {depth} deep", code="invalid_json")
    try:
        values = msgspec.json.decode(content)
    except RecursionError:
        raise too_deep from None
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
    raise too_deep


@dataclasses.dataclass(frozen=True, slots=True)
class Given(Generic[_T]):
    """A request, and the names of its fields that were passed over since they cannot change the answer."""

    body: _T
    ignored: tuple[str, ...] = ()


def convert(values: dict[str, Any], kind: type[_T], limits: Limits, *, strict: bool = False) -> Given[_T]:
    """Turn a parsed object into a request; what is unknown and cannot make the answer wrong is passed over.

    With `strict` unknown fields and numbers above a limit are refused, instead of passed over or held to it.
    """
    values = _without_null(values)
    ignored: dict[str, None] = {}
    if not strict:  # rename what other servers call otherwise, and leave out what asks for nothing
        renamed = {_ALIASES.get(name, name): value for name, value in values.items()}
        values = {name: value for name, value in renamed.items() if value not in _NEUTRAL.get(name, ())}
    while True:
        try:
            request = msgspec.convert(values, kind)
            break
        except msgspec.ValidationError as error:
            path = _unknown(str(error))
            wrong = path is None or (len(path) == 1 and path[0] in WRONG)
            if strict or path is None or wrong or len(ignored) >= _MOST_PASSED_OVER:
                raise _refused(str(error), values, kind) from None
            _drop(values, path)
            ignored[".".join(str(step) for step in path if step != 0)] = None
    held: dict[str, Any] = {}
    for where, given in (("", values), ("avengers.", values.get("avengers", {}))):
        for name in LIMITED.keys() & given.keys():
            most = getattr(limits, LIMITED[name])
            if given[name] > most:
                if strict or LIMITED[name] != "tokens":
                    complaint = f"{where}{name} is {shown(given[name])}: expected a whole number <= {most}"
                    raise refuse(where + name, complaint)
                held[name] = most
                ignored[f"{name} above {most}"] = None
    return Given(msgspec.structs.replace(request, **held) if held else request, tuple(ignored))


def _unknown(message: str) -> list[str | int] | None:
    """Return the path of the unknown field that a message of msgspec's names; 0 stands for any place of a list."""
    reason, _, place = message.partition(" - at ")
    found = _UNKNOWN.fullmatch(reason)
    if found is None:
        return None
    outer: list[str | int] = [name or 0 for name, _ in _STEP.findall(place)]
    return [*outer, found[1]]


def _drop(value: Any, path: Sequence[str | int]) -> None:  # noqa: ANN401 - JSON
    """Take a field out of an object, in a list out of all its objects."""
    step, *rest = path
    if isinstance(value, list):
        for each in value:
            _drop(each, rest)
    elif isinstance(value, dict) and not rest:
        value.pop(step, None)
    elif isinstance(value, dict) and step in value:
        _drop(value[step], rest)


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
    path = _STEP.findall(place)
    where = "".join(f".{name}" if name else f"[{index}]" for name, index in path).removeprefix(".")
    if found := re.fullmatch(r"Object missing required field `(.+)`", reason):
        name = f"{where}.{found[1]}".removeprefix(".")
        return refuse(name, f"{name} is missing: {_HINTS.get(found[1], 'send it')}", "missing_parameter")
    if found := _UNKNOWN.fullmatch(reason):
        name = f"{where}.{found[1][:80]}".removeprefix(".")
        return refuse(name, f"{name} is not supported: {WRONG.get(name, 'leave it out')}", "unsupported_parameter")
    value: Any = values
    for name, index in path:
        value = value[name] if name else value[int(index)]
    if reason.startswith("Invalid"):
        return refuse(where, f"{where} is {shown(value)}: use one of {', '.join(_words_of(kind, path))}")
    expected = re.sub(r"`([\w |]+)`", _in_words, reason.partition(", got ")[0])
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


def _in_words(found: re.Match[str]) -> str:
    return " or ".join(_WORDS.get(each, each) for each in found[1].split(" | ") if each != "null")
