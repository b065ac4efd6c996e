"""Conversations and their turns as frozen values, and their export as JSON, which is read back, or Markdown.

msgspec checks the types of what is read, from a file or the database.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from avengers_edge._util.files import write_named
from avengers_edge._util.text import counted, cut, one_line, valid_unicode
from avengers_edge.errors import AvengersError, VerificationFailed
from avengers_edge.records import Answer, Role

TITLE_COLUMNS = 60
UNTITLED = "untitled"

_Votes = tuple[tuple[str, int], ...]
_Samples = Annotated[int, msgspec.Meta(ge=0)]
_Seconds = Annotated[float, msgspec.Meta(ge=0, le=1e9)]
_Time = Annotated[str, msgspec.Meta(pattern=r"^\d{4}-\d\d-\d\d[T ]\d\d:\d\d")]


@dataclass(frozen=True, slots=True)
class Facts:
    """How an answer came about: the chosen sample's member, votes by key, the samples that finished, and seconds."""

    model: str
    votes: _Votes = ()
    samples: _Samples = 1
    seconds: _Seconds = 0.0

    @classmethod
    def of(cls, answer: Answer) -> Facts:
        """Take what is kept of an answer beside its text."""
        votes = tuple((vote.key, vote.count) for vote in answer.votes)
        return cls(answer.model, votes, answer.samples_used, answer.timings_ms.total / 1000)


@dataclass(frozen=True, slots=True)
class Turn:
    """One message of a conversation; `complete` is False for an answer that was stopped or whose writer died."""

    role: Role
    content: str
    facts: Facts | None = None
    complete: bool = True


@dataclass(frozen=True, slots=True)
class Conversation:
    """A conversation with all its turns, oldest first. Times are UTC, as `2026-08-30T07:15:02.120+00:00`."""

    id: int
    title: str
    team: str
    system: str | None
    created: _Time
    updated: _Time
    turns: tuple[Turn, ...]


@dataclass(frozen=True, slots=True)
class Summary:
    """A conversation as a list shows it; `turns` is their number."""

    id: int
    title: str
    team: str
    created: _Time
    updated: _Time
    turns: int


@dataclass(frozen=True, slots=True)
class SearchHit:
    """A conversation that has all the words in one turn or in its title.

    `role` is the turn's, None for the title. `marks` are the half-open ranges of the words in `snippet`.
    """

    conversation: Summary
    role: Role | None
    snippet: str
    marks: tuple[tuple[int, int], ...]


def timestamp() -> str:
    """Return the time in UTC, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def title_of(question: str) -> str:
    """Make a title of a first question: its first line that is not blank, cut at 60 columns."""
    beginning = question.lstrip()[: 16 * TITLE_COLUMNS]  # a pasted file may have megabytes
    lines = (one_line(line) for line in valid_unicode(beginning).splitlines())
    return cut(next(filter(None, lines), UNTITLED), TITLE_COLUMNS)


Format = Literal["markdown", "json"]
FORMAT = 1
"""Of the JSON."""
_OF_LINES = ("content", "system")
"""The fields that are texts of several lines."""
_HEADLINES = {"user": "You", "assistant": "Answer", "system": "System"}


def save(path: Path, conversation: Conversation, form: Format | None = None) -> None:
    """Write a conversation to a file; None is JSON where its name ends in `.json`, else Markdown."""
    as_json = path.suffix.lower() == ".json" if form is None else form == "json"
    text = to_json(conversation) if as_json else to_markdown(conversation)
    try:
        write_named(path, valid_unicode(text).encode())
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or error
        raise AvengersError(f"{path} cannot be written ({reason}): choose another place") from error


def to_json(conversation: Conversation) -> str:
    """Write a conversation so that `from_json` reads it back."""
    values = dataclasses.asdict(conversation)
    for turn in values["turns"]:
        turn |= turn.pop("facts") or {}
    return json.dumps({"format": FORMAT, **values}, indent=2, ensure_ascii=False) + "\n"


def from_json(text: str) -> Conversation:
    """Read what `to_json` wrote; the id is the one it had there.

    Anybody may have written it: what is shown as one line loses its control characters, and no text keeps a lone
    surrogate. What is something else, or of a newer format, is `VerificationFailed`.
    """
    try:
        values = json.loads(text, object_pairs_hook=_cleaned)
        if values["format"] != FORMAT:
            found = f"{values['format']!r:.40}"
            raise VerificationFailed(f"the conversation has format {found}, this avengers reads {FORMAT}: update it")
        turns = [{**turn, "facts": turn if "model" in turn else None} for turn in values["turns"]]
        return msgspec.convert({**values, "turns": turns}, Conversation)
    except (KeyError, TypeError, ValueError, RecursionError) as error:
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
        parts.append(f"{facts.votes[0][1]} of {sum(count for _, count in facts.votes)} votes")
    return " · ".join([*parts, counted(max(1, facts.samples), "sample"), f"{facts.seconds:.1f} s"])


def _cleaned(fields: list[tuple[str, Any]]) -> dict[str, Any]:
    return {name: _clean(value, one_line if name not in _OF_LINES else str) for name, value in fields}


def _clean(value: Any, form: Callable[[str], str]) -> Any:  # noqa: ANN401
    if isinstance(value, list):
        return [_clean(each, form) for each in value]
    return form(valid_unicode(value)) if isinstance(value, str) else value
