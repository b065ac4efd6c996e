#!/usr/bin/env python3
"""What the starter team's measured outcomes say: each member by data set, routing among models or members, the dial.

    python scripts/starter_evidence.py --questions DIR [--outcomes models/tables/starter.outcomes.jsonl.gz]

DIR holds the question files, which have the texts that the outcomes leave out. Only questions that every member has
answered count. 70/30 by prompt and rule, five seeds, macro accuracy over data sets in percent. The members' ways of
asking are worth what the second row of the teams has over the first.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from avengers_edge.calibration.evaluate import evaluate_table
from avengers_edge.calibration.fit import FitOptions, fit_table
from avengers_edge.calibration.outcome_files import read_lines, restricted, with_prompts
from avengers_edge.calibration.outcomes import OutcomeRow, Vectors, by_dataset, macro_accuracy, matrix
from avengers_edge.calibration.sensitivity import Part, weigh_costs
from avengers_edge.calibration.splits import split_rows
from avengers_edge.calibration.steps import embed_rows, load_questions
from avengers_edge.config import Settings
from avengers_edge.opening import open_shipped_embedder

SEEDS = range(5)
MODELS = ("qwen2.5-coder-1.5b-instruct:brief", "qwen2.5-coder-0.5b-instruct:direct", "smollm2-135m-instruct:direct")
MEMBERS = (MODELS[0], "qwen2.5-coder-1.5b-instruct:direct", *MODELS[1:])
TEAMS = {
    "the best member alone": MODELS[:1],
    "one way of asking a model": MODELS,
    "members: the 1.5B model in two ways": MEMBERS,
    "the 1.5B model alone in two ways": MEMBERS[:2],
}


def main() -> None:
    """Parse the command line, read and embed once, print three tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--questions", type=Path, required=True)
    parser.add_argument("--outcomes", type=Path, default=Path("models/tables/starter.outcomes.jsonl.gz"))
    args = parser.parse_args()
    prompts = {question.id: question.question for question in load_questions([str(args.questions)])}
    found = [row for _, row in read_lines(args.outcomes) if row.scores.keys() >= set(MEMBERS)]
    rows = with_prompts([restricted(row, MEMBERS) for row in found], prompts)
    with open_shipped_embedder(Settings(home=Path())) as embedder:
        vectors = embed_rows(embedder, rows)
    print(f"{len(rows)} questions of {len(by_dataset(rows))} data sets")
    print_members(rows)
    for name, members in TEAMS.items():
        print_team(name, members, vectors, rows)
    print_dial(vectors, rows)


def print_members(rows: Sequence[OutcomeRow]) -> None:
    """Print percent right and mean seconds of each member, by data set and over all."""
    scores = matrix([row.scores for row in rows], MEMBERS)
    print(f"{'':<18}{'n':>5}" + "".join(f"{short(member):>20}" for member in MEMBERS))
    for name, places in by_dataset(rows).items():
        print(f"{name:<18}{len(places):>5}" + "".join(f"{100 * mean:>20.1f}" for mean in scores[places].mean(axis=0)))
    over_sets = "".join(f"{100 * mean:>20.1f}" for mean in macro_accuracy(scores, rows))
    print(f"{'mean of sets':<18}{len(rows):>5}{over_sets}")
    seconds = matrix([row.seconds or {} for row in rows], MEMBERS)
    print(f"{'seconds':<23}" + "".join(f"{mean:>20.2f}" for mean in seconds.mean(axis=0)))


def print_team(name: str, members: Sequence[str], vectors: Vectors, rows: Sequence[OutcomeRow]) -> None:
    """Print how routing among these members does on questions that were not fitted."""
    found = []
    for seed in SEEDS:
        split = split_rows(rows, seed=seed)
        fitted = fit_table(vectors[split.fitted], [rows[place] for place in split.fitted], FitOptions(members))
        judged = evaluate_table(fitted, vectors[split.judged], [rows[place] for place in split.judged])["macro"]
        found.append([judged[each] for each in ("router", "best_single", "dataset_oracle", "query_oracle")])
    router, best, oracle, query = np.array(found).T
    gain = router - best
    print(
        f"{name:<38} router {router.mean():.1f} ({router.min():.1f} to {router.max():.1f}), best single "
        f"{best.mean():.1f}, gain {gain.mean():+.1f} ({gain.min():+.1f} to {gain.max():+.1f}), "
        f"best per data set {oracle.mean():.1f}, per question {query.mean():.1f}"
    )


def print_dial(vectors: Vectors, rows: Sequence[OutcomeRow]) -> None:
    """Print accuracy and seconds along `--prefer`, and of each member alone."""
    scores = matrix([row.scores for row in rows], MEMBERS)
    parts = [Part.of(split_rows(rows, seed=seed), vectors, rows, scores) for seed in SEEDS]
    tables = [fit_table(part.fitted, part.fitted_rows, FitOptions(MEMBERS)) for part in parts]
    costs = weigh_costs(parts, tables, MEMBERS)
    assert costs is not None
    for trade in (*costs.router, *costs.members):
        print(f"{short(trade.name):<24} {trade.accuracy:5.1f} %, {trade.seconds:6.2f} s an answer")


def short(member: str) -> str:
    """Name a member by its size and way of asking; a `--prefer` by itself."""
    model, colon, way = member.partition(":")
    size = next((part for part in model.split("-") if part[0].isdigit() and part.endswith(("b", "m"))), model)
    return f"{size} {way}" if colon else f"prefer {member}"


if __name__ == "__main__":
    main()
