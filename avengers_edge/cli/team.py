"""The `team` group."""

from __future__ import annotations

import json

import click

from avengers_edge.cli.fact_lines import fact_lines
from avengers_edge.cli.library import open_library
from avengers_edge.cli.names import complete_teams
from avengers_edge.cli.session import Session, pass_session
from avengers_edge.cli.team_edit import add, create, remove, use
from avengers_edge.errors import AvengersError, NotFound


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


for command in (create, add, remove, use):
    team.add_command(command)


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
