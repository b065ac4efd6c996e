"""Admission and execution of blocking work: a bounded number at once, a bounded queue, and cancellation."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, Generic, TypeVar

from starlette.types import Receive

from avengers_edge.records import CancelToken
from avengers_edge.server.problems import Problem

_T = TypeVar("_T")


class RequestHandle(Generic[_T]):
    """Submitted work, for the event loop's thread; the work itself watches `cancel` and may emit events.

    `refusal` is why its client gets no result, once that is known; `over` is set when there is nothing to wait for.
    """

    def __init__(self) -> None:
        self.cancel = CancelToken()
        self.refusal: Problem | None = None
        self.over = asyncio.Event()
        self.future: concurrent.futures.Future[_T] | None = None
        self._loop = asyncio.get_running_loop()
        self._events: asyncio.Queue[Any] = asyncio.Queue()

    def abort(self, why: Problem) -> None:
        """Cancel the work; the first reason counts."""
        if self.refusal is None and not self.over.is_set():
            self.refusal = why
            self.cancel.set()
            self.end()

    def end(self) -> None:
        """End the wait for a result and for events."""
        self.over.set()
        self._events.put_nowait(None)

    async def result(self) -> _T:
        """Wait for the result; raises the reason of `abort`, or whatever the work raised."""
        await self.over.wait()
        if self.refusal is not None:
            raise self.refusal
        assert self.future is not None
        return self.future.result()

    def emit(self, event: object) -> None:
        """Add an event, from any thread, without waiting."""
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._events.put_nowait, event)

    async def events(self, seconds: float) -> list[Any] | None:
        """Return the events since the last call, at least one; [] after so many seconds without, None at the end.

        An end that comes with the last events is returned at the next call.
        """
        try:
            async with asyncio.timeout(seconds):
                event = await self._events.get()
        except TimeoutError:
            return []
        events = []
        while event is not None:
            events.append(event)
            if self._events.empty():
                return events
            event = self._events.get_nowait()
        self._events.put_nowait(None)
        return events or None


class RequestExecutor:
    """Runs `width` requests at once in threads, for one event loop; `queue` more wait, and `seconds` are for both."""

    def __init__(self, name: str, width: int, queue: int, seconds: float) -> None:
        self._width, self._queue, self._seconds = width, queue, seconds
        self._threads = concurrent.futures.ThreadPoolExecutor(width, name)
        self._handles: set[RequestHandle[Any]] = set()
        self._admitted = 0
        self._mean = 1.0  # seconds a request took lately
        self._closing = False

    @property
    def running(self) -> int:
        """How many requests run."""
        return min(self._admitted, self._width)

    @property
    def waiting(self) -> int:
        """How many requests wait."""
        return max(0, self._admitted - self._width)

    def require_capacity(self) -> None:
        """Refuse with 503 what could not be admitted now: before its body is read, too."""
        if self._closing:
            complaint = "the server is shutting down: try again later"
            raise Problem(503, complaint, code="shutting_down", headers={"Retry-After": "10"})
        if self._admitted >= self._width + self._queue:
            seconds = max(1, min(60, round(self._mean * self._admitted / self._width)))
            complaint = f"{self._admitted} requests are under way or waiting: try again in {seconds} s"
            raise Problem(503, complaint, code="overloaded", headers={"Retry-After": str(seconds)})

    @contextlib.asynccontextmanager
    async def submit(
        self, function: Callable[[RequestHandle[_T]], _T], receive: Receive
    ) -> AsyncIterator[RequestHandle[_T]]:
        """Run a function in a thread; it is cancelled when the client leaves or the block is left."""
        self.require_capacity()
        handle, began, loop = RequestHandle[_T](), time.monotonic(), asyncio.get_running_loop()
        try:
            future = self._threads.submit(function, handle)
        except BaseException:  # no thread could be started; others may still find the work in their queue
            handle.cancel.set()
            raise
        handle.future = future
        self._admitted += 1
        self._handles.add(handle)

        def settle() -> None:
            self._admitted -= 1
            self._mean += 0.1 * (time.monotonic() - began - self._mean)
            handle.end()

        def settled(_: object) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(settle)

        future.add_done_callback(settled)
        slow = Problem(504, f"the answer took longer than {self._seconds:g} s: ask for less", code="timeout")
        timer = loop.call_later(self._seconds, handle.abort, slow)
        watch = asyncio.create_task(_abort_when_left(receive, handle))
        try:
            yield handle
        finally:
            timer.cancel()
            watch.cancel()
            self._handles.discard(handle)
            handle.cancel.set()
            future.cancel()  # it may not have begun
            handle.future = None  # whose callback refers to the handle: only a full collection would free such a pair

    async def run(self, function: Callable[[CancelToken], _T], receive: Receive) -> _T:
        """Run a function and wait for its result; what is raised is that of `submit` and `RequestHandle.result`."""
        async with self.submit(lambda handle: function(handle.cancel), receive) as handle:
            return await handle.result()

    def stop_admission(self) -> None:
        """Admit nothing any more; what is under way goes on."""
        self._closing = True

    def cancel_all(self) -> None:
        """Abort whatever is under way, with a reason for its clients."""
        for handle in list(self._handles):
            handle.abort(Problem(503, "the server is shutting down: ask again later", code="shutting_down"))

    def close(self) -> None:
        """Begin nothing any more; threads end when their work does."""
        self._threads.shutdown(wait=False, cancel_futures=True)


async def _abort_when_left(receive: Receive, handle: RequestHandle[_T]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    handle.abort(Problem(499, "the client left before the answer was there", code="cancelled"))
