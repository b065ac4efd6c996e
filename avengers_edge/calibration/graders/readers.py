"""What most answers need: the key of their type, and free text compared letter by letter."""

from __future__ import annotations

import re

from avengers_edge.calibration.questions import Question
from avengers_edge.voting.keys import answer_key, canonical_key
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
