"""How many more samples it takes before those still to come cannot, or will hardly, change the winner.

`exact` is the curtailed majority vote: stop when no completion of the unfinished samples elects another answer under
the tie-break of `tally` (earliest index). `adaptive` adds the Beta rule of Adaptive-Consistency (Aggarwal et al.,
EMNLP 2023, arXiv 2305.11860), which can be wrong. Both only read finished samples, in whatever order those finished.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping

from avengers_edge.errors import BadRequest
from avengers_edge.records import EarlyStop
from avengers_edge.voting.tally import tally

_BETA_DOUBT = (1, 20)


def still_needed(rule: EarlyStop, keys: Mapping[int, str | None], n: int, quorum: int = 0) -> int:
    """Give the fewest further samples that can settle the vote; 0 means that sampling may stop.

    It is a bound from below: so many settle it if all of them vote for the leader and have the lowest indices left, and
    fewer never do. The vote is settled when the rule has its winner and the winner has `quorum` votes, or when all n
    samples are in. `off` waits for all. Without a quorum, `exact` gives 0 if and only if every completion of the
    unfinished samples elects the present winner.

    Args:
        rule: when the winner is certain enough.
        keys: the finished samples' keys by index; None is finished without an answer, and votes for nothing.
        n: how many samples were asked for.
        quorum: how many votes the winner has to have besides (see `quorum_of`).

    Raises:
        BadRequest: a sample index outside 0..n-1.

    """
    stray = [index for index in keys if not 0 <= index < n]
    if stray:
        raise BadRequest(f"sample {stray[0]} is not one of {n}: indices run from 0 to {n - 1}")
    unfinished = [index for index in range(n) if index not in keys]
    if rule == "off":
        return len(unfinished)
    votes = tally([keys[index] for index in sorted(keys)])[:2]
    standing = [(vote.count, min(index for index, key in keys.items() if key == vote.key)) for vote in votes]
    (leader, leads_from), (rival, rival_from) = (standing + [(0, n)] * 2)[:2]
    needed = _until_certain(leader, rival, leads_from, rival_from, unfinished, n)
    if rule == "adaptive":
        needed = bisect_left(range(needed), True, key=lambda more: likely_ahead(leader + more, rival))
    return min(max(needed, quorum - leader), len(unfinished))


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


def _until_certain(leader: int, rival: int, leads_from: int, rival_from: int, unfinished: list[int], n: int) -> int:
    """Count the votes for the leader after which no rival, not even an answer that nobody gave yet, can win.

    After k of them the rival's best case is all the others, rival + R - k votes against leader + k. Where that is a tie
    the earlier first index wins, and an unfinished sample may have the lowest of all.
    """
    ahead = rival + len(unfinished) - leader  # of the rival in its best case, before k, each of which takes 2 of it
    if ahead < 0:
        return 0
    tied, odd = divmod(ahead, 2)
    if tied:
        leads_from = min(leads_from, unfinished[0])
    if not odd and leads_from < min(rival_from, [*unfinished, n][tied]):
        return tied
    return min(tied + 1, len(unfinished))
