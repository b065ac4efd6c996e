"""Time the routing decision: in a warm process, as a whole command, and the bare `--help`. Asserts nothing.

    python benchmarks/bench_route.py ["QUESTION"] [--table FILE]

Without a table it uses the first one that ships or, where none does, a made-up one of the usual size.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

QUESTION = "A train travels 60 km in 45 minutes. What is its average speed in km/h?"
COMMAND = [sys.executable, "-m", "avengers_edge"]


def main() -> None:
    """Print median, least and greatest of each."""
    parser = argparse.ArgumentParser(description="Time the routing decision.")
    parser.add_argument("question", nargs="?", default=QUESTION)
    parser.add_argument("--table", type=Path)
    arguments = parser.parse_args()
    report("warm route in process", time_warm(arguments.question, arguments.table, runs=20))
    for name, command in (("route --json", ["route", "--json", arguments.question]), ("--help", ["--help"])):
        if failed := fails([*COMMAND, *command]):
            print(f"{f'avengers {name}, whole process':36} skipped: {failed}")
        else:
            report(f"avengers {name}, whole process", time_each(lambda: fails([*COMMAND, *command]), runs=10))  # noqa: B023


def time_warm(question: str, table: Path | None, runs: int) -> list[float]:
    """Embed and route the same question again and again, after one call to warm up."""
    from avengers_edge.config import shipped_dir
    from avengers_edge.engine.devices import usable_cores
    from avengers_edge.routing.embedder import OnnxEmbedder
    from avengers_edge.routing.router import Router
    from avengers_edge.routing.table import CentroidTable

    started = time.perf_counter()
    with OnnxEmbedder(shipped_dir() / "embedder", threads=min(4, usable_cores())) as embedder:
        print(f"{'embedder, imports and load':36} {1000 * (time.perf_counter() - started):8.1f} ms")
        path = table or next(iter(sorted(shipped_dir().rglob("*.safetensors"))), None)
        print(f"{'table':36} {path or 'made up: 64 clusters, 5 members'}")
        loaded = CentroidTable.load(path, fingerprint=embedder.fingerprint) if path else made_up(embedder.dimension)
        router = Router(loaded)
        router.route(embedder.embed([question])[0])
        return time_each(lambda: router.route(embedder.embed([question])[0]), runs)


def made_up(dimension: int):  # noqa: ANN201 - the type is imported where it is timed
    """Make a table of the usual size, all members alike."""
    import numpy as np

    from avengers_edge.routing.table import FORMAT, CentroidTable, TableHeader

    members = tuple("abcde")
    centroids = np.random.default_rng(0).normal(size=(64, dimension)).astype(np.float32)
    header = TableHeader(
        format=FORMAT,
        members=members,
        embedder="",
        clusters=64,
        method="none",
        seed=0,
        smoothing=0.0,
        datasets={"none": 1},
        macro=(0.5,) * 5,
        best_single="a",
        similarity_floor=-1.0,
        kinds=(),
        fitted_at="",
        provenance="",
    )
    return CentroidTable(
        header=header,
        centroids=centroids / np.linalg.norm(centroids, axis=1, keepdims=True),
        accuracy=np.full((64, 5), 0.5, dtype=np.float32),
        counts=np.ones((64, 5), dtype=np.int32),
        kinds=np.zeros((64, 0), dtype=np.int32),
    )


def fails(command: list[str]) -> str:
    """Run a command and say why it failed; nothing where it did not."""
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False)
    said = done.stderr.strip().splitlines() or ["no message"]
    return "" if done.returncode == 0 else f"exit code {done.returncode}, {said[-1]}"


def time_each(action: Callable[[], object], runs: int) -> list[float]:
    """Milliseconds of each run."""
    spent = []
    for _ in range(runs):
        started = time.perf_counter()
        action()
        spent.append(1000 * (time.perf_counter() - started))
    return spent


def report(name: str, spent: list[float]) -> None:
    """Print one line."""
    middle, least, most = statistics.median(spent), min(spent), max(spent)
    print(f"{name:36} {middle:8.1f} ms median of {len(spent)}, {least:.1f} to {most:.1f}")


if __name__ == "__main__":
    main()
