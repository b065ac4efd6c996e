"""Answers out of a closed list: option letters and labels, read in a text or scored by probabilities.

Scored instead of sampled: one token's log-probabilities for each cyclic order of the options, averaged. A small model
says A more often than A is right; over all orders each option stands once in each position, so that the preference
cancels out (Zheng et al., arXiv 2309.03882). An order is a sample that costs one evaluation of a prompt.
"""
# ruff: noqa: RUF001 - typographic signs are what this module reads

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from string import ascii_letters, ascii_uppercase

from avengers_edge.records import Kind, Sample, TokenLogprob, Vote
from avengers_edge.voting.latex import bare, denied, plain
from avengers_edge.voting.patterns import pattern

_TAIL = 20_000

_LEAD_IN = pattern(
    r"(?:(?:the|is|option|choice|letter|answer|correct|best|most likely|likely|probably|definitely|clearly"
    r"|die|der|das|antwort|buchstabe|la|le|el|lettre|réponse|opción|letra|respuesta)\s|l['’](?=option)"
    r"|选项|選項|選択肢|[\s:*_(\[\"'`{<$→「『【“‘])*+",
    re.IGNORECASE,
)
_MATH = pattern(r"\\[()\[\]]")
_LETTER = pattern(r"([A-Za-z])(?![A-Za-z0-9'’])")
_CLOSED = pattern(r"\s*(?:$|[).:;,\]}*\"'`_>$–—。、」』】”’\u3040-\u30ff\u4e00-\u9fff\uac00-\ud7a3-]|\n)")
_SECOND = pattern(
    r"[)\]*.\"'` ]{0,4}(?:[,/&、和及]|\s(?:or|and|und|oder|et|ou|y|o)\s)\s{0,2}[(\[*\"'`]{0,3}(?:or\s|and\s)?"
    r"[A-Z](?![A-Za-z'’])(?!\s(?:is|was|would|has|does)\b)"
)
_ARTICLE = pattern(r"a\s*[,;:–—-]\s*[a-z]")
_REASON = pattern(
    r"\s+(?:is|because|since|as|for|would|seems|looks|fits|not|instead of|rather than"
    r"|weil|da|car|porque|ya que|-|–|—)(?![a-z])"
)

_AT_START = pattern(r"[\s*_\"'`(\[]{0,8}(?:option\s|choice\s)?[(\[*]{0,3}([A-Z])[)\].:*](?![A-Za-z])")
# A letter is never matched by ignoring case: to `re`, "K" (Kelvin) and dotted "İ" would be ones too.
_LINE_LETTER = pattern(
    r"^[ \t*_\"'`(\[${【「]{0,8}(?i:option\s|choice\s)?\(?([A-Za-z])[)\].*_\"'` \t$}】」。]{0,8}$", re.MULTILINE
)
_BOLD_LETTER = pattern(r"\*\*\s?(?i:option\s|choice\s)?\(?([A-Za-z])(?:\)|[.:]|\*\*)")
_ITEM = pattern(r"^[ \t*_(\-]{0,6}([A-Z])[).:]", re.MULTILINE)
_NAMED = pattern(
    r"(?:\b(?i:option|choice|choose|select|pick|letter|opción|lettre|letra|buchstabe|wähle|choisis|elijo)"
    r"\s(?i:is\s|la\s|l['’]option\s)?\(?(?:\*\*)?|\b(?i:option|choice|letter)\s\$|(?:选项|選項|選択肢|选择|选|選)[\s(]?)([A-Za-z])(?![\w'’])",
    re.ASCII,
)
_PREDICATE = pattern(r"(?<![A-Za-z'’])\(?([B-HJ-Z]|\([AI]\)|A(?=\)))\)?\*{0,2}\sis\s(?:the\s)?(?:correct|right|best)")
_SENTENCE_END = pattern(r"(?<=[.!?])\s+|(?<=[。！？])")
_BRACKETED = pattern(r"\(([A-Z])\)")


def letter_in(body: str, choices: Sequence[str] | None) -> str | None:
    """Read the option letter that an announced answer states, or the option it spells out.

    The article in "a train" and "A train" is no letter; two letters ("B and C") are no answer.
    """
    body = _MATH.sub(" ", plain(body)).strip()
    if choices and len(bare(body)) > 1 and (spelled := _spelled(body, choices)):
        return spelled
    at = match.end() if (match := _LEAD_IN.match(body)) else 0
    stated = _LETTER.match(body, at)
    if stated is None or body[:4].lower() == "not ":
        return _mentioned(body, choices)
    letter, after = stated[1], stated.end()
    if _SECOND.match(body, after):
        return None
    if _CLOSED.match(body, after) and not _ARTICLE.match(body, at):
        return letter.upper()
    if letter.isupper() and (letter not in "AI" or _REASON.match(body, after)):
        return letter
    if letter.isupper() and choices and _spelled(body[after:], choices) == letter:
        return letter
    return _mentioned(body, choices)


def last_letter(text: str, choices: Sequence[str] | None) -> str | None:
    """Find the option letter of a text that announces none: a lone letter, a bold one, "option B", "(B) is correct"."""
    text = _MATH.sub(" ", plain(text[-_TAIL:]))
    if choices and (spelled := _spelled(text, choices)):
        return spelled
    alone = bare(text).strip("()[]{}<>.: 【】「」")
    if len(alone) == 1 and alone in ascii_letters:
        return alone.upper()
    lists_options = len(set(_ITEM.findall(text))) > 1
    if not lists_options and (match := _AT_START.match(text)):
        return match[1]
    for form in (_PREDICATE, _LINE_LETTER, _BOLD_LETTER, _NAMED):
        where = text.rstrip().rpartition("\n")[2] if form is _BOLD_LETTER and lists_options else text
        said = [match for match in form.finditer(where) if not denied(where, *match.span())]
        if said:
            return said[-1][1].strip("()").upper()
    bracketed = set(_BRACKETED.findall(text))
    if len(bracketed) == 1:
        return str(bracketed.pop())
    return _mentioned(text, choices)


def offered(found: str, kind: Kind, choices: Sequence[str] | None) -> str | None:
    """Return an answer, unless it is a letter that no option has."""
    if kind != "choice" or (len(found) == 1 and found in ascii_uppercase[: len(choices) if choices else 26]):
        return found
    return None


def label_in(text: str, choices: Sequence[str] | None) -> str | None:
    """Find the one label that a piece of text names; without a list of labels, its first phrase."""
    text = plain(text)
    if not choices:
        phrase = re.split(r"[.,;:\n(]", bare(text), maxsplit=1)[0].strip()
        return phrase if 0 < len(phrase) <= 60 and len(phrase.split()) <= 5 else None
    named = _named(text, choices)
    return choices[named.pop()] if len(named) == 1 else None


def last_label(text: str, choices: Sequence[str] | None) -> str | None:
    """Find the label of a text that announces none: the only one named, else the last line's, else the first word's.

    Where the last line names several, the first phrase counts if it is a label, else the last sentence, else what
    the first phrase names.
    """
    text = text.strip()[-_TAIL:]
    if not choices:
        return label_in(text, None) if len(text) <= 200 else None
    last_line = text.rpartition("\n")[2]
    first_phrase = re.split(r"[.,;:\n]", text, maxsplit=1)[0]
    answers_first = label_key(first_phrase) in {label_key(choice) for choice in choices}
    last_sentence = _SENTENCE_END.split(last_line)[-1]
    parts = (text, last_line, first_phrase if answers_first else "", last_sentence, first_phrase)
    return next((label for part in parts if (label := label_in(part, choices))), None)


def label_key(label: str) -> str | None:
    """Fold case, space, articles and surrounding punctuation away."""
    words = re.sub(r"[\s_]+", " ", bare(plain(label)).casefold()).strip(" .!?:;,\"'()[]{}")
    return re.sub(r"^(?:the|a|an) (?=\w)", "", words) or None


def letters_of(body: str, choices: Sequence[str]) -> list[str]:
    """List the letters of the options whose text this is."""
    wanted = label_key(body)
    lettered = zip(ascii_uppercase, choices, strict=False)
    return [letter for letter, choice in lettered if wanted and label_key(choice) == wanted]


def _spelled(body: str, choices: Sequence[str]) -> str | None:
    letters = letters_of(body, choices) if len(body) <= 2000 else []
    return letters[0] if len(letters) == 1 else None


def _mentioned(text: str, choices: Sequence[str] | None) -> str | None:
    named = _named(text, choices[:26]) if choices else set()
    return ascii_uppercase[named.pop()] if len(named) == 1 else None


def _named(text: str, choices: Sequence[str]) -> set[int]:
    """Find which choices occur as whole words; the longest wins where they overlap, "not X" does not name X."""
    by_text: dict[str, int] = {}
    for at, choice in enumerate(choices):
        if folded := " ".join(choice.casefold().split()):
            by_text.setdefault(folded, at)
    if not by_text:
        return set()
    longest_first = sorted(by_text, key=len, reverse=True)
    names = r"(?<!\w)(?:" + "|".join(map(re.escape, longest_first)) + r")(?!\w)"
    folded = " ".join(text.casefold().split())
    said = re.finditer(names, folded)
    return {by_text[match.group()] for match in said if not denied(folded, *match.span())}


_BETWEEN = pattern(r"[\s,;.]*\(?[A-Z][).:][ \t]*|[\s,;.]*\([A-Z]\)[ \t]*")


def cyclic_order(question: str, choices: Sequence[str], shift: int) -> str | None:
    """Write the question with its option texts moved `shift` places up, the letters staying where they are.

    The option under the letter at place i is then `choices[(i + shift) % len(choices)]`. None where the options do not
    stand in the question one after the other, each behind its letter.
    """
    count = len(choices)
    if not 2 <= count <= len(ascii_uppercase) or not all(choices):
        return None
    moved, rest = "", question
    for place in reversed(range(count)):
        rest, found, after = rest.rpartition(choices[place])
        if not found or (place < count - 1 and not _BETWEEN.fullmatch(after)):
            return None
        moved = choices[(place + shift) % count] + after + moved
    return rest + moved


def letter_chances(token: TokenLogprob, choices: Sequence[str], shift: int) -> tuple[float, ...]:
    """Read each option's share of the probability that the first token is a letter, in the order of `choices`.

    A letter counts in each of its spellings (`B`, ` B`). All zero where no letter is among the likeliest tokens.
    """
    count = len(choices)
    chances = [0.0] * count
    for text, logprob in token.top:
        place = ascii_uppercase.find(letter) if len(letter := text.strip(" (*")) == 1 else -1
        if 0 <= place < count:
            chances[(place + shift) % count] += math.exp(logprob)
    total = sum(chances)
    return tuple(chance / total for chance in chances) if total > 0 else tuple(chances)


def letters_tally(samples: Sequence[Sample]) -> tuple[Vote, ...]:
    """Add up the orders' chances, the winner first: a vote's count is of the orders that find its option the likeliest.

    Ties go to the option that stands first in the question.
    """
    orders = [sample for sample in samples if sample.chances]
    if not orders:
        return ()
    counts = Counter(sample.key for sample in orders)
    sums = [sum(column) for column in zip(*(sample.chances or () for sample in orders), strict=True)]
    votes = [Vote(letter, counts[letter], weight) for letter, weight in zip(ascii_uppercase, sums, strict=False)]
    return tuple(sorted((vote for vote in votes if vote.weight > 0), key=lambda vote: -vote.weight))
