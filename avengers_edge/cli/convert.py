"""`calibrate convert`: a benchmark's published files, or its copy on the hub, as a question file."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from avengers_edge.cli.session import Session, pass_session
from avengers_edge.cli.terminal import StatusLine
from avengers_edge.errors import BadRequest

if TYPE_CHECKING:
    from avengers_edge.calibration.questions import Question

_HUB = "hub"
_REASONS_SHOWN = 5


@click.command()
@click.argument("benchmark")
@click.option(
    "--from",
    "source",
    required=True,
    metavar="PATH|hub",
    help="A published file, a folder that holds the files, or `hub` for the Hugging Face hub.",
)
@click.option(
    "--split", help="Which part of the benchmark: test, train, ... (default: what the file's name says, or test)."
)
@click.option(
    "--out",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="The question file to write, .jsonl or .jsonl.gz.",
)
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Stop after so many questions.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@pass_session
def convert(
    session: Session, benchmark: str, source: str, split: str | None, out: Path, limit: int | None, as_json: bool
) -> None:
    """Turn the published files of BENCHMARK into a question file for `calibrate measure`.

    \b
    No benchmark's questions come with this package: download them from their publishers, under their licences.
    A folder named hub is read as ./hub.
      avengers calibrate convert bbh --from BIG-Bench-Hard/ --out bbh.jsonl.gz
    """
    from avengers_edge.calibration.benchmarks import convert_hub, convert_path
    from avengers_edge.calibration.questions import write_questions

    left_out: Counter[str] = Counter()

    def note(reason: str) -> None:
        left_out[reason] += 1

    if source == _HUB:
        offline = session.settings().offline
        questions = convert_hub(benchmark, split or "test", offline=offline, on_left_out=note)
    else:
        questions = convert_path(benchmark, Path(source), split, on_left_out=note)
    with StatusLine() as status:
        shown = _Counted(itertools.islice(questions, limit), status)
        first = next(iter(shown), None)
        if first is None:
            reasons = f": {_listed(left_out)}" if left_out else ", there are no rows"
            raise BadRequest(f"no question of {benchmark} came out of {source}{reasons}; {out} was not written")
        write_questions(out, itertools.chain((first,), shown))
    for reason, count in left_out.most_common(_REASONS_SHOWN):
        click.echo(f"{count} rows were left out: {reason}", err=True)
    if rest := sum(left_out.values()) - sum(count for _, count in left_out.most_common(_REASONS_SHOWN)):
        click.echo(f"{rest} more rows were left out for other reasons", err=True)
    if as_json:
        counts = {"benchmark": benchmark, "out": str(out), "written": shown.count, "left_out": dict(left_out)}
        click.echo(json.dumps(counts))
    else:
        click.echo(f"{shown.count} questions of {benchmark} written to {out}")


class _Counted:
    """Passes questions on, and tells how many there were."""

    def __init__(self, questions: Iterable[Question], status: StatusLine) -> None:
        self.count = 0
        self._questions = iter(questions)
        self._status = status

    def __iter__(self) -> Iterator[Question]:
        for question in self._questions:
            self.count += 1
            self._status.show(f"{self.count} questions")
            yield question


def _listed(left_out: Counter[str]) -> str:
    return "; ".join(f"{count} rows: {reason}" for reason, count in left_out.most_common(_REASONS_SHOWN))
