#!/usr/bin/env python3
"""Choose the questions that the starter team is measured on, the same ones every time.

    python evals/starter_questions.py --data DIR --out fit.jsonl [--held-out live.jsonl]

DIR holds question files of the benchmarks (`NAME.jsonl.gz`). Each data set gives so many short questions: two cores
read 40 tokens a second, and a long question costs as much as five short ones. Those of the training split come first,
and the held-out ones, of the test split, are others, which share no rule with them.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
from pathlib import Path
from typing import Any

SEED = 42
# data set: questions to fit on, to hold out, and the most characters where shorter ones are too few
SHARES: dict[str, tuple[int, int, int]] = {
    "aime": (15, 3, 500),
    "arc_challenge": (75, 10, 500),
    "bbh": (70, 10, 500),
    "commonsenseqa": (75, 10, 500),
    "emobench": (60, 8, 650),
    "emorynlp": (50, 8, 700),
    "finqa": (30, 5, 900),
    "goemotions": (70, 8, 500),
    "gsm8k": (60, 10, 500),
    "humaneval": (30, 5, 600),
    "kandk": (40, 6, 650),
    "korbench": (20, 4, 1000),
    "math500": (50, 8, 500),
    "mbpp": (55, 8, 500),
    "medqa": (40, 8, 750),
    "meld": (55, 8, 600),
    "mmlu": (70, 10, 500),
    "mmlupro": (50, 8, 600),
    "olympiadbench": (20, 4, 500),
    "winogrande": (70, 9, 500),
}


def main() -> None:
    """Write both files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of question files")
    parser.add_argument("--out", type=Path, required=True, help="where the questions to fit on go")
    parser.add_argument("--held-out", type=Path, help="where the questions to judge by go")
    asked = parser.parse_args()
    fitted, held_out = [], []
    for name, (fit, hold, most) in SHARES.items():
        rows = _short(asked.data / f"{name}.jsonl.gz", most)
        fitted += _spread(rows[:fit])
        shared = {group_of(row) for row in rows[:fit]} - {None}
        held_out += _spread([row for row in rows[fit:][::-1] if group_of(row) not in shared][:hold])
    _write(asked.out, fitted)
    if asked.held_out:
        _write(asked.held_out, held_out)


def group_of(row: dict[str, Any]) -> tuple[object, ...] | None:
    """Name what a question shares with others: a rule of KOR-Bench."""
    meta = row.get("meta") or {}
    return (meta.get("task"), meta["rule_id"]) if "rule_id" in meta else None


def _short(path: Path, most: int) -> list[dict[str, Any]]:
    """Give a file's short questions, shuffled, those of the training split first."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    rows = [row for row in rows if len(row["question"]) <= most]
    random.Random(SEED).shuffle(rows)
    return sorted(rows, key=lambda row: row["split"] != "train")


def _spread(rows: list[dict[str, Any]]) -> list[tuple[float, dict[str, Any]]]:
    """Say where in the whole file each row stands, from 0 to 1, so that any part of it has all data sets."""
    return [((place + 0.5) / len(rows), row) for place, row in enumerate(rows)]


def _write(path: Path, rows: list[tuple[float, dict[str, Any]]]) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for _, row in sorted(rows, key=lambda pair: pair[0]))
    print(f"{path}: {len(rows)} questions")


if __name__ == "__main__":
    main()
