"""What is under way for whoever embeds a team: in his threads or in ours, until it is closed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from avengers_edge.errors import AvengersError, BadRequest
from avengers_edge.records import Closing, Recall

_T = TypeVar("_T")
_E = TypeVar("_E")

_WIDTH = 32
"""Calls beside each other in threads of our own; further ones wait."""
_PATIENCE = 10.0
"""Seconds that closing waits for what was called off: a step takes far less, to load a model in this process more."""


class Pending(Future[_T]):
    """A result under way: `result` waits for it, `add_done_callback` hears of it (in a thread of the team's own)."""

    def __init__(self, off: threading.Event, check_waiting: Callable[[], None]) -> None:
        super().__init__()
        self._off, self._check_waiting = off, check_waiting

    def result(self, timeout: float | None = None) -> _T:
        """Wait for it, at most `timeout` seconds; then as `concurrent.futures.Future` does.

        Raises:
            BadRequest: it is waited for in a callback that the engine waits for.

        """
        if not self.done():
            self._check_waiting()
        return super().result(timeout)

    def cancel(self) -> bool:
        """Call it off; False where it has ended already.

        An answer ends within one step. What there is of it by then is the result; where no sample had begun, the
        result is the error `Cancelled`. A model that is being loaded is waited for.
        """
        self._off.set()
        return not self.done()


class Calls(Closing):
    """Calls under way, each with the event that calls it off; closing calls all of them off.

    Args:
        free: frees what they use; called when they have ended.
        hasten: ends what they wait for and their events do not call off; called when all are called off.

    """

    def __init__(self, free: Callable[[], None], hasten: Callable[[], None] = lambda: None) -> None:
        self._free, self._hasten = free, hasten
        self._here = threading.local()
        self._threads = ThreadPoolExecutor(_WIDTH, "avengers", self._enter_callback)
        self._changed = threading.Condition()
        self._open: set[threading.Event] = set()
        self._closed = False

    def run(self, work: Callable[[threading.Event], _T], cancel: threading.Event | None = None) -> _T:
        """Do something in this thread.

        Args:
            work: gets the event that calls it off.
            cancel: calls it off, too.

        Raises:
            AvengersError: this is closed, or whatever the work raises.

        """
        off = self._begin(cancel)
        try:
            return work(off)
        finally:
            self._end(off)

    def start(self, work: Callable[[threading.Event], _T], cancel: threading.Event | None = None) -> Pending[_T]:
        """Do something in a thread of our own; see `run`."""
        off = self._begin(cancel)
        pending: Pending[_T] = Pending(off, self.check_waiting)

        def settle() -> None:
            try:
                result = work(off)
            except BaseException as error:  # it is the caller's, never this thread's
                self._end(off)
                pending.set_exception(error)
            else:
                self._end(off)
                pending.set_result(result)

        try:
            self._threads.submit(settle)
        except BaseException:
            self._end(off)
            raise
        return pending

    def telling(self, tell: Callable[[_E], None]) -> Callable[[_E], None]:
        """Mark what a caller gave us to be called, so that we know when it calls us, and in a thread of the engine."""
        own = threading.get_ident()

        def marked(event: _E) -> None:
            before = self._in_callback, self._in_engine
            self._here.in_callback, self._here.in_engine = True, threading.get_ident() != own
            try:
                tell(event)
            finally:
                self._here.in_callback, self._here.in_engine = before

        return marked

    def check_waiting(self) -> None:
        """Refuse to wait for an answer in a thread that has to make it.

        Raises:
            BadRequest: the engine waits for the callback that this is called from.

        """
        if self._in_engine:
            raise BadRequest("a callback cannot wait for the engine that calls it: ask from another thread")

    def close(self) -> None:
        """Call off whatever is under way, wait for its end, free what it used.

        Raises:
            BadRequest: a callback closes what waits for that callback.

        """
        if self._in_callback:
            raise BadRequest("a callback cannot close the team that calls it: let another thread do it")
        with self._changed:
            self._closed = True
            under_way = tuple(self._open)
        for off in under_way:
            off.set()
        self._hasten()
        with self._changed:
            quiet = self._changed.wait_for(lambda: not self._open, _PATIENCE)
        self._free()
        self._threads.shutdown(wait=quiet)

    @property
    def _in_callback(self) -> bool:
        return getattr(self._here, "in_callback", False)

    @property
    def _in_engine(self) -> bool:
        return getattr(self._here, "in_engine", False)

    def _enter_callback(self) -> None:
        self._here.in_callback = True

    def _begin(self, cancel: threading.Event | None) -> threading.Event:
        off = Recall() if cancel is None else _Either(cancel)
        with self._changed:
            if self._closed:
                raise AvengersError("this team was closed: open it again")
            self._open.add(off)
        return off

    def _end(self, off: threading.Event) -> None:
        with self._changed:
            self._open.discard(off)
            self._changed.notify_all()


class _Either(threading.Event):
    """Set by itself or with another one, which stays as it is: several calls may share that."""

    def __init__(self, other: threading.Event) -> None:
        super().__init__()
        self._other = other

    def is_set(self) -> bool:
        return super().is_set() or self._other.is_set()
