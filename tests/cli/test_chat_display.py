"""What a chat shows: Markdown that grows ends as if drawn at once, and nothing that a model says steers anything."""

from __future__ import annotations

import io
import re

import pytest
from chat_fakes import answer
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from avengers_edge._util.text import columns
from avengers_edge.cli.answer_display import shown, summary, vote_line
from avengers_edge.cli.chat import markdown
from avengers_edge.cli.chat.chat_display import (
    PlainDisplay,
    RichDisplay,
    can_redraw,
)
from avengers_edge.cli.chat.markdown import LiveMarkdown, block_ends
from avengers_edge.cli.terminal import error_line, fitted
from avengers_edge.errors import AvengersError
from avengers_edge.records import Progress, Vote

TEXT = """# A title

Some *words* and `code` of a paragraph that is long enough to be wrapped at the edge of a narrow terminal, twice.
It goes on.

```python
def f(x):

    return x + 1
```

1. one
2. two

   still two

- a
- b

| left | right |
|---|---|
| 1 | 2 |

> said

The end."""


class Screen:
    """A terminal of so many lines: understands what is sent to it, and refuses to go up to what has scrolled away."""

    def __init__(self, height):
        self.height, self.lines, self.row, self.column = height, [""], 0, 0

    def feed(self, output):
        for sequence, letter in re.findall(r"\x1b\[([0-9;?]*[A-Za-z])|(.|\n)", output):
            if sequence:
                self._obey(sequence)
            elif letter == "\n":
                self.row, self.column = self.row + 1, 0
                self.lines += [""] * (self.row + 1 - len(self.lines))
            elif letter == "\r":
                self.column = 0
            else:
                assert letter.isprintable(), repr(letter)
                line = self.lines[self.row].ljust(self.column)
                self.lines[self.row] = line[: self.column] + letter + line[self.column + 1 :]
                self.column += 1
        return self

    def _obey(self, sequence):
        if sequence[-1] == "A":
            self.row -= int(sequence[:-1])
            assert self.row >= max(0, len(self.lines) - self.height), "it would have drawn over what scrolled away"
        elif sequence == "2K":
            self.lines[self.row] = ""
        else:
            assert sequence[-1] in "mlh", sequence  # colours, and hiding the cursor

    @property
    def text(self):
        return "\n".join(line.rstrip() for line in self.lines).rstrip("\n")


def console(width=40, height=12):
    return Console(file=io.StringIO(), force_terminal=True, width=width, height=height, legacy_windows=False)


def drawn(pieces, width=40, height=12):
    """Draws a text in pieces, all of them visibly, and gives what then stands on the screen."""
    out = console(width, height)
    live = LiveMarkdown(out)
    live.begin()
    live.wait("…")
    for piece in pieces:
        live.add(piece)
    live.end()
    return Screen(height).feed(out.file.getvalue()).text


@pytest.fixture(autouse=True)
def always_redraw(monkeypatch):
    monkeypatch.setattr(markdown, "_REDRAW_SECONDS", -1.0)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 50, 1000])
@pytest.mark.parametrize("height", [40, 12, 5])
def test_a_text_in_pieces_ends_as_the_text_at_once(size, height):
    pieces = [TEXT[at : at + size] for at in range(0, len(TEXT), size)]
    at_once = drawn([TEXT], height=40)
    assert drawn(pieces, height=height).replace("▌", "") == at_once.replace("▌", "")
    for part in (
        "A title",
        "Some words and code",
        " def f(x):",
        "     return x + 1",
        " 2 two",
        " • b",
        "said",
        "The end.",
    ):
        assert part in at_once


def test_a_block_longer_than_the_screen_scrolls_away_whole():
    code = "".join(f"line_{place} = {place}\n" for place in range(60))
    pieces = [f"```python\n{code}"[at : at + 5] for at in range(0, 2000, 5)] + ["```\n"]
    shown = [line.strip() for line in drawn(pieces, height=10).splitlines() if line.strip()]
    assert shown == [f"line_{place} = {place}" for place in range(60)]


@given(st.lists(st.text(max_size=20), max_size=8))
def test_whatever_a_model_says_nothing_steers_the_terminal(pieces):
    drawn(pieces)  # the screen refuses what it does not know


MARKUP = st.text(st.sampled_from("a`~ \n-1.>"), max_size=80)


@given(MARKUP, MARKUP)
def test_a_block_that_ended_stays_as_it_is(text, more):
    ends = block_ends(text)
    assert all(text[:end].endswith("\n") for end in ends)
    assert block_ends(text + more)[: len(ends)] == ends == sorted(set(ends))


def test_a_block_ends_at_an_empty_line_outside_of_a_fence():
    assert block_ends("one\n\n") == block_ends("one\n\n ") == []  # what follows may belong to it
    assert block_ends("one\n\nt") == [5]
    assert block_ends("one\n\ntwo\n\n\nthree\n") == [5, 11]
    assert block_ends("- one\n\n  still one\n") == []
    fence = "```\na\n\nb\n"
    assert block_ends(fence + "c\n\nd\n") == []
    assert block_ends(fence + "```\n\nc\n") == [len(fence + "```\n\n")]
    assert block_ends("~~~\na\n\n```\n\nb\n") == []


@pytest.mark.parametrize("width", [20, 30, 80])
def test_no_line_is_wider_than_the_terminal(width):
    assert all(columns(line) <= width for line in drawn([TEXT], width=width, height=50).splitlines())


def test_no_color_leaves_colours_out(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    assert markdown.terminal().no_color
    monkeypatch.delenv("NO_COLOR")
    assert not markdown.terminal().no_color


@pytest.fixture
def rich(monkeypatch):
    out = console(60, 30)
    monkeypatch.setattr(markdown, "terminal", lambda: out)

    def screen():
        return Screen(30).feed(out.file.getvalue()).text

    return RichDisplay(), screen


def test_a_vote_is_shown_while_it_runs_and_gone_when_it_is_held(rich, capsys):
    display, screen = rich
    display.begin()
    display.vote(Progress(3, 8, Vote("42", 2), "small:think"))
    assert screen() == "3 of 8 samples · 2 for 42 · small:think"
    display.note("two are left out")
    display.end(answer("It is\n\n42", votes=[("42", 7), ("41", 1)], samples=8), stopped=False)
    assert screen() == "two are left out\nIt is\n\n42"
    assert capsys.readouterr().out == "\n=> 42\nsmall:think · 7 of 8 votes · 8 of 8 samples · 2.0 s\n\n"


def test_streamed_text_is_drawn_once(rich, capsys):
    display, screen = rich
    display.begin()
    display.piece("Good ")
    display.piece("day.")
    display.end(answer("Good day."), stopped=False)
    assert screen() == "Good day."
    assert capsys.readouterr().out == "small:think · 1 sample · 2.0 s\n\n"
    display.begin()
    display.end(None, stopped=True)
    assert capsys.readouterr().out == "stopped\n\n"


def test_the_quiet_line_can_be_left_out(capsys):
    for display in (RichDisplay(quiet=True), PlainDisplay(quiet=True)):
        display.begin()
        display.end(answer("Good day."), stopped=False)
        assert "small:think" not in capsys.readouterr().out


def test_plain_text_is_written_as_it_comes_and_the_rest_to_standard_error(capsys):
    display = PlainDisplay()
    display.begin()
    display.vote(Progress(1, 8, None, "m"))
    display.piece("**Good** \x1b[31m")
    assert capsys.readouterr().out == "**Good** \x1b[31m"  # piped: it is as it is
    display.piece("day.")
    display.end(answer("**Good** day."), stopped=False)
    display.say("said")
    display.note("noted")
    display.show_error(AvengersError("wrong\nhere"))
    heard = capsys.readouterr()
    assert heard.out == "day.\n"
    assert heard.err == "small:think · 1 sample · 2.0 s\nsaid\nnoted\navengers: wrong here\n"
    display.begin()
    display.end(answer("Answer: 42", votes=[("42", 1)]), stopped=False)
    assert capsys.readouterr().out == "Answer: 42\n\n=> 42\n"


def test_the_quiet_line_says_when_an_answer_is_not_whole():
    assert summary(answer("x", reason="length"), tokens=False).endswith("· cut off at the token limit")
    assert summary(answer("x", reason="cancelled"), stopped=True).endswith("· stopped")
    assert summary(answer("x", reason="length")).endswith("· cut off at the token limit")
    assert "cut off" not in summary(answer("x"))


THOUGHT = "<think>\nFour and three, so seven.\n</think>\n\n"


def test_a_thought_is_one_quiet_line_while_it_lasts_and_then_gone(rich, capsys):
    display, screen = rich
    display.begin()
    display.thought("Four and\nthree, \x1b[31m" * 20)
    display.thought("so seven.")
    assert re.fullmatch(r"thinking … .{10,40}so seven\.", screen())
    display.piece("It is 7.")
    display.end(answer(f"{THOUGHT}It is 7."), stopped=False)
    assert screen() == "It is 7."
    assert capsys.readouterr().out == "small:think · 1 sample · 2.0 s · thought for 7 words\n\n"


def test_a_thought_is_not_part_of_the_answer_that_is_shown(rich, capsys):
    voted = answer(f"{THOUGHT}It is 7.", votes=[("7", 3)], samples=3)
    display, screen = rich
    display.begin()
    display.end(voted, stopped=False)
    assert screen() == "It is 7."
    plain = PlainDisplay()
    plain.begin()
    plain.thought("Hm.")
    plain.end(voted, stopped=False)
    assert capsys.readouterr().out.endswith("\nIt is 7.\n\n=> 7\n")
    assert shown(answer(f"{THOUGHT}7", votes=[("7", 3)], samples=3)) == "7"


def test_the_quiet_line_says_when_there_was_no_answer_but_a_thought():
    assert summary(answer("<think>\nHm, and", reason="length")).endswith(
        "· thought for 3 words · cut off at the token limit, while it still thought"
    )
    assert summary(answer("", reason="length")).endswith("2.0 s · cut off at the token limit")


def test_a_tie_is_not_shown_like_a_win():
    tied, won = (("5", 2), ("3", 2), ("1", 1)), (("5", 3), ("3", 2))
    assert "2 of 5 votes · a tie, so the first of them" in summary(answer("5", votes=tied, samples=5))
    assert "tie" not in summary(answer("5", votes=won, samples=5))


def test_lines_about_a_vote_fit_and_steer_nothing(monkeypatch):
    monkeypatch.setenv("COLUMNS", "20")
    line = fitted(vote_line(Progress(1, 8, Vote("素\x1b[2J" * 30, 1), "m")))
    assert columns(line) <= 19
    assert "\x1b" not in line
    monkeypatch.setattr("avengers_edge.cli.terminal.on_terminal", lambda: True)
    assert error_line("no vote was held on it: set /samples") == "avengers: no vote\nwas held on it: set\n/samples"
    assert "\x1b" not in error_line("\x1b[2J")


def test_a_terminal_that_cannot_redraw_gets_plain_text(monkeypatch):
    monkeypatch.setattr("avengers_edge.cli.chat.chat_display.on_standard_output", lambda: True)
    assert can_redraw({"TERM": "xterm"})
    assert not can_redraw({"TERM": "dumb"})
    monkeypatch.setattr("avengers_edge.cli.chat.chat_display.on_standard_output", lambda: False)
    assert not can_redraw({"TERM": "xterm"})
