"""Rules of single benchmarks: the key of a type, FinQA, knights and knaves, BIG-Bench Hard, BBEH and SuperGPQA.

FinQA: figures out of annual reports, right within 1 %. A percentage may be a fraction or the other way round. Gold
answers are in the unit of the question's table, which the answer's scale word ("2.5 million") may repeat or undo.
Knights and knaves: everyone on the island must be right; what was said last of a person counts. BIG-Bench Hard has two
tasks whose answers are sequences; all others go by their answer type. BBEH and SuperGPQA publish rules with their data.
"""

from __future__ import annotations

import re
from string import ascii_uppercase

from avengers_edge.calibration.questions import Question
from avengers_edge.voting.keys import answer_key, canonical_key, extract_answer
from avengers_edge.voting.latex import plain
from avengers_edge.voting.markers import marked_answers, split_thoughts

_LONGEST_LINE = 4000


def same_key(question: Question, text: str, truncated: bool) -> bool:
    """Compare the keys that a vote would compare: one number, letter or label in whatever spelling."""
    kind = question.answer_type
    given = answer_key(text, kind, truncated=truncated, choices=question.choices)
    return given is not None and given == canonical_key(str(question.answer), kind)


def same_text(gold: str, text: str, truncated: bool) -> bool:
    """Compare the last marked answer, or else the last line, letter by letter without spaces."""
    given = stated(text, truncated)
    return bool(given) and squeezed(given) == squeezed(gold)


def stated(text: str, truncated: bool) -> str:
    """Find what a text states at its end: its last marked answer, or else its last line; "" if there is neither."""
    said, _ = split_thoughts(text)
    marked = next((marked for marked in marked_answers(said) if marked.complete or not truncated), None)
    if marked is not None:
        return marked.body
    last_line = "" if truncated else said.rstrip().rpartition("\n")[2]
    return last_line if len(last_line) <= _LONGEST_LINE else ""


def squeezed(answer: str) -> str:
    """Drop what does not make an answer another one: spaces, case, brackets or quotes around it, markup, a period."""
    bare = re.sub(r"[\s*`$]", "", plain(answer)).removeprefix("[[").removesuffix("]]")
    return bare.lstrip("\"'“‘").rstrip(".\"'”’").casefold()  # noqa: RUF001 - quotes, as models write them


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


_GOLD = re.compile(r"\b(\w+) is an? (\w+)")
_MARKUP = re.compile(r"[*_`#\"'{}\[\]$]|\\[a-zA-Z]+")
_DASHES = str.maketrans("–—→", "---")  # noqa: RUF001 - models write them all
_ISLAND_TAIL = 50_000


def knights(question: Question, text: str, truncated: bool) -> bool:
    """Read who is what after the answer marker if everyone is named there, and else in the whole text."""
    gold = dict(_GOLD.findall(str(question.answer)))
    if truncated or not gold:
        return False
    said, _ = split_thoughts(text)
    answers = [said[marked.start :] for marked in marked_answers(said)]
    for part in (*answers, said):
        given = _people(part[-_ISLAND_TAIL:], tuple(gold))
        if given.keys() >= gold.keys():
            return given == gold
    return False


def _people(text: str, names: tuple[str, ...]) -> dict[str, str]:
    """Read "Ann is a knight", "Ann: knight", "Ann and Bob are knights" and "Knights: Ann, Bob"; the last one counts."""
    text = _MARKUP.sub("", plain(text).translate(_DASHES))
    name = r"\b(?:" + "|".join(map(re.escape, names)) + r")\b"
    several = rf"{name}(?:(?:\s?,\s?|\s)(?:and\s)?{name}){{0,20}}+"  # possessive, or "Ann Ann Ann" takes for ever
    copula = r"\s{0,4}(?:\|?\s?(?:is|are)\b|[:=|(]|-{1,2}>?)\s{0,4}"
    patterns = (
        rf"(?P<who>{several}){copula}(?:both\s|all\s|an?\s|the\s){{0,2}}(?P<what>knight|knave)s?\b",
        rf"\b(?P<kind>knight|knave)s{copula}:?\s{{0,4}}(?P<those>{several})",
    )
    exact = {person.casefold(): person for person in names}
    found: dict[str, str] = {}
    for match in re.finditer("|".join(patterns), text, re.IGNORECASE):
        for person in re.findall(name, match["who"] or match["those"], re.IGNORECASE):
            found[exact[person.casefold()]] = (match["what"] or match["kind"]).lower()
    return found


_WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")  # noqa: RUF001 - models write both apostrophes
_BRACKET = re.compile(r"[\[\](){}<>]")
_WRAPPED = re.compile(r"\\(?:boxed|fbox|text[a-z]{0,2}|math[a-z]{2,3}|mbox)\s?\{(.*)\}")
_BRACKET_NAMES = {r"\rangle": ">", r"\langle": "<", r"\rbrace": "}", r"\lbrace": "{", r"\rbrack": "]", r"\lbrack": "["}
_MARKER = re.compile(r"\banswer[*_]{0,3}(?:\sis)?[*_]{0,3}\s?:?|(?=\\boxed)", re.IGNORECASE)
_SEQUENCE_TAIL = 5000


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
    tail = plain(said[-_SEQUENCE_TAIL:])
    last = list(_WORD.finditer(tail))[-len(wanted) :]
    if not last or [word.group().casefold() for word in last] != wanted:
        return False
    before = tail[: last[0].start()].rstrip(" \t*_`\"'([{0123456789.)-")
    return not before or before[-1] in ":\n"


def _words(text: str) -> list[str]:
    return [word.casefold() for word in _WORD.findall(plain(text))]


def _closing_brackets(gold: str, text: str, truncated: bool) -> bool:
    """Compare the brackets of the line that has the answer; in LaTeX and Markdown they hide among others."""
    tail = split_thoughts(text)[0][-_SEQUENCE_TAIL:].rstrip()
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
