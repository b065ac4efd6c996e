r"""Where a text says "this is my answer", and what of it is a thought.

Explicit markers are `\boxed{x}`, `Answer: x` and its relatives ("Final answer", "**Answer:**", "The answer is x", a
heading "Final Answer" above x), their like in German, French, Spanish, Italian, Portuguese, Chinese, Japanese and
Korean, `#### x` on a line of its own, and `[[x]]`. Every scan is one pass over the text with bounded look-ahead.
"""
# ruff: noqa: RUF001 - typographic signs are what this module reads

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from avengers_edge.voting.latex import bare
from avengers_edge.voting.patterns import pattern

Form = Literal["boxed", "brackets", "hashes", "line", "sentence", "below"]

_LONGEST_BODY = 2000
_CANDIDATES = 32  # markers of each form that are looked at, from the end of the text

_TAG = pattern(r"</?think(?:ing)?>", re.IGNORECASE)
_TAGS = ("<think>", "</think>", "<thinking>", "</thinking>")
_BRACE = pattern(r"\\(?:boxed|fbox)\s{0,3}\{|\\.|[{}]", re.DOTALL)
_BRACKETS = pattern(r"\[\[")
_NEXT_ROW = pattern(r"\]\s?,\s?\[")
_HASHES = pattern(r"^[ \t]{0,8}####[ \t]{0,8}(?=[^#\s])", re.MULTILINE)
_ANSWER = pattern(
    r"""\b(?:answers?|(?:correct|right|best)\s(?:option|choice))\b
        [*_`"]{0,3}
        (?:\s?\([^()\n]{1,40}\))?
        (?:\s(?:to|for)\s(?:this|the|your)\s[^\n:.=]{1,60}?)?
        (?:
          [ ]{0,3}([:：])
          | [ ]{0,3}=
          | \s(?:therefore[ ]|thus[ ]|then[ ]|simply[ ])?
            (?:is|are|was|equals|(?:will|would|should|must)[ ]be)\b[*_]{0,3}[ ]{0,3}([:：]?)
        )""",
    re.IGNORECASE | re.VERBOSE,
)
_ANSWER_ABROAD = pattern(
    r"""(?:
          (?<!\w)(?:antwort|réponse|respuesta|risposta|resposta)s?\b
          [*_`"]{0,3}
          (?:\s(?:finale?|correcta|correcte|corretta|richtig|juste|exacte))?
          [*_`"]{0,3}
          (?:
            [ \u00a0\u202f]{0,3}([:：])
            | \s(?:ist|lautet|wäre|beträgt|est|serait|es|sería|è|é|seria)\b[*_]{0,3}[ \u00a0]{0,3}([:：]?)
          )
        | (?:答案|答え|正解|回答|解答|정답|답)
          [*_`"]{0,3}
          (?:[ ]{0,3}(?:应该|應該|应当)?(?:[是为為はが은]|[:：=])[*_]{0,3}[ ]{0,3}([:：]?))
        | (?<![^\s。*#])(?:答|답)[ ]{0,3}([:：])
        )""",
    re.IGNORECASE | re.VERBOSE,
)
_HEADING = pattern(
    r"^[#*_ \t]{0,10}(?:(?:the )?(?:final )?answer|(?:endgültige )?antwort|réponse(?: finale)?|respuesta(?: final)?"
    r"|(?:最终|最終)?答案|(?:最終)?答え)[*_ \t]{0,10}$",
    re.IGNORECASE | re.MULTILINE,
)
_ENVIRONMENT = pattern(r"\\begin\s?\{([a-z]{1,20}\*?)\}")
_NOTHING = pattern(r"[\s*_:`$#>]*(?:\\[\[\]()])?[\s*_`]*(?:python|text|plaintext)?\s*")


@dataclass(frozen=True, slots=True)
class Marked:
    """One explicit marker: where it starts, what it says and where that ends, and how far that can be trusted.

    `complete` is False when the text could have been cut inside the answer. `last` says that nothing follows.
    """

    start: int
    end: int
    body: str
    form: Form
    complete: bool
    last: bool


def split_thoughts(text: str) -> tuple[str, str | None]:
    """Separate what was said from `<think>` sections.

    Returns what was said and, when the last section never closed, the unfinished thought. A `</think>` without an
    opening (templates that open it in the prompt) makes everything before it a thought.
    """
    said: list[str] = []
    thinking, place = False, 0
    for tag in _TAG.finditer(text):
        opens = tag[0][1] != "/"
        if opens and not thinking:
            said.append(text[place : tag.start()])
        elif not thinking:
            said.clear()
        thinking, place = opens, tag.end()
    rest = text[place:]
    return ("".join(said), rest) if thinking else ("".join([*said, rest]), None)


def marked_answers(text: str) -> list[Marked]:
    """Find the explicit markers, last first (at most a fixed number of each form)."""
    found = [*_boxed(text), *_bracketed(text), *_hashed(text), *_announced(text)]
    return sorted(found, key=lambda marked: marked.start, reverse=True)


def _boxed(text: str) -> Iterator[Marked]:
    spans: deque[tuple[re.Match[str], int]] = deque(maxlen=_CANDIDATES)
    braces: list[re.Match[str]] = []
    for token in _BRACE.finditer(text):
        said = token[0]
        if said == "{" or (said[-1] == "{" and len(said) > 2):  # not the escaped brace of a set
            braces.append(token)
        elif said == "}" and braces and (opening := braces.pop())[0] != "{":
            spans.append((opening, token.start()))
    for opening, end in spans:
        if end - opening.end() <= _LONGEST_BODY:
            yield Marked(opening.start(), end, text[opening.end() : end], "boxed", complete=True, last=False)


def _last(marker: re.Pattern[str], text: str) -> deque[re.Match[str]]:
    return deque(marker.finditer(text), maxlen=_CANDIDATES)


def _bracketed(text: str) -> Iterator[Marked]:
    for match in _last(_BRACKETS, text):
        inside, closed, after = _line(text, match.end())[0].partition("]]")
        if after.startswith("]"):  # the answer's own, as in [[(0,1]]]
            inside += "]"
        if closed and not inside.startswith("[") and not _NEXT_ROW.search(inside):
            yield Marked(match.start(), match.end() + len(inside), inside, "brackets", complete=True, last=False)


def _hashed(text: str) -> Iterator[Marked]:
    for match in _last(_HASHES, text):
        body, end, complete = _line(text, match.end())
        yield Marked(match.start(), end, body, "hashes", complete, last=not text[end : end + _LONGEST_BODY].strip())


def _announced(text: str) -> Iterator[Marked]:
    for marker in (_ANSWER, _ANSWER_ABROAD, _HEADING):
        for match in _last(marker, text):
            has_colon = marker is _HEADING or any(match.groups())
            yield from _announcement(text, match.start(), match.end(), "line" if has_colon else "sentence")


def _announcement(text: str, start: int, at: int, form: Form) -> Iterator[Marked]:
    body, end, complete = _line(text, at)
    for _ in range(4):  # the answer may stand below, after blank lines and an opening delimiter
        if not _NOTHING.fullmatch(body) or end >= len(text):
            break
        form, at = "below", end + 1
        body, end, complete = _line(text, at)
    opened = _ENVIRONMENT.search(body)
    if opened and opened[1] not in body[opened.end() :]:  # a matrix goes on to its end, over as many lines as it takes
        closing = text.find("\\end{" + opened[1], end, at + _LONGEST_BODY)
        if closing >= 0:
            body, end, complete = _line(text, closing)
            body = text[at:closing] + body
    if bare(body):
        nothing_follows = _NOTHING.fullmatch(text[end : end + _LONGEST_BODY]) is not None
        yield Marked(start, end, body, form, complete, nothing_follows)


def _line(text: str, start: int) -> tuple[str, int, bool]:
    end = text.find("\n", start, start + _LONGEST_BODY + 1)
    if end >= 0:
        return text[start:end], end, True
    end = min(len(text), start + _LONGEST_BODY)
    return text[start:end], end, False


def said_in(text: str) -> str:
    """Return a text without its thoughts; "" where it is a thought and nothing else."""
    said, _ = split_thoughts(text)
    return text if said == text else said.strip()


class ThoughtSplitter:
    """Parts a text that comes in pieces into what is said and what is thought; what may become a tag is held back."""

    def __init__(self) -> None:
        self._held = ""
        self._thinking, self._has_thought, self._has_said = False, False, False

    def push(self, piece: str) -> tuple[str, str]:
        """Take the next piece; return what is certainly said and what is certainly thought."""
        text, said, thought, place = self._held + piece, "", "", 0
        for tag in _TAG.finditer(text):
            said, thought = self._add(text[place : tag.start()], said, thought)
            self._thinking, place = tag[0][1] != "/", tag.end()
        sure = len(text) - begun(text[place:].lower(), _TAGS)
        self._held = text[sure:]
        return self._add(text[place:sure], said, thought)

    def close(self) -> str:
        """Take the end of the text; return what was held back and is said."""
        held, self._held = self._held, ""
        return self._add(held, "", "")[0]

    def _add(self, part: str, said: str, thought: str) -> tuple[str, str]:
        if self._thinking:
            self._has_thought = True
            return said, thought + part
        if self._has_thought and not self._has_said:
            part = part.lstrip()  # the white space between a thought and the answer
        self._has_said = self._has_said or bool(part.strip())
        return said + part, thought


def begun(text: str, marks: Sequence[str]) -> int:
    """Measure the longest tail of a text that is the beginning of a mark."""
    lengths = range(min(len(text), max(map(len, marks)) - 1), 0, -1)
    return next((length for length in lengths if any(mark.startswith(text[-length:]) for mark in marks)), 0)
