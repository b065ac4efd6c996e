#!/usr/bin/env python3
"""What each step beyond the recipe is worth on questions that were not fitted, and where routing must not lose.

    python evals/ablate_recipe.py --data DIR [--members A,B]

DIR holds outcomes/llmrouter.jsonl.gz, kor_bench.jsonl.gz and eq_bench.jsonl.gz. 70/30 by prompt and rule, five seeds,
macro accuracy over data sets in percent: mean, least and most over the seeds.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from sklearn.feature_extraction.text import HashingVectorizer

from avengers_edge.calibration.evaluate import evaluate_table
from avengers_edge.calibration.fit import FitOptions, fit_table
from avengers_edge.calibration.outcomes import OutcomeRow, read_outcomes
from avengers_edge.calibration.pipeline import embed_rows
from avengers_edge.calibration.resampling import split_rows
from avengers_edge.config import Settings
from avengers_edge.opening import open_shipped_embedder
from avengers_edge.routing.features import add_features
from avengers_edge.routing.table import CentroidTable

SEEDS = range(5)
ODD = ("mmlu", "gpqa", "agentverse-logicgrid")


DEFAULT = FitOptions()


@dataclass(frozen=True, slots=True)
class Way:
    """A way of fitting: with a question's form or not, and options of `fit_table`.

    `ranked` scores a member in a cluster by its rank there, as the paper does. `hashed` counts words where the others
    have the embedder.
    """

    name: str
    form: bool
    options: FitOptions = DEFAULT
    ranked: bool = False
    hashed: bool = False


PAPER = FitOptions(cluster_jointly=True, clusters=64, pseudo_counts=0.0, top_k=1, beta=6.0)
WAYS = (
    Way("the paper's: K = 64, nearest cluster, unsmoothed", False, PAPER),
    Way("the paper's, by rank in the three nearest", False, replace(PAPER, top_k=3), ranked=True),
    Way("+ smoothed by 20 answers", False, replace(PAPER, pseudo_counts=20.0)),
    Way("+ ten nearest clusters, beta 20", False, FitOptions(cluster_jointly=True, clusters=64)),
    Way("+ each data set by itself, K by size", False),
    Way("+ the question's form: the default", True),
    Way("default, but all questions at once", True, FitOptions(cluster_jointly=True)),
    Way("default with K = 64", True, FitOptions(clusters=64)),
    Way("default with K = 128", True, FitOptions(clusters=128)),
    Way("default, agglomerative", True, FitOptions(method="agglomerative")),
    Way("default, Gaussian mixture", True, FitOptions(method="gmm")),
    Way("default, spectral", True, FitOptions(method="spectral")),
    Way("default, BIRCH", True, FitOptions(method="birch")),
    Way("default, words hashed instead of embedded", True, hashed=True),
)


def main() -> None:
    """Parse the command line, embed once, judge every way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--members", type=lambda said: said.split(","))
    parser.add_argument("--quick", action="store_true", help="judge the default alone")
    args = parser.parse_args()
    default = next(way for way in WAYS if way.name.endswith("the default"))
    every = read_outcomes([args.data / "outcomes" / "llmrouter.jsonl.gz"], args.members)
    vectors = embedded(every)
    print("llmrouter")
    for way in (default,) if args.quick else WAYS:
        print(judged(way, every, vectors), flush=True)
    kept = [place for place, row in enumerate(every) if row.dataset not in ODD]
    print(f"llmrouter without {', '.join(ODD)}")
    print(judged(default, [every[place] for place in kept], vectors[kept]), flush=True)
    for name in ("kor_bench", "eq_bench"):
        rows = read_outcomes([args.data / "outcomes" / f"{name}.jsonl.gz"])
        print(name)
        print(judged(default, rows, embedded(rows)), flush=True)


def embedded(rows: Sequence[OutcomeRow]) -> np.ndarray:
    """Embed without form, which `judged` adds where a way has it."""
    with open_shipped_embedder(Settings(home=Path())) as embedder:
        return embed_rows(embedder.inner, rows)


def judged(way: Way, rows: Sequence[OutcomeRow], vectors: np.ndarray) -> str:
    """Fit and evaluate on every split; give a line of the table."""
    prompts = [row.prompt or "" for row in rows]
    chosen = hashed_words(prompts, vectors.shape[1]) if way.hashed else vectors
    chosen = add_features(chosen, prompts) if way.form else chosen
    found = []
    for seed in SEEDS:
        split = split_rows(rows, seed=seed)
        train, test = list(split.fitted), list(split.judged)
        table = fit_table(chosen[train], [rows[i] for i in train], way.options)
        table = by_rank(table) if way.ranked else table
        macro = evaluate_table(table, chosen[test], [rows[i] for i in test])["macro"]
        found.append((macro["router"], macro["best_single"], macro["dataset_oracle"]))
    router, best, oracle = np.array(found).T
    gain = router - best
    way_there = f"{100 * gain.mean() / (oracle - best).mean():.0f} %" if (oracle - best).mean() > 0 else "-"
    return (
        f"{way.name:<52} router {router.mean():.2f} ({router.min():.1f} to {router.max():.1f})  best single "
        f"{best.mean():.2f}  gain {gain.mean():+.2f} ({gain.min():+.1f} to {gain.max():+.1f})  "
        f"data set oracle {oracle.mean():.2f}  way {way_there}"
    )


def by_rank(table: CentroidTable) -> CentroidTable:
    """Put 1 / (rank + 0.1) in the place of each accuracy, brought to 1 at the most."""
    ranks = (-table.accuracy).argsort(axis=1, kind="stable").argsort(axis=1)
    return replace(table, accuracy=(0.1 / (ranks + 0.1)).astype(np.float32))


def hashed_words(texts: Sequence[str], dimension: int) -> np.ndarray:
    """Count words in so many hashed places: unit vectors that know nothing of meaning."""
    counts: np.ndarray = HashingVectorizer(n_features=dimension).transform(texts).toarray().astype(np.float32)
    counts[~counts.any(axis=1), 0] = 1  # no word at all
    return counts


if __name__ == "__main__":
    main()
