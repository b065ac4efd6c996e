"""A request under way: where its result will be, and how to call it off."""

from __future__ import annotations

import concurrent.futures
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from avengers_edge.records import Completion, Generation, OnFinish, OnToken, Request

_GLANCE_SECONDS = 0.02


class Ticket:
    """A request that was handed in. `future` gets its generation or its error."""

    def __init__(self, call_off: Callable[[], None]) -> None:
        self.future: concurrent.futures.Future[Generation] = concurrent.futures.Future()
        self.future.set_running_or_notify_cancel()  # it ends with what there is, never with nothing
        self._call_off = call_off

    def cancel(self) -> None:
        """Ask for an end within one step; `result` then gives what there is."""
        self._call_off()

    def result(self, cancel: threading.Event | None = None) -> Generation:
        """Wait for the end; on `cancel` or Ctrl-C the request is called off first.

        Raises:
            AvengersError: whatever ended the request early.

        """
        try:
            while True:
                try:
                    # A wait without an end could not be interrupted on Windows.
                    return self.future.result(timeout=_GLANCE_SECONDS if cancel else 0.5)
                except concurrent.futures.TimeoutError:
                    if self.future.done():
                        raise
                    if cancel and cancel.is_set():
                        self.cancel()
                        cancel = None
        except KeyboardInterrupt:
            self.cancel()
            raise


class Accepting(Protocol):
    """An engine that takes a request without waiting for its end."""

    def submit(self, request: Request, *, on_finish: OnFinish | None = None, on_token: OnToken | None = None) -> Ticket:
        """Hand a request in."""


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
            done, _ = concurrent.futures.wait(places, return_when=concurrent.futures.FIRST_COMPLETED)
            for future in sorted(done, key=lambda future: places[future][0]):
                place, _ticket = places.pop(future)
                refill()
                yield place, future.result()
    finally:
        for _place, ticket in places.values():
            ticket.cancel()
