#!/usr/bin/env python3
"""Make of a measured outcome file one that may be published: ids, scores, seconds, tokens and votes, and no text.

An answer's key may be a piece of a data set, so that only which answers agree is kept: the first key of a question is
"1", the next other one "2".

    python scripts/starter_outcomes.py OUTCOMES [OUTCOMES ...] --out models/tables/starter.outcomes.jsonl.gz

`calibrate fit`, `evaluate` and `report` take such a file together with the question files (`--questions`), and
`calibrate measure` goes on with it once it is unpacked.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from avengers_edge.calibration.outcome_files import add, read_lines, write_outcomes
from avengers_edge.calibration.outcomes import OutcomeRow


def main() -> None:
    """Read all, join the lines of a question, write them bare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("outcomes", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    rows: dict[str, OutcomeRow] = {}
    for path in asked.outcomes:
        for _, row in read_lines(path):
            add(rows, row)
    write_outcomes(asked.out, (bare(rows[name]) for name in sorted(rows)))
    members = {
        member: sum(member in row.scores for row in rows.values()) for row in rows.values() for member in row.scores
    }
    print(f"{asked.out}: {len(rows)} questions;", ", ".join(f"{name} {count}" for name, count in members.items()))


def bare(row: OutcomeRow) -> OutcomeRow:
    """Leave out all texts, and number the keys of the answers."""
    numbers: dict[str, str] = {}
    answers = {
        member: tuple(
            (None if key is None else numbers.setdefault(key, str(len(numbers) + 1)), score) for key, score in each
        )
        for member, each in (row.answers or {}).items()
    }
    return replace(row, prompt=None, answers=answers or None, texts=None)


if __name__ == "__main__":
    main()
