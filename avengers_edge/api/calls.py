"""The calls under way on an embedded team, in its caller's threads or in its own, until it is closed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from avengers_edge.errors import AvengersError, BadRequest
from avengers_edge.records import CancelToken, Closing

_T = TypeVar("_T")
_E = TypeVar("_E")

_WIDTH = 32
"""Calls beside each other in threads of our own; further ones wait."""
_PATIENCE = 10.0
"""Seconds that closing waits for what was called off: a step takes far less, to load a model in this process more."""


class Pending(Future[_T]):
    """A result under way: `result` waits for it; callbacks of `add_done_callback` run in a thread of the team's own."""

    def __init__(self, cancel: CancelToken) -> None:
        super().__init__()
        self._cancel_token = cancel
        self._thread: int | None = None

    def result(self, timeout: float | None = None) -> _T:
        """Wait for it, at most `timeout` seconds; then as `concurrent.futures.Future` does.

        Raises:
            BadRequest: it is waited for in a callback of its own, which its thread waits for.

        """
        if not self.done() and self._thread == threading.get_ident():
            raise BadRequest("a callback cannot wait for the answer that it is told of: take it from the last event")
        return super().result(timeout)

    def cancel(self) -> bool:
        """Call it off; False where it has ended already.

        An answer ends within one step. What there is of it by then is the result; where no sample had begun, the
        result is the error `Cancelled`. A model that is being loaded is waited for.
        """
        self._cancel_token.set()
        return not self.done()


class Calls(Closing):
    """Calls under way, each with its cancel token; closing cancels all of them.

    Args:
        free: frees what they use; called when they have ended.
        hasten: ends what they wait for and their tokens do not cancel; called when all are cancelled.

    """

    def __init__(self, free: Callable[[], None], hasten: Callable[[], None] = lambda: None) -> None:
        self._free, self._hasten = free, hasten
        self._here = threading.local()
        self._threads = ThreadPoolExecutor(_WIDTH, "avengers", self._enter_callback)
        self._changed = threading.Condition()
        self._open: set[CancelToken] = set()
        self._closed = False

    def run(self, work: Callable[[CancelToken], _T], cancel: threading.Event | None = None) -> _T:
        """Do something in this thread.

        Args:
            work: gets its cancel token.
            cancel: cancels it, too.

        Raises:
            AvengersError: this is closed, or whatever the work raises.

        """
        token = self._begin(cancel)
        try:
            return work(token)
        finally:
            self._end(token)

    def start(self, work: Callable[[CancelToken], _T], cancel: threading.Event | None = None) -> Pending[_T]:
        """Do something in a thread of the team's own; see `run`."""
        token = self._begin(cancel)
        pending: Pending[_T] = Pending(token)

        def settle() -> None:
            pending._thread = threading.get_ident()
            try:
                result = work(token)
            except BaseException as error:  # it is the caller's, never this thread's
                self._end(token)
                pending.set_exception(error)
            else:
                self._end(token)
                pending.set_result(result)

        try:
            self._threads.submit(settle)
        except BaseException:
            self._end(token)
            raise
        return pending

    def marked(self, callback: Callable[[_E], None]) -> Callable[[_E], None]:
        """Mark a caller's callback, so that closing from within it can be refused."""

        def call(event: _E) -> None:
            before, self._here.in_callback = self._in_callback, True
            try:
                callback(event)
            finally:
                self._here.in_callback = before

        return call

    def close(self) -> None:
        """Cancel whatever is under way, wait for its end, free what it used.

        Raises:
            BadRequest: a callback closes what waits for that callback.

        """
        if self._in_callback:
            raise BadRequest("a callback cannot close the team that calls it: let another thread do it")
        with self._changed:
            self._closed = True
            under_way = tuple(self._open)
        for token in under_way:
            token.set()
        self._hasten()
        with self._changed:
            quiet = self._changed.wait_for(lambda: not self._open, _PATIENCE)
        self._free()
        self._threads.shutdown(wait=quiet)

    @property
    def _in_callback(self) -> bool:
        return getattr(self._here, "in_callback", False)

    def _enter_callback(self) -> None:
        self._here.in_callback = True

    def _begin(self, cancel: threading.Event | None) -> CancelToken:
        token = CancelToken(cancel)
        with self._changed:
            if self._closed:
                raise AvengersError("this team was closed: open it again")
            self._open.add(token)
        return token

    def _end(self, token: CancelToken) -> None:
        with self._changed:
            self._open.discard(token)
            self._changed.notify_all()
