"""Choices scored instead of sampled: one token's log-probabilities for each cyclic order of the options.

A small model prefers positions: asked for a letter it says A more often than A is right. Over all cyclic orders of the
options each of them stands once in each position, so that the preference cancels out (Zheng et al., arXiv 2309.03882).
An order is a sample that costs one evaluation of a prompt; what it gives each option is averaged over the orders, which
is right more often than counting each order's likeliest letter.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from string import ascii_uppercase

from avengers_edge.records import Sample, TokenLogprob, Vote

_BETWEEN = re.compile(r"[\s,;.]*\(?[A-Z][).:][ \t]*|[\s,;.]*\([A-Z]\)[ \t]*")


def cyclic_order(question: str, choices: Sequence[str], shift: int) -> str | None:
    """Write the question with its option texts moved `shift` places up, the letters staying where they are.

    The option under the letter at place i is then `choices[(i + shift) % len(choices)]`. None where the options do not
    stand in the question one after the other, each behind its letter.
    """
    spans = _spans(question, choices)
    if spans is None:
        return None
    parts, at = [], 0
    for place, (start, end) in enumerate(spans):
        parts += [question[at:start], choices[(place + shift) % len(choices)]]
        at = end
    return "".join(parts) + question[at:]


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


def _spans(question: str, choices: Sequence[str]) -> list[tuple[int, int]] | None:
    """Find where each option's text stands, from the last one back."""
    if not 2 <= len(choices) <= len(ascii_uppercase):
        return None
    spans: list[tuple[int, int]] = []
    limit = len(question)
    for choice in reversed(choices):
        start = question.rfind(choice, 0, limit)
        if start < 0 or (spans and not _BETWEEN.fullmatch(question[start + len(choice) : limit])):
            return None
        spans.insert(0, (start, start + len(choice)))
        limit = start
    return spans
