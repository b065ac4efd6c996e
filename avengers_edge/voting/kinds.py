"""What kind of answer a question wants, and which answers it offers.

Used for `--kind auto`. The rules are deliberately shy: a question taken for free text is merely not voted on, while a
chat taken for arithmetic gets a wrong instruction and a number for an answer. Options and sums tell their kind in any
language; the words that do are in `languages`.
"""
# ruff: noqa: RUF001 - typographic signs are what people type

from __future__ import annotations

import functools
import re
from collections.abc import Callable

from avengers_edge.records import Ask, Kind
from avengers_edge.voting import languages
from avengers_edge.voting.latex import narrow
from avengers_edge.voting.patterns import pattern, wording

SINGLE_SAMPLE_KINDS: frozenset[Kind] = frozenset({"text", "code"})
"""Kinds of which one sample is taken unless more are asked for: their samples hardly ever agree word for word."""

_TAIL = 20_000
"""Only this much of the end of a long question is looked at, in characters: the request stands at the end."""

_OPTION_LINE = pattern(r"^[ \t]{0,8}(?:\(([A-Z])\)|([A-Z])[).:、])[ \t]*+(\S[^\n]{0,4000})$", re.MULTILINE)
_OPTION_INLINE = pattern(
    r"(?<![\w(])(?:\(([A-H])\)|([A-H])\))[ \t]+|(?<![A-Za-z(])(?:\(([A-H])\)|([A-H])[)、.:])(?=[^\s!-~])"
)
_BULLET = pattern(r"^[ \t]*[-*•][ \t]+")
_LABEL_LIST = wording(
    r"^(?:options|choices|labels|categories)[ \t]*:[ \t]*\n((?:[ \t]{0,8}[-*•][ \t]+[^\n]{1,80}(?:\n|$)){2,30})"
)
_QUOTED_WORD = r"[\"'`“]?\w[\w-]{0,20}[\"'`”]?"
_ANSWER_ONE_OF = wording(
    r"\b(?:answer|reply|respond)(?:\s(?:only|just))?(?:\swith)?(?:\s(?:either|one of))?:?[ \t]{1,4}"
    rf"((?:{_QUOTED_WORD},[ ]){{0,12}}{_QUOTED_WORD},?[ ]or[ ]{_QUOTED_WORD})(?=[ \t]{{0,4}}(?:[.!)]|$))"
)
_CLASSIFY_AS = wording(
    r"\b(?:classify|label)\b[^.?!\n]{0,80}\bas\s((?:[\w-]{1,20},[ ]){0,8}[\w-]{1,20},?[ ]or[ ][\w-]{1,20})\b"
)

_MATHEMATICS = pattern(
    r"\\(?:frac|sqrt|int|sum|lim|log|ln|sin|cos|tan|pi|theta|cdot|times|le|ge|left|begin|binom|overline|angle)(?![a-z])"
    r"|\$[^$\n]{1,200}[\\^_=+{][^$\n]{0,200}\$"
    r"|[a-z0-9)]\s?\^\s?[({]?-?\w|(?<!\w)\d{0,4}[a-z]\s?[-+*/=]\s?[\d(]|[\d)]\s?[-+*/=]\s?\d{0,4}[a-z](?!\w)"
    r"|\b[a-z]\(x\)|[√π∫]|\b(?:sin|cos|tan|log|ln|sqrt)\s?\("
)

_SUM_SIGNS = frozenset("0123456789+-*/×÷^%().,=? x")


def kind_of(question: str, ask: Ask) -> Kind:
    """Return what an answer is: as the user says, else as tests, schema or tools imply, else as the question sounds."""
    if ask.kind is not None:
        return ask.kind
    if ask.tests is not None:
        return "code"
    return "text" if ask.schema is not None or ask.tools is not None else infer_kind(question)


def comparison_of(ask: Ask) -> Callable[[str], str | None] | None:
    """Return what makes keys of free text, where such texts can be compared."""
    if ask.tools is not None:
        from avengers_edge.voting.calls import calls_key

        return functools.partial(calls_key, names=ask.tools.names)
    if ask.schema is None:
        return None
    from avengers_edge.voting.keys import json_key

    return json_key


def infer_kind(question: str) -> Kind:
    """Guess how the answers to a question can be compared; "text" when in doubt."""
    asked = narrow(question[-_TAIL:])
    if _options(asked):
        return "choice"
    if _wants_code(asked):
        return "code"
    if _labels(asked):
        return "label"
    if _wants_formula(asked):
        return "expression"
    return "number" if _wants_number(asked) else "text"


def find_choices(question: str) -> tuple[str, ...] | None:
    """Read the answers that a question offers: its lettered options in order, or its closed set of labels."""
    asked = question[-_TAIL:]
    return _options(asked) or _labels(asked)


def _options(asked: str) -> tuple[str, ...] | None:
    narrowed = narrow(asked)  # character by character, so that places stay what they are
    lines = [
        ((match[1] or match[2]), asked[match.start(3) : match.end(3)].strip())
        for match in _OPTION_LINE.finditer(narrowed)
    ]
    if found := _last_run(lines):
        return found
    marks = list(_OPTION_INLINE.finditer(narrowed))[-26:]
    inline = []
    for at, mark in enumerate(marks):
        end = marks[at + 1].start() if at + 1 < len(marks) else len(asked)
        letter = next(letter for letter in mark.groups() if letter)
        inline.append((letter, asked[mark.end() : end].partition("\n")[0].strip(" \t,;，；、　")))
    return _last_run(inline)


def _last_run(lettered: list[tuple[str, str]]) -> tuple[str, ...] | None:
    """Take the last run of options that starts at A, skips no letter, and has at least two."""
    starts = [at for at, (letter, _) in enumerate(lettered) if letter == "A"]
    run: list[str] = []
    for letter, option in lettered[starts[-1] :] if starts else []:
        if ord(letter) - ord("A") != len(run):
            break
        run.append(option)
    return tuple(run) if len(run) > 1 and all(run) else None


def _labels(asked: str) -> tuple[str, ...] | None:
    if lists := _LABEL_LIST.findall(asked):
        return tuple(_BULLET.sub("", line).strip() for line in lists[-1].splitlines() if line.strip())
    if named := (_ANSWER_ONE_OF.findall(asked) or _CLASSIFY_AS.findall(asked)):
        labels = tuple(label.strip(" \"'`“”") for label in re.split(r",?[ ]or[ ]|,[ ]", named[-1]))
        if len(set(labels)) == len(labels) and all(labels):
            return labels
    return next((words for asks, words in languages.YES_NO if asks.search(asked)), None)


def _wants_code(asked: str) -> bool:
    before, fence, after = asked.partition("```")
    around = before + after.rpartition("```")[2]
    return bool((fence and languages.MEND.search(around)) or languages.CODE.search(asked))


def _wants_formula(asked: str) -> bool:
    if languages.OPEN_ENDED.search(asked) or languages.WANTS_INTEGER.search(asked):
        return False
    if languages.STRONGLY_SYMBOLIC.search(asked):
        return True
    return bool(_MATHEMATICS.search(asked) and languages.SYMBOLIC.search(asked))


def _wants_number(asked: str) -> bool:
    last_line = asked.strip().rpartition("\n")[2]
    signs = set(last_line)
    if len(re.findall(r"\d+", last_line)) > 1 and signs <= _SUM_SIGNS and signs & set("+-*/×÷^x="):
        return True
    if languages.ARITHMETIC.search(asked):
        return True
    if languages.INTEGER_IN_ENGLISH.search(asked) and _MATHEMATICS.search(asked):
        return True
    if languages.OPEN_ENDED.search(asked):
        return False
    return bool(languages.HOW_MANY.search(asked) or (languages.FIGURE.search(asked) and _asks_quantity(asked)))


def _asks_quantity(asked: str) -> bool:
    if languages.ASKS_QUANTITY.search(asked):
        return True
    measured = languages.MEASURE.search(asked) or languages.QUANTITY.search(asked)
    return bool(measured and not languages.MATTER_OF_TASTE.search(asked))
