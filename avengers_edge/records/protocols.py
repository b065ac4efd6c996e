"""What the steps depend on: protocols of embedders and engines, the cancel token, things that are closed."""

from __future__ import annotations

import abc
import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Generic, Protocol, Self, TypeVar

from avengers_edge.records.requests import Request
from avengers_edge.records.results import Completion, Generation

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class CancelToken(threading.Event):
    """An event with callbacks, so that what is to end need not poll it. It fits wherever a `cancel` event is taken.

    Args:
        parent: an event that cancels this one too, and may be shared by several calls.

    """

    def __init__(self, parent: threading.Event | None = None) -> None:
        super().__init__()
        self._parent = parent
        self._lock = threading.Lock()
        self._callbacks: list[Callable[[], None]] = []

    @property
    def polled(self) -> bool:
        """Whether it has to be polled all the same: a plain event above it calls nobody."""
        return self._parent.polled if isinstance(self._parent, CancelToken) else self._parent is not None

    def is_set(self) -> bool:
        """Return whether it or its parent was set."""
        return super().is_set() or (self._parent is not None and self._parent.is_set())

    def set(self) -> None:
        """Set it, and call the callbacks in this thread."""
        super().set()
        with self._lock:
            callbacks = tuple(self._callbacks)
        for callback in callbacks:
            callback()

    @contextlib.contextmanager
    def calling(self, callback: Callable[[], None]) -> Iterator[None]:
        """Register a callback while the block runs: it is called at once where this is set already, twice at most."""
        with contextlib.ExitStack() as registered:
            if isinstance(self._parent, CancelToken):
                registered.enter_context(self._parent.calling(callback))
            with self._lock:
                self._callbacks.append(callback)
            try:
                if super().is_set():
                    callback()
                yield
            finally:
                with self._lock:
                    self._callbacks.remove(callback)


_T = TypeVar("_T")


class Lazy(Generic[_T]):
    """Something that several threads share, made when the first of them needs it; a failure is tried again."""

    def __init__(self, make: Callable[[], _T]) -> None:
        self._make, self._lock = make, threading.Lock()
        self._made: tuple[_T] | None = None

    @property
    def made(self) -> _T | None:
        """What was made by now."""
        return self._made[0] if self._made else None

    def get(self) -> _T:
        """Return it, and make it first if need be."""
        with self._lock:
            if self._made is None:
                self._made = (self._make(),)
            return self._made[0]


class Closing(abc.ABC):
    """Something that holds memory until it is closed; a context manager, so that it is."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @abc.abstractmethod
    def close(self) -> None:
        """Free it; a second call does nothing."""


class Embedder(Protocol):
    """Texts in, one unit vector each out."""

    @property
    def fingerprint(self) -> str:
        """Identifies the weights; a table fitted with another embedder is refused."""

    @property
    def dimension(self) -> int:
        """The length D of a vector."""

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed into shape (len(texts), D), rows of length 1."""


class Vectors(Protocol):
    """A sentence embedder that knows how much of a text it can see."""

    @property
    def most_tokens(self) -> int:
        """How much of a text it can see."""

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Count each text's tokens, those beyond what it can see too."""

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed into shape (len(texts), D), rows of length 1."""


OnFinish = Callable[[Completion], int]
"""Hears of each sample as it ends and says how many more are needed at the least; at 0 the others are cancelled.

It is called from the engine's own thread, which waits for it: it has to be quick.
"""

OnToken = Callable[[int, str], None]
"""Hears of each piece of text as it is decided: sample index, piece."""


class Engine(Protocol):
    """One loaded model: a request in, its samples out. Calls from several threads share one batch."""

    def generate(
        self,
        request: Request,
        *,
        on_finish: OnFinish | None = None,
        on_token: OnToken | None = None,
        cancel: threading.Event | None = None,
    ) -> Generation:
        """Sample a request; what was unfinished when it was cancelled comes back as it was.

        Raises:
            BadRequest: the model cannot do what the request asks for.
            DoesNotFit: the prompt and one sample are longer than the context.
            EngineDied: llama.cpp failed.

        """
