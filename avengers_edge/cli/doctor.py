"""`doctor`: will the main job work here, and if not, what mends it."""

from __future__ import annotations

import dataclasses
import json

import click

from avengers_edge.cli.names import complete_teams
from avengers_edge.cli.session import Session, pass_session
from avengers_edge.errors import AvengersError


@click.command()
@click.option("--team", shell_complete=complete_teams, help="The team that should be ready.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@pass_session
def doctor(session: Session, team: str | None, as_json: bool) -> None:
    """Check this machine and installation; exit code 0 only when asking will work.

    \b
      avengers doctor --team starter
    """
    from avengers_edge.cli.doctor_checks import attempt, checks

    findings = [finding for check in checks(session, team) for finding in attempt(check)]
    bad = [finding for finding in findings if finding.remedy]
    if as_json:
        click.echo(json.dumps({"ok": not bad, "findings": [dataclasses.asdict(each) for each in findings]}))
    else:
        for each in findings:
            click.echo(f"{'!!' if each.remedy else 'ok'}  {each.what}: {each.found}")
            for line in filter(None, (each.remedy, each.advice)):
                click.echo(f"    {line}")
    if bad:
        raise AvengersError(f"{len(bad)} of {len(findings)} checks need attention: {', '.join(e.what for e in bad)}")
