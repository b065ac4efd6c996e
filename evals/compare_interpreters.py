#!/usr/bin/env python3
"""Compare the interpreters on programs that a model wrote: how often both print the same, and why one has nothing.

    python evals/compare_interpreters.py SAMPLES.jsonl... [--way program] [--out REPORT.md]

SAMPLES are files of `evals/record_samples.py`. Of each text the program is taken as answers take it, and counts
once, however often it was written. It is run by CPython in the Linux sandbox with SymPy, by the same without SymPy, and
by Monty. Only the last line that is printed counts as the answer, so that is compared, too.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import re
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from avengers_edge.sandbox.linux import Sandbox
from avengers_edge.sandbox.programs import LIMITS, CPython, Interpreter, Monty, ProgramRun
from avengers_edge.voting.keys import extract_answer

_PATIENT = dataclasses.replace(LIMITS, wall_seconds=30.0)
"""Seconds of the processor are bounded as ever; a machine that does something else meanwhile makes no program fail."""


@dataclasses.dataclass(frozen=True, slots=True)
class Compared:
    """One program, and what became of it: by CPython with SymPy, without, and by Monty."""

    dataset: str
    source: str
    cpython: ProgramRun
    bare: ProgramRun
    monty: ProgramRun


def main() -> None:
    """Parse the command line, run all programs, print the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("samples", type=Path, nargs="+")
    parser.add_argument("--way", default="program")
    parser.add_argument("--out", type=Path, help="write the report here, too")
    args = parser.parse_args()

    texts = list(read_texts(args.samples, args.way))
    sources = {source: dataset for dataset, source in texts if source is not None}
    sandbox = Sandbox.find()
    interpreters: tuple[Interpreter, ...] = (
        CPython(sandbox, _PATIENT),
        CPython(sandbox, _PATIENT, packages=()),
        Monty.find(),
    )
    seconds: tuple[list[float], ...] = tuple([] for _ in interpreters)
    compared = []
    for count, (source, dataset) in enumerate(sources.items(), 1):
        runs = [timed(interpreter, source, taken) for interpreter, taken in zip(interpreters, seconds, strict=True)]
        compared.append(Compared(dataset, source, *runs))
        if count % 50 == 0:
            print(f"{count} of {len(sources)}", file=sys.stderr, flush=True)
    lines = [
        f"{len(texts)} texts, {sum(source is None for _, source in texts)} without a program, "
        f"{len(sources)} different programs",
        *(
            f"{name}: median {statistics.median(taken):.3f} s, longest {max(taken):.2f} s"
            for name, taken in zip(("cpython", "cpython without sympy", "monty"), seconds, strict=True)
        ),
        "",
        *report(compared),
    ]
    print("\n".join(lines))
    if args.out:
        args.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


def read_texts(paths: Iterable[Path], way: str) -> Iterator[tuple[str, str | None]]:
    """Give each sample's data set and program, None where there is none; a line that is still being written is left."""
    for path in paths:
        for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
            row = json.loads(line) if line.endswith("\n") else {}
            if row.get("way") == way:
                cut = row.get("finish") == "length"
                yield row["id"].partition("/")[0], extract_answer(row["text"], "code", truncated=cut)


def timed(interpreter: Interpreter, source: str, taken: list[float]) -> ProgramRun:
    """Run a program and note its seconds."""
    start = time.monotonic()
    run = interpreter.run(source)
    taken.append(time.monotonic() - start)
    return run


def report(compared: Sequence[Compared]) -> Iterator[str]:
    """Write the tables."""
    yield from table("Printed by CPython with SymPy, and by Monty", compared, outcome_of)
    by_dataset = sorted({each.dataset for each in compared})
    yield "| data set | programs | CPython prints | without SymPy | Monty prints | same last line |"
    yield "|---|---|---|---|---|---|"
    for dataset in [*by_dataset, None]:
        rows = [each for each in compared if dataset in (each.dataset, None)]
        printed = [sum(run.printed is not None for run in runs) for runs in zip(*map(runs_of, rows), strict=True)]
        same = sum(outcome_of(each) in ("both, the same", "both, the same last line") for each in rows)
        yield f"| {dataset or 'all'} | {len(rows)} | {printed[0]} | {printed[1]} | {printed[2]} | {same} |"
    yield ""
    lacking = [each for each in compared if each.bare.printed is None and "sympy" in (each.bare.reason or "")]
    gained = sum(each.cpython.printed is not None for each in lacking)
    failed = sum(each.bare.printed is None for each in compared)
    yield f"Without SymPy {failed} programs fail in CPython, {len(lacking)} of them for lack of it;"
    yield f"with it {gained} of these print."
    yield ""
    yield from table("Why CPython with SymPy has nothing", compared, lambda each: kind_of(each.cpython))
    yield from table("Why Monty has nothing where CPython without SymPy prints", compared, only_monty_fails)
    yield from table("Why CPython with SymPy has nothing where Monty prints", compared, only_cpython_fails)


def runs_of(each: Compared) -> tuple[ProgramRun, ProgramRun, ProgramRun]:
    """Line up what became of a program."""
    return each.cpython, each.bare, each.monty


def outcome_of(each: Compared) -> str:
    """Name what the two interpreters made of a program."""
    if each.cpython.printed is None or each.monty.printed is None:
        who = "neither", "only Monty", "only CPython"
        return who[(each.monty.printed is not None) + 2 * (each.cpython.printed is not None)]
    if each.cpython.printed == each.monty.printed:
        return "both, the same"
    return "both, the same last line" if last_line(each.cpython) == last_line(each.monty) else "both, another last line"


def only_monty_fails(each: Compared) -> str | None:
    """Give the kind of reason where Monty alone fails, SymPy aside."""
    return kind_of(each.monty) if each.bare.printed is not None else None


def only_cpython_fails(each: Compared) -> str | None:
    """Give the kind of reason where CPython alone fails."""
    return kind_of(each.cpython) if each.monty.printed is not None else None


def last_line(run: ProgramRun) -> str | None:
    """Give the last line that is not empty."""
    lines = [line.strip() for line in (run.printed or "").splitlines() if line.strip()]
    return lines[-1] if lines else None


def kind_of(run: ProgramRun) -> str | None:
    """Name the kind of a failure: the exception, with what is not there where that is what it says."""
    if run.reason is None:
        return None
    name, _, said = run.reason.partition(":")
    if name in ("ModuleNotFoundError", "ImportError", "NotImplementedError", "AttributeError"):
        return f"{name}: {re.sub(r' at line .*', '', said.strip())}"
    if name == "NameError" and re.search(r"'(input|exit|quit|eval|exec|bytearray|complex|globals|locals)'", said):
        return f"{name}: {said.strip()}"
    return name


def table(title: str, compared: Iterable[Compared], kind: Callable[[Compared], str | None]) -> Iterator[str]:
    """Count the kinds, most frequent first."""
    counts = Counter(found for each in compared if (found := kind(each)) is not None)
    yield f"| {title} | programs |"
    yield "|---|---|"
    for found, count in counts.most_common():
        yield f"| {found.replace('|', '/')} | {count} |"
    yield ""


if __name__ == "__main__":
    main()
