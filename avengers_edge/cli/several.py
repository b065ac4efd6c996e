"""What the `calibrate` commands share: options that take several values at once, `--outcomes a.jsonl b.jsonl`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click
from click.core import ParameterSource

from avengers_edge.cli.terminal import StatusLine


class SeveralValues(click.Command):
    """A command without arguments, whose repeatable options can also be given once with several values after them."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Repeat the option before each further value, then parse as click does."""
        repeatable = {
            name
            for parameter in self.params
            if isinstance(parameter, click.Option) and parameter.multiple
            for name in parameter.opts
        }
        spelled: list[str] = []
        current: str | None = None
        waiting = False  # for an option's own first value
        for word in args:
            if word.startswith("-") and word != "-":
                current, waiting = (word, True) if word in repeatable else (None, False)
            elif current is not None:
                if not waiting:
                    spelled.append(current)
                waiting = False
            spelled.append(word)
        return super().parse_args(ctx, spelled)


def is_given(name: str) -> bool:
    """Tell whether an option of the command that runs was said, and is not its default."""
    return click.get_current_context().get_parameter_source(name) not in (None, ParameterSource.DEFAULT)


def names(_context: click.Context, _parameter: click.Parameter, said: str | None) -> tuple[str, ...] | None:
    """Split names at commas."""
    return None if said is None else tuple(name for name in (part.strip() for part in said.split(",")) if name)


def embedding(status: StatusLine) -> Callable[[int, int], None]:
    """Show how many questions are embedded."""
    return lambda done, total: status.show(f"embedding {done} of {total} questions")


questions_option = click.option(
    "--questions", multiple=True, metavar="FILE...", help="Question files they come from, where rows have no prompt."
)
outcomes_option = click.option(
    "--outcomes",
    multiple=True,
    required=True,
    type=click.Path(path_type=Path),
    metavar="FILE...",
    help="Outcome files.",
)
members_option = click.option("--members", callback=names, metavar="A,B", help="Only these, in this order.")
