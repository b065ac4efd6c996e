"""Writes the command reference of the README between its two marks, from the commands themselves.

python scripts/command_reference.py            write it
python scripts/command_reference.py --check    only say whether it is up to date (exit code 1 if not)
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from avengers_edge.cli.main import cli

README = Path(__file__).resolve().parent.parent / "README.md"
BEGIN = "<!-- the commands: written by scripts/command_reference.py, do not edit -->"
END = "<!-- the commands end here -->"
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
    """Write the whole section: a table of the commands, then each one's options."""
    rows = [f"| {_code(_call(path, command))} | {_cell(_first_line(command))} |" for path, command in commands(cli)]
    details = [line for path, command in commands(cli) for line in _options(path, command)]
    table = ["| command | does |", "|---|---|", *rows]
    global_options = [line for parameter in cli.params for line in _option(parameter)]
    return "\n".join(
        [
            BEGIN,
            "",
            *table,
            "",
            "<details><summary>Options of every command</summary>",
            "",
            "**avengers**, before the command:",
            "",
            *global_options,
            *details,
            "",
            "</details>",
            "",
            END,
        ]
    )


def replaced(text: str) -> str:
    """Put the section into a README.

    Raises:
        ValueError: the marks are not there, once each and in this order.

    """
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise ValueError(f"{README.name} needs the two marks once each: {BEGIN} and {END}")
    return text[: text.index(BEGIN)] + reference() + text[text.index(END) + len(END) :]


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
    return ["", f"**{path}**", "", *lines] if lines else []


def _option(parameter: click.Parameter) -> list[str]:
    if not isinstance(parameter, click.Option) or parameter.hidden:
        return []
    names = ", ".join([*parameter.opts, *parameter.secondary_opts])
    value = "" if parameter.is_flag else f" {_value(parameter)}"
    default = f" (default: {parameter.default})" if parameter.show_default and not parameter.is_flag else ""
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
    # What Markdown or HTML would take for its own.
    return re.sub(r"([<*_])", r"\\\1", " ".join((text or "").split()))


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _code(text: str) -> str:
    return f"`{text}`"


def main() -> int:
    """Write the section, or compare it; give the exit code."""
    text = README.read_text(encoding="utf-8")
    wanted = replaced(text)
    if "--check" in sys.argv[1:]:
        print("up to date" if wanted == text else "out of date: run scripts/command_reference.py")
        return int(wanted != text)
    README.write_text(wanted, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
