"""The data sets of the built-in questions: what each is called, and how its questions come about."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from builtin_questions.arithmetic import ARITHMETIC
from builtin_questions.boolean import BOOLEAN
from builtin_questions.counting import COUNTING
from builtin_questions.dates import DATES
from builtin_questions.deduction import ORDERING, TRACKING
from builtin_questions.drafts import Draft, Template
from builtin_questions.draw import Draw
from builtin_questions.emotion import EMOTION
from builtin_questions.equations import EQUATIONS
from builtin_questions.general import general_knowledge
from builtin_questions.knights import KNIGHTS
from builtin_questions.programs_lists import LIST_PROGRAMS
from builtin_questions.programs_numbers import NUMBER_PROGRAMS
from builtin_questions.programs_texts import TEXT_PROGRAMS
from builtin_questions.rates import RATES
from builtin_questions.sentiment import SENTIMENT
from builtin_questions.sequences import SEQUENCES
from builtin_questions.strings import LETTERS, SORTING
from builtin_questions.syllogisms import SYLLOGISMS
from builtin_questions.tables import TABLES
from builtin_questions.tracing import TRACING
from builtin_questions.units import UNITS
from builtin_questions.word_problems import WORD_PROBLEMS

Stream = Callable[[str], Iterator[Draft]]
"""The questions of a data set in order, each different, under the name of a stream of draws; it may end."""

_TRIES = 100


@dataclass(frozen=True, slots=True)
class Family:
    """A data set's short name, its category and its questions."""

    name: str
    category: str
    drafts: Stream


def drawn(templates: Sequence[Template]) -> Stream:
    """Take the templates in turn, in an order that is drawn; what was asked before is drawn again."""

    def drafts(stream: str) -> Iterator[Draft]:
        order, asked = Draw(stream).shuffled(templates), set[str]()
        for place in range(1_000_000):
            for attempt in range(_TRIES):
                draft = order[(place + attempt // 10) % len(order)](Draw(f"{stream}/{place}/{attempt}"))
                if draft.question not in asked:
                    break
            else:
                return  # the templates have no more
            asked.add(draft.question)
            yield draft

    return drafts


def _known(theme: str) -> Stream:
    return lambda stream: general_knowledge(theme, stream)


FAMILIES: tuple[Family, ...] = (
    Family("arithmetic", "math", drawn(ARITHMETIC)),
    Family("word_problems", "math", drawn(WORD_PROBLEMS)),
    Family("equations", "math", drawn(EQUATIONS)),
    Family("rates", "math", drawn(RATES)),
    Family("units", "math", drawn(UNITS)),
    Family("sequences", "math", drawn(SEQUENCES)),
    Family("counting", "math", drawn(COUNTING)),
    Family("programs", "code", drawn((*LIST_PROGRAMS, *TEXT_PROGRAMS, *NUMBER_PROGRAMS))),
    Family("tracing", "code", drawn(TRACING)),
    Family("knights", "logic", drawn(KNIGHTS)),
    Family("boolean", "logic", drawn(BOOLEAN)),
    Family("syllogisms", "logic", drawn(SYLLOGISMS)),
    Family("ordering", "logic", drawn(ORDERING)),
    Family("tracking", "logic", drawn(TRACKING)),
    Family("sorting", "logic", drawn(SORTING)),
    Family("letters", "logic", drawn(LETTERS)),
    Family("dates", "logic", drawn(DATES)),
    Family("tables", "knowledge", drawn(TABLES)),
    Family("geography", "knowledge", _known("geography")),
    Family("history", "knowledge", _known("history")),
    Family("science", "knowledge", _known("science")),
    Family("biology_medicine", "knowledge", _known("biology_medicine")),
    Family("technology", "knowledge", _known("technology")),
    Family("language_arts", "knowledge", _known("language_arts")),
    Family("everyday", "knowledge", _known("everyday")),
    Family("sentiment", "affective", drawn(SENTIMENT)),
    Family("emotion", "affective", drawn(EMOTION)),
)
