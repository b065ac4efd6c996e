#!/usr/bin/env python3
"""Make of a measured outcome file one that may be published: ids, scores, seconds and tokens, and no text at all.

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
            add(rows, replace(row, prompt=None, answers=None, texts=None))
    write_outcomes(asked.out, (rows[name] for name in sorted(rows)))
    members = {
        member: sum(member in row.scores for row in rows.values()) for row in rows.values() for member in row.scores
    }
    print(f"{asked.out}: {len(rows)} questions;", ", ".join(f"{name} {count}" for name, count in members.items()))


if __name__ == "__main__":
    main()
