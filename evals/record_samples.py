#!/usr/bin/env python3
"""Record what a model writes when it is asked in several ways: text, tokens, log-probability, seconds.

    python evals/record_samples.py --questions fit.jsonl --model MODEL --ways program,brief --out SAMPLES.jsonl
    python evals/record_samples.py ... --samples 4 --temperature 0.7 --ids IDS.txt

A ballot is a function of samples, so whatever rule is tried later replays this file (`evals/replay.py`). One line is
one sample, on the disk before the next request is handed in; run again, it goes on where it stopped. The file holds the
model's text and stays outside the repository: `evals/bare_samples.py` makes of it what may be published.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from avengers_edge.calibration.questions import Question, read_questions
from avengers_edge.config import load_settings
from avengers_edge.engine.llama import LlamaEngine
from avengers_edge.engine.protocol import LoadOptions, generate_many
from avengers_edge.library.catalog import Catalog
from avengers_edge.library.store import Store
from avengers_edge.records import Generation, Member, Message, Mode, Request, SamplingParams
from avengers_edge.voting.choices import cyclic_order, letter_chances
from avengers_edge.ways import messages_for

LETTERS = "letters"
SLOT, IN_FLIGHT = 1280, 32
"""Tokens of a prompt and its sample, and how many samples run at once, each in a part of the cache of its own."""


def main() -> None:
    """Parse the command line and record what is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--questions", type=Path, required=True)
    parser.add_argument("--model", required=True, help="a model of the store")
    parser.add_argument("--ways", required=True, help="names of modes, separated by commas")
    parser.add_argument("--modes", type=Path, help="a file of modes instead of the shipped one")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--datasets", help="only these, separated by commas")
    parser.add_argument("--per-dataset", type=int, help="at most so many questions of each data set")
    parser.add_argument("--ids", type=Path, help="only the questions whose ids stand in this file, a line each")
    parser.add_argument("--samples", type=int, default=1)
    parser.add_argument("--temperature", type=float, default=0.0)
    parser.add_argument("--max-tokens", type=int, default=384)
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--in-flight", type=int, default=IN_FLIGHT)
    args = parser.parse_args()

    settings = load_settings()
    catalog = Catalog.of(settings)
    modes = read_modes(args.modes) if args.modes else catalog.modes()
    done = {(row["id"], row["way"], row["temperature"], row.get("shift", 0)) for row in read_rows(args.out)}
    jobs = [
        (question, way, shift)
        for question in choose(args)
        for way in args.ways.split(",")
        for shift in shifts_of(question, way)
        if (question.id, way, args.temperature, shift) not in done
    ]
    print(f"{len(jobs)} requests of {args.samples} to do, {len(done)} done", file=sys.stderr, flush=True)

    def requests() -> Iterator[Request]:
        for question, way, shift in jobs:
            if way == LETTERS:
                yield letters_request(question, modes[way], shift)
            else:
                yield request_for(question, Member(args.model, modes[way]), args)

    path = Store(settings.home).find(catalog.load_model(args.model))
    start = time.monotonic()
    slots = args.in_flight
    options = LoadOptions(cells=SLOT, sequences=slots, split=True, repack=False)
    with LlamaEngine(path, options) as engine, args.out.open("a", encoding="utf-8") as out:
        engine.measure(10.0)
        ended = generate_many(engine, requests(), in_flight=max(1, args.in_flight // args.samples))
        for count, (place, generation) in enumerate(ended, 1):
            question, way, shift = jobs[place]
            for row in rows_of(question, args.model, way, args, generation):
                if way == LETTERS:
                    row |= {"shift": shift, "chances": chances(question, shift, generation)}
                out.write(json.dumps(row, ensure_ascii=False) + "\n")
            out.flush()
            left = (len(jobs) - count) * (time.monotonic() - start) / count
            if count % 8 == 0 or count == len(jobs):
                print(f"{count} of {len(jobs)}, about {left / 60:.0f} min left", file=sys.stderr, flush=True)


def shifts_of(question: Question, way: str) -> range:
    """Name the orders of its options that a question is asked in: all of them by letters, its own otherwise."""
    if way != LETTERS:
        return range(1)
    choices = question.choices or ()
    usable = question.answer_type == "choice" and cyclic_order(question.question, choices, 0) is not None
    return range(len(choices) if usable else 0)


def letters_request(question: Question, mode: Mode, shift: int) -> Request:
    """Ask for a letter, with the options moved up by `shift` places."""
    moved = cyclic_order(question.question, question.choices or (), shift)
    assert moved is not None
    content = f"{moved}\n\n{mode.instructions['choice']}"
    return Request((Message("user", content),), SamplingParams(temperature=0.0, max_tokens=1, logprobs=20))


def chances(question: Question, shift: int, generation: Generation) -> list[float]:
    """Read each option's share of the first token's probability."""
    (done,) = generation.completions
    (token,) = done.logprobs or ()
    return [round(chance, 5) for chance in letter_chances(token, question.choices or (), shift)]


def choose(args: argparse.Namespace) -> list[Question]:
    """Take the questions that are asked for, in the file's order."""
    wanted = set(args.datasets.split(",")) if args.datasets else None
    ids = set(args.ids.read_text(encoding="utf-8").split()) if args.ids else None
    taken: dict[str, int] = {}
    chosen = []
    for question in read_questions(args.questions):
        if (wanted is not None and question.dataset not in wanted) or (ids is not None and question.id not in ids):
            continue
        taken[question.dataset] = taken.get(question.dataset, 0) + 1
        if args.per_dataset is None or taken[question.dataset] <= args.per_dataset:
            chosen.append(question)
    return chosen


def request_for(question: Question, member: Member, args: argparse.Namespace) -> Request:
    """Ask as the product would, the kind being known, with each token's log-probability."""
    kind = question.answer_type
    usual = SamplingParams(temperature=args.temperature, max_tokens=args.max_tokens, logprobs=0)
    sampling = member.sampling(kind, usual)
    return Request(messages_for(question.question, kind, member), sampling, args.samples, args.seed)


def rows_of(
    question: Question, model: str, way: str, args: argparse.Namespace, generation: Generation
) -> Iterator[dict[str, Any]]:
    """Write down each sample; the seconds of a request are shared out evenly."""
    seconds = (generation.prefill_ms + generation.decode_ms) / 1000 / len(generation.completions)
    for done in generation.completions:
        logprobs = [token.logprob for token in done.logprobs or ()]
        yield {
            "id": question.id,
            "dataset": question.dataset,
            "kind": question.answer_type,
            "model": model,
            "way": way,
            "temperature": args.temperature,
            "index": done.index,
            "text": done.text,
            "tokens": done.tokens,
            "finish": done.finish_reason,
            "logprob": round(sum(logprobs), 4),
            "prompt_tokens": generation.prompt_tokens,
            "seconds": round(seconds, 3),
        }


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Read what an earlier run wrote; a last line that a kill cut off is dropped."""
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    whole = [line for line in lines if line.endswith("\n")]
    if len(whole) < len(lines):
        path.write_text("".join(whole), encoding="utf-8")
    return [json.loads(line) for line in whole]


def read_modes(path: Path) -> dict[str, Mode]:
    """Read a file of instructions: one table for each way, a text for each kind of answer."""
    with path.open("rb") as file:
        return {name: Mode(name, instructions=entry) for name, entry in tomllib.load(file).items()}


if __name__ == "__main__":
    main()
