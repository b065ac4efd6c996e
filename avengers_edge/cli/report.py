"""`calibrate report`: a study of routing on outcomes, as one HTML file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from avengers_edge.cli.session import Session, pass_session
from avengers_edge.cli.several import SeveralValues, embedding, members_option, outcomes_option, questions_option
from avengers_edge.cli.terminal import StatusLine

if TYPE_CHECKING:
    from avengers_edge.calibration.findings import Study

_FILE = click.Path(path_type=Path)


@click.command(cls=SeveralValues)
@outcomes_option
@questions_option
@members_option
@click.option(
    "--seeds", type=click.IntRange(1, 100), default=5, show_default=True, metavar="N", help="Splits that are compared."
)
@click.option("--quick", is_flag=True, help="Two splits at most, and a coarser look at the settings.")
@click.option(
    "--examples", type=click.IntRange(0, 20), default=0, metavar="N", help="Show so many prompts of each cluster."
)
@click.option(
    "--out", default="report.html", show_default=True, type=_FILE, metavar="FILE", help="The HTML file to write."
)
@click.option("--json", "as_json", is_flag=True, help="Print the findings as one JSON object.")
@pass_session
def report(
    session: Session,
    outcomes: tuple[Path, ...],
    questions: tuple[str, ...],
    members: tuple[str, ...] | None,
    seeds: int,
    quick: bool,
    examples: int,
    out: Path,
    as_json: bool,
) -> None:
    """Show in one HTML file what routing is worth on outcomes, beside four other routers, with intervals.

    \b
    Tables are fitted on 70 % of the questions and judged by the rest, several times over; takes some minutes.
    The file needs no other one and holds no prompts unless --examples asks for them.
      avengers calibrate report --outcomes outcomes.jsonl --out report.html
    """
    from avengers_edge._util.files import check_folder
    from avengers_edge.calibration.report import require_matplotlib, verdict, write_report
    from avengers_edge.calibration.steps import embed_rows, load_outcomes
    from avengers_edge.calibration.study import run_study
    from avengers_edge.opening import open_shipped_embedder

    check_folder(out)
    require_matplotlib()
    rows = load_outcomes(outcomes, members, questions)
    with StatusLine() as status:
        with open_shipped_embedder(session.settings()) as embedder:
            vectors = embed_rows(embedder, rows, embedding(status))
        study = run_study(
            vectors,
            rows,
            members=members,
            seeds=seeds,
            quick=quick,
            examples=examples,
            on_progress=lambda what, share: status.show(f"{100 * share:.0f} % · {what}", now=True),
        )
        status.show("drawing", now=True)
        write_report(study, out)
    if as_json:
        click.echo(json.dumps({"out": str(out), **study.as_dict()}))
        return
    click.echo("\n".join([*lines_of(study), "", verdict(study), f"{out} shows the rest."]))


def lines_of(study: Study) -> list[str]:
    """Write how each way of choosing did, for people; the page has the members alone too."""
    head = f"{'':<28}{'macro %':>9}{'95 % interval':>16}{'over best single':>19}{'95 % interval':>16}"
    return [
        head,
        *(
            f"{each.name[:27]:<28}{each.macro.mean:>9.1f}{f'{each.macro.low:.1f} to {each.macro.high:.1f}':>16}"
            f"{each.gain.mean:>+19.1f}{f'{each.gain.low:+.1f} to {each.gain.high:+.1f}':>16}"
            for each in study.standings
            if each.role != "member"
        ),
    ]
