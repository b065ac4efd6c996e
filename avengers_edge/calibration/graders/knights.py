"""Knights and knaves: everyone on the island must be right; what was said last of a person counts."""

from __future__ import annotations

import re

from avengers_edge.calibration.questions import Question
from avengers_edge.voting.latex import plain
from avengers_edge.voting.markers import marked_answers, split_thoughts

_GOLD = re.compile(r"\b(\w+) is an? (\w+)")
_MARKUP = re.compile(r"[*_`#\"'{}\[\]$]|\\[a-zA-Z]+")
_DASHES = str.maketrans("–—→", "---")  # noqa: RUF001 - models write them all
_TAIL = 50_000


def knights(question: Question, text: str, truncated: bool) -> bool:
    """Read who is what after the answer marker if everyone is named there, and else in the whole text."""
    gold = dict(_GOLD.findall(str(question.answer)))
    if truncated or not gold:
        return False
    said, _ = split_thoughts(text)
    answers = [said[marked.start :] for marked in marked_answers(said)]
    for part in (*answers, said):
        given = _people(part[-_TAIL:], tuple(gold))
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
