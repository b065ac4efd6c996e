"""Counting votes, with one fixed order: more weight first, then the answer of the earlier sample.

Samples are ordered by their index, never by when they finished: short answers finish first, and a tie must not go to
brevity or to chance.
"""

from __future__ import annotations

import itertools
import math
import operator
from collections import Counter
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from avengers_edge.errors import BadRequest
from avengers_edge.records import FinishReason, Kind, Vote

UNIT = 1000
"""What an unweighted vote weighs. Weights are integers, so that equal sums are ties on every machine."""

_ANSWERS: Mapping[Kind, int] = MappingProxyType({"choice": 4, "label": 3})
_OPEN_ANSWERS = 12
"""How many answers a question has, about, by its kind; where none are offered, those that are given at all."""

_LEAST_CHANCE = 0.02

_SAME = 1e-9
"""Similarities closer than this are a tie, so that rounding does not pick the winner."""


def tally(keys: Sequence[str | None], weights: Sequence[int] | None = None) -> tuple[Vote, ...]:
    """Count keys given in index order, winner first. None votes for nothing.

    Ties go to the answer whose earliest sample has the lowest index.

    Args:
        keys: what each sample votes for.
        weights: what each vote weighs, in thousandths; None weighs all alike.

    """
    counts: Counter[str] = Counter()
    sums: Counter[str] = Counter()
    for key, weight in zip(keys, itertools.repeat(UNIT) if weights is None else weights, strict=weights is not None):
        if key is not None:
            counts[key] += 1
            sums[key] += weight
    ranked = sorted(sums.items(), key=lambda item: -item[1])  # stable, and a Counter remembers first occurrences
    return tuple(Vote(key, counts[key], total / UNIT) for key, total in ranked)


def winner(votes: Sequence[Vote]) -> Vote | None:
    """Name the winning vote of a tally, None if nobody voted."""
    return votes[0] if votes else None


def vote_weight(accuracy: float | None, kind: Kind) -> int:
    """Weigh a voter by the log odds of its accuracy, in thousandths (Nitzan and Paroush 1982).

    Wrong answers scatter: a voter that is right with chance p gives each of m - 1 wrong ones with (1 - p) / (m - 1), so
    that its vote is worth log((m - 1) p / (1 - p)). m is about how many answers a question of that kind has. No vote
    counts against its own answer: a weight is at least a tenth of an unweighted one, which is what None gives.
    """
    if accuracy is None:
        return UNIT
    likely = min(max(accuracy, _LEAST_CHANCE), 1 - _LEAST_CHANCE)
    wrong = _ANSWERS.get(kind, _OPEN_ANSWERS) - 1
    return max(UNIT // 10, round(UNIT * math.log(wrong * likely / (1 - likely))))


def agreement(votes: Sequence[Vote]) -> float | None:
    """Give the winner's share of the votes cast, by weight; None if nobody voted."""
    return votes[0].weight / sum(vote.weight for vote in votes) if votes else None


def representative(keys: Sequence[str | None], finish_reasons: Sequence[FinishReason], key: str) -> int:
    """Choose the sample whose text stands for a key: the first that ran to its end, else the first.

    Raises:
        BadRequest: no sample has the key, or the two sequences differ in length.

    """
    if len(keys) != len(finish_reasons):
        raise BadRequest(f"{len(keys)} keys came with {len(finish_reasons)} finish reasons: give one for each sample")
    group = [index for index, given in enumerate(keys) if given == key]
    if not group:
        raise BadRequest(f"no sample gave the answer {key!r}: choose a key of the tally")
    return min(group, key=lambda index: (finish_reasons[index] != "stop", index))


def medoid(vectors: Sequence[Sequence[float]]) -> int:
    """Find the vector closest to the others: highest mean cosine, shape (n, D) in any length unit.

    Free text has no majority; its centre is the sample that agrees most with the rest (Kaufman and Rousseeuw's
    medoid, with cosine for distance). Ties go to the lowest index. A vector of length 0 is close to nothing.

    Raises:
        BadRequest: there is no vector, or their dimensions differ.

    """
    if not vectors or len({len(vector) for vector in vectors}) > 1:
        raise BadRequest(f"a medoid of {len(vectors)} vectors is undefined: give one or more of the same dimension")
    units = [_unit(vector) for vector in vectors]
    best, best_sum = 0, -math.inf
    for index, unit in enumerate(units):
        others = math.fsum(_dot(unit, other) for at, other in enumerate(units) if at != index)
        if others > best_sum + _SAME:
            best, best_sum = index, others
    return best


def _unit(vector: Sequence[float]) -> list[float]:
    length = math.hypot(*vector)
    return [float(value) / length for value in vector] if length > 0 and math.isfinite(length) else [0.0] * len(vector)


def _dot(left: Sequence[float], right: Sequence[float]) -> float:
    return float(sum(map(operator.mul, left, right)))
