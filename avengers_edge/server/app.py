"""The paths, and what each does: read the request, hand the work in, shape the answer."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, TypeAlias, TypeVar

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Mount, Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from avengers_edge.errors import AvengersError
from avengers_edge.library.gguf import read_header
from avengers_edge.records import CancelToken, Event
from avengers_edge.server import messages_api, ollama_api
from avengers_edge.server.answering import Result, embed, respond, result_of
from avengers_edge.server.executor import RequestExecutor
from avengers_edge.server.messages_api import MessagesRequest
from avengers_edge.server.metrics import Metrics
from avengers_edge.server.middleware import AccessMiddleware, close_unread
from avengers_edge.server.model_registry import ROUTED_NAME, ModelRegistry, ResolvedModel
from avengers_edge.server.ollama_api import (
    GenerateRequest,
    NameRequest,
    OllamaChatRequest,
    OllamaEmbedRequest,
    bare_name,
)
from avengers_edge.server.openapi import description
from avengers_edge.server.options import ServeOptions
from avengers_edge.server.parameters import Parameters, parameters_of
from avengers_edge.server.problems import Problem, refuse
from avengers_edge.server.replies import (
    Dialect,
    EmbeddingList,
    JSONReply,
    Model,
    ModelList,
    OpenAIDialect,
    RouteDetails,
    ignored_header,
    reply_of,
)
from avengers_edge.server.responses_api import ResponsesRequest
from avengers_edge.server.runs import TOKEN_HEADER, RunRequest, require_token, run_stream
from avengers_edge.server.schemas import ChatCompletionRequest, CompletionRequest, EmbeddingRequest, RouteRequest
from avengers_edge.server.streaming import EventStream
from avengers_edge.server.validation import Given, convert, read_request

logger = logging.getLogger("avengers_edge.server")

_RELOAD_SECONDS = 5.0
"""Seconds after which loading that failed is tried again, at the next question whether the server is ready."""

Handler: TypeAlias = Callable[[Request], Awaitable[ASGIApp]]
Asked: TypeAlias = Given[ChatCompletionRequest | CompletionRequest]
AskingBody: TypeAlias = (
    ChatCompletionRequest | CompletionRequest | ResponsesRequest | MessagesRequest | OllamaChatRequest | GenerateRequest
)

_T = TypeVar("_T")
_Body = TypeVar("_Body", bound=msgspec.Struct)


class App:
    """The server as an ASGI application: `asgi`. It closes the registry at its end; `routes` are further paths."""

    def __init__(self, registry: ModelRegistry, options: ServeOptions, routes: tuple[BaseRoute, ...] = ()) -> None:
        self._registry, self._options, self._limits = registry, options, options.limits
        limits = options.limits
        self._metrics = Metrics()
        self.answers = RequestExecutor("answers", limits.width, limits.queue, limits.seconds)
        self._quick = RequestExecutor("quick", 2, limits.width + limits.queue, limits.seconds)
        self._state, self._reason = "loading", ""
        self._warming: asyncio.Task[None] | None = None
        self._warmed, self._started = 0.0, int(time.time())  # when that was tried last; when the server was made
        self.on_stop: Callable[[], None] = lambda: None
        versioned: list[tuple[str, Handler, str]] = [
            ("/chat/completions", self._asks(ChatCompletionRequest), "POST"),
            ("/completions", self._asks(CompletionRequest), "POST"),
            ("/responses", self._asks(ResponsesRequest), "POST"),
            ("/messages", self._asks(MessagesRequest), "POST"),
            ("/embeddings", self._embed, "POST"),
            ("/models", self._models, "GET"),
            ("/models/{name:path}", self._model, "GET"),
        ]
        described: list[tuple[str, Handler, str]] = [
            *((f"/v1{path}", handler, method) for path, handler, method in versioned),
            ("/api/chat", self._asks(OllamaChatRequest), "POST"),
            ("/api/generate", self._asks(GenerateRequest), "POST"),
            ("/api/embed", self._ollama_embed, "POST"),
            ("/api/embeddings", self._ollama_embed, "POST"),
            ("/api/tags", self._ollama_tags, "GET"),
            ("/api/ps", self._ollama_tags, "GET"),
            ("/api/show", self._ollama_show, "POST"),
            ("/api/version", self._ollama_version, "GET"),
            ("/api/route", self._route, "POST"),
            ("/health", self._health, "GET"),
            ("/metrics", self._measure, "GET"),
            ("/openapi.json", self._describe, "GET"),
        ]
        others: list[tuple[str, Handler, str]] = [
            *versioned,  # for clients whose address lacks the version
            *((f"/api/{name}", _refuse_managing, "POST") for name in ollama_api.MANAGING),
            ("/api/delete", _refuse_managing, "DELETE"),
            ("/api/run", self._run_events, "POST"),
            ("/api/stop", self._stop, "POST"),
        ]
        self.routes: list[BaseRoute] = [
            *(Route(path, handler, methods=[method]) for path, handler, method in described),
            *(Route(path, handler, methods=[method], include_in_schema=False) for path, handler, method in others),
            *routes,
        ]
        router = Router(self.routes, redirect_slashes=False, default=_not_found, lifespan=self.lifespan)
        paths = [route.path for route in self.routes if isinstance(route, Route | Mount)]
        self.asgi: ASGIApp = close_unread(AccessMiddleware(router, options, self._metrics, paths, _failure))

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

    def _asks(self, kind: type[AskingBody]) -> Handler:
        """Return the handler of a path whose bodies ask for an answer."""

        async def answer(request: Request) -> ASGIApp:
            given = await self._read(request, kind, self.answers)
            body = given.body
            if isinstance(body, ChatCompletionRequest | CompletionRequest):
                return await self._answer(request, Given(body, given.ignored), None)
            if isinstance(body, OllamaChatRequest | GenerateRequest) and body.loads_only:
                return await self._load(request, body)
            try:
                chat = convert(body.chat(), ChatCompletionRequest, self._limits, strict=self._options.strict)
                asked: Asked = Given(chat.body, (*given.ignored, *chat.ignored))
                return await self._answer(request, asked, body.dialect())
            except Problem as problem:  # what is wrong is named as it was sent
                problem.rename(body.renamed)
                raise

        return answer

    async def _answer(self, request: Request, asked: Asked, dialect: Dialect | None) -> ASGIApp:
        parameters, target, member = await asyncio.to_thread(self._prepare, asked)
        if self._options.log_prompts:
            logger.info("%s is asked: %r", parameters.model, parameters.conversation.question)
        if dialect is None:
            chat = isinstance(asked.body, ChatCompletionRequest)
            dialect = OpenAIDialect(chat, parameters.model, parameters.include_usage)
        work = functools.partial(respond, self._registry, target, parameters, tokens=parameters.stream)
        on_result = functools.partial(self._metrics.answer, member=member)
        if parameters.stream:
            return EventStream(self.answers, work, dialect, parameters, member, on_result)

        def last(cancel: CancelToken) -> Result:
            *_, event = work(cancel)
            return result_of(event)

        result: Result = await self.answers.run(last, request.receive)
        on_result(result)
        reply = dialect.whole(*reply_of(result, member, parameters))
        return JSONReply(reply, headers=ignored_header(parameters.ignored))

    async def _load(self, request: Request, body: OllamaChatRequest | GenerateRequest) -> Response:
        """Load a model that is asked nothing; to unload it is left to the time after which it is idle."""

        def load(_: CancelToken) -> None:
            target = self._registry.resolve(bare_name(body.model))
            if target.member is None:
                target.avengers.warm()
            else:
                with self._registry.lease(target.member.model):
                    pass

        unloads = body.keep_alive in (0, "0", "0s")
        if not unloads:
            await self.answers.run(load, request.receive)
        return JSONReply(body.dialect().loaded(unloads=unloads))

    async def _read(self, request: Request, kind: type[_Body], executor: RequestExecutor) -> Given[_Body]:
        """Read a body, unless there is no room for its work anyway."""
        executor.require_capacity()
        return await read_request(request, kind, self._limits, strict=self._options.strict)

    def _prepare(self, asked: Asked) -> tuple[Parameters, ResolvedModel, str | None]:
        """Find what is asked of which model; what cannot be done is refused before it waits for its turn."""
        parameters = parameters_of(asked)
        target = self._registry.resolve(parameters.model, parameters.extension.team)
        member = target.member.name if target.member else None
        if member is None or parameters.voted:
            parameters.ask(member)
        return parameters, target, member

    async def _route(self, request: Request) -> Response:
        body = (await self._read(request, RouteRequest, self._quick)).body
        if not body.prompt.strip():
            raise refuse("prompt", "prompt is empty: send what is to be routed", "missing_parameter")

        def decide(_: CancelToken) -> RouteDetails:
            target = self._registry.resolve(ROUTED_NAME, body.team, "team")
            route = target.avengers.route(body.prompt, prefer=body.prefer)
            return msgspec.convert(route, RouteDetails, from_attributes=True)

        return JSONReply(await self._quick.run(decide, request.receive))

    async def _embed(self, request: Request) -> Response:
        wanted = (await self._read(request, EmbeddingRequest, self._quick)).body
        return JSONReply(await self._vectors(wanted, request))

    async def _vectors(self, wanted: EmbeddingRequest, request: Request) -> EmbeddingList:
        work = functools.partial(embed, self._registry, wanted, self._limits)
        return await self._quick.run(work, request.receive)

    # --- Ollama's own paths --------------------------------------------------------------------

    async def _ollama_embed(self, request: Request) -> Response:
        body = (await self._read(request, OllamaEmbedRequest, self._quick)).body
        texts = body.prompt if body.input is None else body.input
        if not texts or not all([texts] if isinstance(texts, str) else texts):
            raise refuse("input", "input is empty: send a text or several", "missing_parameter")
        wanted = EmbeddingRequest(model=bare_name(body.model), input=texts, dimensions=body.dimensions)
        began = time.perf_counter_ns()
        found = await self._vectors(wanted, request)
        rows = [each.embedding for each in found.data]
        if body.input is None:
            return JSONReply({"embedding": rows[0]})
        spent = {"total_duration": time.perf_counter_ns() - began, "load_duration": 0}
        counted = {"prompt_eval_count": found.usage.total_tokens}
        return JSONReply({"model": body.model, "embeddings": rows, **spent, **counted})

    async def _ollama_tags(self, request: Request) -> Response:
        """List what can be asked, or with `/api/ps` what is loaded."""
        loaded_only = request.url.path.endswith("ps")

        def listed(_: CancelToken) -> list[dict[str, Any]]:
            installed = self._registry.installed()
            names = self._registry.resident() if loaded_only else self._registry.names()
            return [ollama_api.tag(name, installed.get(name.partition(":")[0])) for name in names]

        return JSONReply({"models": await self._quick.run(listed, request.receive)})

    async def _ollama_show(self, request: Request) -> Response:
        body = (await self._read(request, NameRequest, self._quick)).body

        def described(_: CancelToken) -> dict[str, Any]:
            target = self._registry.resolve(bare_name(body.model or body.name))
            file = self._registry.installed().get(target.member.model if target.member else "")
            return ollama_api.show(read_header(file.path) if file else None)

        return JSONReply(await self._quick.run(described, request.receive))

    async def _ollama_version(self, _request: Request) -> Response:
        return JSONReply({"version": ollama_api.VERSION})

    # --- the user's own command line -----------------------------------------------------------

    async def _run_events(self, request: Request) -> ASGIApp:
        require_token(request.headers.get(TOKEN_HEADER), self._options.token)
        body = (await self._read(request, RunRequest, self.answers)).body

        def run(cancel: CancelToken) -> Iterator[Event]:
            target = self._registry.resolve(ROUTED_NAME, body.team)
            return target.avengers.run(body.question, body.ask, cancel, tokens=body.tokens)

        return run_stream(self.answers, run)

    async def _stop(self, request: Request) -> Response:
        require_token(request.headers.get(TOKEN_HEADER), self._options.token)
        self.on_stop()
        return JSONReply({"stopping": True})

    # --- the server itself ---------------------------------------------------------------------

    async def _models(self, request: Request) -> Response:
        known = await self._quick.run(self._known, request.receive)
        return JSONReply(ModelList([*known.values()]))

    async def _model(self, request: Request) -> Response:
        name = request.path_params["name"]
        known = await self._quick.run(self._known, request.receive)
        if name not in known:
            complaint = f"there is no model {name[:80]!r}: use one of {', '.join(known)}"
            raise Problem(404, complaint, "model", "model_not_found")
        return JSONReply(known[name])

    def _known(self, _: CancelToken) -> dict[str, Model]:
        tasks = {**dict.fromkeys(self._registry.names(), "chat"), self._registry.vectors.name: "embedding"}
        return {name: Model(name, {"task": task}, self._started) for name, task in tasks.items()}

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


def _failure(path: str, problem: Problem) -> object:
    """Write a problem as the path's API does."""
    if path.endswith("/messages"):
        return messages_api.failure(problem)
    if path.startswith("/api/") and path not in ("/api/route", "/api/run", "/api/stop"):
        return ollama_api.failure(problem)
    return problem.reply()


async def _refuse_managing(_request: Request) -> Response:
    commands = "`avengers models pull NAME`, `avengers models remove NAME`"
    raise Problem(400, f"models are managed on the command line: {commands}")


async def _not_found(_scope: Scope, _receive: Receive, _send: Send) -> None:
    raise HTTPException(404)
