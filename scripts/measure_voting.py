#!/usr/bin/env python3
"""Greedy against voted accuracy of one member on number questions, and what exact stopping saves.

    python scripts/measure_voting.py --questions gsm8k.jsonl.gz --out RESULTS.jsonl

Four questions are in flight at a time. Resumable: run it again and it goes on where it stopped.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from drawn import as_request, choose, read_rows

from avengers_edge.calibration.graders import grade
from avengers_edge.calibration.questions import Question
from avengers_edge.config import load_settings
from avengers_edge.engine.llama import LlamaEngine
from avengers_edge.engine.protocol import LoadOptions, generate_many
from avengers_edge.library.catalog import Catalog
from avengers_edge.library.store import Store
from avengers_edge.records import Completion, Generation, Member, Request
from avengers_edge.voting.ballot import Ballot
from avengers_edge.voting.keys import canonical_key
from avengers_edge.voting.tally import winner

IN_FLIGHT, CELLS_PER_SAMPLE = 4, 1024


def main() -> None:
    """Parse the command line, measure both ways, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--questions", type=Path, required=True, help="one question file")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--team", default="starter")
    parser.add_argument("--member", default="qwen2.5-coder-1.5b-instruct:think")
    parser.add_argument("-n", "--samples", type=int, default=8)
    parser.add_argument("--limit", type=int, default=40)
    parser.add_argument("--max-tokens", type=int, default=384)
    args = parser.parse_args()

    settings = load_settings()
    catalog = Catalog.of(settings)
    member = catalog.load_team(args.team).member(args.member)
    if member is None:
        sys.exit(f"team {args.team} has no member {args.member}")
    path = Store(settings.home).find(catalog.load_model(member.model))
    questions = choose([args.questions], args.limit, seed=42, split="test")
    with LlamaEngine(path, LoadOptions(cells=IN_FLIGHT * args.samples * CELLS_PER_SAMPLE)) as engine:
        for way in ("greedy", "voted"):
            done = {row["id"] for row in read_rows(args.out) if row["way"] == way}
            todo = [question for question in questions if question.id not in done]
            run(engine, way, todo, member, args)
    report(read_rows(args.out), args.samples)


def run(engine: LlamaEngine, way: str, todo: Sequence[Question], member: Member, args: argparse.Namespace) -> None:
    """Ask all questions one way and append a line for each."""
    ballots = [Ballot("number", args.samples if way == "voted" else 1) for _ in todo]

    def requests() -> Iterator[Request]:
        for place, question in enumerate(todo):
            request = as_request(question, member, args.max_tokens)
            if way == "voted":
                sampling = dataclasses.replace(request.sampling, temperature=0.7)
                least = ballots[place].needed
                request = dataclasses.replace(request, sampling=sampling, n=args.samples, seed=place, least=least)
            yield request

    def heard(place: int, completion: Completion) -> int:
        return ballots[place].add(completion)

    start = time.monotonic()
    with args.out.open("a", encoding="utf-8") as out:
        for count, (place, generation) in enumerate(
            generate_many(engine, requests(), in_flight=IN_FLIGHT, on_finish=heard), 1
        ):
            out.write(json.dumps(as_row(way, todo[place], ballots[place], generation)) + "\n")
            out.flush()
            left = (len(todo) - count) * (time.monotonic() - start) / count
            print(f"{way}: {count}/{len(todo)}, about {left / 60:.0f} min left", file=sys.stderr, flush=True)


def as_row(way: str, question: Question, ballot: Ballot, generation: Generation) -> dict[str, Any]:
    """Grade the winner and count what was used."""
    leader = winner(ballot.votes)
    if way == "greedy":
        (only,) = generation.completions
        right = grade(question, only.text, truncated=only.finish_reason == "length")
    else:
        right = leader is not None and leader.key == canonical_key(str(question.answer), "number")
    return {
        "way": way,
        "id": question.id,
        "right": right,
        "samples": ballot.finished,
        "tokens": sum(completion.tokens for completion in generation.completions),
        "cut": sum(c.tokens for c in generation.completions if c.finish_reason == "cancelled"),
        "votes": [(vote.key, vote.count) for vote in ballot.votes],
        "seconds": round((generation.prefill_ms + generation.decode_ms) / 1000, 2),
    }


def report(rows: Sequence[dict[str, Any]], samples: int) -> None:
    """Print both accuracies and the samples that stopping saved."""
    for way in ("greedy", "voted"):
        chosen = [row for row in rows if row["way"] == way]
        right = sum(row["right"] for row in chosen)
        print(f"{way}: {right} of {len(chosen)} right, {100 * right / len(chosen):.1f} %")
    voted = [row for row in rows if row["way"] == "voted"]
    used, asked = sum(row["samples"] for row in voted), samples * len(voted)
    print(f"exact stopping: {used} of {asked} samples ran to their end, {100 * (1 - used / asked):.0f} % were spared")
    tokens, cut = sum(row["tokens"] for row in voted), sum(row["cut"] for row in voted)
    print(f"tokens: {tokens}, of them {cut} in cancelled samples")


if __name__ == "__main__":
    main()
