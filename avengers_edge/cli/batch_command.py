"""`batch`: a file of questions answered into another."""

from __future__ import annotations

import io
import json
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from avengers_edge._util.jsonl import numbered, numbered_lines
from avengers_edge.cli.running_server import open_runs
from avengers_edge.cli.session import Session, pass_session
from avengers_edge.cli.shared_options import ask_options, json_option, team_option
from avengers_edge.cli.terminal import StatusLine, human_seconds
from avengers_edge.errors import AvengersError, BadRequest
from avengers_edge.records import Answer, Ask

if TYPE_CHECKING:
    from avengers_edge.batch import Tally


_FILE = click.Path(path_type=Path, allow_dash=True)
_WHAT = "file of questions"


@click.command()
@click.argument("file", type=_FILE)
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
    show_default=True,
    help="Number of questions answered at once; only with 1 does a seed give the same texts each time.",
)
@team_option
@ask_options
@json_option
@pass_session
def batch(session: Session, file: Path, out: Path, jobs: int, team: str | None, options: Ask, as_json: bool) -> None:
    """Answer the questions of FILE (JSON lines) into another file.

    FILE may be -, standard input. Run again, it goes on where it stopped.

    \b
    A line is {"prompt": "..."}, with "id", "samples", "kind", "member" and other options where they differ.
      avengers batch questions.jsonl --out answers.jsonl
      avengers batch - --out answers.jsonl --samples 5 < questions.jsonl
    """
    from avengers_edge.batch import read_items, run

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
    if str(file) == "-":
        if sys.stdin is None:
            raise BadRequest("standard input is closed: name a file")
        return numbered(io.TextIOWrapper(sys.stdin.buffer, "utf-8-sig"), "standard input", _WHAT)
    return numbered_lines(file, _WHAT, 'write one, a line as {"prompt": "..."}')
