"""Votes of code: programs are compared by what they do.

They are run on the question's own examples and on calls that are near to them, each with one argument that is a little
different; where the user gives tests, on these.
"""

from __future__ import annotations

import ast
import builtins
import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import chain, takewhile, zip_longest
from typing import Protocol

from avengers_edge.errors import BadRequest, NoSandbox
from avengers_edge.voting.patterns import pattern
from avengers_edge.voting.source import code_key, parse, parse_expression

_LONGEST = 200_000  # characters of a question that are looked at
_MOST_CALLS = 64
_LONGEST_CALL = 4000
_MOST_LINES = 20  # of one assert

_LONGEST_VARIED = 2000
_MOST_VARIATIONS = 24

_AT_A_TIME = 4
_BY_TEXT = "samples of code were compared by their text"

_ASSERT = pattern(r"^[ \t]*assert\b", re.MULTILINE)
_DEFINITION = pattern(r"^[ \t]{0,4}(?:async[ ]+)?def[ ]+(\w+)[ ]*\(", re.MULTILINE)
_NAMED = pattern(r"\b(?:called|named|function)[ ]+[`'\"]?([A-Za-z_]\w*)[`'\"]?(?=[ ]?\(|[`'\"])")
_PROMPT = pattern(r"^([ \t]*)>>>[ ]?(.*)$", re.MULTILINE)
_END_OF_OUTPUT = pattern(r'^\s*(?:$|>>>|"""|\'\'\'|```|~~~)')
_GIVES = pattern(
    r"\s*`?\s*(?:==|=>|->|→|➞|=|(?:should |must |will )?(?:returns?|gives?|be|outputs?)\b|is\b|evaluates to\b)\s*`?"
)
_AFTER_VALUE = pattern(r"[`.,;]*\s*$|`|[.,;]\s|\s+(?:and|because|since|as|for|but|while|#|\()")

_FAILS = pattern(r"fails-(?:tests|(\d+)-of-\d+)-")

_BUILTINS = frozenset(vars(builtins))


@dataclass(frozen=True, slots=True)
class Examples:
    """What a question says of the function it asks for.

    `calls` are expressions that call it; `checks` are expressions that are true of a right one. Both call nothing but
    the function and Python's own.
    """

    entry: str
    calls: tuple[str, ...]
    checks: tuple[str, ...]


def examples_in(question: str) -> Examples | None:
    """Read asserts, doctests and clear words ("f(1) returns 2") in a question; None if there is no call."""
    text = question[:_LONGEST]
    asserted = list(_asserted(text))
    entry = _entry(text, asserted)
    if entry is None:
        return None
    calls: dict[str, None] = {}
    checks: dict[str, None] = {}
    for test in asserted:
        found = [ast.unparse(call) for name, call in _calls_in(test) if name == entry]
        if found and _names(test) <= _BUILTINS | {entry}:
            calls.update(dict.fromkeys(found))
            checks[ast.unparse(test)] = None
    for call, expected in (*_doctests(text, entry), *_worded(text, entry)):
        calls[ast.unparse(call)] = None
        if expected is not None:
            checks[_equal(call, expected)] = None
    short = [call for call in calls if len(call) <= _LONGEST_CALL][:_MOST_CALLS]
    return Examples(entry, tuple(short), tuple(checks)[:_MOST_CALLS]) if short else None


def _entry(text: str, asserted: list[ast.expr]) -> str | None:
    """Find the function asked for: the one most asserts call, else the last one begun, else the one that is named."""
    called = Counter(name for test in asserted for name, _ in _calls_in(test) if name not in _BUILTINS)
    if called:
        return called.most_common(1)[0][0]
    names = _DEFINITION.findall(text) or _NAMED.findall(text)
    return str(names[-1]) if names else None


def _asserted(text: str) -> Iterator[ast.expr]:
    for match in _ASSERT.finditer(text):
        lines = text[match.start() : match.start() + _LONGEST_CALL].splitlines()[:_MOST_LINES]
        for end in range(1, len(lines) + 1):
            tree = parse("\n".join(lines[:end]).strip())
            if tree is not None:
                yield from (statement.test for statement in tree.body[:1] if isinstance(statement, ast.Assert))
                break


def _doctests(text: str, entry: str) -> Iterator[tuple[ast.Call, ast.expr | None]]:
    """Read `>>> f(x)` with what stands below it, where that is a literal."""
    for match in _PROMPT.finditer(text):
        call = _call(match[2], entry)
        if call is None:
            continue
        below = text[match.end() + 1 : match.end() + _LONGEST_CALL].splitlines()[:_MOST_LINES]
        wanted = takewhile(lambda line: not _END_OF_OUTPUT.match(line), below)
        yield call, _literal(" ".join(line.strip() for line in wanted))


def _worded(text: str, entry: str) -> Iterator[tuple[ast.Call, ast.expr | None]]:
    """Read `f(x)` in running text, with the literal that it is said to give on the same line."""
    for match in re.finditer(rf"(?<![\w.]){re.escape(entry)}[ ]?\(", text):
        line_start = text.rfind("\n", 0, match.start()) + 1
        before = text[line_start : match.start()].lstrip()
        if before.startswith((">>>", "assert", "def ", "async def ", "...")):
            continue
        end = text.find("\n", match.start())
        line = text[match.start() : end if end >= 0 else len(text)][:_LONGEST_CALL]
        for close in [at for at, sign in enumerate(line) if sign == ")"][:_MOST_LINES]:
            call = _call(line[: close + 1], entry)
            if call is not None:
                given = _GIVES.match(line, close + 1)
                yield call, _value_at(line[given.end() :].strip()) if given else None
                break


def _value_at(text: str) -> ast.expr | None:
    """Read the literal that a text begins with, if what follows it makes clear that it has ended."""
    values = (_literal(text[: end.start()].strip()) for end in _AFTER_VALUE.finditer(text))
    return next((value for value in values if value is not None), None)


def _call(text: str, entry: str) -> ast.Call | None:
    """Read a call of the function with arguments that are literals."""
    match parse_expression(text):
        case ast.Call(func=ast.Name(id=name)) as call if name == entry and _names(call) <= _BUILTINS | {entry}:
            return call
    return None


def _calls_in(test: ast.expr) -> list[tuple[str, ast.Call]]:
    """List the calls of functions that have a plain name."""
    calls = [node for node in ast.walk(test) if isinstance(node, ast.Call)]
    return [(call.func.id, call) for call in calls if isinstance(call.func, ast.Name)]


def _equal(call: ast.Call, expected: ast.expr) -> str:
    """Write that a call gives a value; floats are compared by the few digits that questions give."""
    left, right = ast.unparse(call), ast.unparse(expected)
    is_float = isinstance(expected, ast.Constant) and isinstance(expected.value, float)
    return f"abs({left} - {right}) < 1e-06" if is_float else f"{left} == {right}"


def _literal(text: str) -> ast.expr | None:
    node = parse_expression(text)
    if node is not None:
        try:
            ast.literal_eval(node)
        except (ValueError, TypeError, RecursionError, MemoryError):
            return None
    return node


def _names(node: ast.AST) -> set[str]:
    """Collect the names that an expression needs from outside it."""
    bound = {each.id for each in ast.walk(node) if isinstance(each, ast.Name) and not isinstance(each.ctx, ast.Load)}
    bound |= {each.arg for each in ast.walk(node) if isinstance(each, ast.arg)}
    return {each.id for each in ast.walk(node) if isinstance(each, ast.Name)} - bound


def varied(calls: Sequence[str], most: int) -> tuple[str, ...]:
    """Vary calls with literal arguments, in an order that depends on nothing else; each call gets its turn.

    Numbers become one more, one less, 0 and their negative; texts and sequences empty, reversed, doubled, one shorter,
    and sequences have all their items grown; dictionaries become empty; truths turn.
    """
    turns = zip_longest(*(_variations(call) for call in calls))
    fresh = dict.fromkeys(call for call in chain.from_iterable(turns) if call is not None and call not in calls)
    return tuple(fresh)[:most]


def _variations(call: str) -> Iterator[str]:
    node = parse_expression(call)
    if not isinstance(node, ast.Call):
        return
    slots = [*enumerate(node.args), *((keyword.arg or "", keyword.value) for keyword in node.keywords)]
    ways = zip_longest(*([(place, other) for other in _others(value)] for place, value in slots))
    for place, other in (way for turn in ways for way in turn if way is not None):
        args = [other if at == place else argument for at, argument in enumerate(node.args)]
        keywords = [ast.keyword(each.arg, other if each.arg == place else each.value) for each in node.keywords]
        text = ast.unparse(ast.Call(node.func, args, keywords))
        if len(text) <= _LONGEST_VARIED:
            yield text


def _others(node: ast.expr) -> list[ast.expr]:
    """Write the values near a literal's; an argument that is none has none."""
    try:
        value = ast.literal_eval(node)
        others = [parse_expression(repr(other)) for other in _near(value) if other != value]
    except (ValueError, TypeError, RecursionError, MemoryError):
        return []
    return [other for other in others if other is not None]


def _near(value: object) -> list[object]:
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int | float):
        return [value + 1, value - 1, 0, -value]
    if isinstance(value, str | bytes | list | tuple):
        others: list[object] = [value[:0], value[::-1], value + value, value[:-1]]  # type: ignore[operator]
        return others if isinstance(value, str | bytes) else [*others, type(value)(map(_grown, value))]
    return [{}] if isinstance(value, dict) else []


def _grown(item: object) -> object:
    if isinstance(item, int | float) and not isinstance(item, bool):
        return item + 1
    return item + item if isinstance(item, str | bytes | list | tuple) else item  # type: ignore[operator]


class Judge(Protocol):
    """Runs programs where they can do no harm."""

    def prepare(self) -> None:
        """Find out whether programs can be run here; NoSandbox if not."""
        ...

    def results(self, source: str, calls: Sequence[str]) -> Sequence[str | None] | None:
        """Return what each call gives after the program ran, None for one without an end; None: it does not run."""
        ...

    def passes(self, candidate: str, test: str) -> bool:
        """Return whether the tests hold after the program ran."""
        ...


def behaviour_key(source: str, examples: Examples | None, judge: Judge, tests: str | None = None) -> str | None:
    """Make the key that a program votes for: alike for programs that give the same; None for one that does not run.

    The key says so where the user's tests do not hold or, without tests, some of the question's own examples.
    """
    calls = (*examples.calls, *varied(examples.calls, _MOST_VARIATIONS)) if examples else ()
    checks = examples.checks if examples and tests is None else ()
    results = judge.results(source, [*calls, *checks])
    given = () if results is None else results[: len(calls)]
    # The function is there, and ended at least once.
    runs = results is not None and (not calls or any(result not in (None, "raises NameError") for result in given))
    key = _hash(given) if runs and calls else code_key(source)
    if tests is not None and judge.passes(source, tests):
        return key
    if results is None or not runs:
        return None
    if tests is not None:
        return f"fails-tests-{key}"
    failed = sum(result != "True" for result in results[len(calls) :])
    return f"fails-{failed}-of-{len(checks)}-{key}" if failed else key


def failures(key: str) -> int:
    """Rank a key: 0 where all holds that should, else more the more does not."""
    match = _FAILS.match(key)
    return 0 if match is None else int(match[1] or 1)


def _hash(results: Sequence[str | None]) -> str:
    lines = "\n".join("no end" if result is None else repr(result) for result in results)
    return hashlib.sha256(lines.encode("utf-8", "replace")).hexdigest()[:16]


class CodeExecution:
    """Compares programs by what they do; by their text where they cannot be run or there is nothing to run them on.

    `fallback` says why they are compared by their text; None while they are run.

    Args:
        question: in which examples are looked for.
        tests: the user's own, which decide instead of the question's examples.
        judge: runs programs; None runs none.

    Raises:
        BadRequest: the tests are no Python.
        NoSandbox: there are tests, and programs cannot be run here.

    """

    def __init__(self, question: str, tests: str | None, judge: Judge | None) -> None:
        if tests is not None:
            _check(tests)
        self._tests, self._judge = tests, judge
        self._examples = examples_in(question if tests is None else f"{question}\n{tests}")
        self.fallback: str | None = None
        if judge is None:
            self._compare_texts(NoSandbox("there is nothing to run code in: give a judge"))
        elif self._examples is None and tests is None:
            self.fallback = f"{_BY_TEXT}: the question has no example to run them on"
        else:
            try:
                judge.prepare()
            except NoSandbox as error:
                self._compare_texts(error)

    @property
    def enabled(self) -> bool:
        """Whether programs are run."""
        return self.fallback is None

    def keys(self, sources: Sequence[str | None]) -> list[str | None]:
        """Make the key that each program votes for; None has none. What is there twice is run once.

        Raises:
            NoSandbox: there are tests, and programs can be run here no longer.

        """
        different = list(dict.fromkeys(source for source in sources if source is not None))
        made: dict[str, str | None] = {}
        if self._judge is not None and self.enabled:
            run = partial(behaviour_key, examples=self._examples, judge=self._judge, tests=self._tests)
            try:
                with ThreadPoolExecutor(_AT_A_TIME, thread_name_prefix="code-votes") as pool:
                    made = dict(zip(different, pool.map(run, different), strict=True))
            except NoSandbox as error:
                self._compare_texts(error)
        if not self.enabled:
            made = {source: code_key(source) for source in different}
        return [None if source is None else made[source] for source in sources]

    def _compare_texts(self, error: NoSandbox) -> None:
        if self._tests is not None:
            raise error
        self.fallback = f"{_BY_TEXT}: {error}"


def _check(tests: str) -> None:
    try:
        ast.parse(tests)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = f" at line {error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
        raise BadRequest(f"the tests are no Python{line} ({error!s:.80}): write asserts") from error
