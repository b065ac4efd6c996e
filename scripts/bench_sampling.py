#!/usr/bin/env python3
"""Ten samples of one prompt in one batch, against ten separate `create_chat_completion` calls.

    python scripts/bench_sampling.py [--model ID ...] [--samples 10]

Same file, same settings on both sides: temperature 0.7 over the whole vocabulary, at most 64 new tokens, all cores,
flash attention, weights not repacked. Both have answered once before the clock starts, and they take turns. A ratio is
the time of the separate calls over the time of the batch; a second one is taken per token.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import llama_cpp

from avengers_edge.config import load_settings
from avengers_edge.engine.cores import usable_cores
from avengers_edge.engine.llama import LlamaEngine
from avengers_edge.engine.options import LoadOptions
from avengers_edge.library.catalog import Catalog
from avengers_edge.library.store import Store
from avengers_edge.records import Message, Request, SamplingParams

MODELS = ("qwen2.5-coder-0.5b-instruct", "qwen2.5-coder-1.5b-instruct")
PROMPTS = (
    "A shop sells pens at 3 for 2 euros. Anna buys 18 pens, then gives a third of them away. Explain step by step how "
    "many pens she keeps and what one of them cost her.",
    "Explain step by step how to find the area of a triangle with sides 5, 6 and 7.",
    "A tank holds 240 litres. One pipe fills it in 6 hours, another empties it in 8. Explain step by step how long it "
    "takes to fill with both open.",
    "Describe step by step how a sorting algorithm of your choice sorts the numbers 5, 2, 9, 1 and 7.",
    "A number is doubled, then 7 is added, then the result is divided by 3 and gives 13. Explain step by step which "
    "number it was.",
)
CELLS, MAX_TOKENS = 4096, 64


def main() -> None:
    """Parse the command line and measure model by model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", action="append", help="installed model; default: " + ", ".join(MODELS))
    parser.add_argument("--samples", type=int, default=10)
    parser.add_argument("--json", type=Path, help="write every measurement here")
    args = parser.parse_args()
    settings = load_settings()
    catalog, store = Catalog.of(settings), Store(settings.home)
    found = {}
    for model in args.model or MODELS:
        found[model] = measure(model, store.find(catalog.load_model(model)), args.samples)
    if args.json:
        args.json.write_text(json.dumps(found, indent=1), encoding="utf-8")


def measure(model: str, path: Path, samples: int) -> list[dict[str, float]]:
    """Measure all prompts on one model; print a row each and the summary."""
    rows = []
    with LlamaEngine(path, LoadOptions(cells=CELLS)) as engine:
        llama = open_high_level(path)
        batched(engine, 1)("Hello", 0), one_by_one(llama, 1)("Hello", 0)
        batch, separate = batched(engine, samples), one_by_one(llama, samples)
        for place, prompt in enumerate(PROMPTS):
            one = separate(prompt, place)
            many = batch(prompt, place)
            rows.append({"separate_s": one[0], "separate_tokens": one[1], "batch_s": many[0], "batch_tokens": many[1]})
            rate_one, rate_many = one[1] / one[0], many[1] / many[0]
            print(
                f"{model} prompt {place + 1}: separate {one[0]:.1f} s ({rate_one:.1f} tok/s), "
                f"batch {many[0]:.1f} s ({rate_many:.1f} tok/s), ratio {one[0] / many[0]:.2f}",
                flush=True,
            )
    for name, ratios in (
        ("time", [row["separate_s"] / row["batch_s"] for row in rows]),
        (
            "time per token",
            [row["separate_s"] / row["separate_tokens"] * row["batch_tokens"] / row["batch_s"] for row in rows],
        ),
    ):
        print(f"{model}, {name}: median {statistics.median(ratios):.2f}, min {min(ratios):.2f}, max {max(ratios):.2f}")
    return rows


def batched(engine: LlamaEngine, samples: int) -> Callable[[str, int], tuple[float, int]]:
    """Time the product's engine: seconds and tokens of all samples."""

    def run(prompt: str, seed: int) -> tuple[float, int]:
        sampling = SamplingParams(temperature=0.7, max_tokens=MAX_TOKENS)
        request = Request((Message("user", prompt),), sampling, samples, seed)
        start = time.perf_counter()
        generation = engine.generate(request)
        return time.perf_counter() - start, sum(completion.tokens for completion in generation.completions)

    return run


def one_by_one(llama: llama_cpp.Llama, samples: int) -> Callable[[str, int], tuple[float, int]]:
    """Time llama-cpp-python's high-level call, once a sample: seconds and tokens of all."""

    def run(prompt: str, seed: int) -> tuple[float, int]:
        tokens = 0
        start = time.perf_counter()
        for index in range(samples):
            done: Any = llama.create_chat_completion(
                [{"role": "user", "content": prompt}],
                temperature=0.7,
                top_p=1.0,
                top_k=0,
                min_p=0.0,
                repeat_penalty=1.0,
                max_tokens=MAX_TOKENS,
                seed=1000 * seed + index,
            )
            tokens += done["usage"]["completion_tokens"]
        return time.perf_counter() - start, tokens

    return run


def open_high_level(path: Path) -> llama_cpp.Llama:
    """Load with the high-level class, weights not repacked: the class has no option for it, so its default is set."""
    original = llama_cpp.llama_cpp.llama_model_default_params

    def without_repacking() -> Any:  # noqa: ANN401 - a ctypes structure
        params = original()
        params.use_extra_bufts = False
        return params

    llama_cpp.llama_cpp.llama_model_default_params = without_repacking
    try:
        cores = usable_cores()
        return llama_cpp.Llama(
            str(path),
            n_ctx=CELLS,
            n_threads=cores,
            n_threads_batch=cores,
            flash_attn=True,
            n_gpu_layers=-1,
            verbose=False,
        )
    finally:
        llama_cpp.llama_cpp.llama_model_default_params = original


if __name__ == "__main__":
    sys.exit(main())
