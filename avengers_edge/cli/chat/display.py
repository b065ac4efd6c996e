"""What a chat shows: the shape that the loop depends on, and plain text for pipes and simple terminals."""

from __future__ import annotations

import os
import sys
from typing import Protocol

import click

from avengers_edge._util.text import cut
from avengers_edge.cli.answers import cut_off, seconds, shown, thought, voters
from avengers_edge.cli.terminal import columns, dim, harmless, on_standard_output
from avengers_edge.errors import AvengersError
from avengers_edge.records import Answer, Vote


class Display(Protocol):
    """Shows a chat."""

    def begin(self) -> None:
        """Hear that an answer is waited for."""

    def piece(self, text: str) -> None:
        """Hear how the answer goes on."""

    def thought(self, text: str) -> None:
        """Hear how the model thinks on before it answers."""

    def vote(self, finished: int, samples: int, leader: Vote | None, member: str) -> None:
        """Hear how a vote stands."""

    def note(self, text: str) -> None:
        """Say what is to be known before the answer."""

    def end(self, answer: Answer | None, *, stopped: bool) -> None:
        """Hear the answer; None where there is none."""

    def say(self, text: str) -> None:
        """Say what a command answers, in one line or several."""

    def complain(self, error: AvengersError) -> None:
        """Say what went wrong."""


class PlainDisplay:
    """Text as it comes: answers to standard output, everything else to standard error."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._has_text = False

    def begin(self) -> None:
        """Wait silently."""
        self._has_text = False

    def piece(self, text: str) -> None:
        """Write it at once."""
        self._write(text)
        self._has_text = True

    def thought(self, text: str) -> None:
        """Leave it out."""

    def vote(self, finished: int, samples: int, leader: Vote | None, member: str) -> None:
        """Say nothing: lines cannot be taken back."""

    def note(self, text: str) -> None:
        """Write it to standard error."""
        self.say(text)

    def end(self, answer: Answer | None, *, stopped: bool) -> None:
        """Write what was not streamed, and the quiet line."""
        if answer is not None and not self._has_text:
            self._write(shown(answer))
            self._has_text = True
        if self._has_text:
            self._write("\n")
        if not self._quiet and (answer or stopped):
            click.echo(dim(quiet_line(answer, stopped=stopped)), err=True)

    def say(self, text: str) -> None:
        """Write it to standard error."""
        click.echo(text, err=True)

    def complain(self, error: AvengersError) -> None:
        """Write one line to standard error."""
        click.echo(complaint(error), err=True)

    def _write(self, text: str) -> None:
        # Piped it stays as it is; click would take colours out of it.
        click.echo(harmless(text) if on_standard_output() else text, nl=False, color=True)
        if sys.stdout is not None:
            sys.stdout.flush()


def is_rich(environ: dict[str, str] | None = None) -> bool:
    """Tell whether the terminal can redraw what it shows."""
    said = os.environ if environ is None else environ
    return on_standard_output() and said.get("TERM") != "dumb"


def quiet_line(answer: Answer | None, *, stopped: bool) -> str:
    """Write the line under an answer: who, votes, samples, seconds, and whether it is whole."""
    if answer is None:
        return "stopped"
    parts = [*voters(answer), seconds(answer), *thought(answer)]
    return " · ".join([*parts, *(["stopped"] if stopped else cut_off(answer))])


def vote_line(finished: int, samples: int, leader: Vote | None, member: str) -> str:
    """Write the line that stands while a vote is under way, the leading answer first."""
    count = f"{finished} of {samples} samples · {member}"
    return f"{harmless(leader.key)} ({leader.count}) leads · {count}" if leader else count


def fitted(line: str) -> str:
    """Cut a line at the terminal's edge."""
    return cut(line, max(1, columns() - 1))


def complaint(error: AvengersError) -> str:
    """Write an error as one line that steers no terminal."""
    return "avengers: " + " ".join(harmless(str(error)).split())
