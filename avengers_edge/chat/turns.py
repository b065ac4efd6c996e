"""One turn of a chat: what was said goes in, and what happens comes out while it happens."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import queue
import threading
from collections.abc import Callable, Iterator
from typing import TypeAlias

from avengers_edge.election import Progress
from avengers_edge.errors import DoesNotFit
from avengers_edge.records import Answer, Ask, Closing, Message
from avengers_edge.runtime import Avengers


@dataclasses.dataclass(frozen=True, slots=True)
class TextPiece:
    """The next piece of an answer that is not voted on."""

    text: str


@dataclasses.dataclass(frozen=True, slots=True)
class Note:
    """Something the user should know before the answer."""

    text: str


@dataclasses.dataclass(frozen=True, slots=True)
class Answered:
    """The turn's end."""

    answer: Answer


Event: TypeAlias = TextPiece | Progress | Note | Answered
"""What a turn tells; `Progress` while there is a vote."""


class Turns(Closing):
    """Takes turns with a team, in a thread of its own, so that whoever shows them never waits without hearing.

    Args:
        avengers: who answers; closing frees it.

    """

    def __init__(self, avengers: Avengers) -> None:
        self._avengers = avengers
        self._thread = concurrent.futures.ThreadPoolExecutor(1, "turns")

    def warm(self) -> None:
        """Begin to load what most turns need, and return at once: it loads while the user types."""
        self._thread.submit(self._avengers.warm)  # what goes wrong there goes wrong in the turn, and is told there

    def send(self, text: str, ask: Ask, cancel: threading.Event) -> Iterator[Event]:
        """Answer a turn; events end with `Answered`.

        Where the conversation has outgrown the model's context, its oldest turns are left out, and a note says so.

        Args:
            text: what the user says now.
            ask: how, with what was said before in `history`.
            cancel: ends sampling; what there is by then makes the answer.

        Raises:
            AvengersError: what `Avengers.answer` raises.

        """
        events: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        future = self._thread.submit(self._answer, text, ask, cancel, events.put)
        future.add_done_callback(lambda _: events.put(None))
        try:
            while (event := events.get()) is not None:
                yield event
        except GeneratorExit:  # whoever listened has gone
            cancel.set()
            raise
        yield Answered(future.result())

    def _answer(self, text: str, ask: Ask, cancel: threading.Event, tell: Callable[[Event], None]) -> Answer:
        history, left_out = ask.history or (), 0
        while True:
            display = _Telling(tell)
            try:
                return self._avengers.answer(
                    text,
                    dataclasses.replace(ask, history=history),
                    on_progress=display.progress,
                    on_token=display.token,
                    cancel=cancel,
                )
            except DoesNotFit:
                if not history:
                    raise
                history = _without_oldest(history)
                left_out = len(ask.history or ()) - len(history)
                tell(Note(f"the oldest {left_out} messages do not fit the context any more and are left out"))

    def close(self) -> None:
        """Wait for the thread and free the team."""
        self._thread.shutdown(cancel_futures=True)
        self._avengers.close()


class _Telling:
    """Turns the runtime's callbacks into events: pieces of a single sample, the count of a vote."""

    def __init__(self, tell: Callable[[Event], None]) -> None:
        self._tell, self._voting = tell, False

    def progress(self, progress: Progress) -> None:
        self._voting = progress.samples > 1
        if self._voting:
            self._tell(progress)

    def token(self, index: int, piece: str) -> None:
        if not self._voting and index == 0:
            self._tell(TextPiece(piece))


def _without_oldest(history: tuple[Message, ...]) -> tuple[Message, ...]:
    """Drop the first message, and what answers it."""
    rest = history[1:]
    while rest and rest[0].role == "assistant":
        rest = rest[1:]
    return rest
