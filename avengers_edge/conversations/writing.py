"""An answer that is kept while it grows."""

from __future__ import annotations

import re

from avengers_edge.conversations.database import Database
from avengers_edge.conversations.rows import facts_as_json, insert_turn, missing, touch
from avengers_edge.conversations.values import Facts, Turn, valid_unicode

_SENTENCE_END = re.compile(r"[.!?:;…]\s|[\u3002\uff01\uff1f]|\n")
_LONGEST_UNKEPT = 200


class Writing:
    """An assistant's turn that is being written; whatever kills this process, at most one sentence of it is lost."""

    def __init__(self, database: Database, conversation: int) -> None:
        self._database, self._conversation = database, conversation
        self._turn: int | None = None
        self._text, self._kept = "", 0

    def update(self, text: str) -> None:
        """Hear of the whole text so far; it is kept as soon as a sentence or a line of it has ended.

        Raises:
            NotFound: the conversation or the turn was deleted meanwhile.
            AvengersError: it cannot be written.

        """
        another = not text.startswith(self._text)  # as when another sample than the one shown won the vote
        self._text = text
        ended = _SENTENCE_END.search(text, max(0, self._kept - 1))
        if another or ended or len(text) - self._kept > _LONGEST_UNKEPT:
            self._keep(None, complete=False, indexed=False)

    def end(self, facts: Facts | None = None, *, complete: bool = True) -> None:
        """Keep the text as it now is, with what answered; not `complete` where it was stopped.

        Raises:
            NotFound: the conversation or the turn was deleted meanwhile.
            AvengersError: it cannot be written.

        """
        self._keep(facts, complete=complete, indexed=True)

    def _keep(self, facts: Facts | None, *, complete: bool, indexed: bool) -> None:
        with self._database.writing(durable=indexed) as connection:
            indexed = indexed and self._database.indexed
            if self._turn is None:
                turn = Turn("assistant", self._text, facts, complete)
                added = insert_turn(connection, self._conversation, turn, indexed=indexed)
            else:
                if indexed:
                    touch(connection, self._conversation)
                done = connection.execute(
                    "UPDATE turns SET content = ?, facts = ?, complete = ?, indexed = ? WHERE id = ?",
                    (valid_unicode(self._text), facts_as_json(facts), complete, indexed, self._turn),
                )
                if not done.rowcount:
                    raise missing(self._conversation)
                added = self._turn
        self._turn, self._kept = added, len(self._text)
