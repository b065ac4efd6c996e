#!/usr/bin/env python3
"""Read, run and grade recorded samples, as the product would: outcome files without any text come out.

    python evals/grade_samples.py SAMPLES.jsonl ... --questions fit.jsonl --out OUTCOMES.jsonl.gz --votes VOTES.jsonl.gz

Greedy answers go to --out, those at a temperature to --votes, members by their names. An answer's key may be a piece of
a data set, so that only which answers agree is kept: the first key of a question is "1", the next other one "2", the
same in both files. `calibrate fit` takes them as `--outcomes` and `--votes`, together with the question files. --with
adds what earlier runs say of the same models, but for the keys, which are numbered otherwise there.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from avengers_edge.calibration.graders import Grader
from avengers_edge.calibration.measure import inquiry_of
from avengers_edge.calibration.outcomes import OutcomeRow, add, read_lines, restricted, write_outcomes
from avengers_edge.calibration.questions import Question, group_of, read_questions
from avengers_edge.config import load_settings
from avengers_edge.library.catalog import Catalog
from avengers_edge.records import Completion, Member, Sample
from avengers_edge.sandbox.programs import ProgramRunner
from avengers_edge.ways import read, stated

Row = dict[str, Any]


def main() -> None:
    """Parse the command line, grade everything, write both files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("samples", type=Path, nargs="+")
    parser.add_argument("--questions", type=Path, required=True, nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--votes", type=Path)
    parser.add_argument("--with", dest="earlier", type=Path, nargs="*", default=[])
    parser.add_argument("--jobs", type=int, default=2)
    args = parser.parse_args()
    questions = {question.id: question for path in args.questions for question in read_questions(path)}
    modes = Catalog.of(load_settings()).modes()
    asked: dict[tuple[str, str, float], list[Row]] = defaultdict(list)
    for path in args.samples:
        for line in path.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            asked[row["id"], f"{row['model']}:{row['way']}", row["temperature"]].append(row)
    failures: Counter[str] = Counter()
    found: dict[tuple[str, bool], list[OutcomeRow]] = defaultdict(list)
    with Grader() as grader, ProgramRunnerPool(args.jobs) as pool:

        def outcome(key: tuple[str, str, float]) -> tuple[OutcomeRow, list[Sample]]:
            name, member, _ = key
            model, _, way = member.partition(":")
            return graded(questions[name], Member(model, modes[way]), asked[key], grader, pool.programs)

        for count, (key, (row, samples)) in enumerate(zip(asked, pool.map(outcome, list(asked)), strict=True), 1):
            found[key[0], key[2] == 0].append(row)
            failures.update(sample.failure for sample in samples if sample.failure)
            if count % 50 == 0:
                print(f"{count} of {len(asked)}", file=sys.stderr, flush=True)
    greedy, votes = numbered(found)
    models = {member.partition(":")[0] for _, member, _ in asked}
    before = [row for path in args.earlier for _, row in read_lines(path)]
    scale_seconds(greedy, before)
    for row in before:
        known = greedy[row.id].scores if row.id in greedy else {}
        names = [name for name in row.scores if name.partition(":")[0] in models and name not in known]
        if names:
            # Its keys are numbered otherwise.
            add(greedy, replace(restricted(row, names), prompt=None, answers=None))
    write_outcomes(args.out, (greedy[name] for name in sorted(greedy)))
    if args.votes:
        write_outcomes(args.votes, (votes[name] for name in sorted(votes)))
    members = Counter(member for row in greedy.values() for member in row.scores)
    print(f"{args.out}: {len(greedy)} questions;", ", ".join(f"{name} {count}" for name, count in members.items()))
    print(f"votes: {len(votes)} questions; programs failed:", failures.most_common(12))


class ProgramRunnerPool:
    """Threads that grade, and what they run programs in."""

    def __init__(self, jobs: int) -> None:
        self.programs = ProgramRunner()
        self._pool = ThreadPoolExecutor(jobs)
        self.map = self._pool.map

    def __enter__(self) -> ProgramRunnerPool:
        self.programs.prepare()
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown()


def graded(
    question: Question, member: Member, rows: list[Row], grader: Grader, programs: ProgramRunner
) -> tuple[OutcomeRow, list[Sample]]:
    """Grade one member's samples of one question; by letters what the orders elect is the one answer."""
    inquiry, name, share = inquiry_of(question), member.name, None
    if member.form == "letters":
        means = [sum(column) / len(rows) for column in zip(*(row["chances"] for row in rows), strict=True)]
        elected = chr(ord("A") + max(range(len(means)), key=means.__getitem__))
        samples, answers = [], [(elected, float(elected == question.answer))]
        share = {name: round(max(means), 4)}
    else:
        samples = [read(inquiry, member, completion_of(row), programs) for row in rows]
        answers = []
        for sample in samples:
            text, cut = stated(sample, inquiry), sample.finish_reason == "length"
            answers.append((sample.key, float(bool(text) and grader.grade(question, text, truncated=cut))))
    row = OutcomeRow(
        id=question.id,
        dataset=question.dataset,
        category=question.category,
        kind=question.answer_type,
        group=group_of(question),
        scores={name: sum(score for _, score in answers) / len(answers)},
        tokens={name: round(sum(each["tokens"] for each in rows) / len(answers), 1)},
        seconds={name: round(sum(each["seconds"] for each in rows) / len(answers), 4)},
        answers={name: tuple(answers)},
        agreement=share,
    )
    return row, samples


def completion_of(row: Mapping[str, Any]) -> Completion:
    """Take a recorded sample for what the engine gave."""
    return Completion(row["index"], 0, row["text"], row["tokens"], row["finish"])


def numbered(
    found: Mapping[tuple[str, bool], Iterable[OutcomeRow]],
) -> tuple[dict[str, OutcomeRow], dict[str, OutcomeRow]]:
    """Join the rows of a question, its keys numbered alike in the greedy answers (first) and in the votes."""
    numbers: dict[str, dict[str, str]] = defaultdict(dict)
    joined: tuple[dict[str, OutcomeRow], dict[str, OutcomeRow]] = ({}, {})
    for (name, is_greedy), rows in found.items():
        for row in rows:
            answers = {
                member: tuple(
                    (None if key is None else numbers[name].setdefault(key, str(len(numbers[name]) + 1)), score)
                    for key, score in each
                )
                for member, each in (row.answers or {}).items()
            }
            add(joined[0 if is_greedy else 1], replace(row, answers=answers))
    return joined


def scale_seconds(rows: dict[str, OutcomeRow], before: list[OutcomeRow]) -> None:
    """Bring seconds to the batch of an earlier run, by the median ratio over what both measured."""
    ratios = [
        row.seconds[name] / mine
        for row in before
        if row.id in rows and row.seconds
        for name, mine in (rows[row.id].seconds or {}).items()
        if mine > 0 and name in row.seconds
    ]
    if ratios:
        factor = statistics.median(ratios)
        print(f"seconds times {factor:.2f}, the median of {len(ratios)} answers that an earlier run gave as well")
        for name, row in rows.items():
            seconds = {member: round(factor * spent, 4) for member, spent in (row.seconds or {}).items()}
            rows[name] = replace(row, seconds=seconds)


if __name__ == "__main__":
    main()
