#!/usr/bin/env python3
"""On a machine with a GPU: ten samples of one prompt in one batch against one by one, and the widest useful batch.

    python benchmarks/bench_gpu.py [--shape 7b] [--file MODEL.gguf] [--gpu-layers -1]

The model has the size and tensor types of a real one and random weights, so nothing has to be downloaded; it is written
to the temporary folder, or to `--file`, which is kept and used again. `--shape tiny --gpu-layers 0` goes through the
same motions on a CPU in seconds.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from contenders import Sequential, Setup, open_measured
from write_random_gguf import SHAPES, write_gguf

from avengers_edge.engine.llama import LlamaEngine
from avengers_edge.engine.protocol import LoadOptions
from avengers_edge.errors import AvengersError
from avengers_edge.records import Message, Request, SamplingParams

PROMPT = (Message("user", "Write down whatever comes to your mind, and do not stop. " * 8),)


def main() -> None:
    """Parse the command line, make the model, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=SHAPES, default="7b")
    parser.add_argument("--file", type=Path, help="the model; written if it is not there")
    parser.add_argument("--gpu-layers", type=int, default=-1, help="-1, the default, is all")
    parser.add_argument("-n", "--samples", type=int, default=10)
    parser.add_argument("--max-tokens", type=int, default=256)
    parser.add_argument("--sequences", type=int, default=256, help="the widest batch to try; default: 256")
    parser.add_argument("--measure-seconds", type=float, default=30, help="for the curve; default: 30")
    parser.add_argument("--json", type=Path, help="write every figure here")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = args.file or Path(folder) / f"random-{args.shape}.gguf"
        if not path.exists():
            print(f"writing {path}", file=sys.stderr)
            write_gguf(path, args.shape)
        found = measure(path, args)
    if args.json:
        args.json.write_text(json.dumps(found, indent=1), encoding="utf-8")


def measure(path: Path, args: argparse.Namespace) -> dict[str, Any]:
    """Measure the curve, then the three ways to the same number of samples."""
    cells = 512 + args.sequences * max(args.max_tokens, 128)
    options = LoadOptions(cells=cells, sequences=args.sequences, gpu_layers=args.gpu_layers, repack=False)
    engine, curve = open_measured(path, options, args.measure_seconds, in_process=True)
    with engine:
        facts = engine.facts
        print(f"{facts.layers_offloaded} of {facts.layers} layers on a device")
        for what, size in facts.buffers:
            print(f"  {what}: {size / 1e6:.0f} MB")
        for rows, seconds in curve.points:
            print(f"{rows:4} rows in a step: {seconds * 1000:7.2f} ms, {rows / seconds:8.1f} tokens/s")
        widest = curve.widest(args.sequences - 1)
        print(f"widest useful batch: {widest}")
        request = Request(PROMPT, SamplingParams(max_tokens=args.max_tokens), args.samples)
        engine.generate(Request(PROMPT, SamplingParams(max_tokens=4), 2))
        batched = timed(engine, [request])
        alone = timed(engine, [Request(PROMPT, request.sampling, 1, seed) for seed in range(args.samples)])
    setup = Setup(path, args.samples, args.max_tokens)
    with Sequential(setup, gpu_layers=args.gpu_layers) as sequential:
        sequential.poll(PROMPT, "text", 1)
        poll = sequential.poll(PROMPT, "text", 0)
    rates = {"batched": batched, "one by one": alone, "create_chat_completion": (poll.seconds, poll.tokens)}
    for name, (seconds, tokens) in rates.items():
        ratio = seconds / tokens * batched[1] / batched[0]
        print(f"{name}: {tokens} tokens in {seconds:.2f} s, {tokens / seconds:.1f} tokens/s, {ratio:.2f} times as long")
    return {"curve": curve.points, "widest": widest, "facts": repr(facts), "seconds_and_tokens": rates}


def timed(engine: LlamaEngine, requests: list[Request]) -> tuple[float, int]:
    """Seconds and tokens of requests one after the other."""
    start = time.perf_counter()
    done = [engine.generate(request) for request in requests]
    tokens = sum(completion.tokens for generation in done for completion in generation.completions)
    return time.perf_counter() - start, tokens


if __name__ == "__main__":
    try:
        main()
    except AvengersError as error:
        sys.exit(str(error))
