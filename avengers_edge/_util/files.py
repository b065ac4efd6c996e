"""Files written whole or not at all, small files read, locks between processes."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from avengers_edge.errors import AvengersError, BadRequest, NotFound

NO_ROOM = frozenset({errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)})
"""What the system says of a disk that is full, or of a quota."""

_NEW = os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_BINARY", 0)
_STREAM = os.O_APPEND | os.O_WRONLY | getattr(os, "O_BINARY", 0)
_HELD = frozenset({errno.EAGAIN, errno.EWOULDBLOCK, errno.EACCES, errno.EDEADLK})


def write_whole(path: Path, content: bytes, mode: int | None = None) -> None:
    """Replace a file at once, so that a reader sees the old bytes or the new ones, and never half of them.

    Of a link the file that it leads to is replaced. Where a user says what is written, `write_named` is the way.

    Args:
        path: where it lies; its folder is made.
        content: all of it.
        mode: its rights; None leaves them as they are, and those of a new file to the umask.

    Raises:
        OSError: the folder or the file cannot be written; what was there stays.

    """
    found = None
    with contextlib.suppress(OSError):  # a link that leads back to itself is replaced
        found = _status_of(path)
    path = Path(os.path.realpath(path))  # else the link would be replaced
    path.parent.mkdir(parents=True, exist_ok=True)
    if mode is None and found is not None and stat.S_ISREG(found.st_mode):
        mode = stat.S_IMODE(found.st_mode)
    temporary = path.with_name(f".{path.name}-{secrets.token_hex(4)}")
    descriptor = os.open(temporary, _NEW, 0o666 if mode is None else 0o600)
    try:
        with open(descriptor, "wb") as file:  # noqa: PTH123 - it is open already
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if mode is not None:
            temporary.chmod(mode)
        temporary.replace(path)  # Windows cannot rename an open file
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def write_named(path: Path, content: bytes) -> None:
    """Write where a user said: a file as `write_whole` does.

    A device for characters and a pipe stay what they are and get the bytes, as does standard output by its name
    (`/dev/stdout`).

    Raises:
        BadRequest: what is there is neither a file nor takes bytes one after the other: a disk, a socket.
        OSError: it cannot be written.

    """
    found = _status_of(path)
    if found is not None and _takes_a_stream(path, found):
        with open(os.open(path, _STREAM), "wb") as stream:  # noqa: PTH123 - it is open already
            stream.write(content)
    elif found is not None and not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):
        raise BadRequest(f"{path} is neither a file nor a pipe: name another place")
    else:
        write_whole(path, content)


def check_folder(path: Path) -> None:
    """Check that a file of the user's choice can lie where it is to be: a folder with a typo is not made.

    Raises:
        NotFound: its folder is not there.

    """
    folder = Path(os.path.realpath(path)).parent
    if _status_of(path) is None and not folder.exists():
        raise NotFound(f"there is no folder {folder} to write {path.name} in: make it, or choose another place")


def _status_of(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None


def _takes_a_stream(path: Path, found: os.stat_result) -> bool:
    if stat.S_ISCHR(found.st_mode) or stat.S_ISFIFO(found.st_mode):
        return True
    try:
        return path.is_symlink() and os.path.samestat(found, os.fstat(1))
    except OSError:  # it is closed
        return False


@contextlib.contextmanager
def exclusive(path: Path, busy: str, *, tidy: bool = False) -> Iterator[None]:
    """Hold a lock that other processes see and that a crash releases; the empty lock file stays, unless `tidy`.

    Raises:
        AvengersError: another process holds it; `busy` is the message.
        OSError: the lock file cannot be made, or this disk knows no locks.

    """
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        with path.open("ab") as file:
            try:
                _lock(file.fileno())
            except OSError as error:
                if error.errno in _HELD:
                    raise AvengersError(busy) from error
                raise
            if tidy and not _is_at(path, file.fileno()):
                continue  # its last holder deleted it meanwhile: this lock is of a file that no other process can see
            try:
                yield
            finally:
                if tidy:
                    with contextlib.suppress(OSError):  # Windows cannot delete an open file
                        path.unlink()
            return  # closing the file releases the lock


def _is_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


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
            f"{place} cannot be read: {error.strerror or error}; correct its rights or the disk"
        ) from error
