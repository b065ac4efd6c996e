"""Careful dealings with the disk: whole writes, hashes, room, locks, and the system's complaints in our words."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import shutil
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from avengers_edge.errors import AvengersError, DoesNotFit
from avengers_edge.files import write_whole

CHUNK_BYTES = 2**20
DISK_MARGIN_BYTES = 64 * 2**20
"""What a download leaves free, so that the rest of the machine can still write."""

_NO_ROOM = frozenset({errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)})
_NO_RIGHT = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})


def human_bytes(count: int) -> str:
    """Write a size for people, in decimal units as disks are sold."""
    value, unit = float(count), "B"
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if value < 1000 or unit == "TB":
            break
        value /= 1000
    return f"{value:.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.1f} {unit}"


def bytes_below(folder: Path) -> int:
    """Add up the sizes of all files below a folder that others may be writing to."""
    total = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):  # it was just moved
            total += path.stat().st_size if path.is_file() else 0
    return total


def open_regular(path: Path) -> BinaryIO:
    """Open a file for reading; whatever is no regular file is refused, since opening a pipe would wait for ever.

    Raises:
        OSError: it is not there, not a regular file, or cannot be opened.

    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(errno.EINVAL, "it is not a regular file", str(path))
    return path.open("rb")


def read_small(path: Path, limit: int) -> bytes:
    """Read a regular file of at most `limit` bytes.

    Raises:
        OSError: it cannot be read, or is not a regular file.
        ValueError: it is longer.

    """
    with open_regular(path) as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise ValueError(f"it is longer than {limit} bytes")
    return data


def write_text(path: Path, text: str) -> None:
    """Write a small file whole or not at all, with line feeds on every system."""
    write_whole(path, text.encode("utf-8"))


def sha256_of(path: Path, heard: Callable[[int], None] = lambda _: None) -> str:
    """Hash a file; `heard` is told how many bytes were hashed so far."""
    digest, done = hashlib.sha256(), 0
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
            done += len(chunk)
            heard(done)
    return digest.hexdigest()


def require_room(folder: Path, need: int, purpose: str) -> None:
    """Check that the disk of an existing folder has `need` bytes and a margin free.

    Raises:
        DoesNotFit: it has not; the message has both numbers.

    """
    free = shutil.disk_usage(folder).free
    if free < need + DISK_MARGIN_BYTES:
        raise DoesNotFit(
            f"{purpose} needs {human_bytes(need + DISK_MARGIN_BYTES)} of disk and {human_bytes(free)} are free in "
            f"{folder}: free some or choose another folder with --home"
        )


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what the system says while a file or folder is read into one line of ours.

    Raises:
        AvengersError: it cannot be read.

    """
    try:
        yield
    except OSError as error:
        place = error.filename or path
        raise AvengersError(
            f"{place} cannot be read: {error.strerror or error}; mend its rights or the disk"
        ) from error


@contextlib.contextmanager
def disk_errors(home: Path, purpose: str, need: int | None = None) -> Iterator[None]:
    """Turn what the system says while the store is written into one line of ours.

    Raises:
        DoesNotFit: the disk is full.
        AvengersError: the home folder is not writable, or the disk failed otherwise.

    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        if error.errno in _NO_ROOM:
            with contextlib.suppress(OSError):
                free = shutil.disk_usage(home).free
                reason = f"{human_bytes(free)} are free"
                if error.errno == errno.ENOSPC and free >= (need or 0) + DISK_MARGIN_BYTES:
                    raise DoesNotFit(  # the disk is out of inodes
                        f"{purpose}: {home} has {human_bytes(free)} free but no room for new files: delete some files "
                        "there and run it again, it goes on where it was"
                    ) from error
            needed = "more disk than there is" if need is None else f"{human_bytes(need)} of disk"
            raise DoesNotFit(
                f"{purpose} needs {needed} and {reason} in {home}: free some and run it again, it goes on where it was"
            ) from error
        if error.errno in _NO_RIGHT or isinstance(error, FileExistsError | NotADirectoryError):
            raise AvengersError(
                f"the home folder {home} cannot be written ({reason}): mend its rights or choose another with --home "
                "or AVENGERS_HOME"
            ) from error
        raise AvengersError(f"{purpose} failed: {error.filename or home}: {reason}; run it again") from error


@contextlib.contextmanager
def exclusive(path: Path, busy: str) -> Iterator[None]:
    """Hold a lock that other processes see and that a crash releases; the empty lock file stays.

    Raises:
        AvengersError: somebody else holds it; `busy` is the message.

    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        try:
            _lock(file.fileno())
        except OSError as error:
            raise AvengersError(busy) from error
        yield  # closing the file releases the lock


if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
