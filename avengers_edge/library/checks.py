"""How names, texts and pins that cannot be used in a manifest are refused."""

from __future__ import annotations

import json
import re

from avengers_edge.errors import BadRequest
from avengers_edge.library.names import ID, is_plain

_SHA256 = re.compile(r"[0-9a-f]{64}")


def require(holds: bool, complaint: str) -> None:
    """Refuse what does not hold.

    Raises:
        BadRequest: with that complaint.

    """
    if not holds:
        raise BadRequest(complaint)


def check_file_name(name: str) -> str:
    """Return a name that is one plain file name on every system, never a path.

    Raises:
        BadRequest: it has a separator, is reserved on Windows, or begins or ends so that a system would change it.

    """
    require(is_plain(name), f"{name!r} is not a plain file name: use letters, digits, dots and dashes")
    return name


def check_id(name: str) -> str:
    """Return a name that can be the id of a model or the name of a team, mode or table.

    Raises:
        BadRequest: it is not lower-case letters, digits, dots, underscores and dashes, or ends like a lock file.

    """
    require(ID.fullmatch(name) is not None, f"{name!r} is not a valid name: use lower-case letters, digits and . _ -")
    require(not name.endswith(".lock"), f"{name!r} is not a valid name: lock files end in .lock, choose another")
    return check_file_name(name)


def check_printable(text: str, what: str) -> str:
    """Return a text that can be shown on a terminal as it is; `what` names it in a refusal.

    Raises:
        BadRequest: it has control characters, which would steer the terminal.

    """
    require(text.isprintable(), f"{what} has characters that cannot be shown: remove control characters")
    return text


def check_pins(where: str, size: int | None, sha256: str | None) -> None:
    """Refuse a size or a hash that no file can have; None is one that is not known.

    Raises:
        BadRequest: with the place that it stands in.

    """
    require(size is None or size > 0, f"{where} has bytes {size}: use 1 or more")
    require(sha256 is None or _SHA256.fullmatch(sha256) is not None, f"{where}: sha256 is not 64 hex digits")


def quoted(text: str) -> str:
    """Quote a text as a TOML basic string; JSON's escapes are a subset of TOML's, except for DEL."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
