"""What `doctor` finds, and how a check that fails is a finding too."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

from avengers_edge.errors import AvengersError


@dataclasses.dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    `remedy` mends what keeps asking from working, None where all is well; `advice` would make it work better.
    """

    what: str
    found: str
    remedy: str | None = None
    advice: str | None = None


Check = Callable[[], Iterator[Finding]]


def attempt(check: Check) -> list[Finding]:
    """Run a check; what goes wrong in it is its finding."""
    findings = []
    try:
        for finding in check():
            findings.append(finding)  # noqa: PERF402 - what was found before the failure counts
    except AvengersError as error:
        findings.append(Finding("problem", type(error).__name__, str(error)))
    except (ImportError, OSError) as error:
        findings.append(Finding("problem", f"{type(error).__name__}: {error}", _remedy(error)))
    return findings


def _remedy(error: ImportError | OSError) -> str:
    if isinstance(error, ImportError) or error.errno is None:  # a library that is there and cannot be loaded
        return "install avengers-edge again"
    place = error.filename or "the home folder"
    return f"mend the rights of {place}, or the disk that it is on"
