"""A request under way: where its result will be, and how to call it off."""

from __future__ import annotations

import concurrent.futures
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeVar

from avengers_edge.errors import BadRequest
from avengers_edge.records import Completion, Generation, OnFinish, OnToken, Recall, Request

_T = TypeVar("_T")
_GLANCE_SECONDS, _LONG_GLANCE_SECONDS = 0.02, 0.5


class Ticket:
    """A request that was handed in. `future` gets its generation or its error; `server` is the thread that makes it."""

    def __init__(self, call_off: Callable[[], None], server: threading.Thread | None = None) -> None:
        self.future: concurrent.futures.Future[Generation] = concurrent.futures.Future()
        self.future.set_running_or_notify_cancel()  # it ends with what there is, never with nothing
        self._call_off, self._server = call_off, server

    def cancel(self) -> None:
        """Ask for an end within one step; `result` then gives what there is."""
        self._call_off()

    def result(self, cancel: threading.Event | None = None) -> Generation:
        """Wait for the end; on `cancel` or Ctrl-C the request is called off first.

        Raises:
            BadRequest: it is asked for from a callback, which the engine waits for.
            AvengersError: whatever ended the request early.

        """
        refuse_waiting_on(self._server)
        try:
            if isinstance(cancel, Recall):
                with cancel.calling(self.cancel):
                    return wait_for(self.future)
            while cancel and not self.future.done():
                if cancel.is_set():
                    self.cancel()
                    break
                concurrent.futures.wait([self.future], _GLANCE_SECONDS)
            return wait_for(self.future)
        except KeyboardInterrupt:
            self.cancel()
            raise


def wait_for(future: concurrent.futures.Future[_T]) -> _T:
    """Wait for a result; the thread that hears Ctrl-C does so in glances, since on Windows it could not be woken."""
    if threading.current_thread() is threading.main_thread():
        while not future.done():
            concurrent.futures.wait([future], _LONG_GLANCE_SECONDS)
    return future.result()


def refuse_waiting_on(server: threading.Thread | None) -> None:
    """Refuse to let an engine's own thread wait for that engine.

    Raises:
        BadRequest: the current thread is the engine's.

    """
    if server is threading.current_thread():
        raise BadRequest("a callback cannot wait for the engine that calls it: ask from another thread")


class Accepting(Protocol):
    """An engine that takes a request without waiting for its end."""

    def submit(self, request: Request, *, on_finish: OnFinish | None = None, on_token: OnToken | None = None) -> Ticket:
        """Hand a request in."""


def generate(
    engine: Accepting,
    server: threading.Thread,
    request: Request,
    *,
    on_finish: OnFinish | None,
    on_token: OnToken | None,
    cancel: threading.Event | None,
) -> Generation:
    """Sample one request of an engine whose callbacks run on the thread `server`; see `records.Engine`."""
    refuse_waiting_on(server)  # before it is under way
    return engine.submit(request, on_finish=on_finish, on_token=on_token).result(cancel)


def generate_many(
    engine: Accepting,
    requests: Iterable[Request],
    *,
    in_flight: int = 64,
    on_finish: Callable[[int, Completion], int] | None = None,
) -> Iterator[tuple[int, Generation]]:
    """Sample many requests in one batch; yield each one's place in the order and result as it ends.

    Requests are drawn as room comes free. Leaving the iteration early calls the others off.

    Raises:
        AvengersError: whatever ended a request early.

    """
    places: dict[concurrent.futures.Future[Generation], tuple[int, Ticket]] = {}
    incoming = enumerate(requests)

    def refill() -> None:
        while len(places) < in_flight and (upcoming := next(incoming, None)):
            place, request = upcoming
            heard = None if on_finish is None else (lambda done, place=place: on_finish(place, done))
            ticket = engine.submit(request, on_finish=heard)
            places[ticket.future] = place, ticket

    refill()
    try:
        while places:
            done, _ = concurrent.futures.wait(places, _LONG_GLANCE_SECONDS, concurrent.futures.FIRST_COMPLETED)
            for future in sorted(done, key=lambda future: places[future][0]):
                place, _ticket = places.pop(future)
                refill()
                yield place, future.result()
    finally:
        for _place, ticket in places.values():
            ticket.cancel()
