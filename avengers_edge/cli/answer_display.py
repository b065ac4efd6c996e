"""An answer on the terminal: progress, the text as it comes, the line under it, and the explanation."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Sequence
from typing import Self

from avengers_edge._util.text import counted, cut
from avengers_edge.cli.terminal import StatusLine, columns, dim, harmless, printable, write_out
from avengers_edge.records import Answer, Event, Loading, Progress, Route, Routed, Token
from avengers_edge.voting.markers import ThoughtSplitter, said_in

_INDENTED = " -*"
_WIDEST = 100
_WIDEST_BAR = 20
_LEAST_NAME = 4


class AnswerDisplay:
    """Shows the events of an answer: the status line, and the text of an answer that is not voted on as it comes.

    `streams` says whether text is written before the answer is complete; `width` are the columns of the terminal that
    it goes to, None where it goes elsewhere.
    """

    def __init__(self, status: StatusLine, *, streams: bool, width: int | None) -> None:
        self._status, self._streams = status, streams
        self._thoughts, self._wrap = ThoughtSplitter(), WordWrap(width)
        self._pieces, self._vote = 0, "sampling"
        self._written = self._held = ""

    def show(self, event: Event) -> None:
        """Show an event."""
        match event:
            case Routed(route):
                self._vote = f"asking {route.ranking[0].model}"
            case Loading(model):
                self._status.show(f"loading {model} …", now=True)
            case Token(text, _, voted):
                self._pieces += 1
                if self._streams and not voted:
                    self._stream(self._thoughts.push(text)[0])
                if not self._written:
                    self._status.show(f"{self._vote} · {counted(self._pieces, 'token')}")
            case Progress() if not self._written:
                one = event.samples == 1
                self._vote = f"asking {event.member}" if one else vote_line(event)
                written = " …" if one else f" · {counted(self._pieces, 'token')} · {event.member}"
                self._status.show(self._vote + written, now=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None and self._written:  # an error or Ctrl-C: its message gets a line of its own
            write_out(self._wrap.close() + "\n")

    def end(self, text: str) -> None:
        """Write the rest of the answer; all of it where another text was streamed."""
        self._status.clear()
        if self._written and not text.startswith(self._written):
            self._write("\n\n")
            self._written = ""
        self._write(text[len(self._written) :])
        write_out(self._wrap.close() + "\n")

    def _stream(self, said: str) -> None:
        """Write a piece; white space is held back until text follows, since the answer has none at its ends."""
        text = self._held + said
        if not self._written:
            text = text.lstrip()
        sure = text.rstrip()
        self._held = text[len(sure) :]
        if sure:
            self._status.clear()
            self._write(sure)
            self._written += sure

    def _write(self, text: str) -> None:
        write_out(self._wrap.push(text))


class WordWrap:
    """Wraps a text that comes in pieces, but for its code blocks; a word is written when it is complete.

    A width of None passes the text on as it is.
    """

    def __init__(self, width: int | None) -> None:
        self._width = width
        self._line = self._gap = self._word = ""
        self._code = False

    def push(self, text: str) -> str:
        """Add the next piece; return the text that can be written."""
        if self._width is None:
            return text
        done = ""
        for letter in harmless(text):
            if letter == "\n":
                done += self.close() + "\n"
                self._code ^= self._line.lstrip().startswith("```")
                self._line = self._gap = ""
            elif letter == " ":
                done += self.close()
                self._gap += letter
            else:
                self._word += letter
        return done

    def close(self) -> str:
        """End the word under way and return it."""
        word, gap = self._word, self._gap
        if not word:
            return ""
        self._word = self._gap = ""
        plain = not self._code and not self._line.lstrip().startswith("```")
        if plain and self._line.strip() and len(self._line) + len(gap) + len(word) > (self._width or 0):
            indent = " " * (len(self._line) - len(self._line.lstrip(_INDENTED)))
            self._line = indent + word
            return "\n" + self._line
        self._line += gap + word
        return gap + word


def shown(answer: Answer, *, programs: bool = False) -> str:
    """Return the chosen sample's text without its thought, and its answer on a line of its own where it has one.

    Of a program the result is returned, with `programs` the program too.
    """
    if answer.shown.output is not None and not programs:
        return answer.answer
    text = said_in(answer.text).strip()
    return text if states_its_answer(answer) else f"{text}\n\n=> {answer.answer}"


def states_its_answer(answer: Answer) -> bool:
    """Return whether a reader finds the answer in its text: it begins with it, or it is code, or free text."""
    return not answer.votes or answer.kind == "code" or said_in(answer.text).strip().startswith(answer.answer)


def vote_line(progress: Progress) -> str:
    """Write how a vote stands, what matters first: the end of a status line may be cut off."""
    leader = progress.leader
    leading = f" · {leader.count} for {cut(printable(leader.key), columns() // 3)}" if leader else ""
    return f"{progress.finished} of {progress.samples} samples{leading}"


def summary(answer: Answer, *, tokens: bool = True, stopped: bool = False) -> str:
    """Write the line under an answer: models, votes, samples, tokens, seconds, the thought, how it ended."""
    usage, said = answer.usage, said_in(answer.text)
    parts = [", ".join(answer.models), *_votes(answer)]
    if tokens:
        saved = f", {usage.saved_tokens} saved" if usage.saved_tokens else ""
        parts.append(f"{counted(usage.completion_tokens, 'token')}{saved}")
    parts.append(f"{answer.timings_ms.total / 1000:.1f} s")
    thought = len(answer.text.split()) - len(said.split())
    if thought:
        parts.append(f"thought for {thought} words")
    if stopped:
        parts.append("stopped")
    elif answer.shown.finish_reason == "length":
        parts.append("cut off at the token limit" + (", while it still thought" if thought and not said else ""))
    return " · ".join(parts)


def _votes(answer: Answer) -> list[str]:
    one, votes, parts = answer.samples_requested == 1, answer.votes, []
    if votes and not one:
        parts.append(f"{votes[0].count} of {sum(vote.count for vote in votes)} votes")
    if answer.confidence is not None:
        parts.append(f"{answer.confidence:.0%} sure")
    if len(votes) > 1 and votes[0].weight == votes[1].weight:
        parts.append("a tie, so the first of them")
    return [*parts, "1 sample" if one else f"{answer.samples_used} of {answer.samples_requested} samples"]


def explanation(answer: Answer, width: int, asked: int | None = None) -> str:
    """Draw the routing, how many samples were drawn and why, the switch to a second member, and the votes.

    `asked` is the number of samples that the user asked for, if any.
    """
    requested = answer.samples_requested
    weight = sum(sample.weight for sample in answer.samples) * requested / len(answer.samples)
    bars = []
    for vote in answer.votes if requested > 1 else ():
        weighed = "" if vote.weight == vote.count else f" ({vote.weight:.1f})"
        bars.append((vote.key, vote.weight / weight, f"{vote.count}{weighed}"))
    votes = ["votes:", *chart(bars, width)] if bars else ["no vote was held"]
    if answer.confidence is not None:
        votes.append(f"chance of being right, as calibrated: {answer.confidence:.0%}")
    failures = Counter((sample.model, sample.failure) for sample in answer.samples if sample.failure)
    said = [*_sample_lines(answer, asked), *switch_lines(answer)]
    said += [f"no vote: {count} of {member}, {printable(why or '')}" for (member, why), count in failures.items()]
    return "\n".join([ranking_lines(answer.route, width, budget=False), *_wrapped(said, width), *votes])


def ranking_lines(decision: Route, width: int, *, budget: bool = True) -> str:
    """Draw a routing decision, best member first, with its sample budget; scores run from 0 to 1."""
    if decision.cluster is None or decision.similarity is None:
        head = [decision.fallback or "not routed: the model was named"]
    else:
        head = [f"cluster {decision.cluster}, similarity {decision.similarity:.2f}, margin {decision.margin:.3f}"]
        if budget and decision.samples is not None:
            head.append(f"sample budget: {_budget(decision.samples)}")
        head += [decision.fallback] if decision.fallback else []
    bars = [(each.model, each.score, f"{each.score:.3f}") for each in decision.ranking]
    return "\n".join([*_wrapped(head, width), *chart(bars, width)])


def _budget(samples: int) -> str:
    return "the greedy answer" if samples == 1 else f"a vote of up to {samples}"


def _sample_lines(answer: Answer, asked: int | None) -> list[str]:
    """Write how many samples were drawn, and why so many."""
    measured, used, requested = answer.route.samples, answer.samples_used, answer.samples_requested
    lines = []
    if all(sample.chances for sample in answer.samples) and (asked is None or asked > requested):
        lines.append(f"samples: all {requested} orders of the options")
    elif asked is not None:
        instead = "" if measured in (None, asked) else f", instead of the sample budget: {_budget(measured or asked)}"
        lines.append(f"samples: {asked} asked for{instead}")
    elif measured is not None:
        lines.append(f"sample budget: {_budget(measured)}")
    if used < requested:
        lines.append(f"{used} of {requested} samples were drawn: the others were not needed")
    return lines


def switch_lines(answer: Answer) -> list[str]:
    """Write why more than one member was asked."""
    if len(answer.models) < 2:
        return []
    first, second = answer.models[:2]
    failed = [name for name in answer.models if all(each.failure for each in answer.samples if each.model == name)]
    if failed:
        answered = ", ".join(name for name in answer.models if name not in failed)
        return [f"no program of {', '.join(failed)} gave an answer, {answered} did"]
    if answer.samples[1].model == second and first.split(":")[0] == second.split(":")[0]:
        return [f"two ways of asking one model voted: {first} and {second}"]
    keys = [sample.key for sample in answer.samples if sample.model == first and sample.finish_reason != "cancelled"]
    agreed = max(Counter(key for key in keys if key is not None).values(), default=0)
    return [f"switched: {agreed} of {len(keys)} samples of {first} agreed, so {second} voted too"]


def chart(bars: Sequence[tuple[str, float, str]], width: int) -> list[str]:
    """Draw bars of a name, a share of 0 to 1 and the text behind it, the first one plain and the others dim.

    Where names are long, each stands above its bar.
    """
    width = min(width, _WIDEST)
    values = max(len(value) for _, _, value in bars)
    long = max(1, min(_WIDEST_BAR, width // 4))
    names, room = max(len(name) for name, _, _ in bars), width - len("    ") - long - 1 - values
    lines = []
    for place, (name, share, value) in enumerate(bars):
        drawn = "#" * round(long * min(max(share, 0.0), 1.0))
        measured = f"{drawn:<{long}} {value:>{values}}"
        if names <= room:
            drawing = [f"  {printable(name):<{names}}  {measured}"]
        else:
            drawing = [f"  {_both_ends(name, max(1, width - 2))}", f"    {measured}"]
        lines += [dim(line) if place else line for line in drawing]
    return lines


def _both_ends(name: str, room: int) -> str:
    name = printable(name)
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
