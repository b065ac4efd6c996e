"""Why an answer is what it is: the routing and the votes drawn as bars, in plain text of a given width."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from avengers_edge.cli.terminal import dim
from avengers_edge.records import Answer, Route, Vote

_WIDEST = 100
_WIDEST_BAR = 20
_LEAST_NAME = 4


@dataclass(frozen=True, slots=True)
class Bar:
    """One line of a chart: a name, a share of 0 to 1, and what stands behind the bar."""

    name: str
    share: float
    value: str


def explanation(answer: Answer, width: int) -> str:
    """Draw the route, the switch if there was one, and the votes for people."""
    requested = answer.samples_requested
    weight = sum(sample.weight for sample in answer.samples) * requested / len(answer.samples)
    bars = [Bar(vote.key, vote.weight / weight, _tally_of(vote)) for vote in answer.votes if requested > 1]
    votes = ["votes:", *chart(bars, width)] if bars else ["no vote was held"]
    if answer.confidence is not None:
        votes.append(f"chance of being right, as calibrated: {answer.confidence:.0%}")
    said = [*switch_lines(answer), *failure_lines(answer)]
    return "\n".join([ranking_lines(answer.route, width), *_wrapped(said, width), *votes])


def _tally_of(vote: Vote) -> str:
    """Write the number of votes and, where they are not worth 1 each, what they weigh."""
    return str(vote.count) if vote.weight == vote.count else f"{vote.count} ({vote.weight:.1f})"


def failure_lines(answer: Answer) -> list[str]:
    """Write why programs cast no vote."""
    failures = Counter((sample.model, sample.failure) for sample in answer.samples if sample.failure)
    return [f"no vote: {count} of {member}, {_safe(why or '')}" for (member, why), count in failures.items()]


def ranking_lines(decision: Route, width: int) -> str:
    """Draw a routing decision for people, best member first; scores run from 0 to 1."""
    if decision.cluster is None or decision.similarity is None:
        head = [decision.fallback or "not routed: the model was named"]
    else:
        head = [f"cluster {decision.cluster}, similarity {decision.similarity:.2f}, margin {decision.margin:.3f}"]
        if decision.samples is not None:
            vote = "the greedy answer" if decision.samples == 1 else f"a vote of up to {decision.samples}"
            head.append(f"sample budget: {vote}")
        head += [decision.fallback] if decision.fallback else []
    bars = [Bar(each.model, each.score, f"{each.score:.3f}") for each in decision.ranking]
    return "\n".join([*_wrapped(head, width), *chart(bars, width)])


def switch_lines(answer: Answer) -> list[str]:
    """Write why a second member was asked, where one was."""
    if len(answer.models) < 2:
        return []
    first, second = answer.models[:2]
    if answer.samples[1].model == second:
        return [f"two ways of asking one model voted: {first} and {second}"]
    keys = [sample.key for sample in answer.samples if sample.model == first and sample.finish_reason != "cancelled"]
    agreed = max(Counter(key for key in keys if key is not None).values(), default=0)
    return [f"switched: {agreed} of {len(keys)} samples of {first} agreed, so {second} voted too"]


def chart(bars: Sequence[Bar], width: int) -> list[str]:
    """Draw the bars, the first one plain and the others dim; where names are long, each stands above its bar."""
    width = min(width, _WIDEST)
    values = max(len(bar.value) for bar in bars)
    long = max(1, min(_WIDEST_BAR, width // 4))
    names, room = max(len(bar.name) for bar in bars), width - len("    ") - long - 1 - values
    lines = []
    for place, bar in enumerate(bars):
        drawn = "#" * round(long * min(max(bar.share, 0.0), 1.0))
        measured = f"{drawn:<{long}} {bar.value:>{values}}"
        if names <= room:
            drawing = [f"  {_safe(bar.name):<{names}}  {measured}"]
        else:
            drawing = [f"  {_fitted(bar.name, max(1, width - 2))}", f"    {measured}"]
        lines += [dim(line) if place else line for line in drawing]
    return lines


def _safe(name: str) -> str:
    # A vote's key is what a model wrote: nothing in it may steer the terminal.
    return "".join(letter if letter.isprintable() else "?" for letter in name)


def _fitted(name: str, room: int) -> str:
    name = _safe(name)
    if len(name) <= room:
        return name
    tail = (room - 1) // 2
    return f"{name[: room - 1 - tail]}…{name[-tail:] if tail else ''}"


def _wrapped(lines: Sequence[str], width: int) -> list[str]:
    room = max(1, min(width, _WIDEST))
    indent = "  " if room > len("  ") + _LEAST_NAME else ""
    return [
        piece for line in lines for piece in textwrap.wrap(line, room, subsequent_indent=indent, break_on_hyphens=False)
    ]
