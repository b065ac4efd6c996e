"""Where a question goes, and what comes back."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from avengers_edge.records.basics import FinishReason, Kind, require

VoteForm = Literal["greedy", "samples", "ways", "letters"]
"""How an answer was voted on: not at all, by samples of one way, by two ways of one model, by orders of options."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """The chance that a vote's winner is right, a logistic function of its share and its voter's record (Platt 1999).

    `intercept`, and the slopes of the winner's share of the votes and of the log odds of the first member's expected
    accuracy.
    """

    intercept: float
    agreement: float
    expected: float

    def chance(self, agreement: float, expected: float) -> float:
        """Return the chance, 0 to 1."""
        score = self.intercept + self.agreement * agreement + self.expected * self.log_odds(expected)
        return 1 / (1 + math.exp(-max(-50.0, min(50.0, score))))

    @staticmethod
    def log_odds(share: float) -> float:
        """Return the log odds of a share, which is taken for 0.02 to 0.98."""
        bounded = min(max(share, 0.02), 0.98)
        return math.log(bounded / (1 - bounded))


@dataclass(frozen=True, slots=True)
class Ranked:
    """A member's score for one question; higher is better."""

    model: str
    score: float


@dataclass(frozen=True, slots=True)
class Route:
    """A routing decision: members best first, and how it came about.

    `cluster` is the nearest centroid and `similarity` the cosine to it; both are None when nothing was routed
    (the user named a model). `margin` is the lead of the first member over the second. `fallback` says why the
    ranking is not the clusters' own, or is None. `samples` is the sample budget of such questions, where it was
    measured; `expected` are the ranked members' accuracies on them, in the order of `ranking`, where they are known,
    and `confidence` tells how sure a vote's winner is.
    """

    cluster: int | None
    similarity: float | None
    ranking: tuple[Ranked, ...]
    margin: float
    fallback: str | None = None
    samples: int | None = None
    expected: tuple[float, ...] = ()
    confidence: Mapping[VoteForm, Calibration] = field(default_factory=dict)

    def __post_init__(self) -> None:
        require(bool(self.ranking), "a route ranks no member")
        require(len(self.expected) in (0, len(self.ranking)), "a route has not one expected accuracy a ranked member")

    def accuracy_of(self, model: str) -> float | None:
        """Return a member's expected accuracy; None where it is not known."""
        return next(
            (share for ranked, share in zip(self.ranking, self.expected, strict=False) if ranked.model == model), None
        )

    def noting(self, reason: str | None) -> Route:
        """Add a reason why the ranking was not followed."""
        if reason is None:
            return self
        return dataclasses.replace(self, fallback=reason if self.fallback is None else f"{self.fallback}; {reason}")

    def as_dict(self) -> dict[str, Any]:
        """Turn the decision into the plain values that commands print; what follows from it is not part of it."""
        return {
            "cluster": self.cluster,
            "similarity": self.similarity,
            "ranking": [dataclasses.asdict(ranked) for ranked in self.ranking],
            "margin": self.margin,
            "fallback": self.fallback,
        }


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """A drawn token's text and natural log-probability before any truncation, and the likeliest tokens at its place."""

    text: str
    logprob: float
    top: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Completion:
    """What the engine made of sample `index`. `tokens` counts generated tokens, end marker left out."""

    index: int
    seed: int
    text: str
    tokens: int
    finish_reason: FinishReason
    logprobs: tuple[TokenLogprob, ...] | None = None


@dataclass(frozen=True, slots=True)
class Generation:
    """All samples that began, in index order, with what they cost in tokens and milliseconds.

    `reused_tokens` of the prompt were found in the KV cache and not evaluated again.
    """

    completions: tuple[Completion, ...]
    prompt_tokens: int
    prefill_ms: float
    decode_ms: float
    reused_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Sample:
    """A completion with the member that wrote it and the key it votes for (None: it casts no vote).

    `output` is what a program printed, None where no program was asked for, and "" where it failed; `failure` then says
    why. `weight` is what the sample's vote counts. By letters `chances` are the offered answers' shares of the
    probability.
    """

    model: str
    seed: int
    text: str
    key: str | None
    tokens: int
    finish_reason: FinishReason
    output: str | None = None
    failure: str | None = None
    weight: float = 1.0
    chances: tuple[float, ...] | None = None


@dataclass(frozen=True, slots=True)
class Vote:
    """How many samples gave one answer, and what their votes weigh together; unweighted votes weigh 1 each."""

    key: str
    count: int
    weight: float = -1.0

    def __post_init__(self) -> None:
        if self.weight < 0:
            object.__setattr__(self, "weight", float(self.count))


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens evaluated once and tokens generated over all samples.

    `cached_tokens` of the prompt were in the KV cache already. `saved_tokens` estimates what early stopping spared: the
    samples that did not run to their end, at the mean length of those that did, less what they had generated.
    """

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0
    saved_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Timings:
    """Milliseconds spent in each step."""

    embed: float
    route: float
    load: float
    prefill: float
    decode: float
    total: float


@dataclass(frozen=True, slots=True)
class Answer:
    """The result of one question.

    `text` is the text of the sample shown, one of the winning group; of a program the result with the program under it.
    `agreement` is the winner's share of the votes, by weight, and `confidence` the chance that the answer is right, as
    calibrated on held-out questions. Both are None where nothing was voted on (free text, a single sample), and
    `confidence` also where it was not calibrated.
    `samples_used` counts the samples that ran to their own end.
    """

    answer: str
    text: str
    kind: Kind
    model: str
    models: tuple[str, ...]
    confidence: float | None
    agreement: float | None
    route: Route
    votes: tuple[Vote, ...]
    samples_requested: int
    samples_used: int
    stopped_early: bool
    samples: tuple[Sample, ...]
    usage: Usage
    timings_ms: Timings

    shown_sample: int = 0

    @property
    def shown(self) -> Sample:
        """The sample that `text` shows."""
        return self.samples[self.shown_sample]

    def as_dict(self) -> dict[str, Any]:
        """Turn the answer into the plain values that `ask --json` prints."""
        whole = dataclasses.asdict(self) | {"route": self.route.as_dict()}
        del whole["shown_sample"]
        return whole
