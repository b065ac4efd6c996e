"""What answers, opened while the user types: loading it takes longer than a prompt may."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import TYPE_CHECKING, Protocol

from avengers_edge.errors import Cancelled
from avengers_edge.records import Ask

if TYPE_CHECKING:
    from avengers_edge.chat.turns import TurnEvent

_GLANCE_SECONDS = 0.1


class Turns(Protocol):
    """Takes turns with a team; see `avengers_edge.chat.turns.Turns`."""

    def warm(self) -> None:
        """Begin to load what most turns need, and return at once."""

    def send(self, text: str, ask: Ask, cancel: threading.Event) -> Iterator[TurnEvent]:
        """Answer a turn, event by event."""

    def close(self) -> None:
        """Free what was loaded."""


class Opening:
    """The turns of one team: opened in the background when told to, and at the latest when they are needed."""

    def __init__(self, open_turns: Callable[[str], Turns]) -> None:
        self._open = open_turns
        self._future: Future[Turns] | None = None

    def begin(self, team: str) -> None:
        """Free what is open, and open a team in the background."""
        self.close()
        future: Future[Turns] = Future()

        def work() -> None:
            try:
                turns = self._open(team)
                turns.warm()
            except BaseException as error:
                future.set_exception(error)
            else:
                future.set_result(turns)

        self._future = future
        threading.Thread(target=work, name="opening", daemon=True).start()

    def get(self, team: str, cancel: threading.Event) -> Turns:
        """Wait for the turns; where opening them failed, the next call tries again.

        Raises:
            AvengersError: they cannot be opened.
            Cancelled: `cancel` was set meanwhile; they go on being opened.

        """
        if self._future is None:
            self.begin(team)
        future = self._future
        assert future is not None
        while True:
            try:
                return future.result(_GLANCE_SECONDS)
            except TimeoutError:
                if cancel.is_set():
                    raise Cancelled("stopped while the team was being opened") from None
            except BaseException:
                self._future = None
                raise

    def close(self) -> None:
        """Free what is open, or will be."""
        future, self._future = self._future, None
        if future is not None:
            future.add_done_callback(_free)


def _free(opened: Future[Turns]) -> None:
    if opened.exception() is None:
        opened.result().close()
