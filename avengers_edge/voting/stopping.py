"""How many more samples it takes before those still to come cannot, or will hardly, change the winner.

`exact` is the curtailed majority vote: stop when no completion of the unfinished samples elects another answer under
the tie-break of `tally` (earliest index). It holds for weighted votes as it does for equal ones. `adaptive` adds the
Beta rule of Adaptive-Consistency (Aggarwal et al., EMNLP 2023, arXiv 2305.11860), which can be wrong. Both only read
finished samples, in whatever order those finished.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence

from avengers_edge.errors import BadRequest
from avengers_edge.records import EarlyStop
from avengers_edge.voting.tally import UNIT

_BETA_DOUBT = (1, 20)


def still_needed(
    rule: EarlyStop, keys: Mapping[int, str | None], n: int, quorum: int = 0, weights: Sequence[int] | None = None
) -> int:
    """Give the fewest further samples that can settle the vote; 0 means that sampling may stop.

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

    Raises:
        BadRequest: a sample index outside 0..n-1.

    """
    stray = [index for index in keys if not 0 <= index < n]
    if stray:
        raise BadRequest(f"sample {stray[0]} is not one of {n}: indices run from 0 to {n - 1}")
    weight_of = [UNIT] * n if weights is None else weights
    # The heaviest first, and of equal ones those that win a tie.
    left = sorted(
        ((weight_of[index], index) for index in range(n) if index not in keys), key=lambda at: (-at[0], at[1])
    )
    if rule == "off":
        return len(left)
    sums: dict[str, int] = {}
    firsts: dict[str, int] = {}
    for index in sorted(keys):
        if (key := keys[index]) is not None:
            sums[key] = sums.get(key, 0) + weight_of[index]
            firsts.setdefault(key, index)
    order = sorted(sums, key=lambda key: (-sums[key], firsts[key]))
    (leads, leads_from), *rivals = [(sums[key], firsts[key]) for key in order] or [(0, n)]
    needed = bisect_left(range(len(left)), True, key=lambda more: _settles(leads, leads_from, rivals, left, more))
    if rule == "adaptive":
        heaviest = max(weight_of, default=UNIT)
        ahead, behind = leads // heaviest, -(-max((each for each, _ in rivals), default=0) // heaviest)
        needed = bisect_left(range(needed), True, key=lambda more: likely_ahead(ahead + more, behind))
    votes = sum(key == order[0] for key in keys.values()) if order else 0
    return min(max(needed, quorum - votes), len(left))


def quorum_of(share: float, n: int) -> int:
    """Give the fewest votes that are at least this share of n samples."""
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


def _settles(
    leads: int, leads_from: int, rivals: Sequence[tuple[int, int]], left: Sequence[tuple[int, int]], more: int
) -> bool:
    """Tell whether `more` votes for the leader settle it: nobody wins with all the others, not even a new answer.

    A standing is the weight of an answer's votes and its first index. Where weights tie the earlier first index wins.
    """
    mine, others = left[:more], left[more:]
    if not others:
        return True
    standing = leads + sum(weight for weight, _ in mine)
    first = min([leads_from, *(index for _, index in mine)])
    rest, earliest = sum(weight for weight, _ in others), min(index for _, index in others)
    return all(
        (standing, -first) > (weight + rest, -min(rival_first, earliest))
        for weight, rival_first in (*rivals, (0, earliest))
    )
