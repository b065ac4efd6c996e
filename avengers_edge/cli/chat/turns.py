"""The turns of a chat: answered by a team that is opened in the background, and fitted to the model's context."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import TYPE_CHECKING, TypeAlias

from avengers_edge.errors import Cancelled, ContextFull
from avengers_edge.records import Ask, Closing, Event, Finished, Loading, Message, Routed, Token

if TYPE_CHECKING:
    from avengers_edge.api.sync import Avengers

_DROPPED_SHARE = 8
_POLL_SECONDS = 0.1


@dataclasses.dataclass(frozen=True, slots=True)
class Note:
    """A line that the user should read before the answer."""

    text: str


TurnEvent: TypeAlias = Event | Note


class Turns(Closing):
    """Answers turns with a team."""

    def __init__(self, avengers: Avengers) -> None:
        self._avengers = avengers
        self._sent: tuple[Message, ...] = ()  # up to the last turn's question
        self._dropped = 0  # of these, the oldest

    def warm(self) -> None:
        """Begin to load what most turns need, and return at once; an error is raised by the turn that meets it."""
        self._avengers.warm()

    def send(self, text: str, ask: Ask, cancel: threading.Event) -> Iterator[TurnEvent]:
        """Answer a turn, with the conversation so far in `ask.history`; the last event is `Finished`.

        Where the conversation has outgrown the model's context, its oldest turns are left out, in the turns to come
        too, and a `Note` says so once. Closing the iterator, or `cancel`, ends the turn.
        """
        history = ask.history or ()
        sent = (*history, Message("user", text))
        dropped = known = self._dropped if sent[: len(self._sent)] == self._sent else 0
        while True:
            asked = dataclasses.replace(ask, history=history[dropped:])
            try:
                with contextlib.closing(self._avengers.stream(text, asked, cancel=cancel)) as events:
                    for event in events:
                        if _is_of_answer(event):  # so all of it fits
                            self._sent, self._dropped = sent, dropped
                            if dropped and not known:
                                known = dropped
                                yield Note(
                                    f"the oldest {dropped} messages do not fit the context any more: they are left "
                                    "out, and further ones as the chat goes on"
                                )
                        yield event
                return
            except ContextFull:
                if dropped == len(history):
                    raise
                dropped += _count_oldest(history[dropped:])

    def close(self) -> None:
        """Cancel what is under way, and free the team."""
        self._avengers.close()


def _is_of_answer(event: Event) -> bool:
    match event:
        case Routed() | Loading():
            return False
        case Token() | Finished():
            return True
        case _:
            return event.finished > 0


def _count_oldest(history: tuple[Message, ...]) -> int:
    """Count the messages to leave out next: the oldest turn, and further ones while they are an eighth of all text.

    With one turn at a time a long conversation would be tried again and again, and each turn to come would begin with
    another message than the one before, so that nothing of it was in the KV cache.
    """
    lengths = list(itertools.accumulate(len(message.content) for message in history))
    ends = [place for place, message in enumerate(history) if message.role == "user" and place] + [len(history)]
    return max(end for end in ends if end == ends[0] or lengths[end - 1] <= lengths[-1] // _DROPPED_SHARE)


class BackgroundTurns:
    """The turns of one team, opened in the background: opening takes longer than a prompt may."""

    def __init__(self, open_turns: Callable[[str], Turns]) -> None:
        self._open = open_turns
        self._future: Future[Turns] | None = None

    def begin(self, team: str) -> None:
        """Free what is open, and open a team in the background."""
        self.close()
        self._future = future = Future[Turns]()

        def work() -> None:
            try:
                turns = self._open(team)
                turns.warm()
                future.set_result(turns)
            except BaseException as error:
                future.set_exception(error)

        threading.Thread(target=work, name="opening", daemon=True).start()

    def get(self, team: str, cancel: threading.Event) -> Turns:
        """Wait for the turns. Where opening them failed the next call tries again; on `cancel` it goes on."""
        if self._future is None:
            self.begin(team)
        future = self._future
        assert future is not None
        while True:
            try:
                return future.result(_POLL_SECONDS)
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
