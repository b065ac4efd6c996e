#!/usr/bin/env python3
"""Ask a server a thousand times, and leave a third of the times: is every other answer whole, and does anything leak.

    python benchmarks/soak_server.py [--model ID] [--requests 1000] [--clients 16]

Runs `avengers serve` and asks it, streamed and not, with one to four samples. A client that leaves closes its
connection within a second of asking. An answer is whole if every choice has a reason to end and the usage is there;
streamed, [DONE] too. Every tenth of the way, at rest, these are printed: resident memory of the server and of its
worker, the server's threads and open files, and what `/metrics` says is running and waiting. Over the second half of
the way none of them may grow by more than what is allowed for here; before, caches and pools fill. The last request
asks for as many samples as run beside each other at the most: it says that so many still end, not that no sequence was
lost, for they may run in waves. Linux, for /proc.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import contextlib
import dataclasses
import http.client
import json
import random
import re
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench_server import CHAT, JSON, PATIENCE, Served, call, ours

from avengers_edge.engine.protocol import LoadOptions

WIDEST = LoadOptions().sequences - 1  # one more holds their prompt
LONGEST_STAY = 1.0  # seconds until a client that leaves has left


@dataclasses.dataclass(frozen=True, slots=True)
class State:
    """What the server holds at rest: MiB of memory of its own and of its workers, threads, open files, and work."""

    server: float
    workers: float
    threads: int
    files: int
    under_way: int

    def grown(self, since: State) -> list[str]:
        """Say what is more than it was, by more than measuring it varies."""
        return [
            f"{field.name} grew from {before:g} to {now:g}"
            for field in dataclasses.fields(self)
            if (now := getattr(self, field.name)) - (before := getattr(since, field.name)) > ALLOWED[field.name]
        ]


ALLOWED = {"server": 8.0, "workers": 8.0, "threads": 4, "files": 2, "under_way": 0}


def main() -> None:
    """Soak, and print the table; the exit code is 1 if an answer was not whole, or something grew."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2-135m-instruct", help="an installed model")
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--clients", type=int, default=16)
    args = parser.parse_args()
    draw = random.Random(11)
    with ours(args.clients) as served, concurrent.futures.ThreadPoolExecutor(args.clients) as pool:
        requests = [request(draw, args.model, place) for place in range(args.requests)]
        stays = [draw.uniform(0, LONGEST_STAY) if draw.random() < 1 / 3 else None for _ in requests]
        came: Counter[str] = Counter()
        print(f"{'requests':>8} {'server MiB':>10} {'worker MiB':>10} {'threads':>7} {'files':>5} {'under way':>9}")
        states: list[State] = []
        tenth = max(1, args.requests // 10)
        for start in range(0, args.requests, tenth):
            part = range(start, min(start + tenth, args.requests))
            came.update(pool.map(lambda place: outcome(served.port, requests[place], stays[place]), part))
            states.append(now := state_of(served))
            figures = f"{now.server:>10.1f} {now.workers:>10.1f} {now.threads:>7} {now.files:>5} {now.under_way:>9}"
            print(f"{part.stop:>8} {figures}", flush=True)
        widest = {**request(draw, args.model, 0), "n": WIDEST, "stream": False}
        last = outcome(served.port, widest, None)
    for what, count in sorted(came.items()):
        print(f"{count:>5} {what}")
    print(f"the last request, of {WIDEST} samples: {last}")
    leaks = states[-1].grown(since=states[len(states) // 2 - 1])
    print("\n".join(leaks) or "nothing grew over the second half")
    sys.exit(last != "whole" or bool(set(came) - {"whole", "left"}) or bool(leaks))


def request(draw: random.Random, model: str, place: int) -> dict[str, Any]:
    """Draw one request."""
    subject = draw.choice(("cats", "rivers", "the sea", "trains", "bread", "winter", "maps", "bees"))
    return {
        "model": model,
        "messages": [{"role": "user", "content": f"Write story number {place} about {subject}."}],
        "n": draw.randint(1, 4),
        "stream": draw.random() < 0.5,
        "stream_options": {"include_usage": True},
        "max_tokens": draw.randint(1, 48),
        "seed": place,
    }


def outcome(port: int, asked: Mapping[str, Any], stay: float | None) -> str:
    """Ask, and leave after `stay` seconds if there is one; say `left`, `whole`, or what is wrong."""
    body = json.dumps({key: value for key, value in asked.items() if asked["stream"] or key != "stream_options"})
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)) as connection:
        connection.request("POST", CHAT, body, JSON)
        if stay is not None:
            time.sleep(stay)
            return "left"
        try:
            response = connection.getresponse()
            status, raw = response.status, response.read().decode()
        except (OSError, http.client.HTTPException) as error:
            return f"broken off: {error!r}"
    if status != 200:
        return f"status {status}: {raw[:200]}"
    return streamed(raw, asked["n"]) if asked["stream"] else complete([json.loads(raw)], asked["n"])


def streamed(raw: str, samples: int) -> str:
    """Judge an event stream."""
    data = [line.removeprefix("data: ") for line in raw.splitlines() if line.startswith("data: ")]
    if not data or data[-1] != "[DONE]":
        return f"a stream without its end: {raw[-200:]!r}"
    return complete([json.loads(each) for each in data[:-1]], samples)


def complete(parts: Sequence[Mapping[str, Any]], samples: int) -> str:
    """Judge a reply, or the events of one."""
    if wrong := [part["error"] for part in parts if "error" in part]:
        return f"error in the stream: {wrong[0]}"
    ended = {each["index"] for part in parts for each in part["choices"] if each.get("finish_reason")}
    if ended != set(range(samples)):
        return f"only choices {sorted(ended)} of {samples} ended"
    return "whole" if any(part.get("usage") for part in parts) else "no usage"


def state_of(served: Served) -> State:
    """Wait for the server to be at rest, at most a minute, and say what it holds."""
    for _ in range(600):
        busy = dict(
            re.findall(r"^avengers_(running|waiting) (\d+)", call(served.port, "GET", "/metrics")[1].decode(), re.M)
        )
        if set(busy.values()) == {"0"}:
            break
        time.sleep(0.1)
    status = Path(f"/proc/{served.pid}/status").read_text(encoding="utf-8")
    threads = re.findall(r"Threads:\s+(\d+)", status)[0]
    files = len(list(Path(f"/proc/{served.pid}/fd").iterdir()))
    lists = [each.read_text(encoding="utf-8") for each in Path(f"/proc/{served.pid}/task").glob("*/children")]
    workers = sum(resident_mib(int(pid)) for pid in " ".join(lists).split())
    return State(resident_mib(served.pid), workers, int(threads), files, sum(map(int, busy.values())))


def resident_mib(pid: int) -> float:
    """Read a process's resident memory."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    return int(re.findall(r"VmRSS:\s+(\d+)", status)[0]) / 1024


if __name__ == "__main__":
    main()
