"""One turn of a chat: what was said goes in, and what happens comes out while it happens."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterator
from typing import TypeAlias

from avengers_edge.api import events
from avengers_edge.api.sync import Avengers
from avengers_edge.errors import DoesNotFit
from avengers_edge.records import Ask, Closing, Message


@dataclasses.dataclass(frozen=True, slots=True)
class Note:
    """Something the user should know before the answer."""

    text: str


Event: TypeAlias = events.Event | Note
"""What a turn tells."""


class Turns(Closing):
    """Takes turns with a team, in threads of its own, so that whoever shows them never waits without hearing.

    Args:
        avengers: who answers; closing frees it.

    """

    def __init__(self, avengers: Avengers) -> None:
        self._avengers = avengers

    def warm(self) -> None:
        """Begin to load what most turns need, and return at once: it loads while the user types."""
        self._avengers.warm()  # what goes wrong there goes wrong in the turn, and is told there

    def send(self, text: str, ask: Ask, cancel: threading.Event) -> Iterator[Event]:
        """Answer a turn; events end with `Finished`. Whoever stops listening calls it off.

        Where the conversation has outgrown the model's context, its oldest turns are left out, and a note says so.

        Args:
            text: what the user says now.
            ask: how, with what was said before in `history`.
            cancel: ends sampling; what there is by then makes the answer.

        Raises:
            AvengersError: what `Avengers.answer` raises.

        """
        history = ask.history or ()
        while True:
            try:
                yield from self._avengers.stream(text, dataclasses.replace(ask, history=history), cancel=cancel)
                return
            except DoesNotFit:
                if not history:
                    raise
                history = _without_oldest(history)
                left_out = len(ask.history or ()) - len(history)
                yield Note(f"the oldest {left_out} messages do not fit the context any more and are left out")

    def close(self) -> None:
        """End what is under way and free the team."""
        self._avengers.close()


def _without_oldest(history: tuple[Message, ...]) -> tuple[Message, ...]:
    """Drop the first message, and what answers it."""
    rest = history[1:]
    while rest and rest[0].role == "assistant":
        rest = rest[1:]
    return rest
