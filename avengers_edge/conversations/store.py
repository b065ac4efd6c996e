"""The conversations of a home folder: begun, written, read, searched, exported, deleted."""

from __future__ import annotations

import dataclasses
import itertools
import sqlite3
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

from avengers_edge.conversations.database import Database
from avengers_edge.conversations.exported import from_json, to_json, to_markdown
from avengers_edge.conversations.rows import (
    LISTED,
    insert_turn,
    missing,
    read_conversation,
    read_heading,
    read_listed,
    read_turns,
    touch,
)
from avengers_edge.conversations.search import is_indexable, look_up, scan, scan_titles, split_words
from avengers_edge.conversations.values import (
    TITLE_COLUMNS,
    Conversation,
    Found,
    Listed,
    Turn,
    columns,
    cut,
    one_line,
    timestamp,
    valid_unicode,
)
from avengers_edge.conversations.writing import Writing
from avengers_edge.errors import AvengersError, VerificationFailed
from avengers_edge.records import Closing
from avengers_edge.records.basics import require

FILE_NAME = "conversations.sqlite3"
Format = Literal["markdown", "json"]
_PATIENCE_SECONDS = 5.0
_PAGES_A_STEP = 500
_SURELY_DEAD = timedelta(minutes=1)


class ConversationStore(Closing):
    """All conversations in one file, `<home>/conversations.sqlite3`; several processes may use it at once.

    Nothing is opened or made before it is needed, and reading makes no file. Text is kept as it is, but for lone
    surrogates, which become U+FFFD. Every method raises `VerificationFailed` where the file is damaged, `DoesNotFit`
    where the disk is full, `AvengersError` where the file is locked for longer than `patience` seconds or cannot be
    used, and `NotFound` where it names a conversation that is not there.
    """

    def __init__(self, path: Path, *, patience: float = _PATIENCE_SECONDS) -> None:
        self._database = Database(path, patience)

    @property
    def path(self) -> Path:
        """The file."""
        return self._database.path

    def close(self) -> None:
        """Close the file; it is opened again by the next use."""
        self._database.close()

    def begin(self, team: str, system: str | None = None) -> int:
        """Begin a conversation and return its id; its title will be its first question."""
        with self._database.writing() as connection:
            return _begin(connection, team, system)

    def append(self, conversation: int, turn: Turn) -> None:
        """Add a turn."""
        with self._database.writing() as connection:
            _index_what_is_left(connection, self._database.indexed, "conversation = ?", conversation)
            insert_turn(connection, conversation, turn, indexed=self._database.indexed)

    def write_turn(self, conversation: int) -> Writing:
        """Write an assistant's turn as it grows: `update(text so far)` again and again, then `end(facts)`."""
        return Writing(self._database, conversation)

    def undo(self, conversation: int, said: Sequence[Turn], *, keep_question: bool = False) -> bool:
        """Take back the last question and what came after it, or the latter only.

        Args:
            conversation: where it was said.
            said: the question and what came after it, as who takes it back knows it.
            keep_question: take back only what came after it.

        Returns:
            False, and nothing is changed, where the last turns are others: another chat has gone on from here.

        """
        known = tuple(dataclasses.replace(turn, content=valid_unicode(turn.content)) for turn in said)
        with self._database.writing() as connection:
            last = "SELECT id FROM turns WHERE conversation = ? ORDER BY id DESC LIMIT ?"
            ids = [id_ for (id_,) in connection.execute(last, (conversation, len(known)))][::-1]
            if not ids or read_turns(connection, conversation, ids[0]) != known:
                if read_heading(connection, conversation) is None:
                    raise missing(conversation)
                return False
            touch(connection, conversation)
            connection.executemany("DELETE FROM turns WHERE id = ?", [(id_,) for id_ in ids[keep_question:]])
            return True

    def change(self, conversation: int, team: str, system: str | None) -> None:
        """Note who answers from here on, and with which system prompt."""
        values = (valid_unicode(team), None if system is None else valid_unicode(system), conversation)
        with self._database.writing() as connection:
            done = connection.execute("UPDATE conversations SET team = ?, system = ? WHERE id = ?", values)
            if not done.rowcount:
                raise missing(conversation)

    def rename(self, conversation: int, title: str) -> None:
        """Give a conversation another title.

        Raises:
            BadRequest: it is empty or longer than 60 columns.

        """
        line = one_line(valid_unicode(title))
        require(bool(line), "the title is empty: write one")
        too_long = f"the title takes {columns(line)} columns: use at most {TITLE_COLUMNS}"
        require(columns(line) <= TITLE_COLUMNS, too_long)
        with self._database.writing() as connection:
            done = connection.execute("UPDATE conversations SET title = ? WHERE id = ?", (line, conversation))
            if not done.rowcount:
                raise missing(conversation)

    def delete(self, *conversations: int) -> None:
        """Delete conversations and their words in the index: all of them, or none where one is not there."""
        with self._database.writing() as connection:
            for conversation in dict.fromkeys(conversations):
                if not connection.execute("DELETE FROM conversations WHERE id = ?", (conversation,)).rowcount:
                    raise missing(conversation)
        self._wipe_words()

    def read(self, conversation: int) -> Conversation:
        """Read a conversation with all its turns."""
        with self._database.reading() as connection:
            found = read_conversation(connection, conversation) if connection else None
        if found is None:
            raise missing(conversation)
        return found

    def last(self) -> Conversation | None:
        """Read the conversation that was written last, whatever the clock says."""
        with self._database.reading() as connection:
            if connection is None:
                return None
            newest = connection.execute("SELECT id FROM conversations ORDER BY touched DESC LIMIT 1").fetchone()
            return None if newest is None else read_conversation(connection, *newest)

    def recent(self, limit: int = 20, offset: int = 0) -> tuple[Listed, ...]:
        """List conversations, the one written last first."""
        require(limit >= 0 and offset >= 0, f"limit {limit} and offset {offset} were asked for: use 0 or more")
        with self._database.reading() as connection:
            if connection is None:
                return ()
            rows = connection.execute(f"{LISTED} ORDER BY touched DESC LIMIT ? OFFSET ?", (limit, offset))
            return tuple(read_listed(row) for row in rows)

    def count(self) -> int:
        """Count the conversations."""
        with self._database.reading() as connection:
            return connection.execute("SELECT count(*) FROM conversations").fetchone()[0] if connection else 0

    def search(self, words: str, limit: int = 20) -> tuple[Found, ...]:
        """Find conversations that have all words in one turn or in their title; the last word may be unfinished.

        Those found by their title come first, then the newest. No more than one turn of each is shown.

        Raises:
            BadRequest: it is more than anybody types.

        """
        require(limit >= 0, f"limit {limit} was asked for: use 0 or more")
        wanted = split_words(words)
        if not wanted or not limit:
            return ()
        self._index_what_died()
        with self._database.reading() as connection:
            if connection is None:
                return ()
            by_index = self._database.indexed and is_indexable(wanted)
            found = look_up(connection, wanted) if by_index else scan(connection, wanted)
            titles = scan_titles(connection, wanted)
            hits: dict[int, Found] = {}
            for id_, role, snippet, marks in itertools.chain(titles, found):
                if id_ not in hits:
                    row = connection.execute(f"{LISTED} WHERE id = ?", (id_,)).fetchone()
                    hits[id_] = Found(read_listed(row), role, snippet, marks)
                if len(hits) == limit:
                    break
            return tuple(hits.values())

    @property
    def note(self) -> str | None:
        """What a user should know of searching here; None where all is well. The file has to be open."""
        if self._database.indexed:
            return None
        return "this Python's SQLite has no FTS5: searching reads every conversation, and takes longer"

    def export(self, conversation: int, form: Format = "markdown") -> str:
        """Write a conversation as a text for people, or for `load`."""
        found = self.read(conversation)
        return to_json(found) if form == "json" else to_markdown(found)

    def load(self, exported: str) -> int:
        """Keep a conversation that was exported as JSON, under a new id.

        Raises:
            VerificationFailed: it is something else, or of a newer format.

        """
        return self.keep(from_json(exported))

    def keep(self, conversation: Conversation, *, own_id: bool = False) -> int:
        """Keep a whole conversation, its times and its title, under a new id or, in an empty file, its own."""
        with self._database.writing() as connection:
            id_ = conversation.id if own_id else None
            added = _begin(connection, conversation.team, conversation.system, id_)
            for turn in conversation.turns:
                insert_turn(connection, added, turn, indexed=self._database.indexed)
            title = cut(one_line(valid_unicode(conversation.title)), TITLE_COLUMNS)
            connection.execute(
                "UPDATE conversations SET title = ?, created = ?, updated = ? WHERE id = ?",
                (title, valid_unicode(conversation.created), valid_unicode(conversation.updated), added),
            )
            return added

    def _wipe_words(self) -> None:
        """Put the parts of the index together, which keep deleted words until then; in steps that let others write."""
        pages = -_PAGES_A_STEP  # a negative number takes up all parts, see section 6.8 of FTS5's manual
        while True:
            with self._database.writing() as connection:
                before = connection.total_changes
                if self._database.indexed:
                    connection.execute("INSERT INTO turn_words (turn_words, rank) VALUES ('merge', ?)", (pages,))
                if connection.total_changes - before < 2:
                    return
            pages = _PAGES_A_STEP

    def _index_what_died(self) -> None:
        """Put answers into the index whose writer has died, and all turns where a build without an index wrote."""
        before = (datetime.now(UTC) - _SURELY_DEAD).isoformat(timespec="milliseconds")
        old = "conversation IN (SELECT id FROM conversations WHERE updated < ?)"
        try:
            with self._database.reading() as connection:
                if connection is None or not self._database.indexed:
                    return
                left = connection.execute(f"SELECT 1 FROM turns WHERE NOT indexed AND {old}", (before,)).fetchone()
                ((behind,),) = connection.execute("SELECT behind FROM words")
            if not left and not behind:
                return
            with self._database.writing() as connection:
                _index_what_is_left(connection, True, "1" if behind else old, *(() if behind else (before,)))
                if behind:
                    connection.execute("INSERT INTO turn_words (turn_words) VALUES ('rebuild')")
                    connection.execute("UPDATE words SET behind = 0")
        except VerificationFailed:
            raise
        except AvengersError:
            return  # what can be read can be searched, and the next search will try again


def _begin(connection: sqlite3.Connection, team: str, system: str | None, id_: int | None = None) -> int:
    now = timestamp()
    added = connection.execute(
        "INSERT INTO conversations (id, team, system, created, updated, touched) "
        "VALUES (?, ?, ?, ?, ?, (SELECT coalesce(max(touched), 0) + 1 FROM conversations))",
        (id_, valid_unicode(team), None if system is None else valid_unicode(system), now, now),
    )
    assert added.lastrowid is not None
    return added.lastrowid


def _index_what_is_left(connection: sqlite3.Connection, indexed: bool, condition: str, *values: object) -> None:
    if indexed:
        connection.execute(f"UPDATE turns SET indexed = 1 WHERE NOT indexed AND {condition}", values)
