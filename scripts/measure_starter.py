#!/usr/bin/env python3
"""Measure a team's members on question files: every answer with its tokens and seconds, one JSON line each.

    python scripts/measure_starter.py --questions DIR --out ANSWERS.jsonl

Greedy, many questions in flight, resumable: run it again and it goes on where it stopped. `fit_starter.py` grades what
it wrote. Code questions are left out: model-written code is run only in a sandbox, which this driver does not have.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import random
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from avengers_edge.calibration.questions import Question, read_questions
from avengers_edge.config import load_settings
from avengers_edge.election import messages_for
from avengers_edge.engine.llama import LlamaEngine
from avengers_edge.engine.options import LoadOptions
from avengers_edge.engine.ticket import generate_many
from avengers_edge.library.catalog import Catalog
from avengers_edge.library.store import Store
from avengers_edge.records import Member, Request, SamplingParams, Team

IN_FLIGHT, CELLS_PER_QUESTION = 32, 1536
# Benchmarks compare text answers too, and their questions say in which form.
TEXT_INSTRUCTIONS = {
    "think": "Think step by step.",
    "direct": "Reply with the answer only, without an explanation.",
}


def main() -> None:
    """Parse the command line and measure model by model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--questions", type=Path, required=True, help="folder of *.jsonl.gz question files")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--team", default="starter")
    parser.add_argument("--per-dataset", type=int, default=16)
    parser.add_argument("--max-prompt", type=int, default=1024, help="leave out questions of more prompt tokens")
    parser.add_argument("--max-tokens", type=int, default=384)
    parser.add_argument("--seed", type=int, default=42)
    args = parser.parse_args()

    settings = load_settings()
    catalog, store = Catalog.of(settings), Store(settings.home)
    team = catalog.load_team(args.team)
    questions = choose(sorted(args.questions.glob("*.jsonl.gz")), args.per_dataset, args.seed)
    done = {(row["member"], row["id"]) for row in read_rows(args.out)}
    print(
        f"{len(questions)} questions, {len(team.members)} members, {len(done)} answers already there", file=sys.stderr
    )
    for model in team.models:
        path = store.find(catalog.load_model(model))
        measure_model(path, model, team, questions, done, args)


def choose(files: Sequence[Path], per_file: int, seed: int, split: str = "train") -> list[Question]:
    """Draw the same questions every time, from the given split where a file has it.

    The files take turns, so that a run that was stopped still covers all of them.
    """
    drawn = []
    for path in files:
        rows = [question for question in read_questions(path) if question.answer_type != "code"]
        pool = [question for question in rows if question.split == split] or rows
        random.Random(seed).shuffle(pool)
        drawn.append(pool[:per_file])
    turns = itertools.zip_longest(*drawn)
    return [question for turn in turns for question in turn if question is not None]


def read_rows(out: Path) -> list[dict[str, Any]]:
    """Read what an earlier run wrote; a last line cut by a kill is dropped."""
    if not out.exists():
        return []
    lines = out.read_text(encoding="utf-8").splitlines(keepends=True)
    whole = [line for line in lines if line.endswith("\n")]
    if len(whole) < len(lines):
        out.write_text("".join(whole), encoding="utf-8")
    return [json.loads(line) for line in whole]


def measure_model(
    path: Path,
    model: str,
    team: Team,
    questions: Sequence[Question],
    done: set[tuple[str, str]],
    args: argparse.Namespace,
) -> None:
    """Ask one loaded model every question in each of its modes."""
    members = [member for member in team.members if member.model == model]
    todo = [(q, m) for m in members for q in questions if (m.name, q.id) not in done]
    if not todo:
        return
    options = LoadOptions(cells=IN_FLIGHT * CELLS_PER_QUESTION)
    with LlamaEngine(path, options) as engine, args.out.open("a", encoding="utf-8") as out:
        kept: list[tuple[Question, Member]] = []

        def requests() -> Iterator[Request]:
            for question, member in todo:
                request = as_request(question, member, args.max_tokens)
                if engine.count_tokens(request) <= args.max_prompt:
                    kept.append((question, member))
                    yield request

        start = time.monotonic()
        for count, (place, generation) in enumerate(generate_many(engine, requests(), in_flight=IN_FLIGHT), 1):
            question, member = kept[place]
            (completion,) = generation.completions
            row = {
                "id": question.id,
                "dataset": question.dataset,
                "member": member.name,
                "text": completion.text,
                "tokens": completion.tokens,
                "finish_reason": completion.finish_reason,
                "prompt_tokens": generation.prompt_tokens,
                "seconds": round((generation.prefill_ms + generation.decode_ms) / 1000, 4),
            }
            out.write(json.dumps(row, ensure_ascii=False) + "\n")
            out.flush()
            left = (len(todo) - count) * (time.monotonic() - start) / count
            print(
                f"\r{model}: {count}/{len(todo)}, about {left / 60:.0f} min left ", end="", file=sys.stderr, flush=True
            )
        print(file=sys.stderr)


def as_request(question: Question, member: Member, max_tokens: int) -> Request:
    """Ask a question as the product would, its kind being known."""
    kind, mode = question.answer_type, member.mode
    if mode is not None:
        instructions = MappingProxyType({**mode.instructions, "text": TEXT_INSTRUCTIONS[mode.name]})
        member = dataclasses.replace(member, mode=dataclasses.replace(mode, instructions=instructions))
    limit = (member.mode and member.mode.limit(kind)) or max_tokens
    sampling = SamplingParams(temperature=0, max_tokens=min(limit, max_tokens))
    return Request(messages_for(question.question, kind, member), sampling)


if __name__ == "__main__":
    main()
