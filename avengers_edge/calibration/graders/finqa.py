"""FinQA: figures out of annual reports, right within 1 %.

A percentage may be a fraction or the other way round. Gold answers are in the unit of the question's table, which the
answer's scale word ("2.5 million") may repeat or undo.
"""

from __future__ import annotations

import re

from avengers_edge.calibration.graders.readers import same_key
from avengers_edge.calibration.questions import Question
from avengers_edge.voting.keys import canonical_key, extract_answer

_SCALE_WORD = re.compile(r"(?:thousand|million|billion|trillion)$", re.IGNORECASE)
_RELATIVE_TOLERANCE = 0.01
_SHARES = (1, 100, 0.01)
_TABLE_UNITS = (1e-3, 1e-6, 1e-9, 1e-12)


def finqa(question: Question, text: str, truncated: bool) -> bool:
    """Compare a number with tolerance, "yes" and "no" as labels."""
    if question.answer_type != "number":
        return same_key(question, text, truncated)
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
