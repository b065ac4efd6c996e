"""Ways of asking: a question and a member in, requests out; what the member wrote in, samples with their votes out.

A member's answer is read in its text, in what its program prints (PAL, arXiv 2211.10435), or in the probabilities of an
option's letter (arXiv 2309.03882). Everything that asks a member goes through here: the vote and the calibration, so
that a member is measured as it is asked.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from typing import Any, Protocol

from avengers_edge.inquiry import Inquiry
from avengers_edge.records import (
    AS_LONG_AS_FITS,
    Ask,
    CancelToken,
    Completion,
    Kind,
    Member,
    Message,
    Request,
    Sample,
    SamplingParams,
)
from avengers_edge.voting.choices import cyclic_order, letter_chances
from avengers_edge.voting.keys import answer_key, canonical_key, extract_answer
from avengers_edge.voting.kinds import SINGLE_SAMPLE_KINDS, comparison_of
from avengers_edge.voting.markers import said_in
from avengers_edge.voting.printed import printed_answer

_SAMPLING = {each.name for each in dataclasses.fields(SamplingParams)} & {each.name for each in dataclasses.fields(Ask)}
"""What the user can say about sampling."""

_WHOLE_FLOAT = re.compile(r"^(-?\d+)\.0+$")
"""A whole number as Python prints a float."""

_ALTERNATIVES = 20
"""How many of the likeliest first tokens are looked at for letters."""


class ProgramRun(Protocol):
    """What became of a program: what it printed, or the reason why there is nothing to use."""

    @property
    def printed(self) -> str | None:
        """All that it printed; None where it failed."""

    @property
    def reason(self) -> str | None:
        """Why it failed; None where it did not."""


class Programs(Protocol):
    """Runs programs where they can do no harm; used from any thread."""

    def prepare(self) -> None:
        """Find out whether programs can be run here; NoSandbox if not."""

    def run(self, source: str, cancel: CancelToken | None = None) -> ProgramRun:
        """Run one program to its end; `cancel` ends it before."""


def requests_for(
    inquiry: Inquiry,
    member: Member,
    usual: SamplingParams,
    n: int,
    *,
    seed: int,
    greedy: bool,
    first: int = 0,
    open_ended: bool = False,
) -> tuple[Request, ...]:
    """Ask a member as the user says, else as its mode says, else as `usual`: one request of n samples.

    A member that thinks before it answers is never asked greedily, where it would repeat itself without end. By letters
    it is n requests, one for each order of the options, the first of which moves them by `first` places. `open_ended`
    lets a single answer in free text or code go on until the model ends it, unless its way of asking or the user has a
    limit: whatever is voted on, or measured, keeps that of the team.

    Raises:
        BadRequest: a value that sampling has no use for.

    """
    ask = inquiry.ask
    usual = member.sampling(inquiry.kind, usual)
    narrowed = member.mode is not None and member.mode.limits(inquiry.kind)
    if open_ended and n == 1 and not narrowed and inquiry.kind in SINGLE_SAMPLE_KINDS:
        usual = dataclasses.replace(usual, max_tokens=AS_LONG_AS_FITS)
    said: dict[str, Any] = {name: value for name in _SAMPLING if (value := getattr(ask, name)) is not None}
    if greedy and not member.thinks:
        said["temperature"] = 0.0
    sampling = dataclasses.replace(usual, **said)
    if member.form != "letters":
        messages = messages_for(inquiry.question, inquiry.kind, member, ask)
        keep = ask.history is not None
        return (Request(messages, sampling, n, seed, keep=keep, tools=ask.tools),)
    sampling = dataclasses.replace(
        sampling, temperature=0.0, max_tokens=1, logprobs=_ALTERNATIVES, stop=(), thinking_budget=0
    )
    moved = [cyclic_order(inquiry.question, inquiry.choices or (), first + place) for place in range(n)]
    return tuple(
        Request(messages_for(question, inquiry.kind, member, ask), sampling, seed=seed)
        for question in moved
        if question is not None
    )


def messages_for(question: str, kind: Kind, member: Member, ask: Ask | None = None) -> tuple[Message, ...]:
    """Make the messages that ask a member: its instruction for the kind, its system prompt unless one is given."""
    ask = ask or Ask()
    mode, system = member.mode, ask.system
    instruction = mode.instructions.get(kind) if mode else None
    if system is None and mode:
        system = mode.system
    user = Message("user", f"{question}\n\n{instruction}" if instruction else question)
    return (*((Message("system", system),) if system else ()), *(ask.history or ()), user, *ask.results)


def read(
    inquiry: Inquiry,
    member: Member,
    done: Completion,
    programs: Programs | None,
    *,
    shift: int = 0,
    cancel: CancelToken | None = None,
) -> Sample:
    """Read what a member wrote: the sample and the key that it votes for. A program is run for it.

    Args:
        inquiry: what was asked.
        member: who was asked.
        done: what it wrote.
        programs: runs a program; without one no program votes.
        shift: by letters, by how many places the options were moved.
        cancel: ends a program that runs.

    Raises:
        NoSandbox: a program has to be run, and cannot be run here any longer.

    """
    if done.finish_reason == "cancelled":
        return _sample(member, done, None)
    if member.form == "program":
        return _read_program(inquiry, member, done, programs, cancel)
    if member.form == "letters":
        return _read_letter(inquiry, member, done, shift)
    compare = comparison_of(inquiry.ask) if inquiry.kind == "text" else None
    if compare is not None:
        return _sample(member, done, compare(done.text))
    truncated = done.finish_reason == "length"
    return _sample(member, done, answer_key(done.text, inquiry.kind, truncated=truncated, choices=inquiry.choices))


def answer_in(sample: Sample, inquiry: Inquiry) -> str:
    """Return the answer that a sample states, for people: what its program printed, or what is read in its text."""
    if sample.output is not None:
        printed = printed_answer(sample.output, inquiry.kind, choices=inquiry.choices) or ""
        return _WHOLE_FLOAT.sub(r"\1", printed) if inquiry.kind == "number" else printed
    cut = sample.finish_reason != "stop"
    found = extract_answer(sample.text, inquiry.kind, truncated=cut, choices=inquiry.choices)
    return found or said_in(sample.text).strip()


def text_of(sample: Sample, answer: str, inquiry: Inquiry) -> str:
    """Return the text that stands for an answer: a program's result comes first, a letter with its option's text."""
    if sample.chances is not None and answer != sample.key:
        return option_text(answer, inquiry.choices or ())
    if sample.output is None:
        return sample.text
    return f"{answer}\n\n```python\n{source_in(sample.text, cut=False) or ''}\n```"


def option_text(letter: str, choices: Sequence[str]) -> str:
    """Write an option as its letter and its text."""
    return f"{letter}. {choices[ord(letter) - ord('A')]}"


def stated(sample: Sample, inquiry: Inquiry) -> str:
    """Return a text that states a sample's answer as benchmarks read it: a program's result behind an answer marker."""
    if sample.output is None:
        return sample.text
    answer = printed_answer(sample.output, inquiry.kind, choices=inquiry.choices)
    if answer is None or inquiry.kind == "text":
        return answer or ""
    return rf"\boxed{{{answer}}}" if inquiry.kind == "expression" else f"Answer: {answer}"


def source_in(text: str, *, cut: bool) -> str | None:
    """Find the program in a text: its last fenced block that is whole, or all of it where it is nothing else."""
    return extract_answer(text, "code", truncated=cut)


def _read_program(
    inquiry: Inquiry, member: Member, done: Completion, programs: Programs | None, cancel: CancelToken | None
) -> Sample:
    source = source_in(done.text, cut=done.finish_reason == "length")
    if source is None:
        return _sample(member, done, None, output="", failure="it wrote no whole program")
    if programs is None:
        return _sample(member, done, None, output="", failure="there is nothing to run it in")
    run = programs.run(source, cancel)
    if run.printed is None:
        return _sample(member, done, None, output="", failure=run.reason or "it failed")
    answer = printed_answer(run.printed, inquiry.kind, choices=inquiry.choices)
    if answer is None:
        return _sample(member, done, None, output="", failure=f"what it printed is no {inquiry.kind}")
    # Free text is compared by its line: programs that agree print the same one.
    key = answer.casefold() if inquiry.kind == "text" else canonical_key(answer, inquiry.kind)
    return _sample(member, done, key, output=run.printed)


def _read_letter(inquiry: Inquiry, member: Member, done: Completion, shift: int) -> Sample:
    choices = inquiry.choices or ()
    shares = letter_chances(done.logprobs[0], choices, shift) if done.logprobs else ()
    best = max(range(len(shares)), key=shares.__getitem__, default=0)
    if not shares or shares[best] <= 0:
        return _sample(member, done, None)
    letter = chr(ord("A") + best)
    named = dataclasses.replace(done, text=option_text(letter, choices), finish_reason="stop")
    return dataclasses.replace(_sample(member, named, letter), chances=tuple(round(share, 6) for share in shares))


def _sample(
    member: Member,
    done: Completion,
    key: str | None,
    *,
    output: str | None = None,
    failure: str | None = None,
) -> Sample:
    return Sample(member.name, done.seed, done.text, key, done.tokens, done.finish_reason, output, failure)
