"""What a command reads: the question from its argument, a pipe and attached files, and small text files."""

from __future__ import annotations

import os
import stat
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from avengers_edge.cli.joining import Attachment, joined, kind_beside
from avengers_edge.errors import BadRequest, DoesNotFit, NotFound
from avengers_edge.records import Kind

_LONGEST_INPUT = 16 * 2**20
_LONGEST_FILE = 2**20
_PATIENCE_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Asked:
    """A question as it will be put; `kind` is what its answer is where the question alone tells, else None."""

    text: str
    kind: Kind | None = None


def read_question(prompt: str | None) -> str:
    """Join the argument and what is piped in; see `read_asked`."""
    return read_asked(prompt).text


def read_asked(prompt: str | None, attachments: Sequence[Attachment] = ()) -> Asked:
    """Join the argument, what is piped in, and attached files.

    Raises:
        BadRequest: there is none of them, or one is not UTF-8, or the pipe is absurdly long.

    """
    prompt = None if prompt is None else as_text(prompt, "the question")
    nothing = prompt is None and not attachments
    if nothing and (sys.stdin is None or sys.stdin.isatty()):
        raise BadRequest('there is no question: avengers ask "…", or pipe it in')
    piped = _read_standard_input() if nothing or prompt == "-" or _piped() else None
    given = None if prompt is None or prompt == "-" or not prompt.strip() else prompt
    text = joined(given if given is not None or piped or attachments else prompt, piped, attachments)
    return Asked(text, None if given is None or text == given else kind_beside(given, text))


def read_attachment(path: Path, most: int) -> Attachment:
    """Read a text file that goes with a question, or a pipe such as a shell's `<(…)`.

    Raises:
        NotFound: there is no such file.
        BadRequest: it cannot be read, is not text, or is empty.
        DoesNotFit: it is longer than `most` bytes, which is more than the model's context could ever hold.

    """
    raw = _read_file(path, most, "an attachment")
    if len(raw) > most:
        raise DoesNotFit(
            f"{path} has {_size_of(path, len(raw))} bytes and the context could hold {most} at the very most: attach "
            "a part of it, or raise `context` in settings.toml"
        )
    if b"\0" in raw:
        raise BadRequest(f"{path} is not text: byte {raw.index(0)} is 0; attach text files only")
    text = _decoded(raw, most, str(path), "attach a part of it")
    if not text.strip():
        raise BadRequest(f"{path} is empty: leave it out")
    return Attachment(_printable(path.name), text)


def _printable(name: str) -> str:
    """Write the bytes of a file's name that are not UTF-8 as \\xNN."""
    try:
        return as_text(name, "the name")
    except BadRequest:
        return os.fsencode(name).decode(errors="backslashreplace")


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


def read_text_file(path: Path, what: str, most: int | None = None) -> str:
    """Read a text file of at most `most` bytes (None: a mebibyte), or a pipe such as a shell's `<(…)`.

    Raises:
        NotFound: there is no such file.
        BadRequest: it cannot be read, is too long or is not UTF-8; `what` names what it should hold.

    """
    longest = _LONGEST_FILE if most is None else most
    return _decoded(_read_file(path, longest, what), longest, str(path), f"that is not {what}")


def _read_file(path: Path, most: int, what: str) -> bytes:
    """Read a file, and one byte more than allowed where it is longer."""
    try:
        with path.open("rb") as file:
            return file.read(most + 1)
    except FileNotFoundError as error:
        raise NotFound(f"there is no file {path} to read {what} from") from error
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or error
        raise BadRequest(f"{what} cannot be read from {path}: {reason}") from error


def _size_of(path: Path, at_least: int) -> str:
    """Tell a file's size; a pipe has none, only what was read of it."""
    size = path.stat().st_size if path.is_file() else 0
    return str(size) if size >= at_least else f"more than {at_least - 1}"


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
