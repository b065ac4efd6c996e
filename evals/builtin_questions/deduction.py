"""Orders that follow from hints, and things that change hands."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations

from builtin_questions.drafts import Draft, Template, choice, listed, number
from builtin_questions.draw import Draw
from builtin_questions.texts import people

_Order = Sequence[str]
_ORDINALS = ("first", "second", "third", "fourth", "fifth")


@dataclass(frozen=True, slots=True)
class _Setting:
    """The words of an ordering puzzle: `before` compares two, `next_to` says "directly", `at` names a place."""

    opening: str
    things: tuple[str, ...]
    before: tuple[str, str]
    next_to: str
    at: tuple[str, str]
    asked: str


_BOOKS = ("the red book", "the blue book", "the green book", "the black book", "the white book", "the yellow book")
_RACE = _Setting(
    "{} took part in a race, and no two of them finished at the same time.",
    people(),
    ("{} finished before {}", "{} finished after {}"),
    "{} came in directly after {}",
    ("{} finished {}", "{} did not finish {}"),
    "Who finished {}?",
)
_SHELF = _Setting(
    "On a shelf stand, in some order from left to right, {}.",
    _BOOKS,
    ("{} stands somewhere to the left of {}", "{} stands somewhere to the right of {}"),
    "{} stands directly to the right of {}",
    ("{} is {} from the left", "{} is not {} from the left"),
    "Which book is {} from the left?",
)
_HEIGHT = _Setting(
    "{} are all of different heights.",
    people(),
    ("{} is taller than {}", "{} is shorter than {}"),
    "{} comes directly after {} when they line up from the tallest to the shortest",
    (
        "{} is {} in the line from the tallest to the shortest",
        "{} is not {} in the line from the tallest to the shortest",
    ),
    "Who is {} in the line from the tallest to the shortest?",
)


def _hint(draw: Draw, setting: _Setting, order: _Order) -> tuple[str, Callable[[_Order], bool]]:
    """Say something true of the order, and how to test it of another one."""
    one, two = draw.different(0, len(order) - 1, 2)
    a, b = order[min(one, two)], order[max(one, two)]
    form = draw.whole(0, 9)
    if form <= 2:
        return setting.before[0].format(a, b), lambda other: other.index(a) < other.index(b)
    if form <= 5:
        return setting.before[1].format(b, a), lambda other: other.index(a) < other.index(b)
    if form <= 7:
        left, right = order[max(one, two) - 1], b
        return setting.next_to.format(right, left), lambda other: other.index(right) == other.index(left) + 1
    if form == 8:
        place = order.index(a)
        return setting.at[0].format(a, _ORDINALS[place]), lambda other: other.index(a) == place
    place = order.index(b)
    return setting.at[1].format(a, _ORDINALS[place]), lambda other: other.index(a) != place


def _puzzle(draw: Draw, setting: _Setting, count: int) -> Draft:
    """Draw hints until they leave one order, drop those that are not needed, and ask for a place none of them names."""
    order = draw.some(setting.things, count)
    asked = draw.whole(0, count - 1)
    orders = list(permutations(order))
    hints: dict[str, set[_Order]] = {}
    while not _leave_one(hints):
        words, holds = _hint(draw, setting, order)
        if words not in hints and words != setting.at[0].format(order[asked], _ORDINALS[asked]):
            hints[words] = {other for other in orders if holds(other)}
    for words in list(hints):
        fewer = {other: kept for other, kept in hints.items() if other != words}
        if _leave_one(fewer):
            hints = fewer
    sentences = " ".join(f"{words[:1].upper()}{words[1:]}." for words in draw.shuffled(list(hints)))
    opening = setting.opening.format(listed(draw.shuffled(order)))
    question = f"{opening} {sentences} {setting.asked.format(_ORDINALS[asked])}"
    return choice(question, draw.shuffled(order), order[asked])


def _leave_one(hints: Mapping[str, set[_Order]]) -> bool:
    return bool(hints) and len(set.intersection(*hints.values())) == 1


def _race(draw: Draw) -> Draft:
    return _puzzle(draw, _RACE, draw.whole(4, 5))


def _shelf(draw: Draw) -> Draft:
    return _puzzle(draw, _SHELF, draw.whole(4, 5))


def _height(draw: Draw) -> Draft:
    return _puzzle(draw, _HEIGHT, draw.whole(4, 5))


_PROPS = (
    ("holds a ball: {}", ("a red ball", "a blue ball", "a green ball", "a white ball", "a yellow ball"), "ball"),
    ("has a drink: {}", ("the tea", "the cocoa", "the milk", "the cider", "the lemonade"), "drink"),
    ("plays a part: {}", ("the king", "the ghost", "the cook", "the judge", "the thief"), "part"),
    ("gets a seat: {}", ("seat 1", "seat 2", "seat 3", "seat 4", "seat 5"), "seat"),
)


def _swaps(draw: Draw) -> Draft:
    count = draw.whole(3, 5)
    names, (lead, things, noun) = draw.some(people(), count), draw.pick(_PROPS)
    held = dict(zip(names, draw.some(things, count), strict=True))
    opening = f"At first, everyone {lead.format(listed([f'{name} {thing}' for name, thing in held.items()]))}."
    moves = []
    for _ in range(draw.whole(3, 6)):
        one, two = draw.some(names, 2)
        held[one], held[two] = held[two], held[one]
        moves.append(f"{one} and {two} swap {noun}s")
    steps = f"First {moves[0]}. " + " ".join(f"Then {move}." for move in moves[1:-1]) + f" Finally {moves[-1]}."
    asked = draw.pick(names)
    options = draw.shuffled(list(held.values()))
    return choice(f"{opening} {steps} Which {noun} does {asked} have at the end?", options, held[asked])


_COMPASS = ("north", "east", "south", "west")
_TURNS = {"right": 1, "left": -1, "around": 2}


def _facing(draw: Draw) -> Draft:
    name, heading = draw.pick(people()), draw.whole(0, 3)
    start, moves = _COMPASS[heading], []
    for _ in range(draw.whole(4, 6)):
        turn = draw.pick(tuple(_TURNS))
        heading = (heading + _TURNS[turn]) % 4
        moves.append(f"turns {turn}")
    return choice(
        f"{name} stands facing {start} and then {', '.join(moves[:-1])} and finally {moves[-1]}. A turn to the left or "
        f"right is a quarter turn, and turning around is half a turn. In which direction does {name} face now?",
        _COMPASS,
        _COMPASS[heading],
    )


def _walking(draw: Draw) -> Draft:
    name, step = draw.pick(people()), draw.pick((1, 2, 5, 10))
    short, long, straight = draw.pick(((3, 4, 5), (6, 8, 10), (5, 12, 13), (8, 15, 17)))
    ahead, aside = draw.shuffled((short * step, long * step))
    back = draw.whole(1, 9) * step
    (there, opposite), across = draw.shuffled(("east", "west")), draw.pick(("north", "south"))
    return number(
        f"{name} walks {ahead + back} m {there}, then {aside} m {across}, then {back} m {opposite}. How many metres is "
        f"{name} now from the starting point, in a straight line?",
        straight * step,
    )


def _cups(draw: Draw) -> Draft:
    cups, at = ["left", "middle", "right"], draw.whole(0, 2)
    start, moves = cups[at], []
    for _ in range(draw.whole(4, 7)):
        one, two = sorted(draw.different(0, 2, 2))
        at = {one: two, two: one}.get(at, at)
        moves.append(f"the {cups[one]} and the {cups[two]} cup")
    return choice(
        f"Three cups stand upside down in a row, and a coin lies under the {start} cup. The juggler exchanges the "
        f"places of two cups at a time, and the coin moves with its cup: {'; then '.join(moves)}. Left, middle and "
        "right always mean the places at that moment. Under which cup is the coin now?",
        [f"the {cup} cup" for cup in cups],
        f"the {cups[at]} cup",
    )


ORDERING: tuple[Template, ...] = (_race, _shelf, _height)
TRACKING: tuple[Template, ...] = (_swaps, _facing, _walking, _cups, _swaps)
