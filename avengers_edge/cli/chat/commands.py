"""The slash commands: a table of them, how a line is read as one, and what can follow what was typed."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from avengers_edge.errors import BadRequest

Completes = Literal["members", "teams", "files", "code", "nothing"]
"""What can follow a command."""
Known = Callable[[Completes], Iterable[str]]
"""Names what can follow a command."""

_COMMAND = re.compile(r"/([A-Za-z?]+)(?:\s+(.*))?\s*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Command:
    """A slash command as `/help` lists it."""

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
    Command("team", "[NAME]", "have another team answer", "teams"),
    Command("system", "[TEXT|none]", "set the system prompt, or take it away"),
    Command("samples", "[N|auto]", "how many samples vote"),
    Command("regen", "", "answer the last question again"),
    Command("why", "", "why this model answered"),
    Command("votes", "", "how the samples voted"),
    Command("read", "FILE", "send a text file along with the next question", "files"),
    Command("save", "FILE", "write the conversation: Markdown, or JSON to be loaded again", "files"),
    Command("load", "FILE|ID", "go on with a conversation that was saved, or kept under this number", "files"),
    Command("clear", "", "begin a new conversation; this one stays kept"),
    Command("undo", "", "take back the last question and its answer"),
    Command("copy", "[code]", "copy the last answer, or its first code block, to the clipboard", "code"),
    Command("exit", "", "leave"),
)
_ALSO = {"quit": "exit", "bye": "exit", "q": "exit", "?": "help", "regenerate": "regen", "models": "model"}
_BY_NAME = {command.name: command for command in COMMANDS}


def parse(line: str) -> tuple[str, str] | None:
    """Read a line as a command and its argument; None where it is something to say.

    A path ("/usr/bin is what?") is something to say, and so is what begins with a space.

    Raises:
        BadRequest: it looks like a command and is none; the message names the nearest one.

    """
    found = _COMMAND.fullmatch(line)
    if found is None:
        return None
    name = found[1].lower()
    name = _ALSO.get(name, name)
    if name not in _BY_NAME:
        near = difflib.get_close_matches(name, [*_BY_NAME, *_ALSO], 1, 0.0)[0]
        raise BadRequest(
            f"there is no command /{found[1]}: did you mean /{_ALSO.get(near, near)}? (/help lists them; begin with a "
            "space to say it as it stands)"
        )
    return name, (found[2] or "").strip()


def completes(before: str) -> tuple[Completes, str] | None:
    """Say what can follow the text before the cursor, and the argument begun; None where it is no command's.

    The name of a command itself is completed by `names`.
    """
    found = re.match(r"/([A-Za-z?]+)\s+(.*)", before, re.DOTALL)
    command = _BY_NAME.get(_ALSO.get(found[1], found[1])) if found else None
    return (command.completes, found[2]) if command and found else None


def names(begun: str) -> tuple[Command, ...]:
    """List the commands that a line with nothing but `/` and some letters can become."""
    if not re.fullmatch(r"/[A-Za-z]*", begun):
        return ()
    return tuple(command for command in COMMANDS if command.name.startswith(begun[1:].lower()))


def help_lines() -> list[str]:
    """Write what `/help` shows."""
    width = max(len(command.usage) for command in COMMANDS)
    return [
        *(f"{command.usage:<{width}}  {command.does}" for command in COMMANDS),
        "",
        *(f"{keys:<{width}}  {does}" for keys, does in _KEYS),
    ]


_KEYS = (
    ('"""', "begins and ends a text of several lines; so does a paste"),
    ("Ctrl-C", "stops the answer, or clears the line"),
    ("Ctrl-D", "leaves"),
    ("Ctrl-G", "opens the text in $VISUAL or $EDITOR"),
    ("Ctrl-R", "searches what was typed before"),
    ("Alt-Enter", "begins a new line"),
)
