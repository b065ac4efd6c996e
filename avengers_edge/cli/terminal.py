"""The terminal: what it can show, the status line and progress on it, questions to the user, facts as lines."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import textwrap
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Self, TextIO

import click

from avengers_edge._util.text import columns as width_of
from avengers_edge._util.text import human_bytes, shorten
from avengers_edge.errors import AvengersError, BadRequest

if TYPE_CHECKING:
    from avengers_edge.library.download import PullProgress

_REDRAW_SECONDS = 0.1
_ALLOWED = "\n\t\u200c\u200d"


def is_terminal(stream: TextIO | None) -> bool:
    """Return whether a standard stream is a terminal; a closed one is None."""
    return stream is not None and stream.isatty()


def on_terminal() -> bool:
    """Return whether standard error is a terminal."""
    return is_terminal(sys.stderr)


def on_standard_output() -> bool:
    """Return whether standard output is a terminal."""
    return is_terminal(sys.stdout)


def dim(text: str) -> str:
    """Style text for standard error as dim, where that is a terminal with colours and NO_COLOR is not set."""
    return click.style(text, dim=True) if on_terminal() and _has_colours() else text


def bold(text: str) -> str:
    """Style text for standard output as bold, where that is a terminal with colours and NO_COLOR is not set."""
    return click.style(text, bold=True) if on_standard_output() and _has_colours() else text


def _has_colours() -> bool:
    return "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"


def harmless(text: str) -> str:
    """Replace control characters by U+FFFD, but for line ends, tabs, and what joins letters and signs into one."""
    text = text.replace("\r", "")
    return "".join(letter if letter.isprintable() or letter in _ALLOWED else "\ufffd" for letter in text)


def columns() -> int:
    """Return the width of the terminal; 80 where there is none."""
    return max(1, shutil.get_terminal_size().columns)


def fitted(line: str) -> str:
    """Shorten a line to the width of the terminal, between words, but for the last column, which would wrap it."""
    return shorten(line, max(1, columns() - 1))


def printable(text: str) -> str:
    """Replace what cannot be printed by "?": what a model wrote, or a file is called, may not steer the terminal."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def in_lines(text: str) -> str:
    """Break lines that are too long for the terminal between their words; piped, a text stays as it is."""
    if not on_terminal():
        return text
    width = columns()
    return "\n".join(
        textwrap.fill(line, width, break_long_words=False, break_on_hyphens=False)
        if len(click.unstyle(line)) > width
        else line
        for line in text.split("\n")
    )


def error_line(message: str) -> str:
    """Write an error in one line without control characters; a terminal gets it broken between its words."""
    return in_lines(f"avengers: {printable(' '.join(message.split()))}")


def aside(line: str) -> None:
    """Write a dim line to standard error."""
    click.echo(dim(in_lines(line)), err=True)


def refuse_lost_output() -> None:
    """Check before the work that its output can be written; `OSError` where it is closed, or its device full."""
    try:
        descriptor = sys.stdout.fileno()
    except (AttributeError, ValueError):  # not a stream of the system
        return
    with contextlib.suppress(BrokenPipeError):  # that ends quietly, when it is written
        os.write(descriptor, b"")


def write_out(text: str) -> None:
    """Write a model's text to standard output at once: on a terminal without control characters, piped as it is."""
    click.echo(harmless(text) if on_standard_output() else text, nl=False, color=True)  # click would remove colours
    if sys.stdout is not None:
        sys.stdout.flush()


class StatusLine:
    """A line on standard error that is overwritten as work goes on and wiped when it ends; silent when piped.

    It is wiped with spaces: a classic Windows console does not know the escape sequence that erases a line.
    """

    def __init__(self) -> None:
        self._shown = on_terminal()
        self._drawn_at = 0.0
        self._width = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.clear()

    def show(self, text: str, *, now: bool = False) -> None:
        """Draw the line, at most ten times a second unless `now`."""
        at = time.monotonic()
        if not self._shown or (at - self._drawn_at < _REDRAW_SECONDS and not now):
            return
        line = fitted(text)
        width = width_of(line)
        spaces = " " * min(self._width - width, columns() - 1 - width)
        self._write("\r" + dim(line + spaces))
        self._drawn_at, self._width = at, width

    def clear(self) -> None:
        """Wipe the line."""
        if self._width:
            self._write(f"\r{' ' * self._width}\r")
            self._width = 0

    def _write(self, text: str) -> None:
        click.echo(text, nl=False, err=True)  # click translates colours for a classic Windows console


class PullDisplay:
    """Shows a transfer's progress in the status line, with an estimate; `headline` is printed once, at its start."""

    def __init__(self, status: StatusLine, headline: str | None = None) -> None:
        self._status, self._headline = status, headline
        self._first: tuple[float, int] | None = None

    def progress(self, progress: PullProgress) -> None:
        """Show how far a transfer is."""
        at, done, total = time.monotonic(), progress.done_bytes, progress.total_bytes
        if self._first is None and self._headline is not None:
            click.echo(self._headline, err=True)
        if self._first is None or not total:  # a step without a total has no rate, and says nothing about the next one
            self._first = (at, done)
        text = f"{progress.model}: {progress.step}, {human_bytes(done)}"
        if total:
            text += f" of {human_bytes(total)}"
            rate = (done - self._first[1]) / max(at - self._first[0], 1e-3)
            if rate > 0 and done < total:
                text += f", about {human_seconds((total - done) / rate)} left"
        self._status.show(text)


def human_seconds(seconds: float) -> str:
    """Write a duration: 8 s, 3 min."""
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def is_interactive() -> bool:
    """Return whether standard input is a terminal, so that the user can be asked."""
    return is_terminal(sys.stdin)


def confirm(question: str, yes: bool, refused: str, *, default: bool) -> None:
    """Ask for a yes, unless it was given with --yes; `AvengersError(refused)` where the answer is no."""
    if yes:
        return
    if not is_interactive():
        raise BadRequest(f"{question.rstrip('?')}: say --yes to do it")
    if not click.confirm(question, default=default, err=True):
        raise AvengersError(refused)


def fact_lines(facts: Mapping[str, object]) -> Iterator[str]:
    """Write facts as lines of a name and a value, a list with a line for each item; None and [] are left out."""
    known = {name.replace("_", " "): (name, value) for name, value in facts.items() if value not in (None, [])}
    width = max(map(len, known))
    for label, (name, value) in known.items():
        if isinstance(value, list):
            yield label
            yield from (f"  {each}" for each in value)
        else:
            yield f"{label:<{width}}  {_in_words(name, value)}"


def _in_words(name: str, value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int) and name.endswith("bytes"):
        return f"{human_bytes(value)} ({value})"
    return str(value)


def table_lines(rows: Sequence[Sequence[str]]) -> list[str]:
    """Write rows of cells as lines with aligned columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
