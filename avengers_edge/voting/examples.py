"""Examples of a function in a question: what is called, and what it is said to give."""

from __future__ import annotations

import ast
import builtins
import re
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

_LONGEST = 200_000
"""Only so much of a question is looked at, in characters."""
_MOST_CALLS = 64
_MOST_LINES = 20
"""How many lines an assert may span."""
_LONGEST_CALL = 4000

_ASSERT = re.compile(r"^[ \t]*assert\b", re.MULTILINE)
_DEFINITION = re.compile(r"^[ \t]{0,4}(?:async[ ]+)?def[ ]+(\w+)[ ]*\(", re.MULTILINE)
_NAMED = re.compile(r"\b(?:called|named|function)[ ]+[`'\"]?([A-Za-z_]\w*)[`'\"]?(?=[ ]?\(|[`'\"])")
_PROMPT = re.compile(r"^([ \t]*)>>>[ ]?(.*)$", re.MULTILINE)
_END_OF_OUTPUT = re.compile(r'^\s*(?:$|>>>|"""|\'\'\'|```|~~~)')
_GIVES = re.compile(
    r"\s*`?\s*(?:==|=>|->|→|➞|=|(?:should |must |will )?(?:returns?|gives?|be|outputs?)\b|is\b|evaluates to\b)\s*`?"
)
_AFTER_VALUE = re.compile(r"[`.,;]*\s*$|`|[.,;]\s|\s+(?:and|because|since|as|for|but|while|#|\()")

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
        if _names(test) <= _BUILTINS | {entry}:
            found = _calls_of(test, entry)
            calls.update(dict.fromkeys(found))
            if found:
                checks[ast.unparse(test)] = None
    for call, expected in (*_doctests(text, entry), *_worded(text, entry)):
        calls[ast.unparse(call)] = None
        if expected is not None:
            checks[_equal(call, expected)] = None
    short = [call for call in calls if len(call) <= _LONGEST_CALL][:_MOST_CALLS]
    return Examples(entry, tuple(short), tuple(checks)[:_MOST_CALLS]) if short else None


def _entry(text: str, asserted: list[ast.expr]) -> str | None:
    """Find the function asked for: the one most asserts call, else the last one begun, else the one that is named."""
    called = Counter(name for test in asserted for name in _called(test) if name not in _BUILTINS)
    if called:
        return called.most_common(1)[0][0]
    for pattern in (_DEFINITION, _NAMED):
        if names := pattern.findall(text):
            return str(names[-1])
    return None


def _asserted(text: str) -> Iterator[ast.expr]:
    for match in _ASSERT.finditer(text):
        lines = text[match.start() : match.start() + _LONGEST_CALL].splitlines()[:_MOST_LINES]
        for end in range(1, len(lines) + 1):
            tree = _parse("\n".join(lines[:end]).strip())
            if tree is not None:
                yield from (statement.test for statement in tree.body[:1] if isinstance(statement, ast.Assert))
                break


def _doctests(text: str, entry: str) -> Iterator[tuple[ast.Call, ast.expr | None]]:
    """Read `>>> f(x)` with what stands below it, where that is a literal."""
    for match in _PROMPT.finditer(text):
        call = _call(match[2], entry)
        if call is None:
            continue
        wanted = []
        for line in text[match.end() + 1 : match.end() + _LONGEST_CALL].splitlines()[:_MOST_LINES]:
            if _END_OF_OUTPUT.match(line):
                break
            wanted.append(line.strip())
        yield call, _literal(" ".join(wanted))


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
    for end in _AFTER_VALUE.finditer(text):
        value = _literal(text[: end.start()].strip())
        if value is not None:
            return value
    return None


def _call(text: str, entry: str) -> ast.Call | None:
    """Read a call of the function with arguments that are literals."""
    tree = _parse(text.strip())
    statement = tree.body[0] if tree is not None and len(tree.body) == 1 else None
    call = statement.value if isinstance(statement, ast.Expr) else None
    found = isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == entry
    return call if found and isinstance(call, ast.Call) and _names(call) <= _BUILTINS | {entry} else None


def _calls_of(test: ast.expr, entry: str) -> list[str]:
    return [
        ast.unparse(node)
        for node in ast.walk(test)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == entry
    ]


def _equal(call: ast.Call, expected: ast.expr) -> str:
    """Write that a call gives a value; floats are given with a few digits, so they are compared so."""
    left, right = ast.unparse(call), ast.unparse(expected)
    is_float = isinstance(expected, ast.Constant) and isinstance(expected.value, float)
    return f"abs({left} - {right}) < 1e-06" if is_float else f"{left} == {right}"


def _literal(text: str) -> ast.expr | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            node = ast.parse(text, mode="eval").body
            ast.literal_eval(node)
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        return None
    return node


def _parse(text: str) -> ast.Module | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return None


def _names(node: ast.AST) -> set[str]:
    """Collect the names that an expression needs from outside it."""
    bound = {each.id for each in ast.walk(node) if isinstance(each, ast.Name) and not isinstance(each.ctx, ast.Load)}
    bound |= {each.arg for each in ast.walk(node) if isinstance(each, ast.arg)}
    return {each.id for each in ast.walk(node) if isinstance(each, ast.Name)} - bound


def _called(test: ast.expr) -> list[str]:
    return [node.func.id for node in ast.walk(test) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)]
