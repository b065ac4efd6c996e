"""The SQLite file: its tables and their upgrade, one connection, short transactions, SQLite's errors as ours."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from avengers_edge._util.files import NO_ROOM
from avengers_edge.errors import AvengersError, BadRequest, DoesNotFit, VerificationFailed
from avengers_edge.records import Closing

_APPLICATION_ID = 0x41564743  # "AVGC"
_BUSY = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL})
_UNUSABLE = frozenset(
    {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH, sqlite3.SQLITE_NOLFS}
    | {sqlite3.SQLITE_IOERR, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_INTERRUPT, sqlite3.SQLITE_TOOBIG}
)
_NEEDED_BYTES = 2**20
_RETRY_SECONDS = 0.02
_HAS_FTS5 = "SELECT 1 FROM pragma_module_list WHERE name = 'fts5'"

_CONVERSATIONS = (
    # `touched` counts the writes, so that the newest is the newest whatever the clock was set to.
    """CREATE TABLE conversations (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        title TEXT,
        team TEXT NOT NULL,
        system TEXT,
        created TEXT NOT NULL,
        updated TEXT NOT NULL,
        touched INTEGER NOT NULL
    )""",
    "CREATE INDEX conversations_by_touch ON conversations (touched)",
)
# The index has no text of its own: these keep it as section 4.4.3 of FTS5's manual says (external content tables). An
# answer that is being written is not in it, for each sentence would have all of it indexed again.
_DELETE_WORDS = """INSERT INTO turn_words (turn_words, rowid, content)
    SELECT 'delete', old.id, old.content WHERE NOT old.growing"""
_INSERT_WORDS = "INSERT INTO turn_words (rowid, content) SELECT new.id, new.content WHERE NOT new.growing"
_TURNS = (
    """CREATE TABLE turns (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        conversation INTEGER NOT NULL REFERENCES conversations (id) ON DELETE CASCADE,
        role TEXT NOT NULL,
        facts TEXT,
        complete INTEGER NOT NULL,
        growing INTEGER NOT NULL,
        content TEXT NOT NULL
    )""",
    "CREATE INDEX turns_of_conversation ON turns (conversation)",
    "CREATE INDEX growing_turns ON turns (id) WHERE growing",
    """CREATE VIRTUAL TABLE turn_words USING fts5(
        content, content = 'turns', content_rowid = 'id', prefix = '2 3', tokenize = 'unicode61 remove_diacritics 2'
    )""",
    f"CREATE TRIGGER turn_inserted AFTER INSERT ON turns BEGIN {_INSERT_WORDS}; END",
    f"CREATE TRIGGER turn_deleted AFTER DELETE ON turns BEGIN {_DELETE_WORDS}; END",
    f"CREATE TRIGGER turn_updated AFTER UPDATE ON turns BEGIN {_DELETE_WORDS}; {_INSERT_WORDS}; END",
)
_UPGRADES = (
    (*_CONVERSATIONS, *_TURNS),  # an empty file
    (  # version 1 left some turns out of its index and noted them in `turns.indexed` and `words`
        "DROP TABLE IF EXISTS turn_words",
        "DROP TABLE words",
        "DROP INDEX turns_of_conversation",
        "ALTER TABLE turns RENAME TO turns_of_version_1",
        *_TURNS,
        """INSERT INTO turns (id, conversation, role, facts, complete, growing, content)
            SELECT id, conversation, role, facts, complete, 0, content FROM turns_of_version_1""",
        "DROP TABLE turns_of_version_1",
    ),
)
_VERSION = len(_UPGRADES)  # in `PRAGMA user_version`; _UPGRADES[v] leads from version v to the present one


class Database(Closing):
    """One connection for all threads of a process; what can go wrong with it is raised as an `AvengersError`.

    The first write makes the file, with its folder and the rights 0600. `timeout` is in seconds: the wait for another
    process's transaction.
    """

    def __init__(self, path: Path, timeout: float) -> None:
        self.path, self._timeout = path, timeout
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        with self._lock, _translated(self.path, self._timeout):
            connection, self._connection = self._connection, None
            if connection is not None:
                connection.close()

    @contextlib.contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """Hold one state of the file for a few SELECTs; of a file that is not there the tables are empty."""
        with self._lock, _translated(self.path, self._timeout):
            if self._connection is None and not self.path.exists():
                with contextlib.closing(sqlite3.connect(":memory:")) as empty:
                    _require_fts5(empty, self.path)
                    _upgrade(empty, 0)
                    yield empty
                return
            with self._transaction(self._open(), "BEGIN") as connection:
                yield connection

    @contextlib.contextmanager
    def write(self, *, durable: bool = True) -> Iterator[sqlite3.Connection]:
        """Hold the one write transaction: on an error nothing of it is kept.

        What is not `durable` survives the death of the process, but perhaps not that of the machine.
        """
        with self._lock, _translated(self.path, self._timeout):
            connection = self._open()
            connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            with self._transaction(connection, "BEGIN IMMEDIATE"):
                yield connection

    @contextlib.contextmanager
    def _transaction(self, connection: sqlite3.Connection, begin: str) -> Iterator[sqlite3.Connection]:
        connection.execute(begin)
        try:
            if _identity(self.path) != self._file:  # else what is written would go with the file
                self._connection = None
                raise AvengersError(
                    f"the conversations in {self.path} were moved or replaced by another program: open them again"
                )
            yield connection
            connection.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):  # SQLite rolls back by itself where the disk is full
                connection.execute("ROLLBACK")
            if self._connection is None:
                connection.close()
            raise

    def _open(self) -> sqlite3.Connection:
        if self._connection is not None:
            return self._connection
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            # SQLite would make it with the rights of the umask; its -wal and -shm get the rights of this one.
            os.close(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        if not stat.S_ISREG(self.path.stat().st_mode):
            raise _damaged(self.path, "it is not a regular file")
        self._file = _identity(self.path)
        connection = sqlite3.connect(self.path, timeout=self._timeout, isolation_level=None, check_same_thread=False)
        try:
            self._prepare(connection)
        except BaseException:
            connection.close()
            raise
        self._connection = connection
        return connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        for setting in ("foreign_keys = ON", "cell_size_check = ON", "secure_delete = ON", "temp_store = MEMORY"):
            connection.execute(f"PRAGMA {setting}")
        _require_fts5(connection, self.path)
        version = _version(connection, self.path)
        self._use_write_ahead_log(connection)
        if version < _VERSION:
            with self._transaction(connection, "BEGIN IMMEDIATE"):
                _upgrade(connection, _version(connection, self.path))  # another process may have come first

    def _use_write_ahead_log(self, connection: sqlite3.Connection) -> None:
        """Set the journal mode; where two processes do so at once SQLite refuses one of them without waiting."""
        until = time.monotonic() + self._timeout
        while True:
            try:
                connection.execute("PRAGMA journal_mode = WAL").fetchone()
                return
            except sqlite3.OperationalError as error:
                if _code(error) not in _BUSY or time.monotonic() >= until:
                    raise
            time.sleep(_RETRY_SECONDS)


def _require_fts5(connection: sqlite3.Connection, path: Path) -> None:
    if not connection.execute(_HAS_FTS5).fetchone():
        raise AvengersError(
            f"this Python's SQLite has no FTS5, which the conversations in {path} need: use another Python, or chat "
            "with --no-log"
        )


def _version(connection: sqlite3.Connection, path: Path) -> int:
    """Read the version of the tables, 0 for an empty file; refuse a newer one and another program's file."""
    ((application,),) = connection.execute("PRAGMA application_id")
    ((version,),) = connection.execute("PRAGMA user_version")
    ((tables,),) = connection.execute("SELECT count(*) FROM sqlite_master")
    if application != _APPLICATION_ID and (application or version or tables):
        raise VerificationFailed(
            f"{path} is another program's SQLite file, and is left alone: move it away or choose another home"
        )
    if version > _VERSION:
        raise VerificationFailed(
            f"the conversations in {path} were written by a newer avengers (format {version}, this one reads up to "
            f"{_VERSION}): update it, or choose another home with --home"
        )
    if version < 0 or bool(version) != bool(tables):
        raise _damaged(path, "its tables are gone")
    return int(version)


def _upgrade(connection: sqlite3.Connection, version: int) -> None:
    """Make the tables of the present version; the caller holds a transaction, so that all is done or nothing."""
    for statement in _UPGRADES[version] if version < _VERSION else ():
        connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {_VERSION}")


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


@contextlib.contextmanager
def _translated(path: Path, timeout: float) -> Iterator[None]:
    """Raise the errors of SQLite and of the system as one of ours, in one line."""
    try:
        yield
    except sqlite3.ProgrammingError:
        raise  # a fault of this code
    except sqlite3.Error as error:
        code = _code(error)
        if code in _BUSY:
            raise AvengersError(
                f"the conversations in {path} were locked by another program for more than {timeout:g} s: end it, or "
                "chat with --no-log"
            ) from error
        full = code == sqlite3.SQLITE_FULL or (code == sqlite3.SQLITE_IOERR and _free_bytes(path) < _NEEDED_BYTES)
        raise (_no_room(path) if full else (_unusable if code in _UNUSABLE else _damaged)(path, error)) from error
    except OSError as error:
        raise (_no_room(path) if error.errno in NO_ROOM else _unusable(path, error.strerror or error)) from error
    except OverflowError as error:
        raise BadRequest("a number has more than 63 bits: SQLite keeps none of that size") from error


def _code(error: sqlite3.Error) -> int:
    """Return SQLite's primary result code; an error that Python found in a value has none, and is damage."""
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF


def _damaged(path: Path, reason: object) -> VerificationFailed:
    return VerificationFailed(
        f"the conversations in {path} are damaged ({reason}): move the file aside and new ones are kept; "
        "`sqlite3 FILE .dump` prints what can be read of it"
    )


def _unusable(path: Path, reason: object) -> AvengersError:
    return AvengersError(
        f"the conversations in {path} cannot be opened or written ({reason}): check the rights and the disk there, "
        "choose another home with --home, or chat with --no-log"
    )


def _no_room(path: Path) -> DoesNotFit:
    return DoesNotFit(
        f"there is no room left for the conversations in {path}: {_free_bytes(path)} bytes of disk are free and about "
        f"{_NEEDED_BYTES} are needed; free some, or chat with --no-log"
    )


def _free_bytes(path: Path) -> int:
    for folder in path.parents:
        with contextlib.suppress(OSError):
            return shutil.disk_usage(folder).free
    return 0
