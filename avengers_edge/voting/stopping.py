"""When the samples that are still running cannot, or will hardly, change the winner.

`exact` is the curtailed majority vote: stop when no completion of the unfinished samples elects another answer under
the tie-break of `tally` (earliest index). `adaptive` adds the Beta rule of Adaptive-Consistency (Aggarwal et al.,
EMNLP 2023, arXiv 2305.11860), which can be wrong. Both only read finished samples, in whatever order those finished.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import comb

from avengers_edge.errors import BadRequest
from avengers_edge.records import EarlyStop, Vote
from avengers_edge.voting.tally import tally

_BETA_THRESHOLD = (19, 20)


def is_decided(rule: EarlyStop, keys: Mapping[int, str | None], n: int) -> bool:
    """Tell whether sampling may stop under a rule. `off` waits for all n samples.

    Raises:
        BadRequest: a sample index outside 0..n-1.

    """
    if rule == "exact":
        return decided_exact(keys, n)
    if rule == "adaptive":
        return decided_adaptive(keys, n)
    return _remaining(keys, n) == 0


def decided_exact(keys: Mapping[int, str | None], n: int) -> bool:
    """Tell whether the winner of the finished samples wins whatever the others turn out to be.

    With a votes for the leader, b for a rival and R unfinished samples, the rival's best case is b + R. At a tie the
    earlier first index wins, and an unfinished sample may have the lowest index of all; the leader's own first index
    can only get lower. An answer nobody gave yet is a rival with b = 0. The converse holds too: when this says False,
    some completion elects another answer.

    Args:
        keys: the finished samples' keys by index; None is finished without an answer, and votes for nothing.
        n: how many samples were asked for.

    Raises:
        BadRequest: a sample index outside 0..n-1.

    """
    remaining = _remaining(keys, n)
    if remaining == 0:
        return True
    votes, first = _standing(keys)
    if not votes:
        return False
    leader = votes[0]
    next_unfinished = next(index for index in range(n) if index not in keys)
    rivals = [(vote.count, min(first[vote.key], next_unfinished)) for vote in votes[1:]]
    for count, earliest in [*rivals, (0, next_unfinished)]:
        reach = count + remaining
        if leader.count < reach or (leader.count == reach and first[leader.key] > earliest):
            return False
    return True


def decided_adaptive(keys: Mapping[int, str | None], n: int) -> bool:
    """Tell whether the winner is certain, or likely enough to stay: probability 0.95 under the Beta rule.

    Raises:
        BadRequest: a sample index outside 0..n-1.

    """
    if decided_exact(keys, n):
        return True
    votes, _ = _standing(keys)
    counts = [vote.count for vote in votes[:2]] + [0, 0]
    return likely_ahead(counts[0], counts[1])


def likely_ahead(leader: int, rival: int) -> bool:
    """Decide P(p > 1/2) >= 0.95 for p ~ Beta(leader + 1, rival + 1), in integers.

    The probability is sum_{j=0..a} C(a+b+1, j) / 2^(a+b+1) with a votes for the leader and b for the rival.
    """
    numerator, denominator = _BETA_THRESHOLD
    tosses = leader + rival + 1
    favourable = sum(comb(tosses, heads) for heads in range(leader + 1))
    return favourable * denominator >= numerator << tosses


def _remaining(keys: Mapping[int, str | None], n: int) -> int:
    stray = [index for index in keys if not 0 <= index < n]
    if stray:
        raise BadRequest(f"sample {stray[0]} is not one of {n}: indices run from 0 to {n - 1}")
    return n - len(keys)


def _standing(keys: Mapping[int, str | None]) -> tuple[tuple[Vote, ...], dict[str, int]]:
    """Tally the finished samples, and the lowest index of each key."""
    in_order = sorted(keys)
    first: dict[str, int] = {}
    for index in in_order:
        if (key := keys[index]) is not None:
            first.setdefault(key, index)
    return tally([keys[index] for index in in_order]), first
