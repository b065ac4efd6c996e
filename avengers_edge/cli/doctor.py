"""`doctor`: will the main job work here, and if not, what mends it."""

from __future__ import annotations

import dataclasses
import json

import click

from avengers_edge.cli.names import complete_teams
from avengers_edge.cli.session import Session, pass_session
from avengers_edge.errors import AvengersError, VerificationFailed


@click.command()
@click.option("--team", shell_complete=complete_teams, help="The team that should be ready.")
@click.option("--network", is_flag=True, help="Show instead what may ever open a socket or start a program, and why.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@pass_session
def doctor(session: Session, team: str | None, network: bool, as_json: bool) -> None:
    """Check this machine and installation; exit code 0 only when asking will work.

    \b
      avengers doctor --team starter
      avengers doctor --network
    """
    if network:
        show_network(session, as_json)
        return
    from avengers_edge.cli.doctor_checks import checks
    from avengers_edge.cli.doctor_finding import attempt

    found = (finding for check in checks(session, team) for finding in attempt(check))
    findings = list(dict.fromkeys(found))  # what several checks stumble over is said once
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


def show_network(session: Session, as_json: bool) -> None:
    """Print what may reach out.

    Raises:
        VerificationFailed: something could that nobody explained.

    """
    from avengers_edge.cli.network import find_places, report_lines

    places, read = find_places()
    offline = session.settings().offline
    unexplained = [place.module for place in places if place.why is None]
    if as_json:
        rows = [dataclasses.asdict(place) for place in places]
        click.echo(json.dumps({"ok": not unexplained, "offline": offline, "modules_read": read, "places": rows}))
    else:
        click.echo("\n".join(report_lines(places, read, offline)))
    if unexplained:
        raise VerificationFailed(f"{', '.join(unexplained)} could reach out and should not: install it again")
