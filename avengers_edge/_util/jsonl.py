"""JSON-lines files, plain or gzipped: read line by line, written whole, or resumed where a run was stopped."""

from __future__ import annotations

import gzip
import json
import os
import zlib
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO, Any

from avengers_edge._util.files import exclusive, write_named
from avengers_edge.errors import AvengersError, NotFound, VerificationFailed

_BLOCK_BYTES = 2**16


def numbered_lines(path: Path, what: str, remedy: str) -> Iterator[tuple[str, str]]:
    """Read the lines that are not blank; yield where each is ("FILE, line N"), and the line.

    Args:
        path: unpacked where its name ends in `.gz`.
        what: the kind of file, for refusals.
        remedy: how to come by one.

    Raises:
        NotFound: there is no such file.
        VerificationFailed: it cannot be read.

    """
    try:
        with _opened(path) as lines:
            yield from numbered(lines, str(path), what)
    except FileNotFoundError as error:
        raise NotFound(f"there is no {what} {path}: {remedy}") from error
    except OSError as error:
        raise _unreadable(what, str(path), error) from error


def numbered(lines: Iterable[str], name: str, what: str) -> Iterator[tuple[str, str]]:
    """Yield the lines of an open file called `name`, as `numbered_lines` does.

    Raises:
        VerificationFailed: it cannot be read on.

    """
    try:
        for number, line in enumerate(lines, 1):
            if line.strip():
                yield f"{name}, line {number}", line
    except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
        raise _unreadable(what, name, error) from error


def sole_writer(path: Path) -> AbstractContextManager[None]:
    """Keep other runs from writing a file that this one goes on with; a kill lets go of it.

    Raises:
        AvengersError: another run is writing it.
        OSError: its folder cannot be written, or knows no locks.

    """
    place = path.resolve()  # one file by several names is one file
    busy = f"another run is writing {path}: wait for it to end, or choose another file"
    return exclusive(place.with_name(f".{place.name}.lock"), busy, tidy=True)


def drop_partial_line(path: Path) -> None:
    """Drop a last line that was cut off when its writer was killed.

    Raises:
        OSError: the file cannot be read or written.

    """
    with path.open("rb+") as file:
        end = keep = file.seek(0, os.SEEK_END)
        while keep > 0:
            start = max(0, keep - _BLOCK_BYTES)
            file.seek(start)
            if (found := file.read(keep - start).rfind(b"\n")) >= 0:
                keep = start + found + 1
                break
            keep = start
        if keep < end:
            file.truncate(keep)


def write_lines(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Write a file whole, one row a line; `.gz` is packed, the same rows to the same bytes.

    Raises:
        AvengersError: it cannot be written.

    """
    try:
        content = "".join(map(as_line, rows)).encode()
        write_named(path, gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)
    except (OSError, TypeError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or error
        raise AvengersError(f"{path} cannot be written ({reason}): choose another place") from error


def as_line(row: dict[str, Any]) -> str:
    """Write one row as a line of a file."""
    return json.dumps(row, ensure_ascii=False) + "\n"


def _opened(path: Path) -> IO[str]:
    # Some editors begin a file with a mark of its encoding.
    return gzip.open(path, "rt", encoding="utf-8-sig") if path.suffix == ".gz" else path.open(encoding="utf-8-sig")


def _unreadable(what: str, name: str, error: Exception) -> VerificationFailed:
    return VerificationFailed(f"{what} {name} cannot be read ({error}): copy or make it again")
