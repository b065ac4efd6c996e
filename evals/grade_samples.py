#!/usr/bin/env python3
"""Read, run and grade recorded samples, as the product would: outcome files without any text come out.

    python evals/grade_samples.py SAMPLES.jsonl ... --questions fit.jsonl --out OUTCOMES.jsonl.gz --votes VOTES.jsonl.gz

Greedy answers go to --out, those at a temperature to --votes, members by their names. An answer's key may be a piece of
a data set, so that only which answers agree is kept: the first key of a question is "1", the next other one "2", the
same in both files. `calibrate fit` takes them as `--outcomes` and `--votes`, together with the question files. --with
adds outcomes of earlier runs, whose keys are unknown here.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from avengers_edge.calibration.graders import Grader
from avengers_edge.calibration.measure import inquiry_of
from avengers_edge.calibration.outcome_files import add, read_lines, write_outcomes
from avengers_edge.calibration.outcomes import OutcomeRow
from avengers_edge.calibration.questions import Question, group_of, read_questions
from avengers_edge.config import load_settings
from avengers_edge.library.catalog import Catalog
from avengers_edge.records import Completion, Member, Sample
from avengers_edge.sandbox.programs import ProgramRunner
from avengers_edge.voting.tally import tally
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

        def outcome(key: tuple[str, str, float]) -> tuple[OutcomeRow, OutcomeRow | None, list[Sample]]:
            name, member, _ = key
            model, _, way = member.partition(":")
            return graded(questions[name], Member(model, modes[way]), asked[key], grader, pool.programs)

        for count, (key, (row, orders, samples)) in enumerate(
            zip(asked, pool.map(outcome, list(asked)), strict=True), 1
        ):
            found[key[0], key[2] == 0].append(row)
            if orders is not None:
                found[key[0], False].append(orders)
            failures.update(sample.failure for sample in samples if sample.failure)
            if count % 50 == 0:
                print(f"{count} of {len(asked)}", file=sys.stderr, flush=True)
    greedy, votes = numbered(found)
    for path in args.earlier:
        for _, row in read_lines(path):
            known = greedy[row.id].scores if row.id in greedy else {}
            add(greedy, without(row, known))
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
) -> tuple[OutcomeRow, OutcomeRow | None, list[Sample]]:
    """Grade one member's samples of one question.

    By letters what the orders elect is the one answer, and the orders' own votes come beside it.
    """
    inquiry = inquiry_of(question)
    if member.form == "letters":
        ordered = sorted(rows, key=lambda row: row["shift"])
        keys = [chr(ord("A") + max(range(len(row["chances"])), key=row["chances"].__getitem__)) for row in ordered]
        elected = tally(keys)[0].key
        samples, answers = [], [(elected, float(elected == question.answer))]
    else:
        samples = [read(inquiry, member, completion_of(row), programs) for row in rows]
        answers = []
        for sample in samples:
            text, cut = stated(sample, inquiry), sample.finish_reason == "length"
            answers.append((sample.key, float(bool(text) and grader.grade(question, text, truncated=cut))))
    name = member.name
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
    )
    if member.form != "letters":
        return row, None, samples
    return row, replace(row, answers={name: tuple((key, float(key == question.answer)) for key in keys)}), samples


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


def without(row: OutcomeRow, known: Mapping[str, float]) -> OutcomeRow:
    """Leave out of an earlier run's row what was measured anew, and its keys, whose numbers mean something else."""

    def rest(values: Mapping[str, Any] | None) -> dict[str, Any] | None:
        return None if values is None else {name: value for name, value in values.items() if name not in known}

    return replace(
        row,
        prompt=None,
        scores=rest(row.scores) or {},
        tokens=rest(row.tokens),
        seconds=rest(row.seconds),
        answers=None,
    )


if __name__ == "__main__":
    main()
