"""Names of models, files and their parts, and how unusable ones are refused.

A model in several files is named as llama.cpp's `gguf-split` does: NAME-00001-of-00003.gguf and so on. The first part
has the metadata and is the one that is loaded; llama.cpp finds the others beside it by their names.

The installer of a bundle contains this module, so it needs nothing but the standard library.
"""

from __future__ import annotations

import re
from pathlib import Path

from avengers_edge.errors import BadRequest

ID = re.compile(r"[a-z0-9][a-z0-9._-]*")
"""What models and teams are called, besides being plain and not ending like a lock file."""

MAX_NAME = 128
_RESERVED = frozenset({"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(10))})


def is_plain(name: str, longest: int = MAX_NAME) -> bool:
    """Whether no system would take this for a path, for a device, or change it."""
    return (
        0 < len(name) <= longest
        and name.isprintable()
        and not set(name) & set('/\\:*?"<>|')
        and name[0] not in ". -"
        and name[-1] not in ". "
        and name.split(".")[0].rstrip().lower() not in _RESERVED
    )


def is_id(name: str) -> bool:
    """Whether this can be the id of a model or the name of a team."""
    return ID.fullmatch(name) is not None and not name.endswith(".lock") and is_plain(name)


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


_PART = re.compile(r"(.+)-(\d{5})-of-(\d{5})\.gguf")
MOST_PARTS = 999


def part_names(name: str) -> tuple[str, ...]:
    """Name all parts of the model whose first part is called `name`; only `name` itself where it is no first part."""
    match = _PART.fullmatch(name)
    if match is None or int(match[2]) != 1 or not 1 <= int(match[3]) <= MOST_PARTS:
        return (name,)
    return tuple(f"{match[1]}-{number:05}-of-{match[3]}.gguf" for number in range(1, int(match[3]) + 1))


def part_paths(path: Path) -> tuple[Path, ...]:
    """Return the paths of all parts of a model by that of its first one."""
    return tuple(path.with_name(name) for name in part_names(path.name))


def first_name(name: str) -> str:
    """Name the first of a model's parts by any of them; `name` itself where it is no part."""
    match = _PART.fullmatch(name)
    first = name if match is None else f"{match[1]}-00001-of-{match[3]}.gguf"
    return first if name in part_names(first) else name


def is_later_part(name: str) -> bool:
    """Whether this is the name of a part that is not the first."""
    match = _PART.fullmatch(name)
    return match is not None and int(match[2]) > 1


def whole_name(name: str) -> str:
    """Return the name that a file would have if it were not split."""
    match = _PART.fullmatch(name)
    return name if match is None else f"{match[1]}.gguf"
