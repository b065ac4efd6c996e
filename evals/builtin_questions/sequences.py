"""Number sequences: the next term, a far term, a missing term, a sum."""

from __future__ import annotations

from collections.abc import Sequence

from builtin_questions.drafts import Draft, Template, number
from builtin_questions.draw import Draw

_NEXT = (
    "What number comes next in this sequence? {}, ...",
    "Find the next term of the sequence {}, ...",
    "The sequence {}, ... follows a simple rule. What is its next term?",
)


def _shown(terms: Sequence[int]) -> str:
    return ", ".join(map(str, terms))


def _next(draw: Draw, terms: Sequence[int]) -> Draft:
    """Show all terms but the last, which is asked for."""
    return number(draw.pick(_NEXT).format(_shown(terms[:-1])), terms[-1])


def _arithmetic(draw: Draw) -> Draft:
    start, step = draw.whole(-40, 90), draw.pick((-17, -13, -9, -7, 6, 8, 11, 13, 14, 17, 19))
    return _next(draw, [start + step * place for place in range(7)])


def _geometric(draw: Draw) -> Draft:
    start, ratio = draw.whole(2, 9), draw.pick((2, 3, 4, -2, -3))
    return _next(draw, [start * ratio**place for place in range(6)])


def _quadratic(draw: Draw) -> Draft:
    a, b, c = draw.whole(1, 4), draw.whole(-5, 9), draw.whole(-10, 20)
    return _next(draw, [a * place * place + b * place + c for place in range(8)])


def _two_before(draw: Draw) -> Draft:
    terms = [draw.whole(1, 9), draw.whole(2, 15)]
    while len(terms) < 9:
        terms.append(terms[-1] + terms[-2])
    return _next(draw, terms)


def _times_plus(draw: Draw) -> Draft:
    factor, plus, terms = draw.whole(2, 3), draw.whole(1, 9), [draw.whole(1, 9)]
    while len(terms) < 7:
        terms.append(factor * terms[-1] + plus)
    return _next(draw, terms)


def _interleaved(draw: Draw) -> Draft:
    (a, b), (c, d) = draw.different(1, 40, 2), draw.different(2, 9, 2)
    return _next(draw, [(a + c * (place // 2)) if place % 2 == 0 else (b - d * (place // 2)) for place in range(9)])


def _far_term(draw: Draw) -> Draft:
    start, step, place = draw.whole(-20, 60), draw.pick((-11, -6, -4, 3, 5, 7, 9, 12, 15)), draw.whole(18, 75)
    terms = [start + step * each for each in range(4)]
    ending = "th" if 11 <= place % 100 <= 13 else {1: "st", 2: "nd", 3: "rd"}.get(place % 10, "th")
    return number(
        f"An arithmetic sequence begins {_shown(terms)}, ... What is its {place}{ending} term, if {start} is the 1st?",
        start + step * (place - 1),
    )


def _sum(draw: Draw) -> Draft:
    start, step, count = draw.whole(1, 30), draw.whole(2, 12), draw.whole(12, 40)
    terms = [start + step * each for each in range(3)]
    return number(
        f"What is the sum of the first {count} terms of the arithmetic sequence {_shown(terms)}, ...?",
        sum(start + step * each for each in range(count)),
    )


def _missing(draw: Draw) -> Draft:
    start, step = draw.whole(-30, 60), draw.pick((-14, -12, -8, 7, 9, 12, 16, 18))
    terms, hole = [str(start + step * place) for place in range(7)], draw.whole(2, 5)
    missing, terms[hole] = int(terms[hole]), "?"
    return number(
        f"One term of an arithmetic sequence has been replaced by a question mark: {', '.join(terms)}. "
        f"What number belongs there?",
        missing,
    )


def _rule(draw: Draw) -> Draft:
    start, factor, minus, place = draw.whole(3, 9), draw.whole(2, 3), draw.whole(1, 4), draw.whole(5, 7)
    value = start
    for _ in range(place - 1):
        value = factor * value - minus
    return number(
        f"The first term of a sequence is {start}. Every later term is {factor} times the term before it, minus "
        f"{minus}. What is the {place}th term?",
        value,
    )


SEQUENCES: tuple[Template, ...] = (
    _arithmetic,
    _geometric,
    _quadratic,
    _two_before,
    _times_plus,
    _interleaved,
    _far_term,
    _sum,
    _missing,
    _rule,
)
