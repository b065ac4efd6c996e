#!/usr/bin/env python3
"""Make the tables in models/tables/ that rest on other people's figures, from public outcomes and question files.

    python evals/make_tables.py --data DIR      DIR holds outcomes/*.jsonl.gz and questions/*.jsonl.gz

`open-7b` is fitted on real outcomes of its four models. The others are priors: clusters of benchmark questions, each
cell the accuracies that were published of a model on the cluster's data sets, mixed by their share of it. A cell counts
as one answer, so that what you measure and add with `calibrate fit --add-to` outweighs it. `avengers-10` has those of
the paper's Table 2 (arXiv 2505.19797), `trio` and `octet` those of `lightweight_models.py`.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from lightweight_models import OCTET, QUESTION_FILES, REASON, TRIO, by_set, figures_of

from avengers_edge.calibration.fit import FitOptions, fit_table
from avengers_edge.calibration.outcomes import OutcomeRow, read_outcomes
from avengers_edge.calibration.pipeline import embed_rows
from avengers_edge.calibration.questions import read_questions
from avengers_edge.config import Settings, shipped_dir
from avengers_edge.opening import open_shipped_embedder
from avengers_edge.routing.features import FeatureEmbedder
from avengers_edge.routing.table import CentroidTable

OPEN_7B = ("llama-3.1-8b-instruct", "gemma-2-9b-it", "qwen2.5-7b-instruct", "mistral-7b-instruct-v0.3")
MODE = "think"

# Columns of the published table, by the question files that stand for them: OlympiadBench for LiveMathBench, MMLU for
# GPQA.
PUBLISHED_SETS = (
    *("aime", "math500", "olympiadbench", "mbpp", "humaneval", "korbench", "kandk", "bbh", "arc_challenge", "mmlupro"),
    *("mmlu", "finqa", "medqa", "emorynlp", "meld"),
)
PUBLISHED = {
    "deepseek-r1-distill-qwen-7b": "61.67 93.00 65.71 56.67 43.90 52.00 76.10 80.00 88.82 59.14 59.15 "
    "68.53 40.85 29.84 38.64",
    "fin-r1": "13.33 80.20 35.00 69.30 77.44 37.52 18.14 68.24 91.89 51.55 20.76 70.71 67.09 41.18 57.55",
    "qwen2.5-7b-instruct": "15.00 78.60 37.14 70.73 81.10 49.60 35.92 63.24 88.91 58.34 30.13 68.00 65.28 39.89 57.87",
    "qwen2.5-coder-7b-instruct": "11.67 75.60 35.00 76.39 78.66 34.64 27.57 61.48 86.52 49.25 32.14 "
    "65.13 55.38 40.46 59.58",
    "gemma-2-9b-it": "1.67 54.00 22.14 62.32 64.02 34.32 15.71 63.52 89.42 53.55 34.38 66.26 66.46 39.60 54.38",
    "glm-4-9b-chat": "5.00 58.40 22.14 62.01 65.85 37.60 21.57 47.59 92.15 51.75 31.25 58.59 64.96 41.32 57.46",
    "llama-3.1-8b-instruct": "1.67 49.80 20.71 61.81 71.95 27.60 11.71 65.74 88.48 47.35 25.67 53.97 69.76 35.15 51.62",
    "granite-3.1-8b-instruct": "1.67 61.40 20.00 37.17 39.63 31.44 19.29 36.39 85.24 44.06 34.82 65.74 "
    "59.70 39.60 48.30",
    "llama-3.1-8b-ultramedical": "1.67 76.20 15.71 52.77 58.54 18.72 20.14 40.46 85.67 43.76 19.87 "
    "60.68 72.90 31.28 43.34",
    "cogito-v1-preview-llama-8b": "3.33 59.60 22.86 51.33 70.12 44.48 28.00 75.83 90.01 61.94 31.92 "
    "64.69 69.36 39.02 55.68",
}


def main() -> None:
    """Parse the command line and make the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=shipped_dir() / "tables")
    parser.add_argument("--questions-a-set", type=int, default=200)
    args = parser.parse_args()
    with open_shipped_embedder(Settings(home=Path())) as embedder:
        for name, table in (
            ("open-7b", open_7b(args.data, embedder)),
            ("avengers-10", prior(args, embedder, by_set(PUBLISHED_SETS, PUBLISHED), "2505.19797, Table 2")),
            ("trio", prior(args, embedder, by_set(QUESTION_FILES, figures_of(TRIO)), "2601.07206, Table 6")),
            ("octet", prior(args, embedder, by_set(QUESTION_FILES, figures_of(OCTET)), "2601.07206, Table 6")),
        ):
            table.save(args.out / f"{name}.safetensors")
            print(f"{name}: {sum(table.header.datasets.values())} questions, {table.header.clusters} clusters")


def open_7b(data: Path, embedder: FeatureEmbedder) -> CentroidTable:
    """Fit the four models' table on public per-question outcomes."""
    rows = read_outcomes([data / "outcomes" / "llmrouter.jsonl.gz"], OPEN_7B)
    renamed = [
        dataclasses.replace(row, scores={f"{model}:{MODE}": score for model, score in row.scores.items()})
        for row in rows
    ]
    return fitted(renamed, embedder, "public per-question outcomes of ulab-uiuc/LLMRouter, 14 data sets")


def prior(
    args: argparse.Namespace, embedder: FeatureEmbedder, published: Mapping[str, Mapping[str, float]], source: str
) -> CentroidTable:
    """Spread published accuracies over clusters of the benchmarks' questions."""
    rows = []
    for dataset, shares in published.items():
        scores = {f"{model}:{'reason' if model in REASON else MODE}": share for model, share in shares.items()}
        questions = list(read_questions(args.data / "questions" / f"{dataset}.jsonl.gz"))[: args.questions_a_set]
        rows += [
            OutcomeRow(q.id, q.dataset, q.category, scores, kind=q.answer_type, prompt=q.question) for q in questions
        ]
    said = f"prior: accuracies published in arXiv {source}, mixed by each cluster's data sets; not measured here"
    table = fitted(rows, embedder, said, pseudo_counts=0.0)
    return dataclasses.replace(table, counts=np.ones_like(table.counts))


def fitted(
    rows: Sequence[OutcomeRow], embedder: FeatureEmbedder, provenance: str, pseudo_counts: float | None = None
) -> CentroidTable:
    """Embed and fit."""
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    vectors = embed_rows(embedder, rows)
    return fit_table(
        vectors,
        rows,
        FitOptions(pseudo_counts=pseudo_counts),
        embedder=embedder.fingerprint,
        fitted_at=now,
        provenance=provenance,
    )


if __name__ == "__main__":
    main()
