"""What kind of answer a question wants, and which answers it offers.

Used for `--kind auto`. The rules are deliberately shy: a question taken for free text is merely not voted on, while a
chat taken for arithmetic gets a wrong instruction and a number for an answer. The English words stand here, those of
other languages in `languages`; options, sums, formulas and code tell their kind in any language.
"""
# ruff: noqa: RUF001 - typographic signs are what people type

from __future__ import annotations

import functools
import re
from collections.abc import Callable

from avengers_edge.records import Ask, Kind
from avengers_edge.voting import languages
from avengers_edge.voting.calls import calls_key
from avengers_edge.voting.keys import json_key
from avengers_edge.voting.latex import narrow
from avengers_edge.voting.patterns import pattern, wording

SINGLE_SAMPLE_KINDS: frozenset[Kind] = frozenset({"text", "code"})
"""Kinds of which one sample is taken unless more are asked for: their samples hardly ever agree word for word."""

_TAIL = 20_000
"""Only this much of the end of a long question is looked at, in characters: the request stands at the end."""


# --- offered answers

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
_YES_NO = wording(r"\byes or no\b", r"\byes/no\b", r"\(y/n\)")
_TRUE_FALSE = wording(
    r"\btrue or false\b",
    r"(?:^|[.?!:]\s)is it (?:true|false)\b",
    r"(?:^|[.?!:]\s)(?:is|are) (?:this|these|the following) (?:statements? )?(?:true|false)\b",
)

# --- code

_PROGRAM = (
    r"(?:functions?|programs?|scripts?|class|method|decorator|regex|regular expression|(?:sql )?query|unit tests?|code|"
    r"one-liner|generator|lambda|algorithm)\b(?! (?:of conduct|reunion|schedule|dinner|review|party))(?! \$)"
)
_LANGUAGE = r"(?:python|java|javascript|typescript|c\+\+|c#|rust|go|ruby|sql|bash)"
_CODE = wording(
    r"\b(?:write|create|implement|complete|generate|code|give me|show me|develop|fix|debug|refactor|finish)\b"
    rf"(?:\s+(?!about\b|of\b|for\b|on\b)[\w+#'-]{{1,20}}){{0,5}}\s+{_PROGRAM}",
    rf"\b(?:implement|write|create|give me)\b[^.?!\n]{{0,60}}\bin {_LANGUAGE}(?!\w)",
    r"^\s{0,12}(?:async )?def \w+\(.{0,200}\)[^\n]{0,60}:",
    r"^\s{0,12}assert \w+\(",
)
_MEND = wording(
    r"\b(?:fix|debug|complete|refactor|rewrite|optimi[sz]e|finish|correct|port|translate|add)\b",
)

# --- formulas

_MATHEMATICS = pattern(
    r"\\(?:frac|sqrt|int|sum|lim|log|ln|sin|cos|tan|pi|theta|cdot|times|le|ge|left|begin|binom|overline|angle)(?![a-z])"
    r"|\$[^$\n]{1,200}[\\^_=+{][^$\n]{0,200}\$"
    r"|[a-z0-9)]\s?\^\s?[({]?-?\w|(?<!\w)\d{0,4}[a-z]\s?[-+*/=]\s?[\d(]|[\d)]\s?[-+*/=]\s?\d{0,4}[a-z](?!\w)"
    r"|\b[a-z]\(x\)|[√π∫]|\b(?:sin|cos|tan|log|ln|sqrt)\s?\("
)
_SYMBOLIC = wording(
    r"\b(?:simplify|solve|expand|factor(?:i[sz]e)?|express|derivative|differentiate|integral|integrate|antiderivative)\b",
    r"\b(?:in (?:interval|simplest|terms of|lowest)|closed form|equation of|roots?|polynomial|matrix|determinant)\b",
    r"\b(?:domain|range|inverse|evaluate|find|compute|determine|calculate|what is|what are)\b",
)
_STRONGLY_SYMBOLIC = wording(
    r"^\W{0,5}(?:please )?(?:simplify|expand|factor(?:i[sz]e)?|differentiate|integrate)\b.{0,80}(?:\d|\b[a-z]\b)",
    r"\b(?:derivative|antiderivative|integral) of\b.{0,60}(?:\d|\(|\b[x-z]\b|\b(?:sin|cos|tan|log|ln|exp)\b)",
    r"\bsolve for [a-z]\b",
    r"\bin terms of \$?[a-z]\b",
)
_WANTS_INTEGER = wording(
    r"\bfind (?:the value of )?\$?m\s?\+\s?n\b",
    r"\bremainder when\b",
    r"\bnumber of (?:integers|ways|ordered|solutions|positive)\b",
    r"\bhow many\b",
)

# --- numbers

_QUANTITY = (
    r"(?:averages?|mean|median|mode|sum|total|difference|product|quotient|remainder|speed|velocity|probability|area|"
    r"perimeter|volume|circumference|radius|diameter|distance|height|width|length|weight|mass|cost|price|profit|loss|"
    r"discount|interest|percentage|percent|ratio|fraction|square root|cube root|factorial|value|number|age|salary|"
    r"amount|balance|return|population|rate|change|increase|decrease|temperature|gcd|lcm|greatest common divisor|"
    r"least common multiple|(?:smallest|largest|greatest) \w+)"
)
_HOW_MANY = wording(r"\bhow many\b(?! (?:do|does|did|of) (?:you|i|we|they) (?:know|like|love|think))")
_ASKS_QUANTITY = wording(
    r"\bhow (?:much|long|far|fast|old|tall|high|heavy|wide|deep|big|often|late|hot|cold)\b",
    r"\bwhat(?:'s| is| was| are| were| will be| would be)?\s(?:the |his |her |their |its |my )?"
    rf"(?:[\w'-]{{1,20}} ){{0,4}}?{_QUANTITY}\b",
    rf"\b(?:calculate|compute|find|determine|work out|evaluate|estimate)\b[^?\n]{{0,80}}?\b{_QUANTITY}\b",
    r"\bhow much (?:does|do|did)\b[^?\n]{1,60}\b(?:cost|weigh)\b",
)
_ARITHMETIC = wording(
    r"\b(?:calculate|compute|evaluate|what(?:'s| is)|how much is|solve)\s[^a-z\n]{0,6}[-+]?\(?\d[\d,.]{0,20}\s?"
    r"(?:[-+*/×÷^%]|plus|minus|times|divided by|mod|% of|percent of)",
    r"\bconvert \$?[\d.,]{1,20} ?[\w°$/]{1,20} (?:in)?to\b",
)
_SUM_SIGNS = frozenset("0123456789+-*/×÷^%().,=? x")
_FIGURE = wording(
    r"\d",
    r"\b(?:two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|twenty|thirty|forty|fifty|hundred|thousand)\b",
    r"\b(?:half|twice|double|triple|dozens?)\b",
)
_OPEN_ENDED = pattern(
    r"^\W{0,5}(?:please )?(?:can you |could you )?(?:tell me about|write|explain|describe|discuss|summari[sz]e|compare|"
    r"draft|suggest|recommend|brainstorm|list|name|give me|translate|rewrite|paraphrase|help me|teach me|plan|imagine|"
    r"outline|create|proofread|why|who|should i|how do|how does|how can|how should|how to|how long should|how often "
    r"should|how much should|what should|what are some|what is the best|what's the best|what do you)\b",
    re.IGNORECASE,
)


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
        return functools.partial(calls_key, names=ask.tools.names)
    return None if ask.schema is None else json_key


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
    if _YES_NO.search(asked):
        return ("yes", "no")
    if _TRUE_FALSE.search(asked):
        return ("true", "false")
    return next((words for asks, words in languages.YES_NO if asks.search(asked)), None)


def _wants_code(asked: str) -> bool:
    before, fence, after = asked.partition("```")
    around = before + after.rpartition("```")[2]
    if fence and (_MEND.search(around) or languages.MEND.search(around)):
        return True
    return _CODE.search(asked) is not None or languages.CODE.search(asked) is not None


def _wants_formula(asked: str) -> bool:
    if _is_open_ended(asked) or _WANTS_INTEGER.search(asked) or languages.WANTS_INTEGER.search(asked):
        return False
    if _STRONGLY_SYMBOLIC.search(asked):
        return True
    if _MATHEMATICS.search(asked) is None:
        return False
    return _SYMBOLIC.search(asked) is not None or languages.SYMBOLIC.search(asked) is not None


def _wants_number(asked: str) -> bool:
    last_line = asked.strip().rpartition("\n")[2]
    if _is_sum(last_line) or _ARITHMETIC.search(asked) or languages.ARITHMETIC.search(asked):
        return True
    if _WANTS_INTEGER.search(asked) and _MATHEMATICS.search(asked):
        return True
    if _is_open_ended(asked):
        return False
    if _HOW_MANY.search(asked) or languages.HOW_MANY.search(asked):
        return True
    return _FIGURE.search(asked) is not None and _asks_quantity(asked)


def _asks_quantity(asked: str) -> bool:
    if _ASKS_QUANTITY.search(asked):
        return True
    measured = languages.MEASURE.search(asked) or languages.QUANTITY.search(asked)
    return measured is not None and languages.MATTER_OF_TASTE.search(asked) is None


def _is_open_ended(asked: str) -> bool:
    return _OPEN_ENDED.match(asked) is not None or languages.OPEN_ENDED.search(asked) is not None


def _is_sum(line: str) -> bool:
    figures = re.findall(r"\d+", line)
    return len(figures) > 1 and set(line) <= _SUM_SIGNS and any(sign in line for sign in "+-*/×÷^x=")
