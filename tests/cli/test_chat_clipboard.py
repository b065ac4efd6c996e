"""The clipboard, and lines that are piped in."""

from __future__ import annotations

import base64
import io
import os
import sys

import pytest

from avengers_edge.cli.chat import chat_loop as reader
from avengers_edge.cli.chat.chat_loop import LineReader
from avengers_edge.cli.chat.slash_commands import copy
from avengers_edge.errors import AvengersError, BadRequest

posix = pytest.mark.skipif(os.name == "nt", reason="the fake program is a shell script")


@pytest.fixture
def program(tmp_path, monkeypatch):
    """Puts a fake clipboard program on the path, and nothing else."""
    monkeypatch.setenv("PATH", str(tmp_path))

    def make(name, script):
        path = tmp_path / name
        path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        path.chmod(0o700)
        return path

    return make


@posix
def test_a_text_goes_to_the_systems_own_program(program, tmp_path):
    program("xclip", f"/bin/cat > {tmp_path}/copied")
    assert copy("héllo\n", {"DISPLAY": ":0"}) == "xclip"
    assert (tmp_path / "copied").read_text(encoding="utf-8") == "héllo\n"


@posix
def test_a_program_that_fails_is_passed_over_for_the_terminal(program, monkeypatch):
    program("xclip", "exit 1")
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr(sys, "stdout", terminal)
    assert copy("héllo", {"DISPLAY": ":0", "TERM": "xterm"}) == "the terminal, if it allows that"
    start, _, rest = terminal.getvalue().partition("52;c;")
    assert (start, rest[-1]) == ("\x1b]", "\a")
    assert base64.b64decode(rest[:-1]).decode() == "héllo"
    with pytest.raises(AvengersError, match="80000 bytes are too many"):
        copy("x" * 80_000, {"TERM": "xterm"})


def test_where_there_is_no_clipboard_that_is_one_line(program, monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    with pytest.raises(AvengersError, match="there is no clipboard here"):
        copy("x", {})


def read_all(content):
    lines, said = LineReader(io.BytesIO(content)), []
    while True:
        try:
            said.append(lines.read())
        except EOFError:
            return said
        except BadRequest as error:
            said.append(error)


def test_lines_end_as_any_system_ends_them_and_the_last_one_need_not_end():
    assert read_all(b"\xef\xbb\xbfone\r\ntwo\n\nthree") == ["one", "two", "", "three"]
    assert read_all(b"") == []


def test_marks_that_are_never_closed_hold_all_that_follows():
    assert read_all(b'"""one\ntwo') == ["one\ntwo"]
    assert read_all(b'"""one"""\ntwo') == ["one", "two"]
    assert read_all(b'"""\none\n"""\n') == ["one"]


def test_a_line_that_is_too_long_is_left_out_whole(monkeypatch):
    monkeypatch.setattr(reader, "_LONGEST_LINE", 10)
    first, error, last = read_all(b"short\n" + b"x" * 35 + b"\nshort")
    assert (first, last) == ("short", "short")
    assert "line 2 is longer than 10 bytes" in str(error)


def test_a_line_that_is_no_text_is_left_out():
    first, error, last = read_all(b"one\ntw\0o\nthree")
    assert (first, str(error), last) == ("one", "line 2 is not text: byte 2 is 0; it is left out", "three")
