"""The conversations of a home folder: begun, written as they grow, read, searched, deleted."""

from __future__ import annotations

import dataclasses
import re
import sqlite3
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from avengers_edge._util.text import columns, cut, one_line, valid_unicode
from avengers_edge.errors import NotFound
from avengers_edge.history.conversations import (
    TITLE_COLUMNS,
    UNTITLED,
    Conversation,
    Facts,
    SearchHit,
    Summary,
    Turn,
    timestamp,
    title_of,
)
from avengers_edge.history.database import Database
from avengers_edge.records import Closing, Role
from avengers_edge.records.basics import require

_BEFORE, _AFTER = 32, 96
_MOST_WORDS, _LONGEST_WORD = 32, 200
# Thai, Lao, Burmese, Khmer, Chinese and Japanese are written without spaces, so their words are not in the index.
_WITHOUT_SPACES = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\ua4cf\uf900-\ufaff\U00020000-\U0003ffff]")
_LETTER_OR_DIGIT = re.compile(r"[^\W_]")


def split_words(words: str) -> list[str]:
    """Split a search at white space; too many words, or one that is too long, are a `BadRequest`."""
    split = valid_unicode(words).replace("\0", " ").split()
    require(len(split) <= _MOST_WORDS, f"{len(split)} words are looked for: use at most {_MOST_WORDS}")
    longest = max(map(len, split), default=0)
    require(longest <= _LONGEST_WORD, f"a word of {longest} letters is looked for: use at most {_LONGEST_WORD}")
    return split


def find(connection: sqlite3.Connection, words: Sequence[str]) -> Iterator[tuple[int, Role | None, str]]:
    """Find the titles, then the turns that have all words, the newest first: conversation, role or None, text.

    Of words that are not in the index every turn is read, else only answers whose writer has not finished them; there
    the words may be anywhere, and only ASCII letters match in either case.
    """
    patterns = ["%" + re.sub(r"([%_\\])", r"\\\1", word) + "%" for word in words]
    yield from connection.execute(
        f"SELECT id, NULL, title FROM conversations WHERE {_contains('title', words)} ORDER BY touched DESC", patterns
    )
    turns = f"SELECT conversation, role, content, id FROM turns WHERE {_contains('content', words)}"
    if not _is_indexable(words):
        found = connection.execute(f"{turns} ORDER BY id DESC", patterns)
    else:
        # All words, quoted; the last one may be the beginning of a word.
        query = " ".join('"' + word.replace('"', '""') + '"' for word in words) + " *"
        found = connection.execute(
            "SELECT conversation, role, turns.content, turn_words.rowid AS id FROM turn_words "
            "JOIN turns ON turns.id = turn_words.rowid WHERE turn_words MATCH ? "
            f"UNION ALL {turns} AND growing ORDER BY id DESC",
            (query, *patterns),
        )
    for conversation, role, content, _ in found:
        yield conversation, role, content


def snippet(text: str, words: Sequence[str]) -> tuple[str, tuple[tuple[int, int], ...]]:
    """Cut out the surroundings of the longest word, on one line, with the ranges of all words in it.

    FTS5's own function takes a time that grows with the square of the matches.
    """
    found = _beginnings([max(words, key=len)]).search(_fold(text))
    at = found.start() if found else 0  # the index may fold a letter that we do not
    begin, end = max(0, at - _BEFORE), at + _AFTER
    shown = "…" * (begin > 0) + one_line(text[begin:end]) + "…" * (end < len(text))
    return shown, tuple(match.span() for match in _beginnings(words).finditer(_fold(shown)))


def _contains(column: str, words: Sequence[str]) -> str:
    return " AND ".join([f"{column} LIKE ? ESCAPE '\\'"] * len(words))


def _is_indexable(words: Sequence[str]) -> bool:
    """Whether the index can have all the words; it has no signs."""
    return all(_LETTER_OR_DIGIT.search(word) and not _WITHOUT_SPACES.search(word) for word in words)


def _beginnings(words: Sequence[str]) -> re.Pattern[str]:
    """Match folded words where a word begins; what begins with a sign or has no spaces around it, anywhere."""
    parts = []
    for word in sorted(words, key=len, reverse=True):
        anywhere = not word[0].isalnum() or not _is_indexable([word])
        parts.append(("" if anywhere else r"(?<![^\W_])") + re.escape(_fold(word)))
    return re.compile("|".join(parts))


class _Folding(dict[int, str]):
    """A table for `str.translate`, letter for letter, so that positions stay the same."""

    def __missing__(self, code: int) -> str:
        first, *rest = tuple(unicodedata.normalize("NFD", chr(code)))
        self[code] = (first if all(map(unicodedata.combining, rest)) else chr(code)).lower()[:1]
        return self[code]


def _fold(text: str) -> str:
    """Remove case and accents."""
    return text.translate(_Folding())


FILE_NAME = "conversations.sqlite3"
_TIMEOUT_SECONDS = 5.0
_SENTENCE_END = re.compile(r"[.!?:;…]\s|[\u3002\uff01\uff1f]|\n")
_MOST_UNSAVED = 200
_MOST_CHECKED_BYTES = 32 * 2**20
_SUMMARIES = (
    f"SELECT id, coalesce(title, '{UNTITLED}'), team, created, updated, "
    "(SELECT count(*) FROM turns WHERE conversation = conversations.id) FROM conversations"
)
_Value = TypeVar("_Value", Conversation, Summary, Turn)


class ConversationStore(Closing):
    """All conversations in one file, `<home>/conversations.sqlite3`; several processes may use it at once.

    Nothing is opened or made before it is needed, and reading makes no file. Text is kept as it is, but for lone
    surrogates, which become U+FFFD. Every method raises `VerificationFailed` where the file is damaged, `DoesNotFit`
    where the disk is full, `AvengersError` where the file is locked for longer than `timeout` seconds or cannot be
    used, and `NotFound` where it names a conversation that is not there.
    """

    def __init__(self, path: Path, *, timeout: float = _TIMEOUT_SECONDS) -> None:
        self.path = path
        self._database = Database(path, timeout)

    def close(self) -> None:
        self._database.close()

    def begin(self, team: str, system: str | None = None) -> int:
        """Begin a conversation and return its id; its title will be its first question."""
        with self._database.write() as connection:
            return _begin(connection, team, system)

    def append(self, conversation: int, turn: Turn) -> None:
        with self._database.write() as connection:
            _insert_turn(connection, conversation, turn)

    def write_turn(self, conversation: int) -> TurnWriter:
        """Write an assistant's turn as it grows: `update(text so far)` again and again, then `end(facts)`."""
        return TurnWriter(self._database, conversation)

    def add(self, conversation: Conversation) -> int:
        """Keep a whole conversation, with its times and its title, under a new id."""
        with self._database.write() as connection:
            added = _begin(connection, conversation.team, conversation.system)
            for turn in conversation.turns:
                _insert_turn(connection, added, turn)
            title = cut(one_line(valid_unicode(conversation.title)), TITLE_COLUMNS)
            connection.execute(
                "UPDATE conversations SET title = ?, created = ?, updated = ? WHERE id = ?",
                (title, valid_unicode(conversation.created), valid_unicode(conversation.updated), added),
            )
            return added

    def undo(self, conversation: int, said: Sequence[Turn], *, keep_question: bool = False) -> bool:
        """Remove `said`, the last question and what came after it as the caller knows them, or only the latter.

        False, and nothing is removed, where the last turns are others: another chat has gone on from here.
        """
        known = tuple(dataclasses.replace(turn, content=valid_unicode(turn.content)) for turn in said)
        with self._database.write() as connection:
            last = "SELECT id FROM turns WHERE conversation = ? ORDER BY id DESC LIMIT ?"
            ids = [id_ for (id_,) in connection.execute(last, (conversation, len(known)))][::-1]
            if not ids or _read_turns(connection, conversation, ids[0]) != known:
                _read(connection, conversation)  # raises NotFound where there is none
                return False
            _touch(connection, conversation)
            connection.executemany("DELETE FROM turns WHERE id = ?", [(id_,) for id_ in ids[keep_question:]])
            return True

    def change(self, conversation: int, team: str, system: str | None) -> None:
        """Set the team that answers from here on, and its system prompt."""
        values = (valid_unicode(team), None if system is None else valid_unicode(system), conversation)
        with self._database.write() as connection:
            changed = connection.execute("UPDATE conversations SET team = ?, system = ? WHERE id = ?", values)
            _require_row(changed, conversation)

    def rename(self, conversation: int, title: str) -> None:
        """Change the title of a conversation; `BadRequest` where it is empty or longer than 60 columns."""
        line = one_line(valid_unicode(title))
        require(bool(line), "the title is empty: write one")
        too_long = f"the title takes {columns(line)} columns: use at most {TITLE_COLUMNS}"
        require(columns(line) <= TITLE_COLUMNS, too_long)
        with self._database.write() as connection:
            changed = connection.execute("UPDATE conversations SET title = ? WHERE id = ?", (line, conversation))
            _require_row(changed, conversation)

    def delete(self, *conversations: int) -> None:
        """Delete conversations and their words in the index: all of them, or none where one is not there."""
        with self._database.write() as connection:
            for conversation in dict.fromkeys(conversations):
                deleted = connection.execute("DELETE FROM conversations WHERE id = ?", (conversation,))
                _require_row(deleted, conversation)
            # The parts of the index keep deleted words until they are merged, see section 6.9 of FTS5's manual.
            connection.execute("INSERT INTO turn_words (turn_words) VALUES ('optimize')")

    def read(self, conversation: int) -> Conversation:
        with self._database.read() as connection:
            return _read(connection, conversation)

    def last(self) -> Conversation | None:
        """Read the conversation that was written last, whatever the clock says."""
        with self._database.read() as connection:
            newest = connection.execute("SELECT id FROM conversations ORDER BY touched DESC LIMIT 1").fetchone()
            return None if newest is None else _read(connection, *newest)

    def recent(self, limit: int = 20, offset: int = 0) -> tuple[Summary, ...]:
        """List conversations, the one written last first."""
        with self._database.read() as connection:
            rows = connection.execute(f"{_SUMMARIES} ORDER BY touched DESC LIMIT ? OFFSET ?", (limit, offset))
            return tuple(_made(Summary, *row) for row in rows)

    def check(self) -> None:
        """Check that the file can be read: every page of it, where it is not too large for a quick look."""
        with self._database.read() as connection:
            ((pages,),), ((size,),) = (connection.execute(f"PRAGMA page_{what}") for what in ("count", "size"))
            if pages * size <= _MOST_CHECKED_BYTES:
                (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
                if found != "ok":
                    raise sqlite3.DatabaseError(" ".join(str(found).split()))

    def count(self) -> int:
        with self._database.read() as connection:
            return int(connection.execute("SELECT count(*) FROM conversations").fetchone()[0])

    def search(self, words: str, limit: int = 20) -> tuple[SearchHit, ...]:
        """Find conversations that have all words in one turn or in their title; the last word may be unfinished.

        Those found by their title come first, then the newest. No more than one turn of each is shown. More than 32
        words, or one of more than 200 letters, are a `BadRequest`.
        """
        wanted = split_words(words)
        hits: dict[int, SearchHit] = {}
        if not wanted or not limit:
            return ()
        with self._database.read() as connection:
            for id_, role, text in find(connection, wanted):
                if id_ not in hits:
                    row = connection.execute(f"{_SUMMARIES} WHERE id = ?", (id_,)).fetchone() or ()
                    hits[id_] = SearchHit(_made(Summary, *row), role, *snippet(str(text), wanted))
                if len(hits) == limit:
                    break
        return tuple(hits.values())


class TurnWriter:
    """Keeps an assistant's turn while it grows; whatever ends this process, at most one sentence of it is lost.

    Its methods raise what those of the store do, `NotFound` where the turn was deleted meanwhile.
    """

    def __init__(self, database: Database, conversation: int) -> None:
        self._database, self._conversation = database, conversation
        self._turn: int | None = None
        self._text, self._saved = "", 0

    def update(self, text: str) -> None:
        """Take the whole text so far; it is saved when another sentence or line of it has ended."""
        replaced = not text.startswith(self._text)  # another sample than the streamed one won the vote
        self._text = text
        ended = _SENTENCE_END.search(text, max(0, self._saved - 1))
        if replaced or ended or len(text) - self._saved > _MOST_UNSAVED:
            self._save(None, complete=False, growing=True)

    def end(self, facts: Facts | None = None, *, complete: bool = True) -> None:
        """Save the text as it is now; not `complete` where it was stopped."""
        self._save(facts, complete=complete, growing=False)

    def _save(self, facts: Facts | None, *, complete: bool, growing: bool) -> None:
        turn = Turn("assistant", self._text, facts, complete)
        with self._database.write(durable=not growing) as connection:
            if self._turn is None:
                added = _insert_turn(connection, self._conversation, turn, growing=growing)
            else:
                added = self._turn
                changed = connection.execute(
                    "UPDATE turns SET content = ?, facts = ?, complete = ?, growing = ? WHERE id = ?",
                    (valid_unicode(turn.content), _facts_column(facts), complete, growing, added),
                )
                _require_row(changed, self._conversation)
                _touch(connection, self._conversation)
        self._turn, self._saved = added, len(self._text)


def _begin(connection: sqlite3.Connection, team: str, system: str | None) -> int:
    now = timestamp()
    added = connection.execute(
        "INSERT INTO conversations (team, system, created, updated, touched) "
        "VALUES (?, ?, ?, ?, (SELECT coalesce(max(touched), 0) + 1 FROM conversations))",
        (valid_unicode(team), None if system is None else valid_unicode(system), now, now),
    )
    assert added.lastrowid is not None
    return added.lastrowid


def _insert_turn(connection: sqlite3.Connection, conversation: int, turn: Turn, *, growing: bool = False) -> int:
    """Add a turn and return its id; the first question is the title of a conversation that has none."""
    _touch(connection, conversation)
    content = valid_unicode(turn.content)
    if turn.role == "user":
        title = (title_of(content), conversation)
        connection.execute("UPDATE conversations SET title = ? WHERE id = ? AND title IS NULL", title)
    added = connection.execute(
        "INSERT INTO turns (conversation, role, content, facts, complete, growing) VALUES (?, ?, ?, ?, ?, ?)",
        (conversation, turn.role, content, _facts_column(turn.facts), turn.complete, growing),
    )
    assert added.lastrowid is not None
    return added.lastrowid


def _touch(connection: sqlite3.Connection, conversation: int) -> None:
    """Make a conversation the one that was written last."""
    changed = connection.execute(
        "UPDATE conversations SET updated = ?, touched = (SELECT max(touched) + 1 FROM conversations) WHERE id = ?",
        (timestamp(), conversation),
    )
    _require_row(changed, conversation)


def _read(connection: sqlite3.Connection, conversation: int) -> Conversation:
    row = connection.execute(
        f"SELECT id, coalesce(title, '{UNTITLED}'), team, system, created, updated FROM conversations WHERE id = ?",
        (conversation,),
    ).fetchone()
    if row is None:
        raise _missing(conversation)
    return _made(Conversation, *row, _read_turns(connection, conversation))


def _read_turns(connection: sqlite3.Connection, conversation: int, first: int = 0) -> tuple[Turn, ...]:
    """Read the turns from the one with the id `first` on, oldest first."""
    rows = connection.execute(
        "SELECT role, content, facts, complete FROM turns WHERE conversation = ? AND id >= ? ORDER BY id",
        (conversation, first),
    )
    return tuple(_made(Turn, role, content, facts, bool(complete)) for role, content, facts, complete in rows)


def _made(kind: type[_Value], *row: Any) -> _Value:  # noqa: ANN401
    """Make one of our values of a row; where that fails the file is damaged, as it is where an index names no row."""
    names = (field.name for field in dataclasses.fields(kind))
    try:
        values = dict(zip(names, row, strict=True))
        if values.get("facts") is not None:
            values["facts"] = msgspec.json.decode(values["facts"])
        return msgspec.convert(values, kind)
    except (TypeError, ValueError, RecursionError) as error:
        raise sqlite3.DatabaseError(f"a row is malformed: {error}") from error


def _facts_column(facts: Facts | None) -> str | None:
    return None if facts is None else msgspec.json.encode(facts).decode()


def _require_row(changed: sqlite3.Cursor, conversation: int) -> None:
    if not changed.rowcount:
        raise _missing(conversation)


def _missing(conversation: int) -> NotFound:
    return NotFound(f"there is no conversation {conversation}: see `avengers chats list`")
