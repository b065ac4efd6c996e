"""What people see while they wait: one status line that redraws itself, on a terminal only."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import time
from types import TracebackType
from typing import Self

import click

_REDRAW_SECONDS = 0.1
_ALLOWED = "\n\t\u200c\u200d"


def on_terminal() -> bool:
    """Tell whether standard error is a terminal."""
    return sys.stderr is not None and sys.stderr.isatty()  # a closed stream is None


def dim(text: str) -> str:
    """Make text quiet on a terminal that has colours and was not told NO_COLOR."""
    plain = "NO_COLOR" in os.environ or os.environ.get("TERM") == "dumb" or not on_terminal()
    return text if plain else click.style(text, dim=True)


def on_standard_output() -> bool:
    """Tell whether standard output is a terminal."""
    return sys.stdout is not None and sys.stdout.isatty()


def refuse_lost_output() -> None:
    """Find out before the work whether what it prints will be lost.

    Raises:
        OSError: standard output is closed, or its device is full.

    """
    try:
        descriptor = sys.stdout.fileno()
    except (AttributeError, ValueError):  # it is none of the system's
        return
    with contextlib.suppress(BrokenPipeError):  # that ends quietly, when it is written
        os.write(descriptor, b"")


def bold(text: str) -> str:
    """Make text on standard output stand out where that is a terminal that has it and was not told NO_COLOR."""
    plain = "NO_COLOR" in os.environ or os.environ.get("TERM") == "dumb" or not on_standard_output()
    return text if plain else click.style(text, bold=True)


def harmless(text: str) -> str:
    """Put U+FFFD for what would steer a terminal; what joins letters and signs into one stays."""
    text = text.replace("\r", "")
    return "".join(letter if letter.isprintable() or letter in _ALLOWED else "\ufffd" for letter in text)


def columns() -> int:
    """Tell how wide the terminal is; where there is none, 80."""
    return max(1, shutil.get_terminal_size().columns)


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

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.clear()

    def show(self, text: str, *, now: bool = False) -> None:
        """Draw the line, at most ten times a second unless `now`."""
        at = time.monotonic()
        if not self._shown or (at - self._drawn_at < _REDRAW_SECONDS and not now):
            return
        room = columns() - 1
        text = text[:room]
        self._write("\r" + dim(text.ljust(min(self._width, room))))
        self._drawn_at, self._width = at, len(text)

    def clear(self) -> None:
        """Wipe the line."""
        if self._width:
            self._write(f"\r{' ' * self._width}\r")
            self._width = 0

    def _write(self, text: str) -> None:
        click.echo(text, nl=False, err=True)  # click translates colours for a classic Windows console


def human_seconds(seconds: float) -> str:
    """Write a duration as people do: 8 s, 3 min."""
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
