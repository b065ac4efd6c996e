"""Options that take several values at once: `--outcomes a.jsonl b.jsonl`."""

from __future__ import annotations

import click


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
