"""An answer as people see it: the line while it is sampled, the text as it comes, the line under it."""

from __future__ import annotations

import sys

import click

from avengers_edge.cli.terminal import StatusLine, harmless
from avengers_edge.records import Answer, Event, Loading, Progress, Routed, Token
from avengers_edge.voting.markers import ThoughtSplitter, said_in

_INDENTED = " -*"


class AnswerDisplay:
    """Shows the events of an answer: the status line, and the text of an answer that is not voted on as it comes.

    Args:
        status: the status line; it is wiped before the text begins.
        streams: whether text is written before the answer is whole.
        width: columns of the terminal that the text goes to; None where it goes elsewhere.

    """

    def __init__(self, status: StatusLine, *, streams: bool, width: int | None) -> None:
        self._status, self._streams = status, streams
        self._thoughts, self._wrap = ThoughtSplitter(), WordWrap(width)
        self._pieces, self._vote = 0, "sampling"
        self._written = self._held = ""

    def show(self, event: Event) -> None:
        """Show what happened."""
        match event:
            case Routed(route):
                self._vote = f"asking {route.ranking[0].model}"
            case Loading(model):
                self._status.show(f"loading {model} …  (its first use measures it as well, once)", now=True)
            case Token(text, _, voted):
                self._pieces += 1
                if self._streams and not voted:
                    self._stream(self._thoughts.push(text)[0])
                if not self._written:
                    self._status.show(f"{self._vote} · {self._pieces} tokens")
            case Progress(finished, samples, leader, member) if not self._written:
                self._vote = f"sampling {member}: {finished} of {samples} samples done"
                if leader:
                    self._vote += f", leading: {leader.key} ({leader.count})"
                one = f"asking {member} …"
                self._status.show(one if samples == 1 else f"{self._vote} · {self._pieces} tokens", now=True)

    def end(self, text: str) -> None:
        """Write what is missing of the answer; all of it where something else was streamed."""
        self._status.clear()
        if self._written and not text.startswith(self._written):
            self._write("\n\n")
            self._written = ""
        self._write(text[len(self._written) :])
        _out(self._wrap.close() + "\n")

    def _stream(self, said: str) -> None:
        """Write a piece; white space waits for what follows it, since the answer has none around it."""
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
        _out(self._wrap.push(text))


class WordWrap:
    """Breaks the lines of a text that comes in pieces between words, but for those of code; a word comes out whole.

    Args:
        width: columns; None breaks nothing, and leaves in what would steer a terminal.

    """

    def __init__(self, width: int | None) -> None:
        self._width = width
        self._line = self._gap = self._word = ""
        self._code = False

    def push(self, text: str) -> str:
        """Take the next piece; return what can be written."""
        if self._width is None:
            return text
        done = ""
        for letter in harmless(text):
            if letter == "\n":
                done += self._end_word() + "\n"
                self._code ^= self._line.lstrip().startswith("```")
                self._line = self._gap = ""
            elif letter == " ":
                done += self._end_word()
                self._gap += letter
            else:
                self._word += letter
        return done

    def close(self) -> str:
        """Return the last word."""
        return self._end_word()

    def _end_word(self) -> str:
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


def _out(text: str) -> None:
    # Piped it stays as it is; click would take colours out of it.
    click.echo(text, nl=False, color=True)
    if sys.stdout is not None:
        sys.stdout.flush()


def shown(answer: Answer, *, programs: bool = False) -> str:
    """Write the chosen sample and, where it has an answer that can be voted on, that on a line of its own.

    Of a program the result is written, and the program under it only with `programs`; what was thought before an answer
    is left out.
    """
    if answer.shown.output is not None and not programs:
        return answer.answer
    text = said_in(answer.text).strip()
    stated = not answer.votes or text.startswith(answer.answer) or answer.kind == "code"
    return text if stated else f"{text}\n\n=> {answer.answer}"


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
