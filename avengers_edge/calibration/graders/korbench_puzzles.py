"""KOR-Bench's puzzles: a comparison for each rule that needs its own, letters and figures for all others."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping
from fractions import Fraction
from types import MappingProxyType

from avengers_edge.voting.latex import plain

_LONGEST_SUM = 200
_TYPOGRAPHY = str.maketrans({"×": "*", "·": "*", "⋅": "*", "−": "-", "–": "-", "÷": "/"})  # noqa: RUF001
_OPERATIONS: Mapping[type[ast.operator], Callable[[Fraction, Fraction], Fraction]] = MappingProxyType(
    {
        ast.Add: lambda left, right: left + right,
        ast.Sub: lambda left, right: left - right,
        ast.Mult: lambda left, right: left * right,
        ast.Div: lambda left, right: left / right,
    }
)


def solves(gold: str, given: str, rule: str) -> bool:
    """Compare a puzzle's answer by the rule with that number; what has no letter or figure solves nothing."""
    return bool(re.search(r"\w", given)) and _BY_RULE.get(rule, _same_letters)(gold, given)


def _same_letters(gold: str, given: str) -> bool:
    """Letters and figures in their order, and nothing else, decide."""
    return re.sub(r"\W", "", plain(given)) == re.sub(r"\W", "", gold)


def _same_phrase(gold: str, given: str) -> bool:
    return _letters(given) == _letters(gold) != ""


def _one_of(gold: str, given: str) -> bool:
    """Any of the gold answers is right: "pre,re"."""
    said = _letters(given)
    return said != "" and said in [_letters(word) for word in re.split(r"[,\s]+", gold)]


def _same_words(gold: str, given: str) -> bool:
    wanted, said = (sorted(re.findall(r"\w+", side.lower())) for side in (gold, plain(given)))
    return wanted == said


def _same_assignments(gold: str, given: str) -> bool:
    """`S=9,E=5` in any order."""
    wanted, said = (sorted(re.sub(r"\s", "", side).split(",")) for side in (gold, plain(given)))
    return wanted == said


def _same_signs(gold: str, given: str) -> bool:
    """Compare the signs between the figures, and what the sum comes to with what the gold one says it does."""
    (left, _, _), (gold_left, _, result) = _sum(given).partition("="), _sum(gold).partition("=")
    same = re.findall(r"[+\-*/]", left) == re.findall(r"[+\-*/]", gold_left)
    return same and _value(left) is not None and _value(left) == _value(result)


def _makes_24(gold: str, given: str) -> bool:
    """Accept any sum that makes 24 of the same figures."""
    left, wanted = _sum(given).partition("=")[0], _sum(gold.partition("\n")[0]).partition("=")[0]
    same = sorted(re.sub(r"\W", "", left)) == sorted(re.sub(r"\W", "", wanted))
    return same and _value(left) == 24


def _same_grid(gold: str, given: str) -> bool:
    return re.sub(r"[,\s\[\]]", "", given) == re.sub(r"[,\s\[\]]", "", gold)


def _letters(text: str) -> str:
    return re.sub(r"[^a-z]", "", plain(text).lower())


def _sum(text: str) -> str:
    return plain(text).replace("\\div", "/").translate(_TYPOGRAPHY).replace("$", "")


def _value(text: str) -> Fraction | None:
    """Work out a sum of whole numbers; None if it is none or divides by zero."""
    if len(text) > _LONGEST_SUM:
        return None
    try:
        return _worked_out(ast.parse(text.strip(), mode="eval").body)
    except (SyntaxError, ValueError, ZeroDivisionError, RecursionError, MemoryError):
        return None


def _worked_out(node: ast.expr) -> Fraction:
    if isinstance(node, ast.Constant) and type(node.value) is int:
        return Fraction(node.value)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
        value = _worked_out(node.operand)
        return -value if isinstance(node.op, ast.USub) else value
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATIONS:
        return _OPERATIONS[type(node.op)](_worked_out(node.left), _worked_out(node.right))
    raise ValueError(f"{ast.dump(node)[:40]} is no sum")


_BY_RULE: Mapping[str, Callable[[str, str], bool]] = MappingProxyType(
    {
        "1": _same_phrase,
        "2": _one_of,
        "3": _same_words,
        "4": _one_of,
        "5": _same_assignments,
        "9": _same_signs,
        "10": _makes_24,
        "18": _same_grid,
    }
)
