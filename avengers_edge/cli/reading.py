"""What a command reads: the question from its argument and a pipe, and small text files that options name."""

from __future__ import annotations

import os
import stat
import sys
import threading
from pathlib import Path

import click

from avengers_edge.errors import BadRequest, NotFound

_LONGEST_INPUT = 16 * 2**20
_LONGEST_FILE = 2**20
_PATIENCE_SECONDS = 3.0


def read_question(prompt: str | None) -> str:
    """Join the argument and what is piped in.

    Raises:
        BadRequest: there is neither, or one of them is not UTF-8, or the pipe is absurdly long.

    """
    prompt = None if prompt is None else as_text(prompt, "the question")
    if prompt is not None and prompt != "-" and not _piped():
        return prompt
    if prompt is None and (sys.stdin is None or sys.stdin.isatty()):
        raise BadRequest('there is no question: avengers ask "…", or pipe it in')
    piped = _read_standard_input()
    given = "" if prompt in (None, "-") else f"{prompt}\n\n"
    return (given + piped).rstrip()


def as_text(word: str, what: str) -> str:
    """Decode an argument again where the locale is not UTF-8 and Python kept its bytes as surrogates.

    Raises:
        BadRequest: it is not UTF-8; `what` names it.

    """
    try:
        word.encode()
    except UnicodeEncodeError:
        try:
            return os.fsencode(word).decode()
        except UnicodeError as error:
            raise BadRequest(f"{what} is not UTF-8: convert it first") from error
    return word


def read_text_file(path: Path, what: str) -> str:
    """Read a small text file, or a pipe such as a shell's `<(…)`.

    Raises:
        NotFound: there is no such file.
        BadRequest: it cannot be read, is too long or is not UTF-8; `what` names what it should hold.

    """
    try:
        with path.open("rb") as file:
            raw = file.read(_LONGEST_FILE + 1)
    except FileNotFoundError as error:
        raise NotFound(f"there is no file {path} to read {what} from") from error
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or error
        raise BadRequest(f"{what} cannot be read from {path}: {reason}") from error
    return _decoded(raw, _LONGEST_FILE, str(path), f"that is not {what}")


def _piped() -> bool:
    """Tell whether standard input is a pipe or a file; a terminal or the null device has nothing to add."""
    try:
        mode = os.fstat(sys.stdin.fileno()).st_mode
    except (OSError, ValueError, AttributeError):
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISREG(mode)


def _read_standard_input() -> str:
    if sys.stdin is None:
        raise BadRequest("standard input is closed: write the question as an argument")
    waiting = threading.Timer(
        _PATIENCE_SECONDS, click.echo, ["reading standard input too; end it with Ctrl-D"], {"err": True}
    )
    waiting.daemon = True
    waiting.start()
    try:
        raw = sys.stdin.buffer.read(_LONGEST_INPUT + 1)
    finally:
        waiting.cancel()
    return _decoded(raw, _LONGEST_INPUT, "standard input", "pipe in a smaller file")


def _decoded(raw: bytes, most: int, source: str, remedy: str) -> str:
    if len(raw) > most:
        raise BadRequest(f"{source} is longer than {most} bytes: {remedy}")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadRequest(f"{source} is not UTF-8 at byte {error.start}: convert it first") from error
