"""A quick look at the file, for whoever wants to know before the next chat whether it can be read."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

from avengers_edge.conversations.schema import is_current
from avengers_edge.conversations.trouble import damaged, in_our_words

_QUICKLY_READ_BYTES = 32 * 2**20
_PATIENCE_SECONDS = 1.0


def look_into(path: Path) -> bool:
    """Read the tables' names, and where the file is small its pages too; False where there is no file.

    Raises:
        VerificationFailed: it is damaged, or not ours.
        AvengersError: it cannot be read.

    """
    with in_our_words(path, _PATIENCE_SECONDS):
        if not path.exists():
            return False
        if not path.is_file():
            raise damaged(path, "it is not a regular file")
        place = f"{path.absolute().as_uri()}?mode=rw"  # never makes a file
        with contextlib.closing(sqlite3.connect(place, uri=True, timeout=_PATIENCE_SECONDS)) as connection:
            is_current(connection, path)
            if path.stat().st_size <= _QUICKLY_READ_BYTES:
                (said,) = connection.execute("PRAGMA quick_check(1)").fetchone()
                if said != "ok":
                    raise damaged(path, " ".join(str(said).split()))
    return True
