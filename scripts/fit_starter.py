#!/usr/bin/env python3
"""Grade what `measure_starter.py` wrote, fit a team's centroid table, and say how good routing by it is.

    python scripts/fit_starter.py --questions DIR --answers ANSWERS.jsonl --out models/tables/starter.safetensors

Only questions that every member answered count. K is the one with the best cross-validated accuracy.
"""

from __future__ import annotations

import argparse
import datetime
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from avengers_edge.calibration.evaluate import CrossValidated, cross_validate, evaluate_table
from avengers_edge.calibration.fit import fit_table
from avengers_edge.calibration.graders import grade
from avengers_edge.calibration.outcomes import OutcomeRow
from avengers_edge.calibration.questions import Question, read_questions
from avengers_edge.config import load_settings, shipped_dir
from avengers_edge.library.catalog import Catalog
from avengers_edge.routing.embedder import OnnxEmbedder

CLUSTERS = (4, 6, 8, 12, 16, 24)


def main() -> None:
    """Parse the command line, grade, fit, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--questions", type=Path, required=True, help="folder of *.jsonl.gz question files")
    parser.add_argument("--answers", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--team", default="starter")
    parser.add_argument("--provenance", default="", help="how the answers came about, kept in the table")
    args = parser.parse_args()

    members = [member.name for member in Catalog.of(load_settings()).load_team(args.team).members]
    questions = {q.id: q for path in sorted(args.questions.glob("*.jsonl.gz")) for q in read_questions(path)}
    answers = [json.loads(line) for line in args.answers.read_text(encoding="utf-8").splitlines()]
    rows = outcome_rows(questions, answers, members)
    print_accuracies(rows, members)
    with OnnxEmbedder(shipped_dir() / "embedder") as embedder:
        vectors = embedder.embed([questions[row.id].question for row in rows])
        fingerprint = embedder.fingerprint
    tried = cross_validate(vectors, rows, clusters=[k for k in CLUSTERS if k < len(rows) // 3])
    for result in tried:
        print(result)
    best = choose(tried)
    table = fit_table(
        vectors,
        rows,
        embedder=fingerprint,
        fitted_at=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        provenance=args.provenance,
        members=members,
        clusters=best.clusters,
        smoothing=best.smoothing,
    )
    args.out.parent.mkdir(parents=True, exist_ok=True)
    table.save(args.out)
    print(json.dumps(evaluate_table(table, vectors, rows)["macro"]), "on the fitting data itself")
    print(f"{args.out}: K={best.clusters}, {len(rows)} questions")


def choose(tried: Iterable[CrossValidated]) -> CrossValidated:
    """Take the best K; of equals the smallest."""
    return max(tried, key=lambda result: (round(result.router, 1), -result.clusters))


def outcome_rows(
    questions: Mapping[str, Question], answers: Iterable[Mapping[str, Any]], members: list[str]
) -> list[OutcomeRow]:
    """Grade the answers and keep the questions that all members answered."""
    by_question: dict[str, dict[str, Mapping[str, Any]]] = defaultdict(dict)
    for answer in answers:
        by_question[answer["id"]][answer["member"]] = answer
    rows = []
    for name, given in sorted(by_question.items()):
        if set(members) <= set(given):
            question = questions[name]
            rows.append(
                OutcomeRow(
                    id=name,
                    dataset=question.dataset,
                    category=question.category,
                    scores={m: float(is_right(question, given[m])) for m in members},
                    seconds={m: given[m]["seconds"] for m in members},
                    tokens={m: given[m]["tokens"] for m in members},
                    kind=question.answer_type,
                )
            )
    return rows


def is_right(question: Question, answer: Mapping[str, Any]) -> bool:
    """Grade one measured answer."""
    return grade(question, answer["text"], truncated=answer["finish_reason"] == "length")


def print_accuracies(rows: list[OutcomeRow], members: list[str]) -> None:
    """Print accuracy in percent by data set and member, and what an answer takes."""
    counts = Counter(row.dataset for row in rows)
    for index, member in enumerate(members):
        print(f"{index}: {member}")
    for dataset in sorted(counts):
        chosen = [row for row in rows if row.dataset == dataset]
        shares = [100 * float(np.mean([row.scores[m] for row in chosen])) for m in members]
        print(f"{dataset:<16} {counts[dataset]:>3} " + " ".join(f"{share:5.0f}" for share in shares))
    macro = [
        100 * float(np.mean([np.mean([r.scores[m] for r in rows if r.dataset == d]) for d in counts])) for m in members
    ]
    print(f"{'macro':<16} {len(rows):>3} " + " ".join(f"{share:5.1f}" for share in macro))
    means = [float(np.mean([(row.seconds or {})[m] for row in rows])) for m in members]
    print(f"{'seconds/answer':<20} " + " ".join(f"{mean:5.2f}" for mean in means))


if __name__ == "__main__":
    main()
