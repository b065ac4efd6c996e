"""Releases of other packages that are known to be bad for this product, each with the reason; and release numbers."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class KnownBad:
    """Releases of a package from `since` (None: the first) to before `until` (None: no good one is known).

    `blocks` says that asking cannot be trusted with it; otherwise it is worth knowing.
    """

    package: str
    since: str | None
    until: str | None
    reason: str
    remedy: str
    blocks: bool = True

    def meets(self, version: str) -> bool:
        """Tell whether a release is one of them."""
        return (self.since is None or at_least(version, self.since)) and not (
            self.until is not None and at_least(version, self.until)
        )


KNOWN_BAD = (
    KnownBad(
        "jinja2",
        None,
        "3.1.6",
        "a chat template could leave its sandbox (CVE-2024-56326, CVE-2025-27516)",
        "pip install 'jinja2>=3.1.6'",
    ),
    KnownBad(
        "diskcache",
        None,
        None,
        "it unpickles the files of its cache (CVE-2025-69872), of which none is ever opened here; no release mends it",
        "llama-cpp-python imports it, so tell a scanner that complains that it is not reached",
        blocks=False,
    ),
)


def at_least(version: str, least: str) -> bool:
    """Compare two releases by their numbers; 1.2rc1 counts as 1.2, and 1.2 as 1.2.0."""
    mine, other = _numbers(version), _numbers(least)
    length = max(len(mine), len(other))
    return mine + (0,) * (length - len(mine)) >= other + (0,) * (length - len(other))


def outside(requirement: str, version: str) -> str | None:
    """Give the bound of a requirement, such as `numpy<3,>=1.26`, that a release breaks; None where it breaks none."""
    specification = re.sub(r"^[A-Za-z0-9._-]+(\[[^\]]*\])?", "", requirement.partition(";")[0]).strip().strip("()")
    for bound in filter(None, (part.strip() for part in specification.split(","))):
        match = re.fullmatch(r"(>=|<=|==|!=|<|>)\s*([0-9][0-9A-Za-z.+!*-]*)", bound)
        if match is None:
            continue
        same = at_least(version, match[2]) and at_least(match[2], version)
        holds = {
            ">=": at_least(version, match[2]),
            "<": not at_least(version, match[2]),
            "<=": same or not at_least(version, match[2]),
            ">": at_least(version, match[2]) and not same,
            "==": same or match[2].endswith("*"),
            "!=": not same,
        }[match[1]]
        if not holds:
            return bound
    return None


def _numbers(version: str) -> tuple[int, ...]:
    release = re.match(r"[0-9]+(?:\.[0-9]+)*", version)
    return tuple(map(int, release.group().split("."))) if release else ()
