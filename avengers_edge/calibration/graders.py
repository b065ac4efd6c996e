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
_RELATIVE_TOLERANCE = 0.01


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
    given = candidates[-1] if candidates else (lines[-1] if lines else "")
    return bool(given) and _squeezed(given) == _squeezed(str(question.answer))


def _squeezed(answer: str) -> str:
    """Drop what does not make an answer another one: spaces, case, brackets around the whole, markup, a last period."""
    bare = re.sub(r"[\s*`$]", "", answer).removeprefix("[[").removesuffix("]]").rstrip(".")
    return bare.casefold()


def _finqa(question: Question, text: str, truncated: bool) -> bool:
    """FinQA: within 1 %, and a percentage may be given as a fraction or the other way round."""
    if question.answer_type != "number":
        return _key(question, text, truncated)
    given = extract_answer(text, "number", truncated=truncated)
    key = None if given is None else canonical_key(given, "number")
    try:
        value, gold = _as_float(key or ""), float(str(question.answer))
    except ValueError:
        return False
    return any(abs(value * scale - gold) <= _RELATIVE_TOLERANCE * abs(gold) for scale in (1, 100, 0.01))


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
