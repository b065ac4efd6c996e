"""Files written whole or not at all, and locks between processes."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

from avengers_edge.errors import AvengersError

NO_ROOM = frozenset({errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)})
"""What the system says of a disk that is full, or of a quota."""

_NEW = os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_BINARY", 0)
_HELD = frozenset({errno.EAGAIN, errno.EWOULDBLOCK, errno.EACCES, errno.EDEADLK})


def write_whole(path: Path, content: bytes, mode: int | None = None) -> None:
    """Replace a file at once, so that a reader sees the old bytes or the new ones, and never half of them.

    Args:
        path: where it lies; its folder is made.
        content: all of it.
        mode: its rights; None leaves them as they are, and those of a new file to the umask.

    Raises:
        OSError: the folder or the file cannot be written; what was there stays.

    """
    path.parent.mkdir(parents=True, exist_ok=True)
    mode = _mode_of(path) if mode is None else mode
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


def _mode_of(path: Path) -> int | None:
    try:
        found = path.stat().st_mode
    except OSError:
        return None
    return stat.S_IMODE(found) if stat.S_ISREG(found) else None


@contextlib.contextmanager
def exclusive(path: Path, busy: str, *, tidy: bool = False) -> Iterator[None]:
    """Hold a lock that other processes see and that a crash releases; the empty lock file stays, unless `tidy`.

    Raises:
        AvengersError: somebody else holds it; `busy` is the message.
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
                continue  # its last holder deleted it meanwhile: this lock is of a file that nobody else can see
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
