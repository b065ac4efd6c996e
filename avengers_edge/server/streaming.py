"""An answer as server-sent events. While a vote is held its progress is told in comments, and then the winner's text.

A client that asked for it hears the first sample as it is written instead; the last chunk then says, as
`avengers.corrected`, what the vote elected where that is another text. Calls of tools come whole, at the end; a text
that may become one is held back.
"""

from __future__ import annotations

import asyncio
import collections
import functools
import json
import logging
import re
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from starlette.types import Receive, Scope, Send

from avengers_edge.errors import AvengersError
from avengers_edge.records import CancelToken, Event, Generation, Progress, Token
from avengers_edge.server.answering import Result, result_of
from avengers_edge.server.asked import Asked
from avengers_edge.server.desk import Call, Channel, Desk, Job
from avengers_edge.server.problems import Problem, problem_of
from avengers_edge.server.shapes import Choice, Reply, choices_of, extension_of, usage_of
from avengers_edge.voting.calls import Showing

logger = logging.getLogger("avengers_edge.server")

Respond = Callable[[CancelToken], Iterator[Event | Generation]]

_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]
_PATIENCE = 2.0
"""Seconds in which a request that cannot be answered is still refused with a status of its own."""
_SILENCE = 10.0
"""Seconds without a word after which a comment keeps the connection alive."""
_PIECES = re.compile(r"\S{1,200}\s{0,40}|\s{1,40}")


class EventStream:
    """A response that is sent while it is made.

    Args:
        desk: where the work is done.
        respond: the work, event by event.
        reply: the shapes of what is sent.
        asked: what the client wants to see.
        member: who is asked by its name, if one is.
        note: hears of the result.

    """

    def __init__(
        self,
        desk: Desk,
        respond: Respond,
        reply: Reply,
        asked: Asked,
        member: str | None,
        note: Callable[[Result], None],
    ) -> None:
        self._desk, self._respond, self._reply, self._asked = desk, respond, reply, asked
        self._member, self._note = member, note

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        """Send it; an error before the first event has a status of its own, a later one is the last event.

        Raises:
            Problem: it was refused or called off before the first event.
            AvengersError: it failed before the first event.

        """
        channel: Channel[Event] = Channel()

        def pass_on(call: Call) -> Result:
            event = None
            for event in self._respond(call.cancel):
                if isinstance(event, Token | Progress):
                    channel.tell(event)
            return result_of(event)

        async with self._desk.work(pass_on, functools.partial(left, receive)) as job:
            closing = asyncio.create_task(channel.close_after(job.call))
            try:
                heard = await channel.hear(_PATIENCE)
                opening: list[Event] = []
                while heard and all(isinstance(event, Progress) and not event.finished for event in heard):
                    opening += heard  # a vote was opened, and the prompt may still be refused
                    heard = await channel.hear(_PATIENCE)
                if heard is None:
                    await job.result()  # raises what is wrong, if anything is
                else:
                    heard = opening + heard
                await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
                async for body in self._bodies(channel, job, heard):
                    await send({"type": "http.response.body", "body": body, "more_body": True})
                await send({"type": "http.response.body", "body": b"", "more_body": False})
            finally:
                closing.cancel()

    async def _bodies(
        self, channel: Channel[Event], job: Job[Result], heard: list[Event] | None
    ) -> AsyncIterator[bytes]:
        telling = _Telling(
            self._reply, self._asked, voted=self._member is None or self._asked.knobs.samples is not None
        )
        try:
            while heard is not None:
                frames = list(telling.tell(heard))
                yield b"".join(frames) if frames else b": at work\n\n" if not heard else b""
                heard = await channel.hear(_SILENCE)
            result = await job.result()
        except Exception as error:
            if not isinstance(error, Problem | AvengersError):
                logger.error("a stream failed: %s", type(error).__name__, exc_info=logger.isEnabledFor(logging.DEBUG))
            error.__traceback__ = None  # as in the door
            yield _frame(problem_of(error).as_dict())
            return
        self._note(result)
        yield b"".join(telling.end(result, self._member))


class _Telling:
    """Decides what of the events is shown: pieces of the choices, or a vote's progress."""

    def __init__(self, reply: Reply, asked: Asked, *, voted: bool) -> None:
        self._reply, self._asked, self._voted = reply, asked, voted
        self._live = not voted or asked.knobs.stream == "first"
        self._told: dict[int, list[str]] = {}
        self._showing: dict[int, Showing] = collections.defaultdict(Showing)

    def tell(self, events: list[Event]) -> Iterator[bytes]:
        """Show what happened."""
        for event in events:
            if isinstance(event, Progress):
                if event.finished or not self._live:
                    yield _progress(event)
            elif isinstance(event, Token) and self._shows(event):
                if self._asked.tools is None:
                    yield from self._piece(event.sample, event.text)
                elif shown := self._showing[event.sample].push(event.text):
                    yield from self._piece(event.sample, shown)

    def _shows(self, token: Token) -> bool:
        """Whether a piece is shown: one of a sample that is voted on only where the client asked for it."""
        return not self._voted or not token.voted or (self._live and token.sample == 0)

    def end(self, result: Result, member: str | None) -> Iterator[bytes]:
        """Show the answer: what was not told of it, why it ended and how it came about."""
        choices = choices_of(result, self._asked.tools)
        extension = extension_of(result, member, texts=self._asked.knobs.texts)
        for choice in choices:
            yield from self._rest(choice, extension)
            for place, call in enumerate(choice.calls):
                yield from map(_frame, map(self._with_usage, self._reply.call(choice.index, place, call)))
        for choice in choices[:-1]:
            yield _frame(self._reply.finish(choice))
        yield _frame(self._last(choices[-1]) | {"avengers": extension})
        if self._asked.include_usage:
            yield _frame(self._reply.usage(usage_of(result)))
        yield b"data: [DONE]\n\n"

    def _rest(self, choice: Choice, extension: dict[str, Any]) -> Iterator[bytes]:
        """Show of a text what was not told of it, or say that another one was told."""
        live, told = choice.index in self._told, "".join(self._told.get(choice.index, []))
        if choice.calls and not choice.text.startswith(told):
            told = told.rstrip()  # the content of a text with calls has no space where they stood
        if choice.text.startswith(told):
            for text in _PIECES.findall(choice.text[len(told) :]) or ([] if live else [""]):
                yield from self._piece(choice.index, text)
        if live and self._voted:
            same = "".join(self._told[choice.index]).rstrip() == choice.text.rstrip()
            extension["corrected"] = None if same else choice.text

    def _piece(self, index: int, text: str) -> Iterator[bytes]:
        if index not in self._told:
            self._told[index] = []
            if self._reply.chat:
                yield _frame(self._with_usage(self._reply.begin(index)))
        self._told[index].append(text)
        yield _frame(self._with_usage(self._reply.piece(index, text)))

    def _last(self, choice: Choice) -> dict[str, Any]:
        return self._with_usage(self._reply.finish(choice))

    def _with_usage(self, values: dict[str, Any]) -> dict[str, Any]:
        return values | {"usage": None} if self._asked.include_usage else values


async def left(receive: Receive) -> None:
    """Return when the client has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _progress(progress: Progress) -> bytes:
    leading = ""
    if progress.leader is not None:
        key = "".join(letter if letter.isprintable() else " " for letter in progress.leader.key)[:80]
        leading = f", leading with {progress.leader.count}: {key}"
    asking = f"voting {progress.finished} of {progress.samples}, asking {progress.member}"
    return f": {asking}{leading}\n\n".encode("utf-8", "replace")


def _frame(values: dict[str, Any]) -> bytes:
    return f"data: {json.dumps(values)}\n\n".encode()
