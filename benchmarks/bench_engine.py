#!/usr/bin/env python3
"""The engine by itself: tokens a second by width, time to first token, many prompts at once, what Python costs.

    python benchmarks/bench_engine.py --model FILE|ID [--tokens 64] [--json FILE]

Run it on an otherwise idle machine. Weights are not repacked unless `--repack` is given.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from bench_voting import find_model
from contenders import open_measured

from avengers_edge.engine.llama import LlamaEngine
from avengers_edge.engine.protocol import LoadOptions, generate_many
from avengers_edge.engine.step_cost import StepCurve
from avengers_edge.errors import AvengersError
from avengers_edge.records import Message, Request, SamplingParams

LONG_QUESTION = (
    "A library lends 240 books on Monday, a third fewer on Tuesday and half as many again as on Tuesday on Wednesday. "
    "On Thursday 35 books come back damaged, and a fifth of those cannot be mended. On Friday a school brings 12 boxes "
    "of 15 books each. How many more books were lent than came back? Explain step by step."
)
TOPICS = ("rivers", "bridges", "clocks", "bread", "glass", "winter", "music", "maps")
TASKS = ("Describe", "Write a short story about", "Explain to a child", "List ten facts about")
WIDTH, PROMPTS = 16, 32

Figures = dict[str, Any]


def main() -> None:
    """Parse the command line, measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="a GGUF file, or an installed model's name")
    parser.add_argument("--tokens", type=int, default=64, help="to generate for each sample; default: 64")
    parser.add_argument("--measure-seconds", type=float, default=30, help="for the curve; default: 30")
    parser.add_argument("--threads", type=int, help="default: one for each core")
    parser.add_argument("--repack", action="store_true", help="let llama.cpp repack weights")
    parser.add_argument("--json", type=Path, help="write every figure here")
    args = parser.parse_args()
    options = LoadOptions(threads=args.threads, repack=args.repack)
    engine, curve = open_measured(find_model(args.model), options, args.measure_seconds, in_process=True)
    found: Figures = {"model": args.model}
    with engine:
        engine.generate(ask("Hello", tokens=4))
        found |= by_width(curve)
        found |= first_token(engine)
        found |= shared_prompt(engine)
        found |= second_turn(engine)
        found |= python_share(engine, args.tokens)
        found |= many_prompts(engine, args.tokens)
    if args.json:
        args.json.write_text(json.dumps(found, indent=1), encoding="utf-8")


def ask(text: str, *, tokens: int, n: int = 1, seed: int = 0, temperature: float = 0.7) -> Request:
    """Make a request of one user message."""
    return Request((Message("user", text),), SamplingParams(temperature=temperature, max_tokens=tokens), n, seed)


def by_width(curve: StepCurve) -> Figures:
    """Tokens a second by the number of samples in a step, from the measured curve."""
    rates = {rows: rows / seconds for rows, seconds in curve.points}
    for rows, rate in rates.items():
        print(f"{rows:4} rows in a step: {curve.seconds(rows) * 1000:7.1f} ms, {rate:6.1f} tokens/s")
    return {"tokens_per_second_by_width": rates}


def first_token(engine: LlamaEngine, runs: int = 5) -> Figures:
    """Seconds until the first piece of text, each time of a prompt that is not in the cache."""
    seconds, evaluated = [], 0
    for run in range(runs):
        heard: list[float] = []
        start = time.perf_counter()
        done = engine.generate(
            ask(f"Question {run}. {LONG_QUESTION}", tokens=4, seed=run),
            on_token=lambda _index, _piece, heard=heard: heard.append(time.perf_counter()),
        )
        seconds.append(heard[0] - start)
        evaluated = done.prompt_tokens - done.reused_tokens
    middle = statistics.median(seconds)
    print(f"first token after {middle:.2f} s ({min(seconds):.2f} to {max(seconds):.2f}), {evaluated} tokens of prompt")
    return {"first_token_seconds": seconds, "first_token_prompt": evaluated}


def shared_prompt(engine: LlamaEngine) -> Figures:
    """Count the prompt tokens that ten samples of one prompt evaluate."""
    before = engine.counters()["prefilled"]
    done = engine.generate(ask(f"All of you: {LONG_QUESTION}", tokens=4, n=10))
    evaluated = int(engine.counters()["prefilled"] - before)
    print(
        f"ten samples of a prompt of {done.prompt_tokens} tokens: {evaluated} evaluated once, {done.reused_tokens} "
        "found in the cache, the last one is each sample's first row"
    )
    return {"shared_prompt": {"tokens": done.prompt_tokens, "evaluated": evaluated, "reused": done.reused_tokens}}


def second_turn(engine: LlamaEngine) -> Figures:
    """Count the prompt tokens that a chat's second turn evaluates."""
    sampling = SamplingParams(temperature=0, max_tokens=32)
    messages = (Message("user", f"First of all: {LONG_QUESTION}"),)
    first = engine.generate(Request(messages, sampling, keep=True))
    messages += (Message("assistant", first.completions[0].text), Message("user", "Now in one sentence."))
    second = engine.generate(Request(messages, sampling, keep=True))
    new = second.prompt_tokens - second.reused_tokens
    print(f"second turn of a chat: {second.prompt_tokens} tokens of prompt, {second.reused_tokens} kept, {new} new")
    return {"second_turn": {"tokens": second.prompt_tokens, "reused": second.reused_tokens}}


def python_share(engine: LlamaEngine, tokens: int) -> Figures:
    """Find the share of a step that is not llama.cpp's decode call: planning, sampling, text."""
    before = engine.counters()
    engine.generate(ask("Explain how a sundial works, and why it differs from a clock.", tokens=tokens, n=WIDTH))
    spent = {key: value - before[key] for key, value in engine.counters().items()}
    share = 1 - spent["decode_seconds"] / spent["step_seconds"]
    print(
        f"{WIDTH} samples, {spent['steps']:.0f} steps of {1000 * spent['step_seconds'] / spent['steps']:.1f} ms: "
        f"{100 * share:.1f} % outside of llama.cpp's decode"
    )
    return {"outside_decode": share, "counters": spent}


def many_prompts(engine: LlamaEngine, tokens: int) -> Figures:
    """Tokens a second with many different prompts in flight, against one at a time; evaluating prompts is included."""
    prompts = [f"{task} {topic}." for topic in TOPICS for task in TASKS][:PROMPTS]

    def rate(requests: list[Request], in_flight: int) -> float:
        start = time.perf_counter()
        done = [generation for _, generation in generate_many(engine, requests, in_flight=in_flight)]
        spent = time.perf_counter() - start
        return sum(completion.tokens for generation in done for completion in generation.completions) / spent

    alone = rate([ask(f"Please: {prompt}", tokens=tokens, seed=9) for prompt in prompts[:4]], 1)
    together = rate([ask(prompt, tokens=tokens, seed=place) for place, prompt in enumerate(prompts)], PROMPTS)
    print(f"{PROMPTS} prompts in flight: {together:.1f} tokens/s, one: {alone:.1f}, ratio {together / alone:.2f}")
    return {"many_prompts": {"alone": alone, "together": together}}


if __name__ == "__main__":
    try:
        main()
    except AvengersError as error:
        sys.exit(str(error))
