"""Numbers in English words: `one hundred and five`, `three quarters`, `two dozen`, `two and a half million`.

A run of number words is bounded, so a hostile text costs no more than an honest one. A run that makes no number ("one
two", "twenty third") is none; neither is an ordinal.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

_ONES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_TEENS = (
    *("ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"),
)
_BELOW_TWENTY = {word: value for value, word in enumerate((*_ONES, *_TEENS))}
_TENS = {
    word: 10 * at
    for at, word in enumerate(("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"), 2)
}
_SCALES = {"thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_PARTS = {
    "half": 2,
    "third": 3,
    "quarter": 4,
    "fourth": 4,
    "fifth": 5,
    "sixth": 6,
    "seventh": 7,
    "eighth": 8,
    "ninth": 9,
    "tenth": 10,
    "hundredth": 100,
    "thousandth": 1000,
}
_SEVERAL = {**{f"{part}s": value for part, value in _PARTS.items()}, "halves": 2}

_FIRST = "|".join((*_BELOW_TWENTY, *_TENS, *_SCALES, "hundred", "dozen"))
_FRACTION = "|".join((*sorted((*_PARTS, *_SEVERAL), key=len, reverse=True),))
NUMBER_WORD = rf"(?:an?[ ](?:{_FRACTION}|hundred|dozen|{'|'.join(_SCALES)})|half|{_FIRST})\b"
"""What a number in words begins with."""

_RUN = re.compile(
    rf"(?<![\w.])(?P<sign>-)?(?P<words>{NUMBER_WORD}(?:(?:[ ]|-)(?:and[ ])?(?:an?[ ])?(?:{_FRACTION}|{_FIRST}|point)\b)"
    rf"{{0,12}})(?![\w]|-[a-z])",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Spelled:
    """A number in words and where it stands. `alone` is True for a lone "one", which is mostly a pronoun."""

    start: int
    end: int
    value: Fraction
    alone: bool


def spelled_numbers(text: str) -> Iterator[Spelled]:
    """Find the numbers in words, first one first."""
    for match in _RUN.finditer(text):
        words = match["words"].lower().replace("-", " ").split(" ")
        value = _value(words)
        if value is not None:
            yield Spelled(match.start(), match.end(), -value if match["sign"] else value, words == ["one"])


def _value(words: list[str]) -> Fraction | None:
    """Work out a run: a whole number, a fraction, both joined by "and", each with scale words or "dozen" behind it."""
    if "point" in words:
        return _with_decimals(words)
    factor = 1
    while len(words) > 1 and (words[-1] in _SCALES or words[-1] in ("hundred", "dozen")):
        if not any(word in _PARTS or word in _SEVERAL for word in words[:-1]):
            break  # "two hundred thousand": a whole number's own scales
        factor *= _SCALES.get(words[-1]) or (12 if words[-1] == "dozen" else 100)
        words = words[:-1]
    if words[-1] == "a" and factor > 1:  # half a million
        words = words[:-1]
    part = _PARTS.get(words[-1]) or _SEVERAL.get(words[-1])
    if part is None:
        dozens = words[-1] == "dozen"
        whole = _whole(words[:-1] or ["one"]) if dozens else _whole(words)
        return None if whole is None else Fraction(whole * (12 if dozens else 1) * factor)
    before = words[:-1]
    at = len(before) - 1 - before[::-1].index("and") if "and" in before else -1
    over = _whole(before[at + 1 :]) if before[at + 1 :] else (1 if words[-1] == "half" else None)
    if over is None or (over == 1) != (words[-1] in _PARTS):
        return None
    whole = _whole(before[:at]) if at > 0 else 0
    return None if whole is None or at == 0 else (whole + Fraction(over, part)) * factor


def _with_decimals(words: list[str]) -> Fraction | None:
    at = words.index("point")
    whole, digits = _whole(words[:at]), [_BELOW_TWENTY.get(word, 10) for word in words[at + 1 :]]
    if whole is None or not digits or max(digits) > 9:
        return None
    return Fraction(f"{whole}.{''.join(map(str, digits))}")


def _whole(words: list[str]) -> int | None:
    """Work out a whole number; "and" may stand behind hundreds and scales only."""
    total, group, room = 0, 0, 10**15
    last = ""
    for word in words:
        if word == "and":
            if last not in ("hundred", *_SCALES):
                return None
        elif word in ("a", "an"):
            if last not in ("", "and"):
                return None
            group += 1
        elif word in _BELOW_TWENTY:
            if last in _BELOW_TWENTY or (last in _TENS and not 1 <= _BELOW_TWENTY[word] <= 9) or last in ("a", "an"):
                return None
            group += _BELOW_TWENTY[word]
        elif word in _TENS:
            if last in _BELOW_TWENTY or last in _TENS or last in ("a", "an"):
                return None
            group += _TENS[word]
        elif word == "hundred":
            if group > 99 or last == "and":
                return None
            group = (group or 1) * 100
        elif word in _SCALES:
            if _SCALES[word] >= room or last == "and":
                return None
            room = _SCALES[word]
            total, group = total + (group or 1) * room, 0
        else:
            return None
        last = word
    return None if last == "and" else total + group
