"""`ask`, `batch` and `route`: one question, a file of them, and the routing of one."""

from __future__ import annotations

import dataclasses
import functools
import io
import json
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from avengers_edge.cli.question_input import LONGEST_TOKEN, read_attachment, read_question
from avengers_edge.cli.session import Session, pass_session
from avengers_edge.cli.shared_options import ask_options, json_option, prefer_option, team_option
from avengers_edge.cli.terminal import StatusLine, aside, columns, human_seconds, on_standard_output, refuse_lost_output
from avengers_edge.errors import AvengersError, BadRequest
from avengers_edge.records import Answer, Ask, Finished

if TYPE_CHECKING:
    from avengers_edge.batch import Tally


@click.command()
@click.argument("prompt", required=False)
@click.option(
    "-f",
    "--file",
    "files",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Text file to attach to the question; repeatable.",
)
@team_option
@ask_options
@click.option("--explain", is_flag=True, help="Show the ranking and the votes on standard error.")
@click.option("--raw", is_flag=True, help="Print only the answer.")
@click.option("-x", "--extract", is_flag=True, help="Print only the first code block of the answer.")
@json_option
@pass_session
def ask(
    session: Session,
    prompt: str | None,
    files: tuple[Path, ...],
    team: str | None,
    options: Ask,
    explain: bool,
    raw: bool,
    extract: bool,
    as_json: bool,
) -> None:
    """Route PROMPT, sample, vote, print the answer.

    \b
    Without PROMPT, or with -, the question is read from standard input; with both, the two are joined:
      avengers ask "What does this function return?" < code.py
      avengers ask "Which of the two is newer?" -f old.txt -f new.txt
      avengers ask -x "Write a Python function that reverses a list." > reverse.py
    """
    if raw + extract + as_json > 1:
        raise BadRequest("--raw, --extract and --json are ways to print one answer: choose one")
    refuse_lost_output()
    settings = session.settings()
    question = read_question(prompt, [read_attachment(file, LONGEST_TOKEN * settings.context) for file in files])
    if options.kind is None and options.tests is None and options.schema is None:
        options = dataclasses.replace(options, kind=question.kind)
    from avengers_edge.cli.answer_display import AnswerDisplay, explanation, shown, summary
    from avengers_edge.cli.running_server import open_runs
    from avengers_edge.voting.kinds import find_choices, kind_of

    if options.kind == "choice" and not find_choices(question.text):
        aside("the question lists no options, like A) and B): whatever letter is answered counts")
    streams = not (extract or as_json or explain) and (not raw or kind_of(question.text, options) == "text")
    width = columns() if on_standard_output() and not raw else None
    answer = None
    with StatusLine() as status, open_runs(settings, team) as avengers:
        display = AnswerDisplay(status, streams=streams, width=width)
        status.show("routing …", now=True)
        with display:
            for event in avengers.run(question.text, options):
                display.show(event)
                if isinstance(event, Finished):
                    answer = event.answer
    assert answer is not None
    if explain:
        click.echo(explanation(answer, columns(), options.samples), err=True)
    if extract:
        click.echo(_code_of(answer))
    elif as_json:
        click.echo(json.dumps(answer.as_dict()))
    elif raw:
        display.end(answer.answer)
    else:
        display.end(shown(answer, programs=width is not None))
        aside(summary(answer))
        if answer.route.fallback and not explain:
            aside(answer.route.fallback)
    if options.tests is not None and not _any_passed(answer):
        raise AvengersError(
            f"0 of {answer.samples_used} samples passed the tests: ask for more samples (-n), or correct the tests"
        )


def _any_passed(answer: Answer) -> bool:
    from avengers_edge.voting.code_votes import failures  # they are part of the key of code that failed

    return any(sample.key is not None and not failures(sample.key) for sample in answer.samples)


def _code_of(answer: Answer) -> str:
    from avengers_edge.voting.source import first_block

    code = first_block(answer.text)
    if code is None:
        cut = answer.shown.finish_reason == "length"
        remedy = "it was cut off, so raise --max-tokens" if cut else "ask for one, or leave --extract out"
        raise AvengersError(f"the answer has no complete code block: {remedy}")
    return code


@click.command()
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="File of answers to write, or to complete.",
)
@click.option(
    "-j",
    "--jobs",
    type=click.IntRange(1, 64),
    default=4,
    help="Number of questions answered at once; only with 1 does a seed give the same texts each time.",
)
@team_option
@ask_options
@json_option
@pass_session
def batch(session: Session, file: Path, out: Path, jobs: int, team: str | None, options: Ask, as_json: bool) -> None:
    """Answer the questions of FILE, one JSON object a line.

    FILE may be -, standard input. Run again, it goes on where it stopped.

    \b
    A line is {"prompt": "..."}, with "id", "samples", "kind", "member" and other options where they differ.
      avengers batch questions.jsonl --out answers.jsonl
      avengers batch - --out answers.jsonl --samples 5 < questions.jsonl
    """
    from avengers_edge.batch import read_items, run
    from avengers_edge.cli.running_server import open_runs

    if out.exists() and file.exists() and out.samefile(file):
        raise BadRequest(f"{out} holds the questions: name another file with --out")
    settings = session.settings()
    items = read_items(_lines(file), options, team or settings.team)
    with StatusLine() as status, open_runs(settings, team) as avengers:

        def answer(question: str, ask: Ask, stop: threading.Event) -> Answer:
            return avengers.answer(question, ask, cancel=stop)

        status.show(f"{len(items)} questions", now=True)
        tally = run(items, out, answer, jobs=jobs, on_done=lambda tally: status.show(progress(tally), now=True))
    counts = {"total": tally.total, "before": tally.before, "answered": tally.answered, "failed": tally.failed}
    if as_json:
        click.echo(json.dumps({"out": str(out), **counts}))
    else:
        before = f", {tally.before} were there before" if tally.before else ""
        click.echo(f"{out}: {tally.answered} answered, {tally.failed} failed{before}", err=True)
    if tally.failure:
        raise AvengersError(f"{tally.failed} questions failed, to be asked again by the next run; {tally.failure}")


def progress(tally: Tally) -> str:
    """Write the status line of a batch."""
    failed = f" · {tally.failed} failed" if tally.failed else ""
    return f"{tally.done} of {tally.total} questions{failed} · about {human_seconds(tally.seconds_left)} left"


def _lines(file: Path) -> Iterator[tuple[str, str]]:
    from avengers_edge._util.jsonl import numbered, numbered_lines

    what = "file of questions"
    if str(file) == "-":
        if sys.stdin is None:
            raise BadRequest("standard input is closed: name a file")
        return numbered(io.TextIOWrapper(sys.stdin.buffer, "utf-8-sig"), "standard input", what)
    return numbered_lines(file, what, 'write one, a line as {"prompt": "..."}')


@click.command()
@click.argument("prompt", required=False)
@team_option
@prefer_option
@json_option
@pass_session
def route(session: Session, prompt: str | None, team: str | None, prefer: float, as_json: bool) -> None:
    """Show which member would answer PROMPT, and why.

    No language model is loaded.

    \b
      avengers route "Prove that the square root of 2 is irrational."
    """
    Ask(prefer=prefer)
    question = read_question(prompt)
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # numpy would start threads when imported
    from avengers_edge.opening import open_shipped_embedder
    from avengers_edge.runtime import Avengers

    settings = session.settings()
    open_embedder = functools.partial(open_shipped_embedder, settings, few=True)
    with Avengers.open(settings, team, open_embedder=open_embedder) as avengers:
        decision = avengers.route(question.text, prefer=prefer)
    if as_json:
        click.echo(json.dumps(decision.as_dict()))
        return
    from avengers_edge.cli.answer_display import ranking_lines

    click.echo(ranking_lines(decision, columns()))
