"""Where lines come from: the shape that the loop depends on, and plain lines from standard input."""

from __future__ import annotations

import sys
from typing import BinaryIO, Protocol

from avengers_edge.errors import BadRequest

QUOTES = '"""'
_LONGEST = 16 * 2**20


class Reader(Protocol):
    """Gives what the user says."""

    def read(self, default: str = "") -> str:
        """Wait for the next line, or text of several lines; `default` stands there already, to be changed.

        Raises:
            EOFError: the user leaves.
            BadRequest: what came is no text.

        """


def unquoted(text: str) -> str:
    """Take the marks of a text of several lines off."""
    inner = text.strip()
    if not inner.startswith(QUOTES):
        return text
    inner = inner[len(QUOTES) :]
    return inner.removesuffix(QUOTES).strip("\n")


def is_open(text: str) -> bool:
    """Tell whether a text of several lines was begun and not ended."""
    inner = text.lstrip()
    return inner.startswith(QUOTES) and not inner[len(QUOTES) :].rstrip().endswith(QUOTES)


class LineReader:
    """Lines as they are piped in."""

    def __init__(self, stream: BinaryIO | None = None) -> None:
        self._stream = stream
        self._line = 0

    def read(self, default: str = "") -> str:  # noqa: ARG002 - there is nobody to change it
        """Read the next line, or the lines between two marks."""
        text = self._next()
        while is_open(text):
            try:
                text += "\n" + self._next()
            except EOFError:
                break
        return unquoted(text)

    def _next(self) -> str:
        stream = self._stream or (sys.stdin.buffer if sys.stdin is not None else None)
        raw = stream.readline(_LONGEST + 1) if stream else b""
        if not raw:
            raise EOFError
        self._line += 1
        if len(raw) > _LONGEST:
            while raw and not raw.endswith(b"\n"):
                raw = stream.readline(_LONGEST) if stream else b""
            raise BadRequest(f"line {self._line} is longer than {_LONGEST} bytes: put the text in a file and /read it")
        try:
            return raw.decode("utf-8-sig" if self._line == 1 else "utf-8").rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise BadRequest(
                f"line {self._line} is not UTF-8 at byte {error.start} and is left out: convert it first"
            ) from error
