"""What is kept of a conversation."""

from __future__ import annotations

import math
import unicodedata
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import get_args

from avengers_edge.errors import BadRequest
from avengers_edge.records import Answer, Role, Vote
from avengers_edge.records.basics import require

TITLE_COLUMNS = 60
UNTITLED = "untitled"


@dataclass(frozen=True, slots=True)
class Facts:
    """What answered: the member whose sample was chosen, the votes, samples that ran to their end, and seconds."""

    model: str
    votes: tuple[Vote, ...] = ()
    samples: int = 1
    seconds: float = 0.0

    def __post_init__(self) -> None:
        require(isinstance(self.model, str), f"the model of a turn is {self.model!r:.40}: use a name")
        whole = all(type(vote) is Vote and type(vote.key) is str and type(vote.count) is int for vote in self.votes)
        require(isinstance(self.votes, tuple) and whole, f"the votes of a turn are {self.votes!r:.60}: use `Vote`s")
        require(
            type(self.samples) is int and self.samples >= 0, f"a turn has {self.samples!r:.40} samples: use 0 or more"
        )
        real = type(self.seconds) in (int, float) and math.isfinite(self.seconds) and self.seconds >= 0
        require(real, f"a turn took {self.seconds!r:.40} seconds: use 0 or more")

    @classmethod
    def of(cls, answer: Answer) -> Facts:
        """Keep what the quiet line under an answer says."""
        return cls(answer.model, answer.votes, answer.samples_used, answer.timings_ms.total / 1000)


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
class Listed:
    """A conversation as a list shows it: `turns` counts them."""

    id: int
    title: str
    team: str
    created: str
    updated: str
    turns: int

    def __post_init__(self) -> None:
        _require_heading(self)
        if type(self.turns) is not int:
            raise BadRequest(f"a conversation has {self.turns!r:.40} turns: use a number")


@dataclass(frozen=True, slots=True)
class Found:
    """A conversation that has all words looked for in one turn or in its title.

    `role` is who said it, None for the title. `marks` are the first and last-but-one places of the words in `snippet`.
    """

    conversation: Listed
    role: Role | None
    snippet: str
    marks: tuple[tuple[int, int], ...]


def timestamp() -> str:
    """Say what time it is, to the millisecond, in UTC."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def valid_unicode(text: str) -> str:
    """Put U+FFFD for lone surrogates, which no file can hold; a pair of them becomes the character it stands for."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def one_line(text: str) -> str:
    """Write a text on one line, without what would steer a terminal."""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())


def columns(text: str) -> int:
    """Count the columns that a line takes on a terminal."""
    return sum(_width(letter) for letter in text)


def cut(text: str, most: int) -> str:
    """Cut a line at that many columns, the last one an ellipsis where something was cut off."""
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
    """Make a title of a first question: its first line that says something, cut at 60 columns."""
    beginning = question.lstrip()[: 16 * TITLE_COLUMNS]  # of a pasted file only as much as can be seen
    lines = (one_line(line) for line in valid_unicode(beginning).splitlines())
    return cut(next(filter(None, lines), UNTITLED), TITLE_COLUMNS)


def _require_heading(conversation: Conversation | Listed) -> None:
    """Check what a list shows; ten thousand of them are made at once, so complaints are written where one is due."""
    texts = (conversation.title, conversation.team, conversation.created, conversation.updated)
    if type(conversation.id) is int and all(isinstance(text, str) for text in texts):
        try:
            datetime.fromisoformat(conversation.created)
            datetime.fromisoformat(conversation.updated)
            return
        except ValueError as error:
            raise BadRequest(f"a conversation has a time as nobody writes it: {error}") from error
    raise BadRequest(f"conversation {conversation.id!r:.40} has a heading of another kind: {texts!r:.80}")


def _width(letter: str) -> int:
    if unicodedata.combining(letter):
        return 0
    return 2 if unicodedata.east_asian_width(letter) in "WF" else 1
