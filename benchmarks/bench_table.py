#!/usr/bin/env python3
"""What fitting and routing cost: a fit of 20,000 outcomes, embedding, and routing by ever larger tables.

    python benchmarks/bench_table.py

The fit's vectors and scores are random: its time depends on their number, not on what they mean.
"""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path

import numpy as np

from avengers_edge.calibration.fit import FitOptions, fit_table
from avengers_edge.calibration.outcomes import OutcomeRow
from avengers_edge.config import Settings
from avengers_edge.opening import open_shipped_embedder
from avengers_edge.records import KINDS
from avengers_edge.routing.router import Router
from avengers_edge.routing.table import FORMAT, CentroidTable, TableHeader

QUESTIONS, DATASETS, MEMBERS, CLUSTERS = 20_000, 14, 10, 64
DIMENSION = 398
QUESTION = "A baker fills {} trays with 12 rolls each and sells 59 rolls. How many rolls are left?"


def main() -> None:
    """Measure and print all three."""
    draw = np.random.default_rng(0)
    print(fit(draw))
    print(embedding())
    for clusters, members in ((6, 5), (64, 10), (512, 30), (4096, 100)):
        print(routing(draw, clusters, members))


def units(draw: np.random.Generator, count: int) -> np.ndarray:
    """Draw unit vectors around a few hundred places, as questions lie."""
    places = draw.normal(size=(300, DIMENSION))
    vectors = places[draw.integers(0, 300, count)] + draw.normal(size=(count, DIMENSION))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def fit(draw: np.random.Generator) -> str:
    """Time one fit after embedding; and its greatest memory, where the system says it."""
    vectors = units(draw, QUESTIONS)
    scores = draw.random((QUESTIONS, MEMBERS)) < draw.random(MEMBERS)
    rows = [
        OutcomeRow(str(place), f"set {place % DATASETS}", "c", {f"m{m}": float(s) for m, s in enumerate(line)})
        for place, line in enumerate(scores)
    ]
    said = []
    for across in (False, True):
        begin = time.perf_counter()
        table = fit_table(vectors, rows, FitOptions(clusters=CLUSTERS, cluster_jointly=across))
        seconds = time.perf_counter() - begin
        how = "all at once" if across else "each data set by itself"
        said.append(f"fit {QUESTIONS} outcomes, K = {table.header.clusters}, {how}: {seconds:.1f} s")
    return "\n".join([*said, f"greatest memory: {peak_mebibytes()} MiB"])


def peak_mebibytes() -> int | str:
    """Give the process's greatest resident memory, or a word where the system has no such figure."""
    if sys.platform == "win32":
        return "unknown"
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak // (1024**2 if sys.platform == "darwin" else 1024)


def embedding() -> str:
    """Count short questions embedded in a second, in batches."""
    texts = [QUESTION.format(n) for n in range(256)]
    with open_shipped_embedder(Settings(home=Path())) as embedder:
        embedder.embed(texts[:16])
        rates = []
        for _ in range(5):
            begin = time.perf_counter()
            embedder.embed(texts)
            rates.append(len(texts) / (time.perf_counter() - begin))
    return f"embed: {statistics.median(rates):.0f} short questions a second ({min(rates):.0f} to {max(rates):.0f})"


def routing(draw: np.random.Generator, clusters: int, members: int) -> str:
    """Time routing one vector by a table of this size."""
    header = TableHeader(
        format=FORMAT,
        members=tuple(f"m{place}" for place in range(members)),
        embedder="e",
        clusters=clusters,
        method="kmeans",
        seed=0,
        smoothing=20.0,
        datasets={"d": clusters},
        macro=(1.0,) + (0.0,) * (members - 1),
        best_single="m0",
        similarity_floor=-1.0,
        kinds=KINDS,
        fitted_at="now",
        provenance="",
        top_k=10,
        beta=20.0,
    )
    table = CentroidTable(
        header,
        centroids=units(draw, clusters),
        accuracy=draw.random((clusters, members), dtype=np.float32),
        counts=np.full((clusters, members), 20, dtype=np.int32),
        kinds=np.zeros((clusters, len(KINDS)), dtype=np.int32),
    )
    router = Router(table)
    times = []
    for vector in units(draw, 200):
        begin = time.perf_counter()
        router.route(vector)
        times.append((time.perf_counter() - begin) * 1000)
    least, most = min(times), max(times)
    return (
        f"route, K = {clusters:>4}, {members:>3} members: {statistics.median(times):.2f} ms ({least:.2f} to {most:.2f})"
    )


if __name__ == "__main__":
    main()
