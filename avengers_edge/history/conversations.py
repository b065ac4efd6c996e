"""A conversation and its turns as frozen values, and the text functions that every reader of them shares."""

from __future__ import annotations

import math
import unicodedata
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, get_args

from avengers_edge.errors import BadRequest
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
        """Give plain values for JSON."""
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
    """Give the time in UTC, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def valid_unicode(text: str) -> str:
    """Replace lone surrogates, which no file can hold, by U+FFFD; a pair of them becomes the character it encodes."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def one_line(text: str) -> str:
    """Put a text on one line, without control characters that would steer a terminal."""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())


def columns(text: str) -> int:
    """Count the columns that a line takes on a terminal."""
    return sum(map(_width, text))


def cut(text: str, most: int) -> str:
    """Cut a line at that many columns; the last one is an ellipsis where something was cut off."""
    if columns(text) <= most:
        return text
    room, kept = most - 1, []
    for letter in text:
        room -= _width(letter)
        if room < 0:
            break
        kept.append(letter)
    return "".join(kept).rstrip() + "…"


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


def _width(letter: str) -> int:
    if unicodedata.combining(letter):
        return 0
    return 2 if unicodedata.east_asian_width(letter) in "WF" else 1
