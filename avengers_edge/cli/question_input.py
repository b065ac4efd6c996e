"""A question as the user gives it: an argument, a pipe, attached files; and how they become one text."""

from __future__ import annotations

import os
import re
import stat
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import click

from avengers_edge.errors import BadRequest, DoesNotFit, NotFound
from avengers_edge.records import Kind

LONG = 4_000
"""Characters of material after which the question is repeated: small models forget what stood before it."""

LONGEST_TOKEN = 64
"""Bytes; a file with more than that for each token of the context could not fit it."""

_ATTACHED = re.compile(r"\n\n[^\n]+:\n(?=```)")
_LONGEST_INPUT = 16 * 2**20
_LONGEST_FILE = 2**20
_REMINDER_SECONDS = 3.0


class Attachment(NamedTuple):
    """A text file that goes with a question."""

    name: str
    text: str


class Question(NamedTuple):
    """A question as it is asked; `kind` is that of the argument where there is material beside it, else None."""

    text: str
    kind: Kind | None = None


def read_question(prompt: str | None, attachments: Sequence[Attachment] = ()) -> Question:
    """Join the argument, what is piped in, and attached files."""
    prompt = None if prompt is None else as_text(prompt, "the question")
    nothing = prompt is None and not attachments
    if nothing and (sys.stdin is None or sys.stdin.isatty()):
        raise BadRequest('there is no question: avengers ask "…", or pipe it in')
    piped = _read_standard_input() if nothing or prompt == "-" or _is_piped() else None
    given = None if prompt is None or prompt == "-" or not prompt.strip() else prompt
    text = joined(given if given is not None or piped or attachments else prompt, piped, attachments)
    return Question(text, None if given is None or text == given else kind_beside(given, text))


def joined(prompt: str | None, piped: str | None = None, attachments: Sequence[Attachment] = ()) -> str:
    """Put the question first, then what was piped, then each file under its name in a fence of its own.

    A pipe or a single file without anything else is the question itself, as it stands.
    """
    material = [piped.rstrip()] if piped and piped.strip() else []
    if prompt is None and not material and len(attachments) == 1:
        return attachments[0].text.rstrip()
    for name, text in attachments:
        fence = "`" * (max(map(len, re.findall(r"`{3,}", text)), default=2) + 1)
        material.append(f"{name}:\n{fence}\n{text.rstrip()}\n{fence}")
    parts = material if prompt is None else [prompt, *material]
    if prompt is not None and sum(map(len, material)) > LONG:
        parts.append(prompt)
    return "\n\n".join(parts)


def kind_beside(prompt: str, whole: str) -> Kind:
    """Infer the kind of answer to a question that comes with material.

    The question decides; where it sounds like free text the material may hold the real question ("Solve this:").
    A file that is a program does not make the question one for a program, unless it is to be corrected.
    """
    from avengers_edge.voting.kinds import infer_kind  # not at the top: a chat's prompt would wait for it

    kind = infer_kind(prompt)
    if kind != "text" or len(whole) - len(prompt) > LONG:
        return kind
    inferred = infer_kind(whole)
    return infer_kind(f"{prompt}\n```\n```") if inferred == "code" else inferred


def kind_joined(text: str) -> Kind | None:
    """Infer the kind of answer to a text that `joined` made of a question and files; None where it has no such form.

    The text alone decides, so that a question that is undone, stored or read again is asked as it was before.
    """
    found = _ATTACHED.search(text)
    return kind_beside(text[: found.start()], text) if found else None


def read_attachment(path: Path, limit: int) -> Attachment:
    """Read a text file that goes with a question, or a pipe such as a shell's `<(…)`.

    More than `limit` bytes, which the model's context could never hold, are refused.
    """
    raw = _read_file(path, limit, "an attachment")
    if len(raw) > limit:
        size = path.stat().st_size if path.is_file() else 0  # a pipe has none
        found = str(size) if size >= len(raw) else f"more than {limit}"
        raise DoesNotFit(
            f"{path} has {found} bytes and the context could hold {limit} at the very most: attach a part of it, or "
            "raise `context` in settings.toml"
        )
    text = _decoded(raw, limit, str(path), "attach a part of it")
    if not text.strip():
        raise BadRequest(f"{path} is empty: leave it out")
    # Bytes of its name that are not UTF-8 are written as \xNN.
    return Attachment(os.fsencode(path.name).decode(errors="backslashreplace"), text)


def read_text_file(path: Path, what: str, limit: int | None = None) -> str:
    """Read a text file of at most `limit` bytes, or a pipe such as a shell's `<(…)`; `what` names its content."""
    limit = _LONGEST_FILE if limit is None else limit
    return _decoded(_read_file(path, limit, what), limit, str(path), f"that is not {what}")


def as_text(word: str, what: str) -> str:
    """Decode an argument again where the locale is not UTF-8 and Python kept its bytes as surrogates."""
    try:
        word.encode()
    except UnicodeEncodeError:
        try:
            return os.fsencode(word).decode()
        except UnicodeError as error:
            raise BadRequest(f"{what} is not UTF-8: convert it first") from error
    return word


def _read_file(path: Path, limit: int, what: str) -> bytes:
    """Read a file, and one byte more than allowed where it is longer."""
    try:
        with path.open("rb") as file:
            return file.read(limit + 1)
    except FileNotFoundError as error:
        raise NotFound(f"there is no file {path} to read {what} from") from error
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or error
        raise BadRequest(f"{what} cannot be read from {path}: {reason}") from error


def _is_piped() -> bool:
    """Return whether standard input is a pipe, or a file at its beginning; a terminal or the null device adds nothing.

    A file of which a part was read is somebody else's, as in `while read q; do avengers ask "$q"; done < file`.
    """
    try:
        descriptor = sys.stdin.fileno()
        mode = os.fstat(descriptor).st_mode
        return stat.S_ISFIFO(mode) or (stat.S_ISREG(mode) and os.lseek(descriptor, 0, os.SEEK_CUR) == 0)
    except (OSError, ValueError, AttributeError):
        return False


def _read_standard_input() -> str:
    if sys.stdin is None:
        raise BadRequest("standard input is closed: write the question as an argument")
    reminder = threading.Timer(
        _REMINDER_SECONDS, click.echo, ["reading standard input too; end it with Ctrl-D"], {"err": True}
    )
    reminder.daemon = True
    reminder.start()
    try:
        raw = sys.stdin.buffer.read(_LONGEST_INPUT + 1)
    finally:
        reminder.cancel()
    return _decoded(raw, _LONGEST_INPUT, "standard input", "pipe in a smaller file")


def _decoded(raw: bytes, limit: int, source: str, remedy: str) -> str:
    if len(raw) > limit:
        raise BadRequest(f"{source} is longer than {limit} bytes: {remedy}")
    if b"\0" in raw:
        raise BadRequest(f"{source} is not text: byte {raw.index(0)} is 0; give text only")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadRequest(f"{source} is not UTF-8 at byte {error.start}: convert it first") from error
