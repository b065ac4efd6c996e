#!/usr/bin/env python3
"""Tokens a second with many clients at once, here and in llama-server, and how soon `/health` answers meanwhile.

    python benchmarks/bench_server.py --server LLAMA_SERVER --model ID [--clients 32] [--requests 96] [--rounds 3]

Both get the same file, questions, sampler settings and threads, as many slots as there are clients, and are warm. A
client asks, waits for the whole answer and asks the next question until there are none left; the rate is completion
tokens over the seconds from the first question to the last answer. No answer may end before its last token: whose
samples happen to be shorter would else read more prompts for as many tokens. Rounds take turns, so that both share the
noise. Beside them one more client asks for `/health` twenty times a second. Make LLAMA_SERVER with
benchmarks/build_llama_server.py.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import contextlib
import http.client
import json
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from contenders import Server, Setup, as_openai, free_port

from avengers_edge.calibration.questions import builtin_questions
from avengers_edge.config import load_settings
from avengers_edge.engine.llama_context import LlamaModel
from avengers_edge.engine.protocol import LoadOptions
from avengers_edge.library.catalog import Catalog
from avengers_edge.library.store import Store
from avengers_edge.records import Message

CHAT = "/v1/chat/completions"
JSON = {"Content-Type": "application/json"}
PATIENCE = 3600
SLOT = 1024
"""Tokens of context for each client."""


@dataclass(frozen=True, slots=True)
class Round:
    """One round: completion tokens a second, and the seconds that `/health` took, each of them."""

    rate: float
    health: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Served:
    """A running `avengers serve`: its port, and its process's id."""

    port: int
    pid: int


def main() -> None:
    """Parse the command line, let both take turns, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", type=Path, required=True, help="the llama-server program")
    parser.add_argument("--model", default="smollm2-135m-instruct", help="an installed model")
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--requests", type=int, default=96)
    parser.add_argument("--tokens", type=int, default=64, help="longest answer")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    settings = load_settings()
    path = Store(settings.home).find(Catalog.of(settings).load_model(args.model))
    setup = Setup(path, samples=args.clients, max_tokens=args.tokens, repack=True)
    # A question is asked once in a round and in no other: llama-server keeps the prompts that it has seen.
    texts = [question.question for question in builtin_questions()]
    random.Random(7).shuffle(texts)
    whole = {"model": args.model, "logit_bias": dict.fromkeys(map(str, endings(path)), -100)}
    bodies = [
        json.dumps(as_openai([Message("user", text)], setup) | whole | {"seed": place})
        for place, text in enumerate(texts)
    ]
    parts = [bodies[start : start + args.requests] for start in range(0, len(bodies), args.requests)]
    if len(parts) <= args.rounds:
        parser.error(f"there are questions for {len(parts) - 1} rounds of {args.requests}: ask fewer or less often")
    with ours(args.clients) as served, contextlib.closing(Server(args.server, setup, cells_per_sample=SLOT)) as theirs:
        ports = {"ours": served.port, "llama-server": theirs.port}
        rounds: dict[str, list[Round]] = {name: [] for name in ports}
        for port in ports.values():
            load(port, parts[args.rounds][: args.clients], args.clients)  # warm
        for turn in range(args.rounds):
            for name, port in ports.items():
                rounds[name].append(load(port, parts[turn], args.clients))
                print(f"round {turn + 1}, {name}: {rounds[name][-1].rate:.1f} tokens/s", file=sys.stderr, flush=True)
    report(rounds)


def endings(path: Path) -> list[int]:
    """Name the tokens with which the model ends an answer."""
    with LlamaModel(path, LoadOptions()) as model:
        return [token for token in range(model.vocabulary) if model.ends_generation(token)]


def report(rounds: dict[str, list[Round]]) -> None:
    """Print both servers and their ratio."""
    for name, done in rounds.items():
        rates = [each.rate for each in done]
        health = sorted(seconds for each in done for seconds in each.health)
        print(
            f"{name:<13} {median(rates):6.1f} tokens/s ({min(rates):.1f} to {max(rates):.1f}); /health "
            f"{1000 * median(health):.1f} ms, p99 {1000 * health[int(0.99 * (len(health) - 1))]:.1f} ms, "
            f"worst {1000 * health[-1]:.1f} ms of {len(health)}"
        )
    ratios = sorted(a.rate / b.rate for a, b in zip(*rounds.values(), strict=True))
    print(f"ours over llama-server: {median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})")


def load(port: int, bodies: Sequence[str], clients: int) -> Round:
    """Have so many clients ask all questions; each takes the next one as it is free."""
    over = threading.Event()
    with concurrent.futures.ThreadPoolExecutor(clients + 1) as pool:
        watcher = pool.submit(watch, port, over)
        start = time.perf_counter()
        try:
            tokens = sum(pool.map(lambda body: ask(port, body), bodies))
        finally:
            over.set()
        return Round(tokens / (time.perf_counter() - start), tuple(watcher.result()))


def ask(port: int, body: str) -> int:
    """Ask one question; give the answer's tokens."""
    status, raw = call(port, "POST", CHAT, body)
    if status != 200:
        raise RuntimeError(f"the server at {port} answered {status}: {raw[:300]!r}")
    return int(json.loads(raw)["usage"]["completion_tokens"])


def watch(port: int, over: threading.Event) -> list[float]:
    """Ask for `/health` until it is over; give the seconds of each."""
    took = []
    while not over.wait(0.05):
        start = time.perf_counter()
        call(port, "GET", "/health")
        took.append(time.perf_counter() - start)
    return took


def call(port: int, method: str, path: str, body: str | None = None) -> tuple[int, bytes]:
    """Make one request on a connection of its own."""
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)) as connection:
        connection.request(method, path, body, JSON)
        response = connection.getresponse()
        return response.status, response.read()


@contextlib.contextmanager
def ours(width: int) -> Iterator[Served]:
    """Run `avengers serve` until the block is left."""
    port = free_port()
    command = [sys.executable, "-m", "avengers_edge", "serve", "--port", str(port), "--width", str(width)]
    command += ["--slots", str(width), "--context", str(width * SLOT)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            while not answers(port):
                if process.poll() is not None:
                    raise RuntimeError(f"avengers serve ended with exit code {process.returncode}: run it to see why")
                time.sleep(0.1)
            yield Served(port, process.pid)
        finally:
            process.terminate()


def answers(port: int) -> bool:
    """Tell whether the server is ready."""
    with contextlib.suppress(OSError):
        return call(port, "GET", "/health")[0] == 200
    return False


if __name__ == "__main__":
    main()
