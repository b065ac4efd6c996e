"""`chat`: the command, and what it puts together."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib.util
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from types import FrameType
from typing import TYPE_CHECKING

import click

from avengers_edge.cli.ask_options import parse_samples
from avengers_edge.cli.chats import complete_ids, open_store
from avengers_edge.cli.names import complete_members, team_option
from avengers_edge.cli.reading import as_text
from avengers_edge.cli.session import Session, pass_session
from avengers_edge.cli.terminal import dim
from avengers_edge.errors import BadRequest, MissingExtra
from avengers_edge.records import Ask

if TYPE_CHECKING:
    from avengers_edge.cli.chat.commands import Completes, Known
    from avengers_edge.cli.chat.display import Display
    from avengers_edge.cli.chat.opening import Turns
    from avengers_edge.cli.chat.reader import Reader
    from avengers_edge.config import Settings

_LONGEST_TOKEN = 64  # bytes; see `ask`
_LEAVING = tuple(number for name in ("SIGHUP", "SIGTERM") if (number := getattr(signal, name, None)) is not None)


@click.command()
@click.option("-c", "--continue", "go_on", is_flag=True, help="Go on with the conversation that was written last.")
@click.option("--id", "number", type=int, metavar="ID", shell_complete=complete_ids, help="Go on with this one.")
@click.option("--no-log", is_flag=True, help="Keep nothing: neither the conversation nor what is typed.")
@team_option
@click.option("--model", "member", shell_complete=complete_members, help="Ask this model or member only: no routing.")
@click.option("--system", help="System prompt.")
@click.option(
    "-n", "--samples", metavar="N|auto", default="auto", callback=parse_samples, help="How many samples vote."
)
@click.option("--vi/--emacs", "vi", default=None, help="Keys of the prompt; `vi = true` in settings.toml says it too.")
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
    """Talk with a team: each turn is routed on the conversation, and voted on where that was measured to pay.

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
        require_extra()
    said = None if system is None else as_text(system, "the system prompt")
    with leaving_well(), contextlib.ExitStack() as open_things:
        from avengers_edge.cli.chat.actions import Actions, checked, resumed
        from avengers_edge.cli.chat.loop import Choices, Loop
        from avengers_edge.cli.chat.opening import Opening
        from avengers_edge.cli.chat.talk import Talk

        store = functools.cache(lambda: open_things.enter_context(open_store(session)))
        found = store().read(number) if number is not None else store().last() if go_on else None
        display = display_on(on_terminal, quiet)
        talk = Talk(None if no_log else store, team or settings.team, said, display.say)
        if found is not None:
            talk.resume(found)
            if team is not None or said is not None:
                talk.change(team=team, system=talk.system if said is None else said)
        known = names_for(settings, lambda: talk.team)
        if team is not None or found is not None:
            checked(known, "teams", talk.team)
        Ask(samples=samples)
        if member is not None:
            checked(known, "members", member)
        kept_by = dataclasses.replace(settings, park=settings.park and not no_log)
        opening = Opening(lambda name: open_turns(kept_by, name, on_terminal))
        open_things.callback(opening.close)
        if on_terminal:
            asked = f"model {member}" if member else f"team {talk.team}"
            display.say(dim(f"{asked} · /help lists the commands, Ctrl-D leaves"))
        if found is not None:
            display.say(dim(resumed(found)))
        actions = Actions(known, None if no_log else store, _LONGEST_TOKEN * settings.context)
        reader = reader_on(
            on_terminal,
            settings,
            known,
            display.say,
            lambda: opening.begin(talk.team),
            vi=settings.vi if vi is None else vi,
            keep=not no_log,
        )
        code = Loop(reader, display, opening, talk, Choices(member, samples), actions).run()
    sys.exit(0 if on_terminal else code)


def is_on_terminal() -> bool:
    """Tell whether there is somebody who types and looks."""
    return all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stdout))


def require_extra() -> None:
    """Check that what a terminal needs is installed, without loading it.

    Raises:
        MissingExtra: it is not.

    """
    for package in ("prompt_toolkit", "rich"):
        if importlib.util.find_spec(package) is None:
            raise MissingExtra(package, "chat", "chat on a terminal")


def names_for(settings: Settings, team: Callable[[], str]) -> Known:
    """Name what can be asked; nothing is read before it is needed."""

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


def display_on(on_terminal: bool, quiet: bool) -> Display:
    """Choose what a chat is shown on."""
    from avengers_edge.cli.chat.display import PlainDisplay, is_rich

    if not on_terminal or not is_rich():
        return PlainDisplay(quiet=quiet)
    from avengers_edge.cli.chat.rich_display import RichDisplay

    return RichDisplay(quiet=quiet)


def reader_on(
    on_terminal: bool,
    settings: Settings,
    known: Known,
    tell: Callable[[str], None],
    ready: Callable[[], None],
    *,
    vi: bool,
    keep: bool,
) -> Reader:
    """Choose where lines come from; what answers is opened as soon as the prompt stands."""
    if not on_terminal:
        from avengers_edge.cli.chat.reader import LineReader

        return LineReader()
    from avengers_edge.cli.chat.input_history import FILE_NAME, KeptHistory
    from avengers_edge.cli.chat.prompt import TerminalReader

    return TerminalReader(KeptHistory(settings.home / FILE_NAME, keep=keep), known, tell, ready, vi=vi)


def open_turns(settings: Settings, team: str, on_terminal: bool) -> Turns:
    """Open what answers, and load what draws the answers."""
    from avengers_edge.api.sync import Avengers
    from avengers_edge.chat.turns import Turns

    if on_terminal:
        import avengers_edge.cli.chat.markdown  # noqa: F401 - the first answer would wait for it
    return Turns(Avengers.open(team, settings=settings))


@contextlib.contextmanager
def leaving_well() -> Iterator[None]:
    """Have a closed terminal and a `kill` end the chat as leaving does: what there is of an answer is kept."""

    def leave(number: int, _: FrameType | None) -> None:
        sys.exit(128 + number)

    before = {}
    with contextlib.suppress(ValueError):  # signals are the main thread's
        before = {number: signal.signal(number, leave) for number in _LEAVING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
