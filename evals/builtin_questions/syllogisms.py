"""Arguments that are valid or not: two premises about three terms, and conditionals."""

from __future__ import annotations

from itertools import product

from builtin_questions.drafts import Draft, Template, label
from builtin_questions.draw import Draw

_LABELS = ("valid", "invalid")
_TERMS = (
    "painters",
    "swimmers",
    "beekeepers",
    "doctors",
    "gardeners",
    "poets",
    "tall people",
    "early risers",
    "chess players",
    "sailors",
    "teachers",
    "left-handed people",
    "tea drinkers",
    "cyclists",
    "bakers",
    "stamp collectors",
    "wumps",
    "zorbles",
    "glips",
    "trenks",
)
_FORMS = ("All {0} are {1}", "No {0} are {1}", "Some {0} are {1}", "Some {0} are not {1}")
_World = frozenset[tuple[bool, ...]]
_KINDS = tuple(product((False, True), repeat=3))
_WORLDS: list[_World] = [
    frozenset(kind for kind, lives in zip(_KINDS, living, strict=True) if lives)
    for living in product((False, True), repeat=len(_KINDS))
]
"""Every way in which the eight kinds of beings that three terms make can exist or not."""


def _holds(form: int, subject: int, predicate: int, world: _World) -> bool:
    both = any(being[subject] and being[predicate] for being in world)
    only = any(being[subject] and not being[predicate] for being in world)
    return (not only, not both, both, only)[form]


def _valid(first: tuple[int, int, int], second: tuple[int, int, int], conclusion: tuple[int, int, int]) -> bool:
    return all(_holds(*conclusion, world) for world in _WORLDS if _holds(*first, world) and _holds(*second, world))


def _ask(lead: str, argument: str, valid: bool) -> Draft:
    question = f"{lead}\n{argument}\nDoes the conclusion follow with necessity from the premises alone?"
    return label(question, _LABELS, "valid" if valid else "invalid")


def _two_premises(draw: Draw) -> Draft:
    """Draw premises with a common term until the argument is what a coin has said it should be."""
    wanted, terms = draw.chance(0.5), draw.some(_TERMS, 3)
    while True:
        first = (draw.whole(0, 3), *draw.pick(((0, 1), (1, 0))))
        second = (draw.whole(0, 3), *draw.pick(((1, 2), (2, 1))))
        conclusion = (draw.whole(0, 3), *draw.pick(((0, 2), (2, 0))))
        if _valid(first, second, conclusion) is wanted:
            break
    one, two, last = (
        _FORMS[form].format(terms[subject], terms[predicate])
        for form, subject, predicate in (first, second, conclusion)
    )
    return _ask(
        "Judge this argument. There need not be any members of a group unless a premise says so.",
        f"Premise 1: {one}.\nPremise 2: {two}.\nConclusion: {last}.",
        wanted,
    )


_FACTS = (
    ("it rains", "the match is cancelled", "it does not rain", "the match is not cancelled"),
    ("the lamp is on", "somebody is at home", "the lamp is not on", "nobody is at home"),
    ("the fuse is blown", "the oven stays cold", "the fuse is not blown", "the oven does not stay cold"),
    (
        "the bridge is closed",
        "the ferry runs all night",
        "the bridge is not closed",
        "the ferry does not run all night",
    ),
    ("the dog barks", "a stranger is near", "the dog does not bark", "no stranger is near"),
    ("the seal is broken", "the warranty is void", "the seal is not broken", "the warranty is not void"),
    ("the price falls", "more people buy", "the price does not fall", "it is not so that more people buy"),
    ("the key is lost", "the office stays shut", "the key is not lost", "the office does not stay shut"),
    ("the test fails", "the release is delayed", "the test does not fail", "the release is not delayed"),
    ("the moon is full", "the tide is strong", "the moon is not full", "the tide is not strong"),
    ("the letter is signed", "the contract holds", "the letter is not signed", "the contract does not hold"),
    ("the well is dry", "the farmer buys water", "the well is not dry", "the farmer does not buy water"),
)
_IF = ("If {0}, then {1}.", "{1} whenever {0}.", "{0} only if {1}.", "{1} if {0}.", "Unless {2}, {1}.")


def _sentence(words: str) -> str:
    return words[:1].upper() + words[1:]


def _conditional(draw: Draw) -> Draft:
    fact, pattern = draw.pick(_FACTS), draw.pick(_IF)
    given, concluded, valid = draw.pick(((0, 1, True), (3, 2, True), (1, 0, False), (2, 3, False)))
    return _ask(
        "Judge this argument.",
        f"Premise 1: {_sentence(pattern.format(*fact))}\nPremise 2: {_sentence(fact[given])}.\n"
        f"Conclusion: {_sentence(fact[concluded])}.",
        valid,
    )


def _chained(draw: Draw) -> Draft:
    (a, b, not_a, not_b), (c, d, not_c, not_d) = draw.some(_FACTS, 2)
    second, conclusion, valid = draw.pick(
        (
            (f"If {b}, then {c}", f"If {a}, then {c}", True),
            (f"If {b}, then {d}", f"If {not_d}, then {not_a}", True),
            (f"If {b}, then {c}", f"If {c}, then {a}", False),
            (f"If {c}, then {b}", f"If {a}, then {c}", False),
            (f"If {not_b}, then {d}", f"If {not_a}, then {d}", False),
            (f"If {d}, then {not_b}", f"If {a}, then {not_d}", True),
            (f"If {not_c}, then {not_b}", f"If {a}, then {c}", True),
        )
    )
    return _ask(
        "Judge this argument.",
        f"Premise 1: If {a}, then {b}.\nPremise 2: {second}.\nConclusion: {conclusion}.",
        valid,
    )


def _either_or(draw: Draw) -> Draft:
    (a, _, not_a, _), (_, d, _, not_d) = draw.some(_FACTS, 2)
    second, conclusion, valid = draw.pick(
        ((not_a, d, True), (not_d, a, True), (a, not_d, False), (d, not_a, False)),
    )
    return _ask(
        'Judge this argument. Here "or" allows for both.',
        f"Premise 1: {_sentence(a)} or {d}.\nPremise 2: {_sentence(second)}.\nConclusion: {_sentence(conclusion)}.",
        valid,
    )


SYLLOGISMS: tuple[Template, ...] = (_two_premises, _two_premises, _conditional, _chained, _either_or)
