"""Disk work of the library: hashes, free space, moving verified files, and the system's errors in our words."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from avengers_edge._util.files import NO_ROOM
from avengers_edge._util.text import human_bytes
from avengers_edge.errors import AvengersError, DoesNotFit, VerificationFailed

CHUNK_BYTES = 2**20
DISK_MARGIN_BYTES = 64 * 2**20
"""What a download leaves free, so that the rest of the machine can still write."""

_NO_RIGHT = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})


def bytes_below(folder: Path) -> int:
    """Add up the sizes of all files below a folder that others may be writing to."""
    total = 0
    for place, _, names in os.walk(folder):  # it passes over folders that have just gone, as `rglob` does not
        for name in names:
            with contextlib.suppress(OSError):  # it was just moved
                total += Path(place, name).stat().st_size
    return total


def sha256_of(path: Path, on_progress: Callable[[int], None] = lambda _: None) -> str:
    """Hash a file; `on_progress` gets how many bytes were hashed so far."""
    digest, done = hashlib.sha256(), 0
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
            done += len(chunk)
            on_progress(done)
    return digest.hexdigest()


def require_room(folder: Path, need: int, purpose: str, *, elsewhere: str = "--home") -> None:
    """Check that the disk of an existing folder has `need` bytes and a margin free.

    `elsewhere` is the option that names another folder.

    Raises:
        DoesNotFit: it has not; the message has both numbers.

    """
    free = shutil.disk_usage(folder).free
    if free < need + DISK_MARGIN_BYTES:
        raise DoesNotFit(
            f"{purpose} needs {human_bytes(need + DISK_MARGIN_BYTES)} of disk and {human_bytes(free)} are free in "
            f"{folder}: free some or choose another folder with {elsewhere}"
        )


@contextlib.contextmanager
def disk_errors(
    folder: Path,
    purpose: str,
    need: int | None = None,
    *,
    elsewhere: str = "--home or AVENGERS_HOME",
    resumes: bool = True,
) -> Iterator[None]:
    """Turn what the system says while a folder, the home by default, is written into one line of ours.

    `elsewhere` is the option that names another folder; `resumes` says that the next run goes on where this one was.

    Raises:
        DoesNotFit: the disk is full.
        AvengersError: the folder is not writable, or the disk failed otherwise.

    """
    then = "and run it again, it goes on where it was" if resumes else f"or choose another folder with {elsewhere}"
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        if error.errno in NO_ROOM:
            with contextlib.suppress(OSError):
                free = shutil.disk_usage(folder).free
                reason = f"{human_bytes(free)} are free"
                if error.errno == errno.ENOSPC and free >= (need or 0) + DISK_MARGIN_BYTES:
                    raise DoesNotFit(  # the disk is out of inodes
                        f"{purpose}: {folder} has {human_bytes(free)} free but no room for new files: delete some "
                        f"files there {then}"
                    ) from error
            needed = "more disk than there is" if need is None else f"{human_bytes(need)} of disk"
            raise DoesNotFit(f"{purpose} needs {needed} and {reason} in {folder}: free some {then}") from error
        if error.errno in _NO_RIGHT or isinstance(error, FileExistsError | NotADirectoryError):
            raise AvengersError(
                f"the folder {folder} cannot be written ({reason}): correct its rights or choose another with "
                f"{elsewhere}"
            ) from error
        raise AvengersError(f"{purpose} failed: {error.filename or folder}: {reason}; run it again") from error


def move(source: Path, target: Path, sha256: str) -> None:
    """Move a verified file to its place at once; on another disk it is copied there, and named once the copy is right.

    Raises:
        VerificationFailed: the copy has other bytes.
        DoesNotFit: the other disk has no room for it.
        OSError: one of the two cannot be read or written; the file stays where it was.

    """
    try:
        source.replace(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        _copy_over(source, target, sha256)
        source.unlink()


def _copy_over(source: Path, target: Path, sha256: str) -> None:
    status, digest = source.stat(), hashlib.sha256()
    require_room(target.parent, status.st_size, f"putting {target.name} in place")
    with tempfile.NamedTemporaryFile(dir=target.parent, prefix=f".{target.name}-", delete=False) as file:
        copy = Path(file.name)
        try:
            with source.open("rb") as opened:
                while chunk := opened.read(CHUNK_BYTES):
                    digest.update(chunk)
                    file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
            file.close()  # Windows cannot rename an open file
            if digest.hexdigest() != sha256:
                raise VerificationFailed(f"{source} was changed on its way to {target.parent}: run it again")
            copy.chmod(0o644)
            os.utime(copy, ns=(status.st_atime_ns, status.st_mtime_ns))
            copy.replace(target)
        except BaseException:
            with contextlib.suppress(OSError):
                file.close()  # which tries to write once more
            with contextlib.suppress(OSError):
                copy.unlink(missing_ok=True)
            raise
