"""An answer as a stream of frames. Those of a vote's progress come first, and then the elected text.

A client that asked for it gets the first sample as it is written instead; the last chunk then has, as
`avengers.corrected`, the elected text where that is another one. Calls of tools come whole, at the end; a text
that may become one is held back.
"""

from __future__ import annotations

import collections
import logging
import re
from collections.abc import AsyncIterator, Callable, Iterator

import msgspec
from starlette.types import Receive, Scope, Send

from avengers_edge.errors import AvengersError
from avengers_edge.records import CancelToken, Event, Generation, Loading, Progress, Token
from avengers_edge.server.answering import Result, result_of
from avengers_edge.server.executor import RequestExecutor, RequestHandle
from avengers_edge.server.parameters import Parameters
from avengers_edge.server.problems import Problem, problem_of
from avengers_edge.server.replies import Choice, Dialect, ignored_header, reply_of
from avengers_edge.voting.calls import CallFilter

logger = logging.getLogger("avengers_edge.server")

Respond = Callable[[CancelToken], Iterator[Event | Generation]]

_FIRST_EVENT_SECONDS = 2.0
"""Seconds in which a request that cannot be answered is still refused with a status of its own."""
_KEEP_ALIVE_SECONDS = 10.0
"""Seconds without an event after which a comment keeps the connection alive."""
_PIECES = re.compile(r"\S{1,200}\s{0,40}|\s{1,40}")


class EventStream:
    """A response that is sent while `respond` makes it; `member` is asked by its name, if one is."""

    def __init__(
        self,
        executor: RequestExecutor,
        respond: Respond,
        dialect: Dialect,
        parameters: Parameters,
        member: str | None,
        on_result: Callable[[Result], None],
    ) -> None:
        self._executor, self._respond, self._dialect, self._parameters = executor, respond, dialect, parameters
        self._member, self._on_result = member, on_result

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        """Send it; an error before the first event has a status of its own, a later one is the last event."""

        def produce(handle: RequestHandle[Result]) -> Result:
            event = None
            for event in self._respond(handle.cancel):
                if isinstance(event, Token | Progress | Loading):
                    handle.emit(event)
            return result_of(event)

        async with self._executor.submit(produce, receive) as handle:
            events = await handle.events(_FIRST_EVENT_SECONDS)
            opening: list[Event] = []
            while events and all(map(_says_nothing_yet, events)):
                opening += events  # a vote was opened, and the prompt may still be refused
                events = await handle.events(_FIRST_EVENT_SECONDS)
            if events is None:
                await handle.result()  # raises what is wrong, if anything is
            else:
                events = opening + events
            kind = self._dialect.media_type.encode()
            headers = [(b"content-type", kind), (b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no")]
            named = ignored_header(self._parameters.ignored)
            headers += [(name.lower().encode(), value.encode()) for name, value in named.items()]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            async for body in self._bodies(handle, events):
                await send({"type": "http.response.body", "body": body, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _bodies(self, handle: RequestHandle[Result], events: list[Event] | None) -> AsyncIterator[bytes]:
        writer = _StreamWriter(self._dialect, self._parameters, self._member)
        try:
            while events is not None:
                frames = list(writer.write(events))
                yield b"".join(frames) if frames else self._dialect.at_work if not events else b""
                events = await handle.events(_KEEP_ALIVE_SECONDS)
            result = await handle.result()
        except Exception as error:
            if not isinstance(error, Problem | AvengersError):
                logger.error("a stream failed: %s", type(error).__name__, exc_info=logger.isEnabledFor(logging.DEBUG))
            error.__traceback__ = None  # as in the middleware
            yield self._dialect.failed(problem_of(error))
            return
        self._on_result(result)
        yield b"".join(writer.finish(result))


class _StreamWriter:
    """Decides which pieces are sent: all of a text that is not voted on, and then what is missing of the answer."""

    def __init__(self, dialect: Dialect, parameters: Parameters, member: str | None) -> None:
        self._dialect, self._parameters, self._member = dialect, parameters, member
        self._voted = member is None or parameters.extension.samples is not None
        self._live = not self._voted or parameters.extension.stream == "first"
        self._sent: dict[int, list[str]] = {}
        self._filters: dict[int, CallFilter] = collections.defaultdict(CallFilter)

    def write(self, events: list[Event]) -> Iterator[bytes]:
        """Return the frames of some events."""
        for event in events:
            if isinstance(event, Loading):
                yield self._dialect.progress(event)
            elif isinstance(event, Progress):
                if event.finished or not self._live:
                    yield self._dialect.progress(event)
            elif isinstance(event, Token) and self._shows(event):
                if self._parameters.tools is None:
                    yield from self._piece(event.sample, event.text)
                elif shown := self._filters[event.sample].push(event.text):
                    yield from self._piece(event.sample, shown)

    def _shows(self, token: Token) -> bool:
        """Whether a piece is shown: one of a sample that is voted on only where the client asked for it."""
        return not self._voted or not token.voted or (self._live and token.sample == 0)

    def finish(self, result: Result) -> Iterator[bytes]:
        """Return the frames of the answer's end: what was not sent of it, why it ended and how it came about."""
        choices, usage, details = reply_of(result, self._member, self._parameters)
        voted_on = self._voted and 0 in self._sent
        for choice in choices:
            yield from self._rest(choice)
        if voted_on:
            elected, sent = choices[0].text, "".join(self._sent[0])
            same = sent.rstrip() == elected.rstrip()
            details = msgspec.structs.replace(details, corrected=None if same else elected)
        yield from self._dialect.end(choices, usage, details)

    def _rest(self, choice: Choice) -> Iterator[bytes]:
        """Send of a text what was not sent of it, unless another one was sent."""
        live, sent = choice.index in self._sent, "".join(self._sent.get(choice.index, []))
        if choice.calls and not choice.text.startswith(sent):
            sent = sent.rstrip()  # the content of a text with calls has no space where they stood
        if choice.text.startswith(sent):
            for text in _PIECES.findall(choice.text[len(sent) :]) or ([] if live else [""]):
                yield from self._piece(choice.index, text)

    def _piece(self, index: int, text: str) -> Iterator[bytes]:
        if index not in self._sent:
            self._sent[index] = []
            yield from self._dialect.begin(index)
        self._sent[index].append(text)
        yield from self._dialect.piece(index, text)


def _says_nothing_yet(event: Event) -> bool:
    """Return whether the prompt may still be refused: a model is loaded, or a vote was opened."""
    return isinstance(event, Loading) or (isinstance(event, Progress) and not event.finished)
