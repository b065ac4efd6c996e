"""Conversations and their turns as frozen values, and their export as JSON, which is read back, or Markdown."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, get_args

from avengers_edge._util.files import write_named
from avengers_edge._util.text import cut, one_line, valid_unicode
from avengers_edge.errors import AvengersError, BadRequest, VerificationFailed
from avengers_edge.records import Answer, Role, Vote
from avengers_edge.records.basics import require

TITLE_COLUMNS = 60
UNTITLED = "untitled"


@dataclass(frozen=True, slots=True)
class Facts:
    """How an answer came about: the chosen sample's member, the votes, the samples that finished, and seconds."""

    model: str
    votes: tuple[Vote, ...] = ()
    samples: int = 1
    seconds: float = 0.0

    def __post_init__(self) -> None:
        require(isinstance(self.model, str), f"the model of a turn is {self.model!r:.40}: use a name")
        valid = all(type(vote) is Vote and type(vote.key) is str and type(vote.count) is int for vote in self.votes)
        require(isinstance(self.votes, tuple) and valid, f"the votes of a turn are {self.votes!r:.60}: use `Vote`s")
        valid = type(self.samples) is int and self.samples >= 0
        require(valid, f"a turn has {self.samples!r:.40} samples: use 0 or more")
        valid = type(self.seconds) in (int, float) and math.isfinite(self.seconds) and self.seconds >= 0
        require(valid, f"a turn took {self.seconds!r:.40} seconds: use 0 or more")

    @classmethod
    def of(cls, answer: Answer) -> Facts:
        """Take what is kept of an answer beside its text."""
        return cls(answer.model, answer.votes, answer.samples_used, answer.timings_ms.total / 1000)

    @classmethod
    def from_dict(cls, values: Any) -> Facts:  # noqa: ANN401
        """Read what `as_dict` gave; what is something else raises `KeyError`, `TypeError` or `BadRequest`."""
        votes = tuple(Vote(key, count) for key, count in values["votes"])
        return cls(values["model"], votes, values["samples"], values["seconds"])

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        votes = [[vote.key, vote.count] for vote in self.votes]
        return {"model": self.model, "votes": votes, "samples": self.samples, "seconds": self.seconds}


@dataclass(frozen=True, slots=True)
class Turn:
    """One message of a conversation; `complete` is False for an answer that was stopped or whose writer died."""

    role: Role
    content: str
    facts: Facts | None = None
    complete: bool = True

    def __post_init__(self) -> None:
        require(self.role in get_args(Role), f"unknown role {self.role!r:.40}: use one of {', '.join(get_args(Role))}")
        require(isinstance(self.content, str), f"a turn says {self.content!r:.40}: use a text")
        require(isinstance(self.complete, bool), f"complete is {self.complete!r:.40}: use True or False")


@dataclass(frozen=True, slots=True)
class Conversation:
    """A conversation with all its turns, oldest first. Times are UTC, as `2026-08-30T07:15:02.120+00:00`."""

    id: int
    title: str
    team: str
    system: str | None
    created: str
    updated: str
    turns: tuple[Turn, ...]

    def __post_init__(self) -> None:
        _require_heading(self)
        require(isinstance(self.system, str | None), "the system prompt of a conversation is not a text")


@dataclass(frozen=True, slots=True)
class Summary:
    """A conversation as a list shows it; `turns` is their number."""

    id: int
    title: str
    team: str
    created: str
    updated: str
    turns: int

    def __post_init__(self) -> None:
        _require_heading(self)


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


def _require_heading(value: Conversation | Summary) -> None:
    texts = (value.title, value.team, value.created, value.updated)
    valid = type(value.id) is int and all(isinstance(text, str) for text in texts)
    require(valid, f"the heading of a conversation is malformed: {value.id!r:.40}, {texts!r:.80}")
    try:
        datetime.fromisoformat(value.created)
        datetime.fromisoformat(value.updated)
    except ValueError as error:
        raise BadRequest(f"a conversation has a malformed time: {error}") from error


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
