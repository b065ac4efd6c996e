"""What SQLite and the system say about the file, in our words and our types."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from avengers_edge.errors import AvengersError, BadRequest, DoesNotFit, VerificationFailed
from avengers_edge.files import NO_ROOM

_LOCKED = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL})
_CLOSED_TO_US = frozenset(
    {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH, sqlite3.SQLITE_NOLFS}
)
_SCANT_BYTES = 2**20


def is_locked(error: sqlite3.Error) -> bool:
    """Tell whether another program holds the file."""
    return _primary(error) in _LOCKED


def damaged(path: Path, reason: object) -> VerificationFailed:
    """Say that the file cannot be believed, and how the user can have what is left of it saved."""
    return VerificationFailed(
        f"the conversations in {path} are damaged ({reason}): `avengers chats rescue` saves what can be read and moves "
        "the file aside"
    )


@contextlib.contextmanager
def in_our_words(path: Path, patience: float) -> Iterator[None]:
    """Turn what SQLite and the system say about the file into one line.

    Raises:
        VerificationFailed: it is damaged, or no file of ours.
        BadRequest: a number is too large for SQLite.
        DoesNotFit: the disk is full, or a text is longer than SQLite can keep.
        AvengersError: it is locked for longer than `patience` seconds, or cannot be written or read.

    """
    try:
        yield
    except sqlite3.ProgrammingError:
        raise  # it is ours
    except sqlite3.Error as error:
        raise _translated(path, patience, error) from error
    except OSError as error:
        raise _of_system(path, error) from error
    except OverflowError as error:
        raise BadRequest("a number has more than 63 bits: SQLite keeps none of that size") from error


def _translated(path: Path, patience: float, error: sqlite3.Error) -> AvengersError:
    code = _primary(error)
    if code in _LOCKED:
        return AvengersError(
            f"the conversations in {path} were locked by another program for more than {patience:g} s: end it, or "
            "chat with --no-log"
        )
    if code == sqlite3.SQLITE_FULL or (code == sqlite3.SQLITE_IOERR and _free(path) < _SCANT_BYTES):
        return _full(path)
    if code == sqlite3.SQLITE_TOOBIG:
        return DoesNotFit(f"a text is too long to be kept in {path} ({error}): shorten it, or chat with --no-log")
    if code in _CLOSED_TO_US:
        return _closed(path, str(error))
    if code in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_INTERRUPT):
        return AvengersError(f"the conversations in {path} cannot be used ({error}): look after the disk, or --no-log")
    return damaged(path, error)


def _of_system(path: Path, error: OSError) -> AvengersError:
    return _full(path) if error.errno in NO_ROOM else _closed(path, error.strerror or str(error))


def _closed(path: Path, reason: str) -> AvengersError:
    return AvengersError(
        f"the conversations in {path} cannot be opened or written ({reason}): mend the rights there, choose another "
        "home with --home, or chat with --no-log"
    )


def _full(path: Path) -> DoesNotFit:
    return DoesNotFit(
        f"there is no room left for the conversations in {path}: {_free(path)} bytes of disk are free and about "
        f"{_SCANT_BYTES} are needed; free some, or chat with --no-log"
    )


def _free(path: Path) -> int:
    for folder in path.parents:
        with contextlib.suppress(OSError):
            return shutil.disk_usage(folder).free
    return 0


def _primary(error: sqlite3.Error) -> int:
    """Give SQLite's own error code without its details; what Python itself found wrong with a value has none."""
    code = getattr(error, "sqlite_errorcode", None)
    return sqlite3.SQLITE_CORRUPT if code is None else code & 0xFF
