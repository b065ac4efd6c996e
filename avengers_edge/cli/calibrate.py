"""The `calibrate` group: questions, outcomes, table, figures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from avengers_edge.cli.convert import convert
from avengers_edge.cli.names import complete_teams
from avengers_edge.cli.report import report
from avengers_edge.cli.session import Session, pass_session
from avengers_edge.cli.several import (
    SeveralValues,
    embedding,
    is_given,
    members_option,
    names,
    outcomes_option,
    questions_option,
)
from avengers_edge.cli.terminal import StatusLine, human_seconds
from avengers_edge.errors import BadRequest

if TYPE_CHECKING:
    from avengers_edge.calibration.measure import Measured

_METHODS = ("kmeans", "agglomerative", "gmm", "spectral", "birch")
_FILE = click.Path(path_type=Path)
_FEW = 100
_FITTED = ("clusters", "method", "across", "seed", "smoothing", "votes", "partly", "team_size")
"""What `fit` takes only where it makes a table."""


def parse_clusters(_context: click.Context, parameter: click.Parameter, word: str | None) -> int | str | None:
    """Turn the word into a number, unless it is `auto`."""
    try:
        return word if word is None or word == "auto" else int(word)
    except ValueError:
        raise click.BadParameter(f"{word!r} is neither a number nor auto", param=parameter) from None


@click.group()
def calibrate() -> None:
    """Measure a team on questions, fit its routing table, and see how good that is. All of it off line.

    \b
    From nothing to a routing table of your own models:
      avengers calibrate measure --questions builtin --limit 200 --out outcomes.jsonl
      avengers calibrate fit --outcomes outcomes.jsonl --out my-table.safetensors
      avengers calibrate evaluate --table my-table.safetensors --outcomes outcomes.jsonl
    """


@calibrate.command(cls=SeveralValues)
@click.option("--team", shell_complete=complete_teams, help="The team that is measured.")
@click.option(
    "--questions", multiple=True, required=True, metavar="FILE...|builtin", help="Question files, or the built-in set."
)
@click.option("--out", required=True, type=_FILE, metavar="FILE", help="The outcome file; what it has is not redone.")
@click.option("--samples", type=int, default=1, show_default=True, help="Samples of each answer; 1 is greedy.")
@click.option("--limit", type=int, help="So many questions, spread over the data sets.")
@click.option("--datasets", callback=names, metavar="A,B", help="Only questions of these data sets.")
@members_option
@click.option("--seed", type=int, default=42, show_default=True, help="Of the choice of questions and of the samples.")
@click.option("--texts", is_flag=True, help="Keep what the members wrote, to see why an answer was wrong.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@pass_session
def measure(
    session: Session,
    team: str | None,
    questions: tuple[str, ...],
    out: Path,
    samples: int,
    limit: int | None,
    datasets: tuple[str, ...] | None,
    members: tuple[str, ...] | None,
    seed: int,
    texts: bool,
    as_json: bool,
) -> None:
    """Let every member of a team answer questions, grade the answers, and write outcomes.

    \b
    Run again, it goes on where it stopped; Ctrl-C is safe at any time:
      avengers calibrate measure --questions my-questions.jsonl --out outcomes.jsonl
    """
    from avengers_edge.calibration.steps import load_questions, measure_team, without_code

    chosen, left_out = without_code(load_questions(questions, datasets=datasets, limit=limit, seed=seed))
    if left_out:
        click.echo(left_out, err=True)
    with StatusLine() as status:
        status.show(f"{len(chosen)} questions", now=True)
        rows = measure_team(
            session.settings(),
            team,
            chosen,
            out,
            members=members,
            samples=samples,
            seed=seed,
            keep_texts=texts,
            on_measured=lambda measured: status.show(progress(measured)),
        )
    means = {name: 100 * sum(row.scores[name] for row in rows) / len(rows) for name in rows[0].scores}
    if as_json:
        rounded = {name: round(mean, 2) for name, mean in means.items()}
        click.echo(json.dumps({"out": str(out), "n": len(rows), "members": rounded}))
        return
    click.echo(f"{out}: {len(rows)} questions, right in percent:")
    for name, mean in means.items():
        click.echo(f"  {name:<40} {mean:5.1f}")


def progress(measured: Measured) -> str:
    """Say how far a measurement is."""
    left = human_seconds(measured.seconds_left)
    return f"{measured.done} of {measured.total} answers · {measured.member} · about {left} left"


@calibrate.command(cls=SeveralValues)
@outcomes_option
@click.option("--out", required=True, type=_FILE, metavar="TABLE", help="The table to write.")
@questions_option
@members_option
@click.option(
    "--clusters",
    metavar="K|auto",
    callback=parse_clusters,
    help="How many; by default one for every 80 questions. `auto` chooses by cross-validation.",
)
@click.option("--method", type=click.Choice(_METHODS), default="kmeans", show_default=True, help="How to cluster.")
@click.option("--across", is_flag=True, help="Cluster all questions at once, not each data set by itself.")
@click.option("--seed", type=int, default=42, show_default=True, help="Of the clustering.")
@click.option("--smoothing", type=float, help="Pseudo-counts of each cell; left out, estimated from the outcomes.")
@click.option(
    "--votes",
    multiple=True,
    type=_FILE,
    metavar="FILE...",
    help="Eight samples of some of the same questions: where does a vote pay?",
)
@click.option("--partly", is_flag=True, help="Members need not have answered every question.")
@click.option("--team-size", type=int, metavar="N", help="Choose the N members that are first the most often.")
@click.option("--add-to", type=_FILE, metavar="TABLE", help="Add to this table; its centroids stay where they are.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@pass_session
def fit(
    session: Session,
    outcomes: tuple[Path, ...],
    out: Path,
    questions: tuple[str, ...],
    members: tuple[str, ...] | None,
    clusters: int | str | None,
    method: str,
    across: bool,
    seed: int,
    smoothing: float | None,
    votes: tuple[Path, ...],
    partly: bool,
    team_size: int | None,
    add_to: Path | None,
    as_json: bool,
) -> None:
    """Fit a routing table to outcomes.

    \b
      avengers calibrate fit --outcomes outcomes.jsonl --out my-table.safetensors
    """
    from avengers_edge._util.files import check_folder
    from avengers_edge.calibration.fit import FitOptions
    from avengers_edge.calibration.steps import extend_with, fit_outcomes, load_outcomes

    check_folder(out)
    if add_to is not None and (wrong := [name for name in _FITTED if is_given(name)]):
        raise BadRequest(
            f"--add-to keeps a table's clusters, members and budgets: leave out --{wrong[0].replace('_', '-')}"
        )
    rows = load_outcomes(outcomes, members, questions, partly=partly)
    if partly and members is None:
        members = tuple(dict.fromkeys(name for row in rows for name in row.scores))
    with StatusLine() as status:
        hear = embedding(status)
        named = ", ".join(path.name for path in outcomes)
        if add_to is not None:
            table = extend_with(session.settings(), add_to, rows, out, hear, provenance=f"added {named}")
        else:
            k = clusters if isinstance(clusters, int) else None
            options = FitOptions(members, k, method, across, seed, smoothing, partly=partly)
            provenance = f"fitted on {named}"
            table = fit_outcomes(
                session.settings(),
                rows,
                out,
                options,
                votes=load_outcomes(votes, None, questions, partly=True) if votes else (),
                choose_k=clusters == "auto",
                team_size=team_size,
                provenance=provenance,
                on_embedded=hear,
            )
    header = table.header
    facts: dict[str, Any] = {
        "out": str(out),
        "n": sum(header.datasets.values()),
        "clusters": header.clusters,
        "members": {name: round(100 * mean, 2) for name, mean in zip(header.members, header.macro, strict=True)},
        "best_single": header.best_single,
        "samples": None if table.samples is None else table.samples.tolist(),
    }
    if facts["n"] < _FEW:
        click.echo(
            f"{facts['n']} questions say little about a member: measure some hundred before you rely on it", err=True
        )
    if as_json:
        click.echo(json.dumps(facts))
        return
    click.echo(fit_lines(facts))


def fit_lines(facts: dict[str, Any]) -> str:
    """Write what a table was fitted on, and what it found, for people."""
    best = facts["best_single"]
    lines = [
        f"{facts['out']}: {facts['n']} questions, {facts['clusters']} clusters, {len(facts['members'])} members",
        f"best single member: {best} ({facts['members'][best]:.1f} %)",
    ]
    if facts["samples"]:
        paid = sorted(budget for budget in facts["samples"] if budget > 1)
        widths = f" ({', '.join(map(str, dict.fromkeys(paid)))} samples)" if paid else ""
        where = f"in {len(paid)} of {facts['clusters']} clusters{widths}"
        lines.append(f"a vote pays {where}; elsewhere no gain over the greedy answer was measured")
    return "\n".join(lines)


@calibrate.command(cls=SeveralValues)
@click.option("--table", required=True, type=_FILE, metavar="TABLE", help="The table that is judged.")
@outcomes_option
@questions_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@pass_session
def evaluate(
    session: Session, table: Path, outcomes: tuple[Path, ...], questions: tuple[str, ...], as_json: bool
) -> None:
    """Judge routing by a table on outcomes, beside what it has to beat; in percent.

    \b
    Judge it on questions that it was not fitted on, or it flatters itself:
      avengers calibrate evaluate --table my-table.safetensors --outcomes others.jsonl
    """
    from avengers_edge.calibration.steps import evaluate_outcomes

    with StatusLine() as status:
        found = evaluate_outcomes(session.settings(), table, outcomes, questions, embedding(status))
    click.echo(json.dumps(found) if as_json else evaluation_lines(found))


def evaluation_lines(found: dict[str, Any]) -> str:
    """Write an evaluation as a table for people."""
    settings = list(found["macro"])
    head = "".join(f"{name.replace('_', ' '):>15}" for name in settings)
    rows = [*found["datasets"].items(), *((name, {"n": found["n"], **found[name]}) for name in ("macro", "micro"))]
    lines = [
        f"{name[:20]:<20}{row['n']:>5}" + "".join(f"{row[each]:>15.1f}" for each in settings) for name, row in rows
    ]
    return "\n".join([f"{'':<20}{'n':>5}{head}", *lines, f"best single member: {found['best_single_member']}"])


for command in (report, convert):
    calibrate.add_command(command)
