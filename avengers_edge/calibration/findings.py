"""What a study finds: a tree of frozen values, accuracies in percent, times in seconds."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from avengers_edge.errors import NotFound

Role = Literal["router", "learner", "reference", "oracle", "member"]
"""`reference` needs no vectors; `oracle` knows what it is judged by, so no router can be expected to reach it; `member`
is one asked alone."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean with the bounds of its 95 % bootstrap interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Standing:
    """How one way of choosing members did on the judged questions of all splits.

    Attributes:
        macro: accuracy averaged over data sets; `micro` that over questions.
        gain: macro accuracy less that of the best single member, in points, on the same questions.
        by_seed: macro accuracy on each split.
        datasets: accuracy on each data set.

    """

    name: str
    role: Role
    macro: Interval
    micro: Interval
    gain: Interval
    by_seed: tuple[float, ...]
    datasets: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Setting:
    """Macro accuracy of the router at one value of a knob: the mean, least and most over splits.

    `usual` says that this is the value which `calibrate fit` takes.
    """

    value: str
    mean: float
    least: float
    most: float
    usual: bool


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """What turning one knob does, all others at their usual values."""

    knob: str
    settings: tuple[Setting, ...]


@dataclass(frozen=True, slots=True)
class Trade:
    """Macro accuracy and macro mean seconds of an answer: a member's, or the router's at one `prefer`."""

    name: str
    accuracy: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Costs:
    """Accuracy against seconds: the router's curve over `prefer` 0 to 1, and each member alone."""

    router: tuple[Trade, ...]
    members: tuple[Trade, ...]


@dataclass(frozen=True, slots=True)
class Bin:
    """Votes whose agreement is above `low` and up to `high`: how many, their mean agreement, how many percent right."""

    low: float
    high: float
    votes: int
    agreement: float
    right: float


@dataclass(frozen=True, slots=True)
class Reliability:
    """Whether the share of votes that a winning answer got says how likely it is to be right; all in percent.

    `calibration_error` is the mean gap between agreement and accuracy over the bins, weighted by votes (expected
    calibration error, arXiv 1706.04599); `brier` is the mean squared difference, 0 to 1.
    """

    votes: int
    bins: tuple[Bin, ...]
    calibration_error: float
    brier: float


@dataclass(frozen=True, slots=True)
class ClusterShape:
    """One cluster of the map: its most frequent data sets with their percent, and how each member does there."""

    number: int
    questions: int
    datasets: tuple[tuple[str, float], ...]
    accuracy: tuple[float, ...]
    examples: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class QuestionMap:
    """Questions in the plane, (x, y) each; the number of each one's cluster, and the member that the router picks."""

    method: str
    points: tuple[tuple[float, float], ...]
    clusters: tuple[int, ...]
    picks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Study:
    """Everything that the report shows; what was not measured is None."""

    members: tuple[str, ...]
    questions: int
    units: int
    datasets: Mapping[str, int]
    seeds: tuple[int, ...]
    draws: int
    best_single: tuple[str, ...]
    standings: tuple[Standing, ...]
    sensitivities: tuple[Sensitivity, ...]
    costs: Costs | None
    reliability: Reliability | None
    clusters: tuple[ClusterShape, ...]
    map: QuestionMap

    def standing(self, name: str) -> Standing:
        """Find how one way of choosing did.

        Raises:
            NotFound: it was not compared.

        """
        for each in self.standings:
            if each.name == name:
                return each
        raise NotFound(f"{name!r} was not compared: use {', '.join(each.name for each in self.standings)}")

    def as_dict(self) -> dict[str, Any]:
        """Turn the tree into plain values."""
        return dataclasses.asdict(self)
