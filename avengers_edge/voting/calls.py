"""The calls of functions in a text, and the key by which two texts' calls are compared.

Models have no common form, and small ones do not keep to their own. Read are `<tool_call>` sections (Hermes, Qwen2.5),
of which the last need not be closed and braces may be doubled, as the template of Qwen2.5-Coder-1.5B shows them; or a
text that is nothing but JSON or ends with a block of it, behind Llama's and Mistral's marks too. Each has to be
`{"name": …, "arguments" or "parameters": {…}}` of a function that there is; where one is not, the text calls nothing.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Collection, Iterator

from avengers_edge.records import ToolCall
from avengers_edge.voting.keys import json_key, refuse_constant
from avengers_edge.voting.markers import begun
from avengers_edge.voting.patterns import pattern

NO_CALL = "no call"
"""The key of a text that calls nothing."""

_OPENING, _CLOSING = "<tool_call>", "</tool_call>"
_MARKS = ("[TOOL_CALLS]", "<|python_tag|>")
_FENCE = "```"
_FENCED = pattern(r"```(?:json)?[ \t]*\n(\s*[\[{](?:(?!```).)*)```\s*\Z", re.DOTALL)
_MAY_BE_FENCED = pattern(r"```(?:json)?[ \t]*\n\s*(?:[\[{]|\Z)|```(?:json|jso|js|j)?[ \t]*\Z")
_BETWEEN = pattern(r"[\s,;]*")
_BEGINNING = pattern("|".join(map(re.escape, (_OPENING, *_MARKS, _FENCE))))


@dataclasses.dataclass(frozen=True, slots=True)
class ParsedReply:
    """A text taken apart: what is for people, and the calls."""

    content: str
    calls: tuple[ToolCall, ...] = ()


def read_calls(text: str, names: Collection[str]) -> ParsedReply:
    """Find the calls of these functions; a text without any is all content."""
    start = _after_thought(text)
    if start is None:
        return ParsedReply(text)
    try:
        content, bodies = _sections(text, start) if _OPENING in text[start:] else _bare(text, start)
        calls = tuple(_call(value, names) for body in bodies for value in _values(body))
    except (ValueError, RecursionError):
        return ParsedReply(text)
    return ParsedReply(content, calls) if calls else ParsedReply(text)


def calls_key(text: str, names: Collection[str]) -> str | None:
    """Make the key of a text: its calls, in whatever order, with their arguments by value; or `NO_CALL`.

    None where a call was begun and is none, or where the model still thinks.
    """
    calls = read_calls(text, names).calls
    if not calls:
        start = _after_thought(text)
        return None if start is None or _OPENING in text[start:] else NO_CALL
    pairs = (f"[{json.dumps(call.name)},{call.arguments}]" for call in calls)
    return f"[{','.join(sorted(json_key(pair) or pair for pair in pairs))}]"


class CallFilter:
    """Holds back, while a text is written, what may be part of a call."""

    def __init__(self) -> None:
        self._text, self._shown = "", 0

    def push(self, piece: str) -> str:
        """Take the next piece; return what may be shown now."""
        self._text += piece
        start, self._shown = self._shown, max(self._shown, self._sure())
        return self._text[start : self._shown]

    def _sure(self) -> int:
        text, start = self._text, _after_thought(self._text)
        if start is None:
            return len(text)
        if text[start:].lstrip()[:1] in ("", "{", "["):
            return start
        for mark in _BEGINNING.finditer(text, max(start, self._shown)):
            if mark[0] != _FENCE or _MAY_BE_FENCED.match(text, mark.start()):
                return mark.start()
        return len(text) - begun(text[start:], (_OPENING, *_MARKS, _FENCE))


def _after_thought(text: str) -> int | None:
    """Find where the last thought ends; None where it goes on."""
    closed = text.rfind("</think>")
    if text.rfind("<think>") > closed:
        return None
    return closed + len("</think>") if closed >= 0 else 0


def _sections(text: str, start: int) -> tuple[str, list[str]]:
    head, *sections = text[start:].split(_OPENING)
    parts = [section.partition(_CLOSING) for section in sections]
    after = "".join(after for _, _, after in parts).strip()
    content = f"{text[:start]}{head}".rstrip()
    bodies = [inside.strip() for inside, _, _ in parts]
    bodies = [body[1:-1] if body.startswith("{{") and body.endswith("}}") else body for body in bodies]
    return "\n".join(filter(None, (content, after))), bodies


def _bare(text: str, start: int) -> tuple[str, list[str]]:
    if fenced := _FENCED.search(text, start):
        return text[: fenced.start()].rstrip(), [fenced[1].strip()]
    body = text[start:].strip()
    for mark in _MARKS:
        body = body.removeprefix(mark).lstrip()
    return text[:start].rstrip(), [body]


def _values(body: str) -> Iterator[object]:
    decoder, place = json.JSONDecoder(parse_constant=refuse_constant), 0
    while place < len(body) or not place:  # an empty body is refused by the decoder
        value, place = decoder.raw_decode(body, place)
        yield from value if isinstance(value, list) else [value]
        between = _BETWEEN.match(body, place)
        place = between.end() if between else place


def _call(value: object, names: Collection[str]) -> ToolCall:
    if isinstance(value, dict) and isinstance(value.get("function"), dict):
        value = value["function"]
    if not isinstance(value, dict) or not isinstance(value.get("name"), str) or value["name"] not in names:
        raise ValueError("not a call of a function that there is")
    arguments = value.get("arguments", value.get("parameters"))
    if isinstance(arguments, str):
        arguments = json.loads(arguments, parse_constant=refuse_constant)
    if not isinstance(arguments, dict):
        raise ValueError("arguments that are no object")
    written = json.dumps(arguments, ensure_ascii=False, allow_nan=False)
    written.encode()  # half a character is no text
    return ToolCall(value["name"], written)
