"""The vote: the tally, when sampling may stop, the ballot while it is held.

`exact` is the curtailed majority vote: stop when no completion of the unfinished samples elects another answer under
the tie-break of `tally` (earliest index), with weights or without. `adaptive` adds the Beta rule of
Adaptive-Consistency (Aggarwal et al., EMNLP 2023, arXiv 2305.11860), which can be wrong.
"""

from __future__ import annotations

import itertools
import math
import operator
from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from avengers_edge.records import EarlyStop, FinishReason, Kind, Vote
from avengers_edge.voting.code_votes import failures

UNIT = 1000
"""What an unweighted vote weighs. Weights are integers, so that equal sums are ties on every machine."""

_ANSWERS: Mapping[Kind, int] = MappingProxyType({"choice": 4, "label": 3})
_OPEN_ANSWERS = 12
"""How many answers a question has, about, by its kind; where none are offered, those that are given at all."""

_LEAST_CHANCE = 0.02
_TIE = 1e-9  # similarities closer than this are equal, so that rounding does not pick the winner
_BETA_DOUBT = (1, 20)


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
    """Return the winner's share of the votes cast, by weight; None if nobody voted."""
    return votes[0].weight / sum(vote.weight for vote in votes) if votes else None


def representative(keys: Sequence[str | None], finish_reasons: Sequence[FinishReason], key: str) -> int:
    """Choose the sample whose text stands for a key that was voted for: the first that ran to its end, else the first.

    Args:
        keys: what each sample votes for.
        finish_reasons: why each of them ended.
        key: one of `keys`.

    """
    group = (index for index, given in enumerate(keys) if given == key)
    return min(group, key=lambda index: (finish_reasons[index] != "stop", index))


def medoid(vectors: Sequence[Sequence[float]]) -> int:
    """Find the vector closest to the others: highest mean cosine, shape (n >= 1, D) in any length unit.

    Free text has no majority; its centre is the sample that agrees most with the rest (Kaufman and Rousseeuw's
    medoid, with cosine for distance). Ties go to the lowest index. A vector of length 0 is close to nothing.
    """
    units = [_unit(vector) for vector in vectors]
    best, best_sum = 0, -math.inf
    for index, unit in enumerate(units):
        others = math.fsum(sum(map(operator.mul, unit, other)) for at, other in enumerate(units) if at != index)
        if others > best_sum + _TIE:
            best, best_sum = index, others
    return best


def _unit(vector: Sequence[float]) -> list[float]:
    length = math.hypot(*vector)
    return [float(value) / length for value in vector] if length > 0 and math.isfinite(length) else [0.0] * len(vector)


def still_needed(
    rule: EarlyStop, keys: Mapping[int, str | None], n: int, quorum: int = 0, weights: Sequence[int] | None = None
) -> int:
    """Return the fewest further samples that can settle the vote; 0 means that sampling may stop.

    It is a bound from below: so many settle it if all of them vote for the leader and are the heaviest left, and fewer
    never do. The vote is settled when the rule has its winner and the winner has `quorum` votes, or when all n samples
    are in. `off` waits for all. Without a quorum, `exact` gives 0 if and only if every completion of the unfinished
    samples elects the present winner.

    Args:
        rule: when the winner is certain enough.
        keys: the finished samples' keys by index; None is finished without an answer, and votes for nothing.
        n: how many samples were asked for.
        quorum: how many votes the winner has to have besides (see `quorum_of`).
        weights: what each of the n votes weighs, in thousandths; None weighs all alike.

    """
    weight_of = [UNIT] * n if weights is None else weights
    # The heaviest first, and of equal ones those that win a tie.
    left = sorted(
        ((weight_of[index], index) for index in range(n) if index not in keys), key=lambda at: (-at[0], at[1])
    )
    if rule == "off":
        return len(left)
    sums: Counter[str] = Counter()
    firsts: dict[str, int] = {}
    for index in sorted(keys):
        if (key := keys[index]) is not None:
            sums[key] += weight_of[index]
            firsts.setdefault(key, index)
    order = sorted(sums, key=lambda key: (-sums[key], firsts[key]))
    leader, *rivals = [(sums[key], firsts[key]) for key in order] or [(0, n)]
    needed = bisect_left(range(len(left)), True, key=lambda more: _settles(leader, rivals, left[:more], left[more:]))
    if rule == "adaptive":
        heaviest = max(weight_of, default=UNIT)
        ahead, behind = leader[0] // heaviest, -(-max((weight for weight, _ in rivals), default=0) // heaviest)
        needed = bisect_left(range(needed), True, key=lambda more: likely_ahead(ahead + more, behind))
    votes = sum(key == order[0] for key in keys.values()) if order else 0
    return min(max(needed, quorum - votes), len(left))


def quorum_of(share: float, n: int) -> int:
    """Return the fewest votes that are at least this share of n samples."""
    return bisect_left(range(n), share, key=lambda votes: votes / n)


def likely_ahead(leader: int, rival: int) -> bool:
    """Decide P(p > 1/2) >= 0.95 for p ~ Beta(leader + 1, rival + 1), in integers.

    The doubt that remains is sum_{j=0..b} C(a+b+1, j) / 2^(a+b+1) with a votes for the leader and b for the rival.
    """
    tosses = leader + rival + 1
    doubt, ways = 0, 1
    for heads in range(rival + 1):
        doubt += ways
        ways = ways * (tosses - heads) // (heads + 1)
    numerator, denominator = _BETA_DOUBT
    return doubt * denominator <= numerator << tosses


_Standing = tuple[int, int]
"""The weight of an answer's votes and the index of its first sample, which is in front where weights tie."""


def _settles(
    leader: _Standing, rivals: Sequence[_Standing], mine: Sequence[_Standing], others: Sequence[_Standing]
) -> bool:
    """Return whether nobody overtakes a leader that gets `mine` with all `others`, not even a new answer."""
    if not others:
        return True
    weight, first = leader[0] + sum(each for each, _ in mine), min([leader[1], *(index for _, index in mine)])
    rest, earliest = sum(each for each, _ in others), min(index for _, index in others)
    return all((weight, -first) > (rival + rest, -min(index, earliest)) for rival, index in (*rivals, (0, earliest)))


class Ballot:
    """Collects the votes of one question as its samples finish, in any order; used from one thread at a time.

    A slot is the place of a sample in the tie-break. All slots are known from the start, with what their votes weigh,
    so that `exact` can stop as soon as those to come cannot change the winner.

    Model-Switch (arXiv 2504.00762): where less than a share of `switch_below` of the votes agree, a second member is
    asked, and `switch` opens the vote on the samples of both. `exact` holds for the switch as well: sampling goes on
    until it is certain that enough agree. Once it is certain that too few do, all samples are wanted, because all of
    them vote in the union. `adaptive` judges by the samples that it let end.

    Args:
        weights: what the vote of each slot weighs, in thousandths, 1 or more; its length is the number of samples.
        rule: when sampling may stop.
        kind: what an answer is. Code that fails loses to code that does not.
        switch_below: 0 never switches; nor does a single sample.
        earlier: the votes of samples that count as well, before these in the tie-break, with what they weigh.

    """

    def __init__(
        self,
        weights: Sequence[int],
        rule: EarlyStop = "exact",
        kind: Kind = "number",
        *,
        switch_below: float = 0.0,
        earlier: Sequence[tuple[str | None, int]] = (),
    ) -> None:
        self.weights = tuple(weights)
        self._rule, self._kind, self._earlier = rule, kind, len(earlier)
        self._switch_below = switch_below if len(weights) > 1 else 0.0
        self._all_weights = (*(weight for _, weight in earlier), *weights)
        self._keys: dict[int, str | None] = {place: key for place, (key, _) in enumerate(earlier)}

    def add(self, slot: int, key: str | None) -> int:
        """Count a finished sample's vote (None: it casts none); return how many more are `needed`."""
        self._keys[self._earlier + slot] = key
        return self.needed

    @property
    def needed(self) -> int:
        """How many more samples it takes at the least; 0 when sampling may stop."""
        quorum = quorum_of(self._switch_below, len(self.weights)) if self._rule == "exact" else 0
        return still_needed(self._rule, self._keys, self.asked, quorum, self._all_weights)

    def switch(self, weights: Sequence[int]) -> Ballot | None:
        """Open the vote to a second member's samples where too few agree, now that sampling has ended; else None.

        None as well where they could not change the winner: the Beta rule can be sure of one that few agree on, and
        then it is sure of it in the union too.
        """
        leader = self.leader
        if not self.finished or (leader.count if leader else 0) / self.finished >= self._switch_below:
            return None
        earlier = [(self._keys[place], self._all_weights[place]) for place in sorted(self._keys)]
        union = Ballot(weights, self._rule, self._kind, earlier=earlier)
        return union if union.needed > 0 else None

    @property
    def asked(self) -> int:
        """How many samples can vote, the earlier ones included."""
        return len(self._all_weights)

    @property
    def finished(self) -> int:
        """How many samples ran to their own end, the earlier ones included."""
        return len(self._keys)

    @property
    def votes(self) -> tuple[Vote, ...]:
        """The tally so far, winner first, the earlier samples included; code that fails loses to code that does not."""
        places = sorted(self._keys)
        votes = tally([self._keys[place] for place in places], [self._all_weights[place] for place in places])
        return tuple(sorted(votes, key=lambda vote: failures(vote.key))) if self._kind == "code" else votes

    @property
    def leader(self) -> Vote | None:
        """The answer that is ahead, None before the first vote."""
        return winner(self.votes)
