"""Numbers as models write them, read as exact rationals.

Units are dropped, and so is the percent sign, which is one: `50%`, `50 percent` and `50` are the same answer. Scale
words are not units: `2.5 million` is 2500000. Thousands may be grouped by commas, spaces, apostrophes or, beyond doubt,
by points: `1.234,56` is grouped, `1.234` is not. Nothing is evaluated but a fraction and a power of ten, both bounded.
"""
# ruff: noqa: RUF001 - typographic signs are what this module reads

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterator
from fractions import Fraction
from typing import NamedTuple

from avengers_edge.voting.latex import bare, denied, plain
from avengers_edge.voting.patterns import pattern

_ONES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_TEENS = ("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen")
_BELOW_TWENTY = {word: value for value, word in enumerate((*_ONES, *_TEENS))}
_TENS = {
    word: 10 * value
    for value, word in enumerate(("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"), 2)
}
_SCALES = {"thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_PARTS = {
    **{"half": 2, "third": 3, "quarter": 4, "fourth": 4, "hundredth": 100, "thousandth": 1000},
    **{word: value for value, word in enumerate(("fifth", "sixth", "seventh", "eighth", "ninth", "tenth"), 5)},
}
_SEVERAL = {**{f"{part}s": value for part, value in _PARTS.items()}, "halves": 2}

_FIRST = "|".join((*_BELOW_TWENTY, *_TENS, *_SCALES, "hundred", "dozen"))
_FRACTION = "|".join(sorted((*_PARTS, *_SEVERAL), key=len, reverse=True))
_NUMBER_WORD = rf"(?:an?[ ](?:{_FRACTION}|hundred|dozen|{'|'.join(_SCALES)})|half|{_FIRST})\b"
_RUN = pattern(
    rf"(?<![\w.])(?P<sign>-)?(?P<words>{_NUMBER_WORD}"
    rf"(?:(?:[ ]|-)(?:and[ ])?(?:an?[ ])?(?:{_FRACTION}|{_FIRST}|point)\b){{0,12}})(?![\w]|-[a-z])",
    re.IGNORECASE,
)


class _Spelled(NamedTuple):
    """A number in words and where it stands. `alone` is True for a lone "one", which is mostly a pronoun."""

    start: int
    end: int
    value: Fraction
    alone: bool


def _spelled_numbers(text: str) -> Iterator[_Spelled]:
    for match in _RUN.finditer(text):
        words = match["words"].lower().replace("-", " ").split(" ")
        value = _value(words)
        if value is not None:
            yield _Spelled(match.start(), match.end(), -value if match["sign"] else value, words == ["one"])


def _value(words: list[str]) -> Fraction | None:
    """Work out a run: a whole number, a fraction, both joined by "and", each with scale words or "dozen" behind it."""
    if "point" in words:
        return _with_decimals(words)
    factor = 1
    if any(word in _PARTS or word in _SEVERAL for word in words):  # else they are the whole number's own scales
        while words[-1] in _SCALES or words[-1] in ("hundred", "dozen"):
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
        tens = last in _TENS
        if word == "and":
            fits = last in ("hundred", *_SCALES)
        elif word in ("a", "an"):
            fits, group = last in ("", "and"), group + 1
        elif word in _BELOW_TWENTY:
            fits = last not in (*_BELOW_TWENTY, "a", "an") and (not tens or 1 <= _BELOW_TWENTY[word] <= 9)
            group += _BELOW_TWENTY[word]
        elif word in _TENS:
            fits, group = not tens and last not in (*_BELOW_TWENTY, "a", "an"), group + _TENS[word]
        elif word == "hundred":
            fits, group = group <= 99 and last != "and", (group or 1) * 100
        elif fits := _SCALES.get(word, room) < room and last != "and":
            room = _SCALES[word]
            total, group = total + (group or 1) * room, 0
        if not fits:
            return None
        last = word
    return None if last == "and" else total + group


# --- figures

_MOST_DIGITS = 200
_LARGEST_EXPONENT = 300
_TAIL = 10_000  # characters of a text's end in which the last number is looked for
_MOST_WORDS = 12  # of a phrase in which a number in words is looked for

_POINTS = r"[1-9][0-9]{0,2}(?:(?:\.[0-9]{3}){2,}+(?:,[0-9]++)?+|(?:\.[0-9]{3})++,[0-9]++)"
_APOSTROPHES = r"[1-9][0-9]{0,2}(?:(?:['’][0-9]{3})++|(?:_[0-9]{3})++)(?:[.,][0-9]++)?+"
_UNSIGNED = (
    rf"(?:(?:{_POINTS}|{_APOSTROPHES})(?![0-9_]|[.,'’][0-9])"
    r"|[0-9](?:[0-9]|,(?=[0-9]))*+(?:\.[0-9]++)?+|\.[0-9]++)"
)
_WRITTEN_SCALES = {
    **{"dozen": 12, "dozens": 12, "hundred": 10**2, "thousand": 10**3, "million": 10**6, "billion": 10**9},
    **{"trillion": 10**12, "lakh": 10**5, "crore": 10**7, "tausend": 10**3, "millionen": 10**6, "milliarde": 10**9},
    **{"milliarden": 10**9, "millions": 10**6, "milliard": 10**9, "milliards": 10**9, "millón": 10**6},
    **{"millones": 10**6, "万": 10**4, "萬": 10**4, "億": 10**8, "亿": 10**8},
}
"""Scale words of six languages. A "million" is German and French too; a "billion" is not, and is English here."""
_SCALE_WORDS = "|".join(sorted((word for word in _WRITTEN_SCALES if len(word) > 1), key=len, reverse=True))
_SCALE_SIGNS = "|".join(word for word in _WRITTEN_SCALES if len(word) == 1)
_NUMBER = pattern(
    rf"""(?<![A-Za-z0-9_^])(?<![0-9][.:])
        (?:(?<![)\]}}%])(?P<sign>[-+]))?
        (?:[$€£¥₹][ ]?(?P<inner_sign>[-+])?)?
        (?:
          (?P<clock>[0-9]++(?::[0-9]{{1,2}}(?![0-9]))++)
          | (?P<whole>[0-9]++)[ ]{{1,2}}(?P<part>[0-9]++)[ ]?/[ ]?(?P<of>[0-9]++)(?![0-9.])
          | (?P<over>{_UNSIGNED})[ ]?/[ ]?(?P<under>-?{_UNSIGNED})
          | 10[ ]?\^[ ]?[({{]?(?P<tens>[-+]?[0-9]++)[)}}]?
          | (?P<decimal>{_UNSIGNED})
            (?: [eE](?P<exponent>[-+]?[0-9]++) | [ ]?[*x][ ]?10[ ]?\^[ ]?[({{]?(?P<power>[-+]?[0-9]++)[)}}]? )?+
        )
        (?:(?P<scale>(?a:[ ](?:{_SCALE_WORDS})(?![A-Za-zé])){{1,2}}+|[ ]?(?:{_SCALE_SIGNS})))?+
    """,
    re.VERBOSE | re.IGNORECASE,
)
_THOUSANDS = pattern(r"[1-9][0-9]{0,2}(?:,[0-9]{3})+|[1-9][0-9]?(?:,[0-9]{2})+,[0-9]{3}")
_BY_POINTS = pattern(_POINTS)
_SPACED = pattern(r"(?<![0-9.,/])([1-9][0-9]{0,2}(?:[ ][0-9]{3})++)(?![0-9/]|[ ][0-9])")
_LIST = pattern(rf"[-+]?{_UNSIGNED}(?:[ ]?[,;][ ][-+]?{_UNSIGNED}){{1,20}}+")
_SIGN_WORDS = "minus|moins|menos"
_SIGNED = rf"(?=[$€£¥₹]?\.?[0-9]|(?<=[a-z][ ]){_NUMBER_WORD})"
_SPACED_SIGN = pattern(
    rf"""([=≈:(\[{{]|\b(?:is|are|was|be|equals|to|gives|ist|est|es|sind|beträgt)\b)([ $*_]{{0,3}})
        (?:-[ ]|\b(?:{_SIGN_WORDS})[ ])[ ]?{_SIGNED}""",
    re.IGNORECASE | re.VERBOSE,
)
_FIRST_SIGN = pattern(rf"(?:-[ ]|(?:{_SIGN_WORDS})[ ])[ ]?{_SIGNED}", re.IGNORECASE)
_NEGATIVE = pattern(rf"(?:(?a:\bnegative)[ ]|[负負][ ]?|マイナス[ ]?){_SIGNED}", re.IGNORECASE)
_AND_A_PART = pattern(
    r"(?<=[0-9]) and (?:(a|one|two|three)[ -])(?:(half)|(thirds?)|(quarters?|fourths?))\b", re.IGNORECASE
)
_PART_OVER = {"a": 1, "one": 1, "two": 2, "three": 3}
_BULLET = pattern(r"[-*+]\s+(?=[0-9][0-9.,]*+\s*[A-Za-z])")
_LATEX_FRACTION = pattern(
    r"([0-9]?)\s?\\frac\s?(?:\{\s?(-?[0-9.]{1,200})\s?\}\s?\{\s?(-?[0-9.]{1,200})\s?\}|([0-9])\s?([0-9]))"
)
_VULGAR = {ord(sign): f" {unicodedata.normalize('NFKC', sign).replace('⁄', '/')}" for sign in "½⅓⅔¼¾⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞"}
_DASHES = {ord("−"): "-", ord("–"): "-", ord("—"): " - ", ord("×"): "*", ord("·"): "*"}
_SUPERSCRIPT = pattern(r"[⁻⁺]?[⁰¹²³⁴⁵⁶⁷⁸⁹]+")
_FIGURES = str.maketrans("⁻⁺⁰¹²³⁴⁵⁶⁷⁸⁹", "-+0123456789")
_NO_CURRENCY = str.maketrans("", "", "$€£¥₹")

_ORDINAL_OR_VARIABLE = pattern(r"(?:st|nd|rd|th|[ ]?[xyzn])(?![A-Za-z])|\s?\^")
_LIST_ITEM = pattern(r"[.)]\s+\S")
_FORMULA = pattern(r"\\[a-zA-Z]+|[√π∞]|[0-9)}]\s?\^|[0-9][ ]?[xyzn](?![A-Za-z])")
_PROSE = pattern(r"[A-Za-z]{3,} [A-Za-z]{2,}")
_ASIDE = pattern(r"\s\(|[.;]\s|\n")
_REASON = pattern(r",\s(?:since|because|which|rounded|or|as|so|not|and not|rather|instead)\b")
_ORDINAL = pattern(r"\b([0-9]{1,20})(?:st|nd|rd|th)\b")
_EQUALS = pattern(r"(?<![<>!≤≥])[=≈]")
_LEAD_IN = pattern(r"(?:approximately|about|around|roughly|exactly|only|just|a total of|[~≈*_\s:(])+", re.IGNORECASE)
_BOLD = pattern(r"\*\*([^*\n]{1,60})\*\*")


def simplify(text: str) -> str:
    """Rewrite typography (full-width digits, superscripts, minus signs, LaTeX fractions) in ASCII."""
    text = _SUPERSCRIPT.sub(lambda match: "^" + match.group().translate(_FIGURES), plain(text))
    text = unicodedata.normalize("NFKC", text.translate(_VULGAR).translate(_DASHES))
    return _LATEX_FRACTION.sub(lambda of: f"{of[1]}{' ' if of[1] else ''}{of[2] or of[4]}/{of[3] or of[5]}", text)


def number_in(body: str) -> str | None:
    r"""Find the number that an answer states, such as the 80 of `x = 80 km/h (rounded)`.

    After an equals sign comes the result; a number at the start is the answer; otherwise the last one is that is not
    denied ("not 8"). A body that is a formula no number can stand for (`2\sqrt{3}`) is returned whole, as is a list.
    """
    body = _as_written(body)
    head = body[: aside.start()] if (aside := _ASIDE.search(body, 1)) else body
    if _starts_with_number(head) and (reason := _REASON.search(head)):
        head = head[: reason.start()]
    if (sides := _EQUALS.split(head)) and any(figure.isdigit() for figure in sides[-1]):
        head = sides[-1]
    head = _FIRST_SIGN.sub("-", head.strip(), count=1)
    if _LIST.fullmatch(head):
        return head
    found = [match for match in _NUMBER.finditer(head) if not _is_label(head, match)]
    others = head  # what is not a number
    for match in reversed(found):
        others = others[: match.start()] + others[match.end() :]
    if _FORMULA.search(others):
        return head if len(head) <= _MOST_DIGITS and not _PROSE.search(head) else None
    if not found:
        ordinal = _ORDINAL.search(head)
        return ordinal[1] if ordinal else _spelled_out(head)
    if _starts_with_number(head) and not denied(head, *found[0].span()):
        return _surface(found[0])
    return next((_surface(match) for match in reversed(found) if not denied(head, *match.span())), None)


def starts_with_number(body: str) -> bool:
    """Return whether a line opens with its number, as a bare answer does and a list item does not."""
    body = _as_written(body)
    match = _NUMBER.match(body)
    return match is not None and not _is_label(body, match)


def is_bare_number(body: str) -> bool:
    """Return whether a line is a number, in figures or words, with at most a short unit, and nothing else."""
    body = _as_written(body)
    match = _NUMBER.match(body)
    if match is None:
        spelled = next(_spelled_numbers(body), None)
        return spelled is not None and spelled.start == 0 and len(body[spelled.end :].split()) <= 2
    return not _is_label(body, match) and len(body[match.end() :].split()) <= 2


def whole_number(body: str) -> str | None:
    """Read a body that is one number and nothing else: `- 5`, `1 234`, `minus three quarters`; None if it is not."""
    body = _as_written(body)
    if _NUMBER.fullmatch(body):
        return body
    spelled = next(_spelled_numbers(body), None) if len(body) <= _MOST_DIGITS else None
    return _canonical(spelled.value) if spelled and (spelled.start, spelled.end) == (0, len(body)) else None


def last_number(text: str) -> str | None:
    """Find the last number of a text that is no list marker, ordinal, exponent or part of a name, and is not denied.

    A number printed bold in the last line that has one wins over what follows it in that line. Where there are no
    figures at all, the last line's number in words counts.
    """
    tail = _joined(_ascii(text[-_TAIL:]))
    found = None
    for match in _NUMBER.finditer(tail):
        if not _is_label(tail, match) and not denied(tail, *match.span()):
            found = match
    if found is None:
        return None if re.search(r"[0-9]", tail) else _spelled_out(tail.strip().rpartition("\n")[2].strip(" .!*_`"))
    line = tail[tail.rfind("\n", 0, found.start()) + 1 : found.end()] + tail[found.end() :].partition("\n")[0]
    bold = next((bold for bold in reversed(_BOLD.findall(line)) if is_bare_number(bold)), None)
    return number_in(bold) if bold else _surface(found)


def is_number(surface: str) -> bool:
    """Return whether a whole string is one number in any of the accepted spellings."""
    return _NUMBER.fullmatch(surface) is not None


def number_key(surface: str) -> str | None:
    """Make the canonical form of one number: a finite decimal where there is one, else p/q in lowest terms.

    Numbers of more than 200 digits, clock times and divisions by zero are compared as text. None: no number, or a
    power of ten beyond 300.
    """
    match = _NUMBER.fullmatch(surface)
    if match is None:
        return None
    as_text = "".join(surface.split())
    if match["clock"]:
        return as_text.lstrip("+")
    if sum(figure.isdigit() for figure in surface) > _MOST_DIGITS:
        exponent = match["exponent"] or match["power"] or match["tens"]
        return None if exponent and len(exponent) > 5 else as_text.replace(",", "").lstrip("+$€£¥₹")
    value = _magnitude(match)
    if value is None:
        return as_text if match["under"] or match["of"] or "," in surface else None
    if (match["sign"] == "-") != (match["inner_sign"] == "-"):
        value = -value
    for word in (match["scale"] or "").lower().split():
        value *= _WRITTEN_SCALES[word]
    return _canonical(value)


def is_list(surface: str) -> bool:
    """Return whether a comma in a string of figures parts two numbers, `1,2`, rather than thousands, `1,234`.

    In a sum or a sentence such a comma is a decimal one; only a formula cannot have that.
    """
    return any(
        "," in figures and not (_THOUSANDS.fullmatch(figures.partition(".")[0]) or _BY_POINTS.fullmatch(figures))
        for figures in re.findall(r"[0-9.,]+", re.sub(r"(?<=[0-9])['’_](?=[0-9])", "", surface))
    )


def _magnitude(match: re.Match[str]) -> Fraction | None:
    if match["whole"]:
        below = int(match["of"])
        return Fraction(int(match["whole"])) + Fraction(int(match["part"]), below) if below else None
    if match["over"]:
        over, under = _decimal(match["over"]), _decimal(match["under"])
        return over / under if over is not None and under else None
    exponent = match["exponent"] or match["power"] or match["tens"]
    value = _decimal(match["decimal"] or "1")
    if value is None or exponent is None:
        return value
    if len(exponent.lstrip("+-0")) > 3 or abs(int(exponent)) > _LARGEST_EXPONENT:
        return None
    return value * Fraction(10) ** int(exponent)


def _decimal(said: str) -> Fraction | None:
    sign = -1 if said.startswith("-") else 1
    said = re.sub("['’_]", "", said)
    if _BY_POINTS.fullmatch(said.lstrip("-")):
        said = said.replace(".", "").replace(",", ".")
    whole, point, places = said.lstrip("-").partition(".")
    if "," in whole:
        if _THOUSANDS.fullmatch(whole):
            whole = whole.replace(",", "")
        elif whole.count(",") == 1 and not point:  # 3,5 is three and a half where commas are decimal
            whole, _, places = whole.partition(",")
        else:
            return None
    return sign * Fraction(f"{whole or '0'}.{places or '0'}")


def _canonical(value: Fraction) -> str:
    denominator, places = value.denominator, 0
    while (shared := math.gcd(denominator, 10)) > 1:
        denominator, places = denominator // shared, places + 1
    if denominator != 1:
        return f"{value.numerator}/{value.denominator}"
    figures = str(abs(value.numerator) * 10**places // value.denominator).rjust(places + 1, "0")
    sign = "-" if value < 0 else ""
    return f"{sign}{figures[:-places]}.{figures[-places:]}" if places else sign + figures


def _surface(match: re.Match[str]) -> str:
    return match.group().translate(_NO_CURRENCY).strip()


def _is_label(text: str, match: re.Match[str]) -> bool:
    if _ORDINAL_OR_VARIABLE.match(text, match.end()):
        return True
    before = text[max(0, match.start() - 5) : match.start()]
    if before.lower() == "step ":
        return True
    opens_line = not before.rpartition("\n")[2].strip(" \t*#") and (match.start() <= 5 or "\n" in before)
    return opens_line and _LIST_ITEM.match(text, match.end()) is not None


def _starts_with_number(head: str) -> bool:
    lead_in = _LEAD_IN.match(head)
    return _NUMBER.match(head, lead_in.end() if lead_in else 0) is not None


def _as_written(body: str) -> str:
    """Write an answer as this module reads it: in ASCII, without markup, signs and thousands joined to the figures."""
    body = _joined(bare(_ascii(body)))
    return body if _BULLET.match(body) else _FIRST_SIGN.sub("-", body, count=1)


def _ascii(text: str) -> str:
    """Write a text in ASCII; the long dash of a sentence is no sign."""
    return simplify(text.replace("—", " ― "))


def _joined(text: str) -> str:
    """Join signs, thousands and fractions to their figures."""
    text = _SPACED.sub(lambda match: match[1].replace(" ", ""), text)
    text = _AND_A_PART.sub(lambda of: f" {_PART_OVER[of[1].lower()]}/{2 if of[2] else 3 if of[3] else 4}", text)
    return _NEGATIVE.sub("-", _SPACED_SIGN.sub(r"\1\2-", text))


def _spelled_out(head: str) -> str | None:
    """Read the number in words that a short phrase states: the one at its start, or else the last."""
    if len(head) > _MOST_DIGITS:
        return None
    found = [spelled for spelled in _spelled_numbers(head) if not denied(head, spelled.start, spelled.end)]
    if not found:
        return None
    lead_in = _LEAD_IN.match(head)
    first = found[0]
    after = head[first.end :]
    short = len(after.split()) <= (1 if first.alone else 3) or (not first.alone and after[:1] in ",;:(")
    if first.start == (lead_in.end() if lead_in else 0) and short:
        return _canonical(first.value)
    said = [spelled for spelled in found if not spelled.alone]
    return _canonical(said[-1].value) if said and len(head.split()) <= _MOST_WORDS else None
