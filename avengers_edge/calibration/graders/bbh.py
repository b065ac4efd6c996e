"""BIG-Bench Hard: the two tasks whose answers are sequences; all others go by their answer type."""

from __future__ import annotations

import re

from avengers_edge.calibration.graders.readers import same_key, same_text, stated
from avengers_edge.calibration.questions import Question
from avengers_edge.voting.latex import plain
from avengers_edge.voting.markers import split_thoughts

_WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")  # noqa: RUF001 - models write both apostrophes
_BRACKET = re.compile(r"[\[\](){}<>]")
_WRAPPED = re.compile(r"\\(?:boxed|fbox|text[a-z]{0,2}|math[a-z]{2,3}|mbox)\s?\{(.*)\}")
_BRACKET_NAMES = {r"\rangle": ">", r"\langle": "<", r"\rbrace": "}", r"\lbrace": "{", r"\rbrack": "]", r"\lbrack": "["}
_MARKER = re.compile(r"\banswer[*_]{0,3}(?:\sis)?[*_]{0,3}\s?:?|(?=\\boxed)", re.IGNORECASE)
_TAIL = 5000


def bbh(question: Question, text: str, truncated: bool) -> bool:
    """Judge by the question's task."""
    task, gold = question.meta.get("task"), str(question.answer)
    if question.answer_type != "text":
        return same_key(question, text, truncated)
    if task == "word_sorting":
        return _sorted_words(gold, text, truncated)
    if task == "dyck_languages":
        return _closing_brackets(gold, text, truncated)
    return same_text(gold, text, truncated)


def _sorted_words(gold: str, text: str, truncated: bool) -> bool:
    """Compare the words in their order; what stands between them, and whether they are in lines, is no matter."""
    wanted = _words(gold)
    if _words(stated(text, truncated)) == wanted:
        return True
    said, _ = split_thoughts(text)
    if truncated:
        return False
    tail = plain(said[-_TAIL:])
    last = list(_WORD.finditer(tail))[-len(wanted) :]
    if not last or [word.group().casefold() for word in last] != wanted:
        return False
    before = tail[: last[0].start()].rstrip(" \t*_`\"'([{0123456789.)-")
    return not before or before[-1] in ":\n"


def _words(text: str) -> list[str]:
    return [word.casefold() for word in _WORD.findall(plain(text))]


def _closing_brackets(gold: str, text: str, truncated: bool) -> bool:
    """Compare the brackets of the line that has the answer; in LaTeX and Markdown they hide among others."""
    tail = split_thoughts(text)[0][-_TAIL:].rstrip()
    if truncated:
        tail = tail.rpartition("\n")[0]
    marker = max((match.end() for match in _MARKER.finditer(tail)), default=-1)
    if marker < 0 and truncated:
        return False
    start = marker if marker >= 0 else tail.rfind("\n") + 1
    line = tail[start:].lstrip(" \n:*`_").partition("\n")[0]
    given, wanted = _brackets(line), _brackets(gold)
    return given in (wanted, ["[", "[", *wanted, "]", "]"])


def _brackets(line: str) -> list[str]:
    for delimiter in (r"\(", r"\)", r"\[", r"\]"):
        line = line.replace(delimiter, "")
    while wrapped := _WRAPPED.search(line):
        line = line[: wrapped.start()] + wrapped[1]
    for name, bracket in _BRACKET_NAMES.items():
        line = line.replace(name, bracket)
    return _BRACKET.findall(line)
