"""The `team` group."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from avengers_edge._util.text import counted, human_bytes
from avengers_edge.cli.asking import asks, confirm
from avengers_edge.cli.fact_lines import fact_lines
from avengers_edge.cli.fitting import Fitting
from avengers_edge.cli.library import open_library
from avengers_edge.cli.names import complete_any_member, complete_teams
from avengers_edge.cli.session import Session, pass_session
from avengers_edge.cli.team_calibrate import USUAL_QUESTIONS, calibrate_option, calibrate_team, check_measurable
from avengers_edge.cli.team_guide import candidates, guide
from avengers_edge.errors import AvengersError, BadRequest, NotFound

if TYPE_CHECKING:
    from avengers_edge.records import Team

_TABLE_HELP = "The routing table: a file that `calibrate fit` wrote, or a team that has one."


@click.group()
def team() -> None:
    """Make, change and see the sets of models that answer together."""


@team.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
@pass_session
def list_teams(session: Session, as_json: bool) -> None:
    """List the teams and whether their models are installed.

    \b
      avengers team list
    """
    rows = [listed(session, name) for name in open_library(session)[0].list_teams()]
    if as_json:
        click.echo(json.dumps(rows))
        return
    width = max(len(str(row["name"])) for row in rows)
    for row in rows:
        state = "ready" if row["ready"] else f"avengers setup {row['name']}"
        text = f"problem: {row['problem']}" if row["problem"] else f"{row['description']}  [{state}]"
        click.echo(f"{row['name']:<{width}}  {text}")


@team.command()
@click.argument("name", shell_complete=complete_teams)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
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
    help="A member; can be given again.",
)
@click.option("--fitting", is_flag=True, help="All installed models that fit this machine, asked in both ways.")
@click.option("--table", metavar="FILE|TEAM", help=_TABLE_HELP)
@calibrate_option
@click.option("--description", help="One line about the team.")
@click.option("--samples", type=click.IntRange(1, 1000), help="Samples of a vote.")
@click.option("--json", "as_json", is_flag=True, help="Print the team as one JSON object.")
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

    With --calibrate it is measured at once; `team add NAME --calibrate` goes on with that, whatever ended it.

    \b
      avengers team create mine --member qwen2.5-coder-1.5b-instruct:think --member smollm2-135m-instruct:direct
      avengers team create mine --fitting --table my-table.safetensors
      avengers team create mine --fitting --calibrate 300
    """
    from avengers_edge.teams import Teams

    teams, settings = Teams(session.settings()), session.settings()
    teams.check_name(name)
    _refuse_both(table, questions)
    if members and fitting:
        raise BadRequest("--fitting chooses the members: leave out --member")
    if fitting:
        found = candidates(session, Fitting(settings))
        members = tuple(f"{each.model}:{mode}" for each in found if each.usable for mode in ("think", "direct"))
        if not members:
            raise AvengersError("no installed model fits this machine: install one with `avengers models pull`")
    if not members:
        if not asks():
            raise BadRequest("a team needs members: name them with --member, or say --fitting")
        members, table, questions, description = guide(session, Fitting(settings), table, questions, description)
    found_table, chosen = None if table is None else teams.find_table(table), teams.members(members)
    if questions is not None:
        check_measurable(session, chosen)
    made = teams.create(name, chosen, description=description, table=found_table, samples=samples)
    if questions is not None:
        made = calibrate_team(session, name, questions)
    _tell(session, made, as_json)
    click.echo(f"`avengers team use {name}` makes it the usual team", err=True)


@team.command()
@click.argument("name", shell_complete=complete_teams)
@click.argument("members", nargs=-1, metavar="MODEL[:MODE]", shell_complete=complete_any_member)
@click.option("--table", metavar="FILE|TEAM", help=_TABLE_HELP)
@calibrate_option
@click.option("--no-table", is_flag=True, help="Do without a routing table: members are asked in their order.")
@click.option("--json", "as_json", is_flag=True, help="Print the team as one JSON object.")
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
    """Add members to team NAME, or give it a routing table; --calibrate goes on where it was stopped.

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
        check_measurable(session, (*open_library(session)[0].load_team(name).members, *chosen))
        if chosen:  # the table that there is knows nothing of them
            teams.add(name, chosen, without_table=True)
        changed = calibrate_team(session, name, questions)
    _tell(session, changed, as_json)


@team.command()
@click.argument("name", shell_complete=complete_teams)
@click.argument("members", nargs=-1, metavar="MODEL[:MODE]", shell_complete=complete_any_member)
@click.option("--yes", is_flag=True, help="Do not ask before deleting a whole team.")
@pass_session
def remove(session: Session, name: str, members: tuple[str, ...], yes: bool) -> None:
    """Take members out of team NAME; without members, delete the team. Model files stay.

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
@click.argument("name", shell_complete=complete_teams)
@pass_session
def use(session: Session, name: str) -> None:
    """Make team NAME the usual one, for all commands that are not told another.

    \b
      avengers team use mine
    """
    from avengers_edge.teams import Teams

    chosen = Teams(session.settings()).use(name)
    _note_models(session, chosen)
    click.echo(f"team {name} is the usual one now", err=True)


def listed(session: Session, name: str) -> dict[str, object]:
    """Collect what the list shows of a team; a file that cannot be used is a problem of its own row."""
    try:
        return team_facts(session, name) | {"problem": None}
    except AvengersError as error:
        unknown = dict.fromkeys(("description", "table", "samples", "temperature", "top_p", "max_tokens"))
        return {"name": name, "ready": False, "members": [], "missing": [], **unknown, "problem": str(error)}


def team_facts(session: Session, name: str) -> dict[str, object]:
    """Collect what is known of a team."""
    catalog, store = open_library(session)
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


def _tell(session: Session, team: Team, as_json: bool) -> None:
    """Print what came of a change, and what the team still lacks."""
    if as_json:
        click.echo(json.dumps(team_facts(session, team.name)))
    click.echo(f"team {team.name}: {', '.join(member.name for member in team.members)}", err=True)
    _note_models(session, team)
    if team.table is None and len(team.members) > 1:
        lines = (
            "it has no routing table, so its members are asked in this order; to fit one on built-in questions:",
            f"  avengers team add {team.name} --calibrate {USUAL_QUESTIONS}",
        )
        click.echo("\n".join(lines), err=True)


def _refuse_both(table: str | None, questions: int | None) -> None:
    if table is not None and questions is not None:
        raise BadRequest("--table takes a table that is there and --calibrate fits one: choose one")


def _note_models(session: Session, team: Team) -> None:
    """Print which models are missing or do not fit."""
    found = {each.model: each for each in candidates(session, Fitting(session.settings()), team.models)}
    missing: Sequence[str] = [model for model in team.models if not found[model].installed]
    if missing:
        click.echo(f"{', '.join(missing)} not installed: run `avengers setup {team.name}`", err=True)
    for each in found.values():
        if each.fits is False:
            need, free = human_bytes(each.memory or 0), human_bytes(each.free or 0)
            click.echo(f"{each.model} needs {need} of memory and {free} are free", err=True)
