"""Questions of this machine's own command line, answered by a server that runs: its events, one JSON line each.

A line is `{"Routed": {...}}` and so on, by the names of the events in `records`; `{"error": {"type", "message"}}` ends
a run that failed. Only who can read the server's run file has the token that these paths want.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterator

import msgspec
from starlette.types import ASGIApp, Receive, Scope, Send

from avengers_edge.errors import AvengersError
from avengers_edge.records import Ask, CancelToken, Event
from avengers_edge.server.executor import RequestExecutor, RequestHandle
from avengers_edge.server.problems import Problem, problem_of

TOKEN_HEADER = "x-avengers-token"
_LONG = 60.0
_KINDS = {400: "BadRequest", 404: "NotFound"}


class RunRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A question, how it is to be answered, and by which team (None: the server's)."""

    question: str
    ask: Ask
    team: str | None = None
    tokens: bool = True


def run_stream(executor: RequestExecutor, run: Callable[[CancelToken], Iterator[Event]]) -> ASGIApp:
    """Make a response of events, sent as they come; an error is the last line."""

    def produce(handle: RequestHandle[None]) -> None:
        try:
            for event in run(handle.cancel):
                handle.emit(_line(type(event).__name__, event))
        except AvengersError as error:
            handle.emit(_line("error", {"type": type(error).__name__, "message": str(error)}))
        except Exception as error:  # in the words of a refusal, without a word of the inside
            problem = problem_of(error)
            handle.emit(_line("error", {"type": _KINDS.get(problem.status, ""), "message": problem.message}))

    async def respond(_scope: Scope, receive: Receive, send: Send) -> None:
        async with executor.submit(produce, receive) as handle:
            headers = [(b"content-type", b"application/x-ndjson")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            while (lines := await handle.events(_LONG)) is not None:
                await send({"type": "http.response.body", "body": b"".join(lines), "more_body": True})
            last = b""
            if handle.refusal is not None:
                last = _line("error", {"type": "AvengersError", "message": handle.refusal.message})
            await send({"type": "http.response.body", "body": last, "more_body": False})

    return respond


def _line(name: str, value: object) -> bytes:
    return msgspec.json.encode({name: value}) + b"\n"


def require_token(sent: str | None, token: str | None) -> None:
    """Refuse whoever has not read the run file."""
    if token is None or sent is None or not hmac.compare_digest(sent.encode(), token.encode()):
        raise Problem(403, "this path is for the command line of the user who started the server", code="no_token")
