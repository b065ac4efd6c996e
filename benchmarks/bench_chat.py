#!/usr/bin/env python3
"""Seconds from Enter to an answer's first token, turn by turn of a chat, here and in llama-server.

    python benchmarks/bench_chat.py --server LLAMA_SERVER --model ID [--rounds 5]

Both get the same file, messages, sampler settings and threads, and both are warm: the model is loaded and has answered
once. Ours is the whole path of `avengers chat`: embed, route, worker process, first piece of text; llama-server streams
over HTTP on this machine and keeps the conversation in its slot. Rounds take turns, so that both share the noise.
Make LLAMA_SERVER with benchmarks/build_llama_server.py.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

from contenders import Server, Setup, as_openai

from avengers_edge.api.sync import Avengers
from avengers_edge.cli.chat.turns import Turns
from avengers_edge.config import load_settings
from avengers_edge.library.catalog import Catalog
from avengers_edge.library.store import Store
from avengers_edge.records import Ask, Message, Token

SAID = (
    "Tell me in two sentences what a lighthouse keeper does all day.",
    "Tell me more about the evenings.",
    "Describe the sound of the sea to somebody who has never heard it, in a few words.",
    "Tell me how such a keeper would feel about a visitor.",
)
TOKENS = 40
FirstToken = Callable[[Sequence[Message], str], tuple[float, str]]
"""Takes what was said before and what is said now; gives the seconds to the first piece of text, and the whole text."""


def main() -> None:
    """Parse the command line, let both take turns, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", type=Path, required=True, help="the llama-server program")
    parser.add_argument("--model", default="smollm2-135m-instruct", help="an installed model")
    parser.add_argument("--team", default="starter", help="whose table routes")
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    settings = load_settings()
    setup = Setup(
        Store(settings.home).find(Catalog.of(settings).load_model(args.model)),
        samples=1,
        max_tokens=TOKENS,
        repack=True,
    )
    with (
        Turns(Avengers.open(args.team, settings=settings)) as turns,
        Avengers.open(args.team, settings=settings) as routing,
        contextlib.closing(Server(args.server, setup, cells_per_sample=4096)) as server,
    ):
        ways: dict[str, FirstToken] = {
            "ours": lambda before, now: ours(turns, routing, args.model, before, now),
            "llama-server": lambda before, now: theirs(server, setup, before, now),
        }
        seconds: dict[str, list[list[float]]] = {way: [[] for _ in SAID] for way in ways}
        for way in ways.values():
            converse(way)  # warm
        for _ in range(args.rounds):
            for name, way in ways.items():
                for turn, took in enumerate(converse(way)):
                    seconds[name][turn].append(took)
    print("turn    ours (min to max)          llama-server                 ratio")
    for turn in range(len(SAID)):
        both = [seconds[name][turn] for name in ways]
        cells = [f"{1000 * median(took):5.0f} ms ({1000 * min(took):.0f} to {1000 * max(took):.0f})" for took in both]
        ratios = sorted(ours_took / theirs_took for ours_took, theirs_took in zip(*both, strict=True))
        print(f"{turn + 1:<8}{cells[0]:<27}{cells[1]:<29}{median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})")


def converse(way: FirstToken) -> list[float]:
    """Hold the conversation once; give the seconds to the first token of each turn."""
    before: list[Message] = []
    found = []
    for said in SAID:
        seconds, text = way(before, said)
        found.append(seconds)
        before += [Message("user", said), Message("assistant", text)]
    return found


def ours(turns: Turns, routing: Avengers, model: str, before: Sequence[Message], now: str) -> tuple[float, str]:
    """Take a turn as `avengers chat` does; the route is made too, though the model is given."""
    ask = Ask(member=model, samples=1, max_tokens=TOKENS, history=tuple(before), kind="text")
    start, first, pieces = time.perf_counter(), 0.0, []
    routing.route(now)
    for event in turns.send(now, ask, threading.Event()):
        if isinstance(event, Token):
            first = first or time.perf_counter() - start
            pieces.append(event.text)
    return first, "".join(pieces)


def theirs(server: Server, setup: Setup, before: Sequence[Message], now: str) -> tuple[float, str]:
    """Take a turn with llama-server, streamed."""
    body = as_openai([*before, Message("user", now)], setup) | {"stream": True, "seed": 1}
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=600)
    start, first, pieces = time.perf_counter(), 0.0, []
    with contextlib.closing(connection):
        connection.request("POST", "/v1/chat/completions", json.dumps(body), {"Content-Type": "application/json"})
        for line in connection.getresponse():
            if line.startswith(b"data: {"):
                piece = json.loads(line[6:])["choices"][0]["delta"].get("content")
                if piece:
                    first = first or time.perf_counter() - start
                    pieces.append(piece)
    return first, "".join(pieces)


if __name__ == "__main__":
    main()
