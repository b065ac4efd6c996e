"""The README is true: every command, option and exit code it names exists."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import click
import pytest

from avengers_edge import __version__
from avengers_edge.cli.main import cli

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def commands(group, path="avengers"):
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from commands(command, f"{path} {name}")
        else:
            yield f"{path} {name}", command


def test_every_command_is_in_the_readme():
    for path, _ in commands(cli):
        program, *rest = path.split()
        # A group's commands stand in one row, separated by commas.
        assert re.search(rf"`{program} {rest[0]}\b[^`]*\b{rest[-1]}\b" if rest[1:] else rf"`{path}\b", README), path


def test_every_option_of_ask_is_in_the_readme():
    (ask,) = [command for path, command in commands(cli) if path == "avengers ask"]
    for parameter in ask.params:
        for option in parameter.opts:
            if option.startswith("--") and option != "--help":
                assert option in README, option


def test_the_command_reference_is_what_the_commands_say():
    script = runpy.run_path(str(ROOT / "scripts" / "command_reference.py"))
    assert script["reference"]() in README, "run scripts/command_reference.py"
    assert "...." not in script["reference"]()


@pytest.mark.parametrize(
    ("path", "command"), list(commands(cli)), ids=lambda each: each if isinstance(each, str) else ""
)
def test_every_command_shows_an_example_in_its_help(path, command):
    assert re.search(rf"^ .*\b{path}\b", command.help or "", re.MULTILINE), f"{path} --help has no example"
    short = command.help.split("\n\n")[0]
    assert short.endswith("."), short


def test_every_option_explains_itself():
    for path, command in commands(cli):
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                assert parameter.help, f"{path} {parameter.opts}"


def test_every_script_in_the_readme_is_there():
    for name in re.findall(r"(?:benchmarks|evals|scripts)/[a-z_]+(?:\.(?:py|sh))?", README):
        assert (ROOT / name).exists(), name


def test_the_newest_changelog_entry_is_this_version():
    (first, *_) = (
        name
        for name in re.findall(r"^## \[([^\]]+)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
        if name != "Unreleased"
    )
    assert first == __version__


def test_no_place_is_left_to_be_filled_in():
    assert "@@" not in README
