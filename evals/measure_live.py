#!/usr/bin/env python3
"""The team against its best member on questions that no table was fitted on, through the product's own answer path.

    python evals/measure_live.py --questions live.jsonl --out RESULTS.jsonl [--team starter] [--prefer 0.6]

Each question is asked in every way, one after the other, one question at a time:

    single   the member that is best over all, one greedy sample
    routed   the member that the table ranks first, one greedy sample
    voted    routed, n samples, a vote, and the second member where they disagree
    auto     routed, as many samples as the table says are worth it: what `avengers ask` does, if the table says it
    fast     routed with --prefer, one greedy sample

A greedy answer of one member to one question is the same whoever decided to ask that member, so it is asked for once.
Resumable: run it again and it goes on where it stopped. What it prints: accuracy as the mean over data sets with what
each way has over `single` (95 % paired bootstrap over questions), and the seconds an answer took. Two more ways need no
asking, since exact stopping never changes a vote: `alone`, the vote that the first member's samples of `voted` make
without a second member, and `first`, its first sample.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean, median
from typing import Any

import numpy as np
from record_samples import read_rows

from avengers_edge.calibration.graders import Grader
from avengers_edge.calibration.measure import inquiry_of
from avengers_edge.calibration.outcomes import OutcomeRow
from avengers_edge.calibration.questions import Question, group_of, read_questions
from avengers_edge.calibration.resampling import resample, units_of
from avengers_edge.config import load_settings
from avengers_edge.inquiry import Inquiry
from avengers_edge.library.catalog import Catalog
from avengers_edge.opening import open_shipped_embedder
from avengers_edge.records import Answer, Ask, Sample
from avengers_edge.routing.table import CentroidTable
from avengers_edge.runtime import Avengers
from avengers_edge.voting.ballot import tally, winner
from avengers_edge.ways import option_text, stated

DRAWS, SEED = 2000, 42
WAYS = ("single", "routed", "voted", "auto")
DECIDED = ("voted", "auto")
"""Ways in which the team decides who answers and how often: none of them can stand in for a greedy answer."""


def main() -> None:
    """Parse the command line, ask in every way, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--questions", type=Path, required=True, help="questions that the table has not seen")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--team", default="starter")
    parser.add_argument("-n", "--samples", type=int, default=8)
    parser.add_argument("--prefer", type=float, help="adds the way `fast`")
    parser.add_argument("--ways", default=",".join(WAYS), help="which of the first four")
    parser.add_argument("--report", action="store_true", help="only report what there is")
    args = parser.parse_args()
    if wrong := set(args.ways.split(",")) - set(WAYS):
        parser.error(f"--ways knows no {', '.join(sorted(wrong))}: use {', '.join(WAYS)}; --prefer adds `fast`")
    questions = tuple(read_questions(args.questions))
    if not args.report:
        run(questions, args)
    report(read_rows(args.out), questions)


def ways_of(args: argparse.Namespace, best: str) -> dict[str, Ask]:
    """Say how each way asks."""
    greedy: dict[str, Any] = {"samples": 1, "temperature": 0.0, "seed": SEED}
    ways = {
        "single": Ask(member=best, **greedy),
        "routed": Ask(**greedy),
        "voted": Ask(samples=args.samples, seed=SEED),
        "auto": Ask(seed=SEED),
    }
    if args.prefer is not None:
        ways["fast"] = Ask(prefer=args.prefer, **greedy)
    return {way: ask for way, ask in ways.items() if way in [*args.ways.split(","), "fast"]}


def run(questions: Sequence[Question], args: argparse.Namespace) -> None:
    """Ask what no earlier run asked, and append a line for each answer."""
    settings = load_settings()
    catalog = Catalog.of(settings)
    with open_shipped_embedder(settings) as embedder:
        team = catalog.load_team(args.team)
        table = CentroidTable.load(catalog.find_table(team), fingerprint=embedder.fingerprint)
    ways = ways_of(args, table.header.best_single)
    if table.samples is None:
        ways.pop("auto", None)  # it would be `voted`
    sampling = team.sampling
    asked = {"samples": args.samples, "temperature": sampling.temperature, "max_tokens": sampling.max_tokens}
    rows = {(row["way"], row["id"]): row for row in read_rows(args.out)}
    if other := next((row for row in rows.values() if row.get("asked") != asked), None):
        sys.exit(f"{args.out} has answers that were asked for with {other.get('asked')}, not {asked}: begin a new file")
    todo = [(question, way) for question in questions for way in ways if (way, question.id) not in rows]
    start = time.monotonic()
    with Avengers.open(settings, args.team) as avengers, Grader() as grader, args.out.open("a") as out:
        for count, (question, way) in enumerate(todo, 1):
            ask = whom(avengers, question, with_kind(ways[way], question))
            given = [row for (other, name), row in rows.items() if name == question.id and other not in DECIDED]
            row = next((row for row in given if row["model"] == ask.member), None)
            if row is None:
                row = as_row(way, question, avengers.answer(question.question, ask), grader)
            rows[way, question.id] = row = {**row, "way": way, "asked": asked}
            out.write(json.dumps(row) + "\n")
            out.flush()
            left = (len(todo) - count) * (time.monotonic() - start) / count
            print(f"{way}: {count} of {len(todo)}, about {left / 60:.0f} min left", file=sys.stderr, flush=True)


def whom(avengers: Avengers, question: Question, ask: Ask) -> Ask:
    """Name the member that a greedy question goes to, whatever model is loaded; otherwise the team decides."""
    if ask.samples != 1 or ask.member is not None:
        return ask
    return dataclasses.replace(ask, member=avengers.route(question.question, prefer=ask.prefer).ranking[0].model)


def with_kind(ask: Ask, question: Question) -> Ask:
    """Ask for the kind of answer that the benchmark wants, as `calibrate measure` does."""
    return dataclasses.replace(ask, kind=question.answer_type)


def as_row(way: str, question: Question, answer: Answer, grader: Grader) -> dict[str, Any]:
    """Grade what a user would be shown; loading a model is not part of an answer's seconds."""
    inquiry = inquiry_of(question)

    def right(sample: Sample) -> bool:
        text = stated(sample, inquiry)
        return bool(text) and grader.grade(question, text, truncated=sample.finish_reason == "length")

    ballots = [
        {"member": sample.model, "key": sample.key, "right": right(sample)}
        for sample in answer.samples
        if sample.finish_reason != "cancelled"
    ]
    return {
        "way": way,
        "id": question.id,
        "dataset": question.dataset,
        "right": is_right(answer, question, inquiry, grader) if answer.shown.chances else right(answer.shown),
        "model": answer.model,
        "samples": answer.samples_used,
        "tokens": answer.usage.completion_tokens,
        "seconds": round((answer.timings_ms.total - answer.timings_ms.load) / 1000, 3),
        "agreement": answer.agreement,
        "confidence": answer.confidence,
        "ballots": ballots,
    }


def is_right(answer: Answer, question: Question, inquiry: Inquiry, grader: Grader) -> bool:
    """Grade an answer by letters: the option that is likeliest over all orders, which may be no single order's."""
    return grader.grade(question, option_text(answer.answer, inquiry.choices or ()), truncated=False)


def derived(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Say how a voted question would have gone without the second member, and by its first sample."""
    ballots = [each for each in row["ballots"] if each["member"] == row["ballots"][0]["member"]]
    leader = winner(tally([each["key"] for each in ballots]))
    elected = next((each for each in ballots if leader and each["key"] == leader.key), ballots[0])
    return [
        {**row, "way": "alone", "right": elected["right"], "seconds": math.nan},
        {**row, "way": "first", "right": ballots[0]["right"], "seconds": math.nan},
    ]


def report(rows: Sequence[Mapping[str, Any]], questions: Sequence[Question]) -> None:
    """Print the ways side by side, on the questions that all of them answered."""
    rows = [*rows, *(each for row in rows if row["way"] == "voted" for each in derived(row))]
    ways = list(dict.fromkeys(row["way"] for row in rows))
    by_question: dict[str, dict[str, Mapping[str, Any]]] = {}
    for row in rows:
        by_question.setdefault(row["id"], {})[row["way"]] = row
    answered = [question for question in questions if len(by_question.get(question.id, {})) == len(ways)]
    if not answered:
        sys.exit("no question was answered in every way yet: run it for longer")
    whole = [by_question[question.id] for question in answered]
    judged = [OutcomeRow(each.id, each.dataset, each.category, {}, group=group_of(each)) for each in answered]
    right = np.array([[float(each[way]["right"]) for way in ways] for each in whole])
    drawn = resample(right, np.ones(len(whole), dtype=np.intp), units_of(judged), judged, draws=DRAWS, seed=SEED)
    print(f"{len(whole)} questions of {len({row.dataset for row in judged})} data sets")
    for at, way in enumerate(ways):
        seconds = [each[way]["seconds"] for each in whole]
        line = f"{way:<8} {100 * right[:, at].mean():5.1f} % of questions, {drawn.interval(at).mean:5.1f} % over sets"
        if "single" in ways and way != "single":
            gain = drawn.interval(at, less=ways.index("single"))
            line += f", over single {gain.mean:+.1f} ({gain.low:+.1f} to {gain.high:+.1f})"
        if not math.isnan(seconds[0]):
            line += f"; {mean(seconds):.1f} s an answer (median {median(seconds):.1f}, "
            line += f"{min(seconds):.1f} to {max(seconds):.1f})"
        print(line)


if __name__ == "__main__":
    main()
