"""The loop of a chat: read, answer, show, until the user leaves; and lines that are piped in."""

from __future__ import annotations

import contextlib
import io
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import BinaryIO, Protocol

from avengers_edge.cli.chat.chat_display import PlainDisplay
from avengers_edge.cli.chat.transcript import Transcript
from avengers_edge.cli.chat.turns import BackgroundTurns, Note
from avengers_edge.cli.question_input import Attachment, joined, kind_joined
from avengers_edge.errors import AvengersError, BadRequest, Cancelled
from avengers_edge.history.conversations import Facts
from avengers_edge.records import Answer, Ask, CancelToken, Finished, Progress, Token
from avengers_edge.voting.markers import ThoughtSplitter, said_in

QUOTES = '"""'
_LONGEST_LINE = 16 * 2**20


class Reader(Protocol):
    """Reads what the user says."""

    def read(self, default: str = "") -> str:
        """Wait for the next line, or text of several lines; `default` stands there already, to be changed.

        `EOFError` says that the user leaves, `BadRequest` that what came is no text.
        """


def unquoted(text: str) -> str:
    """Remove the quotes of a text of several lines."""
    inner = text.strip()
    if not inner.startswith(QUOTES):
        return text
    return inner[len(QUOTES) :].removesuffix(QUOTES).strip("\n")


def is_open(text: str) -> bool:
    """Return whether a text of several lines was begun and not ended."""
    inner = text.lstrip()
    return inner.startswith(QUOTES) and not inner[len(QUOTES) :].rstrip().endswith(QUOTES)


class LineReader:
    """Reads lines as they are piped in; None is standard input."""

    def __init__(self, stream: BinaryIO | None = None) -> None:
        self._stream = stream
        self._line = 0

    def read(self, default: str = "") -> str:  # noqa: ARG002 - a pipe cannot change it
        """Read the next line, or the lines between two quotes."""
        text = self._next()
        while is_open(text):
            try:
                text += "\n" + self._next()
            except EOFError:
                break
        return unquoted(text)

    def _next(self) -> str:
        stream = self._stream or (sys.stdin.buffer if sys.stdin is not None else io.BytesIO())
        raw = stream.readline(_LONGEST_LINE + 1)
        if not raw:
            raise EOFError
        self._line += 1
        if len(raw) > _LONGEST_LINE:
            while raw and not raw.endswith(b"\n"):
                raw = stream.readline(_LONGEST_LINE)
            raise BadRequest(
                f"line {self._line} is longer than {_LONGEST_LINE} bytes: put the text in a file and /read it"
            )
        if b"\0" in raw:
            raise BadRequest(f"line {self._line} is not text: byte {raw.index(0)} is 0; it is left out")
        try:
            return raw.decode("utf-8-sig" if self._line == 1 else "utf-8").rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise BadRequest(
                f"line {self._line} is not UTF-8 at byte {error.start} and is left out: convert it first"
            ) from error


RunCommand = Callable[["Loop", str], bool | None]
"""Runs a line as a slash command; None where it is none, False where the user leaves."""


class Loop:
    """A chat: reads what the user says, answers it or runs it as a command, shows the answer."""

    def __init__(
        self,
        reader: Reader,
        display: PlainDisplay,
        turns: BackgroundTurns,
        transcript: Transcript,
        commands: RunCommand,
        member: str | None = None,
        samples: int | None = None,
    ) -> None:
        self.reader, self.display, self.turns = reader, display, turns
        self.transcript, self.member, self.samples = transcript, member, samples
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
                if not self.handle(self.reader.read(default)):
                    return self.code
            except EOFError:
                return self.code
            except KeyboardInterrupt:
                continue
            except AvengersError as error:
                self.code = error.exit_code
                self.display.show_error(error)

    def handle(self, line: str) -> bool:
        """Answer a line or run it as a command; False where the user leaves."""
        goes_on = self._commands(self, line)
        if goes_on is not None:
            return goes_on
        if line.strip():
            text = joined(line.strip(), None, self.attachments)
            self.attachments.clear()
            self.transcript.ask(text)
            self.take_turn(text)
        return True

    def take_turn(self, text: str, samples: int | None = None) -> None:
        """Answer the last question of the transcript, with `samples` unless the user chose a number."""
        ask = Ask(
            samples=self.samples or samples,
            kind=kind_joined(text),
            member=self.member,
            system=self.transcript.system,
            history=self.transcript.history(),
        )
        cancel = CancelToken()  # a plain event would end no program that runs
        self.answer, answer = None, None
        self.display.begin()
        try:
            with _interrupt_cancels(cancel), self.transcript.answering():
                answer = self._show_turn(text, ask, cancel)
        except Cancelled:
            pass  # before the first token
        finally:
            stopped = cancel.is_set()
            cancel.set()  # where the terminal is gone nothing is shown any more
            self.display.end(
                answer, stopped=stopped and (answer is None or answer.samples_used < answer.samples_requested)
            )
        self.answer = answer

    def _show_turn(self, text: str, ask: Ask, cancel: threading.Event) -> Answer | None:
        splitter = ThoughtSplitter()
        for event in self.turns.get(self.transcript.team, cancel).send(text, ask, cancel):
            match event:
                case Token(text=piece):
                    self._show(*splitter.push(piece))
                case Progress():
                    self.display.vote(event)
                case Note(note):
                    self.display.note(note)
                case Finished(answer):
                    self._show(splitter.close())
                    complete = answer.shown.finish_reason != "cancelled"
                    self.transcript.end(said_in(answer.text), Facts.of(answer), complete=complete)
                    return answer
        return None

    def _show(self, said: str, thought: str = "") -> None:
        """Show the answer, which is stored, and the thought before it, which is not."""
        if thought:
            self.display.thought(thought)
        if said:
            self.transcript.add(said)
            self.display.piece(said)


@contextlib.contextmanager
def _interrupt_cancels(cancel: threading.Event) -> Iterator[None]:
    """Have Ctrl-C cancel the answer and nothing else; a second one no longer waits for it to end."""
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
