"""The slash commands of a chat: the table of them, how a line is read as one, completion, and what each one does."""

from __future__ import annotations

import base64
import difflib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import click

from avengers_edge._util.text import counted, cut
from avengers_edge.cli.answer_display import chart, ranking_lines, switch_lines
from avengers_edge.cli.chat.chat_loop import Loop, OpenStore
from avengers_edge.cli.question_input import read_attachment, read_text_file
from avengers_edge.cli.terminal import columns, harmless, on_standard_output
from avengers_edge.errors import AvengersError, BadRequest, NotFound
from avengers_edge.records import Ask

if TYPE_CHECKING:
    from avengers_edge.history.conversations import Conversation

Completes = Literal["members", "teams", "files", "code", "nothing"]
"""The kind of a command's argument."""
Known = Callable[[Completes], Iterable[str]]
"""Returns the names of a kind."""

_COMMAND = re.compile(r"/([A-Za-z?]+)(?:\s+(.*))?\s*", re.DOTALL)
_RECALLED_LINES = 6
_LONGEST_LOAD = 256 * 2**20
_CLIPBOARD_PROGRAMS = (
    (("pbcopy",), None),
    (("wl-copy",), "WAYLAND_DISPLAY"),
    (("xclip", "-selection", "clipboard"), "DISPLAY"),
    (("xsel", "--clipboard", "--input"), "DISPLAY"),
    (("clip.exe",), None),
)
"""Each program with the environment variable that it needs."""
_CLIPBOARD_SECONDS = 5
_LONGEST_OSC_52 = 74_000  # terminals drop longer sequences


class Command(NamedTuple):
    """A slash command as `/help` lists it; `Actions` has a method of its name."""

    name: str
    argument: str
    does: str
    completes: Completes = "nothing"

    @property
    def usage(self) -> str:
        """The command with its argument."""
        return f"/{self.name} {self.argument}".rstrip()


COMMANDS = (
    Command("help", "", "list the commands and keys"),
    Command("model", "[NAME|auto]", "ask this model or member only, or route again", "members"),
    Command("team", "[NAME]", "change the team", "teams"),
    Command("system", "[TEXT|none]", "set or remove the system prompt"),
    Command("samples", "[N|auto]", "set the number of samples of a vote"),
    Command("regen", "", "answer the last question again"),
    Command("why", "", "show the routing of the last answer"),
    Command("votes", "", "show the votes of the last answer"),
    Command("read", "FILE", "attach a text file to the next question", "files"),
    Command("save", "FILE", "write the conversation as Markdown, or as JSON for /load", "files"),
    Command("load", "FILE|ID", "go on with a saved or stored conversation", "files"),
    Command("clear", "", "begin a new conversation; this one stays stored"),
    Command("undo", "", "remove the last question and its answer"),
    Command("copy", "[code]", "copy the last answer, or its first code block, to the clipboard", "code"),
    Command("exit", "", "leave"),
)
_ALIASES = {"quit": "exit", "bye": "exit", "q": "exit", "?": "help", "regenerate": "regen", "models": "model"}
_BY_NAME = {command.name: command for command in COMMANDS}
_KEYS = (
    ('"""', "begins and ends a text of several lines; so does a paste"),
    ("Ctrl-C", "stops the answer, or clears the line"),
    ("Ctrl-D", "leaves"),
    ("Ctrl-G", "opens the text in $VISUAL or $EDITOR"),
    ("Ctrl-R", "searches earlier input"),
    ("Alt-Enter", "begins a new line"),
)


def parse(line: str) -> tuple[str, str] | None:
    """Read a line as a command and its argument; None where it is a question.

    A path ("/usr/bin is what?") is a question, and so is a line that begins with a space. Of what looks like a command
    and is none `BadRequest` names the nearest one.
    """
    found = _COMMAND.fullmatch(line)
    if found is None:
        return None
    name = found[1].lower()
    name = _ALIASES.get(name, name)
    if name not in _BY_NAME:
        near = difflib.get_close_matches(name, [*_BY_NAME, *_ALIASES], 1, 0.0)[0]
        raise BadRequest(
            f"there is no command /{found[1]}: did you mean /{_ALIASES.get(near, near)}? (/help lists them; begin with "
            "a space to say it as it stands)"
        )
    return name, (found[2] or "").strip()


def completes(before: str) -> tuple[Completes, str] | None:
    """Return the kind of argument at the cursor, and its beginning; None where the line is no command."""
    found = re.match(r"/([A-Za-z?]+)\s+(.*)", before, re.DOTALL)
    command = _BY_NAME.get(_ALIASES.get(found[1], found[1])) if found else None
    return (command.completes, found[2]) if command and found else None


def names(begun: str) -> tuple[Command, ...]:
    """List the commands that a line with nothing but `/` and some letters can become."""
    is_name = re.fullmatch(r"/[A-Za-z]*", begun)
    return tuple(command for command in COMMANDS if is_name and command.name.startswith(begun[1:].lower()))


def help_text() -> str:
    """Write what `/help` shows."""
    formatter = click.HelpFormatter(width=columns())
    formatter.write_dl([(command.usage, command.does) for command in COMMANDS])
    formatter.write_paragraph()
    formatter.write_dl(_KEYS)
    return formatter.getvalue().rstrip()


class Actions:
    """Runs slash commands.

    `known` returns the names of members and teams, `open_store` opens the stored conversations (None: nothing is
    stored), `longest_file` is the bytes of a file that could fit the context.
    """

    def __init__(self, known: Known, open_store: OpenStore | None, longest_file: int) -> None:
        self._known, self._open_store, self._longest_file = known, open_store, longest_file

    def __call__(self, loop: Loop, line: str) -> bool | None:
        """Run a line as a command; None where it is none, False where the user leaves."""
        command = parse(line)
        if command is None:
            return None
        name, argument = command
        if name == "exit":
            return False
        getattr(self, f"_{name}")(loop, argument)
        return True

    def _help(self, loop: Loop, _: str) -> None:
        loop.display.say(help_text())

    def _model(self, loop: Loop, name: str) -> None:
        if name == "auto":
            loop.member = None
        elif name:
            loop.member = checked(self._known, "members", name)
        member = loop.member
        loop.display.say(f"model: {member or f'auto (each turn is routed in team {loop.transcript.team})'}")

    def _team(self, loop: Loop, name: str) -> None:
        if name:
            loop.transcript.change(team=checked(self._known, "teams", name), system=loop.transcript.system)
            loop.member = None
            loop.turns.begin(name)
        loop.display.say(f"team: {loop.transcript.team}")

    def _system(self, loop: Loop, text: str) -> None:
        if text:
            loop.transcript.change(system=None if text == "none" else text)
        loop.display.say(f"system prompt: {loop.transcript.system or 'none'}")

    def _samples(self, loop: Loop, number: str) -> None:
        if number == "auto":
            loop.samples = None
        elif number:
            try:
                samples = int(number)
            except ValueError:
                raise BadRequest(f"/samples takes a number or auto, not {number!r:.40}") from None
            loop.samples = Ask(samples=samples).samples
        loop.display.say(f"samples: {loop.samples or 'auto (as many as pay; one of free text)'}")

    def _regen(self, loop: Loop, _: str) -> None:
        facts = loop.transcript.turns[-1].facts if loop.transcript.turns else None
        single = facts is not None and facts.samples <= 1
        question = loop.transcript.undo(keep_question=True)
        if question is None:
            raise BadRequest("there is no question to be answered again: ask one")
        # A single answer can have been the greedy one, which would come again; a sample that is asked for is drawn.
        loop.take_turn(question, samples=1 if single else None)

    def _why(self, loop: Loop, _: str) -> None:
        if loop.answer is None:
            raise BadRequest("nothing was answered since this chat began: ask something")
        lines = [ranking_lines(loop.answer.route, columns()), *switch_lines(loop.answer)]
        loop.display.say("\n".join(lines))

    def _votes(self, loop: Loop, _: str) -> None:
        last = loop.transcript.last_answer()
        votes = last.facts.votes if last and last.facts and last.facts.samples > 1 else ()
        total = sum(count for _, count in votes)
        if not total:
            raise BadRequest("no vote was held on the last answer: ask what has one answer, or set /samples")
        bars = [(key, count / total, str(count)) for key, count in votes]
        loop.display.say("\n".join(chart(bars, columns())))

    def _read(self, loop: Loop, name: str) -> None:
        attachment = read_attachment(_path_of(name, "/read FILE"), self._longest_file)
        loop.attachments.append(attachment)
        loop.display.say(f"{attachment.name}: {len(attachment.text)} characters will go with your next question")

    def _save(self, loop: Loop, name: str) -> None:
        from avengers_edge.history.conversations import save

        path = _path_of(name, "/save FILE")
        if os.path.lexists(path):
            raise BadRequest(f"{path} is there already: choose another name")
        save(path, loop.transcript.as_conversation())
        loop.display.say(f"saved to {path}")

    def _load(self, loop: Loop, name: str) -> None:
        conversation = self._conversation(name)
        checked(self._known, "teams", conversation.team)
        if loop.transcript.team != conversation.team:
            loop.turns.begin(conversation.team)
        loop.transcript.resume(conversation)
        loop.answer = None
        loop.display.say(resumed(conversation))

    def _conversation(self, name: str) -> Conversation:
        from avengers_edge.history.conversations import from_json

        if name.isascii() and name.isdigit() and not Path(name).exists():
            if self._open_store is None:
                raise BadRequest("this chat stores nothing (--no-log), so it has no numbers: /load a file")
            return self._open_store().read(int(name))
        path = _path_of(name, "/load FILE, or the number of a conversation")
        loaded = from_json(read_text_file(path, "a conversation", _LONGEST_LOAD))
        store = self._open_store() if self._open_store else None
        return store.read(store.add(loaded)) if store else loaded

    def _clear(self, loop: Loop, _: str) -> None:
        loop.transcript.renew()
        loop.answer = None
        loop.attachments.clear()
        loop.display.say("a new conversation")

    def _undo(self, loop: Loop, _: str) -> None:
        question = loop.transcript.undo()
        if question is None:
            raise BadRequest("there is nothing to take back")
        loop.answer = None
        loop.default = question
        loop.display.say("taken back; change the question, or clear it with Ctrl-C")

    def _copy(self, loop: Loop, what: str) -> None:
        last = loop.transcript.last_answer()
        if last is None:
            raise BadRequest("there is no answer to be copied yet")
        if what not in ("", "code"):
            raise BadRequest(f"/copy copies the answer, /copy code its first code block; {what!r:.40} is neither")
        from avengers_edge.voting.source import first_block

        text = first_block(last.content) if what else last.content
        if text is None:
            raise BadRequest("the last answer has no complete code block: /copy copies all of it")
        loop.display.say(f"{len(text)} characters copied by {copy(text)}")


def checked(known: Known, kind: Completes, name: str) -> str:
    """Return the name of a member or a team; `NotFound`, with the nearest one, where there is none of that name."""
    names = list(known(kind))
    if name not in names:
        near = difflib.get_close_matches(name, names, 1, 0.0)
        hint = f"did you mean {near[0]}?" if near else "none is known"
        raise NotFound(f"there is no {kind.removesuffix('s')} {name!r:.60}: {hint}")
    return name


def resumed(conversation: Conversation) -> str:
    """Write the title and the last turns of a conversation that goes on."""
    turns = counted(len(conversation.turns), "turn")
    said = [f"conversation {conversation.id}: {conversation.title} ({turns}, team {conversation.team})"]
    for turn in conversation.turns[-2:]:
        lines = harmless(turn.content.strip()).splitlines()
        shown = [f"{'> ' if turn.role == 'user' else ''}{cut(line, columns())}" for line in lines[:_RECALLED_LINES]]
        said += shown + [f"… {len(lines) - len(shown)} more lines"] * (len(lines) > len(shown))
    return "\n".join(said)


def _path_of(name: str, usage: str) -> Path:
    if len(name) > 1 and name[0] == name[-1] and name[0] in "\"'":
        name = name[1:-1]
    if not name:
        raise BadRequest(f"which file? {usage}")
    try:
        return Path(name).expanduser()
    except RuntimeError as error:
        raise BadRequest(f"{name!r:.60} names a user that does not exist: write the folder out") from error


def copy(text: str, environ: Mapping[str, str] = os.environ) -> str:
    """Copy a text to the clipboard, by the system's program or the terminal (OSC 52); return by which."""
    for words, variable in _CLIPBOARD_PROGRAMS:
        if (variable is None or environ.get(variable)) and shutil.which(words[0]):
            encoding = "utf-16-le" if words[0] == "clip.exe" else "utf-8"
            try:
                subprocess.run(
                    words,
                    input=text.encode(encoding),
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    timeout=_CLIPBOARD_SECONDS,
                    check=True,
                )
            except (OSError, subprocess.SubprocessError):
                continue
            return words[0]
    if not on_standard_output() or environ.get("TERM") == "dumb":
        raise AvengersError("there is no clipboard here: /save writes the conversation to a file")
    raw = text.encode()
    if len(raw) > _LONGEST_OSC_52:
        raise AvengersError(f"{len(raw)} bytes are too many for the terminal's clipboard: /save writes them to a file")
    sys.stdout.write(f"\x1b]52;c;{base64.b64encode(raw).decode()}\a")
    sys.stdout.flush()
    return "the terminal, if it allows that"
