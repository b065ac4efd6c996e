"""A chat on a terminal: Markdown drawn as it is written, a live line while a vote runs, quiet lines under answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from avengers_edge.cli.chat.display import complaint, fitted, quiet_line, vote_line
from avengers_edge.cli.chat.echo import Echo
from avengers_edge.cli.terminal import bold, dim, harmless
from avengers_edge.errors import AvengersError
from avengers_edge.records import Answer, Vote
from avengers_edge.voting.markers import said_in

if TYPE_CHECKING:
    from avengers_edge.cli.chat.markdown import LiveMarkdown


_SEEN_OF_A_THOUGHT = 40
"""Characters of the end of a thought that stand in the line."""


class RichDisplay:
    """Draws on a terminal that can move its cursor. Rich is loaded with the first answer, not before the prompt."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._drawing: LiveMarkdown | None = None
        self._has_text = False
        self._thought = ""
        self._echo = Echo()

    def begin(self) -> None:
        """Show that something is going on."""
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
        """Show where it stands in one quiet line, which the answer takes the place of."""
        if self._drawing is not None:
            self._thought = (self._thought + text)[-_SEEN_OF_A_THOUGHT:]
            self._drawing.wait(fitted(f"thinking … {' '.join(harmless(self._thought).split())}"))

    def vote(self, finished: int, samples: int, leader: Vote | None, member: str) -> None:
        """Redraw the live line."""
        if self._drawing is not None:
            self._drawing.wait(fitted(vote_line(finished, samples, leader, member)))

    def note(self, text: str) -> None:
        """Put a quiet line above the answer."""
        if self._drawing is not None:
            self._drawing.note(harmless(text))

    def end(self, answer: Answer | None, *, stopped: bool) -> None:
        """Print what is not printed yet, and the quiet line."""
        self._echo.on()
        drawing, self._drawing = self._drawing, None
        if drawing is None:
            return
        if answer is not None and not self._has_text:
            drawing.add(said_in(answer.text).strip())
        drawing.end()
        if answer is not None and answer.votes and not said_in(answer.text).strip().startswith(answer.answer):
            click.echo("\n" + bold(f"=> {harmless(answer.answer)}"))
        if not self._quiet and (answer or stopped):
            click.echo(dim(quiet_line(answer, stopped=stopped)))
        click.echo()

    def say(self, text: str) -> None:
        """Print the lines of a command's answer."""
        click.echo(text)

    def complain(self, error: AvengersError) -> None:
        """Print one line."""
        click.echo(complaint(error), err=True)
