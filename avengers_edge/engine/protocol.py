"""An engine as its callers see it: how it is loaded, what it is, a request under way. It imports no llama.cpp."""

from __future__ import annotations

import abc
import concurrent.futures
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from avengers_edge.config import KV_TYPES
from avengers_edge.engine.step_cost import StepCurve
from avengers_edge.errors import BadRequest
from avengers_edge.records import CancelToken, Closing, Completion, Generation, OnFinish, OnToken, Request

_T = TypeVar("_T")
_MOST_SEQUENCES = 256  # LLAMA_MAX_SEQ
_POLL_SECONDS, _LONG_POLL_SECONDS = 0.02, 0.5


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """How a model is loaded. Fields as in `config.Settings`; `cells` is the size of the KV cache in tokens.

    `sequences` bounds how many samples, prompts and kept prefixes are held at once; all share one unified cache, or
    with `split` have `cells` each. `gpu_layers` -1: all. `repack` None leaves weight repacking to what was measured.
    """

    cells: int = 8192
    sequences: int = 64
    threads: int | None = None
    gpu_layers: int = -1
    repack: bool | None = None
    kv_type: str = "f16"
    split: bool = False

    def __post_init__(self) -> None:
        if not 2 <= self.sequences <= _MOST_SEQUENCES:  # a prompt and a sample of it
            raise BadRequest(f"sequences is {self.sequences}: use 2 to {_MOST_SEQUENCES}")
        least = 256 if self.split else max(256, 2 * self.sequences)
        if self.cells < least:
            raise BadRequest(f"context is {self.cells} cells for {self.sequences} sequences: use {least} or more")
        if self.threads is not None and self.threads < 1:
            raise BadRequest(f"threads is {self.threads}: use 1 or more")
        if self.kv_type not in KV_TYPES:
            raise BadRequest(f"kv_type is {self.kv_type!r}: use one of {', '.join(KV_TYPES)}")


@dataclass(frozen=True, slots=True)
class EngineFacts:
    """A loaded model as llama.cpp reports it.

    `buffers` are (what, bytes) of its own log, such as `("CUDA0 KV", …)`; `cells` are those that one sequence can have.
    """

    name: str
    n_ctx_train: int
    cells: int
    layers: int
    layers_offloaded: int
    buffers: tuple[tuple[str, int], ...]
    gpu_offload: bool
    threads: int
    features: str


class RequestHandle:
    """A request that was handed in. `future` gets its generation or its error; `server` is the thread that makes it."""

    def __init__(self, cancel: Callable[[], None], server: threading.Thread | None = None) -> None:
        self.future: concurrent.futures.Future[Generation] = concurrent.futures.Future()
        self.future.set_running_or_notify_cancel()  # it ends with what there is, never with nothing
        self._cancel, self._server = cancel, server

    def cancel(self) -> None:
        """Ask for an end within one step; `result` then gives what there is."""
        self._cancel()

    def result(self, cancel: threading.Event | None = None) -> Generation:
        """Wait for the end, or raise what ended the request early; on `cancel` or Ctrl-C it is cancelled first."""
        refuse_waiting_on(self._server)
        token = cancel if isinstance(cancel, CancelToken) else CancelToken(cancel)
        try:
            with token.calling(self.cancel):
                while token.polled and not self.future.done():
                    if token.is_set():
                        self.cancel()
                        break
                    concurrent.futures.wait([self.future], _POLL_SECONDS)
                return wait_for(self.future)
        except KeyboardInterrupt:
            self.cancel()
            raise


class ManagedEngine(Closing):
    """A `records.Engine` that can be watched, put aside and closed: a model in this process or in one of its own."""

    facts: EngineFacts
    server: threading.Thread
    """The thread that runs callbacks; it cannot wait for this engine."""

    @property
    @abc.abstractmethod
    def alive(self) -> bool:
        """Whether it can still answer; a dead engine is loaded anew."""

    @abc.abstractmethod
    def submit(
        self, request: Request, *, on_finish: OnFinish | None = None, on_token: OnToken | None = None
    ) -> RequestHandle:
        """Submit a request, from any thread, without waiting for its end."""

    def generate(
        self,
        request: Request,
        *,
        on_finish: OnFinish | None = None,
        on_token: OnToken | None = None,
        cancel: threading.Event | None = None,
    ) -> Generation:
        """Sample one request; see `records.Engine`."""
        refuse_waiting_on(self.server)  # before it is under way
        return self.submit(request, on_finish=on_finish, on_token=on_token).result(cancel)

    @abc.abstractmethod
    def count_tokens(self, request: Request) -> int:
        """Count the prompt's tokens as the model will see them."""

    @abc.abstractmethod
    def measure(self, budget: float) -> StepCurve:
        """Measure the step-time curve in about so many seconds, and go by it; refused while requests are under way."""

    @abc.abstractmethod
    def save_state(self, path: Path) -> int:
        """Write the most recent conversation's KV cells; return how many tokens, 0 for none."""

    @abc.abstractmethod
    def load_state(self, path: Path) -> int:
        """Read them back; return how many tokens, 0 where the file does not fit."""


def wait_for(future: concurrent.futures.Future[_T]) -> _T:
    """Wait for a result; the thread that receives Ctrl-C polls, since on Windows it could not be woken."""
    if threading.current_thread() is threading.main_thread():
        while not future.done():
            concurrent.futures.wait([future], _LONG_POLL_SECONDS)
    return future.result()


def refuse_waiting_on(server: threading.Thread | None) -> None:
    """Refuse to let an engine's own thread wait for that engine."""
    if server is threading.current_thread():
        raise BadRequest("a callback cannot wait for the engine that calls it: ask from another thread")


def generate_many(
    engine: ManagedEngine,
    requests: Iterable[Request],
    *,
    in_flight: int = 64,
    on_finish: Callable[[int, Completion], int] | None = None,
) -> Iterator[tuple[int, Generation]]:
    """Sample many requests in one batch; yield each one's place in the order and result as it ends.

    Requests are drawn as room comes free. Leaving the iteration early, or an error of one, cancels the others.
    """
    places: dict[concurrent.futures.Future[Generation], tuple[int, RequestHandle]] = {}
    incoming = enumerate(requests)

    def refill() -> None:
        while len(places) < in_flight and (upcoming := next(incoming, None)):
            place, request = upcoming
            callback = None if on_finish is None else (lambda done, place=place: on_finish(place, done))
            handle = engine.submit(request, on_finish=callback)
            places[handle.future] = place, handle

    refill()
    try:
        while places:
            done, _ = concurrent.futures.wait(places, _LONG_POLL_SECONDS, concurrent.futures.FIRST_COMPLETED)
            for future in sorted(done, key=lambda future: places[future][0]):
                place, _handle = places.pop(future)
                refill()
                yield place, future.result()
    finally:
        for _place, handle in places.values():
            handle.cancel()
