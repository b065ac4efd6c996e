"""Options of several commands: the team, how to answer (made into one `Ask`), several values, names, `auto`."""

from __future__ import annotations

import dataclasses
import functools
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, get_args

import click

from avengers_edge.cli.completion import complete_members, complete_teams
from avengers_edge.cli.question_input import as_text, read_text_file
from avengers_edge.records import KINDS, Ask, EarlyStop

_FILE = click.Path(path_type=Path)


def parse_number(
    _context: click.Context, parameter: click.Parameter, value: str | None
) -> int | Literal["auto"] | None:
    """Parse `N|auto`; an option that was not given is None."""
    if value is None or value == "auto":
        return None if value is None else "auto"
    try:
        return int(value)
    except ValueError:
        raise click.BadParameter(f"{value!r} is neither a number nor auto", param=parameter) from None


def parse_samples(context: click.Context, parameter: click.Parameter, value: str) -> int | None:
    """Parse a number of samples; `auto` is None."""
    number = parse_number(context, parameter, value)
    return number if isinstance(number, int) else None


def parse_names(_context: click.Context, _parameter: click.Parameter, value: str | None) -> tuple[str, ...] | None:
    """Split names at commas."""
    return None if value is None else tuple(name for name in (part.strip() for part in value.split(",")) if name)


class SeveralValues(click.Command):
    """A command without arguments, whose repeatable options can also be given once with several values after them."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Repeat the option before each further value, then parse as click does."""
        options = [parameter for parameter in self.params if isinstance(parameter, click.Option)]
        repeatable = {name for option in options if option.multiple for name in option.opts}
        spelled: list[str] = []
        current: str | None = None
        for word in args:
            if word.startswith("-") and word != "-":
                current = word if word in repeatable else None
            elif current is not None and spelled[-1] != current:  # else it is the first value
                spelled.append(current)
            spelled.append(word)
        return super().parse_args(ctx, spelled)


team_option = click.option("--team", shell_complete=complete_teams, help="Team that answers (default: the one in use).")
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
prefer_option = click.option(
    "--prefer", type=float, default=1.0, help="Quality weight of routing: 1 accuracy, 0 speed."
)
member_option = click.option(
    "--model", "member", shell_complete=complete_members, help="Model or member to ask instead of routing."
)
samples_option = click.option(
    "-n",
    "--samples",
    metavar="N|auto",
    default="auto",
    callback=parse_samples,
    help="Number of samples; auto: the calibrated number for this kind of question.",
)

_ASK_OPTIONS: tuple[Callable[[Any], Any], ...] = (
    samples_option,
    member_option,
    click.option("--system", help="System prompt."),
    click.option("--max-tokens", type=click.IntRange(min=1), help="Token limit of a sample."),
    click.option(
        "--temperature", type=float, help="Sampling temperature, 0 is greedy (default: the team's; starter 0.4)."
    ),
    click.option("--top-p", type=float, help="Total probability of the tokens to sample from (nucleus)."),
    click.option("--top-k", type=int, help="Number of most likely tokens to sample from, 0 for all."),
    click.option(
        "--min-p", type=float, help="Least probability of a token, relative to the most likely one; 0 is off."
    ),
    click.option("--repeat-penalty", type=float, help="Divisor of the logits of repeated tokens, 1 is off."),
    click.option("--frequency-penalty", type=float, help="Subtracted from a token's logit for each use, 0 is off."),
    click.option("--presence-penalty", type=float, help="Subtracted from the logits of used tokens, 0 is off."),
    click.option("--stop", multiple=True, metavar="TEXT", help="Stop string, before which a sample ends; repeatable."),
    click.option("--grammar", type=_FILE, metavar="FILE", help="GBNF grammar that every sample follows."),
    click.option(
        "--schema",
        metavar="FILE|JSON|FIELDS",
        help='JSON schema that every sample follows: a file, the schema itself, or fields like "name, age int".',
    ),
    click.option("--tests", type=_FILE, metavar="FILE", help="Python asserts to test the code of the answer with."),
    click.option("--seed", type=int, help="Random seed: the same seed gives the same answer on the same machine."),
    click.option(
        "--early-stop",
        type=click.Choice(get_args(EarlyStop)),
        default="exact",
        help="End sampling when no sample can change the answer (exact), when that is unlikely, or never.",
    ),
    click.option(
        "--switch-below",
        type=float,
        metavar="SHARE",
        help="Agreement of the first member's samples below which the second-ranked member is asked too; 0 is never.",
    ),
    click.option(
        "--kind",
        type=click.Choice(["auto", *KINDS]),
        default="auto",
        help="Kind of answer; auto: inferred from the question.",
    ),
    prefer_option,
)


def ask_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of how to answer to a command, which gets them as its parameter `options`, an `Ask`."""

    @functools.wraps(command)
    def with_options(*arguments: Any, **values: Any) -> None:  # noqa: ANN401 - click's own calling convention
        fields = {field.name: values.pop(field.name) for field in dataclasses.fields(Ask) if field.name in values}
        command(*arguments, options=_ask_of(fields), **values)

    for option in reversed(_ASK_OPTIONS):
        with_options = option(with_options)
    return with_options


_FIELD_TYPES = {"str": "string", "int": "integer", "float": "number", "bool": "boolean"}
_FIELD = re.compile(rf"(\w+)(?:[ :]+({'|'.join(_FIELD_TYPES)}))?")


def _schema_of(said: str) -> str:
    """Return a JSON schema: the text itself, that of a file, or one of an object with the fields that are listed."""
    if said.lstrip().startswith("{"):
        return said
    fields = [_FIELD.fullmatch(part.strip()) for part in said.split(",")]
    if Path(said).exists() or not all(fields) or (len(fields) == 1 and fields[0] and not fields[0][2]):
        return read_text_file(Path(said), "a JSON schema")
    types = {found[1]: {"type": _FIELD_TYPES[found[2] or "str"]} for found in fields if found}
    whole = {"type": "object", "properties": types, "required": list(types), "additionalProperties": False}
    return json.dumps(whole)


def _ask_of(values: dict[str, Any]) -> Ask:
    for name, what in {"grammar": "a grammar", "tests": "tests"}.items():
        values[name] = None if values[name] is None else read_text_file(values[name], what)
    values["schema"] = None if values["schema"] is None else _schema_of(values["schema"])
    values["system"] = None if values["system"] is None else as_text(values["system"], "the system prompt")
    values["stop"] = tuple(as_text(text, "a stop string") for text in values["stop"]) or None
    values["kind"] = None if values["kind"] == "auto" else values["kind"]
    return Ask(**values)
