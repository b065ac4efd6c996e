#!/usr/bin/env python3
"""What votes of the starter team's samples are worth beside its greedy answers, by temperature and kind of answer.

    python scripts/votes_evidence.py [--outcomes GREEDY] [--votes FILE ...]

By default all measurements that are committed in models/tables/. A vote of four is the mean over both halves of eight
samples; `sample` is the mean over all eight, `any` whether one of them was right. No question's text is needed.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from avengers_edge.calibration.budget import voted
from avengers_edge.calibration.outcome_files import read_lines
from avengers_edge.calibration.outcomes import Answers

TABLES = Path(__file__).resolve().parent.parent / "models" / "tables"
VOTES = (TABLES / "starter.votes.jsonl.gz", TABLES / "starter.votes-0.4.jsonl.gz")
COLUMNS = ("greedy", "sample", "vote of 4", "vote of 8", "any")


def main() -> None:
    """Parse the command line, print a table for each file and member."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--outcomes", type=Path, default=TABLES / "starter.outcomes.jsonl.gz")
    parser.add_argument("--votes", type=Path, nargs="+", default=VOTES)
    args = parser.parse_args()
    greedy = {(row.id, member): score for _, row in read_lines(args.outcomes) for member, score in row.scores.items()}
    for path in args.votes:
        found: dict[str, dict[str, list[list[float]]]] = {}
        for _, row in read_lines(path):
            for member, answers in (row.answers or {}).items():
                if (row.id, member) in greedy:
                    by_kind = found.setdefault(member, {})
                    by_kind.setdefault(row.kind or "?", []).append(figures(greedy[row.id, member], answers))
        for member, by_kind in found.items():
            print(f"{path.name}, {member}")
            print_kinds(by_kind)


def figures(greedy: float, answers: Answers) -> list[float]:
    """Say how right one question's greedy answer, samples and votes are."""
    scores = [score for _, score in answers]
    return [greedy, float(np.mean(scores)), voted(answers, 4), voted(answers, 8), max(scores)]


def print_kinds(by_kind: Mapping[str, Sequence[Sequence[float]]]) -> None:
    """Print the means by kind and over all, in percent."""
    print(f"  {'':<12}{'n':>4}" + "".join(f"{name:>11}" for name in COLUMNS))
    over_all = [row for rows in by_kind.values() for row in rows]
    for kind, rows in [*by_kind.items(), ("all", over_all)]:
        means = "".join(f"{100 * mean:>11.1f}" for mean in np.mean(rows, axis=0))
        print(f"  {kind:<12}{len(rows):>4}{means}")


if __name__ == "__main__":
    main()
