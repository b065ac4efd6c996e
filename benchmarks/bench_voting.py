#!/usr/bin/env python3
"""Time from a question to its voted answer: this project against ten single calls and against llama-server.

    python benchmarks/bench_voting.py --model FILE|ID --questions gsm8k.jsonl.gz --out RESULTS.jsonl \
        --server "$(python benchmarks/build_llama_server.py)"

    ours        the engine in its worker process, stopping as soon as the vote is decided
    sequential  as many `create_chat_completion` calls of llama-cpp-python as samples, then the vote
    server      `llama-server` with as many slots as samples, one request with `n`, then the vote

Same file, threads, messages (the starter team's `think` instruction), sampler (temperature 0.7 over the whole
vocabulary) and vote. All are loaded and have answered once before the clock starts; they take turns, each question
beginning with another one, and only one computes at a time. Weights are not repacked unless `--repack` is given.

A line is written after every vote. Resumable: run it again and it goes on where it stopped.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import functools
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from contenders import Contender, Ours, Sequential, Server, Setup
from drawn import choose, read_rows

from avengers_edge.calibration.questions import Question
from avengers_edge.config import load_settings
from avengers_edge.errors import AvengersError
from avengers_edge.library.catalog import Catalog
from avengers_edge.library.store import Store
from avengers_edge.records import Member, Message
from avengers_edge.voting.keys import canonical_key
from avengers_edge.ways import messages_for

NAMES = ("ours", "sequential", "server")
_WARM_UP = "How many legs do 3 cats have?"

Row = dict[str, Any]


def main() -> None:
    """Parse the command line, measure what is missing, report all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="a GGUF file, or an installed model's name")
    parser.add_argument("--questions", type=Path, required=True, help="one question file")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--contenders", default=",".join(NAMES), help="some of " + ",".join(NAMES))
    parser.add_argument("--server", type=Path, help="the llama-server program, see build_llama_server.py")
    parser.add_argument("--server-option", action="append", default=[], help="one more word of its command line")
    parser.add_argument("--limit", type=int, default=30, help="questions; default: 30")
    parser.add_argument("--limit-sequential", type=int, help="questions for the slowest; default: all")
    parser.add_argument("-n", "--samples", type=int, default=10)
    parser.add_argument("--max-tokens", type=int, default=320)
    parser.add_argument("--threads", type=int, help="default: one for each core")
    parser.add_argument("--repack", action="store_true", help="let llama.cpp repack weights, on every side")
    parser.add_argument("--in-process", action="store_true", help="ours without a worker process")
    args = parser.parse_args()
    names = args.contenders.split(",")
    if unknown := sorted(set(names) - set(NAMES)):
        parser.error(f"unknown contender {unknown[0]!r}: use some of {', '.join(NAMES)}")
    if "server" in names and not (args.server and args.server.is_file()):
        parser.error("--server needs a program: build it with build_llama_server.py, or leave that contender out")

    member = think_member()
    setup = Setup(find_model(args.model), args.samples, args.max_tokens, threads=args.threads, repack=args.repack)
    questions = choose([args.questions], args.limit, seed=42, split="test")
    openers: dict[str, Callable[[], Contender]] = {
        "ours": functools.partial(Ours, setup, in_process=args.in_process),
        "sequential": functools.partial(Sequential, setup),
        "server": functools.partial(Server, args.server, setup, extra=args.server_option),
    }
    limits = {name: args.limit_sequential if name == "sequential" else None for name in names}
    common = {"model": setup.model.name, "n": setup.samples, "max_tokens": setup.max_tokens, "repack": setup.repack}
    done = {(row["contender"], row["id"]) for row in read_rows(args.out) if row.items() >= common.items()}
    todo = plan(questions, limits, done)
    if todo:
        with args.out.open("a", encoding="utf-8") as out:

            def write(row: Row) -> None:
                out.write(json.dumps(common | row) + "\n")
                out.flush()

            measure(todo, {name: openers[name] for name in names}, member, write)
    report([row for row in read_rows(args.out) if row.items() >= common.items()])


def think_member() -> Member:
    """Find the starter team's way of asking step by step; its model does not matter here."""
    team = Catalog.of(load_settings()).load_team("starter")
    return next(member for member in team.members if member.mode and member.mode.name == "think")


def find_model(name: str) -> Path:
    """Find the file of that path, or of the installed model of that name."""
    if Path(name).is_file():
        return Path(name)
    settings = load_settings()
    return Store(settings.home).find(Catalog.of(settings).load_model(name))


def plan(
    questions: Sequence[Question], limits: dict[str, int | None], done: set[tuple[str, str]]
) -> list[tuple[int, str, Question]]:
    """List who is to answer what, question by question; each question begins with another contender."""
    names = list(limits)
    todo = []
    for place, question in enumerate(questions):
        first = place % len(names)
        for name in names[first:] + names[:first]:
            limit = limits[name]
            if (limit is None or place < limit) and (name, question.id) not in done:
                todo.append((place, name, question))
    return todo


def measure(
    todo: Sequence[tuple[int, str, Question]],
    openers: dict[str, Callable[[], Contender]],
    member: Member,
    write: Callable[[Row], None],
) -> None:
    """Let the contenders answer in turn and write a row for each vote."""
    needed = {name for _, name, _ in todo}
    with contextlib.ExitStack() as stack:
        contenders = {}
        for name in sorted(needed):
            contenders[name] = contender = openers[name]()
            stack.callback(contender.close)
            contender.poll((Message("user", _WARM_UP),), "number", 0)
            print(f"{name} is loaded and warm", file=sys.stderr)
        start = time.monotonic()
        for count, (place, name, question) in enumerate(todo, 1):
            kind = question.answer_type
            poll = contenders[name].poll(messages_for(question.question, kind, member), kind, place)
            right = poll.answer is not None and poll.answer == canonical_key(str(question.answer), kind)
            write({"contender": name, "id": question.id, "right": right, **dataclasses.asdict(poll)})
            left = (len(todo) - count) * (time.monotonic() - start) / count
            said = f"{name} {poll.seconds:.1f} s, {poll.samples} samples, {poll.tokens} tokens"
            print(f"{count}/{len(todo)} {question.id}: {said}; about {left / 60:.0f} min left", file=sys.stderr)


def report(rows: Sequence[Row]) -> None:
    """Print each contender's figures, then the others' against ours, question by question."""
    by_name: dict[str, dict[str, Row]] = {}
    for row in rows:
        by_name.setdefault(row["contender"], {})[row["id"]] = row
    for name, found in by_name.items():
        seconds = [row["seconds"] for row in found.values()]
        sums = {key: sum(row[key] for row in found.values()) for key in ("right", "samples", "tokens")}
        print(
            f"{name}: {len(found)} questions, median {statistics.median(seconds):.1f} s ({min(seconds):.1f} to "
            f"{max(seconds):.1f}), {sums['right']} right, {sums['samples']} samples, {sums['tokens']} tokens, "
            f"{sums['tokens'] / sum(seconds):.1f} tokens/s"
        )
    ours = by_name.get("ours", {})
    for name in by_name:
        shared = [id_ for id_ in by_name[name] if id_ in ours]
        if name == "ours" or not shared:
            continue
        theirs = by_name[name]
        ratios = [theirs[id_]["seconds"] / ours[id_]["seconds"] for id_ in shared]
        same = sum(theirs[id_]["answer"] == ours[id_]["answer"] for id_ in shared)
        right = [sum(side[id_]["right"] for id_ in shared) for side in (theirs, ours)]
        print(
            f"{name} / ours: median {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}) over "
            f"{len(shared)} questions; same answer {same}, right {right[0]} and {right[1]}"
        )
        if any(theirs[id_]["prompt_tokens"] != ours[id_]["prompt_tokens"] for id_ in shared):
            print(f"{name} / ours: NOT COMPARABLE, the prompts differ in length")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("stopped; what was measured is kept: run it again to go on")
    except (AvengersError, OSError, RuntimeError) as error:
        sys.exit(str(error))
