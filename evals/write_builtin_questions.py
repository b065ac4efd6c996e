#!/usr/bin/env python3
"""Write the file of the built-in questions, 50 in each of 27 data sets, which ships as `builtin`.

    python evals/write_builtin_questions.py                                   models/questions/builtin.jsonl.gz again
    python evals/write_builtin_questions.py --seed 7 --out others.jsonl.gz    questions with other numbers and names

Outcomes are kept by question id, so what ships does not change: tests/test_builtin_set.py holds it to its digest.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from builtin_questions.questions import draw_questions

from avengers_edge.calibration.questions import write_questions

SHIPPED = Path(__file__).resolve().parent.parent / "models" / "questions" / "builtin.jsonl.gz"


def main() -> None:
    """Parse the command line, write the file, say its size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0, help="other than 0: other questions")
    parser.add_argument("--out", type=Path, default=SHIPPED, help="a question file, plain or .gz")
    args = parser.parse_args()
    if args.seed != 0 and args.out.resolve() == SHIPPED:
        parser.error("what ships is seed 0: name another file with --out")
    args.out.parent.mkdir(parents=True, exist_ok=True)
    questions = list(draw_questions(args.seed))
    write_questions(args.out, questions)
    print(f"{args.out}: {len(questions)} questions, {args.out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
