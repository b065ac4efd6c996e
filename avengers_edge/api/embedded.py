"""An embedded team: what it is made of, the calls under way on it, and how it is asked; its two faces share this."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Self, TypeAlias, TypeVar

from avengers_edge.config import Settings, load_settings
from avengers_edge.errors import AvengersError, BadRequest, Cancelled
from avengers_edge.opening import open_sentence_embedder
from avengers_edge.records import Answer, Ask, CancelToken, Closing, Event, Finished, Lazy, Token, Vectors
from avengers_edge.records.basics import require, require_text
from avengers_edge.routing.features import FeatureEmbedder, count_within_limit
from avengers_edge.runtime import Avengers as Runtime

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

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
    """Calls under way on a runtime, each with its cancel token; closing cancels all of them and closes the runtime."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._here = threading.local()
        self._threads = ThreadPoolExecutor(_WIDTH, "avengers", lambda: setattr(self._here, "in_callback", True))
        self._changed = threading.Condition()
        self._open: set[CancelToken] = set()
        self._closed = False

    def run(self, work: Callable[[CancelToken], _T], cancel: threading.Event | None = None) -> _T:
        """Do something in this thread, with a token that `cancel` cancels too; refused after closing."""
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
                try:
                    result = work(token)
                finally:
                    self._end(token)
            except BaseException as error:  # it is the caller's, never this thread's
                pending.set_exception(error)
            else:
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
        self._runtime.stop_loading()
        with self._changed:
            quiet = self._changed.wait_for(lambda: not self._open, _PATIENCE)
        self._runtime.close()
        self._threads.shutdown(wait=quiet)

    @property
    def _in_callback(self) -> bool:
        return getattr(self._here, "in_callback", False)

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


OnEvent: TypeAlias = Callable[[Event], None]
"""Called for each event of an answer, in the order of `records.events`; no `Token` of a sample that is voted on."""


class Embedded:
    """A runtime, which closing frees, its sentence embedder, opened at its first use, and the calls under way."""

    def __init__(self, runtime: Runtime, vectors: Callable[[], Vectors]) -> None:
        self._runtime, self._vectors = runtime, vectors
        self._calls = Calls(runtime)

    @classmethod
    def open(
        cls, team: str | None = None, *, home: str | os.PathLike[str] | None = None, settings: Settings | None = None
    ) -> Self:
        """Make a team ready to be asked. Nothing is loaded yet: see `warm`.

        Args:
            team: its name; None is the one that the settings name, `starter` unless they were changed.
            home: the folder of models and settings; None is AVENGERS_HOME, else the user's data folder.
            settings: all settings, in place of those that lie in `home`.

        Raises:
            NotFound: no such team.
            BadRequest: a setting that cannot be used, or both `home` and `settings`.

        """
        require(team is None or (isinstance(team, str) and bool(team)), f"team is {team!r:.40}: name one, or use None")
        require(isinstance(settings, Settings | None), f"settings is {settings!r:.40}: use Settings")
        require(
            home is None or (isinstance(home, str | os.PathLike) and "\0" not in os.fspath(home)),
            f"home is {home!r:.40}: use a path",
        )
        require(settings is None or home is None, "home and settings both name a home folder: give one of the two")
        chosen = settings or load_settings(None if home is None else Path(home))
        sentences = Lazy(lambda: open_sentence_embedder(chosen))
        return cls(Runtime.open(chosen, team, open_embedder=lambda: FeatureEmbedder(sentences.get())), sentences.get)

    @property
    def team(self) -> str:
        """The team's name."""
        return self._runtime.team.name

    @property
    def members(self) -> tuple[str, ...]:
        """The names of the members that `Ask.member` can name, beside those of all installed models."""
        return tuple(member.name for member in self._runtime.team.members)

    def _check(self, on_event: OnEvent | None, cancel: threading.Event | None) -> None:
        require(on_event is None or callable(on_event), f"on_event is {on_event!r:.40}: use a function of an event")
        require(isinstance(cancel, threading.Event | None), f"cancel is {cancel!r:.40}: use a threading.Event")

    def _submit(
        self, question: str, ask: Ask | None, on_event: OnEvent | None, cancel: threading.Event | None
    ) -> Pending[Answer]:
        self._check(on_event, cancel)
        return self._calls.start(lambda token: self._answer(question, ask, on_event, token), cancel)

    def _answer(self, question: str, ask: Ask | None, on_event: OnEvent | None, cancel: CancelToken) -> Answer:
        if cancel.is_set():
            raise Cancelled("cancelled before the first sample began: ask again")
        if on_event is None:
            return self._runtime.answer(question, ask, cancel)
        call = self._calls.marked(on_event)
        with contextlib.closing(self._runtime.run(question, ask, cancel)) as events:
            for event in events:
                if not (isinstance(event, Token) and event.voted):  # nobody knows yet which sample wins
                    call(event)
        assert isinstance(event, Finished)
        return event.answer

    def _embed(self, texts: Iterable[str]) -> NDArray[np.float32]:
        if isinstance(texts, str) or not isinstance(texts, Iterable):
            raise BadRequest(f"texts is {texts!r:.40}: use a list of texts")
        listed = list(texts)
        for place, text in enumerate(listed):
            require_text(text, f"text {place}")
        vectors = self._vectors()
        count_within_limit(vectors, listed, "text {}")
        return vectors.embed(listed)
