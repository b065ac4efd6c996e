"""The questions that make a team on a terminal: which models, asked how, with which table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import click

from avengers_edge._util.text import human_bytes
from avengers_edge.cli.fitting import Fitting
from avengers_edge.cli.library import open_library
from avengers_edge.cli.session import Session
from avengers_edge.cli.team_calibrate import USUAL_QUESTIONS
from avengers_edge.errors import AvengersError

_CALIBRATE = "calibrate"
_WAYS = {"think": ("think",), "direct": ("direct",), "both": ("think", "direct"), "plain": ("",)}


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model that could be in a team; sizes in bytes, None where only its file could tell."""

    model: str
    installed: bool
    size: int | None
    memory: int | None
    free: int | None
    fits: bool | None

    @property
    def usable(self) -> bool:
        """Whether it is here and nothing says that it does not fit."""
        return self.installed and self.fits is not False


def candidates(session: Session, fitting: Fitting, models: Sequence[str] | None = None) -> tuple[Candidate, ...]:
    """Look at models, all of them or those that are named, the usable ones first; what is broken is left out."""
    catalog, store = open_library(session)
    found = []
    for model in catalog.list_models() if models is None else models:
        try:
            manifest = catalog.load_model(model)
            size = store.size_of(manifest)
            fit = fitting.fit(store.path_of(manifest)) if size is not None else None
        except AvengersError:
            if models is not None:
                found.append(Candidate(model, False, None, None, fitting.free, None))
            continue
        found.append(
            Candidate(
                model,
                size is not None,
                manifest.total_bytes if size is None else size,
                fit.host if fit else None,
                fitting.free,
                fit.fits if fit else None,
            )
        )
    return tuple(sorted(found, key=lambda each: (not each.usable, each.model)))


def guide(
    session: Session, fitting: Fitting, table: str | None, questions: int | None, description: str | None
) -> tuple[tuple[str, ...], str | None, int | None, str | None]:
    """Ask for members, and for a table or how many questions to calibrate on, and a description, where not given.

    Returns:
        Members as users write them, the table as they named it, the number of questions, the description.

    """
    found = candidates(session, fitting)
    for number, each in enumerate(found, start=1):
        click.echo(f"{number:>3}  {_line(each)}", err=True)
    usable = ",".join(str(number) for number, each in enumerate(found, start=1) if each.usable)
    chosen: list[int] = click.prompt(
        "Which models (numbers)", default=usable or None, value_proc=lambda said: _numbers(said, len(found)), err=True
    )
    way = click.prompt("Asked how", type=click.Choice(list(_WAYS)), default="both", err=True)
    members = tuple(
        f"{found[number - 1].model}:{mode}" if mode else found[number - 1].model
        for number in chosen
        for mode in _WAYS[way]
    )
    if table is None and questions is None:
        asked = f"Routing table (a file, a team, {_CALIBRATE!r} to fit one on built-in questions, empty for none)"
        table = click.prompt(asked, default="", show_default=False, err=True)
        if table == _CALIBRATE:
            table = None
            many = f"On how many questions ({len(members)} answers to each; hours for hundreds)"
            questions = click.prompt(many, default=USUAL_QUESTIONS, type=click.IntRange(1), err=True)
    if description is None:
        description = click.prompt("One line about it", default="", show_default=False, err=True)
    return members, table or None, questions, description or None


def _line(each: Candidate) -> str:
    size = "?" if each.size is None else human_bytes(each.size)
    if not each.installed:
        return f"{each.model}, {size}, not installed"
    fits = {True: "fits", False: "does not fit", None: "the system does not say what is free"}[each.fits]
    return f"{each.model}, {size}, needs {human_bytes(each.memory or 0)} of memory: {fits}"


def _numbers(said: str, most: int) -> list[int]:
    try:
        numbers = list(dict.fromkeys(int(word) for word in said.replace(",", " ").split()))
    except ValueError:
        numbers = []
    if not numbers or not all(1 <= number <= most for number in numbers):
        raise click.UsageError(f"write numbers of 1 to {most}, separated by commas")
    return numbers
