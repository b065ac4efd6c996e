"""`chat`: the command, which puts the prompt, the display, the team and the stored conversations together."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib.util
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

import click

from avengers_edge.cli.chats_command import complete_ids, open_store
from avengers_edge.cli.question_input import LONGEST_TOKEN, as_text
from avengers_edge.cli.session import Session, pass_session
from avengers_edge.cli.shared_options import member_option, samples_option, team_option
from avengers_edge.cli.terminal import dim, is_terminal
from avengers_edge.errors import BadRequest, MissingExtra
from avengers_edge.records import Ask

if TYPE_CHECKING:
    from avengers_edge.cli.chat.slash_commands import Completes, Known
    from avengers_edge.cli.chat.turns import Turns
    from avengers_edge.config import Settings

_ENDING_SIGNALS = tuple(number for name in ("SIGHUP", "SIGTERM") if (number := getattr(signal, name, None)) is not None)


@click.command()
@click.option("-c", "--continue", "go_on", is_flag=True, help="Continue the newest conversation.")
@click.option("--id", "number", type=int, metavar="ID", shell_complete=complete_ids, help="Conversation to continue.")
@click.option("--no-log", is_flag=True, help="Store neither the conversation nor the input history.")
@team_option
@member_option
@click.option("--system", help="System prompt.")
@samples_option
@click.option("--vi/--emacs", "vi", default=None, help="Keys of the prompt (default: `vi` of settings.toml, or emacs).")
@click.option("--quiet", is_flag=True, help="Leave out the line under each answer.")
@pass_session
def chat(
    session: Session,
    go_on: bool,
    number: int | None,
    no_log: bool,
    team: str | None,
    member: str | None,
    system: str | None,
    samples: int | None,
    vi: bool | None,
    quiet: bool,
) -> None:
    """Chat with a team.

    Each turn is routed on the conversation, and voted on where that was measured to pay.

    \b
    Type /help there for commands and keys. Piped in, each line is a question:
      avengers chat
      avengers chat -c
      avengers chat --no-log < questions.txt
    """
    if go_on and number is not None:
        raise BadRequest("--continue and --id both name a conversation: choose one")
    settings = session.settings()
    on_terminal = is_on_terminal()
    if on_terminal:
        _require_extra()
    prompt = None if system is None else as_text(system, "the system prompt")
    with _exit_on_signals(), contextlib.ExitStack() as resources:
        from avengers_edge.cli.chat.chat_display import PlainDisplay, RichDisplay, can_redraw
        from avengers_edge.cli.chat.chat_loop import LineReader, Loop, Reader, Transcript
        from avengers_edge.cli.chat.slash_commands import Actions, checked, resumed
        from avengers_edge.cli.chat.turns import BackgroundTurns

        store = functools.cache(lambda: resources.enter_context(open_store(session)))
        found = store().read(number) if number is not None else store().last() if go_on else None
        display = (RichDisplay if on_terminal and can_redraw() else PlainDisplay)(quiet=quiet)
        transcript = Transcript(None if no_log else store, team or settings.team, prompt, display.say)
        if found is not None:
            transcript.resume(found)
            if team is not None or prompt is not None:
                transcript.change(team=team, system=transcript.system if prompt is None else prompt)
        known = _known_names(settings, lambda: transcript.team)
        if team is not None or found is not None:
            checked(known, "teams", transcript.team)
        Ask(samples=samples)
        if member is not None:
            checked(known, "members", member)
        turn_settings = dataclasses.replace(settings, park=settings.park and not no_log)
        turns = BackgroundTurns(lambda name: open_turns(turn_settings, name, on_terminal))
        resources.callback(turns.close)
        reader: Reader = LineReader()
        if on_terminal:
            from avengers_edge.cli.chat.terminal_prompt import HISTORY_FILE, InputHistory, TerminalReader

            asked = f"model {member}" if member else f"team {transcript.team}"
            display.say(dim(f"{asked} · /help lists the commands, Ctrl-D leaves"))
            history = InputHistory(settings.home / HISTORY_FILE, keep=not no_log)
            keys = settings.vi if vi is None else vi
            reader = TerminalReader(history, known, display.say, lambda: turns.begin(transcript.team), vi=keys)
        if found is not None:
            display.say(dim(resumed(found)))
        actions = Actions(known, None if no_log else store, LONGEST_TOKEN * settings.context)
        code = Loop(reader, display, turns, transcript, actions, member, samples).run()
    sys.exit(0 if on_terminal else code)


def is_on_terminal() -> bool:
    """Return whether both standard input and standard output are terminals."""
    return is_terminal(sys.stdin) and is_terminal(sys.stdout)


def _require_extra() -> None:
    """Check that the packages for a terminal are installed, without loading them."""
    for package in ("prompt_toolkit", "rich"):
        if importlib.util.find_spec(package) is None:
            raise MissingExtra(package, "chat", "chat on a terminal")


def _known_names(settings: Settings, team: Callable[[], str]) -> Known:
    def known(kind: Completes) -> Iterable[str]:
        if kind == "code":
            return ["code"]
        from avengers_edge.library.catalog import Catalog

        catalog = Catalog.of(settings)
        if kind == "teams":
            return catalog.list_teams()
        members = [member.name for member in catalog.load_team(team()).members]
        return dict.fromkeys(["auto", *members, *catalog.list_models()])

    return known


def open_turns(settings: Settings, team: str, on_terminal: bool) -> Turns:
    """Open a team, and load what draws its answers."""
    from avengers_edge.api.sync import Avengers
    from avengers_edge.cli.chat.turns import Turns

    if on_terminal:
        import avengers_edge.cli.chat.markdown  # noqa: F401 - loading rich would delay the first answer
    return Turns(Avengers.open(team, settings=settings))


@contextlib.contextmanager
def _exit_on_signals() -> Iterator[None]:
    """Have a closed terminal and a `kill` exit as the user does: the answer so far is stored."""
    with contextlib.ExitStack() as restored:
        for number in _ENDING_SIGNALS:
            with contextlib.suppress(ValueError):  # only the main thread can handle signals
                before = signal.signal(number, lambda number, _: sys.exit(128 + number))
                restored.callback(signal.signal, number, before)
        yield
