"""The file itself: opened when it is first needed, private, in short transactions that wait for each other."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from avengers_edge.conversations.schema import bring_up, has_fts5, is_current, keep_words, lacks_index
from avengers_edge.conversations.trouble import damaged, in_our_words, is_locked
from avengers_edge.errors import AvengersError
from avengers_edge.records import Closing

_PAUSE_SECONDS = 0.02


class Database(Closing):
    """One connection for all threads of a process, with SQLite's errors turned into ours.

    Args:
        path: the file; it and its folder are made by the first write.
        patience: seconds to wait for another process's transaction.

    """

    def __init__(self, path: Path, patience: float) -> None:
        self.path, self._patience = path, patience
        self._guard = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None  # which file is open: its device and its number there
        self.indexed = True
        """Whether there is a full-text index; known once the file is open."""

    def close(self) -> None:
        """Close the file; it is opened again by the next use."""
        with self._guard, in_our_words(self.path, self._patience):
            connection, self._connection = self._connection, None
            if connection is not None:
                connection.close()

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlite3.Connection | None]:
        """Hold one state of the file for a few SELECTs; None where there is no file yet.

        Raises:
            VerificationFailed: it is damaged.
            AvengersError: it cannot be read.

        """
        with self._guard, in_our_words(self.path, self._patience):
            if self._connection is None and not self.path.exists():
                yield None
                return
            connection = self._open()
            with self._transaction(connection, "BEGIN"):
                yield connection

    @contextlib.contextmanager
    def writing(self, *, durable: bool = True) -> Iterator[sqlite3.Connection]:
        """Hold the one write transaction: all of it is kept, or on an error nothing.

        What is not `durable` survives the death of the process, and that of the machine only some seconds later.

        Raises:
            VerificationFailed: the file is damaged.
            DoesNotFit: the disk is full.
            AvengersError: it is locked for too long or cannot be written.

        """
        with self._guard, in_our_words(self.path, self._patience):
            connection = self._open()
            connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            with self._transaction(connection, "BEGIN IMMEDIATE"):
                yield connection

    @contextlib.contextmanager
    def _transaction(self, connection: sqlite3.Connection, begin: str) -> Iterator[None]:
        self._patiently(lambda: connection.execute(begin))
        try:
            self._refuse_moved()
            yield
            connection.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):  # SQLite rolls back by itself where the disk is full
                connection.execute("ROLLBACK")
            raise

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            self._make_private_file()
            self._file = _identity(self.path)
            connection = sqlite3.connect(
                self.path, timeout=self._patience, isolation_level=None, check_same_thread=False
            )
            try:
                self._prepare(connection)
            except BaseException:
                connection.close()
                raise
            self._connection = connection
        return self._connection

    def _refuse_moved(self) -> None:
        """Write nothing into a file that was moved aside, as a rescue does, or deleted: it would be lost.

        Raises:
            AvengersError: the open file is no longer the one of that name; the next use opens the one that is.

        """
        if _identity(self.path) == self._file:
            return
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
        raise AvengersError(
            f"the conversations in {self.path} were moved or replaced by another program: open them again"
        )

    def _make_private_file(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            # Before SQLite makes it with everybody's rights; its companions get the rights of this one.
            os.close(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        if not stat.S_ISREG(self.path.stat().st_mode):
            raise damaged(self.path, "it is not a regular file")

    def _prepare(self, connection: sqlite3.Connection) -> None:
        for setting in ("foreign_keys = ON", "cell_size_check = ON", "secure_delete = ON"):
            connection.execute(f"PRAGMA {setting}")
        connection.execute("PRAGMA temp_store = MEMORY")
        current = is_current(connection, self.path)
        self._refuse_moved()
        self._patiently(lambda: connection.execute("PRAGMA journal_mode = WAL").fetchone())
        self.indexed = has_fts5(connection)
        if not current or (self.indexed and lacks_index(connection)):
            with self._transaction(connection, "BEGIN IMMEDIATE"):
                is_current(connection, self.path)  # another process may have come first
                bring_up(connection)
        keep_words(connection, indexed=self.indexed)

    def _patiently(self, attempt: Callable[[], object]) -> None:
        """Try for as long as we have patience: some locks are refused at once, without SQLite's own waiting."""
        until = time.monotonic() + self._patience
        while True:
            try:
                attempt()
                return
            except sqlite3.OperationalError as error:
                if not is_locked(error) or time.monotonic() >= until:
                    raise
            time.sleep(_PAUSE_SECONDS)


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino
