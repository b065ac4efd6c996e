"""JSON-lines files, plain or gzipped, read line by line and written whole."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

from avengers_edge.errors import AvengersError, NotFound, VerificationFailed
from avengers_edge.files import write_whole


def numbered_lines(path: Path, what: str, cure: str) -> Iterator[tuple[str, str]]:
    """Read the lines that are not blank; yield where each is ("FILE, line N"), and the line.

    Args:
        path: unpacked where its name ends in `.gz`.
        what: the kind of file, for refusals.
        cure: how to come by one.

    Raises:
        NotFound: there is no such file.
        VerificationFailed: it cannot be read.

    """
    try:
        with _opened(path) as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield f"{path}, line {number}", line
    except FileNotFoundError as error:
        raise NotFound(f"there is no {what} {path}: {cure}") from error
    except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
        raise VerificationFailed(f"{what} {path} cannot be read ({error}): copy or make it again") from error


def write_lines(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Write a file whole, one row a line; `.gz` is packed, the same rows to the same bytes.

    Raises:
        AvengersError: it cannot be written.

    """
    try:
        content = "".join(map(as_line, rows)).encode()
        write_whole(path, gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)
    except (OSError, TypeError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or error
        raise AvengersError(f"{path} cannot be written ({reason}): choose another place") from error


def as_line(row: dict[str, Any]) -> str:
    """Write one row as a line of a file."""
    return json.dumps(row, ensure_ascii=False) + "\n"


def _opened(path: Path) -> IO[str]:
    return gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8")
