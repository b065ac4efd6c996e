"""The rules that BBEH and SuperGPQA publish with their data, so that figures can be compared with their rankings."""

from __future__ import annotations

import re
from string import ascii_uppercase

from avengers_edge.calibration.graders.readers import same_key, stated
from avengers_edge.calibration.questions import Question
from avengers_edge.voting.markers import split_thoughts

_TAIL = 20_000
_SPACE = r"\s{0,50}"
_OPENING = r"(?:\\(?:boxed|mathbf|mathrm|text)\{|[*$\\{(\[])*+"
_CLOSING = r"[\\}$)\]]{0,20}(?:[\s:.*)]|$)"
_ANNOUNCED = (
    rf"the\s{{1,50}}(?:\w{{1,50}}\s{{1,50}})?(?:answer|option)(?:\w{{1,50}})?\s{{1,50}}is?:?{_SPACE}",
    rf"answer[*\s]{{0,50}}:{_SPACE}",
    r"^[^\w\r\n]{0,50}",
)
_BBEH_ANNOUNCED = ("the final answer is:", "the final answer is", "the answer is:", "the answer is")
_BBEH_WRAPPED = re.compile(r"(?:boxed|text|texttt)\{(.*)\}$")


def supergpqa(question: Question, text: str, truncated: bool) -> bool:
    """SuperGPQA: the first letter announced in the last line, or else in the text; or else an option's own words."""
    said = split_thoughts(text)[0].rstrip()[-_TAIL:]
    if truncated:
        said = said.rpartition("\n")[0].rstrip()
    places = (said.rpartition("\n")[2], said)
    choices = question.choices or ()
    letters = f"[{ascii_uppercase[: len(choices) or 10]}]"
    if letter := _first(places, letters, re.IGNORECASE):
        return letter == question.answer
    longest_first = sorted(choices, key=len, reverse=True)
    words = _first(places, "|".join(map(re.escape, longest_first)), re.NOFLAG) if choices else None
    return words is not None and ascii_uppercase[choices.index(words)] == question.answer


def _first(places: tuple[str, ...], answer: str, flags: re.RegexFlag) -> str | None:
    for place in places:
        for announced in _ANNOUNCED:
            if match := re.search(rf"(?i:{announced}){_OPENING}{_SPACE}({answer}){_CLOSING}", place, flags):
                return match[1]
    return None


def bbeh(question: Question, text: str, truncated: bool) -> bool:
    """BBEH: what "The answer is" announces, nearly letter by letter; (a) is a, 5.0 is 5, quotes and [ ] may be missing.

    Where a text announces nothing in these words, its own marker or last line counts.
    """
    if question.answer_type in ("choice", "label"):
        return same_key(question, text, truncated)
    wanted, said = _spelled(str(question.answer)), _spelled(_bbeh_answer(text, truncated))
    if not said:
        return False
    if said == wanted or said.replace("'", "") == wanted.replace("'", ""):
        return True
    if _without_parentheses(said) == _without_parentheses(wanted):
        return True
    if f"[{wanted}]" == said or f"[{said}]" == wanted or said == f"{wanted}?":
        return True
    try:
        return float(said) == float(wanted)
    except ValueError:
        return False


def _bbeh_answer(text: str, truncated: bool) -> str:
    said = split_thoughts(text)[0]
    lower = said.casefold() if len(said.casefold()) == len(said) else said
    start, announced = max((lower.rfind(words), len(words)) for words in _BBEH_ANNOUNCED)
    answer = said[start + announced :].lstrip(" :\n*").partition("\n") if start >= 0 else ("", "", "")
    if start < 0 or (truncated and not answer[1]):
        return stated(text, truncated)
    return answer[0]


def _spelled(answer: str) -> str:
    answer = answer.strip().casefold().replace("**", "").replace(", ", ",").strip(" $").removesuffix(".").strip(" $")
    for _ in range(3):
        if found := _BBEH_WRAPPED.search(answer):
            answer = found[1].strip(" $")
    return answer


def _without_parentheses(answer: str) -> str:
    return answer[1] if len(answer) == 3 and answer[0] == "(" and answer[-1] == ")" else answer
