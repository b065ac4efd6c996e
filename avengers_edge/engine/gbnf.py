"""Reads a GBNF grammar before llama.cpp does, by the same rules, and refuses what would hang it.

llama.cpp trusts a grammar. One that repeats `{5,2}`, nests deep or recurses on the left behind an empty rule hangs it
or takes all memory, and a few hundred bytes of rules that may be empty take it exponential time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from avengers_edge.errors import BadRequest

_MOST_ELEMENTS = 100_000  # 8 bytes each in llama.cpp
_MOST_NESTED = 64
MOST_REPEATS = 2000  # llama.cpp's own; it widens a larger upper bound to no bound at all
_MOST_BEGINNINGS = 10_000  # ways into one rule: llama.cpp holds a stack for each
_MOST_VISITS = 2_000_000

_ESCAPE = r'\\(?:x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[trn\\"\[\]-])'
_TOKEN = re.compile(
    rf"""
    (?P<space> (?:[ \t] | \#[^\r\n]*)+ )
    | (?P<newline> \r\n? | \n )
    | (?P<name> [a-zA-Z0-9-]+ )
    | (?P<define> ::= )
    | (?P<literal> "(?:[^"\\]|{_ESCAPE})*" )
    | (?P<set> \[ (?!\^?\]) \^? (?:[^\]\\]|{_ESCAPE})+ \] )
    | (?P<any> \. )
    | (?P<open> \( )
    | (?P<close> \) )
    | (?P<bar> \| )
    | (?P<repeat> [*+?] | \{{[ ]?(?P<least>[0-9]+)[ ]?(?P<comma>,)?[ ]?(?P<most>[0-9]*)[ ]?\}} )
    """,
    re.VERBOSE,
)
_TERMINAL = -1
_Sequence = list[int]
"""Numbers of rules, or `_TERMINAL`."""


def vet(text: str) -> None:
    """Refuse GBNF that llama.cpp cannot read, or cannot follow in bounded time and memory."""
    rules = _Rules(text)
    _limit_beginnings(rules.names, rules.defined())


class _Rules:
    """GBNF as plain rules, made as llama.cpp makes them: groups and repetitions become rules of their own."""

    def __init__(self, text: str) -> None:
        self.names: list[str] = []
        self.bodies: list[list[_Sequence] | None] = []
        self._numbers: dict[str, int] = {}
        self._elements = 0
        self._line = 1
        self._parse(text)

    def _fail(self, complaint: str) -> BadRequest:
        return BadRequest(f"the grammar cannot be used, line {self._line}: {complaint}")

    def _new(self, name: str) -> int:
        self.names.append(name)
        self.bodies.append(None)
        return len(self.names) - 1

    def _number(self, name: str) -> int:
        if name not in self._numbers:
            self._numbers[name] = self._new(name)
        return self._numbers[name]

    def _grow(self, count: int) -> None:
        self._elements += count
        if self._elements > _MOST_ELEMENTS:
            raise self._fail(f"it has more than {_MOST_ELEMENTS} elements when its repetitions are written out")

    def _tokens(self, text: str) -> Iterator[re.Match[str]]:
        place = 0
        while place < len(text):
            match = _TOKEN.match(text, place)
            if match is None or "\0" in match[0]:
                if text[place] in "<!":
                    raise self._fail("tokens such as <think> cannot be asked for: write their text as a literal")
                raise self._fail(f"it does not read as GBNF from {text[place : place + 20]!r}")
            if match.lastgroup != "space":
                yield match
            self._line += len(re.findall(r"\r\n?|\n", match[0]))
            place = match.end()

    def _parse(self, text: str) -> None:
        frames: list[tuple[int, list[_Sequence]]] = []  # the rule and the groups that are open
        name: str | None = None
        item: tuple[int, int, int] | None = None  # what could be repeated: symbol, elements, llama.cpp's count of rules
        last = "newline"
        for match in self._tokens(text):
            kind = str(match.lastgroup)
            if kind == "newline":
                if name is not None:
                    raise self._fail(f"`::=` is missing after {name!r}")
                if len(frames) == 1 and last not in ("define", "bar"):
                    number, body = frames.pop()
                    self.bodies[number] = body
                continue
            if not frames:
                if name is None and kind == "name":
                    name = match[0]
                elif name is not None and kind == "define":
                    number = self._number(name)
                    if self.bodies[number] is not None:
                        raise self._fail(f"rule {name!r} is defined twice")
                    frames.append((number, [[]]))
                    name = item = None
                else:
                    raise self._fail(f'a rule such as `root ::= "yes"` was expected, not {match[0][:20]!r}')
            elif kind == "define":
                raise self._fail("`::=` is inside a rule: begin each rule on a new line")
            elif kind == "bar":
                frames[-1][1].append([])
                self._grow(1)
                item = None
            elif kind == "open":
                if len(frames) > _MOST_NESTED:
                    raise self._fail(f"groups are nested more than {_MOST_NESTED} deep")
                number = self._new("a group")
                frames.append((number, [[]]))
                self._grow(2)
                item = None
            elif kind == "close":
                if len(frames) == 1:
                    raise self._fail("`)` has no `(`")
                number, body = frames.pop()
                self.bodies[number] = body
                frames[-1][1][-1].append(number)
                item = (number, 1, len(self.names) - number)
            elif kind == "repeat":
                if item is None:
                    raise self._fail(
                        f"{match[0]!r} has nothing to repeat before it: put what it repeats in parentheses"
                    )
                self._repeat(frames[-1][1][-1], item, match)
                item = None
            elif kind == "name":
                number = self._number(match[0])
                frames[-1][1][-1].append(number)
                self._grow(1)
                item = (number, 1, 1)
            elif match[0] == '""':
                item = None
            else:
                frames[-1][1][-1].append(_TERMINAL)
                self._grow(len(match[0]))
                item = (_TERMINAL, len(match[0]), 1)
            last = kind
        if len(frames) > 1 or name is not None:
            raise self._fail("it ends inside a rule")
        if frames:
            self.bodies[frames[0][0]] = frames[0][1]

    def _repeat(self, sequence: _Sequence, item: tuple[int, int, int], match: re.Match[str]) -> None:
        symbol, elements, rules = item
        least, most = {"*": (0, None), "+": (1, None), "?": (0, 1)}.get(match[0], (-1, None))
        if least < 0:
            if max(len(match["least"]), len(match["most"])) > 6:
                raise self._fail(f"{match[0][:20]!r} repeats more than {MOST_REPEATS} times")
            least = int(match["least"])
            most = least if not match["comma"] else int(match["most"]) if match["most"] else None
        if most is not None and most < least:
            raise self._fail(f"{match[0]!r} asks for at most {most} but at least {least}")
        if (most or least or 1) * rules > MOST_REPEATS:
            raise self._fail(f"{match[0]!r} repeats more than llama.cpp's {MOST_REPEATS} times, all rules counted")
        self._grow(least * elements)
        sequence.pop()
        sequence.extend([symbol] * least)
        optional: int | None = None
        for _ in range(1 if most is None else most - least):
            number = self._new("a repetition")
            self._grow(elements + 2)
            rest = [number] if most is None else [] if optional is None else [optional]
            self.bodies[number] = [[symbol, *rest], []]
            optional = number
        if optional is not None:
            sequence.append(optional)

    def defined(self) -> list[list[_Sequence]]:
        """Return the alternatives of each rule, all of which have to be there, and one called root."""
        if "root" not in self._numbers:
            raise BadRequest("the grammar has no rule `root`, where a text begins")
        for name, number in self._numbers.items():
            if self.bodies[number] is None:
                raise BadRequest(f"the grammar uses the rule {name[:40]!r} but does not define it")
        return [body or [] for body in self.bodies]


def _limit_beginnings(names: list[str], bodies: list[list[_Sequence]]) -> None:
    # llama.cpp walks from a rule into each rule that it may begin with, without remembering what it saw, and keeps a
    # stack for each way. It overlooks that a rule made only of rules that may be empty may be empty.
    empty = _may_be_empty(bodies)
    first = [
        [symbol for sequence in body for symbol in _beginnings(number, sequence, empty)]
        for number, body in enumerate(bodies)
    ]
    ways = [0] * len(bodies)  # 0: not seen, -1: being walked
    for start in range(len(bodies)):
        if ways[start]:
            continue
        ways[start] = -1
        walk = [(start, iter(first[start]))]
        while walk:
            number, rest = walk[-1]
            follower = next(rest, None)
            if follower is None:
                ways[number] = 1 + sum(ways[s] for s in first[number])
                walk.pop()
            elif ways[follower] == -1:
                raise BadRequest(
                    f"the grammar's rule {names[follower]!r} can begin with itself: let it end with itself"
                )
            elif ways[follower] == 0:
                if len(walk) >= 1000:  # llama.cpp recurses
                    raise BadRequest("the grammar's rules begin with one another more than 1000 deep: use fewer rules")
                ways[follower] = -1
                walk.append((follower, iter(first[follower])))
    runs = (run for body in bodies for sequence in body for run in _runs(sequence, empty, ways))
    if max(runs, default=0) > _MOST_BEGINNINGS or sum(ways) > _MOST_VISITS:
        raise BadRequest("the grammar has too many ways to go on at one place: use fewer optional parts in a row")


def _beginnings(number: int, sequence: _Sequence, empty: list[bool]) -> Iterator[int]:
    for place, symbol in enumerate(sequence):
        if symbol == _TERMINAL or (symbol == number and place == len(sequence) - 1 > 0):
            return  # `x ::= y x` with an empty y leads to the same stack again, which llama.cpp sees
        yield symbol
        if not empty[symbol]:
            return


def _runs(sequence: _Sequence, empty: list[bool], ways: list[int]) -> Iterator[int]:
    run = 0
    for symbol in sequence:
        run = 0 if symbol == _TERMINAL else run + ways[symbol]
        yield run
        if symbol != _TERMINAL and not empty[symbol]:
            run = 0


def _may_be_empty(bodies: list[list[_Sequence]]) -> list[bool]:
    empty = [False] * len(bodies)
    waiting: dict[int, list[list[int]]] = {}  # for a rule: [rule that needs it, how many more it needs]
    found: list[int] = []
    for number, body in enumerate(bodies):
        for sequence in body:
            if not sequence:
                found.append(number)
            elif _TERMINAL not in sequence:
                need = [number, len(sequence)]
                for symbol in sequence:
                    waiting.setdefault(symbol, []).append(need)
    while found:
        number = found.pop()
        if empty[number]:
            continue
        empty[number] = True
        for need in waiting.get(number, ()):
            need[1] -= 1
            if not need[1]:
                found.append(need[0])
    return empty
