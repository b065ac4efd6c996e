"""Markdown that is drawn while it is written: finished blocks stay, only the last one is redrawn."""

from __future__ import annotations

import os
import re
import time
from typing import ClassVar

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.markdown import Heading, Markdown, MarkdownElement
from rich.segment import Segment, SegmentLines
from rich.text import Text

from avengers_edge.cli.terminal import harmless

_REDRAW_SECONDS = 0.08
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_SPARE_LINES = 3

Lines = list[list[Segment]]


class _LeftHeading(Heading):
    """A heading as one bold line; rich would put it into a box in the middle."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        self.text.justify = "left"
        self.text.stylize("bold")
        yield self.text


class _Markdown(Markdown):
    elements: ClassVar[dict[str, type[MarkdownElement]]] = {**Markdown.elements, "heading_open": _LeftHeading}


def terminal() -> Console:
    """Return the terminal as a console: without colours where NO_COLOR is set, and without markup in texts."""
    return Console(highlight=False, markup=False, emoji=False, no_color="NO_COLOR" in os.environ or None)


class LiveMarkdown:
    """Draws a growing text on a terminal.

    Terminals cannot redraw lines that have scrolled away. So finished blocks are printed for good, and of the last one
    only as many lines are redrawn as the screen holds.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False, transient=True, vertical_overflow="visible")
        self._text = ""
        self._settled = 0  # characters whose blocks are printed
        self._printed = 0  # lines of the last block that are printed
        self._gap = False  # whether a block stands above
        self._drawn_at = 0.0

    def begin(self) -> None:
        self._live.start()

    def wait(self, line: str) -> None:
        """Show a dim line until there is text."""
        if not self._text:
            self._live.update(Text(line, style="dim", no_wrap=True, overflow="ellipsis"), refresh=True)

    def note(self, line: str) -> None:
        """Print a dim line above the drawing."""
        self._console.print(Text(line, style="dim"))

    def add(self, piece: str) -> None:
        """Add a piece to the text; it is redrawn at most every 80 ms."""
        self._text += harmless(piece)
        if time.monotonic() - self._drawn_at >= _REDRAW_SECONDS:
            self._draw()
            self._drawn_at = time.monotonic()

    def end(self) -> None:
        """Print the rest of the text."""
        self._live.update(Text(""), refresh=True)
        self._live.stop()
        self._settle(all_of_it=True)

    def _draw(self) -> None:
        self._settle()
        lines = self._render(self._text[self._settled :])
        room = max(1, self._console.height - _SPARE_LINES)
        if len(lines) - self._printed > room:
            self._print(lines[self._printed : len(lines) - room])
            self._printed = len(lines) - room
        self._live.update(SegmentLines(lines[self._printed :], new_lines=True), refresh=True)

    def _settle(self, *, all_of_it: bool = False) -> None:
        """Print the finished blocks, each by itself as it was drawn."""
        begin = self._settled
        ends = [begin + end for end in block_ends(self._text[begin:])]
        for end in [*ends, len(self._text)] if all_of_it else ends:
            lines = self._render(self._text[self._settled : end])
            if lines:
                self._print(lines[self._printed :])
                self._gap = True
            self._settled, self._printed = end, 0

    def _print(self, lines: Lines) -> None:
        self._console.print(SegmentLines(lines, new_lines=True), end="")

    def _render(self, block: str) -> Lines:
        """Render a block as lines, after an empty one where a block is above it."""
        if not block.strip():
            return []
        drawn = _Markdown(block, code_theme="ansi_dark", hyperlinks=False)
        lines = _without_empty_ends(self._console.render_lines(drawn, pad=False))
        return [[], *lines] if lines and self._gap else lines


def block_ends(text: str) -> list[int]:
    """Find the ends of those blocks at a text's beginning that will not change, whatever follows.

    A block ends at an empty line, outside of a fence, before a line that is not indented.
    """
    at, ends, fence, after_empty = 0, [], "", False
    for line in text.splitlines(keepends=True):  # the last one may still be growing
        found = _FENCE.match(line)
        if fence:
            closes = found and found[1].startswith(fence) and line.endswith("\n") and not line[found.end() :].strip()
            fence = "" if closes else fence
        else:
            if after_empty and not line[0].isspace():
                ends.append(at)
            fence = found[1] if found else ""
        after_empty = not fence and not line.strip()
        at += len(line)
    return ends


def _without_empty_ends(lines: Lines) -> Lines:
    said = [place for place, line in enumerate(lines) if any(segment.text.strip() for segment in line)]
    return lines[said[0] : said[-1] + 1] if said else []
