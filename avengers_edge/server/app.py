"""The paths, and what each does: read the request, hand the work in, shape the answer."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, TypeVar

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from avengers_edge.errors import AvengersError
from avengers_edge.server.answering import Result, respond, result_of
from avengers_edge.server.asked import Asked, read_chat, read_completion
from avengers_edge.server.body import read_object
from avengers_edge.server.desk import Call, Desk
from avengers_edge.server.door import Door
from avengers_edge.server.embedding import embed, read_wanted
from avengers_edge.server.fields import Fields
from avengers_edge.server.house import VOTED, House, Target
from avengers_edge.server.metrics import Metrics
from avengers_edge.server.openapi import description
from avengers_edge.server.options import Limits, ServeOptions
from avengers_edge.server.problems import Problem, refuse
from avengers_edge.server.shapes import Reply, choices_of, extension_of, usage_of
from avengers_edge.server.streaming import EventStream, left

logger = logging.getLogger("avengers_edge.server")

_PATIENCE = 5.0
"""Seconds after which loading that failed is tried again, if anybody asks whether the server is ready."""

_T = TypeVar("_T")
_Read = Callable[[Mapping[str, Any], Limits], Asked]


class App:
    """The server as an ASGI application: `asgi`.

    Args:
        house: who answers; closed at the server's end.
        options: whom it lets in and how much it takes on.
        routes: further paths, like the page's.

    """

    def __init__(self, house: House, options: ServeOptions, routes: tuple[Route, ...] = ()) -> None:
        self._house, self._options, self._limits = house, options, options.limits
        self._metrics = Metrics()
        self.answers = Desk("answers", self._limits.width, self._limits.queue, self._limits.seconds)
        self._quick = Desk("quick", 2, self._limits.width + self._limits.queue, self._limits.seconds)
        self._state, self._reason = "loading", ""
        self._warming: asyncio.Task[None] | None = None
        self._warmed = 0.0  # when that was tried last
        self.routes = [
            Route("/v1/chat/completions", self._chat, methods=["POST"]),
            Route("/v1/completions", self._complete, methods=["POST"]),
            Route("/v1/embeddings", self._embed, methods=["POST"]),
            Route("/v1/models", self._models, methods=["GET"]),
            Route("/v1/models/{name:path}", self._model, methods=["GET"]),
            Route("/api/route", self._route, methods=["POST"]),
            Route("/health", self._health, methods=["GET"]),
            Route("/metrics", self._measure, methods=["GET"]),
            Route("/openapi.json", self._describe, methods=["GET"]),
            *routes,
        ]
        router = Router(self.routes, redirect_slashes=False, default=_nowhere, lifespan=self.living)
        self.asgi: ASGIApp = Door(router, options, self._metrics, [route.path for route in self.routes])

    def drain(self) -> None:
        """Take nothing new; what is under way has `limits.drain` seconds, then its clients are told."""
        loop = asyncio.get_running_loop()
        for desk in (self.answers, self._quick):
            desk.refuse_more()
            loop.call_later(self._limits.drain, desk.end_all)

    def end_now(self) -> None:
        """Call off what is under way, and tell its clients."""
        logger.info("told again to end: what is under way is called off")
        for desk in (self.answers, self._quick):
            desk.refuse_more()
            desk.end_all()

    @contextlib.asynccontextmanager
    async def living(self, _app: object = None) -> AsyncIterator[None]:
        """Load what most requests need while the server already answers, and free everything at its end."""
        self._warming = asyncio.create_task(self._warm())
        try:
            yield
        finally:
            self._warming.cancel()
            for desk in (self.answers, self._quick):
                desk.end_all()
                desk.close()
            await asyncio.to_thread(self._house.close)

    async def _warm(self) -> None:
        try:
            await asyncio.to_thread(self._house.default.warm)
            self._state, self._reason = "ok", ""
        except Exception as error:  # other names may be answered all the same
            expected = isinstance(error, AvengersError)
            self._state, self._reason = "degraded", str(error) if expected else "loading failed: the log says why"
            chatty = logger.isEnabledFor(logging.DEBUG) and not expected
            logger.warning("%s", error if expected else f"unexpected {type(error).__name__}", exc_info=chatty)
        self._warmed = time.monotonic()

    def _is_ready(self) -> bool:
        """Tell whether what most requests need is loaded; if it could not be, that is tried again, but not at once."""
        again = self._state == "degraded" and time.monotonic() - self._warmed > _PATIENCE
        if again and self._warming is not None and self._warming.done():
            self._warming = asyncio.create_task(self._warm())
        return self._state == "ok"

    # --- answers -------------------------------------------------------------------------------

    async def _chat(self, request: Request) -> ASGIApp:
        return await self._answer(request, read_chat, chat=True)

    async def _complete(self, request: Request) -> ASGIApp:
        return await self._answer(request, read_completion, chat=False)

    async def _answer(self, request: Request, read: _Read, *, chat: bool) -> ASGIApp:
        values = await self._read(request, self.answers)
        asked, target, member = await asyncio.to_thread(self._understand, values, read)
        if self._options.log_prompts:
            logger.info("%s is asked: %r", asked.model, asked.question)
        reply = Reply(chat, asked.model)
        work = functools.partial(respond, self._house, target, asked, tokens=asked.stream)
        note = functools.partial(self._metrics.answer, member=member)
        if asked.stream:
            return EventStream(self.answers, work, reply, asked, member, note)

        def drain(call: Call) -> Result:
            *_, last = work(call.cancel)
            return result_of(last)

        result: Result = await _done(self.answers, drain, request)
        note(result)
        extension = extension_of(result, member, texts=asked.knobs.texts)
        return JSONResponse(reply.whole(choices_of(result, asked.tools), usage_of(result), extension))

    async def _read(self, request: Request, desk: Desk) -> dict[str, Any]:
        """Read a body, unless there is no room for its work anyway."""
        desk.require_room()
        return await read_object(request, self._limits)

    def _understand(self, values: Mapping[str, Any], read: _Read) -> tuple[Asked, Target, str | None]:
        """Find what is asked of whom; what cannot be done is refused before it waits for its turn."""
        asked = read(values, self._limits)
        target = self._house.find(asked.model, asked.knobs.team)
        member = target.member.name if target.member else None
        if member is None or asked.voted:
            asked.ask(member)
        return asked, target, member

    async def _route(self, request: Request) -> Response:
        fields = Fields(await self._read(request, self._quick))
        prompt, prefer, team = fields.text("prompt") or "", fields.number("prefer"), fields.text("team")
        fields.done()
        if not prompt.strip():
            raise refuse("prompt", "prompt is missing or empty: send what is to be routed", "missing_parameter")

        def decide(_call: Call) -> dict[str, Any]:
            target = self._house.find(VOTED, team, "team")
            return target.avengers.route(prompt, prefer=1.0 if prefer is None else prefer).as_dict()

        return JSONResponse(await _done(self._quick, decide, request))

    async def _embed(self, request: Request) -> Response:
        wanted = read_wanted(await self._read(request, self._quick), self._limits)
        given = await _done(self._quick, lambda call: embed(self._house.vectors, wanted, call.cancel), request)
        return JSONResponse(given)

    # --- the server itself ---------------------------------------------------------------------

    async def _models(self, request: Request) -> Response:
        known = await _done(self._quick, self._known, request)
        return JSONResponse({"object": "list", "data": [_listed(*each) for each in known.items()]})

    async def _model(self, request: Request) -> Response:
        name = request.path_params["name"]
        known = await _done(self._quick, self._known, request)
        if name not in known:
            complaint = f"there is no model {name[:80]!r}: use one of {', '.join(known)}"
            raise Problem(404, complaint, "model", "model_not_found")
        return JSONResponse(_listed(name, known[name]))

    def _known(self, _call: Call) -> dict[str, str]:
        """Give what each model name is for."""
        return {**dict.fromkeys(self._house.names(), "chat"), self._house.vectors.name: "embedding"}

    async def _health(self, _request: Request) -> Response:
        ready = self._is_ready()
        body = {"status": self._state, "ready": ready, "reason": self._reason or None}
        return JSONResponse(body, 200 if ready else 503)

    async def _measure(self, _request: Request) -> Response:
        gauges = {
            "running": self.answers.running,
            "waiting": self.answers.waiting,
            "models_resident": len(self._house.resident()),
            "ready": int(self._is_ready()),
        }
        return PlainTextResponse(self._metrics.text(gauges), media_type="text/plain; version=0.0.4")

    async def _describe(self, _request: Request) -> Response:
        return JSONResponse(description(self._limits))


async def _done(desk: Desk, work: Callable[[Call], _T], request: Request) -> _T:
    """Have work done, as long as the client waits for it."""
    async with desk.work(work, functools.partial(left, request.receive)) as job:
        return await job.result()


def _listed(name: str, task: str) -> dict[str, Any]:
    named = {"id": name, "object": "model", "created": _STARTED, "owned_by": "avengers-edge"}
    return named | {"avengers": {"task": task}}


_STARTED = int(time.time())


async def _nowhere(_scope: Scope, _receive: Receive, _send: Send) -> None:
    raise HTTPException(404)
