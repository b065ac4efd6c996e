"""An embedded team, as its two faces share it: what it is made of, what is under way, and how it is asked."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Self, TypeAlias

from avengers_edge.api.calls import Calls, Pending
from avengers_edge.config import Settings, load_settings
from avengers_edge.errors import BadRequest, Cancelled
from avengers_edge.opening import open_sentence_embedder
from avengers_edge.records import Answer, Ask, CancelToken, Event, Finished, Once, Token, Vectors
from avengers_edge.records.basics import require, require_text
from avengers_edge.routing.form import FormEmbedder
from avengers_edge.routing.whole import count_whole
from avengers_edge.runtime import Avengers as Runtime

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


OnEvent: TypeAlias = Callable[[Event], None]
"""Called for each event of an answer, in the order of `records.events`; no `Token` of a sample that is voted on."""


class Embedded:
    """A runtime and the calls under way on it.

    Args:
        runtime: who answers; closing frees it.
        vectors: gives the sentence embedder, opened at its first use.

    """

    def __init__(self, runtime: Runtime, vectors: Callable[[], Vectors]) -> None:
        self._runtime, self._vectors = runtime, vectors
        self._calls = Calls(runtime.close, runtime.stop_loading)

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
        sentences = Once(lambda: open_sentence_embedder(chosen))
        return cls(
            Runtime.open(chosen, team, open_embedder=lambda: FormEmbedder(sentences.get())),
            sentences.get,
        )

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
        listed = None if isinstance(texts, str) or not isinstance(texts, Iterable) else list(texts)
        if listed is None:
            raise BadRequest(f"texts is {texts!r:.40}: use a list of texts")
        for place, text in enumerate(listed):
            require_text(text, f"text {place}")
        vectors = self._vectors()
        count_whole(vectors, listed, "text {}")
        return vectors.embed(listed)
