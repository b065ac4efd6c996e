"""`--calibrate`: a team is measured on built-in questions, and gets the table that is fitted to its answers."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from avengers_edge.cli.library import open_library
from avengers_edge.cli.session import Session
from avengers_edge.cli.terminal import StatusLine
from avengers_edge.errors import BadRequest, NotFound

if TYPE_CHECKING:
    from avengers_edge.records import Member, Team

USUAL_QUESTIONS = 300
_SEED = 42  # what `calibrate measure` takes

calibrate_option = click.option(
    "--calibrate",
    "questions",
    is_flag=False,
    flag_value=str(USUAL_QUESTIONS),
    type=click.IntRange(1),
    metavar="[N]",
    help=f"Measure all members on N built-in questions ({USUAL_QUESTIONS}) and fit the table to that; takes hours.",
)


def check_measurable(session: Session, members: Sequence[Member]) -> None:
    """Refuse, before anything is written, what would end a calibration.

    Raises:
        BadRequest: there is nothing to choose between.
        NotFound: a model is not installed.
        MissingExtra: what fits tables is not installed.

    """
    from avengers_edge.calibration.one_thread import one_thread

    if len(members) < 2:
        raise BadRequest("--calibrate finds out which member is good at what, and there is only one: name another")
    with one_thread("fitting a table"):
        pass
    catalog, store = open_library(session)
    models = dict.fromkeys(member.model for member in members)
    if missing := [model for model in models if store.size_of(catalog.load_model(model)) is None]:
        raise NotFound(
            f"{', '.join(missing)} not installed, and only what is installed can be measured: run `avengers models "
            f"pull {missing[0]}`, or leave out --calibrate"
        )


def calibrate_team(session: Session, name: str, questions: int) -> Team:
    """Measure a team that is there, fit a table and give it to it; what was measured before is not measured again."""
    from avengers_edge.calibration.fit import FitOptions
    from avengers_edge.calibration.steps import fit_outcomes, load_questions, measure_team, without_code
    from avengers_edge.cli.calibrate import progress
    from avengers_edge.cli.several import embedding
    from avengers_edge.teams import Teams

    settings = session.settings()
    teams = Teams(settings)
    members = [member.name for member in open_library(session)[0].load_team(name).members]
    chosen, left_out = without_code(load_questions(["builtin"], limit=questions, seed=_SEED))
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
                seed=_SEED,
                on_measured=lambda measured: status.show(progress(measured)),
            )
            table = Path(folder) / "table.safetensors"
            told = f"fitted on {len(rows)} built-in questions"
            options = FitOptions(members)
            fitted = fit_outcomes(settings, rows, table, options, provenance=told, on_embedded=embedding(status))
            team = teams.add(name, (), table=table)
    except BaseException:
        click.echo(f"to go on where this stopped: avengers team add {name} --calibrate {questions}", err=True)
        raise
    header = fitted.header
    best = f"best single member: {header.best_single} ({100 * max(header.macro):.1f} %)"
    click.echo(f"team {name} is calibrated: {len(rows)} questions, {header.clusters} clusters; {best}", err=True)
    return team
