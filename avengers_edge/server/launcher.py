"""Runs the application on uvicorn: binds the address, reports the start, shuts down in order."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import math
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import uvicorn

from avengers_edge.errors import AvengersError
from avengers_edge.server.app import App
from avengers_edge.server.options import ServeOptions

logger = logging.getLogger("avengers_edge.server")

_SHUTDOWN_GRACE = 5
"""Seconds after the time to drain in which clients get the reason for the end."""
_ABSENT = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
"""An address that a name means and this machine lacks, like the IPv6 one of localhost where there is no IPv6."""
_HEAD_ROOM = 8
"""How many times the allowed size a head may have and still be refused by the middleware, which says why."""


def serve(app: App, options: ServeOptions, started: Callable[[str], None] = lambda _: None) -> None:
    """Serve until SIGTERM or Ctrl-C, and then let what is under way end; `started` is called with the address.

    Raises:
        AvengersError: the address cannot be had.

    """
    with contextlib.ExitStack() as stack:
        listening = [stack.enter_context(each) for each in _listen(options.host, options.port)]
        try:
            make_server(app, options, started).run(listening)
        except OSError as error:
            raise AvengersError(f"the certificate or its key cannot be used: {error}") from error


def _listen(host: str, port: int) -> list[socket.socket]:
    """Have the address before anything is loaded; a name may mean several."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError):
        raise AvengersError(f"there is no address {host}: give one of this machine's as --host") from None
    failed = None
    with contextlib.ExitStack() as stack:
        listening = []
        for family, _, _, _, address in dict.fromkeys(found):
            try:
                listening.append(stack.enter_context(socket.create_server(address, family=family)))
            except OSError as error:
                failed = error.errno
                if failed not in _ABSENT:
                    break
        if listening and failed in (None, *_ABSENT):
            stack.pop_all()
            return listening
    why = {errno.EADDRINUSE: "it is taken", errno.EACCES: "it is not for everybody"}.get(failed or 0)
    reason = f"{why}, use another --port" if why else f"{host} is no address of this machine, use another --host"
    raise AvengersError(f"cannot listen on {host} port {port}: {reason}")


def make_server(app: App, options: ServeOptions, started: Callable[[str], None]) -> uvicorn.Server:
    """Make the server that `serve` runs; it ends when its `should_exit` is set, too."""
    limits = options.limits
    config = uvicorn.Config(
        app.asgi,
        host=options.host,
        port=options.port,
        http="h11",
        ws="none",
        lifespan="on",
        log_config=None,
        log_level="critical",  # whatever is worth a line is logged by the middleware
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=limits.connections,
        timeout_keep_alive=math.ceil(limits.idle_seconds),
        h11_max_incomplete_event_size=_HEAD_ROOM * limits.header_bytes,
        timeout_graceful_shutdown=math.ceil(limits.drain) + _SHUTDOWN_GRACE,
        ssl_certfile=options.certificate,
        ssl_keyfile=options.private_key,
    )
    return _Server(config, app, started, limits.send_seconds)


class _Server(uvicorn.Server):
    """A server whose process ends with 0 after a signal, once what is under way has ended."""

    def __init__(self, config: uvicorn.Config, app: App, started: Callable[[str], None], send_seconds: float) -> None:
        super().__init__(config)
        self._app, self._on_start, self._send_seconds = app, started, send_seconds
        app.on_stop = lambda: self.handle_exit(signal.SIGTERM, None)
        self._loop: asyncio.AbstractEventLoop | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - uvicorn's signature
        """Shut down; at a second signal, cancel what is under way."""
        if self.should_exit and self._loop is not None:
            self._loop.call_soon_threadsafe(self._app.cancel_now)
        self.should_exit = True

    async def startup(self, sockets: list[Any] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)
        if sys.platform == "linux":  # the kernel drops who takes nothing of a response; no other system can
            for each in [each for server in self.servers for each in server.sockets]:
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, math.ceil(self._send_seconds * 1000))
        port = self.servers[0].sockets[0].getsockname()[1]
        host = f"[{self.config.host}]" if ":" in self.config.host else self.config.host
        self._on_start(f"{'https' if self.config.ssl else 'http'}://{host}:{port}")

    async def shutdown(self, sockets: list[Any] | None = None) -> None:
        self._app.drain()
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
