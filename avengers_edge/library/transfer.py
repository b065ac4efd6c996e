"""What every kind of source is given, tells while it works, and gives back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from avengers_edge.errors import AvengersError
from avengers_edge.library.manifests import ModelManifest
from avengers_edge.library.receipts import Expected


class SourceUnavailable(AvengersError):
    """A source that cannot be reached or lacks the file; the next one may have it."""


@dataclass(frozen=True, slots=True)
class PullProgress:
    """How far a pull is. `done_bytes` are of the model file, `total_bytes` is None where nobody knows yet.

    `step` says in a few words what is being done.
    """

    model: str
    done_bytes: int
    total_bytes: int | None
    step: str


OnProgress = Callable[[PullProgress], None]
"""Hears of a pull's progress a few times a second."""


@dataclass(frozen=True, slots=True)
class PullJob:
    """A pull as a source sees it: what is wanted, the folder to work in, and who hears of it."""

    manifest: ModelManifest
    folder: Path
    progress: OnProgress

    def say(self, step: str, done: int, total: int | None) -> None:
        """Report progress."""
        self.progress(PullProgress(self.manifest.id, done, total, step))


@dataclass(frozen=True, slots=True)
class Fetched:
    """A file that a source brought in full, not verified yet."""

    path: Path
    expected: Expected
