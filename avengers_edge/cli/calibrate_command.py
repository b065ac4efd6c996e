"""The `calibrate` group: questions, outcomes, routing tables, reports."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click
from click.core import ParameterSource

from avengers_edge.cli.session import Session, pass_session
from avengers_edge.cli.shared_options import SeveralValues, json_option, parse_names, parse_number, team_option
from avengers_edge.cli.terminal import StatusLine, human_seconds
from avengers_edge.errors import BadRequest

if TYPE_CHECKING:
    from avengers_edge.calibration.measure import Measured
    from avengers_edge.calibration.study import Study

DEFAULT_SEED = 42

_METHODS = ("kmeans", "agglomerative", "gmm", "spectral", "birch")
_FILE = click.Path(path_type=Path)
_FEW_QUESTIONS = 100
_REASONS_SHOWN = 5
_NOT_WITH_ADD_TO = ("clusters", "method", "across", "seed", "smoothing", "votes", "partly", "team_size")

_outcomes_option = click.option(
    "--outcomes", multiple=True, required=True, type=_FILE, metavar="FILE...", help="Outcome files."
)
_questions_option = click.option(
    "--questions", multiple=True, metavar="FILE...", help="Question files for outcomes without prompts."
)
_members_option = click.option(
    "--members", callback=parse_names, metavar="A,B", help="Members to use, in this order (default: all)."
)


@click.group()
def calibrate() -> None:
    """Measure a team, fit its routing table, and evaluate it.

    \b
    From nothing to a routing table of your own models:
      avengers calibrate measure --questions builtin --limit 200 --out outcomes.jsonl
      avengers calibrate fit --outcomes outcomes.jsonl --out my-table.safetensors
      avengers calibrate evaluate --table my-table.safetensors --outcomes outcomes.jsonl
    """


@calibrate.command(cls=SeveralValues)
@team_option
@click.option(
    "--questions", multiple=True, required=True, metavar="FILE...|builtin", help="Question files, or the built-in set."
)
@click.option("--out", required=True, type=_FILE, metavar="FILE", help="Outcome file to write, or to complete.")
@click.option("--samples", type=int, default=1, help="Number of samples of an answer; 1 is greedy.")
@click.option("--limit", type=int, help="Number of questions, spread over the data sets (default: all).")
@click.option(
    "--datasets", callback=parse_names, metavar="A,B", help="Data sets to take questions from (default: all)."
)
@_members_option
@click.option("--seed", type=int, default=DEFAULT_SEED, help="Random seed of the questions and the sampling.")
@click.option("--texts", is_flag=True, help="Write the texts of the answers to the outcome file.")
@json_option
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
    """Let a team answer questions, grade the answers, write outcomes.

    \b
    Run again, it goes on where it stopped; Ctrl-C is safe at any time:
      avengers calibrate measure --questions my-questions.jsonl --out outcomes.jsonl
    """
    from avengers_edge.calibration.pipeline import load_questions, measure_team, without_code

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
            on_measured=lambda measured: status.show(measure_progress(measured)),
        )
    means = {name: 100 * sum(row.scores[name] for row in rows) / len(rows) for name in rows[0].scores}
    if as_json:
        rounded = {name: round(mean, 2) for name, mean in means.items()}
        click.echo(json.dumps({"out": str(out), "n": len(rows), "members": rounded}))
        return
    click.echo(f"{out}: {len(rows)} questions, right in percent:")
    for name, mean in means.items():
        click.echo(f"  {name:<40} {mean:5.1f}")


def measure_progress(measured: Measured) -> str:
    """Write the status line of a measurement."""
    left = human_seconds(measured.seconds_left)
    return f"{measured.done} of {measured.total} answers · {measured.member} · about {left} left"


def embedding_progress(status: StatusLine) -> Callable[[int, int], None]:
    """Return a callback that shows how many questions are embedded."""
    return lambda done, total: status.show(f"embedding {done} of {total} questions")


@calibrate.command(cls=SeveralValues)
@_outcomes_option
@click.option("--out", required=True, type=_FILE, metavar="TABLE", help="Routing table to write.")
@_questions_option
@_members_option
@click.option(
    "--clusters",
    metavar="K|auto",
    callback=parse_number,
    help="Number of clusters; auto: chosen by cross-validation (default: one for every 80 questions).",
)
@click.option("--method", type=click.Choice(_METHODS), default="kmeans", help="Clustering algorithm.")
@click.option("--across", is_flag=True, help="Cluster all questions jointly instead of each data set by itself.")
@click.option("--seed", type=int, default=DEFAULT_SEED, help="Random seed of the clustering.")
@click.option(
    "--smoothing", type=float, help="Shrinkage of each cell in pseudo-counts (default: estimated from the outcomes)."
)
@click.option(
    "--votes",
    multiple=True,
    type=_FILE,
    metavar="FILE...",
    help="Outcome files of eight samples, to fit the sample budget of each cluster.",
)
@click.option("--partly", is_flag=True, help="Accept outcomes without a score of every member.")
@click.option(
    "--team-size", type=int, metavar="N", help="Number of members to keep, the most often first (default: all)."
)
@click.option("--add-to", type=_FILE, metavar="TABLE", help="Table to add the outcomes to; its centroids stay.")
@json_option
@pass_session
def fit(
    session: Session,
    outcomes: tuple[Path, ...],
    out: Path,
    questions: tuple[str, ...],
    members: tuple[str, ...] | None,
    clusters: int | Literal["auto"] | None,
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
    from avengers_edge.calibration.pipeline import add_to_table, fit_outcomes, load_outcomes

    check_folder(out)
    if add_to is not None and (wrong := [name for name in _NOT_WITH_ADD_TO if _is_given(name)]):
        raise BadRequest(
            f"--add-to keeps a table's clusters, members and budgets: leave out --{wrong[0].replace('_', '-')}"
        )
    rows = load_outcomes(outcomes, members, questions, partly=partly)
    if partly and members is None:
        members = tuple(dict.fromkeys(name for row in rows for name in row.scores))
    files = ", ".join(path.name for path in outcomes)
    with StatusLine() as status:
        on_embedded = embedding_progress(status)
        if add_to is not None:
            table = add_to_table(session.settings(), add_to, rows, out, on_embedded, provenance=f"added {files}")
        else:
            k = clusters if isinstance(clusters, int) else None
            table = fit_outcomes(
                session.settings(),
                rows,
                out,
                FitOptions(members, k, method, across, seed, smoothing, partly=partly),
                votes=load_outcomes(votes, None, questions, partly=True) if votes else (),
                choose_k=clusters == "auto",
                team_size=team_size,
                provenance=f"fitted on {files}",
                on_embedded=on_embedded,
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
    if facts["n"] < _FEW_QUESTIONS:
        click.echo(
            f"{facts['n']} questions say little about a member: measure some hundred before you rely on it", err=True
        )
    click.echo(json.dumps(facts) if as_json else _fit_lines(facts))


def _is_given(name: str) -> bool:
    """Return whether an option of the running command was given."""
    return click.get_current_context().get_parameter_source(name) not in (None, ParameterSource.DEFAULT)


def _fit_lines(facts: dict[str, Any]) -> str:
    best = facts["best_single"]
    lines = [
        f"{facts['out']}: {facts['n']} questions, {facts['clusters']} clusters, {len(facts['members'])} members",
        f"best single member: {best} ({facts['members'][best]:.1f} %)",
    ]
    if facts["samples"]:
        votes = sorted(budget for budget in facts["samples"] if budget > 1)
        budgets = f" ({', '.join(map(str, dict.fromkeys(votes)))} samples)" if votes else ""
        where = f"in {len(votes)} of {facts['clusters']} clusters{budgets}"
        lines.append(f"a vote pays {where}; elsewhere no gain over the greedy answer was measured")
    return "\n".join(lines)


@calibrate.command(cls=SeveralValues)
@click.option("--table", required=True, type=_FILE, metavar="TABLE", help="Routing table to evaluate.")
@_outcomes_option
@_questions_option
@json_option
@pass_session
def evaluate(
    session: Session, table: Path, outcomes: tuple[Path, ...], questions: tuple[str, ...], as_json: bool
) -> None:
    """Evaluate a routing table on outcomes, beside baselines.

    \b
    In percent; only outcomes of questions that the table was not fitted on give unbiased figures:
      avengers calibrate evaluate --table my-table.safetensors --outcomes others.jsonl
    """
    from avengers_edge.calibration.pipeline import evaluate_outcomes

    with StatusLine() as status:
        found = evaluate_outcomes(session.settings(), table, outcomes, questions, embedding_progress(status))
    click.echo(json.dumps(found) if as_json else _evaluation_lines(found))


def _evaluation_lines(found: dict[str, Any]) -> str:
    settings = list(found["macro"])
    head = "".join(f"{name.replace('_', ' '):>15}" for name in settings)
    rows = [*found["datasets"].items(), *((name, {"n": found["n"], **found[name]}) for name in ("macro", "micro"))]
    lines = [
        f"{name[:20]:<20}{row['n']:>5}" + "".join(f"{row[each]:>15.1f}" for each in settings) for name, row in rows
    ]
    return "\n".join([f"{'':<20}{'n':>5}{head}", *lines, f"best single member: {found['best_single_member']}"])


@calibrate.command(cls=SeveralValues)
@_outcomes_option
@_questions_option
@_members_option
@click.option("--seeds", type=click.IntRange(1, 100), default=5, metavar="N", help="Number of random splits.")
@click.option("--quick", is_flag=True, help="Use at most two splits and fewer bootstrap draws.")
@click.option(
    "--examples", type=click.IntRange(0, 20), default=0, metavar="N", help="Number of prompts to show of each cluster."
)
@click.option("--out", default="report.html", type=_FILE, metavar="FILE", help="HTML file to write.")
@json_option
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
    """Write an HTML report on the gain of routing, with intervals.

    \b
    Tables are fitted on 70 % of the questions and evaluated on the rest, for several random splits; takes minutes.
    The file needs no other one and holds no prompts unless --examples asks for them.
      avengers calibrate report --outcomes outcomes.jsonl --out report.html
    """
    from avengers_edge._util.files import check_folder
    from avengers_edge.calibration.pipeline import embed_rows, load_outcomes
    from avengers_edge.calibration.report import require_matplotlib, verdict, write_report
    from avengers_edge.calibration.study import run_study
    from avengers_edge.opening import open_shipped_embedder

    check_folder(out)
    require_matplotlib()
    rows = load_outcomes(outcomes, members, questions)
    with StatusLine() as status:
        with open_shipped_embedder(session.settings()) as embedder:
            vectors = embed_rows(embedder, rows, embedding_progress(status))
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
    click.echo("\n".join([*_study_lines(study), "", verdict(study), f"{out} shows the rest."]))


def _study_lines(study: Study) -> list[str]:
    """Write the scores of each router; the HTML report has those of the single members too."""
    return [
        f"{'':<28}{'macro %':>9}{'95 % interval':>16}{'over best single':>19}{'95 % interval':>16}",
        *(
            f"{each.name[:27]:<28}{each.macro.mean:>9.1f}{f'{each.macro.low:.1f} to {each.macro.high:.1f}':>16}"
            f"{each.gain.mean:>+19.1f}{f'{each.gain.low:+.1f} to {each.gain.high:+.1f}':>16}"
            for each in study.standings
            if each.role != "member"
        ),
    ]


@calibrate.command()
@click.argument("benchmark")
@click.option(
    "--from", "source", required=True, metavar="PATH|hub", help="Published file or its folder, or hub: Hugging Face."
)
@click.option("--split", help="Part of the benchmark: test, train, ... (default: from the file's name, else test).")
@click.option(
    "--out",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Question file to write, .jsonl or .jsonl.gz.",
)
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Number of questions (default: all).")
@json_option
@pass_session
def convert(
    session: Session, benchmark: str, source: str, split: str | None, out: Path, limit: int | None, as_json: bool
) -> None:
    """Convert published files of BENCHMARK to a question file.

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

    if source == "hub":
        found = convert_hub(benchmark, split or "test", offline=session.settings().offline, on_left_out=note)
    else:
        found = convert_path(benchmark, Path(source), split, on_left_out=note)
    questions = []
    with StatusLine() as status:
        for question in itertools.islice(found, limit):
            questions.append(question)
            status.show(f"{len(questions)} questions")
    if not questions:
        listed = "; ".join(f"{count} rows: {reason}" for reason, count in left_out.most_common(_REASONS_SHOWN))
        reasons = f": {listed}" if left_out else ", there are no rows"
        raise BadRequest(f"no question of {benchmark} came out of {source}{reasons}; {out} was not written")
    write_questions(out, questions)
    written = len(questions)
    shown = left_out.most_common(_REASONS_SHOWN)
    for reason, count in shown:
        click.echo(f"{count} rows were left out: {reason}", err=True)
    if rest := left_out.total() - sum(count for _, count in shown):
        click.echo(f"{rest} more rows were left out for other reasons", err=True)
    if as_json:
        counts = {"benchmark": benchmark, "out": str(out), "written": written, "left_out": dict(left_out)}
        click.echo(json.dumps(counts))
    else:
        click.echo(f"{written} questions of {benchmark} written to {out}")
