"""A question with its kind of answer: all that routing has to know of it, without what asks members and reads them."""

from __future__ import annotations

from dataclasses import dataclass

from avengers_edge.records import Ask, Kind, Member
from avengers_edge.voting.choices import cyclic_order
from avengers_edge.voting.kinds import find_choices, kind_of


@dataclass(frozen=True, slots=True)
class Inquiry:
    """A question with its kind of answer and the answers that it offers, and how it is to be asked."""

    question: str
    ask: Ask
    kind: Kind
    choices: tuple[str, ...] | None

    @classmethod
    def of(cls, question: str, ask: Ask) -> Inquiry:
        """Find out the kind and the offered answers of a question."""
        return cls(question, ask, kind_of(question, ask), find_choices(question))

    def suits(self, member: Member) -> bool:
        """Return whether this question can be put to a member in its way."""
        if member.form != "text" and (self.ask.schema or self.ask.grammar or self.ask.tools or self.ask.tests):
            return False
        if member.form == "program" and self.kind == "text" and self.ask.kind is None:
            return False  # nothing says what its answer is: an opinion, a letter, a tale, which no program can print
        if member.form == "letters" and cyclic_order(self.question, self.choices or (), 0) is None:
            return False
        return member.takes(self.kind)

    def orders(self, member: Member) -> int:
        """Count the orders of the options that make one answer of a member; 1 unless it answers by letters."""
        return len(self.choices or ()) if member.form == "letters" else 1
