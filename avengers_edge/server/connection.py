"""One connection of uvicorn's, with the limits that uvicorn leaves to others."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from typing import Any

import h11
from starlette.responses import JSONResponse
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from avengers_edge.server.options import Limits
from avengers_edge.server.problems import Problem


class Connection(H11Protocol):
    """One connection: it gives up on clients that do not send or read, and bounds how many there are.

    Its errors have OpenAI's shape as well. uvicorn makes it with the other arguments.
    """

    def __init__(
        self,
        limits: Limits,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._limits = limits
        self._patience: asyncio.TimerHandle | None = None
        self._reading: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for a request, unless there are too many connections."""
        super().connection_made(transport)
        transport.set_write_buffer_limits(high=1)  # the end of an answer is waited for like the rest of it
        if len(self.connections) > self._limits.connections:
            transport.close()
        else:
            self._wait_for_request()

    def data_received(self, data: bytes) -> None:
        """Read on; what is not a whole request yet has to become one in time."""
        super().data_received(data)
        if self.cycle and not self.cycle.response_complete:
            self._stop_waiting()
        else:  # a request has begun and is not there yet, or this is the body of one that was answered without it
            self._wait_for_request()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing any more."""
        self._stop_waiting()
        self._stop_watching()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """See that the client reads."""
        super().pause_writing()
        self._watch(self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        """Go on: it has read."""
        self._stop_watching()
        super().resume_writing()

    def on_response_complete(self) -> None:
        """Wait for the rest of a request that was answered before it was whole."""
        super().on_response_complete()
        if self.conn.their_state is h11.SEND_BODY:  # it was refused, and its body is passed over for a while
            self._wait_for_request()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP."""
        if getattr(sys.exc_info()[1], "error_status_hint", 400) == 431:  # of h11's complaint about this request
            msg = f"{msg} Its headers may have up to {self._limits.header_bytes} bytes."
        problem = Problem(400, msg, code="invalid_http")
        body = JSONResponse(problem.as_dict()).body
        headers = [(b"content-type", b"application/json"), (b"connection", b"close")]
        with contextlib.suppress(h11.LocalProtocolError):  # a response had begun
            for event in (
                h11.Response(status_code=400, headers=headers, reason=b"Bad Request"),
                h11.Data(data=bytes(body)),
                h11.EndOfMessage(),
            ):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def _unsupported_upgrade_warning(self) -> None:
        """Say nothing: the request is answered as if it had not asked for another protocol."""

    def _wait_for_request(self) -> None:
        if self._patience is None:
            self._patience = self.loop.call_later(self._limits.header_seconds, self.transport.close)

    def _stop_waiting(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _watch(self, unread: int) -> None:
        self._reading = self.loop.call_later(self._limits.send_seconds, self._require_reading, unread)

    def _require_reading(self, unread: int) -> None:
        left = self.transport.get_write_buffer_size()
        if left < unread:
            self._watch(left)
        else:  # closing would wait for the client to read the rest
            self.transport.abort()

    def _stop_watching(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None
