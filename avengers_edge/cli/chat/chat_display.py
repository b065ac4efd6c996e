"""What a chat shows, as plain text for pipes and simple terminals, or drawn on a terminal that can redraw."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

import click

from avengers_edge.cli.answer_display import (
    cut_off,
    seconds,
    shown,
    states_its_answer,
    thought,
    vote_line,
    voters,
)
from avengers_edge.cli.terminal import bold, dim, error_line, fitted, harmless, on_standard_output, write_out
from avengers_edge.errors import AvengersError
from avengers_edge.records import Answer, Vote
from avengers_edge.voting.markers import said_in

if TYPE_CHECKING:
    from avengers_edge.cli.chat.markdown import LiveMarkdown

_THOUGHT_SHOWN = 40
"""Characters of the end of a thought that the status line has."""


class Display(Protocol):
    """Shows a chat."""

    def begin(self) -> None:
        """Show that an answer is on its way."""

    def piece(self, text: str) -> None:
        """Show the next piece of the answer."""

    def thought(self, text: str) -> None:
        """Show the next piece of the thought before the answer."""

    def vote(self, finished: int, samples: int, leader: Vote | None, member: str) -> None:
        """Show the progress of a vote."""

    def note(self, text: str) -> None:
        """Show a line above the answer."""

    def end(self, answer: Answer | None, *, stopped: bool) -> None:
        """Show the rest of the answer (None: there is none) and the line under it."""

    def say(self, text: str) -> None:
        """Show the reply of a command, one line or several."""

    def show_error(self, error: AvengersError) -> None:
        """Show an error as one line."""


class PlainDisplay:
    """Writes answers to standard output as they come, and everything else to standard error."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._has_text = False

    def begin(self) -> None:
        """Wait silently."""
        self._has_text = False

    def piece(self, text: str) -> None:
        """Write it at once."""
        write_out(text)
        self._has_text = True

    def thought(self, text: str) -> None:
        """Leave it out."""

    def vote(self, finished: int, samples: int, leader: Vote | None, member: str) -> None:
        """Show nothing: lines cannot be redrawn."""

    def note(self, text: str) -> None:
        """Write it to standard error."""
        self.say(text)

    def end(self, answer: Answer | None, *, stopped: bool) -> None:
        """Write what was not streamed, and the line under it."""
        if answer is not None and not self._has_text:
            self.piece(shown(answer))
        if self._has_text:
            write_out("\n")
        if not self._quiet and (answer or stopped):
            click.echo(dim(quiet_line(answer, stopped=stopped)), err=True)

    def say(self, text: str) -> None:
        """Write it to standard error."""
        click.echo(text, err=True)

    def show_error(self, error: AvengersError) -> None:
        """Write one line to standard error."""
        click.echo(error_line(str(error)), err=True)


class RichDisplay:
    """Draws on a terminal that can move its cursor. Rich is loaded with the first answer, not before the prompt."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._drawing: LiveMarkdown | None = None
        self._has_text = False
        self._thought = ""
        self._echo = _Echo()

    def begin(self) -> None:
        """Draw a status line."""
        from avengers_edge.cli.chat.markdown import LiveMarkdown, terminal

        self._has_text, self._thought = False, ""
        self._echo.off()
        self._drawing = LiveMarkdown(terminal())
        self._drawing.begin()
        self._drawing.wait("…")

    def piece(self, text: str) -> None:
        """Draw the answer so far."""
        if self._drawing is not None:
            self._drawing.add(text)
            self._has_text = True

    def thought(self, text: str) -> None:
        """Draw the end of the thought in the status line, which the answer replaces."""
        if self._drawing is not None:
            self._thought = (self._thought + text)[-_THOUGHT_SHOWN:]
            self._drawing.wait(fitted(f"thinking … {' '.join(harmless(self._thought).split())}"))

    def vote(self, finished: int, samples: int, leader: Vote | None, member: str) -> None:
        """Redraw the status line."""
        if self._drawing is not None:
            self._drawing.wait(fitted(f"{vote_line(finished, samples, leader)} · {member}"))

    def note(self, text: str) -> None:
        """Print a dim line above the answer."""
        if self._drawing is not None:
            self._drawing.note(harmless(text))

    def end(self, answer: Answer | None, *, stopped: bool) -> None:
        """Print the rest of the answer, and the line under it."""
        self._echo.on()
        drawing, self._drawing = self._drawing, None
        if drawing is None:
            return
        if answer is not None and not self._has_text:
            drawing.add(said_in(answer.text).strip())
        drawing.end()
        if answer is not None and not states_its_answer(answer):
            click.echo("\n" + bold(f"=> {harmless(answer.answer)}"))
        if not self._quiet and (answer or stopped):
            click.echo(dim(quiet_line(answer, stopped=stopped)))
        click.echo()

    def say(self, text: str) -> None:
        """Print the lines."""
        click.echo(text)

    def show_error(self, error: AvengersError) -> None:
        """Print one line."""
        click.echo(error_line(str(error)), err=True)


class _Echo:
    """The echo of a POSIX terminal, off while an answer is drawn: keys typed meanwhile would move what is redrawn.

    They are not lost: the next prompt reads them.
    """

    def __init__(self) -> None:
        self._before: list[int | list[bytes | int]] | None = None

    def off(self) -> None:
        """Show no keys."""
        if sys.platform == "win32" or self._before is not None:
            return
        import termios

        # A stream of another kind has no descriptor, a closed terminal no attributes.
        with contextlib.suppress(OSError, ValueError, AttributeError, termios.error):
            before = termios.tcgetattr(sys.stdin.fileno())
            silent = [*before]
            silent[3] = before[3] & ~(termios.ECHO | termios.ECHONL)
            termios.tcsetattr(sys.stdin.fileno(), termios.TCSANOW, silent)
            self._before = before

    def on(self) -> None:
        """Show keys again."""
        before, self._before = self._before, None
        if sys.platform == "win32" or before is None:
            return
        import termios

        with contextlib.suppress(OSError, ValueError, AttributeError, termios.error):
            termios.tcsetattr(sys.stdin.fileno(), termios.TCSANOW, before)


def can_redraw(environ: Mapping[str, str] = os.environ) -> bool:
    """Return whether standard output is a terminal that can redraw its lines."""
    return on_standard_output() and environ.get("TERM") != "dumb"


def quiet_line(answer: Answer | None, *, stopped: bool) -> str:
    """Write the line under an answer: model, votes, samples, seconds, and whether it is complete."""
    if answer is None:
        return "stopped"
    parts = [*voters(answer), seconds(answer), *thought(answer)]
    return " · ".join([*parts, *(["stopped"] if stopped else cut_off(answer))])
