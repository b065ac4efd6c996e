"""Boolean expressions: constants, variables and comparisons."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from builtin_questions.drafts import Draft, Template, label
from builtin_questions.draw import Draw

_LABELS = ("True", "False")
_Tree = tuple[str, bool]
"""The text of an expression and its value."""


def _leaf(draw: Draw) -> _Tree:
    value = draw.chance(0.5)
    return str(value), value


def _comparison(draw: Draw) -> _Tree:
    a, b, c = draw.whole(2, 30), draw.whole(2, 12), draw.whole(20, 60)
    sign = draw.pick(("<", ">", "=="))
    if sign == "==" and draw.chance(0.7):
        c = a + b
    total = a + b
    return f"{a} + {b} {sign} {c}", {"<": total < c, ">": total > c, "==": total == c}[sign]


def _join(draw: Draw, left: _Tree, right: _Tree) -> _Tree:
    operator = draw.pick(("and", "or"))
    value = (left[1] and right[1]) if operator == "and" else (left[1] or right[1])
    words = f"({left[0]} {operator} {right[0]})"
    return (f"not {words}", not value) if draw.chance(0.35) else (words, value)


def _grown(draw: Draw, leaves: list[_Tree]) -> _Tree:
    """Join neighbours, in any order, until one expression is left; the outermost brackets go."""
    trees = [(f"(not {words})", not value) if draw.chance(0.25) else (words, value) for words, value in leaves]
    while len(trees) > 1:
        at = draw.whole(0, len(trees) - 2)
        trees[at : at + 2] = [_join(draw, trees[at], trees[at + 1])]
    words, value = trees[0]
    return (words[1:-1], value) if words.startswith("(") else (words, value)


def _ask(words: str, value: bool) -> Draft:
    return label(words, _LABELS, str(value))


def _constants(draw: Draw) -> Draft:
    words, value = _grown(draw, [_leaf(draw) for _ in range(draw.whole(4, 6))])
    return _ask(f"Evaluate this Boolean expression:\n{words}", value)


def _variables(draw: Draw) -> Draft:
    values = {name: draw.chance(0.5) for name in "pqrs"}
    names = [*draw.shuffled("pqrs"), draw.pick("pqrs")]
    words, value = _grown(draw, [(name, values[name]) for name in names])
    given = ", ".join(f"{name} is {truth}" for name, truth in values.items())
    return _ask(f"Suppose that {given}. What is the value of the following expression?\n{words}", value)


def _comparisons(draw: Draw) -> Draft:
    leaves = [(f"({words})", value) for words, value in (_comparison(draw) for _ in range(draw.whole(3, 4)))]
    words, value = _grown(draw, leaves)
    return _ask(f"What is the value of this Python expression?\n{words}", value)


@dataclass(frozen=True, slots=True)
class _Rule:
    """A rule over three facts, each of which is worded for when it is so and for when it is not."""

    words: str
    facts: tuple[tuple[str, str], tuple[str, str], tuple[str, str]]
    claim: str
    holds: Callable[[bool, bool, bool], bool]


_RULES = (
    _Rule(
        "The alarm rings if the door is open while the guard is away, or if there is smoke, and in no other case.",
        (
            ("The door is open.", "The door is closed."),
            ("The guard is away.", "The guard is at the desk."),
            ("There is smoke.", "There is no smoke."),
        ),
        "The alarm rings",
        lambda opened, away, smoke: (opened and away) or smoke,
    ),
    _Rule(
        "The pump runs if the tank is not full, the power is on and nobody has pressed stop, and in no other case.",
        (
            ("The tank is full.", "The tank is half empty."),
            ("The power is on.", "The power is off."),
            ("Somebody has pressed stop.", "Nobody has pressed stop."),
        ),
        "The pump runs",
        lambda full, power, stopped: not full and power and not stopped,
    ),
    _Rule(
        "A reader may borrow the atlas if the card is valid and, besides, the fees are paid or a teacher signs (or "
        "both), and in no other case.",
        (
            ("The reader's card is valid.", "The reader's card has expired."),
            ("The fees are paid.", "The fees are unpaid."),
            ("A teacher signs.", "No teacher signs."),
        ),
        "The reader may borrow the atlas",
        lambda card, paid, signed: card and (paid or signed),
    ),
    _Rule(
        "The lift moves if its door is shut, at most eight people are in it and the fire brigade has not locked it, "
        "and in no other case.",
        (
            ("The door of the lift is shut.", "The door of the lift is open."),
            ("Eleven people are in the lift.", "Five people are in the lift."),
            ("The fire brigade has locked the lift.", "The fire brigade has not locked the lift."),
        ),
        "The lift moves",
        lambda shut, crowded, locked: shut and not crowded and not locked,
    ),
)


def _everyday(draw: Draw) -> Draft:
    rule = draw.pick(_RULES)
    first, second, third = (draw.chance(0.5) for _ in range(3))
    facts = [words[0 if so else 1] for words, so in zip(rule.facts, (first, second, third), strict=True)]
    question = f"{rule.words} {' '.join(draw.shuffled(facts))}\nIs this statement true or false? {rule.claim}."
    return _ask(question, rule.holds(first, second, third))


BOOLEAN: tuple[Template, ...] = (_constants, _variables, _comparisons, _constants, _variables, _everyday)
