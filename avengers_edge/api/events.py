"""What is told while an answer comes about, and how the runtime's callbacks become it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from avengers_edge.election import Progress
from avengers_edge.records import Answer, Route


@dataclass(frozen=True, slots=True)
class Routed:
    """Who is asked, and why; the first event."""

    route: Route


@dataclass(frozen=True, slots=True)
class Loading:
    """A model is being loaded, which takes seconds; the first time of all it is measured as well."""

    model: str


@dataclass(frozen=True, slots=True)
class Token:
    """The next piece of an answer that is not voted on; all pieces together are its text."""

    text: str


@dataclass(frozen=True, slots=True)
class Finished:
    """The answer; the last event."""

    answer: Answer


Event: TypeAlias = Routed | Loading | Token | Progress | Finished
"""What is told, in this order; `Progress` while there is a vote, and then no `Token`: nobody knows yet who wins."""

OnEvent: TypeAlias = Callable[[Event], None]


class Telling:
    """Turns what the runtime calls back into events: pieces of a single sample, the count of a vote."""

    def __init__(self, tell: OnEvent) -> None:
        self._tell, self._voting = tell, False

    def route(self, route: Route) -> None:
        """Hear who is asked."""
        self._tell(Routed(route))

    def load(self, model: str) -> None:
        """Hear of a model that has to be loaded."""
        self._tell(Loading(model))

    def progress(self, progress: Progress) -> None:
        """Hear how many samples have ended."""
        self._voting = progress.samples > 1
        if self._voting:
            self._tell(progress)

    def token(self, index: int, piece: str) -> None:
        """Hear a piece of a sample."""
        if not self._voting and index == 0:
            self._tell(Token(piece))
