"""The catalog and the store of this session, and how far long work on them is."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from avengers_edge._util.text import human_bytes
from avengers_edge.cli.session import Session
from avengers_edge.cli.terminal import StatusLine, human_seconds

if TYPE_CHECKING:
    from avengers_edge.library.catalog import Catalog
    from avengers_edge.library.download import PullProgress
    from avengers_edge.library.store import Store


def open_library(session: Session) -> tuple[Catalog, Store]:
    """Open the catalog and the store of the session's home folder."""
    from avengers_edge.library.catalog import Catalog
    from avengers_edge.library.store import Store

    settings = session.settings()
    return Catalog.of(settings), Store(settings.home)


class PullDisplay:
    """Turns a pull's progress into the status line, with an estimate; `headline` is said once, when it begins."""

    def __init__(self, status: StatusLine, headline: str | None) -> None:
        self._status = status
        self._headline = headline
        self._first: tuple[float, int] | None = None

    def progress(self, progress: PullProgress) -> None:
        """Hear how far a pull has come."""
        at, done, total = time.monotonic(), progress.done_bytes, progress.total_bytes
        if self._first is None and self._headline is not None:
            click.echo(self._headline, err=True)
        if self._first is None or not total:  # the pace of what has an end is not that of what came before
            self._first = (at, done)
        text = f"{progress.model}: {progress.step}, {human_bytes(done)}"
        if total:
            text += f" of {human_bytes(total)}"
            rate = (done - self._first[1]) / max(at - self._first[0], 1e-3)
            if rate > 0 and done < total:
                text += f", about {human_seconds((total - done) / rate)} left"
        self._status.show(text)
