"""What fills a step beside the running samples' own tokens: pieces of prompts, and guesses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from avengers_edge.engine.job import Job
from avengers_edge.engine.live import Live


def share_prefill(unready: Sequence[Job], rows: int) -> list[tuple[Job, int]]:
    """Share rows out among the requests with prompts to evaluate: in order, but the first leaves half to the others.

    Few long pieces are evaluated faster than many short ones, and one long prompt does not hold up all that come after.
    """
    if not unready:
        return []
    first, *others = unready
    shares = dict.fromkeys(unready, 0)
    for job, most in [(first, -(-rows // 2)), *((job, rows) for job in (*others, first))]:
        count = min(job.body - job.evaluated - shares[job], most, rows)
        shares[job] += count
        rows -= count
    return [(job, count) for job, count in shares.items() if count]


@dataclass(frozen=True, slots=True)
class Offer:
    """One more guessed token for a sample: all its guesses up to that one, and the chance that they all hold."""

    live: Live
    tokens: Sequence[int]
    chance: float


def best_guesses(running: Sequence[Live], most: int) -> list[Offer]:
    """Offer the likeliest guesses, each after those that it depends on."""
    offers = []
    for live in running:
        guess = live.guess()
        chances = live.job.drafts.chances[: len(guess)]
        offers += [Offer(live, guess[:depth], chance) for depth, chance in enumerate(chances, 1)]
    # A chance never grows with depth, and the sort is stable, so that a guess comes after the one before it.
    return sorted(offers, key=lambda offer: -offer.chance)[:most]
