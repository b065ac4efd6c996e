"""The text of a team's file: written anew, or changed in one place with all else left as its writer wrote it."""

from __future__ import annotations

import itertools
import re
import tomllib
from collections.abc import Iterator, Sequence

from avengers_edge.errors import BadRequest
from avengers_edge.library.checks import quoted
from avengers_edge.records import Member

_TABLE = re.compile(r"^\s*\[")
_KEY = re.compile(r"^\s*table\s*=")
_MEMBERS = re.compile(r"^\s*\[\[\s*members\s*\]\]\s*(?:#.*)?$")


def new_text(name: str, description: str, members: Sequence[Member], table: str | None, samples: int | None) -> str:
    """Write a new team."""
    lines = [f"name = {quoted(name)}", f"description = {quoted(description)}"]
    if table is not None:
        lines.append(f"table = {quoted(table)}")
    if samples is not None:
        lines += ["", "[defaults]", f"samples = {samples}"]
    return with_members("\n".join(lines) + "\n", members)


def with_members(text: str, members: Sequence[Member]) -> str:
    """Add members at the end."""
    lines = [text.rstrip("\n")]
    for member in members:
        lines += ["", "[[members]]", f"model = {quoted(member.model)}"]
        if member.mode is not None:
            lines.append(f"mode = {quoted(member.mode.name)}")
    return "\n".join(lines) + "\n"


def without_members(text: str, names: Sequence[str]) -> str:
    """Leave out members by their names."""
    lines = text.split("\n")
    for start, end in reversed(list(_blocks(lines))):
        if _name_of("\n".join(lines[start:end])) in names:
            del lines[start:end]
    return "\n".join(lines).rstrip("\n") + "\n"


def with_table(text: str, table: str | None) -> str:
    """Name another table, or none."""
    lines = text.split("\n")
    head = next((place for place, line in enumerate(lines) if _TABLE.match(line)), len(lines))
    kept = [line for line in lines[:head] if not _KEY.match(line)]
    if table is not None:
        last = max((place for place, line in enumerate(kept) if line.strip()), default=-1)
        kept.insert(last + 1, f"table = {quoted(table)}")
    return "\n".join([*kept, *lines[head:]])


def _blocks(lines: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Find the lines of each member: from its head up to the next head."""
    heads = [place for place, line in enumerate(lines) if _TABLE.match(line)]
    for start, end in itertools.pairwise([*heads, len(lines)]):
        if _MEMBERS.match(lines[start]):
            yield start, end


def _name_of(block: str) -> str:
    try:
        (entry,) = tomllib.loads(block)["members"]
        mode = entry.get("mode")
        return str(entry["model"]) if mode is None else f"{entry['model']}:{mode}"
    except (ValueError, KeyError, TypeError) as error:
        raise BadRequest(f"a member is written in an unusual way ({error}): change the file by hand") from error
