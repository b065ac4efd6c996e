#!/usr/bin/env python3
"""Measure the reader of answers: how often grading by keys agrees with each benchmark's own grader on real samples.

    python evals/reader_agreement.py SAMPLES.jsonl ... --questions QUESTIONS.jsonl.gz ... [--show 40]

A vote counts keys, so a sample's key equal to the gold answer's should say what the benchmark's own rule says. Samples
are lines of `evals/record_samples.py`. Programs are judged by what they print, after running, and are left out here, as
are letters, which are no text. Free text and code have no key: nothing is voted on there by this reader, so they are
counted apart and are in no percentage. FinQA's rule forgives 1 %, factors of 100 and table units, which no key can: its
figure is given with that tolerance (does the rule accept the number that was read?) and, in brackets, without it.

Disagreements are listed by id and the two readings only; the texts stay where they are.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from avengers_edge.calibration.graders import Grader
from avengers_edge.calibration.questions import Question, read_questions
from avengers_edge.voting.keys import answer_key, canonical_key, extract_answer

LEFT_OUT = frozenset({"program", "pa", "pb", "letters"})
KEYLESS = frozenset({"text", "code"})
WITH_TOLERANCE = frozenset({"finqa"})


@dataclass(frozen=True, slots=True)
class Judged:
    """One sample, graded both ways. `tolerant` is the key's verdict with the benchmark's tolerance, if it has one."""

    id: str
    dataset: str
    read: str | None
    gold: str | None
    by_key: bool
    tolerant: bool
    by_grader: bool


def main() -> None:
    """Parse the command line, grade every sample twice, print where the two agree."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("samples", type=Path, nargs="+")
    parser.add_argument("--questions", type=Path, nargs="+", required=True)
    parser.add_argument("--datasets", help="only these, separated by commas")
    parser.add_argument("--show", type=int, default=40, help="list at most so many disagreements")
    args = parser.parse_args()
    questions = {question.id: question for path in args.questions for question in read_questions(path)}
    wanted = set(args.datasets.split(",")) if args.datasets else None
    judged: list[Judged] = []
    keyless: Counter[str] = Counter()
    with Grader() as grader:
        for row in samples(args.samples):
            question = questions.get(row["id"])
            if question is None or (wanted is not None and question.dataset not in wanted):
                continue
            if question.answer_type in KEYLESS:
                keyless[question.dataset] += 1
                continue
            judged.append(judge(question, row, grader))
            if len(judged) % 200 == 0:
                print(f"{len(judged)} graded", file=sys.stderr, flush=True)
    report(judged, keyless, args.show)


def samples(paths: list[Path]) -> Iterator[dict[str, Any]]:
    """Read the samples that are texts; a last line that is still being written is left out."""
    for path in paths:
        for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
            if line.endswith("\n") and (row := json.loads(line))["way"] not in LEFT_OUT:
                yield row


def judge(question: Question, row: dict[str, Any], grader: Grader) -> Judged:
    """Grade one sample by its key and by the benchmark's rule."""
    text, truncated, kind = row["text"], row["finish"] == "length", question.answer_type
    gold = canonical_key(str(question.answer), kind)
    key = answer_key(text, kind, truncated=truncated, choices=question.choices)
    by_key = key is not None and key == gold
    tolerant = by_key
    if question.dataset in WITH_TOLERANCE and key is not None:
        read = extract_answer(text, kind, truncated=truncated, choices=question.choices)
        tolerant = grader.grade(question, f"Answer: {read}\n")
    return Judged(
        question.id, question.dataset, key, gold, by_key, tolerant, grader.grade(question, text, truncated=truncated)
    )


def report(judged: list[Judged], keyless: Counter[str], show: int) -> None:
    """Print a line for each data set, one for all, and the disagreements."""
    by_dataset: dict[str, list[Judged]] = defaultdict(list)
    for each in judged:
        by_dataset[each.dataset].append(each)
    print(f"{'data set':<15} {'samples':>7} {'key':>6} {'grader':>6} {'agree':>7}   key right only, grader right only")
    for dataset, rows in [*sorted(by_dataset.items()), ("all", judged)]:
        agree, exact = share(rows, tolerant=True), share(rows, tolerant=False)
        accuracy = [
            100 * sum(flags) / max(1, len(rows)) for flags in ([r.by_key for r in rows], [r.by_grader for r in rows])
        ]
        only_key = sum(row.tolerant and not row.by_grader for row in rows)
        only_grader = sum(row.by_grader and not row.tolerant for row in rows)
        brackets = f" ({exact:.1f})" if exact != agree else ""
        print(
            f"{dataset:<15} {len(rows):>7} {accuracy[0]:>6.1f} {accuracy[1]:>6.1f} {agree:>7.2f}{brackets}"
            f"   {only_key}, {only_grader}"
        )
    print(
        "no key, in no percentage:", ", ".join(f"{name} {count}" for name, count in sorted(keyless.items())) or "none"
    )
    differing = [row for row in judged if row.tolerant != row.by_grader]
    for row in differing[:show]:
        print(f"{row.id}: read {str(row.read)[:80]!r}, gold {str(row.gold)[:80]!r}, grader says {row.by_grader}")
    if len(differing) > show:
        print(f"and {len(differing) - show} more")


def share(rows: list[Judged], *, tolerant: bool) -> float:
    """Give the percentage of samples on which the two ways of grading agree."""
    same = sum((row.tolerant if tolerant else row.by_key) == row.by_grader for row in rows)
    return 100 * same / max(1, len(rows))


if __name__ == "__main__":
    main()
