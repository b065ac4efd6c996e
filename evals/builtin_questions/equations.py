"""Equations: linear, quadratic, systems of two, and products to expand."""

from __future__ import annotations

from fractions import Fraction

from builtin_questions.drafts import Draft, Template, number
from builtin_questions.draw import Draw

_SOLVE = ("Solve for {v}: {e}", "Find the value of {v} if {e}.", "What is {v} if {e}?", "Given that {e}, what is {v}?")
_LETTERS = "xyntkm"


def _term(factor: int, letter: str, *, first: bool = False) -> str:
    """Write `+ 3x`, `- x` or, in front, `3x`, `-x`; nothing for 0. An empty letter makes a plain number."""
    if factor == 0:
        return ""
    size = "" if abs(factor) == 1 and letter else str(abs(factor))
    sign = ("-" if factor < 0 else "") if first else (" - " if factor < 0 else " + ")
    return f"{sign}{size}{letter}"


def _solve(draw: Draw, letter: str, equation: str, root: int | Fraction) -> Draft:
    return number(draw.pick(_SOLVE).format(v=letter, e=equation), root)


def _not_zero(draw: Draw, size: int) -> int:
    return draw.whole(1, size) * draw.pick((-1, 1))


def _one_side(draw: Draw) -> Draft:
    letter, root, a, b = draw.pick(_LETTERS), _not_zero(draw, 25), draw.whole(2, 14), _not_zero(draw, 60)
    return _solve(draw, letter, f"{a}{letter}{_term(b, '')} = {a * root + b}", root)


def _both_sides(draw: Draw) -> Draft:
    letter, root, (a, c), b = draw.pick(_LETTERS), _not_zero(draw, 20), draw.different(2, 12, 2), _not_zero(draw, 40)
    right = f"{c}{letter}{_term((a - c) * root + b, '')}"
    return _solve(draw, letter, f"{a}{letter}{_term(b, '')} = {right}", root)


def _with_brackets(draw: Draw) -> Draft:
    letter, root, a, b, c = (
        draw.pick(_LETTERS),
        _not_zero(draw, 15),
        draw.whole(2, 9),
        _not_zero(draw, 12),
        _not_zero(draw, 30),
    )
    return _solve(draw, letter, f"{a}({letter}{_term(b, '')}){_term(c, '')} = {a * (root + b) + c}", root)


def _over(draw: Draw) -> Draft:
    letter, a, b, quotient = draw.pick(_LETTERS), draw.whole(3, 12), _not_zero(draw, 30), _not_zero(draw, 20)
    return _solve(draw, letter, f"{letter}/{a}{_term(b, '')} = {quotient + b}", a * quotient)


def _fraction_root(draw: Draw) -> Draft:
    letter, a, b, c = draw.pick(_LETTERS), draw.whole(3, 12), _not_zero(draw, 20), draw.whole(1, 40)
    asked = _solve(draw, letter, f"{a}{letter}{_term(b, '')} = {c}", Fraction(c - b, a))
    return number(f"{asked.question} Give a whole number or a fraction in lowest terms.", Fraction(c - b, a))


def _system(draw: Draw) -> tuple[str, int, int]:
    x, y = _not_zero(draw, 12), _not_zero(draw, 12)
    a, b, c, d = draw.whole(1, 7), _not_zero(draw, 7), draw.whole(1, 7), _not_zero(draw, 7)
    if a * d == b * c:
        d += 1 if d != -1 else 2
    first = f"{_term(a, 'x', first=True)}{_term(b, 'y')} = {a * x + b * y}"
    return f"{first} and {_term(c, 'x', first=True)}{_term(d, 'y')} = {c * x + d * y}", x, y


def _system_one(draw: Draw) -> Draft:
    equations, x, y = _system(draw)
    letter, value = draw.pick((("x", x), ("y", y)))
    return number(f"Two numbers x and y satisfy {equations}. What is {letter}?", value)


def _system_sum(draw: Draw) -> Draft:
    equations, x, y = _system(draw)
    return number(f"If {equations}, what is x + y?", x + y)


def _quadratic(p: int, q: int) -> str:
    """Write x^2 + bx + c = 0 for the roots p and q."""
    return f"x^2{_term(-p - q, 'x')}{_term(p * q, '')} = 0"


def _larger_root(draw: Draw) -> Draft:
    p, q = draw.different(-12, 12, 2)
    which, root = draw.pick((("larger", max(p, q)), ("smaller", min(p, q))))
    return number(f"What is the {which} of the two solutions of {_quadratic(p, q)}?", root)


def _root_squares(draw: Draw) -> Draft:
    p, q = draw.different(-9, 9, 2)
    return number(f"What is the sum of the squares of the two solutions of {_quadratic(p, q)}?", p * p + q * q)


def _positive_root(draw: Draw) -> Draft:
    a, root, c = draw.whole(2, 6), draw.whole(2, 14), draw.whole(1, 30)
    return number(f"What is the positive solution of {a}x^2 - {c} = {a * root * root - c}?", root)


def _in_words(draw: Draw) -> Draft:
    root, a, b = draw.whole(14, 60), draw.whole(4, 9), draw.whole(5, 25)
    return number(
        f"When a number is multiplied by {a} and then {b} is subtracted, the result is twice the number plus "
        f"{(a - 2) * root - b}. What is the number?",
        root,
    )


def _consecutive(draw: Draw) -> Draft:
    first, kind = draw.whole(5, 60), draw.pick(("whole", "even", "odd"))
    step = 1 if kind == "whole" else 2
    first = {"whole": first, "even": 2 * first, "odd": 2 * first + 1}[kind]
    total = 3 * first + 3 * step
    return number(
        f"The sum of three consecutive {kind} numbers is {total}. What is the largest of them?", first + 2 * step
    )


def _expand(draw: Draw) -> Draft:
    a, b, c = draw.whole(1, 4), _not_zero(draw, 9), _not_zero(draw, 9)
    product = f"({_term(a, 'x', first=True)}{_term(b, '')})(x{_term(c, '')})"
    answer = f"{_term(a, 'x^2', first=True)}{_term(a * c + b, 'x')}{_term(b * c, '')}"
    return Draft(
        f"Expand {product} and collect like terms. Write the result with falling powers of x, as in 2x^2 - 3x + 1.",
        answer,
        "expression",
    )


EQUATIONS: tuple[Template, ...] = (
    _one_side,
    _both_sides,
    _with_brackets,
    _over,
    _fraction_root,
    _system_one,
    _system_sum,
    _larger_root,
    _root_squares,
    _positive_root,
    _in_words,
    _consecutive,
    _expand,
)
