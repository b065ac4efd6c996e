"""Outcomes in, findings out: how good routing is on questions it was not fitted on, and how sure that is.

Other routers and the settings are compared by `evals/rival_routers.py`.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from avengers_edge.calibration.clustering import cluster, nearest, one_thread
from avengers_edge.calibration.evaluate import references
from avengers_edge.calibration.fit import FitOptions, fit_table
from avengers_edge.calibration.outcomes import (
    Floats,
    OutcomeRow,
    Vectors,
    by_dataset,
    checked_members,
    macro_accuracy,
    matrix,
    percent,
)
from avengers_edge.calibration.resampling import Interval, Split, resample, split_rows, units_of
from avengers_edge.errors import BadRequest, NotFound
from avengers_edge.routing.router import Router
from avengers_edge.routing.table import CentroidTable
from avengers_edge.voting.ballot import agreement, tally

SEEDS = 5
_QUICK_SEEDS = 2
_DRAWS, _QUICK_DRAWS = 2000, 500
_STEPS_OF_PREFER = 11
_BINS = 10
_ROUNDING = 1e-9  # so that 3 of 10 votes lie in the bin that ends at 30 %
_MOST_CLUSTERS, _QUESTIONS_A_CLUSTER = 16, 20
_DATASETS_NAMED = 3
_EXAMPLE_CHARACTERS = 200
_ROUTER, _ALONE = "router", " alone"

Role = Literal["router", "reference", "oracle", "member"]
"""`oracle` knows what it is judged by, so that no router can be expected to reach it; `member` is one asked alone."""

OnProgress = Callable[[str, float], None]
"""Called with what is being done and the share of the study that is done, 0 to 1."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Accuracy of one way of choosing members on the judged questions of all splits, in percent.

    `macro` averages data sets, `micro` questions; `gain` is macro accuracy less that of the best single member, in
    points; `by_seed` is macro accuracy on each split.
    """

    name: str
    role: Role
    macro: Interval
    micro: Interval
    gain: Interval
    by_seed: tuple[float, ...]
    datasets: Mapping[str, float]


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
    """Whether the winner's share of the votes says how likely it is to be right; all in percent.

    `calibration_error` is the mean gap between agreement and accuracy over the bins, weighted by votes (expected
    calibration error, arXiv 1706.04599); `brier` is the mean squared difference, 0 to 1.
    """

    votes: int
    bins: tuple[Bin, ...]
    calibration_error: float
    brier: float


@dataclass(frozen=True, slots=True)
class ClusterShape:
    """A cluster of questions: its most frequent data sets with their percent, and each member's accuracy there."""

    number: int
    questions: int
    datasets: tuple[tuple[str, float], ...]
    accuracy: tuple[float, ...]
    examples: tuple[str, ...]


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
    costs: Costs | None
    reliability: Reliability | None
    clusters: tuple[ClusterShape, ...]

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


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """One split's vectors, rows and scores, to fit on and to judge by."""

    fitted: Vectors
    fitted_rows: tuple[OutcomeRow, ...]
    fitted_scores: Floats
    judged: Vectors
    judged_rows: tuple[OutcomeRow, ...]
    judged_scores: Floats

    @classmethod
    def of(cls, split: Split, vectors: Vectors, rows: Sequence[OutcomeRow], scores: Floats) -> Part:
        """Cut vectors (N, D), N rows and scores (N, M) into the two sides of a split."""
        sides = [
            (vectors[places], tuple(rows[place] for place in places.tolist()), scores[places])
            for places in (split.fitted, split.judged)
        ]
        return cls(*sides[0], *sides[1])

    @property
    def best_single(self) -> int:
        """The column of the member with the best macro accuracy where it was fitted, the first of equals."""
        return int(macro_accuracy(self.fitted_scores, self.fitted_rows).argmax())


def run_study(
    vectors: Vectors,
    rows: Sequence[OutcomeRow],
    *,
    members: Sequence[str] | None = None,
    seeds: int = SEEDS,
    quick: bool = False,
    examples: int = 0,
    on_progress: OnProgress = lambda _what, _share: None,
) -> Study:
    """Compare the router with its members, chance and oracles over `seeds` splits. The same input gives the same study.

    Args:
        vectors: (N, D) unit rows, one a question.
        rows: the N outcomes, in the same order.
        members: the columns; None takes the members of the first row.
        seeds: how many splits, seeded 0, 1, ...
        quick: two splits at most, and fewer bootstrap draws.
        examples: how many prompts of each cluster the findings name; 0 keeps all prompts out.
        on_progress: called as work goes on.

    Raises:
        BadRequest: fewer than 1 seed, no rows, rows without a score of every member, or too few questions to split.
        MissingExtra: scikit-learn is not installed.

    """
    if seeds < 1:
        raise BadRequest(f"seeds is {seeds}: use 1 or more")
    names = checked_members(vectors, rows, members)
    scores, draws = matrix([row.scores for row in rows], names), _QUICK_DRAWS if quick else _DRAWS
    count = min(seeds, _QUICK_SEEDS) if quick else seeds
    splits: list[Split] = []
    parts: list[Part] = []
    tables: list[CentroidTable] = []
    ways: list[dict[str, Floats]] = []
    with one_thread():
        for seed in range(count):
            on_progress(f"split {seed + 1} of {count}", 0.8 * seed / count)
            split = split_rows(rows, seed)
            part = Part.of(split, vectors, rows, scores)
            table = fit_table(part.fitted, part.fitted_rows, FitOptions(names))
            chosen = {_ROUTER: chosen_scores(Router(table).expected(part.judged), part.judged_scores)}
            chosen |= references(part.best_single, part.judged_rows, part.judged_scores)
            chosen |= {f"{name}{_ALONE}": part.judged_scores[:, column] for column, name in enumerate(names)}
            splits.append(split)
            parts.append(part)
            tables.append(table)
            ways.append(chosen)
        on_progress("drawing samples of the questions", 0.8)
        standings = _standings(splits, parts, ways, rows, scores, draws=draws)
        on_progress("describing clusters", 0.9)
        shapes = describe_clusters(vectors, rows, scores, examples)
    on_progress("done", 1.0)
    return Study(
        members=tuple(names),
        questions=len(rows),
        units=int(units_of(rows).max()) + 1,
        datasets={name: len(places) for name, places in by_dataset(rows).items()},
        seeds=tuple(split.seed for split in splits),
        draws=draws,
        best_single=tuple(names[part.best_single] for part in parts),
        standings=standings,
        costs=weigh_costs(parts, tables, names),
        reliability=reliability(rows, names),
        clusters=shapes,
    )


def chosen_scores(expected: Floats, scores: Floats) -> Floats:
    """Give each row's score of the member that is expected to do best, shape (N,); the first of equals."""
    if expected.shape != scores.shape:
        raise BadRequest(f"expected scores of shape {expected.shape} do not belong to scores of shape {scores.shape}")
    chosen: Floats = scores[np.arange(len(scores)), expected.argmax(axis=1)]
    return chosen


def _standings(
    splits: Sequence[Split],
    parts: Sequence[Part],
    ways: Sequence[Mapping[str, Floats]],
    rows: Sequence[OutcomeRow],
    scores: Floats,
    *,
    draws: int,
) -> tuple[Standing, ...]:
    names = list(ways[0])
    sums, times = np.zeros((len(scores), len(names))), np.zeros(len(scores), dtype=np.intp)
    for split, chosen in zip(splits, ways, strict=True):
        sums[split.judged] += np.column_stack([chosen[name] for name in names])
        times[split.judged] += 1
    resampled = resample(sums, times, units_of(rows), rows, draws=draws, seed=0)
    single = names.index("best single")
    judged_places = {name: [place for place in places if times[place]] for name, places in by_dataset(rows).items()}
    return tuple(
        Standing(
            name=name,
            role=_role(name),
            macro=resampled.interval(way),
            micro=resampled.interval(way, micro=True),
            gain=resampled.interval(way, less=single),
            by_seed=tuple(
                percent(macro_accuracy(chosen[name][:, None], part.judged_rows)[0])
                for part, chosen in zip(parts, ways, strict=True)
            ),
            datasets={
                dataset: percent(sums[places, way].sum() / times[places].sum())
                for dataset, places in judged_places.items()
                if places
            },
        )
        for way, name in enumerate(names)
    )


def _role(name: str) -> Role:
    if name == _ROUTER:
        return "router"
    if name.endswith(_ALONE):
        return "member"
    return "oracle" if name.endswith("oracle") else "reference"


def weigh_costs(parts: Sequence[Part], tables: Sequence[CentroidTable], members: Sequence[str]) -> Costs | None:
    """Trade accuracy against seconds with `prefer` from 0 to 1; None where seconds were not measured throughout."""
    if any(table.seconds is None for table in tables):
        return None
    measured = [[row.seconds for row in part.judged_rows] for part in parts]
    if any(row is None or not row.keys() >= set(members) for rows in measured for row in rows):
        return None
    seconds = [matrix([row or {} for row in rows], members) for rows in measured]
    dial = []
    for prefer in np.linspace(0, 1, _STEPS_OF_PREFER).round(2).tolist():
        picks = [_picks(table, part.judged, members, prefer) for table, part in zip(tables, parts, strict=True)]
        dial.append(_trade(f"{prefer:g}", parts, seconds, picks))
    alone = [
        _trade(member, parts, seconds, [np.full(len(part.judged), column) for part in parts])
        for column, member in enumerate(members)
    ]
    return Costs(tuple(dial), tuple(alone))


def _picks(table: CentroidTable, vectors: Vectors, members: Sequence[str], prefer: float) -> NDArray[np.intp]:
    router, column = Router(table), {member: place for place, member in enumerate(members)}
    return np.array([column[router.route(vector, prefer=prefer).ranking[0].model] for vector in vectors])


def _trade(name: str, parts: Sequence[Part], seconds: Sequence[Floats], picks: Sequence[NDArray[np.intp]]) -> Trade:
    means = []
    for part, took, pick in zip(parts, seconds, picks, strict=True):
        both = np.column_stack([values[np.arange(len(pick)), pick] for values in (part.judged_scores, took)])
        means.append(macro_accuracy(both, part.judged_rows))
    accuracy, time = np.mean(means, axis=0)
    return Trade(name, round(100 * float(accuracy), 2), round(float(time), 4))


def reliability(rows: Sequence[OutcomeRow], members: Sequence[str]) -> Reliability | None:
    """Compare each member's vote on each question with whether it was right; None if nobody gave two samples."""
    votes = np.array(list(_votes(rows, members)))
    if not len(votes):
        return None
    share, right = votes.T
    place = np.ceil(share * _BINS - _ROUNDING).astype(int) - 1
    bins = tuple(
        Bin(
            low=100 * at / _BINS,
            high=100 * (at + 1) / _BINS,
            votes=int((place == at).sum()),
            agreement=percent(share[place == at].mean()),
            right=percent(right[place == at].mean()),
        )
        for at in np.unique(place).tolist()
    )
    gap = sum(each.votes * abs(each.agreement - each.right) for each in bins) / len(votes)
    return Reliability(len(votes), bins, round(gap, 2), round(float(((share - right) ** 2).mean()), 4))


def _votes(rows: Sequence[OutcomeRow], members: Sequence[str]) -> Iterator[tuple[float, float]]:
    """Yield the winner's share of the votes cast, and the score of the first sample that gave it."""
    for row in rows:
        for member in members:
            answers = (row.answers or {}).get(member, ())
            votes = tally([key for key, _ in answers])
            share = agreement(votes)
            if len(answers) > 1 and share is not None:
                yield share, next(score for key, score in answers if key == votes[0].key)


def describe_clusters(
    vectors: Vectors, rows: Sequence[OutcomeRow], scores: Floats, examples: int
) -> tuple[ClusterShape, ...]:
    """Cluster all questions for the eye, 16 clusters at most, largest first.

    An example is a prompt near the centroid, cut to 200 characters.
    """
    count = min(_MOST_CLUSTERS, max(1, len(rows) // _QUESTIONS_A_CLUSTER))
    centroids = cluster(vectors, count)
    assigned = nearest(vectors, centroids)
    order = np.argsort(-np.bincount(assigned, minlength=len(centroids)), kind="stable")
    shapes = []
    for number, place in enumerate(order.tolist(), 1):
        inside = np.flatnonzero(assigned == place)
        closest = inside[np.argsort(-(vectors[inside] @ centroids[place]), kind="stable")]
        named = Counter(rows[at].dataset for at in inside.tolist()).most_common(_DATASETS_NAMED)
        prompts = dict.fromkeys(rows[at].prompt or "" for at in closest.tolist())
        shapes.append(
            ClusterShape(
                number=number,
                questions=len(inside),
                datasets=tuple((name, round(100 * times / len(inside), 1)) for name, times in named),
                accuracy=tuple(round(100 * float(mean), 1) for mean in scores[inside].mean(axis=0)),
                examples=tuple(_shortened(prompt) for prompt in list(prompts)[:examples] if prompt),
            )
        )
    return tuple(shapes)


def _shortened(prompt: str) -> str:
    text = " ".join(prompt.split())
    return text if len(text) <= _EXAMPLE_CHARACTERS else text[: _EXAMPLE_CHARACTERS - 1] + "…"
