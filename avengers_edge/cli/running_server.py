"""A server of this home that runs: its run file, and questions that it answers instead of this process.

`avengers serve` writes the run file when it listens and removes it when it ends. What is read there is believed only
if it is this user's own and the server answers; else the question is answered as if there were none.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import secrets
import socket
import threading
from collections.abc import Generator, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self
from urllib.parse import urlsplit

import msgspec

from avengers_edge import __version__, errors
from avengers_edge._util.files import read_small, write_text
from avengers_edge.config import Settings
from avengers_edge.errors import AvengersError, EngineDied
from avengers_edge.records import Answer, Ask, Event, Finished, Loading, Progress, Routed, Token

if TYPE_CHECKING:
    from avengers_edge.runtime import Avengers

_FILE = "serve.json"
_MOST_BYTES = 4096
_CONNECT_SECONDS = 0.5
_EVENTS: dict[str, type[Event]] = {each.__name__: each for each in (Routed, Loading, Token, Progress, Finished)}


class Runs(Protocol):
    """What answers questions: a team in this process, or a server that runs."""

    def run(
        self, question: str, ask: Ask | None = None, cancel: threading.Event | None = None, *, tokens: bool = True
    ) -> Iterator[Event]:
        """Answer a question, event by event; see `Avengers.run`."""

    def answer(self, question: str, ask: Ask | None = None, cancel: threading.Event | None = None) -> Answer:
        """Answer a question."""


class RunFile(msgspec.Struct, frozen=True):
    """Where a server listens, its process, the token of its user, and its version, which has to be ours."""

    url: str
    pid: int
    token: str
    version: str


def new_token() -> str:
    """Make the token of a server's own user."""
    return secrets.token_urlsafe(32)


@contextlib.contextmanager
def run_file(home: Path, token: str) -> Iterator[Run]:
    """Hold the run file of a server; `listens` writes it, unless another server of this home has one."""
    path = home / _FILE
    run = Run(path, token)
    try:
        yield run
    finally:
        if run.written:
            path.unlink(missing_ok=True)


@dataclass(slots=True)
class Run:
    """A server that starts."""

    path: Path
    token: str
    written: bool = False

    def listens(self, url: str) -> None:
        """Write the run file, readable by this user alone."""
        if find_server(self.path.parent) is None:
            self.path.unlink(missing_ok=True)
            write_text(self.path, msgspec.json.encode(RunFile(url, os.getpid(), self.token, __version__)).decode())
            self.path.chmod(0o600)
            self.written = True


def find_server(home: Path) -> RunningServer | None:
    """Find the server of this home that runs; None where there is none, or its file is stale or another user's."""
    path = home / _FILE
    try:
        if hasattr(os, "getuid") and path.stat().st_uid != os.getuid():
            return None
        found = msgspec.json.decode(read_small(path, _MOST_BYTES), type=RunFile)
        server = RunningServer(found)
        server.check()
    except (OSError, ValueError, AvengersError):
        return None
    return server


class RunningServer:
    """A server of this home, asked over loopback with the token of its run file."""

    def __init__(self, found: RunFile, team: str | None = None) -> None:
        self._found, self._team = found, team
        self.url = found.url

    def of_team(self, team: str | None) -> RunningServer:
        """Return the same server, asked for another team."""
        return RunningServer(self._found, team)

    def check(self) -> None:
        """Connect once.

        Raises:
            OSError: nobody listens there.
            AvengersError: it is of another version, or not on this machine.

        """
        parts = urlsplit(self.url)
        if parts.scheme != "http" or self._found.version != __version__:
            raise AvengersError("the server that runs is another one: stop it with `avengers stop`")
        socket.create_connection((parts.hostname or "", parts.port or 0), _CONNECT_SECONDS).close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Hold nothing."""

    def run(
        self, question: str, ask: Ask | None = None, cancel: threading.Event | None = None, *, tokens: bool = True
    ) -> Generator[Event, None, None]:
        """Have the server answer a question; leaving the iteration, or `cancel` between two events, ends its work."""
        body = {"question": question, "ask": ask or Ask(), "tokens": tokens, "team": self._team}
        with contextlib.closing(self._connection()) as connection:
            for line in self._lines(connection, "/api/run", body):
                ((name, value),) = line.items()
                if name == "error":
                    kind = getattr(errors, str(value["type"]), AvengersError)
                    raise (AvengersError if kind is errors.MissingExtra else kind)(value["message"])
                yield msgspec.convert(value, _EVENTS[name])
                if cancel is not None and cancel.is_set():
                    return

    def answer(self, question: str, ask: Ask | None = None, cancel: threading.Event | None = None) -> Answer:
        """Have the server answer a question."""
        for event in self.run(question, ask, cancel, tokens=False):
            if isinstance(event, Finished):
                return event.answer
        raise errors.Cancelled("cancelled before the server had answered: ask again")

    def stop(self) -> None:
        """Ask it to end; what is under way has its time to drain."""
        with contextlib.closing(self._connection()) as connection:
            list(self._lines(connection, "/api/stop", {}))

    def _connection(self) -> http.client.HTTPConnection:
        parts = urlsplit(self.url)
        return http.client.HTTPConnection(parts.hostname or "", parts.port)

    def _lines(self, connection: http.client.HTTPConnection, path: str, body: object) -> Iterator[dict[str, Any]]:
        headers = {"Content-Type": "application/json", "x-avengers-token": self._found.token}
        try:
            connection.request("POST", path, msgspec.json.encode(body), headers)
            answer = connection.getresponse()
            if answer.status != http.client.OK:
                said = json.loads(answer.read())["error"]["message"]
                raise AvengersError(f"the server at {self.url} refused: {said}")
            for line in answer:
                if line.strip():
                    yield msgspec.json.decode(line)
        except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError) as error:
            raise EngineDied(f"the server at {self.url} broke off: {error}; ask again") from error


def open_runs(settings: Settings, team: str | None) -> AbstractContextManager[Runs]:
    """Return what answers questions: the server of this home where one runs, else the team, in this process."""
    if server := find_server(settings.home):
        return server.of_team(team)
    return _open_team(settings, team)


def _open_team(settings: Settings, team: str | None) -> Avengers:
    from avengers_edge.runtime import Avengers

    return Avengers.open(settings, team)
