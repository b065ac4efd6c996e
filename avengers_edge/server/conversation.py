"""The messages of a chat request: text, calls and their results; system prompts first, a user's or a result last."""

from __future__ import annotations

import dataclasses

from avengers_edge.records import Message
from avengers_edge.server.fields import Fields, shown, well_formed
from avengers_edge.server.problems import refuse
from avengers_edge.server.tools import read_calls, require_answered

_ROLES = ("system", "developer", "user", "assistant", "tool")


@dataclasses.dataclass(frozen=True, slots=True)
class Conversation:
    """Messages taken apart: system prompt, what was said before, what is asked now, and which calls followed that."""

    system: str | None
    history: tuple[Message, ...]
    question: str
    results: tuple[Message, ...] = ()


def read_messages(fields: Fields) -> Conversation:
    """Take the conversation apart.

    Raises:
        Problem: 400, naming the message that is not understood.

    """
    listed = fields.list("messages")
    if not listed:
        raise refuse("messages", "messages is empty: send at least one message of a user", "missing_parameter")
    system: list[str] = []
    said: list[Message] = []
    places: list[int] = []
    for place, each in enumerate(listed):
        where = f"messages[{place}]"
        if not isinstance(each, dict):
            raise refuse(where, f"{where} is {shown(each)}: use an object")
        message = _message(Fields(each, f"{where}."), where)
        if isinstance(message, Message):
            said.append(message)
            places.append(place)
        elif said:
            raise refuse(where, f"{where} is a {each['role']} message after others: put it first")
        else:
            system.append(message)
    last = f"messages[{len(listed) - 1}]"
    require_answered(said, places)
    if not said or said[-1].role == "assistant":
        raise refuse(last, "the last message is not a user's: there is nothing to answer")
    asked = max((place for place, message in enumerate(said) if message.role == "user"), default=None)
    if asked is None:
        raise refuse(last, "there is no message of a user: there is nothing to answer")
    if not said[asked].content.strip():
        where = f"messages[{places[asked]}].content"
        raise refuse(where, "the last message of the user is empty: ask something")
    return Conversation("\n\n".join(system) or None, tuple(said[:asked]), said[asked].content, tuple(said[asked + 1 :]))


def _message(fields: Fields, where: str) -> Message | str:
    """Take one message apart; a system prompt is a text."""
    role = fields.word("role", _ROLES)
    if role is None:
        raise refuse(f"{where}.role", f"{where}.role is missing: use system, user, assistant or tool")
    content, calls = fields.any("content"), fields.list("tool_calls") or []
    if fields.any("annotations"):  # clients send back what they got, empty lists too
        raise refuse(f"{where}.annotations", f"{where}.annotations is not supported: leave it out")
    call_id = None
    if role == "tool":
        fields.text("name")  # its call has it already
        if not (call_id := fields.text("tool_call_id")):
            name = f"{where}.tool_call_id"
            raise refuse(name, f"{name} is missing: name the call that this is the result of", "missing_parameter")
    fields.done()
    if calls and role != "assistant":
        raise refuse(f"{where}.tool_calls", f"{where}.tool_calls is in a message of role {role}: an assistant calls")
    text = "" if content is None and calls else _content(content, f"{where}.content")
    if role in ("system", "developer"):
        return text
    return Message(role, text, read_calls(calls, f"{where}.tool_calls"), call_id)  # type: ignore[arg-type]


def _content(value: object, where: str) -> str:
    """Take a text, or join parts of text."""
    if isinstance(value, str):
        return well_formed(value, where)
    if not isinstance(value, list):
        raise refuse(where, f"{where} is {shown(value)}: use a text or a list of text parts")
    texts = []
    for place, each in enumerate(value):
        at = f"{where}[{place}]"
        if not isinstance(each, dict):
            raise refuse(at, f'{at} is {shown(each)}: use {{"type": "text", "text": …}}')
        part = Fields(each, f"{at}.")
        kind = part.text("type")
        if kind != "text":
            raise refuse(at, f"{at} is of type {shown(kind)}: only text is read here")
        texts.append(part.text("text") or "")
        part.done()
    return "".join(texts)
