"""What the installed product needs, as the metadata of what is installed tells: names and versions, for pins."""

from __future__ import annotations

import importlib.metadata
import re

_REQUIREMENT = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:\[([^\]]*)\])?")
_EXTRA = re.compile(r"extra\s*==\s*['\"]([^'\"]+)['\"]")


def normal_name(name: str) -> str:
    """Spell a package's name as all its spellings are compared."""
    return re.sub(r"[-_.]+", "-", name).lower()


def installed_versions() -> dict[str, str]:
    """Map the name of every installed distribution, spelled for comparison, to its version."""
    versions: dict[str, str] = {}
    for each in importlib.metadata.distributions():
        if name := each.metadata["Name"]:
            versions.setdefault(normal_name(name), each.version)
    return versions


def needed_names(product: str, extras: tuple[str, ...]) -> tuple[str, ...]:
    """List what a distribution needs with some of its extras, and what that needs in turn, as far as it is installed.

    Markers are not evaluated but for extras: what another system needs is not installed here.
    """
    todo, seen = [(product, frozenset(extras))], dict.fromkeys([normal_name(product)])
    while todo:
        name, chosen = todo.pop()
        try:
            lines = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            seen.pop(normal_name(name), None)
            continue
        for line in lines:
            match, wanted = _REQUIREMENT.match(line), _EXTRA.findall(line)
            if match and (not wanted or chosen.intersection(wanted)) and normal_name(match[1]) not in seen:
                seen[normal_name(match[1])] = None
                todo.append((match[1], frozenset(re.split(r"[\s,]+", match[2] or ""))))
    seen.pop(normal_name(product), None)
    return tuple(sorted(seen))
