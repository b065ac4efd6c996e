"""One turn of a chat: what was said goes in, and what happens comes out while it happens."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import threading
from collections.abc import Iterator
from typing import TypeAlias

from avengers_edge.api.sync import Avengers
from avengers_edge.errors import ContextFull
from avengers_edge.records import Ask, Closing, Event, Finished, Loading, Message, Routed, Token


@dataclasses.dataclass(frozen=True, slots=True)
class Note:
    """Something the user should know before the answer."""

    text: str


TurnEvent: TypeAlias = Event | Note

_SHARE = 8


class Turns(Closing):
    """Takes turns with a team, in threads of its own, so that whoever shows them never waits without hearing.

    Args:
        avengers: who answers; closing frees it.

    """

    def __init__(self, avengers: Avengers) -> None:
        self._avengers = avengers
        self._said: tuple[Message, ...] = ()  # by the end of the last turn's question
        self._left_out = 0  # of these, the oldest

    def warm(self) -> None:
        """Begin to load what most turns need, and return at once: it loads while the user types."""
        self._avengers.warm()  # what goes wrong there goes wrong in the turn, and is told there

    def send(self, text: str, ask: Ask, cancel: threading.Event) -> Iterator[TurnEvent]:
        """Answer a turn; events end with `Finished`. Whoever stops listening calls it off.

        Where the conversation has outgrown the model's context, its oldest turns are left out, in the turns to come
        too, and a note says so once.

        Args:
            text: what the user says now.
            ask: how, with what was said before in `history`.
            cancel: ends sampling; what there is by then makes the answer.

        Raises:
            AvengersError: what `Avengers.answer` raises.

        """
        history = ask.history or ()
        said = (*history, Message("user", text))
        left_out = known = self._left_out if said[: len(self._said)] == self._said else 0
        while True:
            asked = dataclasses.replace(ask, history=history[left_out:])
            try:
                with contextlib.closing(self._avengers.stream(text, asked, cancel=cancel)) as told:
                    for event in told:
                        if _is_of_answer(event):  # so all of it fits
                            self._said, self._left_out = said, left_out
                            if left_out and not known:
                                known = left_out
                                yield Note(
                                    f"the oldest {left_out} messages do not fit the context any more: they are left "
                                    "out, and further ones as the chat goes on"
                                )
                        yield event
                return
            except ContextFull:
                if left_out == len(history):
                    raise
                left_out += _count_oldest(history[left_out:])

    def close(self) -> None:
        """End what is under way, a load too, and free the team.

        A model that loads in this process (`worker = false`), and the embedder, are waited for: nothing can end them.
        """
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
    another message than the one before, so that nothing of it was still in the KV cache.
    """
    lengths = list(itertools.accumulate(len(message.content) for message in history))
    ends = [place for place, message in enumerate(history) if message.role == "user" and place] + [len(history)]
    return max(end for end in ends if end == ends[0] or lengths[end - 1] <= lengths[-1] // _SHARE)
