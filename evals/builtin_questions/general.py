"""General knowledge: hand-written items in files beside this module, options shuffled by the seed."""

from __future__ import annotations

from collections.abc import Iterator

from builtin_questions.drafts import Draft, choice
from builtin_questions.draw import Draw
from builtin_questions.texts import rows

_OPTIONS = 4


def general_knowledge(theme: str, stream: str) -> Iterator[Draft]:
    """Give every item of a theme once; of each four in a row, each letter is right once.

    A row of a theme's file is the question, the right option and three wrong ones.
    """
    places: list[int] = []
    for place, (question, right, *wrong) in enumerate(Draw(stream).shuffled(rows(theme))):
        draw = Draw(f"{stream}/{place}")
        places = places or draw.shuffled(range(_OPTIONS))
        options = draw.shuffled(wrong)
        options.insert(places.pop(), right)
        yield choice(question, options, right)
