"""Knights and knaves: who tells the truth, with exactly one solution, found by trying all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product

from builtin_questions.drafts import Draft, Template, listed
from builtin_questions.draw import Draw
from builtin_questions.texts import people

_World = Sequence[bool]
"""Who is a knight, in the order of introduction."""

_SCENES = (
    "On a remote island everyone is either a knight, who only says what is true, or a knave, who only says what is "
    "false.",
    "In a certain village each person is a knight or a knave. Knights never lie, and knaves never tell the truth.",
    "Every member of an odd club is either a knight or a knave: whatever a knight says is true, and whatever a knave "
    "says is false.",
)
_SAID = ('{name} says: "{words}"', '"{words}" says {name}.', '{name} tells you: "{words}"')
_LAST = (
    "Who is a knight and who is a knave? End your answer with one line per person, in the order of introduction, each "
    'reading "<name> is a knight" or "<name> is a knave".'
)


@dataclass(frozen=True, slots=True)
class _Claim:
    """What somebody says: the words without a final period, and in which worlds they are true."""

    words: str
    holds: Callable[[_World], bool]


def _kind(knight: bool) -> str:
    return "a knight" if knight else "a knave"


def _about_one(draw: Draw, names: Sequence[str], speaker: int) -> _Claim:
    other = draw.pick([place for place in range(len(names)) if place != speaker])
    knight = draw.chance(0.4)
    return _Claim(f"{names[other]} is {_kind(knight)}", lambda world: world[other] is knight)


def _joined(words: str, holds: Callable[[bool, bool], bool]) -> Callable[[Draw, Sequence[str], int], _Claim]:
    """Make claims about two people, of which `holds` tells whether they are true of how each is and is said to be."""

    def claim(draw: Draw, names: Sequence[str], _speaker: int) -> _Claim:
        one, two = draw.different(0, len(names) - 1, 2)
        first, second = draw.chance(0.5), draw.chance(0.5)
        return _Claim(
            words.format(f"{names[one]} is {_kind(first)}", f"{names[two]} is {_kind(second)}"),
            lambda world: holds(world[one] is first, world[two] is second),
        )

    return claim


_either = _joined("{} or {}", lambda first, second: first or second)
_both = _joined("{} and {}", lambda first, second: first and second)
_implies = _joined("If {}, then {}", lambda first, second: not first or second)


def _alike(draw: Draw, names: Sequence[str], _speaker: int) -> _Claim:
    one, two = draw.different(0, len(names) - 1, 2)
    same = draw.chance(0.5)
    return _Claim(
        f"{names[one]} and {names[two]} are of {'the same kind' if same else 'different kinds'}",
        lambda world: (world[one] is world[two]) is same,
    )


def _count(draw: Draw, names: Sequence[str], _speaker: int) -> _Claim:
    count = draw.whole(1, len(names) - 1)
    if draw.chance(0.5):
        words = f"Exactly {count} of us {len(names)} {'is a knight' if count == 1 else 'are knights'}"
        return _Claim(words, lambda world: sum(world) == count)
    words = f"At least {count} of us {len(names)} {'is a knave' if count == 1 else 'are knaves'}"
    return _Claim(words, lambda world: len(world) - sum(world) >= count)


_CLAIMS = (_about_one, _about_one, _either, _both, _implies, _alike, _count)


def _solutions(claims: Sequence[_Claim]) -> list[tuple[bool, ...]]:
    worlds = product((True, False), repeat=len(claims))
    return [world for world in worlds if all(claim.holds(world) is world[who] for who, claim in enumerate(claims))]


def _puzzle(draw: Draw, count: int) -> Draft:
    names = draw.some(people(), count)
    found: list[tuple[bool, ...]] = []
    while len(found) != 1:
        claims = [draw.pick(_CLAIMS)(draw, names, speaker) for speaker in range(count)]
        found = _solutions(claims)
    speeches = [
        draw.pick(_SAID).format(name=name, words=claim.words + ".").replace('." says', '," says')
        for name, claim in zip(names, claims, strict=True)
    ]
    question = f"{draw.pick(_SCENES)} You meet {listed(names)}.\n" + "\n".join(speeches) + f"\n{_LAST}"
    return Draft(
        question, ", ".join(f"{name} is {_kind(knight)}" for name, knight in zip(names, found[0], strict=True)), "text"
    )


def _two(draw: Draw) -> Draft:
    return _puzzle(draw, 2)


def _three(draw: Draw) -> Draft:
    return _puzzle(draw, 3)


def _four(draw: Draw) -> Draft:
    return _puzzle(draw, 4)


KNIGHTS: tuple[Template, ...] = (_two, _three, _three, _four)
