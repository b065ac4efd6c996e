"""The messages of a chat request: text only, system prompts first, a user's message last."""

from __future__ import annotations

from avengers_edge.records import Message
from avengers_edge.server.fields import Fields, shown, well_formed
from avengers_edge.server.problems import refuse


def read_messages(fields: Fields) -> tuple[str | None, tuple[Message, ...], str]:
    """Take the conversation apart: system prompt, what was said before, what is asked now.

    Raises:
        Problem: 400, naming the message that is not understood.

    """
    listed = fields.list("messages")
    if not listed:
        raise refuse("messages", "messages is empty: send at least one message of a user", "missing_parameter")
    system: list[str] = []
    said: list[Message] = []
    for place, each in enumerate(listed):
        where = f"messages[{place}]"
        if not isinstance(each, dict):
            raise refuse(where, f"{where} is {shown(each)}: use an object")
        message = Fields(each, f"{where}.")
        role = message.word("role", ("system", "developer", "user", "assistant"))
        if role is None:
            raise refuse(f"{where}.role", f"{where}.role is missing: use system, user or assistant")
        content = _content(message.any("content"), f"{where}.content")
        for name in ("tool_calls", "annotations"):  # clients send back what they got, empty lists too
            if message.any(name):
                raise refuse(
                    f"{where}.{name}", f"{where}.{name} is not supported: tool calls are not made by this server"
                )
        message.done()
        if role in ("user", "assistant"):
            said.append(Message(role, content))  # type: ignore[arg-type]
        elif said:
            raise refuse(where, f"{where} is a {role} message after others: put it first")
        else:
            system.append(content)
    if not said or said[-1].role != "user":
        raise refuse(f"messages[{len(listed) - 1}]", "the last message is not a user's: there is nothing to answer")
    if not said[-1].content.strip():
        raise refuse(f"messages[{len(listed) - 1}].content", "the last message is empty: ask something")
    return "\n\n".join(system) or None, tuple(said[:-1]), said[-1].content


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
