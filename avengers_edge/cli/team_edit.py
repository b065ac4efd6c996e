"""`team create`, `add`, `remove` and `use`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from avengers_edge.cli.asking import asks, confirm
from avengers_edge.cli.fitting import Fitting
from avengers_edge.cli.names import complete_any_member, complete_teams
from avengers_edge.cli.session import Session, pass_session
from avengers_edge.cli.team_guide import candidates, guide
from avengers_edge.errors import AvengersError, BadRequest
from avengers_edge.library.files import human_bytes

if TYPE_CHECKING:
    from avengers_edge.records import Team

_TABLE_HELP = "The routing table: a file that `calibrate fit` wrote, or a team that has one."


@click.command()
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
    description: str | None,
    samples: int | None,
    as_json: bool,
) -> None:
    """Make team NAME; without members on a terminal, it asks for them.

    \b
      avengers team create mine --member qwen2.5-coder-1.5b-instruct:think --member smollm2-135m-instruct:direct
      avengers team create mine --fitting --table my-table.safetensors
    """
    from avengers_edge.teams import Teams

    teams, settings = Teams(session.settings()), session.settings()
    teams.check_name(name)
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
        members, table, description = guide(session, Fitting(settings), table, description)
    found_table = None if table is None else teams.find_table(table)
    made = teams.create(name, teams.members(members), description=description, table=found_table, samples=samples)
    _tell(session, made, as_json)
    click.echo(f"`avengers team use {name}` makes it the usual team", err=True)


@click.command()
@click.argument("name", shell_complete=complete_teams)
@click.argument("members", nargs=-1, metavar="MODEL[:MODE]", shell_complete=complete_any_member)
@click.option("--table", metavar="FILE|TEAM", help=_TABLE_HELP)
@click.option("--no-table", is_flag=True, help="Do without a routing table: members are asked in their order.")
@click.option("--json", "as_json", is_flag=True, help="Print the team as one JSON object.")
@pass_session
def add(
    session: Session, name: str, members: tuple[str, ...], table: str | None, no_table: bool, as_json: bool
) -> None:
    """Add members to team NAME, or give it a routing table.

    \b
      avengers team add mine qwen2.5-coder-0.5b-instruct:direct
      avengers team add mine --table my-table.safetensors
    """
    from avengers_edge.teams import Teams

    if table is not None and no_table:
        raise BadRequest("--table and --no-table exclude each other: choose one")
    if not members and table is None and not no_table:
        raise BadRequest("there is nothing to add: name members, or a table with --table")
    teams = Teams(session.settings())
    found_table = None if table is None else teams.find_table(table)
    changed = teams.add(name, teams.members(members), table=found_table, without_table=no_table)
    _tell(session, changed, as_json)


@click.command()
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
        click.echo(f"team {name} has {len(left.members)} members left", err=True)
        return
    if not yes:
        teams.check_own(name)
    confirm(f"Delete team {name}?", yes, "nothing was deleted", default=False)
    teams.delete(name)
    click.echo(f"team {name} is deleted", err=True)


@click.command()
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


def _tell(session: Session, team: Team, as_json: bool) -> None:
    """Say what came of a change, and what the team still lacks."""
    from avengers_edge.cli.team import team_facts

    if as_json:
        click.echo(json.dumps(team_facts(session, team.name)))
    click.echo(f"team {team.name}: {', '.join(member.name for member in team.members)}", err=True)
    _note_models(session, team)
    if team.table is None and len(team.members) > 1:
        lines = (
            "it has no routing table, so its members are asked in this order; to fit one on built-in questions:",
            f"  avengers calibrate measure --team {team.name} --questions builtin --limit 300 --out {team.name}.jsonl",
            f"  avengers calibrate fit --outcomes {team.name}.jsonl --out {team.name}.safetensors",
            f"  avengers team add {team.name} --table {team.name}.safetensors",
        )
        click.echo("\n".join(lines), err=True)


def _note_models(session: Session, team: Team) -> None:
    """Say which models are missing or do not fit."""
    found = {each.model: each for each in candidates(session, Fitting(session.settings()), team.models)}
    missing: Sequence[str] = [model for model in team.models if not found[model].installed]
    if missing:
        click.echo(f"{', '.join(missing)} not installed: run `avengers setup {team.name}`", err=True)
    for each in found.values():
        if each.fits is False:
            need, free = human_bytes(each.memory or 0), human_bytes(each.free or 0)
            click.echo(f"{each.model} needs {need} of memory and {free} are free", err=True)
