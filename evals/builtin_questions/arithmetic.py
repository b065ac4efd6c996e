"""Sums: chains, brackets, powers, decimals, fractions and remainders."""

from __future__ import annotations

from fractions import Fraction

from builtin_questions.drafts import Draft, Template, number, shown
from builtin_questions.draw import Draw

_ASKED = ("What is {}?", "Calculate {}.", "Work out {}.", "Find the value of {}.", "Evaluate {}.")


def _ask(draw: Draw, formula: str, value: int | Fraction) -> Draft:
    return number(draw.pick(_ASKED).format(formula), value)


def _chain(draw: Draw) -> Draft:
    formula, value = "", 0
    for place in range(draw.whole(4, 6)):
        sign, term = (1 if place == 0 else draw.pick((1, -1))), draw.whole(12, 980)
        formula += f"{(' + ' if sign > 0 else ' - ') if place else ''}{term}"
        value += sign * term
    return _ask(draw, formula, value)


def _precedence(draw: Draw) -> Draft:
    a, b, c, d, e = (draw.whole(3, 60) for _ in range(5))
    return _ask(draw, f"{a} + {b} * {c} - {d} * {e}", a + b * c - d * e)


def _brackets(draw: Draw) -> Draft:
    a, b, c, d, e = (draw.whole(4, 48) for _ in range(5))
    return _ask(draw, f"({a} + {b}) * ({c} - {d}) + {e}", (a + b) * (c - d) + e)


def _nested(draw: Draw) -> Draft:
    a, b, c, d, e = (draw.whole(2, 15) for _ in range(5))
    return _ask(draw, f"{a} * ({b} + {c} * ({d} - {e}))", a * (b + c * (d - e)))


def _long_product(draw: Draw) -> Draft:
    a, b = draw.whole(123, 987), draw.whole(13, 98)
    return _ask(draw, f"{a} * {b}", a * b)


def _exact_quotient(draw: Draw) -> Draft:
    divisor, quotient, c = draw.whole(12, 48), draw.whole(23, 240), draw.whole(5, 90)
    return _ask(draw, f"{divisor * quotient} / {divisor} + {c}", quotient + c)


def _powers(draw: Draw) -> Draft:
    a, b, c = draw.whole(2, 9), draw.whole(2, 5), draw.whole(3, 7)
    return _ask(draw, f"{a}^3 + {b}^4 - {c}^2", a**3 + b**4 - c**2)


def _decimals(draw: Draw) -> Draft:
    a, b, c = (Fraction(draw.whole(105, 9_995), 100) for _ in range(3))
    return _ask(draw, f"{shown(a)} + {shown(b)} - {shown(c)}", a + b - c)


def _decimal_product(draw: Draw) -> Draft:
    a, b = Fraction(draw.whole(11, 99), 10), Fraction(draw.whole(11, 99), 10)
    return _ask(draw, f"{shown(a)} * {shown(b)}", a * b)


def _fractions(draw: Draw) -> Draft:
    b, d = draw.different(2, 12, 2)
    a, c, sign = draw.whole(1, b - 1), draw.whole(1, d - 1), draw.pick("+-")
    value = Fraction(a, b) + (Fraction(c, d) if sign == "+" else -Fraction(c, d))
    asked = _ask(draw, f"{a}/{b} {sign} {c}/{d}", value)
    return number(f"{asked.question} Give a fraction in lowest terms.", value)


def _fraction_product(draw: Draw) -> Draft:
    a, b, c, d = (draw.whole(2, 15) for _ in range(4))
    value = Fraction(a, b) * Fraction(c, d)
    asked = _ask(draw, f"({a}/{b}) * ({c}/{d})", value)
    return number(f"{asked.question} Give a whole number or a fraction in lowest terms.", value)


def _negatives(draw: Draw) -> Draft:
    a, b, c, d = (draw.whole(3, 40) for _ in range(4))
    return _ask(draw, f"-{a} * {b} - (-{c}) * {d}", -a * b + c * d)


def _remainder(draw: Draw) -> Draft:
    a, b = draw.whole(400, 9_900), draw.whole(7, 39)
    return number(f"What is the remainder when {a} is divided by {b}?", a % b)


ARITHMETIC: tuple[Template, ...] = (
    _chain,
    _precedence,
    _brackets,
    _nested,
    _long_product,
    _exact_quotient,
    _powers,
    _decimals,
    _decimal_product,
    _fractions,
    _fraction_product,
    _negatives,
    _remainder,
)
