"""The paths, and what each does: read the request, hand the work in, shape the answer."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, TypeVar

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Mount, Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from avengers_edge.errors import AvengersError
from avengers_edge.records import CancelToken
from avengers_edge.server.answering import Result, embed, respond, result_of
from avengers_edge.server.executor import RequestExecutor
from avengers_edge.server.metrics import Metrics
from avengers_edge.server.middleware import AccessMiddleware, UnreadBodyMiddleware
from avengers_edge.server.model_registry import ROUTED_NAME, ModelRegistry, ResolvedModel
from avengers_edge.server.openapi import description
from avengers_edge.server.options import ServeOptions
from avengers_edge.server.parameters import Parameters, parameters_of, refuse_store
from avengers_edge.server.problems import Problem, refuse
from avengers_edge.server.replies import (
    EmbeddingList,
    JSONReply,
    Model,
    ModelList,
    Reply,
    choices_of,
    extension_of,
    usage_of,
)
from avengers_edge.server.schemas import ChatCompletionRequest, CompletionRequest, EmbeddingRequest, RouteRequest
from avengers_edge.server.streaming import EventStream, wait_for_disconnect
from avengers_edge.server.validation import read_request

logger = logging.getLogger("avengers_edge.server")

_RELOAD_SECONDS = 5.0
"""Seconds after which loading that failed is tried again, at the next question whether the server is ready."""

_T = TypeVar("_T")
_Body = TypeVar("_Body", bound=msgspec.Struct)


class App:
    """The server as an ASGI application: `asgi`.

    Args:
        registry: the teams and models; closed at the server's end.
        options: who may call, and the limits.
        routes: further paths, like the page's.

    """

    def __init__(self, registry: ModelRegistry, options: ServeOptions, routes: tuple[BaseRoute, ...] = ()) -> None:
        self._registry, self._options, self._limits = registry, options, options.limits
        self._metrics = Metrics()
        self.answers = RequestExecutor("answers", self._limits.width, self._limits.queue, self._limits.seconds)
        self._quick = RequestExecutor("quick", 2, self._limits.width + self._limits.queue, self._limits.seconds)
        self._state, self._reason = "loading", ""
        self._warming: asyncio.Task[None] | None = None
        self._warmed = 0.0  # when that was tried last
        self.routes: list[BaseRoute] = [
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
        router = Router(self.routes, redirect_slashes=False, default=_not_found, lifespan=self.lifespan)
        paths = [route.path for route in self.routes if isinstance(route, Route | Mount)]
        inner = AccessMiddleware(router, options, self._metrics, paths)
        self.asgi: ASGIApp = UnreadBodyMiddleware(inner)

    def drain(self) -> None:
        """Admit nothing new; what is under way has `limits.drain` seconds, then it is cancelled."""
        loop = asyncio.get_running_loop()
        for executor in (self.answers, self._quick):
            executor.stop_admission()
            loop.call_later(self._limits.drain, executor.cancel_all)

    def cancel_now(self) -> None:
        """Cancel what is under way."""
        logger.info("second signal: what is under way is cancelled")
        for executor in (self.answers, self._quick):
            executor.stop_admission()
            executor.cancel_all()

    @contextlib.asynccontextmanager
    async def lifespan(self, _app: object = None) -> AsyncIterator[None]:
        """Load what most requests need while the server already answers, and free everything at its end."""
        self._warming = asyncio.create_task(self._warm())
        try:
            yield
        finally:
            self._warming.cancel()
            for executor in (self.answers, self._quick):
                executor.cancel_all()
                executor.close()
            await asyncio.to_thread(self._registry.close)

    async def _warm(self) -> None:
        try:
            await asyncio.to_thread(self._registry.default.warm)
            self._state, self._reason = "ok", ""
        except Exception as error:  # other names may be answered all the same
            expected = isinstance(error, AvengersError)
            self._state, self._reason = "degraded", str(error) if expected else "loading failed: the log says why"
            chatty = logger.isEnabledFor(logging.DEBUG) and not expected
            logger.warning("%s", error if expected else f"unexpected {type(error).__name__}", exc_info=chatty)
        self._warmed = time.monotonic()

    def _is_ready(self) -> bool:
        """Whether what most requests need is loaded; if it could not be, that is tried again, but not at once."""
        again = self._state == "degraded" and time.monotonic() - self._warmed > _RELOAD_SECONDS
        if again and self._warming is not None and self._warming.done():
            self._warming = asyncio.create_task(self._warm())
        return self._state == "ok"

    # --- answers -------------------------------------------------------------------------------

    async def _chat(self, request: Request) -> ASGIApp:
        return await self._answer(request, ChatCompletionRequest)

    async def _complete(self, request: Request) -> ASGIApp:
        return await self._answer(request, CompletionRequest)

    async def _answer(self, request: Request, kind: type[ChatCompletionRequest | CompletionRequest]) -> ASGIApp:
        body = await self._read(request, kind, self.answers)
        parameters, target, member = await asyncio.to_thread(self._prepare, body)
        if self._options.log_prompts:
            logger.info("%s is asked: %r", parameters.model, parameters.question)
        reply = Reply(kind is ChatCompletionRequest, parameters.model)
        work = functools.partial(respond, self._registry, target, parameters, tokens=parameters.stream)
        on_result = functools.partial(self._metrics.answer, member=member)
        if parameters.stream:
            return EventStream(self.answers, work, reply, parameters, member, on_result)

        def last(cancel: CancelToken) -> Result:
            *_, event = work(cancel)
            return result_of(event)

        result: Result = await _run(self.answers, last, request)
        on_result(result)
        extension = extension_of(result, member, texts=parameters.extension.texts)
        return JSONReply(reply.whole(choices_of(result, parameters.tools), usage_of(result), extension))

    async def _read(self, request: Request, kind: type[_Body], executor: RequestExecutor) -> _Body:
        """Read a body, unless there is no room for its work anyway."""
        executor.require_capacity()
        return await read_request(request, kind, self._limits)

    def _prepare(self, body: ChatCompletionRequest | CompletionRequest) -> tuple[Parameters, ResolvedModel, str | None]:
        """Find what is asked of which model; what cannot be done is refused before it waits for its turn."""
        parameters = parameters_of(body)
        target = self._registry.resolve(parameters.model, parameters.extension.team)
        member = target.member.name if target.member else None
        if member is None or parameters.voted:
            parameters.ask(member)
        return parameters, target, member

    async def _route(self, request: Request) -> Response:
        body = await self._read(request, RouteRequest, self._quick)
        if not body.prompt.strip():
            raise refuse("prompt", "prompt is empty: send what is to be routed", "missing_parameter")

        def decide(_: CancelToken) -> dict[str, Any]:
            target = self._registry.resolve(ROUTED_NAME, body.team, "team")
            return target.avengers.route(body.prompt, prefer=body.prefer).as_dict()

        return JSONReply(await _run(self._quick, decide, request))

    async def _embed(self, request: Request) -> Response:
        body = await self._read(request, EmbeddingRequest, self._quick)
        refuse_store(body)

        def vectors(cancel: CancelToken) -> EmbeddingList:
            return embed(self._registry.vectors, body, self._limits, cancel)

        return JSONReply(await _run(self._quick, vectors, request))

    # --- the server itself ---------------------------------------------------------------------

    async def _models(self, request: Request) -> Response:
        tasks = await _run(self._quick, self._tasks, request)
        return JSONReply(ModelList([_listed(*each) for each in tasks.items()]))

    async def _model(self, request: Request) -> Response:
        name = request.path_params["name"]
        tasks = await _run(self._quick, self._tasks, request)
        if name not in tasks:
            complaint = f"there is no model {name[:80]!r}: use one of {', '.join(tasks)}"
            raise Problem(404, complaint, "model", "model_not_found")
        return JSONReply(_listed(name, tasks[name]))

    def _tasks(self, _: CancelToken) -> dict[str, str]:
        """Return the task of each model name."""
        return {**dict.fromkeys(self._registry.names(), "chat"), self._registry.vectors.name: "embedding"}

    async def _health(self, _request: Request) -> Response:
        ready = self._is_ready()
        body = {"status": self._state, "ready": ready, "reason": self._reason or None}
        return JSONReply(body, 200 if ready else 503)

    async def _measure(self, _request: Request) -> Response:
        gauges = {
            "running": self.answers.running,
            "waiting": self.answers.waiting,
            "models_resident": len(self._registry.resident()),
            "ready": int(self._is_ready()),
        }
        return PlainTextResponse(self._metrics.text(gauges), media_type="text/plain; version=0.0.4")

    async def _describe(self, _request: Request) -> Response:
        return JSONReply(description(self._limits))


async def _run(executor: RequestExecutor, work: Callable[[CancelToken], _T], request: Request) -> _T:
    """Run work for as long as the client waits for it."""
    return await executor.run(work, functools.partial(wait_for_disconnect, request.receive))


def _listed(name: str, task: str) -> Model:
    return Model(name, {"task": task}, _STARTED)


_STARTED = int(time.time())


async def _not_found(_scope: Scope, _receive: Receive, _send: Send) -> None:
    raise HTTPException(404)
