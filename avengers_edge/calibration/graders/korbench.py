"""KOR-Bench: the inside of the last `[[...]]`, compared as the benchmark's `eval_utils.py` does, rule by rule.

Its rules for spelling are strict (spaces and quotes do not count, and hardly anything else), because a cipher's answer
is its letters. We forgive only typography: LaTeX and brackets around parts. Which comparison a question has is keyed by
its `meta`: `task` (cipher, counterfactual, logic, operation, puzzle), `rule_id` and `idx`, numbers in strings.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from types import MappingProxyType

from avengers_edge.calibration.graders.benchmark_rules import same_key, stated
from avengers_edge.calibration.graders.formulas import Equal, same_formula
from avengers_edge.calibration.questions import Question
from avengers_edge.voting.latex import plain
from avengers_edge.voting.markers import split_thoughts
from avengers_edge.voting.numbers import simplify

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


_CANDIDATES = 32
_LONGEST = 20_000
_FORMULAS = frozenset(
    {
        *(18, 73, 74, 77, 94, 115, 116, 117, 121, 122, 123, 125, 131, 132, 134, 135, 136, 141, 143, 145, 146, 147, 149),
        *range(151, 158),
        *(160, 161, 162, 164, 165, 166, 170, 206, 209, 211, 212, 213, 214, 215, 217, 218),
    }
)
"""The questions of the task operation, by idx, whose answers are formulas."""
_INEQUALITIES = frozenset({178, 179})
_SET_RULE = "18"
_MATRIX_RULES = frozenset({"23", "24", "25"})
_BOUND = re.compile(r"(≥|≤)\s*(-?[0-9]+(?:\.[0-9]+)?)")
_LATEX_BOUNDS = re.compile(r"\\(geq?|leq?)(?:slant)?(?![a-z])")
_OR = re.compile(r"\\text\s?\{\s?or\s?\}|or")


def korbench(question: Question, text: str, truncated: bool, equal: Equal) -> bool:
    """Judge by the question's task and rule."""
    given = _given(text, truncated)
    gold = str(question.answer).removeprefix("[[").removesuffix("]]")
    task, rule = str(question.meta.get("task", "")), str(question.meta.get("rule_id", ""))
    if question.answer_type == "choice":
        return given is not None and same_key(question, f"Answer: {given}\n", truncated=False)
    if given is None or not _clean(given):
        return False
    if task == "logic":
        return _logic(gold, given, in_any_order=rule == "5")
    if task == "operation":
        return _operation(gold, given, rule, _number(question.meta.get("idx")), equal)
    if task == "puzzle":
        return solves(gold, given, rule)
    return _clean(given) == _clean(gold)


def _given(text: str, truncated: bool) -> str | None:
    """Find the inside of the last pair of double brackets that has one, or else what another marker or line states."""
    said, _ = split_thoughts(text)
    for inside in _insides(said):
        if inside.strip():
            return inside
    return _unwrapped(stated(text, truncated)) or None


def _unwrapped(answer: str) -> str:
    """Take the markup off that does not belong to the answer: `**Answer:** A*B*` has the answer `A*B*`."""
    answer = re.sub(r"^[*_]{1,3}\s", "", answer).strip()
    if answer.endswith("**") and answer.count("**") % 2:  # it began before the answer did
        answer = answer[:-2]
    for markup in ("**", "`", '"', "$"):
        if len(answer) > 2 * len(markup) and answer.startswith(markup) and answer.endswith(markup):
            answer = answer.removeprefix(markup).removesuffix(markup)
    return answer.strip()


def _insides(text: str) -> Iterator[str]:
    end = len(text)
    for _ in range(_CANDIDATES):
        end = text.rfind("]]", 0, end)
        start = text.rfind("[[", 0, max(end, 0))
        if start < 0:
            return
        while start and text[start - 1] == "[":
            start -= 1
        while text[end - 1] == "]":
            end -= 1
        if end - start <= _LONGEST:
            yield text[start + 2 : end] if end > start + 1 else ""
        end = start


def _clean(answer: str) -> str:
    return re.sub(r'["\s\[\]]', "", answer)


def _logic(gold: str, given: str, *, in_any_order: bool) -> bool:
    parts = [_clean(side).replace(".", "").split(";") for side in (gold, given)]
    wanted, said = (sorted(side) for side in parts) if in_any_order else parts
    return wanted == said


def _operation(gold: str, given: str, rule: str, idx: int, equal: Equal) -> bool:
    if idx in _INEQUALITIES:
        return _bounds(given) == _bounds(gold) != []
    if rule == _SET_RULE:
        return _elements(given) == _elements(gold) != []
    if rule in _MATRIX_RULES:
        return _figures(given) == _figures(gold) != []
    wanted, said = ([part.strip() for part in _OR.split(side)] for side in (gold, given))
    if len(wanted) != len(said):
        return False
    if idx in _FORMULAS:
        return _same_roots(wanted, said, equal)
    return sorted(map(_typed, wanted)) == sorted(map(_typed, said))


def _same_roots(wanted: list[str], said: list[str], equal: Equal) -> bool:
    """Pair each formula wanted with one that was given and is left."""
    left = [side.rpartition("=")[2] for side in said]
    for formula in wanted:
        match = next((other for other in left if same_formula(formula, other, equal)), None)
        if match is None:
            return False
        left.remove(match)
    return True


def _typed(answer: str) -> str:
    """Write an answer as the benchmark expects it to be typed: `\\frac{5}{2}` as 5/2, without math delimiters."""
    return _clean(_LATEX_BOUNDS.sub(_bound_sign, simplify(answer))).replace("$", "").replace("*", "").rstrip(".")


def _bounds(answer: str) -> list[str]:
    return sorted(sign + figure for sign, figure in _BOUND.findall(_LATEX_BOUNDS.sub(_bound_sign, plain(answer))))


def _bound_sign(match: re.Match[str]) -> str:
    return "≥" if match[1].startswith("g") else "≤"


def _elements(answer: str) -> list[str]:
    return sorted(re.sub(r"\W", "", plain(answer)))


def _figures(answer: str) -> list[int]:
    return [int(figure) for figure in re.findall(r"[0-9]{1,300}", answer)]


def _number(said: object) -> int:
    return int(str(said)) if str(said).isascii() and str(said).isdigit() else -1
