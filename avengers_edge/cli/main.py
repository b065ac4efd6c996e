"""The `avengers` command: global options, and the one place where an error becomes a line and an exit code."""

from __future__ import annotations

import io
import logging
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import click

from avengers_edge import __version__
from avengers_edge.cli.ask import ask, route
from avengers_edge.cli.doctor import doctor
from avengers_edge.cli.models import models, setup
from avengers_edge.cli.session import Session
from avengers_edge.cli.team import team
from avengers_edge.errors import INTERRUPTED_EXIT_CODE, AvengersError


class _Interrupted(Exception):
    """Ctrl-C, under a name that click does not answer with a line of its own."""


class AvengersGroup(click.Group):
    """A group whose errors are one line on standard error, with the exit code of their type."""

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401
        """Run the command; the signature is click's."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            raise _Interrupted from error

    def main(self, args: Sequence[str] | None = None, *rest: Any, **options: Any) -> NoReturn:  # noqa: ANN401
        """Run a command and exit; the signature is click's."""
        options["standalone_mode"] = False
        try:
            code = super().main(args, *rest, **options)
        except (_Interrupted, KeyboardInterrupt, click.Abort) as error:
            fail("interrupted", INTERRUPTED_EXIT_CODE, error)
        except AvengersError as error:
            fail(str(error), error.exit_code, error)
        except click.UsageError as error:
            where = f" (see `{error.ctx.command_path} --help`)" if error.ctx else ""
            fail(error.format_message() + where, error.exit_code, error)
        except click.ClickException as error:
            fail(error.format_message(), error.exit_code, error)
        except Exception as error:
            fail(f"unexpected {type(error).__name__}: {error}; run it again with -v and report it", 1, error)
        sys.exit(code if isinstance(code, int) else 0)


def fail(message: str, code: int, error: BaseException) -> NoReturn:
    """End with one line on standard error; with -v the traceback comes first."""
    if logging.getLogger("avengers_edge").isEnabledFor(logging.DEBUG):
        traceback.print_exception(error)
    line = " ".join(message.split())
    click.echo(f"avengers: {line}", err=True)
    sys.exit(code)


@click.group(cls=AvengersGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--home", type=click.Path(path_type=Path), help="Folder for models and settings (AVENGERS_HOME).")
@click.option("--offline", is_flag=True, help="Refuse everything that would need the network (AVENGERS_OFFLINE=1).")
@click.option("-v", "--verbose", is_flag=True, help="Log to standard error, and show tracebacks.")
@click.version_option(__version__, prog_name="avengers")
@click.pass_context
def cli(context: click.Context, home: Path | None, offline: bool, verbose: bool) -> None:
    """Make a team of small local models answer like a big one: route, sample, vote. Nothing leaves this machine.

    \b
    Start with:
      avengers setup
      avengers ask "A train travels 60 km in 45 minutes. What is its average speed in km/h?"
    """
    if verbose:
        logging.basicConfig(format="%(name)s: %(message)s", stream=sys.stderr)
        logging.getLogger("avengers_edge").setLevel(logging.DEBUG)
    context.obj = Session(home, offline)


for command in (ask, route, setup, models, team, doctor):
    cli.add_command(command)


def main() -> None:
    """Run the command line; the entry point of `avengers`."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal that lacks a character still gets the rest
    cli.main(prog_name="avengers")
