"""One connection of uvicorn's, with the limits that uvicorn leaves to others."""

from __future__ import annotations

import asyncio
import contextlib
import sys

import h11
from starlette.responses import JSONResponse
from uvicorn.protocols.http.h11_impl import H11Protocol

from avengers_edge.server.options import Limits
from avengers_edge.server.problems import Problem


def connection_class(limits: Limits) -> type[H11Protocol]:
    """Make the connection class: it gives up on clients that do not send or read, and bounds how many there are."""

    class Connection(H11Protocol):
        """One connection; its errors have OpenAI's shape as well."""

        _patience: asyncio.TimerHandle | None = None
        _reading: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            transport.set_write_buffer_limits(high=1)  # the end of an answer is waited for like the rest of it
            if len(self.connections) > limits.connections:
                transport.close()
            else:
                self._wait_for_request()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self.cycle and not self.cycle.response_complete:
                self._stop_waiting()
            else:  # a request has begun and is not there yet, or this is the body of one that was answered without it
                self._wait_for_request()

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop_waiting()
            self._stop_watching()
            super().connection_lost(exc)

        def pause_writing(self) -> None:
            super().pause_writing()
            self._watch(self.transport.get_write_buffer_size())

        def resume_writing(self) -> None:
            self._stop_watching()
            super().resume_writing()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            if self.conn.their_state is h11.SEND_BODY:  # it was refused, and its body is passed over for a while
                self._wait_for_request()

        def send_400_response(self, msg: str) -> None:
            if getattr(sys.exc_info()[1], "error_status_hint", 400) == 431:  # of h11's complaint about this request
                msg = f"{msg} Its headers may have up to {limits.header_bytes} bytes."
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
                self._patience = self.loop.call_later(limits.header_seconds, self.transport.close)

        def _stop_waiting(self) -> None:
            if self._patience is not None:
                self._patience.cancel()
                self._patience = None

        def _watch(self, unread: int) -> None:
            self._reading = self.loop.call_later(limits.send_seconds, self._require_reading, unread)

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

    return Connection
