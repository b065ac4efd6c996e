"""The `avengers` command: global options, and the one place where an error becomes a line and an exit code."""

from __future__ import annotations

import contextlib
import errno
import io
import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn, TextIO

import click

from avengers_edge import __version__
from avengers_edge.cli.completion import VARIABLE as COMPLETION_VARIABLE
from avengers_edge.cli.completion import complete
from avengers_edge.cli.lazily import LazyCommands
from avengers_edge.cli.session import Session
from avengers_edge.errors import INTERRUPTED_EXIT_CODE, AvengersError, BadRequest

_LINE_HEAD, _LINE_TAIL = 320, 180
_UNPRINTED = {errno.ENOSPC: "no space left on device", errno.EBADF: "it is closed"}
# click 8.1 has no such error: it prints the help itself.
_NO_SUBCOMMAND = getattr(click.exceptions, "NoArgsIsHelpError", ())


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
        if COMPLETION_VARIABLE in os.environ:
            complete(self)
        options["standalone_mode"] = False
        with _noted_interrupts() as interrupts:
            try:
                code = super().main(args, *rest, **options)
            except (_Interrupted, KeyboardInterrupt, click.Abort) as error:
                fail("interrupted", INTERRUPTED_EXIT_CODE, error)
            except Exception as error:
                if interrupts:  # an import that is interrupted may end in any error
                    fail("interrupted", INTERRUPTED_EXIT_CODE, error)
                fail(*_verdict(error), error)
        sys.exit(code if isinstance(code, int) else 0)


@contextlib.contextmanager
def _noted_interrupts() -> Iterator[list[int]]:
    """Note each Ctrl-C before it is raised, because code in C may turn a KeyboardInterrupt into an error of its own."""
    heard: list[int] = []
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or before is not signal.default_int_handler:
        yield heard
        return

    def note(number: int, frame: FrameType | None) -> None:
        heard.append(number)
        signal.default_int_handler(number, frame)

    signal.signal(signal.SIGINT, note)
    try:
        yield heard
    finally:
        signal.signal(signal.SIGINT, before)


def _verdict(error: Exception) -> tuple[str, int]:
    """Choose the message and the exit code of an error."""
    if isinstance(error, AvengersError):
        return str(error), error.exit_code
    if isinstance(error, click.UsageError):
        where = f" (see `{error.ctx.command_path} --help`)" if error.ctx else ""
        missing = isinstance(error, _NO_SUBCOMMAND)  # its own message is the whole help
        return ("name a subcommand" if missing else error.format_message()) + where, error.exit_code
    if isinstance(error, click.ClickException):
        return error.format_message(), error.exit_code
    if isinstance(error, OSError) and error.errno in _UNPRINTED and error.filename is None:
        # Whoever writes a file answers for a full disk himself; what is left is what the command prints.
        return f"standard output cannot be written: {_UNPRINTED[error.errno]}", 1
    return f"unexpected {type(error).__name__}: {error}; run it again with -v and report it", 1


def fail(message: str, code: int, error: BaseException) -> NoReturn:
    """End with one line on standard error; with -v the traceback comes first.

    File names and what servers say are in it, so nothing in it may steer the terminal, and its middle is cut out
    where it is long: what happened stands first, what to do last.
    """
    if logging.getLogger("avengers_edge").isEnabledFor(logging.DEBUG):
        traceback.print_exception(error)
    line = "".join(letter if letter.isprintable() else "?" for letter in " ".join(message.split()))
    if len(line) > _LINE_HEAD + _LINE_TAIL:
        line = f"{line[:_LINE_HEAD]} … {line[-_LINE_TAIL:]}"
    with contextlib.suppress(OSError):  # the exit code says it where standard error cannot be written
        click.echo(f"avengers: {line}", err=True)
    for stream in (sys.stdout, sys.stderr):
        _let_go(stream)
    sys.exit(code)


def _let_go(stream: TextIO | None) -> None:
    """Drop what a stream holds and cannot write: trying again at exit, Python would complain and change the code."""
    if stream is None:  # it was closed before we began
        return
    try:
        stream.flush()
    except OSError:
        with contextlib.suppress(OSError, ValueError), Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), stream.fileno())


def closed_stream() -> TextIO:
    """Make a stream that fails as a closed one does when it is written, where Python has None and drops all words.

    It takes the free descriptor, so that no file that is opened later gets what a library prints there.
    """
    return open(os.open(os.devnull, os.O_RDONLY), "w", encoding="utf-8", closefd=False)


def folder(said: str) -> Path:
    """Turn the word into a folder; an empty one would be the current folder."""
    if not said:
        raise BadRequest("--home is empty: name a folder")
    return Path(said)


@click.group(cls=AvengersGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--home", type=folder, metavar="PATH", help="Folder for models and settings (AVENGERS_HOME).")
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


cli.commands = LazyCommands(
    {
        "ask": "avengers_edge.cli.ask",
        "batch": "avengers_edge.cli.batch",
        "bench": "avengers_edge.cli.bench",
        "bundle": "avengers_edge.cli.bundle",
        "calibrate": "avengers_edge.cli.calibrate",
        "chat": "avengers_edge.cli.chat.command",
        "chats": "avengers_edge.cli.chats",
        "completion": "avengers_edge.cli.completion",
        "doctor": "avengers_edge.cli.doctor",
        "models": "avengers_edge.cli.models",
        "route": "avengers_edge.cli.ask",
        "serve": "avengers_edge.cli.serve",
        "setup": "avengers_edge.cli.models",
        "team": "avengers_edge.cli.team",
    }
)


def main() -> None:
    """Run the command line."""
    if sys.stdout is None:
        sys.stdout = closed_stream()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal that lacks a character still gets the rest
    cli.main(prog_name="avengers")
