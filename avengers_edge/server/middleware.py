"""Checks of every request before anything of it is read, and the one shape of errors."""

from __future__ import annotations

import hashlib
import hmac
import logging
import re
import time
from collections.abc import Callable, Iterable, Mapping
from urllib.parse import urlsplit

from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from avengers_edge.server.chat_page import FILES_PATH
from avengers_edge.server.metrics import Metrics
from avengers_edge.server.options import LOOPBACK_NAMES, ServeOptions, address_of
from avengers_edge.server.problems import Problem, problem_of
from avengers_edge.server.replies import JSONReply

logger = logging.getLogger("avengers_edge.server")

_OPEN = ("/", "/health")
"""Paths that need no key, beside the page's files: the page holds no secret and asks for it, a supervisor has none."""

_PATH_ERRORS = {
    404: ("there is nothing at this path: see /openapi.json", "unknown_path"),
    405: ("this path knows another method: see /openapi.json", "method_not_allowed"),
}
_HEADER_NAMES = re.compile(r"[\w!#$%&'*+.^`|~, -]+", re.ASCII)
_ABSOLUTE = re.compile(r"https?://[^/]*", re.IGNORECASE)
_NO_SNIFF = (b"x-content-type-options", b"nosniff")


class AccessMiddleware:
    """Checks hosts, origins and keys, turns errors into responses, counts and logs without a word of what is said.

    A page in a browser can send requests to this machine, and with a name that it controls pretend to be served from
    here: so the Host header has to be a name of this machine, and the Origin header, where there is one, this server's.
    `paths` are those that are counted by name; `failure` writes a problem as the path's API does.
    """

    def __init__(
        self,
        inner: ASGIApp,
        options: ServeOptions,
        metrics: Metrics,
        paths: Iterable[str],
        failure: Callable[[str, Problem], object],
    ) -> None:
        self._inner, self._options, self._metrics, self._paths = inner, options, metrics, frozenset(paths)
        self._failure = failure
        self._key = None if options.api_key is None else hashlib.sha256(options.api_key.encode()).digest()
        self._hosts = {*LOOPBACK_NAMES, options.host.lower(), *(name.lower() for name in options.hosts)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or the server's own beginning and end."""
        if scope["type"] != "http":
            await self._inner(scope, receive, send)
            return
        began, status = time.monotonic(), 0
        if absolute := _ABSOLUTE.match(scope["path"]):  # a target with scheme and authority, as proxies are sent
            scope = {**scope, "path": f"/{scope['path'][absolute.end() :].removeprefix('/')}"}
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        origin = headers.get("origin")
        cors = []  # lets an allowed page read the answer
        if origin is not None and origin in self._options.origins:
            cors = [(b"access-control-allow-origin", origin.encode("latin-1")), (b"vary", b"Origin")]

        async def counting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), _NO_SNIFF, *cors]
            await send(message)

        try:
            self._check(scope, headers)
            if not scope["path"].isprintable():  # the router takes /metrics and a line feed for /metrics
                raise HTTPException(404)
            if scope["method"] == "OPTIONS" and cors:
                await _preflight(headers.get("access-control-request-headers", ""))(scope, receive, counting)
            else:
                await self._inner({**scope, "app": self}, receive, counting)
        except Exception as error:
            problem = _known(error)
            if problem.status == 500:
                # What is unexpected may quote a prompt, so its words are for whoever asked for them.
                chatty = logger.isEnabledFor(logging.DEBUG)
                logger.error("%s: unexpected %s", scope["path"][:80], type(error).__name__, exc_info=chatty)
            if not status and problem.status != 499:
                response = JSONReply(self._failure(scope["path"], problem), problem.status, dict(problem.headers))
                await response(scope, receive, counting)
            status = status or problem.status
            # Frames in a traceback hold what holds the error: only a full collection would ever free them.
            error.__traceback__ = None
        finally:
            seconds = time.monotonic() - began
            path = FILES_PATH if _is_file(scope["path"]) else scope["path"]
            path = path if path in self._paths else "other"
            self._metrics.request(path, status or 499, seconds)
            level = logging.DEBUG if path == FILES_PATH else logging.INFO
            logger.log(level, "%s %s %d %.0f ms", scope["method"][:10], path, status or 499, seconds * 1000)

    def _check(self, scope: Scope, headers: Mapping[str, str]) -> None:
        most = self._options.limits.header_bytes
        if sum(len(name) + len(value) for name, value in headers.items()) > most:
            raise Problem(431, f"the headers have more than {most} bytes: send less", code="headers_too_large")
        host = headers.get("host", "")
        if not self._is_ours(host):
            complaint = f"the Host header {host[:80]!r} is no name of this server: allow it with --allow-host"
            raise Problem(403, complaint, code="bad_host")
        origin = headers.get("origin")
        allowed = (f"http://{host.lower()}", f"https://{host.lower()}", *self._options.origins)
        if origin is not None and origin not in allowed:
            complaint = f"pages of {origin[:80]!r} may not call this server: allow them with --allow-origin"
            raise Problem(403, complaint, code="bad_origin")
        is_open = scope["path"] in _OPEN or _is_file(scope["path"])
        if self._key is None or is_open or (scope["method"] == "OPTIONS" and origin):
            return
        scheme, _, key = headers.get("authorization", f"bearer {headers.get('x-api-key', '')}").partition(" ")
        sent = hashlib.sha256(key.strip().encode("latin-1")).digest()  # of one length, so that comparing takes one time
        if scheme.lower() != "bearer" or not hmac.compare_digest(sent, self._key):
            complaint = "the API key is missing or wrong: send it as `Authorization: Bearer KEY`"
            raise Problem(401, complaint, code="invalid_api_key", headers={"WWW-Authenticate": "Bearer"})

    def _is_ours(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        # An address is no name, so no name that somebody else controls.
        return name in self._hosts or (self._options.wildcard and address_of(name) is not None)


def close_unread(inner: ASGIApp) -> ASGIApp:
    """Close a connection after a response to a request whose body was not read, instead of waiting for the rest."""

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope.get("headers", ()))
        unread = b"transfer-encoding" in headers or headers.get(b"content-length", b"0") != b"0"

        async def reading() -> Message:
            nonlocal unread
            message = await receive()
            unread = unread and bool(message.get("more_body"))
            return message

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start" and unread:
                message["headers"] = [*message.get("headers", ()), (b"connection", b"close")]
            await send(message)

        await inner(scope, reading, sending)

    return serve


def _is_file(path: str) -> bool:
    return path.startswith(f"{FILES_PATH}/")


def _known(error: Exception) -> Problem:
    if isinstance(error, HTTPException):
        complaint, code = _PATH_ERRORS.get(error.status_code, (str(error.detail), None))
        return Problem(error.status_code, complaint, code=code, headers=error.headers or {})
    return problem_of(error)


def _preflight(wanted: str) -> Response:
    """Allow a page the headers that it asks for: clients in browsers have some of their own."""
    allowed = {
        "Access-Control-Allow-Methods": "GET, POST",
        "Access-Control-Allow-Headers": wanted if _HEADER_NAMES.fullmatch(wanted) else "Authorization, Content-Type",
        "Access-Control-Max-Age": "600",
    }
    return Response(status_code=204, headers=allowed)
