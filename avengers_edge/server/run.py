"""Runs the application on uvicorn: takes the address, says when it can be called, ends in an orderly way."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import logging
import math
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import uvicorn

from avengers_edge.errors import AvengersError
from avengers_edge.server.app import App
from avengers_edge.server.connection import Connection
from avengers_edge.server.options import ServeOptions

logger = logging.getLogger("avengers_edge.server")

_LAST_WORDS = 5
"""Seconds that are left for telling clients of an end, after the time to drain."""


def serve(app: App, options: ServeOptions, started: Callable[[str], None] = lambda _: None) -> None:
    """Serve until SIGTERM or Ctrl-C, and then let what is under way end.

    Args:
        app: what is served.
        options: where.
        started: hears the address when it can be called.

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
    listening: list[socket.socket] = []
    absent = errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT  # like the IPv6 address of localhost, where there is no IPv6
    for family, _, _, _, address in dict.fromkeys(found):
        try:
            listening.append(socket.create_server(address, family=family))
        except OSError as error:
            failed = error.errno
            if failed not in absent:
                break
    else:
        if listening:
            return listening
    for each in listening:
        each.close()
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
        http=functools.partial(Connection, limits),  # type: ignore[arg-type]  # it is only called
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        h11_max_incomplete_event_size=limits.header_bytes,
        timeout_graceful_shutdown=math.ceil(limits.drain) + _LAST_WORDS,
        ssl_certfile=options.certificate,
        ssl_keyfile=options.private_key,
    )
    return _Server(config, app, started)


class _Server(uvicorn.Server):
    """A server that ends with 0 when it is told to end, after what is under way."""

    def __init__(self, config: uvicorn.Config, app: App, started: Callable[[str], None]) -> None:
        super().__init__(config)
        self._app, self._hear_start = app, started
        self._loop: asyncio.AbstractEventLoop | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - uvicorn's signature
        """End; told so again, tell clients to ask later instead of letting what is under way go on."""
        if self.should_exit and self._loop is not None:
            self._loop.call_soon_threadsafe(self._app.end_now)
        self.should_exit = True

    async def startup(self, sockets: list[Any] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)
        port = self.servers[0].sockets[0].getsockname()[1]
        host = f"[{self.config.host}]" if ":" in self.config.host else self.config.host
        self._hear_start(f"{'https' if self.config.ssl else 'http'}://{host}:{port}")

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
