"""What a chat shows, as plain text for pipes and simple terminals, or drawn on a terminal that can redraw."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import click

from avengers_edge.cli.answer_display import shown, states_its_answer, summary, vote_line
from avengers_edge.cli.terminal import (
    aside,
    bold,
    dim,
    error_line,
    fitted,
    harmless,
    in_lines,
    is_terminal,
    on_standard_output,
    write_out,
)
from avengers_edge.errors import AvengersError
from avengers_edge.records import Answer, Progress
from avengers_edge.voting.markers import said_in

if TYPE_CHECKING:
    from avengers_edge.cli.chat.markdown import LiveMarkdown

_THOUGHT_SHOWN = 40
"""Characters of the end of a thought that the status line has."""


class PlainDisplay:
    """Writes answers to standard output as they come, and everything else to standard error."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._has_text = False

    def begin(self) -> None:
        """Show that an answer is on its way."""
        self._has_text = False

    def piece(self, text: str) -> None:
        """Show the next piece of the answer."""
        write_out(text)
        self._has_text = True

    def thought(self, text: str) -> None:
        """Show the next piece of the thought before the answer: nothing, since lines cannot be redrawn."""

    def vote(self, progress: Progress) -> None:
        """Show the progress of a vote: nothing either."""

    def note(self, text: str) -> None:
        """Show a line above the answer."""
        self.say(text)

    def end(self, answer: Answer | None, *, stopped: bool) -> None:
        """Show the rest of the answer (None: there is none) and the line under it."""
        if answer is not None and not self._has_text:
            self.piece(shown(answer))
        if self._has_text:
            write_out("\n")
        if not self._quiet and (answer or stopped):
            aside(_line_under(answer, stopped))

    def say(self, text: str) -> None:
        """Show the reply of a command, one line or several."""
        click.echo(in_lines(text), err=True)

    def show_error(self, error: AvengersError) -> None:
        """Show an error as one line."""
        click.echo(error_line(str(error)), err=True)


class RichDisplay(PlainDisplay):
    """Draws on a terminal that can move its cursor. Rich is loaded with the first answer, not before the prompt."""

    def __init__(self, *, quiet: bool = False) -> None:
        super().__init__(quiet=quiet)
        self._drawing: LiveMarkdown | None = None
        self._thought = ""
        self._echo_on: Callable[[], None] = lambda: None

    def begin(self) -> None:
        from avengers_edge.cli.chat.markdown import LiveMarkdown, terminal

        self._has_text, self._thought = False, ""
        self._echo_on = _echo_off()
        self._drawing = LiveMarkdown(terminal())
        self._drawing.begin()
        self._drawing.wait("…")

    def piece(self, text: str) -> None:
        if self._drawing is not None:
            self._drawing.add(text)
            self._has_text = True

    def thought(self, text: str) -> None:
        """Draw the end of the thought in the status line, which the answer replaces."""
        if self._drawing is not None:
            self._thought = (self._thought + text)[-_THOUGHT_SHOWN:]
            self._drawing.wait(fitted(f"thinking … {' '.join(harmless(self._thought).split())}"))

    def vote(self, progress: Progress) -> None:
        if self._drawing is not None:
            self._drawing.wait(fitted(f"{vote_line(progress)} · {progress.member}"))

    def note(self, text: str) -> None:
        if self._drawing is not None:
            self._drawing.note(harmless(text))

    def end(self, answer: Answer | None, *, stopped: bool) -> None:
        self._echo_on()
        drawing, self._drawing = self._drawing, None
        if drawing is None:
            return
        if answer is not None and not self._has_text:
            drawing.add(said_in(answer.text).strip())
        drawing.end()
        if answer is not None and not states_its_answer(answer):
            click.echo("\n" + bold(f"=> {harmless(answer.answer)}"))
        if not self._quiet and (answer or stopped):
            click.echo(dim(in_lines(_line_under(answer, stopped))))
        click.echo()

    def say(self, text: str) -> None:
        click.echo(in_lines(text))


def _echo_off() -> Callable[[], None]:
    """Turn a POSIX terminal's echo off, and return what turns it on again.

    Keys typed meanwhile would move what is redrawn. They are not lost: the next prompt reads them.
    """
    if sys.platform == "win32" or not is_terminal(sys.stdin):
        return lambda: None
    import termios

    def change(attributes: list[int | list[bytes | int]]) -> None:
        with contextlib.suppress(OSError, termios.error):  # the terminal was closed
            termios.tcsetattr(sys.stdin.fileno(), termios.TCSANOW, attributes)

    try:
        before = termios.tcgetattr(sys.stdin.fileno())
    except (OSError, termios.error):
        return lambda: None
    change([*before[:3], before[3] & ~(termios.ECHO | termios.ECHONL), *before[4:]])
    return lambda: change(before)


def can_redraw(environ: Mapping[str, str] = os.environ) -> bool:
    """Return whether standard output is a terminal that can redraw its lines."""
    return on_standard_output() and environ.get("TERM") != "dumb"


def _line_under(answer: Answer | None, stopped: bool) -> str:
    return "stopped" if answer is None else summary(answer, tokens=False, stopped=stopped)
