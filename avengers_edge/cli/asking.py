"""Questions to the person at the terminal; whoever is not at one says what he wants with options."""

from __future__ import annotations

import sys

import click

from avengers_edge.errors import AvengersError, BadRequest


def asks() -> bool:
    """Tell whether there is somebody to be asked."""
    return sys.stdin is not None and sys.stdin.isatty()


def confirm(question: str, yes: bool, refused: str, *, default: bool) -> None:
    """Ask for a yes, unless it was given with --yes.

    Raises:
        BadRequest: nobody can be asked.
        AvengersError: the answer is no; `refused` says so.

    """
    if yes:
        return
    if not asks():
        raise BadRequest(f"{question.rstrip('?')}: say --yes to do it")
    if not click.confirm(question, default=default, err=True):
        raise AvengersError(refused)
