"""A server's registry on engines that a reader can compute by hand, and a client that talks to it without a network."""

from __future__ import annotations

import asyncio
import contextlib
import json

import httpx
import numpy as np
from fakes import Lengths, WordEngine, WordLengthEmbedder

from avengers_edge.records import Member, Ranked, Route, SamplingParams, Team
from avengers_edge.runtime import Avengers
from avengers_edge.server.app import App
from avengers_edge.server.model_registry import ModelRegistry
from avengers_edge.server.options import Limits, ServeOptions

PAIR = Team("pair", "two", (Member("big"), Member("small")), "t", samples=3, switch_below=0.0)
OTHER = Team("other", "one", (Member("small"),), None, sampling=SamplingParams(max_tokens=7))
SUM = "How many apples are 2 and 3 apples?"
CHAT = "/v1/chat/completions"
BODY = {"model": "big", "messages": [{"role": "user", "content": SUM}]}


class Ranks:
    def route(self, vector, *, members, prefer, resident):
        ranked = (Ranked("big", 0.8), Ranked("small", 0.4))
        return Route(1, 0.5, tuple(each for each in ranked if each.model in members), 0.4)


class Served:
    """One application on a fake engine."""

    def __init__(
        self, *texts, limits=None, routes=(), warm_error=None, takers=("big", "small", "third"), pair=PAIR, **options
    ):
        self.engine, self.closed, self.leased = WordEngine(list(texts) or ["Answer: 5"]), False, []
        self.warm_error = warm_error

        def team(name):
            chosen = {"pair": pair, "other": OTHER}[name]
            router = (lambda embedder: Ranks()) if chosen.table else (lambda embedder: None)
            takes_tools = set(takers).__contains__
            avengers = Avengers(chosen, WordLengthEmbedder, router, self.lease, takes_tools=takes_tools)
            avengers.warm = self.warm
            return avengers

        self.registry = ModelRegistry(
            team("pair"),
            teams=lambda: ("other", "pair"),
            open_team=team,
            installed=lambda: dict.fromkeys(("big", "small", "third")),  # without files
            lease=self.lease,
            resident=lambda: ("big",),
            vectors=Lengths,
            close=self.close,
        )
        self.app = App(self.registry, ServeOptions(limits=limits or Limits(), **options), routes)

    def warm(self):
        if self.warm_error:
            raise self.warm_error

    def close(self):
        self.closed = True

    @contextlib.contextmanager
    def lease(self, model):
        self.leased.append(model)
        yield self.engine

    def __call__(self, method, path, body=None, *, headers=(), content=None):
        """Send one request and give the response."""
        return asyncio.run(self._one(method, path, body, dict(headers), content))

    async def _one(self, method, path, body, headers, content):
        async with self.client() as client:
            if content is not None:
                headers = {"content-type": "application/json"} | headers
                return await client.request(method, path, content=content, headers=headers)
            return await client.request(method, path, json=body, headers=headers)

    @contextlib.asynccontextmanager
    async def client(self):
        transport = httpx.ASGITransport(self.app.asgi, raise_app_exceptions=True)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            yield client

    def chat(self, text=SUM, *, model="avengers", **fields):
        """Ask for a chat completion."""
        body = {"model": model, "messages": [{"role": "user", "content": text}], **fields}
        return self("POST", "/v1/chat/completions", body)


async def until(holds):
    """Wait for what has to come."""
    for _ in range(2000):
        if holds():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it did not come")


class Caller:
    """Speaks ASGI itself, so that it can leave in the middle."""

    def __init__(self, served, **fields):
        self.gone, self.sent = asyncio.Event(), []
        self.unread = [{"type": "http.request", "body": json.dumps(BODY | fields).encode(), "more_body": False}]
        headers = [(b"host", b"127.0.0.1"), (b"content-type", b"application/json")]
        scope = {"type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": "1.1"}
        scope |= {"method": "POST", "path": CHAT, "raw_path": CHAT.encode(), "query_string": b"", "headers": headers}
        scope |= {"scheme": "http", "server": ("127.0.0.1", 80), "client": ("127.0.0.1", 9), "root_path": ""}
        self.task = asyncio.create_task(served.app.asgi(scope, self.receive, self.send))

    async def receive(self):
        if self.unread:
            return self.unread.pop()
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message):
        self.sent.append(message)

    @property
    def status(self):
        return self.sent[0]["status"] if self.sent else None

    @property
    def body(self):
        return b"".join(message.get("body", b"") for message in self.sent)


def events(response):
    """Take a stream apart: its comments, its objects, and whether it ended with [DONE]."""
    comments, objects, done = [], [], False
    for frame in response.text.split("\n\n"):
        if frame.startswith(": "):
            comments.append(frame[2:])
        elif frame == "data: [DONE]":
            done = True
        elif frame:
            assert frame.startswith("data: "), frame
            assert not done
            objects.append(json.loads(frame[6:]))
    return comments, objects, done


def text_of(objects, index=0):
    """Join the pieces of one choice of a chat."""
    choices = [choice for each in objects for choice in each["choices"] if choice["index"] == index]
    return "".join(choice["delta"].get("content", "") for choice in choices)


def vector(row):
    return np.asarray(row, dtype=np.float32)
