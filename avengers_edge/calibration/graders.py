"""Is an answer right? One grader per answer type, with the benchmark's own rule where it has one."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType

from avengers_edge.calibration.questions import Question
from avengers_edge.errors import BadRequest
from avengers_edge.voting.keys import answer_key, canonical_key, extract_answer
from avengers_edge.voting.markers import marked_answers, split_thoughts

_PERSON = re.compile(r"\b([A-Z][a-z]+)\b(?:\W{0,6})is(?: a)?\W{1,6}(knight|knave)\b")
_SCALE_WORD = re.compile(r"(?:thousand|million|billion|trillion)$", re.IGNORECASE)
_RELATIVE_TOLERANCE = 0.01
_SHARES = (1, 100, 0.01)
_TABLE_UNITS = (1e-3, 1e-6, 1e-9, 1e-12)


def grade(question: Question, text: str, *, truncated: bool = False) -> bool:
    """Tell whether a model's text answers the question rightly.

    Raises:
        BadRequest: the question is of a type that no grader judges (code is run, not read).

    """
    if question.answer is None or question.answer_type == "code":
        raise BadRequest(f"question {question.id!r} is graded by running code, not by reading it")
    judge = _BY_DATASET.get(question.dataset) or (_text if question.answer_type == "text" else _key)
    return judge(question, text, truncated)


def _key(question: Question, text: str, truncated: bool) -> bool:
    kind = question.answer_type
    given = answer_key(text, kind, truncated=truncated, choices=question.choices)
    return given is not None and given == canonical_key(str(question.answer), kind)


def _text(question: Question, text: str, truncated: bool) -> bool:
    """Compare the last marked answer, or else the last line, letter by letter without spaces."""
    said, _ = split_thoughts(text)
    candidates = [marked.body for marked in marked_answers(said) if marked.complete or not truncated]
    lines = [] if truncated else [line for line in said.splitlines() if line.strip()]
    given = candidates[0] if candidates else (lines[-1] if lines else "")
    return bool(given) and _squeezed(given) == _squeezed(str(question.answer))


def _squeezed(answer: str) -> str:
    """Drop what does not make an answer another one: spaces, case, brackets around the whole, markup, a last period."""
    bare = re.sub(r"[\s*`$]", "", answer).removeprefix("[[").removesuffix("]]").rstrip(".")
    return bare.casefold()


def _finqa(question: Question, text: str, truncated: bool) -> bool:
    """FinQA: within 1 %; a percentage may be a fraction or the other way round, and "2.5 million" a table's 2.5.

    Gold answers are in the unit of the question's table, which the answer's scale word may repeat or undo.
    """
    if question.answer_type != "number":
        return _key(question, text, truncated)
    given = extract_answer(text, "number", truncated=truncated)
    if given is None:
        return False
    try:
        value, gold = _as_float(canonical_key(given, "number") or ""), float(str(question.answer))
    except (ValueError, ArithmeticError):  # a clock time, a formula, 3/0
        return False
    scales = (*_SHARES, *_TABLE_UNITS) if _SCALE_WORD.search(given) else _SHARES
    return any(abs(value * scale - gold) <= _RELATIVE_TOLERANCE * abs(gold) for scale in scales)


def _as_float(key: str) -> float:
    numerator, _, denominator = key.partition("/")
    return float(numerator) / float(denominator or "1")


def _knights(question: Question, text: str, truncated: bool) -> bool:
    """Knights and knaves: everyone must be right; what was said last of a person counts."""
    gold = dict(_PERSON.findall(str(question.answer)))
    said, _ = split_thoughts(text)
    given = dict(_PERSON.findall(said))
    return not truncated and {name: given.get(name) for name in gold} == gold


_BY_DATASET: Mapping[str, Callable[[Question, str, bool], bool]] = MappingProxyType(
    {"finqa": _finqa, "kandk": _knights}
)
