"""Who is asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Literal, get_args

from avengers_edge.records.basics import KINDS, Kind, require
from avengers_edge.records.requests import SamplingParams

_AS_THE_PAPER = SamplingParams()
_OWN = ("thinking_budget", "temperature", "top_p", "top_k", "min_p")
"""What a mode can say of sampling besides a limit."""

AnswerForm = Literal["text", "program", "letters"]
"""Where an answer is read: in the text, in what a program prints, or in the probabilities of an option's letter."""


@dataclass(frozen=True, slots=True)
class Mode:
    """A way of asking: an instruction per answer kind, a system prompt, sampling and token limits.

    A kind without an instruction is asked as it is, and not at all where the answer is a program's or a letter.
    `max_tokens` is of an answer that an instruction narrows; `thinking_budget` comes on top of an answer's limit,
    whatever its kind. Sampling that is None is the team's.
    """

    name: str
    instructions: Mapping[Kind, str] = field(default_factory=lambda: MappingProxyType({}))
    system: str | None = None
    max_tokens: int | None = None
    answer: AnswerForm = "text"
    thinking_budget: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None

    def __post_init__(self) -> None:
        forms = get_args(AnswerForm)
        require(self.answer in forms, f"mode {self.name!r} has answer {self.answer!r}: use one of {', '.join(forms)}")
        unknown = sorted(set(self.instructions) - set(KINDS))
        require(not unknown, f"mode {self.name!r} has instructions for unknown kinds: {', '.join(unknown)}")
        require(
            self.max_tokens is None or self.max_tokens >= 1,
            f"mode {self.name!r} has max_tokens {self.max_tokens}: use 1 or more",
        )
        self.sampling("text", _AS_THE_PAPER)  # refuses what no sampling can be

    def takes(self, kind: Kind) -> bool:
        """Return whether questions with answers of this kind can be asked so."""
        return self.answer == "text" or kind in self.instructions

    def limits(self, kind: Kind) -> bool:
        """Whether it has a token limit of its own for this kind."""
        return self.max_tokens is not None and kind in self.instructions

    def sampling(self, kind: Kind, usual: SamplingParams) -> SamplingParams:
        """Return the way a kind of answer is sampled where it is usually sampled so."""
        own = {name: value for name in _OWN if (value := getattr(self, name)) is not None}
        answer = (self.max_tokens if kind in self.instructions else None) or usual.max_tokens
        return replace(usual, max_tokens=answer + (self.thinking_budget or 0), **own)


@dataclass(frozen=True, slots=True)
class Member:
    """A model and, optionally, a way of asking it; written `model` or `model:mode`."""

    model: str
    mode: Mode | None = None

    @property
    def name(self) -> str:
        """The member as tables and users write it."""
        return self.model if self.mode is None else f"{self.model}:{self.mode.name}"

    @property
    def form(self) -> AnswerForm:
        """Where this member's answer is read."""
        return "text" if self.mode is None else self.mode.answer

    def takes(self, kind: Kind) -> bool:
        """Return whether questions with answers of this kind can be put to this member."""
        return self.mode is None or self.mode.takes(kind)

    def sampling(self, kind: Kind, usual: SamplingParams) -> SamplingParams:
        """Return the way this member is sampled for a kind of answer where it is usually sampled so."""
        return self.mode.sampling(kind, usual) if self.mode else usual

    @property
    def thinks(self) -> bool:
        """Whether it is asked to think before it answers, which greedy decoding makes repeat itself without end."""
        return self.mode is not None and bool(self.mode.thinking_budget)


@dataclass(frozen=True, slots=True)
class Team:
    """Members that answer together, the table that ranks them, and their defaults."""

    name: str
    description: str
    members: tuple[Member, ...]
    table: str | None
    samples: int = 8
    sampling: SamplingParams = _AS_THE_PAPER
    switch_below: float = 0.8

    def __post_init__(self) -> None:
        require(bool(self.members), f"team {self.name!r} has no members")
        names = [member.name for member in self.members]
        require(len(set(names)) == len(names), f"team {self.name!r} names a member twice")
        require(self.samples >= 1, f"team {self.name!r} has samples {self.samples}: use 1 or more")
        require(
            0 <= self.switch_below <= 1, f"team {self.name!r} has switch_below {self.switch_below}: use 0 (never) to 1"
        )

    @property
    def models(self) -> tuple[str, ...]:
        """The models to be installed, each once, in member order."""
        return tuple(dict.fromkeys(member.model for member in self.members))

    def member(self, name: str) -> Member | None:
        """Find the member of that name, or None."""
        return next((member for member in self.members if member.name == name), None)
