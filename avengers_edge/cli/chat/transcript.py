"""The conversation under way: in memory always, and in the store for as long as that works."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, TypeAlias

from avengers_edge.errors import AvengersError, BadRequest
from avengers_edge.history.conversations import UNTITLED, Conversation, Facts, Turn, timestamp, title_of
from avengers_edge.records import Message
from avengers_edge.voting.markers import said_in

if TYPE_CHECKING:
    from avengers_edge.history.conversation_store import ConversationStore, TurnWriter


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
