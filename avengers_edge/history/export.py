"""A conversation as a text of its own: JSON that is read back, and Markdown for people."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from avengers_edge.errors import AvengersError, BadRequest, VerificationFailed
from avengers_edge.files import write_named
from avengers_edge.history.conversations import Conversation, Facts, Turn, one_line, valid_unicode

Format = Literal["markdown", "json"]
FORMAT = 1
"""Of the JSON."""
_HEADING = tuple(field.name for field in dataclasses.fields(Conversation) if field.name != "turns")
_OF_LINES = ("content", "system")
"""The fields that are texts of several lines."""
_HEADLINES = {"user": "You", "assistant": "Answer", "system": "System"}


def export(conversation: Conversation, form: Format) -> str:
    """Write a conversation as a text in one of the two formats."""
    return to_json(conversation) if form == "json" else to_markdown(conversation)


def save(path: Path, conversation: Conversation, form: Format | None = None) -> None:
    """Write a conversation to a file; None is JSON where its name ends in `.json`, else Markdown.

    Raises:
        AvengersError: it cannot be written.

    """
    text = export(conversation, form or ("json" if path.suffix.lower() == ".json" else "markdown"))
    try:
        write_named(path, valid_unicode(text).encode())
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or error
        raise AvengersError(f"{path} cannot be written ({reason}): choose another place") from error


def to_json(conversation: Conversation) -> str:
    """Write a conversation so that `from_json` reads it back."""
    turns = [
        {"role": turn.role, "content": turn.content, "complete": turn.complete}
        | (turn.facts.as_dict() if turn.facts else {})
        for turn in conversation.turns
    ]
    heading = {field: getattr(conversation, field) for field in _HEADING}
    return json.dumps({"format": FORMAT, **heading, "turns": turns}, indent=2, ensure_ascii=False) + "\n"


def from_json(text: str) -> Conversation:
    """Read what `to_json` wrote; the id is the one it had there.

    Anybody may have written it: what is shown as one line loses its control characters, and no text keeps a lone
    surrogate.

    Raises:
        VerificationFailed: it is something else, or of a newer format.

    """
    try:
        values = json.loads(text, object_pairs_hook=_cleaned)
        if values["format"] != FORMAT:
            found = f"{values['format']!r:.40}"
            raise VerificationFailed(f"the conversation has format {found}, this avengers reads {FORMAT}: update it")
        heading = {field: values[field] for field in _HEADING}
        return Conversation(**heading, turns=tuple(map(_turn, values["turns"])))
    except (KeyError, TypeError, ValueError, RecursionError, BadRequest) as error:
        reason = f"it has no {error}" if isinstance(error, KeyError) else error
        raise VerificationFailed(f"this is no exported conversation ({reason}): export it again as JSON") from error


def to_markdown(conversation: Conversation) -> str:
    """Write a conversation for people."""
    parts = [f"# {conversation.title}", f"team {conversation.team} · {conversation.created[:16].replace('T', ' ')} UTC"]
    if conversation.system is not None:
        parts += ["## System", conversation.system]
    for turn in conversation.turns:
        parts += [f"## {_HEADLINES[turn.role]}", turn.content.strip() or "…"]
        if not turn.complete:
            parts.append("*(stopped)*")
        if turn.facts is not None:
            parts.append(f"*{_facts_line(turn.facts)}*")
    return "\n\n".join(parts) + "\n"


def _facts_line(facts: Facts) -> str:
    parts = [facts.model]
    if facts.votes:
        parts.append(f"{facts.votes[0].count} of {sum(vote.count for vote in facts.votes)} votes")
    parts.append("1 sample" if facts.samples <= 1 else f"{facts.samples} samples")
    return " · ".join([*parts, f"{facts.seconds:.1f} s"])


def _turn(values: Any) -> Turn:  # noqa: ANN401
    facts = Facts.from_dict(values) if "model" in values else None
    return Turn(values["role"], values["content"], facts, values["complete"])


def _cleaned(fields: list[tuple[str, Any]]) -> dict[str, Any]:
    return {name: _clean(value, one_line if name not in _OF_LINES else str) for name, value in fields}


def _clean(value: Any, form: Callable[[str], str]) -> Any:  # noqa: ANN401
    if isinstance(value, list):
        return [_clean(each, form) for each in value]
    return form(valid_unicode(value)) if isinstance(value, str) else value
