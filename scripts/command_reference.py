"""Writes docs/cli.md, the reference of all commands, from their own help texts.

python scripts/command_reference.py            write it
python scripts/command_reference.py --check    only report whether it is up to date (exit code 1 if not)
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from avengers_edge.cli.root_command import cli

PAGE = Path(__file__).resolve().parent.parent / "docs" / "cli.md"
HEAD = """# Commands

<!-- written by scripts/command_reference.py, do not edit -->

Written from `avengers --help`. Answers go to standard output, everything else to standard error; commands that return
data have `--json`. Exit codes are in [usage.md](usage.md#exit-codes).
"""
_MANY = 10
"""A command that shares more options than this with `ask` only names them."""


def commands(group: click.Group, path: str = "avengers") -> Iterator[tuple[str, click.Command]]:
    """Walk all commands that are not groups, by name."""
    context = click.Context(group)
    for name in sorted(group.list_commands(context)):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from commands(command, f"{path} {name}")
        else:
            yield f"{path} {name}", command


def reference() -> str:
    """Write the whole page: a table of the commands, then each one's options."""
    rows = [f"| {_code(_call(path, command))} | {_cell(_first_line(command))} |" for path, command in commands(cli)]
    global_options = [line for parameter in cli.params for line in _option(parameter)]
    details = [line for path, command in commands(cli) for line in _options(path, command)]
    head = ["## avengers", "", "Before the command:", "", *global_options]
    return "\n".join([HEAD, "| command | does |", "|---|---|", *rows, "", *head, *details, ""])


def _call(path: str, command: click.Command) -> str:
    words = [path]
    for parameter in command.params:
        if isinstance(parameter, click.Argument):
            name = (parameter.metavar or parameter.name or "").upper().removesuffix("...")
            name += "..." if parameter.nargs == -1 else ""
            words.append(name if parameter.required else f"[{name}]")
    return " ".join(words)


def _options(path: str, command: click.Command) -> list[str]:
    lines = [line for parameter in command.params for line in _option(parameter)]
    usual = dict(commands(cli))["avengers ask"]
    shared = [line for line in lines if line in {line for parameter in usual.params for line in _option(parameter)}]
    if command is not usual and len(shared) > _MANY:
        names = ", ".join(line.partition(":")[0].removeprefix("- ") for line in shared)
        lines = [*(line for line in lines if line not in shared), f"- as for `avengers ask`: {names}"]
    return ["", f"## {path}", "", *lines] if lines else []


def _option(parameter: click.Parameter) -> list[str]:
    if not isinstance(parameter, click.Option) or parameter.hidden:
        return []
    names = ", ".join([*parameter.opts, *parameter.secondary_opts])
    value = "" if parameter.is_flag else f" {_value(parameter)}"
    given = isinstance(parameter.default, str | int | float) and not parameter.is_flag
    default = f" (default: {parameter.default})" if given else ""
    return [f"- {_code(names + value)}: {_text(parameter.help)}{default}"]


def _value(parameter: click.Option) -> str:
    if parameter.metavar:
        return parameter.metavar
    if isinstance(parameter.type, click.Choice):
        return "|".join(map(str, parameter.type.choices))
    return {"integer": "N", "integer range": "N", "float": "X", "path": "PATH"}.get(parameter.type.name, "TEXT")


def _first_line(command: click.Command) -> str:
    return _text(inspect.cleandoc(command.help or "").split("\n\n")[0])


def _text(text: str | None) -> str:
    # Markdown and HTML have a use for these characters.
    return re.sub(r"([<*_])", r"\\\1", " ".join((text or "").split()))


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _code(text: str) -> str:
    return f"`{text}`"


def main() -> int:
    """Write the page, or compare it; return the exit code."""
    wanted = reference()
    if "--check" in sys.argv[1:]:
        current = PAGE.exists() and PAGE.read_text(encoding="utf-8") == wanted
        print("up to date" if current else f"{PAGE.name} is out of date: run scripts/command_reference.py")
        return int(not current)
    PAGE.write_text(wanted, encoding="utf-8", newline="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
