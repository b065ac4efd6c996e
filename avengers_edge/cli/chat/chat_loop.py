"""The loop of a chat: read, answer, show, until the user leaves; its transcript, and lines that are piped in."""

from __future__ import annotations

import contextlib
import io
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import TYPE_CHECKING, BinaryIO, Protocol, TypeAlias

from avengers_edge.cli.chat.chat_display import PlainDisplay
from avengers_edge.cli.chat.turns import BackgroundTurns, Note
from avengers_edge.cli.question_input import Attachment, joined, kind_joined
from avengers_edge.errors import AvengersError, BadRequest, Cancelled
from avengers_edge.history.conversations import UNTITLED, Conversation, Facts, Turn, timestamp, title_of
from avengers_edge.records import Answer, Ask, CancelToken, Finished, Message, Progress, Token
from avengers_edge.voting.markers import ThoughtSplitter, said_in

if TYPE_CHECKING:
    from avengers_edge.history.conversation_store import ConversationStore, TurnWriter

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


OpenStore: TypeAlias = "Callable[[], ConversationStore]"
"""Returns the store, the same one each time; lazily, since loading SQLite would delay the prompt."""


class Transcript:
    """The conversation under way.

    `open_store` opens the store, once there is something to write; without it the conversation is kept in memory only.
    `on_lost` is called with the message, where writing fails and the conversation is not stored any more.
    """

    def __init__(
        self, open_store: OpenStore | None, team: str, system: str | None, on_lost: Callable[[str], None]
    ) -> None:
        self._open_store, self._on_lost = open_store, on_lost
        self.team, self.system = team, system
        self.id: int | None = None
        self.turns: list[Turn] = []
        self._title, self._created = UNTITLED, timestamp()
        self._text = ""
        self._writer: TurnWriter | None = None

    def resume(self, conversation: Conversation) -> None:
        self.id, self.turns = conversation.id, list(conversation.turns)
        self.team, self.system = conversation.team, conversation.system
        self._title, self._created = conversation.title, conversation.created

    def renew(self) -> None:
        """Begin a new one; the old one stays stored."""
        self.id, self.turns = None, []
        self._title, self._created = UNTITLED, timestamp()

    def change(self, *, team: str | None = None, system: str | None = None) -> None:
        """Change the team (None: no change) and the system prompt (None: none)."""
        self.team, self.system = team or self.team, system
        with self.keeping() as store:
            if store and self.id is not None:
                store.change(self.id, self.team, self.system)

    def ask(self, text: str) -> None:
        """Add a question; it is stored before it is answered."""
        if not self.turns:
            self._title = title_of(text)
        self.turns.append(Turn("user", text))
        with self.keeping() as store:
            if store:
                if self.id is None:
                    self.id = store.begin(self.team, self.system)
                store.append(self.id, self.turns[-1])

    @contextlib.contextmanager
    def answering(self) -> Iterator[None]:
        """Add an answer as it grows, by `add` and `end`; the part so far is stored, whatever ends it."""
        self._writer = None if self._open_store is None or self.id is None else self._open_store().write_turn(self.id)
        self._text, before = "", len(self.turns)
        try:
            yield
        finally:
            if len(self.turns) == before and self._text:
                self.end(self._text, None, complete=False)

    def add(self, piece: str) -> None:
        """Add the next piece of the answer, stored sentence by sentence."""
        self._text += piece
        with self.keeping() as store:
            if store and self._writer:
                self._writer.update(self._text)

    def end(self, text: str, facts: Facts | None, *, complete: bool) -> None:
        """Add the final answer, stored in place of its pieces."""
        self.turns.append(Turn("assistant", text, facts, complete))
        with self.keeping() as store:
            if store and self._writer:
                self._writer.update(text)
                self._writer.end(facts, complete=complete)

    def undo(self, *, keep_question: bool = False) -> str | None:
        """Remove the last question and its answer, or the answer only; return the question, None where there is none.

        `BadRequest`, and nothing is removed, where another chat has gone on with this conversation.
        """
        places = [place for place, turn in enumerate(self.turns) if turn.role == "user"]
        if not places:
            return None
        removed, undone = self.turns[places[-1] :], True
        with self.keeping() as store:
            if store and self.id is not None:
                undone = store.undo(self.id, removed, keep_question=keep_question)
        if not undone:
            raise BadRequest(
                f"another chat has gone on with conversation {self.id}, so nothing is taken back: /load {self.id} goes "
                "on from there"
            )
        del self.turns[places[-1] + keep_question :]
        return removed[0].content

    def history(self) -> tuple[Message, ...]:
        """Return the questions that were answered and their answers, without thoughts, for the model's prompt."""
        kept: list[Message] = []
        question: Turn | None = None
        for turn in self.turns:
            if turn.role == "user":
                question = turn
            elif turn.role == "assistant" and question is not None and (said := said_in(turn.content)).strip():
                kept += [Message("user", question.content), Message("assistant", said)]
                question = None
        return tuple(kept)

    def last_answer(self) -> Turn | None:
        return next((turn for turn in reversed(self.turns) if turn.role == "assistant"), None)

    def as_conversation(self) -> Conversation:
        ended, turns = timestamp(), tuple(self.turns)
        return Conversation(self.id or 0, self._title, self.team, self.system, self._created, ended, turns)

    @contextlib.contextmanager
    def keeping(self) -> Iterator[ConversationStore | None]:
        """Write to the store; where that fails the user is told once, and the conversation goes on in memory."""
        try:
            yield self._open_store() if self._open_store else None
        except AvengersError as error:
            self._open_store = None
            self._on_lost(f"{error}. From here on this conversation is not kept: /save writes it to a file")


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
