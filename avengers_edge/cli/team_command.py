"""The `team` group."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from avengers_edge._util.text import counted, human_bytes
from avengers_edge.cli.calibrate_command import DEFAULT_SEED, embedding_progress, measure_progress
from avengers_edge.cli.completion import complete_any_member, complete_teams
from avengers_edge.cli.models_command import listed, note_memory
from avengers_edge.cli.session import MachineMemory, Session, pass_session
from avengers_edge.cli.shared_options import json_option
from avengers_edge.cli.terminal import StatusLine, confirm, fact_lines, is_interactive
from avengers_edge.errors import AvengersError, BadRequest, NotFound

if TYPE_CHECKING:
    from avengers_edge.records import Member, Team

_QUESTIONS = 300
"""The built-in questions of a calibration, unless told otherwise."""
_CALIBRATE = "calibrate"
_MODES = {"think": ("think",), "direct": ("direct",), "both": ("think", "direct"), "plain": ("",)}

_name_argument = click.argument("name", shell_complete=complete_teams)
_members_argument = click.argument("members", nargs=-1, metavar="MODEL[:MODE]", shell_complete=complete_any_member)
_table_option = click.option(
    "--table", metavar="FILE|TEAM", help="Routing table: a file from `calibrate fit`, or a team that has one."
)
_calibrate_option = click.option(
    "--calibrate",
    "questions",
    is_flag=False,
    flag_value=str(_QUESTIONS),
    type=click.IntRange(1),
    metavar="[N]",
    help=f"Measure all members on N built-in questions ({_QUESTIONS}) and fit a table to that; takes hours.",
)


@click.group()
def team() -> None:
    """Make, change and show teams of models."""


@team.command("list")
@json_option
@pass_session
def list_teams(session: Session, as_json: bool) -> None:
    """List the teams and whether their models are installed.

    \b
      avengers team list
    """
    rows = [_listed(session, name) for name in session.open_library()[0].list_teams()]
    if as_json:
        click.echo(json.dumps(rows))
        return
    width = max(len(str(row["name"])) for row in rows)
    for row in rows:
        state = "ready" if row["ready"] else f"avengers setup {row['name']}"
        text = f"problem: {row['problem']}" if row["problem"] else f"{row['description']}  [{state}]"
        click.echo(f"{row['name']:<{width}}  {text}")


@team.command()
@_name_argument
@json_option
@pass_session
def show(session: Session, name: str, as_json: bool) -> None:
    """Show the members, table and defaults of team NAME.

    \b
      avengers team show starter
    """
    row = team_facts(session, name)
    if as_json:
        click.echo(json.dumps(row))
        return
    for line in fact_lines(row | {"table": row["table"] or "none: members are asked in their order"}):
        click.echo(line)


@team.command()
@click.argument("name")
@click.option(
    "-m",
    "--member",
    "members",
    multiple=True,
    metavar="MODEL[:MODE]",
    shell_complete=complete_any_member,
    help="Member of the team; repeatable.",
)
@click.option("--fitting", is_flag=True, help="Use all installed models that fit, each as :think and :direct.")
@_table_option
@_calibrate_option
@click.option("--description", help="Description of the team, one line.")
@click.option("--samples", type=click.IntRange(1, 1000), help="Number of samples of a vote.")
@json_option
@pass_session
def create(
    session: Session,
    name: str,
    members: tuple[str, ...],
    fitting: bool,
    table: str | None,
    questions: int | None,
    description: str | None,
    samples: int | None,
    as_json: bool,
) -> None:
    """Make team NAME; without members on a terminal, it asks for them.

    A calibration that was stopped is resumed by `team add NAME --calibrate`.

    \b
      avengers team create mine --member qwen2.5-coder-1.5b-instruct:think --member smollm2-135m-instruct:direct
      avengers team create mine --fitting --table my-table.safetensors
      avengers team create mine --fitting --calibrate 300
    """
    from avengers_edge.teams import Teams

    teams = Teams(session.settings())
    teams.check_name(name)
    _refuse_both(table, questions)
    if members and fitting:
        raise BadRequest("--fitting chooses the members: leave out --member")
    if fitting:
        usable = [row["id"] for row in _models(session, MachineMemory(session.settings())) if _usable(row)]
        members = tuple(f"{model}:{mode}" for model in usable for mode in ("think", "direct"))
        if not members:
            raise AvengersError("no installed model fits this machine: install one with `avengers models pull`")
    if not members:
        if not is_interactive():
            raise BadRequest("a team needs members: name them with --member, or say --fitting")
        members, table, questions, description = _guide(session, table, questions, description)
    found_table, chosen = None if table is None else teams.find_table(table), teams.members(members)
    if questions is not None:
        _check_measurable(session, chosen)
    made = teams.create(name, chosen, description=description, table=found_table, samples=samples)
    if questions is not None:
        made = _calibrate_team(session, name, questions)
    _report_change(session, made, as_json)
    click.echo(f"`avengers team use {name}` makes it the default team", err=True)


@team.command()
@_name_argument
@_members_argument
@_table_option
@_calibrate_option
@click.option("--no-table", is_flag=True, help="Remove the routing table; members are then asked in their order.")
@json_option
@pass_session
def add(
    session: Session,
    name: str,
    members: tuple[str, ...],
    table: str | None,
    questions: int | None,
    no_table: bool,
    as_json: bool,
) -> None:
    """Add members or a routing table to team NAME.

    A calibration that was stopped is resumed by --calibrate.

    \b
      avengers team add mine qwen2.5-coder-0.5b-instruct:direct
      avengers team add mine --table my-table.safetensors
      avengers team add mine --calibrate 300
    """
    from avengers_edge.teams import Teams

    _refuse_both(table, questions)
    if no_table and (table is not None or questions is not None):
        raise BadRequest("--no-table and --table or --calibrate exclude each other: choose one")
    if not members and table is None and questions is None and not no_table:
        raise BadRequest("there is nothing to add: name members, or a table with --table")
    teams = Teams(session.settings())
    found_table, chosen = None if table is None else teams.find_table(table), teams.members(members)
    if questions is None:
        changed = teams.add(name, chosen, table=found_table, without_table=no_table)
    else:
        teams.check_own(name)
        _check_measurable(session, (*session.open_library()[0].load_team(name).members, *chosen))
        if chosen:  # the table that there is has no scores of them
            teams.add(name, chosen, without_table=True)
        changed = _calibrate_team(session, name, questions)
    _report_change(session, changed, as_json)


@team.command()
@_name_argument
@_members_argument
@click.option("--yes", is_flag=True, help="Delete the team without asking.")
@pass_session
def remove(session: Session, name: str, members: tuple[str, ...], yes: bool) -> None:
    """Remove members from team NAME, or delete it. Model files stay.

    \b
      avengers team remove mine smollm2-135m-instruct:direct
      avengers team remove mine --yes
    """
    from avengers_edge.teams import Teams

    teams = Teams(session.settings())
    if members:
        left = teams.drop(name, members)
        click.echo(f"team {name} has {counted(len(left.members), 'member')} left", err=True)
        return
    if not yes:
        teams.check_own(name)
    confirm(f"Delete team {name}?", yes, "nothing was deleted", default=False)
    teams.delete(name)
    click.echo(f"team {name} is deleted", err=True)


@team.command()
@_name_argument
@pass_session
def use(session: Session, name: str) -> None:
    """Make team NAME the default of all commands.

    \b
      avengers team use mine
    """
    from avengers_edge.teams import Teams

    chosen = Teams(session.settings()).use(name)
    _report_models(session, chosen)
    click.echo(f"team {name} is the default team now", err=True)


def _listed(session: Session, name: str) -> dict[str, object]:
    """Collect the facts of a list's row; of a team file that cannot be used, the problem is all that is known."""
    try:
        return team_facts(session, name) | {"problem": None}
    except AvengersError as error:
        unknown = dict.fromkeys(("description", "table", "samples", "temperature", "top_p", "max_tokens"))
        return {"name": name, "ready": False, "members": [], "missing": [], **unknown, "problem": str(error)}


def team_facts(session: Session, name: str) -> dict[str, object]:
    """Collect the facts of a team."""
    catalog, store = session.open_library()
    chosen = catalog.load_team(name)
    missing = [model for model in chosen.models if store.size_of(catalog.load_model(model)) is None]
    try:
        table = str(catalog.find_table(chosen))
    except NotFound:
        table = None
    return {
        "name": chosen.name,
        "description": chosen.description,
        "ready": not missing,
        "members": [member.name for member in chosen.members],
        "missing": missing,
        "table": table,
        "samples": chosen.samples,
        "temperature": chosen.sampling.temperature,
        "top_p": chosen.sampling.top_p,
        "max_tokens": chosen.sampling.max_tokens,
    }


def _refuse_both(table: str | None, questions: int | None) -> None:
    if table is not None and questions is not None:
        raise BadRequest("--table takes a table that is there and --calibrate fits one: choose one")


def _report_change(session: Session, team: Team, as_json: bool) -> None:
    """Print a team after a change, and what it still lacks."""
    if as_json:
        click.echo(json.dumps(team_facts(session, team.name)))
    click.echo(f"team {team.name}: {', '.join(member.name for member in team.members)}", err=True)
    _report_models(session, team)
    if team.table is None and len(team.members) > 1:
        lines = (
            "it has no routing table, so its members are asked in this order; to fit one on built-in questions:",
            f"  avengers team add {team.name} --calibrate {_QUESTIONS}",
        )
        click.echo("\n".join(lines), err=True)


def _report_models(session: Session, team: Team) -> None:
    """Print which models of a team are missing or do not fit."""
    memory = MachineMemory(session.settings())
    rows = _models(session, memory, team.models)
    if missing := [row["id"] for row in rows if not row["installed"] or row["problem"]]:
        click.echo(f"{', '.join(missing)} not installed: run `avengers setup {team.name}`", err=True)
    note_memory(rows, memory)


def _models(session: Session, memory: MachineMemory, models: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """Collect the facts of the models named, or of all but the broken ones, the usable ones first."""
    catalog, store = session.open_library()
    rows = [listed(model, catalog, store, memory) for model in models or catalog.list_models()]
    return rows if models else sorted((row for row in rows if not row["problem"]), key=lambda row: not _usable(row))


def _usable(row: dict[str, Any]) -> bool:
    return row["installed"] and row["fits"] is not False and not row["problem"]


def _model_line(row: dict[str, Any]) -> str:
    """Write a model for a list to choose from."""
    size = "?" if row["bytes"] is None else human_bytes(row["bytes"])
    if not row["installed"]:
        return f"{row['id']}, {size}, not installed"
    fits = {True: "fits", False: "does not fit", None: "the system does not say what is free"}[row["fits"]]
    return f"{row['id']}, {size}, needs {human_bytes(row['memory_bytes'])} of memory: {fits}"


def _guide(
    session: Session, table: str | None, questions: int | None, description: str | None
) -> tuple[tuple[str, ...], str | None, int | None, str | None]:
    """Ask for members, and for a table or a number of questions to calibrate on, and a description, where not given.

    Returns:
        Members as users write them, the table as it was named, the number of questions, the description.

    """
    found = _models(session, MachineMemory(session.settings()))
    for number, row in enumerate(found, start=1):
        click.echo(f"{number:>3}  {_model_line(row)}", err=True)
    usable = ",".join(str(number) for number, row in enumerate(found, start=1) if _usable(row))
    chosen: list[int] = click.prompt(
        "Which models (numbers)", default=usable or None, value_proc=lambda word: _numbers(word, len(found)), err=True
    )
    way = click.prompt("Asked how", type=click.Choice(list(_MODES)), default="both", err=True)
    members = tuple(f"{found[number - 1]['id']}:{mode}".removesuffix(":") for number in chosen for mode in _MODES[way])
    if table is None and questions is None:
        asked = f"Routing table (a file, a team, {_CALIBRATE!r} to fit one on built-in questions, empty for none)"
        table = click.prompt(asked, default="", show_default=False, err=True)
        if table == _CALIBRATE:
            table = None
            many = f"On how many questions ({len(members)} answers to each; hours for hundreds)"
            questions = click.prompt(many, default=_QUESTIONS, type=click.IntRange(1), err=True)
    if description is None:
        description = click.prompt("One line about it", default="", show_default=False, err=True)
    return members, table or None, questions, description or None


def _numbers(word: str, most: int) -> list[int]:
    try:
        numbers = list(dict.fromkeys(int(part) for part in word.replace(",", " ").split()))
    except ValueError:
        numbers = []
    if not numbers or not all(1 <= number <= most for number in numbers):
        raise click.UsageError(f"write numbers of 1 to {most}, separated by commas")
    return numbers


def _check_measurable(session: Session, members: Sequence[Member]) -> None:
    """Refuse, before anything is written, what would end a calibration."""
    from avengers_edge.calibration.clustering import one_thread

    if len(members) < 2:
        raise BadRequest("--calibrate finds out which member is good at what, and there is only one: name another")
    with one_thread("fitting a table"):  # raises MissingExtra
        pass
    catalog, store = session.open_library()
    models = dict.fromkeys(member.model for member in members)
    if missing := [model for model in models if store.size_of(catalog.load_model(model)) is None]:
        raise NotFound(
            f"{', '.join(missing)} not installed, and only what is installed can be measured: run `avengers models "
            f"pull {missing[0]}`, or leave out --calibrate"
        )


def _calibrate_team(session: Session, name: str, questions: int) -> Team:
    """Measure a team on built-in questions, and fit its table; what was measured before is not measured again."""
    from avengers_edge.calibration.fit import FitOptions
    from avengers_edge.calibration.pipeline import fit_outcomes, load_questions, measure_team, without_code
    from avengers_edge.teams import Teams

    settings = session.settings()
    teams = Teams(settings)
    members = [member.name for member in session.open_library()[0].load_team(name).members]
    chosen, left_out = without_code(load_questions(["builtin"], limit=questions, seed=DEFAULT_SEED))
    if left_out:
        click.echo(left_out, err=True)
    click.echo(f"measuring {len(members)} members on {len(chosen)} questions; Ctrl-C is safe at any time", err=True)
    try:
        with StatusLine() as status, tempfile.TemporaryDirectory() as folder:
            rows = measure_team(
                settings,
                name,
                chosen,
                teams.outcomes_of(name),
                seed=DEFAULT_SEED,
                on_measured=lambda measured: status.show(measure_progress(measured)),
            )
            table = Path(folder) / "table.safetensors"
            fitted = fit_outcomes(
                settings,
                rows,
                table,
                FitOptions(members),
                provenance=f"fitted on {len(rows)} built-in questions",
                on_embedded=embedding_progress(status),
            )
            team = teams.add(name, (), table=table)
    except BaseException:
        click.echo(f"to go on where this stopped: avengers team add {name} --calibrate {questions}", err=True)
        raise
    header = fitted.header
    best = f"best single member: {header.best_single} ({100 * max(header.macro):.1f} %)"
    click.echo(f"team {name} is calibrated: {len(rows)} questions, {header.clusters} clusters; {best}", err=True)
    return team
