"""The team that an application embeds, for asyncio: the names of `sync.Avengers`, as coroutines."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncGenerator, Sequence
from typing import TYPE_CHECKING, Self

from avengers_edge.api.embedded import Embedded
from avengers_edge.records import Answer, Ask, Event, Route

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class AsyncAvengers(Embedded):
    """A team that answers questions; an asynchronous context manager. `open` makes one.

    The work is done in threads of the team's own, so that the event loop never waits. Cancelling a task cancels its
    answer within one step. Errors are those of `Avengers`.
    """

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def answer(self, question: str, ask: Ask | None = None, *, cancel: threading.Event | None = None) -> Answer:
        """Answer a question; see `Avengers.answer`. `stream` yields what happens meanwhile.

        A task that is cancelled has no answer; with `cancel` set instead, what there is by then makes the answer.
        """
        return await asyncio.wrap_future(self._submit(question, ask, None, cancel))

    async def stream(
        self, question: str, ask: Ask | None = None, *, cancel: threading.Event | None = None
    ) -> AsyncGenerator[Event, None]:
        """Answer a question, event by event as it happens; see `Avengers.stream`."""
        loop = asyncio.get_running_loop()
        events: asyncio.Queue[Event | None] = asyncio.Queue()

        def tell(event: Event | None) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(events.put_nowait, event)

        pending = self._submit(question, ask, tell, cancel)
        pending.add_done_callback(lambda _: tell(None))
        try:
            while (event := await events.get()) is not None:
                yield event
            pending.result()  # raises what went wrong, if anything did
        finally:
            pending.cancel()

    async def route(self, question: str, *, prefer: float = 1.0) -> Route:
        """Decide who would answer; see `Avengers.route`."""
        return await asyncio.wrap_future(self._calls.start(lambda _: self._runtime.route(question, prefer=prefer)))

    async def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed texts: float32 of shape (len(texts), D), rows of length 1; see `Avengers.embed`."""
        return await asyncio.wrap_future(self._calls.start(lambda _: self._embed(texts)))

    async def warm(self) -> None:
        """Load what the next question will probably need."""
        await asyncio.wrap_future(self._calls.start(lambda _: self._runtime.warm()))

    async def close(self) -> None:
        """End the answers under way, wait for that, and free the models; see `Avengers.close`."""
        await asyncio.to_thread(self._calls.close)
