"""What was typed in earlier chats, for Ctrl-R and the up arrow: one private file in the home folder."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable
from pathlib import Path

from prompt_toolkit.history import History

from avengers_edge.cli.chat.pasting import STAND_IN
from avengers_edge.conversations.values import valid_unicode
from avengers_edge.files import write_whole

FILE_NAME = "chat_history"
_LONGEST_ENTRY = 20_000
_MOST_BYTES = 2**20


class KeptHistory(History):
    """Entries as JSON texts, one a line, the newest last; two chats may add to it at once.

    Whatever is wrong with the file, there is only less to search. `keep` False reads it and adds nothing.
    """

    def __init__(self, path: Path, *, keep: bool = True) -> None:
        super().__init__()
        self._path, self._keep = path, keep

    def load_history_strings(self) -> Iterable[str]:
        """Give the entries, the newest first."""
        try:
            with self._path.open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - _MOST_BYTES))
                lines = file.read().split(b"\n")
        except OSError:
            return
        if size > 2 * _MOST_BYTES and self._keep:
            with contextlib.suppress(OSError):
                write_whole(self._path, b"\n".join(lines[1:]))
                self._path.chmod(0o600)
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
            descriptor = os.open(self._path, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)
            with open(descriptor, "ab") as file:  # noqa: PTH123 - it is open already
                file.write(line)
