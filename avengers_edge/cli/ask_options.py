"""The options that say how to answer, for every command that asks: read together, made into one `Ask`."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import click

from avengers_edge.cli.names import complete_members
from avengers_edge.cli.reading import as_text, read_text_file
from avengers_edge.records import KINDS, Ask, EarlyStop

_FILE = click.Path(path_type=Path)


def parse_samples(_context: click.Context, parameter: click.Parameter, word: str) -> int | None:
    """Turn the word into a number; `auto` into None."""
    try:
        return None if word == "auto" else int(word)
    except ValueError:
        raise click.BadParameter(f"{word!r} is neither a number nor auto", param=parameter) from None


_OPTIONS: tuple[Callable[[Any], Any], ...] = (
    click.option(
        "-n",
        "--samples",
        metavar="N|auto",
        default="auto",
        show_default=True,
        callback=parse_samples,
        help="How many samples; auto: as many as were measured to pay.",
    ),
    click.option(
        "--model", "member", shell_complete=complete_members, help="Ask this model or member only: no routing."
    ),
    click.option("--system", help="System prompt."),
    click.option("--max-tokens", type=click.IntRange(min=1), help="Longest sample."),
    click.option("--temperature", type=float, help="0 is greedy; left out, the team decides (starter: 0.4)."),
    click.option("--top-p", type=float, help="Draw from the likeliest tokens of this total probability."),
    click.option("--top-k", type=int, help="Draw from this many likeliest tokens, 0 from all."),
    click.option(
        "--min-p",
        type=float,
        help="Leave out tokens less likely than this share of the likeliest, 0 none.",
    ),
    click.option("--repeat-penalty", type=float, help="Divides the logits of repeated tokens, 1 is off."),
    click.option(
        "--frequency-penalty",
        type=float,
        help="Taken off a token's logit for each time it was used, 0 is off.",
    ),
    click.option(
        "--presence-penalty",
        type=float,
        help="Taken off the logits of tokens that were used, 0 is off.",
    ),
    click.option(
        "--stop",
        multiple=True,
        metavar="TEXT",
        help="End a sample before this text; can be given again.",
    ),
    click.option("--grammar", type=_FILE, metavar="FILE", help="A GBNF grammar that every sample has to follow."),
    click.option(
        "--schema",
        type=_FILE,
        metavar="FILE",
        help="A JSON schema: every sample is JSON that follows it.",
    ),
    click.option(
        "--tests",
        type=_FILE,
        metavar="FILE",
        help="Python asserts: the answer is code that passes them.",
    ),
    click.option("--seed", type=int, help="The same seed gives the same answer on the same machine."),
    click.option(
        "--early-stop",
        type=click.Choice(get_args(EarlyStop)),
        default="exact",
        show_default=True,
        help="When sampling may end: when no sample could change the answer, when that is unlikely, or never.",
    ),
    click.option(
        "--switch-below",
        type=float,
        metavar="SHARE",
        help="Ask the second-ranked member too, however weak, if fewer of the first one's samples agree; 0 is never.",
    ),
    click.option(
        "--kind",
        type=click.Choice(["auto", *KINDS]),
        default="auto",
        show_default=True,
        help="What is asked for.",
    ),
    click.option("--prefer", type=float, default=1.0, show_default=True, help="1 is accuracy, 0 is speed."),
)


def ask_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command these options, and what they said as its parameter `options`, an `Ask`."""

    @functools.wraps(command)
    def with_options(*arguments: Any, **said: Any) -> None:  # noqa: ANN401 - click's own calling convention
        fields = {field.name: said.pop(field.name) for field in dataclasses.fields(Ask) if field.name in said}
        command(*arguments, options=_ask_of(fields), **said)

    for option in reversed(_OPTIONS):
        with_options = option(with_options)
    return with_options


def _ask_of(said: dict[str, Any]) -> Ask:
    """Make an `Ask`; files are read.

    Raises:
        BadRequest: a value that cannot be used, or a file that cannot be read.
        NotFound: a file that is not there.

    """
    for name, what in {"grammar": "a grammar", "schema": "a JSON schema", "tests": "tests"}.items():
        said[name] = None if said[name] is None else read_text_file(said[name], what)
    said["system"] = None if said["system"] is None else as_text(said["system"], "the system prompt")
    said["stop"] = tuple(as_text(text, "a stop string") for text in said["stop"]) or None
    said["kind"] = None if said["kind"] == "auto" else said["kind"]
    return Ask(**said)
