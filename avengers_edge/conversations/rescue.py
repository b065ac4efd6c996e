"""A damaged file: what can be read of it is saved into a new one, and it is moved aside because the user said so."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from avengers_edge.conversations.database import Database
from avengers_edge.conversations.rows import read_heading, read_turns
from avengers_edge.conversations.schema import refuse_newer
from avengers_edge.conversations.store import ConversationStore
from avengers_edge.conversations.trouble import in_our_words, is_locked
from avengers_edge.conversations.values import UNTITLED, Conversation, Turn, timestamp, title_of
from avengers_edge.errors import AvengersError, NotFound, VerificationFailed

_COMPANIONS = ("", "-wal", "-shm")


@dataclasses.dataclass(frozen=True, slots=True)
class Rescued:
    """How many were saved, which of them not whole, which not at all, and where the damaged file lies now."""

    saved: int
    partly: tuple[int, ...]
    lost: tuple[int, ...]
    aside: Path


def rescue(path: Path, patience: float = 5.0) -> Rescued | None:
    """Save what can be read of a damaged file and move it aside; None where it is sound.

    The conversations keep their ids. What the old file holds stays as it is; SQLite only moves into it what lies in its
    `-wal` companion. Nobody else has it open meanwhile, as far as it can still be locked.

    Raises:
        NotFound: there is no file.
        VerificationFailed: it is not damaged, but of a newer version.
        AvengersError: it is in use, or the folder cannot be written.

    """
    if not path.exists():
        raise NotFound(f"there are no conversations in {path}: nothing is to be saved")
    with _opened(path, patience) as connection:
        refuse_newer(connection, path)
    if _is_sound(path, patience):
        return None
    fresh = path.with_name(f".{path.name}-rescued-{os.getpid()}")
    aside = path.with_name(f"{path.name}.damaged-{datetime.now(UTC):%Y%m%dT%H%M%S}")
    try:
        with _opened(path, patience) as damaged:
            locked = _lock(damaged)
            with ConversationStore(fresh) as store:
                rescued = _copy(damaged, store, aside)
            if not locked or os.name == "nt":  # Windows moves no open file; and an open -wal would be deleted by name
                damaged.close()
            with in_our_words(path, patience):
                for suffix in _COMPANIONS:
                    with contextlib.suppress(FileNotFoundError):
                        path.with_name(path.name + suffix).rename(aside.with_name(aside.name + suffix))
                if rescued.saved:
                    fresh.rename(path)
    finally:
        for suffix in _COMPANIONS:
            fresh.with_name(fresh.name + suffix).unlink(missing_ok=True)
    return rescued


def _copy(damaged: sqlite3.Connection, store: ConversationStore, aside: Path) -> Rescued:
    saved = 0
    partly: list[int] = []
    lost: list[int] = []
    for id_ in _ids(damaged):
        found, whole = _salvage(damaged, id_)
        if found is not None:
            store.keep(found, own_id=True)
            saved += 1
        if not whole:
            (lost if found is None else partly).append(id_)
    return Rescued(saved, tuple(partly), tuple(lost), aside)


def _is_sound(path: Path, patience: float) -> bool:
    """Read everything in a file and say whether all of it is as it was written."""
    try:
        with Database(path, patience) as database:
            with database.writing() as connection:
                if connection.execute("PRAGMA integrity_check(1)").fetchone() != ("ok",):
                    return False
                # Some versions compare the index with all turns, and those being written are not in it.
                growing = connection.execute("SELECT 1 FROM turns WHERE NOT indexed").fetchone()
                if database.indexed and not growing:
                    connection.execute("INSERT INTO turn_words (turn_words) VALUES ('integrity-check')")
            with database.reading() as reading:
                return reading is not None and all(_salvage(reading, id_)[1] for id_ in _ids(reading))
    except VerificationFailed:
        return False


@contextlib.contextmanager
def _opened(path: Path, patience: float) -> Iterator[sqlite3.Connection]:
    """Hold a damaged file, of which nothing may be readable."""
    connection = sqlite3.connect(path, timeout=patience, isolation_level=None)
    try:
        yield connection
    except sqlite3.Error as error:
        if is_locked(error):
            raise AvengersError(f"the conversations in {path} are in use: end the other chats first") from error
    finally:
        connection.close()


def _lock(connection: sqlite3.Connection) -> bool:
    """Keep everybody else out of a file until the connection is closed; False where it is too damaged for that.

    Raises:
        sqlite3.Error: another program has it open.

    """
    try:
        connection.execute("PRAGMA journal_mode = DELETE").fetchone()  # SQLite does that for who is alone with a file
        connection.execute("BEGIN EXCLUSIVE")  # and without a -wal this keeps out who only reads, too
    except sqlite3.Error as error:
        if is_locked(error):
            raise
        return False
    return True


def _salvage(connection: sqlite3.Connection, id_: int) -> tuple[Conversation | None, bool]:
    """Read what can be read of a conversation, and say whether that is all of it."""
    heading: Conversation | None = None
    with contextlib.suppress(sqlite3.Error):
        heading = read_heading(connection, id_)
    turns: list[Turn] = []
    whole = heading is not None
    found: list[int] = []
    try:
        for (turn,) in connection.execute("SELECT id FROM turns WHERE conversation = ? ORDER BY id", (id_,)):
            found.append(turn)
    except sqlite3.Error:
        whole = False
    for turn in found:
        try:
            turns += read_turns(connection, id_, turn, turn)
        except sqlite3.Error:
            whole = False
    if heading is None and not turns:
        return None, False
    if heading is None:
        title = next((title_of(turn.content) for turn in turns if turn.role == "user"), UNTITLED)
        heading = Conversation(id_, title, "unknown", None, timestamp(), timestamp(), ())
    return dataclasses.replace(heading, turns=tuple(turns)), whole


def _ids(connection: sqlite3.Connection) -> list[int]:
    """List the conversations, oldest first, by each way that leads to them: one that is damaged ends early."""
    found: dict[int, None] = {}
    for way in (
        "SELECT id FROM conversations ORDER BY touched",
        "SELECT id FROM conversations ORDER BY id",
        "SELECT id FROM conversations ORDER BY id DESC",
        "SELECT conversation FROM turns ORDER BY conversation",
        "SELECT conversation FROM turns ORDER BY id",
        "SELECT conversation FROM turns ORDER BY id DESC",
    ):
        with contextlib.suppress(sqlite3.Error):
            for (id_,) in connection.execute(way):
                if type(id_) is int and id_ > 0:
                    found.setdefault(id_)
    return list(found)
