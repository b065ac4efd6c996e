"""Slash commands as they are read and completed: none is missing, and nothing typed is ever lost to one by accident."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avengers_edge.cli.chat.slash_commands import COMMANDS, Actions, completes, help_text, names, parse
from avengers_edge.errors import BadRequest


def test_every_command_of_the_issue_is_there_does_something_and_is_explained():
    wanted = ["help", "model", "team", "system", "samples", "regen", "why", "votes", "read", "save", "load", "clear"]
    wanted += ["undo", "copy", "exit"]
    assert [command.name for command in COMMANDS] == wanted
    assert all(hasattr(Actions, f"_{name}") for name in wanted if name != "exit")
    helped = " ".join(help_text().split())
    assert all(f"{command.usage} " in helped and command.does in helped for command in COMMANDS)


def test_help_breaks_between_words_on_a_narrow_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    assert max(map(len, help_text().split("\n"))) <= 40
    assert "\n/undo                remove the last\n" in help_text()


@pytest.mark.parametrize(
    ("line", "read"),
    [
        ("/help", ("help", "")),
        ("/HELP  ", ("help", "")),
        ("/?", ("help", "")),
        ("/quit", ("exit", "")),
        ("/read  my notes.txt ", ("read", "my notes.txt")),
        ("/system You are\nbrief.", ("system", "You are\nbrief.")),
        ("hello", None),
        ("", None),
        ("/", None),
        (" /help", None),
        ("/usr/bin/env is what?", None),
        ("/etc/passwd", None),
        ("1/2 is what?", None),
    ],
)
def test_a_line_is_a_command_or_something_to_say(line, read):
    assert parse(line) == read


@pytest.mark.parametrize(("typed", "meant"), [("modle", "model"), ("hepl", "help"), ("vote", "votes"), ("qit", "exit")])
def test_an_unknown_command_is_answered_with_the_nearest_one(typed, meant):
    with pytest.raises(BadRequest, match=f"no command /{typed}: did you mean /{meant}\\?"):
        parse(f"/{typed} x")


@given(st.text())
def test_whatever_is_typed_is_a_command_speech_or_one_line_of_complaint(line):
    try:
        read = parse(line)
    except BadRequest as error:
        assert "\n" not in str(error)
    else:
        assert read is None or read[0] in {command.name for command in COMMANDS}


def test_names_are_completed_from_their_beginning():
    assert [command.name for command in names("/s")] == ["system", "samples", "save"]
    assert len(names("/")) == len(COMMANDS)
    assert names("s") == names("/read x") == names("") == ()


def test_what_follows_a_command_is_completed_as_its_kind():
    assert completes("/read ~/do") == ("files", "~/do")
    assert completes("/model sm") == ("members", "sm")
    assert completes("/models sm") == ("members", "sm")
    assert completes("/team ") == ("teams", "")
    assert completes("/nothing x") is None
    assert completes("/read") is completes("what /read x") is None
