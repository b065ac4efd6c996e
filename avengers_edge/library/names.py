"""Names that are one plain file name on every system, never a path; the standard library suffices to read this."""

from __future__ import annotations

import re

ID = re.compile(r"[a-z0-9][a-z0-9._-]*")
"""What models and teams are called, besides being plain and not ending like a lock file."""

MAX_NAME = 128
_RESERVED = frozenset({"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(10))})


def is_plain(name: str, longest: int = MAX_NAME) -> bool:
    """Tell whether no system would take this for a path, for a device, or change it."""
    return (
        0 < len(name) <= longest
        and name.isprintable()
        and not set(name) & set('/\\:*?"<>|')
        and name[0] not in ". -"
        and name[-1] not in ". "
        and name.split(".")[0].rstrip().lower() not in _RESERVED
    )


def is_id(name: str) -> bool:
    """Tell whether this can be the id of a model or the name of a team."""
    return ID.fullmatch(name) is not None and not name.endswith(".lock") and is_plain(name)
