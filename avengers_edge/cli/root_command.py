"""The `avengers` command: global options, and the one place where an error becomes a line and an exit code."""

from __future__ import annotations

import contextlib
import difflib
import errno
import importlib
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
from typing import TYPE_CHECKING, Any, NoReturn, TextIO

import click

from avengers_edge import __version__
from avengers_edge.cli.terminal import error_line, on_terminal
from avengers_edge.errors import INTERRUPTED_EXIT_CODE, AvengersError, BadRequest

if TYPE_CHECKING:
    from avengers_edge.cli.session import Session

_COMMANDS = {
    "advise": ("advise_command", "Advise which team suits this machine: memory and speed."),
    "ask": ("ask_command", "Route PROMPT, sample, vote, print the answer."),
    "batch": ("ask_command", "Answer the questions of FILE, one JSON object a line."),
    "bench": ("bench_command", "Measure the speed of MODEL on this machine."),
    "bundle": ("bundle_command", "Pack, verify and unpack teams for air-gapped machines."),
    "calibrate": ("calibrate_command", "Measure a team, fit its routing table, and evaluate it."),
    "chat": ("chat.chat_command", "Chat with a team."),
    "chats": ("chats_command", "List, search, show, export and delete stored conversations."),
    "completion": ("completion", "Print the completion script of SHELL."),
    "doctor": ("doctor_command", "Check this machine and installation."),
    "models": ("models_command", "Manage the model files in the store."),
    "route": ("ask_command", "Show which member would answer PROMPT, and why."),
    "serve": ("serve_command", "Serve OpenAI's, Anthropic's and Ollama's APIs, and a page."),
    "stop": ("serve_command", "Stop the running server; answers under way are finished first."),
    "setup": ("models_command", "Pull and verify the models of TEAM."),
    "team": ("team_command", "Make, change and show teams of models."),
}
"""The module of each command, below this package, and its help: a list of commands imports none of them."""

_ALIASES = {
    "run": ("chat",),
    "pull": ("models", "pull"),
    "list": ("models", "list"),
    "ls": ("models", "list"),
    "ps": ("doctor",),
    "rm": ("models", "remove"),
    "show": ("models", "show"),
    "find": ("models", "find"),
}
"""What users of Ollama and the like type, and the commands that they mean."""

_LINE_HEAD, _LINE_TAIL = 320, 180
_OUTPUT_ERRORS = {errno.ENOSPC: "no space left on device", errno.EBADF: "it is closed"}
# click 8.1 has no such error: it prints the help itself.
_NO_SUBCOMMAND = getattr(click.exceptions, "NoArgsIsHelpError", ())


class _Interrupted(Exception):
    """Ctrl-C, under a name that click does not answer with a line of its own."""


class AvengersGroup(click.Group):
    """The root group: commands are imported when they are named, and every error is one line with its exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - the signature is click's
        """Return the names of all commands."""
        return list(_COMMANDS)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read a question without a command as one for `ask`, and what Ollama calls otherwise; click's signature."""
        place = next((at for at, word in enumerate(args) if not word.startswith("-")), len(args))
        if place and args[place - 1] == "--home":
            place += 1
        before, word, after = args[:place], "".join(args[place : place + 1]), args[place + 1 :]
        if word == "run":
            args = [*before, *_run_words(after)]
        elif word in _ALIASES:
            args = [*before, *_ALIASES[word], *after]
        elif " " in word.strip():
            args = [*before, "ask", word, *after]
        return super().parse_args(ctx, args)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; one that does not exist is refused with the nearest one. The signature is click's."""
        if args and args[0] not in _COMMANDS and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], [*_COMMANDS, *_ALIASES], 1)
            hint = f"did you mean {near[0]!r}?" if near else f'to ask it: avengers ask "{args[0]}"'
            ctx.fail(f"there is no command {args[0]!r}: {hint}")
        return super().resolve_command(ctx, args)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import a command, which its module calls by the command's own name; None where there is none."""
        if cmd_name not in _COMMANDS:
            return None
        command = getattr(importlib.import_module(f"avengers_edge.cli.{_COMMANDS[cmd_name][0]}"), cmd_name)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the list of commands; the signature is click's."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in _COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401
        """Run the command; the signature is click's."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            raise _Interrupted from error

    def main(self, args: Sequence[str] | None = None, *rest: Any, **options: Any) -> NoReturn:  # noqa: ANN401
        """Run a command and exit; the signature is click's."""
        if "_AVENGERS_COMPLETE" in os.environ:
            from avengers_edge.cli.completion import complete

            complete(self)
        options["standalone_mode"] = False
        with _recorded_interrupts() as interrupts:
            try:
                code = super().main(args, *rest, **options)
            except (_Interrupted, KeyboardInterrupt, click.Abort) as error:
                fail("interrupted", INTERRUPTED_EXIT_CODE, error)
            except Exception as error:
                if interrupts:  # an import that is interrupted may end in any error
                    fail("interrupted", INTERRUPTED_EXIT_CODE, error)
                fail(*_message_and_code(error), error)
        sys.exit(code if isinstance(code, int) else 0)


def _run_words(words: list[str]) -> list[str]:
    """Turn the words after Ollama's `run` into a command: MODEL is a chat with it, MODEL and a question one answer."""
    plain = [word for word in words if not word.startswith("-")]
    if not plain or plain[0] != words[0]:
        return ["chat", *words]
    return ["ask" if len(plain) > 1 else "chat", "--model", *words]


@contextlib.contextmanager
def _recorded_interrupts() -> Iterator[list[int]]:
    """Record each Ctrl-C before it is raised: code in C may turn a KeyboardInterrupt into an error of its own."""
    received: list[int] = []
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield received
        return

    def record(number: int, frame: FrameType | None) -> None:
        received.append(number)
        before(number, frame)

    signal.signal(signal.SIGINT, record)
    try:
        yield received
    finally:
        signal.signal(signal.SIGINT, before)


def _message_and_code(error: Exception) -> tuple[str, int]:
    if isinstance(error, AvengersError):
        return str(error), error.exit_code
    if isinstance(error, click.UsageError):
        where = f" (see `{error.ctx.command_path} --help`)" if error.ctx else ""
        missing = isinstance(error, _NO_SUBCOMMAND)  # its own message is the whole help
        return ("name a subcommand" if missing else error.format_message()) + where, error.exit_code
    if isinstance(error, click.ClickException):
        return error.format_message(), error.exit_code
    if isinstance(error, OSError) and error.errno in _OUTPUT_ERRORS and error.filename is None:
        # Code that writes files reports a full disk itself; what is left is what the command prints.
        return f"standard output cannot be written: {_OUTPUT_ERRORS[error.errno]}", 1
    return f"unexpected {type(error).__name__}: {error}; run it again with -v and report it", 1


def fail(message: str, code: int, error: BaseException) -> NoReturn:
    """Exit with one line on standard error; with -v the traceback comes first.

    File names and servers' messages are in it, so control characters are replaced, and the middle of a long line is
    cut out: what happened stands at its beginning, what to do at its end.
    """
    if logging.getLogger("avengers_edge").isEnabledFor(logging.DEBUG):
        traceback.print_exception(error)
    line = " ".join(message.split())
    if len(line) > _LINE_HEAD + _LINE_TAIL:
        line = f"{line[:_LINE_HEAD]} … {line[-_LINE_TAIL:]}"
    with contextlib.suppress(OSError):  # standard error cannot be written: the exit code has to do
        click.echo(error_line(line), err=True)
    for stream in (sys.stdout, sys.stderr):
        _discard_unwritable(stream)
    sys.exit(code)


def _discard_unwritable(stream: TextIO | None) -> None:
    """Discard what a stream buffers and cannot write: at exit Python would try again and change the exit code."""
    if stream is None:  # it was closed before the start
        return
    try:
        stream.flush()
    except OSError:
        with contextlib.suppress(OSError, ValueError), Path(os.devnull).open("wb") as null:
            os.dup2(null.fileno(), stream.fileno())


def closed_stream() -> TextIO:
    """Return a stream that fails when it is written, where Python has None for a closed one and drops all output.

    It occupies the free descriptor, so that no file that is opened later receives what a library prints there.
    """
    return open(os.open(os.devnull, os.O_RDONLY), "w", encoding="utf-8", closefd=False)


def _folder(value: str) -> Path:
    if not value:  # it would be the current folder
        raise BadRequest("--home is empty: name a folder")
    return Path(value)


@click.group(
    cls=AvengersGroup,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100, "show_default": True},
)
@click.option("--home", type=_folder, metavar="PATH", help="Folder of models, settings and chats (AVENGERS_HOME).")
@click.option("--offline", is_flag=True, help="Refuse every download (AVENGERS_OFFLINE=1).")
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
    from avengers_edge.cli.session import Session

    if verbose:
        logging.basicConfig(format="%(name)s: %(message)s", stream=sys.stderr)
        logging.getLogger("avengers_edge").setLevel(logging.DEBUG)
    context.obj = Session(home, offline)
    if context.invoked_subcommand is None:
        if not on_terminal():
            context.fail("name a subcommand")
        _welcome(context, context.obj)


def _welcome(context: click.Context, session: Session) -> None:
    """Show what can be done, and begin with what is missing."""
    from avengers_edge.cli.models_command import setup

    catalog, store = session.open_library()
    team = catalog.load_team(session.settings().team)
    missing = [model for model in team.models if store.size_of(catalog.load_model(model)) is None]
    for words, does in (
        ('avengers ask "..."', 'one question; so does avengers "..."'),
        ("avengers chat", "a conversation"),
        ("avengers serve", "a page in the browser, and an API"),
        ("avengers models find", "use what Ollama or LM Studio have"),
        ("avengers models pull OWNER/REPO", "a model of the Hugging Face hub"),
        ("avengers doctor", "check this machine; --help shows all commands"),
    ):
        click.echo(f"  {words:<34}{does}")
    if missing:
        click.echo(f"\nTeam {team.name} is not set up yet.")
        context.invoke(setup, team=team.name, yes=False)
    else:
        click.echo(f"\nTeam {team.name} is ready.")


def main() -> None:
    """Run the command line."""
    if sys.stdout is None:
        sys.stdout = closed_stream()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # for characters that the terminal lacks
    cli.main(prog_name="avengers")
