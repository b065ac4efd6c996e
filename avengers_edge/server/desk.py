"""Takes blocking work from the event loop: so much beside each other, so much in a queue, and no more."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Generic, TypeAlias, TypeVar

from avengers_edge.records import CancelToken
from avengers_edge.server.problems import Problem

_T = TypeVar("_T")
Wait: TypeAlias = Callable[[], Awaitable[None]]
"""Returns when the client has gone."""


class Call:
    """One piece of work: how it is called off, and why it was.

    `cancel` is what the runtime watches. `ended` is why the client gets no result, once it is known.
    """

    def __init__(self) -> None:
        self.cancel = CancelToken()
        self.ended: Problem | None = None
        self.over = asyncio.Event()

    def end(self, why: Problem) -> None:
        """Call it off; the first reason counts. For the event loop's thread only."""
        if self.ended is None and not self.over.is_set():
            self.ended = why
            self.cancel.set()
            self.over.set()


class Desk:
    """Runs work in threads; for one event loop.

    Args:
        width: how much is done beside each other.
        queue: how much may wait for that.
        seconds: how long a piece may take, waiting included.

    """

    def __init__(self, name: str, width: int, queue: int, seconds: float) -> None:
        self._width, self._queue, self._seconds = width, queue, seconds
        self._threads = concurrent.futures.ThreadPoolExecutor(width, name)
        self._calls: set[Call] = set()
        self._taken = 0
        self._mean = 1.0  # seconds a piece took lately
        self._closing = False

    @property
    def running(self) -> int:
        """How much is being done."""
        return min(self._taken, self._width)

    @property
    def waiting(self) -> int:
        """How much waits."""
        return max(0, self._taken - self._width)

    def require_room(self) -> None:
        """Refuse what could not be handed in now: before it is read, too.

        Raises:
            Problem: 503, there is too much already, or the server goes down.

        """
        if self._closing:
            complaint = "the server is shutting down: try again later"
            raise Problem(503, complaint, code="shutting_down", headers={"Retry-After": "10"})
        if self._taken >= self._width + self._queue:
            seconds = max(1, min(60, round(self._mean * self._taken / self._width)))
            complaint = f"{self._taken} requests are under way or waiting: try again in {seconds} s"
            raise Problem(503, complaint, code="overloaded", headers={"Retry-After": str(seconds)})

    @contextlib.asynccontextmanager
    async def work(self, function: Callable[[Call], _T], gone: Wait) -> AsyncIterator[Job[_T]]:
        """Hand work in; it is called off when the block is left, by whichever way.

        Args:
            function: runs in a thread and heeds its call's `cancel`.
            gone: returns when the client has gone, which calls the work off.

        Raises:
            Problem: 503, there is too much already, or the server goes down.

        """
        self.require_room()
        call, began, loop = Call(), time.monotonic(), asyncio.get_running_loop()
        try:
            future = self._threads.submit(function, call)
        except BaseException:  # no thread could be started; others may still find the work in their queue
            call.cancel.set()
            raise
        self._taken += 1
        self._calls.add(call)

        def settle() -> None:
            self._taken -= 1
            self._mean += 0.1 * (time.monotonic() - began - self._mean)
            call.over.set()

        def settled(_: object) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(settle)

        future.add_done_callback(settled)
        slow = Problem(504, f"the answer took longer than {self._seconds:g} s: ask for less", code="timeout")
        timer = loop.call_later(self._seconds, call.end, slow)
        watch = asyncio.create_task(_end_when(gone, call))
        try:
            yield Job(call, future)
        finally:
            timer.cancel()
            watch.cancel()
            self._calls.discard(call)
            call.cancel.set()
            future.cancel()  # it may not have begun

    def refuse_more(self) -> None:
        """Let what is under way go on, and take nothing new."""
        self._closing = True

    def end_all(self) -> None:
        """Call off whatever is under way; its clients are told."""
        for call in list(self._calls):
            call.end(Problem(503, "the server is shutting down: ask again later", code="shutting_down"))

    def close(self) -> None:
        """Begin nothing any more; threads end when their work does."""
        self._threads.shutdown(wait=False, cancel_futures=True)


class Channel(Generic[_T]):
    """Carries what a thread tells to the event loop, until the work is over."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._queue: asyncio.Queue[_T | None] = asyncio.Queue()

    def tell(self, event: _T) -> None:
        """Say something, from any thread; it does not wait."""
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._queue.put_nowait, event)

    async def hear(self, seconds: float) -> list[_T] | None:
        """Give what was told since, at least one thing; [] after so many seconds of silence, None at the end.

        An end that comes with the last words is told at the next call.
        """
        try:
            async with asyncio.timeout(seconds):
                event = await self._queue.get()
        except TimeoutError:
            return []
        heard: list[_T] = []
        while event is not None:
            heard.append(event)
            if self._queue.empty():
                return heard
            event = self._queue.get_nowait()
        self._queue.put_nowait(None)
        return heard or None

    async def close_after(self, call: Call) -> None:
        """Tell the listener when there will be nothing more."""
        await call.over.wait()
        self._queue.put_nowait(None)


class Job(Generic[_T]):
    """Work under way."""

    def __init__(self, call: Call, future: concurrent.futures.Future[_T]) -> None:
        self.call, self._future = call, future

    async def result(self) -> _T:
        """Wait for its end.

        Raises:
            Problem: it was called off.
            AvengersError: whatever the work raised.

        """
        await self.call.over.wait()
        if self.call.ended is not None:
            raise self.call.ended
        return self._future.result()


async def _end_when(gone: Wait, call: Call) -> None:
    await gone()
    call.end(Problem(499, "the client left before the answer was there", code="cancelled"))
