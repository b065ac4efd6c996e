"""`bench`: the speed of a model on this machine."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from avengers_edge.cli.completion import complete_installed, complete_teams
from avengers_edge.cli.session import Session, pass_session
from avengers_edge.cli.shared_options import json_option
from avengers_edge.cli.terminal import StatusLine
from avengers_edge.records import MOST_SAMPLES

if TYPE_CHECKING:
    from avengers_edge.calibration.bench import Report, Spread


@click.command()
@click.argument("model", required=False, shell_complete=complete_installed)
@click.option("--team", shell_complete=complete_teams, help="Team whose first model is measured.")
@click.option(
    "-n", "--samples", type=click.IntRange(1, MOST_SAMPLES), default=10, help="Number of samples of the vote."
)
@json_option
@pass_session
def bench(session: Session, model: str | None, team: str | None, samples: int, as_json: bool) -> None:
    """Measure the speed of MODEL on this machine.

    Without MODEL it is the team's first. The results are stored, and the engine uses them.

    \b
    Measured are the time of a decode step by batch width, with and without repacked weights, the time to the first
    token, and a vote against as many single calls. Takes some minutes; Ctrl-C is safe.
      avengers bench qwen2.5-coder-0.5b-instruct
    """
    from avengers_edge.calibration.bench import bench as measure

    with StatusLine() as status:
        report = measure(session.settings(), team, model, samples, lambda phase: status.show(phase, now=True))
    click.echo(json.dumps(report.as_dict()) if as_json else lines_of(report))


def lines_of(report: Report) -> str:
    """Write a report as text."""
    ways = len(report.repack_tried)
    why = "the quicker of both" if ways > 1 else f"{'off' if report.repack else 'on'}: not usable, or not wanted"
    lines = [
        f"{report.member}",
        f"weight repacking: {'on' if report.repack else 'off'} ({why})",
        "",
        "samples  ms a step  tokens/s",
    ]
    *steps, (prompt_rows, prompt_seconds) = report.curve.points
    lines += [f"{rows:>7}  {seconds * 1000:>9.1f}  {rows / seconds:>8.1f}" for rows, seconds in steps]
    lines.append(f"prompt   {prompt_seconds * 1000:>9.1f}  {prompt_rows / prompt_seconds:>8.1f}")
    lines += [
        "",
        f"first token            {spread(report.first_token)}",
        f"vote of {report.samples:<3}            {spread(report.voted)}",
        f"{report.samples:<3} calls one by one   {spread(report.one_by_one)}",
        f"the vote is {report.ratio.median:.2f} times as fast ({report.ratio.least:.2f} to {report.ratio.most:.2f})",
    ]
    return "\n".join(lines)


def spread(values: Spread) -> str:
    """Write seconds as median (least to most)."""
    return f"{values.median:.2f} s ({values.least:.2f} to {values.most:.2f})"
