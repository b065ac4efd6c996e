"""The user's own editor for a text that grew too long for a line."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from avengers_edge.errors import AvengersError

_USUAL = "notepad" if os.name == "nt" else "vi"


def edit(text: str, environ: Mapping[str, str] = os.environ) -> str:
    """Have a text edited in $VISUAL, or else $EDITOR, and give it back without the line end that editors add.

    Raises:
        AvengersError: the editor is not there, failed, or left no text; the message says so in one line. What it left
            in another encoding is kept, and the message says where.

    """
    editor = environ.get("VISUAL") or environ.get("EDITOR") or _USUAL
    descriptor, name = tempfile.mkstemp(prefix="avengers-", suffix=".md")  # nobody else can read it
    path, kept = Path(name), False
    try:
        with open(descriptor, "wb") as file:  # noqa: PTH123 - it is open already
            file.write(text.encode("utf-8", "replace"))
        _run(editor, name)
        return path.read_bytes().decode("utf-8").removesuffix("\n")
    except OSError as error:
        raise AvengersError(
            f"what the editor {editor!r} left cannot be read ({error}): the text is as it was"
        ) from error
    except UnicodeDecodeError as error:
        kept = True
        raise AvengersError(
            f"what the editor {editor!r} left is not UTF-8 at byte {error.start}: it is kept in {name}, convert it and "
            "/read it"
        ) from error
    finally:
        if not kept:
            path.unlink(missing_ok=True)


def command_of(editor: str, *, windows: bool = os.name == "nt") -> list[str]:
    """Split what the user calls his editor into words, as his shell would.

    Raises:
        ValueError: a quote is not closed.

    """
    if not windows:
        return shlex.split(editor)
    # There a backslash leads to a folder, and only the double quote is one.
    return [word.replace('"', "") for word in re.findall(r'(?:[^\s"]|"[^"]*"?)+', editor)]


def _run(editor: str, name: str) -> None:
    try:
        code = subprocess.call([*command_of(editor), name])
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or error
        raise AvengersError(f"the editor {editor!r} cannot be run ({reason}): set VISUAL or EDITOR") from error
    if code != 0:
        raise AvengersError(f"the editor {editor!r} ended with {code}: the text is as it was")
