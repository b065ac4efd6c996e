"""An answer as people see it: the line while it is sampled, the text, the line under it."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from avengers_edge.cli.terminal import StatusLine, harmless
from avengers_edge.records import Answer
from avengers_edge.voting.thoughts import said_in

if TYPE_CHECKING:
    from avengers_edge.election import Progress


class SamplingDisplay:
    """Turns the engine's events into the status line."""

    def __init__(self, status: StatusLine) -> None:
        self._status = status
        self._pieces = 0
        self._vote = "sampling"

    def load(self, model: str) -> None:
        """Hear of a model that is being loaded."""
        self._status.show(f"loading {model} …  (its first use measures it as well, once)", now=True)

    def token(self, _index: int, _piece: str) -> None:
        """Count a piece of text."""
        self._pieces += 1
        self._draw()

    def progress(self, progress: Progress) -> None:
        """Hear of a finished sample."""
        self._vote = f"sampling {progress.member}: {progress.finished} of {progress.samples} samples done"
        if progress.leader:
            self._vote += f", leading: {progress.leader.key} ({progress.leader.count})"
        self._draw(now=True)

    def _draw(self, *, now: bool = False) -> None:
        self._status.show(f"{self._vote} · {self._pieces} tokens", now=now)


def shown(answer: Answer, width: int | None = None) -> str:
    """Write the chosen sample and, where it has an answer that can be voted on, that on a line of its own.

    Of a program the result is written, and the program under it only for a terminal; what was thought before an answer
    is left out. With the `width` of a terminal, lines break between words, but for those of code, and nothing steers
    it.
    """
    if answer.shown.output is not None and width is None:
        return answer.answer
    text = said_in(answer.text).strip()
    stated = not answer.votes or text.startswith(answer.answer) or answer.kind == "code"
    whole = text if stated else f"{text}\n\n=> {answer.answer}"
    return whole if width is None else "\n".join(_wrapped(harmless(whole).split("\n"), width))


def _wrapped(lines: Sequence[str], width: int) -> Iterator[str]:
    code = False
    for line in lines:
        fence = line.lstrip().startswith("```")
        code ^= fence
        if code or fence or len(line) <= width:
            yield line
            continue
        hanging = " " * (len(line) - len(line.lstrip(" -*")))
        yield from textwrap.wrap(line, width, subsequent_indent=hanging, break_long_words=False, break_on_hyphens=False)


def summary(answer: Answer) -> str:
    """Write the quiet line under an answer: who, votes, samples, tokens, seconds."""
    usage = answer.usage
    saved = f", {usage.saved_tokens} saved" if usage.saved_tokens else ""
    tokens = "1 token" if usage.completion_tokens == 1 else f"{usage.completion_tokens} tokens"
    return " · ".join([*voters(answer), f"{tokens}{saved}", seconds(answer), *thought(answer), *cut_off(answer)])


def voters(answer: Answer) -> list[str]:
    """Write who answered, with how many votes and out of how many samples."""
    one = answer.samples_requested == 1
    votes = []
    if answer.votes and not one:
        votes.append(f"{answer.votes[0].count} of {sum(vote.count for vote in answer.votes)} votes")
    if answer.confidence is not None:
        votes.append(f"{answer.confidence:.0%} sure")
    if len(answer.votes) > 1 and answer.votes[0].weight == answer.votes[1].weight:
        votes.append("a tie, so the first of them")
    samples = "1 sample" if one else f"{answer.samples_used} of {answer.samples_requested} samples"
    return [", ".join(answer.models), *votes, samples]


def thought(answer: Answer) -> list[str]:
    """Write how much was thought before the answer, which is not shown."""
    words = len(answer.text.split()) - len(said_in(answer.text).split())
    return [f"thought for {words} words"] if words else []


def cut_off(answer: Answer) -> list[str]:
    """Say so where the text ends at the token limit."""
    thinking = ", while it still thought" if thought(answer) and not said_in(answer.text) else ""
    return [f"cut off at the token limit{thinking}"] if answer.shown.finish_reason == "length" else []


def seconds(answer: Answer) -> str:
    """Write how long an answer took."""
    return f"{answer.timings_ms.total / 1000:.1f} s"
