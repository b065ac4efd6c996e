"""The team that an application embeds, for threads and for loops that must not wait."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING

from avengers_edge.api.embedded import Embedded, OnEvent, Pending
from avengers_edge.records import Answer, Ask, Closing, Event, Route

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_POLL_SECONDS = 0.5


class Avengers(Embedded, Closing):
    """A team that answers questions; a context manager. `open` makes one.

    Each method can be called from any thread, and from several at once: what they ask is sampled in one batch.
    """

    def answer(
        self,
        question: str,
        ask: Ask | None = None,
        *,
        on_event: OnEvent | None = None,
        cancel: threading.Event | None = None,
    ) -> Answer:
        """Answer a question: embed, route, sample, vote. This waits for it; `submit` does not.

        Args:
            question: what is asked.
            ask: how; what it leaves open is left to the team.
            on_event: is called in this thread for each event.
            cancel: ends sampling within one step; what there is by then makes the answer.

        Raises:
            BadRequest: an empty question or a value that cannot be used.
            NotFound: the member, its model or the team's table is not there.
            VerificationFailed: a file is damaged, or table and embedder do not belong together.
            DoesNotFit: the prompt is longer than the model's context, or the model than the memory.
            EngineDied: llama.cpp failed; the next question starts it anew.
            NoSandbox: there are tests, and code cannot be run here.
            Cancelled: `cancel` was set, or the team closed, before a sample began.
            AvengersError: the team was closed before.

        """
        self._check(on_event, cancel)
        return self._calls.run(lambda token: self._answer(question, ask, on_event, token), cancel)

    def stream(
        self, question: str, ask: Ask | None = None, *, cancel: threading.Event | None = None
    ) -> Generator[Event, None, None]:
        """Answer a question, event by event as it happens; the last one is `Finished`.

        It begins when the first event is asked for, in a thread of the team's own. Closing the iterator, or holding it
        no longer, cancels the answer within one step. Errors are those of `answer`.
        """
        events: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        pending = self.submit(question, ask, on_event=events.put, cancel=cancel)
        pending.add_done_callback(lambda _: events.put(None))
        try:
            while (event := _next(events)) is not None:
                yield event
            pending.result()  # raises what went wrong, if anything did
        finally:
            pending.cancel()

    def submit(
        self,
        question: str,
        ask: Ask | None = None,
        *,
        on_event: OnEvent | None = None,
        cancel: threading.Event | None = None,
    ) -> Pending[Answer]:
        """Answer a question in a thread of the team's own, and return at once. Errors are those of `answer`.

        `on_event` and the result's callbacks are called in a thread of the team's own: let them hand on what they get,
        by a Qt signal or a queue.
        """
        return self._submit(question, ask, on_event, cancel)

    def route(self, question: str, *, prefer: float = 1.0) -> Route:
        """Decide who would answer; no language model is loaded. `prefer` is accuracy (1) against speed (0).

        Raises:
            AvengersError: the question is empty, the team's table cannot be used, or the team was closed.

        """
        return self._calls.run(lambda _: self._runtime.route(question, prefer=prefer))

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed texts with the shipped sentence embedder: float32 of shape (len(texts), D), rows of length 1.

        Raises:
            BadRequest: that is no list of texts.
            DoesNotFit: a text is longer than what the embedder can see.
            AvengersError: the team was closed.

        """
        return self._calls.run(lambda _: self._embed(texts))

    def warm(self) -> Pending[None]:
        """Begin to load what the next question will probably need, and return at once."""
        return self._calls.start(lambda _: self._runtime.warm())

    def close(self) -> None:
        """End the answers under way as `cancel` does, wait for that, and free the models.

        Raises:
            BadRequest: a callback closes the team, which waits for that callback.

        """
        self._calls.close()


def _next(events: queue.SimpleQueue[Event | None]) -> Event | None:
    """Wait for an event, polling: a wait without a timeout cannot be interrupted on Windows."""
    while True:
        with contextlib.suppress(queue.Empty):
            return events.get(timeout=_POLL_SECONDS)
