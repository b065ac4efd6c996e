"""The loop of a chat: read, answer, show, until the user leaves."""

from __future__ import annotations

import contextlib
import dataclasses
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

from avengers_edge.cli.chat.commands import parse
from avengers_edge.cli.chat.display import Display
from avengers_edge.cli.chat.opening import Opening
from avengers_edge.cli.chat.reader import Reader
from avengers_edge.cli.chat.talk import Growing, Talk
from avengers_edge.cli.joining import Attachment, joined, kind_joined
from avengers_edge.errors import AvengersError, Cancelled
from avengers_edge.history.conversations import Facts
from avengers_edge.records import Answer, Ask, Finished, Progress, Token


@dataclasses.dataclass(slots=True)
class Choices:
    """What the user chose for the turns to come."""

    member: str | None = None
    samples: int | None = None


RunCommand = Callable[["Loop", str, str], bool]
"""Runs a slash command, by its name and argument; False where the user leaves."""


class Loop:
    """A chat.

    Args:
        reader: what the user says.
        display: what the user sees.
        opening: what answers.
        talk: what was said.
        choices: what the user chose so far.
        commands: runs slash commands.

    """

    def __init__(
        self, reader: Reader, display: Display, opening: Opening, talk: Talk, choices: Choices, commands: RunCommand
    ) -> None:
        self.reader, self.display, self.opening = reader, display, opening
        self.talk, self.choices = talk, choices
        self.attachments: list[Attachment] = []
        self.answer: Answer | None = None
        self.default = ""
        self.code = 0
        self._commands = commands

    def run(self) -> int:
        """Take turns until the user leaves; return the exit code of the last error."""
        while True:
            try:
                default, self.default = self.default, ""
                line = self.reader.read(default)
                if not self.hear(line):
                    return self.code
            except EOFError:
                return self.code
            except KeyboardInterrupt:
                continue
            except AvengersError as error:
                self.complain(error)

    def hear(self, line: str) -> bool:
        """Answer a line or do what it says; False where the user leaves."""
        called = parse(line)
        if called is not None:
            return self._commands(self, *called)
        if line.strip():
            text = joined(line.strip(), None, self.attachments)
            self.attachments.clear()
            self.talk.ask(text)
            self.take_turn(text)
        return True

    def take_turn(self, text: str, samples: int | None = None) -> None:
        """Answer the last question of the talk, with so many samples unless the user chose a number."""
        ask = Ask(
            samples=self.choices.samples or samples,
            kind=kind_joined(text),
            member=self.choices.member,
            system=self.talk.system,
            history=self.talk.history(),
        )
        cancel = threading.Event()
        self.answer, answer = None, None
        self.display.begin()
        try:
            with _stopping(cancel), self.talk.answering() as growing:
                answer = self._listen(text, ask, cancel, growing)
        except Cancelled:
            pass  # nothing was said yet
        finally:
            stopped = cancel.is_set()
            cancel.set()  # where the terminal is gone nobody listens any more
            self.display.end(
                answer, stopped=stopped and (answer is None or answer.samples_used < answer.samples_requested)
            )
        self.answer = answer

    def _listen(self, text: str, ask: Ask, cancel: threading.Event, growing: Growing) -> Answer | None:
        turns = self.opening.get(self.talk.team, cancel)
        from avengers_edge.chat.turns import Note  # opening loaded it
        from avengers_edge.voting.markers import ThoughtSplitter, said_in

        splitter = ThoughtSplitter()
        for event in turns.send(text, ask, cancel):
            match event:
                case Token(text=piece):
                    self._show(*splitter.push(piece), growing)
                case Progress(finished, samples, leader, member):
                    self.display.vote(finished, samples, leader, member)
                case Note(note):
                    self.display.note(note)
                case Finished(answer):
                    self._show(splitter.close(), "", growing)
                    growing.end(said_in(answer.text), Facts.of(answer), complete=not _is_cut(answer))
                    return answer
        return None

    def _show(self, said: str, thought: str, growing: Growing) -> None:
        """Show what was said, which is kept, and what was thought, which is not."""
        if thought:
            self.display.thought(thought)
        if said:
            growing.add(said)
            self.display.piece(said)

    def complain(self, error: AvengersError) -> None:
        """Show an error, and keep its exit code."""
        self.code = error.exit_code
        self.display.complain(error)


def _is_cut(answer: Answer) -> bool:
    """Tell whether the user stopped the sample that is the answer."""
    return answer.shown.finish_reason == "cancelled"


@contextlib.contextmanager
def _stopping(cancel: threading.Event) -> Iterator[None]:
    """Have Ctrl-C stop the answer and nothing else; a second one stops waiting for it to stop."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        if cancel.is_set():
            signal.default_int_handler(number, frame)
        cancel.set()

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
