"""Outcomes in, findings out: how good routing is on questions it was not fitted on, and how sure that is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from avengers_edge.calibration.baselines import LEARNERS, chosen_scores, without_vectors
from avengers_edge.calibration.clustering import cluster, nearest, one_thread
from avengers_edge.calibration.findings import Bin, ClusterShape, QuestionMap, Reliability, Role, Standing, Study
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
from avengers_edge.calibration.resampling import Split, resample, split_rows, units_of
from avengers_edge.calibration.sensitivity import Part, sensitivities, weigh_costs
from avengers_edge.errors import BadRequest
from avengers_edge.routing.router import Router
from avengers_edge.routing.table import CentroidTable
from avengers_edge.voting.ballot import agreement, tally

_BINS = 10
_ROUNDING = 1e-9  # so that 3 of 10 votes lie in the bin that ends at 30 %


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


MOST_DRAWN = 2000
"""Questions on the map; more would cover each other."""

_MOST_CLUSTERS, _QUESTIONS_A_CLUSTER = 16, 20
_DATASETS_NAMED = 3
_EXAMPLE_CHARACTERS = 200
_DIMENSIONS_BEFORE = 50
_PERPLEXITY, _TSNE_FROM = 30.0, 100


def describe_clusters(
    vectors: Vectors, rows: Sequence[OutcomeRow], scores: Floats, examples: int
) -> tuple[tuple[ClusterShape, ...], NDArray[np.intp]]:
    """Cluster all questions for the eye, 16 clusters at most; give them, largest first, and each question's number.

    The numbers (N,) count from 1. An example is a prompt near the centroid, cut to 200 characters.
    """
    count = min(_MOST_CLUSTERS, max(1, len(rows) // _QUESTIONS_A_CLUSTER))
    centroids = cluster(vectors, count)
    assigned = nearest(vectors, centroids)
    order = np.argsort(-np.bincount(assigned, minlength=len(centroids)), kind="stable")
    number_of = np.empty(len(order), dtype=np.intp)
    number_of[order] = np.arange(1, len(order) + 1)
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
    return tuple(shapes), number_of[assigned]


def draw_map(vectors: Vectors, clusters: NDArray[np.intp], picks: Sequence[str], *, quick: bool) -> QuestionMap:
    """Place the questions in the plane, 2,000 at most: by t-SNE on 50 principal components, or by PCA if `quick`.

    t-SNE (van der Maaten and Hinton 2008) keeps neighbours together; distances far apart mean nothing in it. Fewer than
    100 questions are placed by PCA.
    """
    shown = np.arange(len(vectors))
    if len(shown) > MOST_DRAWN:
        shown = np.sort(np.random.default_rng(0).choice(len(shown), MOST_DRAWN, replace=False))
    rows = vectors[shown].astype(np.float64)
    method = "PCA" if quick or len(rows) < _TSNE_FROM else "t-SNE"
    placed = _principal(rows, 2 if method == "PCA" else _DIMENSIONS_BEFORE)
    if method == "t-SNE":
        with one_thread():
            from sklearn.manifold import TSNE

            placed = TSNE(
                init=placed[:, :2] / placed[:, 0].std() * 1e-4, perplexity=_PERPLEXITY, random_state=0
            ).fit_transform(placed)
    points = np.zeros((len(rows), 2))
    points[:, : placed.shape[1]] = placed[:, :2]
    return QuestionMap(
        method=method,
        points=tuple((round(float(x), 3), round(float(y), 3)) for x, y in points),
        clusters=tuple(clusters[shown].tolist()),
        picks=tuple(picks[place] for place in shown.tolist()),
    )


def _principal(rows: Floats, dimensions: int) -> Floats:
    """Project on the leading principal components; each one's largest loading is made positive, so that none flips."""
    centred = rows - rows.mean(axis=0)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    axes = axes[:dimensions]
    signs = np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(axis=1)])
    projected: Floats = centred @ (axes * np.where(signs == 0, 1, signs)[:, None]).T
    return projected


def _shortened(prompt: str) -> str:
    text = " ".join(prompt.split())
    return text if len(text) <= _EXAMPLE_CHARACTERS else text[: _EXAMPLE_CHARACTERS - 1] + "…"


ROUTER = "router"
SEEDS = 5
_DRAWS, _QUICK_DRAWS = 2000, 500
_QUICK_SEEDS = 2
_KNOB_SEEDS = 3
_ALONE = " alone"

OnProgress = Callable[[str, float], None]
"""Told what is being done and the share of the study that is done, 0 to 1."""


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
    """Compare the router with what it has to beat over `seeds` splits, and turn its knobs one at a time.

    The same input gives the same findings on the same machine.

    Args:
        vectors: (N, D) unit rows, one a question.
        rows: the N outcomes, in the same order.
        members: the columns; None takes the members of the first row.
        seeds: how many splits, seeded 0, 1, ...; knobs are turned on the first three.
        quick: two splits at most, fewer values of each knob, fewer bootstrap draws, PCA for the map.
        examples: how many prompts of each cluster the findings name; 0 keeps all prompts out.
        on_progress: told as work goes on.

    Raises:
        BadRequest: fewer than 1 seed, no rows, rows without a score of every member, or too few questions to split.
        MissingExtra: scikit-learn is not installed.

    """
    if seeds < 1:
        raise BadRequest(f"seeds is {seeds}: use 1 or more")
    names = checked_members(vectors, rows, members)
    scores, datasets = matrix([row.scores for row in rows], names), by_dataset(rows)
    steps = _Steps(on_progress, (min(seeds, _QUICK_SEEDS) if quick else seeds), len(LEARNERS) + 1)
    with one_thread():
        compared = _compare(vectors, rows, scores, names, steps)
        parts, tables, splits = compared.parts, compared.tables, compared.splits
        standings = _standings(compared, rows, scores, draws=_QUICK_DRAWS if quick else _DRAWS)
        knobs = sensitivities(
            parts[:_KNOB_SEEDS], names, quick, lambda what, share: steps.after(what, 0.5 + 0.3 * share)
        )
        steps.after("weighing accuracy against seconds", 0.8)
        costs = weigh_costs(parts[:_KNOB_SEEDS], tables[:_KNOB_SEEDS], names)
        steps.after("drawing the map of the questions", 0.85)
        shapes, places = describe_clusters(vectors, rows, scores, examples)
        everything = fit_table(vectors, rows, FitOptions(names))
        picks = [names[column] for column in Router(everything).expected(vectors).argmax(axis=1)]
        drawn = draw_map(vectors, places, picks, quick=quick)
    steps.after("done", 1.0)
    return Study(
        members=tuple(names),
        questions=len(rows),
        units=int(units_of(rows).max()) + 1,
        datasets={name: len(places) for name, places in datasets.items()},
        seeds=tuple(split.seed for split in splits),
        draws=_QUICK_DRAWS if quick else _DRAWS,
        best_single=tuple(names[_single(part)] for part in parts),
        standings=standings,
        sensitivities=knobs,
        costs=costs,
        reliability=reliability(rows, names),
        clusters=shapes,
        map=drawn,
    )


@dataclass(frozen=True, slots=True)
class _Steps:
    """Turns steps of the comparison, half of the study, and what comes after into shares done."""

    on_progress: OnProgress
    splits: int
    steps_a_split: int

    def before(self, what: str, split: int, step: int) -> None:
        done = split * self.steps_a_split + step
        self.on_progress(f"split {split + 1} of {self.splits}: {what}", 0.5 * done / (self.splits * self.steps_a_split))

    def after(self, what: str, share: float) -> None:
        self.on_progress(what, share)


@dataclass(frozen=True, slots=True)
class _Compared:
    """What the splits gave: scores (judged rows,) by way of choosing, and the parts and tables behind them."""

    splits: tuple[Split, ...]
    parts: tuple[Part, ...]
    tables: tuple[CentroidTable, ...]
    ways: tuple[dict[str, Floats], ...]


def _compare(
    vectors: Vectors, rows: Sequence[OutcomeRow], scores: Floats, members: Sequence[str], steps: _Steps
) -> _Compared:
    splits = tuple(split_rows(rows, seed) for seed in range(steps.splits))
    parts, tables, ways = [], [], []
    for split in splits:
        part = Part.of(split, vectors, rows, scores)
        steps.before(ROUTER, split.seed, 0)
        table = fit_table(part.fitted, part.fitted_rows, FitOptions(members))
        chosen = {ROUTER: chosen_scores(Router(table).expected(part.judged), part.judged_scores)}
        for step, (name, fit) in enumerate(LEARNERS.items(), 1):
            steps.before(name, split.seed, step)
            predict = fit(part.fitted, part.fitted_scores)
            chosen[name] = chosen_scores(predict(part.judged), part.judged_scores)
        chosen |= without_vectors(_single(part), part.judged_rows, part.judged_scores)
        chosen |= {f"{name}{_ALONE}": part.judged_scores[:, column] for column, name in enumerate(members)}
        parts.append(part)
        tables.append(table)
        ways.append(chosen)
    return _Compared(splits, tuple(parts), tuple(tables), tuple(ways))


def _standings(compared: _Compared, rows: Sequence[OutcomeRow], scores: Floats, *, draws: int) -> tuple[Standing, ...]:
    names = list(compared.ways[0])
    sums, times = np.zeros((len(scores), len(names))), np.zeros(len(scores), dtype=np.intp)
    for split, chosen in zip(compared.splits, compared.ways, strict=True):
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
                for part, chosen in zip(compared.parts, compared.ways, strict=True)
            ),
            datasets={
                dataset: percent(sums[places, way].sum() / times[places].sum())
                for dataset, places in judged_places.items()
                if places
            },
        )
        for way, name in enumerate(names)
    )


def _single(part: Part) -> int:
    """Find the column of the member with the best macro accuracy where it was fitted, the first of equals."""
    return int(macro_accuracy(part.fitted_scores, part.fitted_rows).argmax())


def _role(name: str) -> Role:
    if name == ROUTER:
        return "router"
    if name in LEARNERS:
        return "learner"
    if name.endswith(_ALONE):
        return "member"
    return "oracle" if name.endswith("oracle") else "reference"
