"""What was typed in earlier chats, for Ctrl-R and the up arrow: one private file in the home folder."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from prompt_toolkit.history import History

from avengers_edge._util.files import exclusive, write_whole
from avengers_edge._util.text import valid_unicode
from avengers_edge.cli.chat.pasting import STAND_IN
from avengers_edge.errors import AvengersError

FILE_NAME = "chat_history"
_LONGEST_ENTRY = 20_000
_MOST_BYTES = 2**20
_PATIENCE_SECONDS, _PAUSE_SECONDS = 5.0, 0.02


class KeptHistory(History):
    """Entries as JSON texts, one a line, the newest last; two chats may add to it at once.

    Whatever is wrong with the file, there is only less to search. `keep` False reads it and adds nothing.
    """

    def __init__(self, path: Path, *, keep: bool = True) -> None:
        super().__init__()
        self._path, self._keep = path, keep
        self._lock = path.with_name(f"{path.name}.lock")

    def load_history_strings(self) -> Iterable[str]:
        """Give the entries, the newest first."""
        try:
            lines, size = self._newest()
            if size > 2 * _MOST_BYTES and self._keep:
                self._shorten()
        except OSError:
            return
        for line in reversed(lines):
            with contextlib.suppress(ValueError, RecursionError):
                entry = json.loads(line)
                if isinstance(entry, str):
                    yield entry

    def store_string(self, string: str) -> None:
        """Add an entry; a pasted book is not one."""
        if not self._keep or len(string) > _LONGEST_ENTRY or STAND_IN.search(string):
            return
        line = json.dumps(valid_unicode(string), ensure_ascii=False).encode() + b"\n"
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._held():
                descriptor = os.open(self._path, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)
                with open(descriptor, "ab") as file:  # noqa: PTH123 - it is open already
                    file.write(line)

    def _newest(self) -> tuple[list[bytes], int]:
        """Read the newest lines, the first of which may be half a line; and how many bytes there are in all."""
        with self._path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _MOST_BYTES))
            return file.read().split(b"\n"), size

    def _shorten(self) -> None:
        """Forget the oldest entries; where another chat holds the file it does so itself, or the next one does."""
        with contextlib.suppress(OSError, AvengersError), exclusive(self._lock, "busy", tidy=True):
            lines, size = self._newest()
            if size > 2 * _MOST_BYTES:
                write_whole(self._path, b"\n".join(lines[1:]), 0o600)

    @contextlib.contextmanager
    def _held(self) -> Iterator[None]:
        """Have nobody shorten the file meanwhile. Whoever takes too long for that is not waited for."""
        with contextlib.ExitStack() as held:
            until = time.monotonic() + _PATIENCE_SECONDS
            while time.monotonic() < until:
                try:
                    held.enter_context(exclusive(self._lock, "busy", tidy=True))
                    break
                except OSError:  # a disk without locks
                    break
                except AvengersError:
                    time.sleep(_PAUSE_SECONDS)
            yield
