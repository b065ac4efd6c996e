"""How much the router's accuracy hangs on its settings, and what accuracy costs in seconds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial

import numpy as np
from numpy.typing import NDArray

from avengers_edge.calibration.baselines import chosen_scores
from avengers_edge.calibration.clustering import METHODS
from avengers_edge.calibration.findings import Costs, Sensitivity, Setting, Trade
from avengers_edge.calibration.fit import FitOptions, default_clusters, fit_table
from avengers_edge.calibration.outcomes import Floats, OutcomeRow, Vectors, by_dataset, macro_accuracy, matrix
from avengers_edge.calibration.resampling import Split
from avengers_edge.routing.router import Router
from avengers_edge.routing.table import CentroidTable

_CLUSTERS, _QUICK_CLUSTERS = (8, 16, 32, 64, 128, 256), (8, 64)
_TOP_KS, _QUICK_TOP_KS = (1, 3, 5, 10, 20), (1, 10)
_BETAS, _QUICK_BETAS = (0.0, 6.0, 20.0, 40.0), (6.0, 40.0)
_SMOOTHINGS, _QUICK_SMOOTHINGS = (0.0, 5.0, 20.0, 80.0, 320.0), (0.0, 20.0)
_QUICK_METHODS = ("kmeans", "agglomerative")
_ROWS_A_CLUSTER = 5
_STEPS_OF_PREFER = 11


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


def sensitivities(
    parts: Sequence[Part], members: Sequence[str], quick: bool, on_progress: Callable[[str, float], None]
) -> tuple[Sensitivity, ...]:
    """Turn one knob at a time: number of clusters, method, across data sets, nearest clusters, beta, smoothing."""
    usual = _usual(parts, members)
    turns = _turns(usual, min(len(part.fitted) for part in parts) // _ROWS_A_CLUSTER, quick)
    found: dict[_Turn, list[float]] = {turn: [] for turn in turns}
    for number, part in enumerate(parts):
        fitted = cache(partial(fit_table, part.fitted, part.fitted_rows))
        for step, turn in enumerate(turns):
            done = (number * len(turns) + step) / (len(parts) * len(turns))
            on_progress(f"split {number + 1} of {len(parts)}: {turn.knob} {turn.text}", done)
            knobs = turn.knobs
            table = fitted(replace(usual, clusters=knobs.clusters, method=knobs.method, across=knobs.across))
            if knobs.smoothing is not None:
                table = replace(table, header=replace(table.header, smoothing=knobs.smoothing))
            expected = Router(table, top_k=knobs.top_k, beta=knobs.beta).expected(part.judged)
            chosen = chosen_scores(expected, part.judged_scores)
            found[turn].append(100 * float(macro_accuracy(chosen[:, None], part.judged_rows)[0]))
    settings: dict[str, list[Setting]] = {}
    for turn, each in found.items():
        mean, least, most = (round(float(of), 2) for of in (np.mean(each), min(each), max(each)))
        settings.setdefault(turn.knob, []).append(Setting(turn.text, mean, least, most, turn.knobs == usual))
    return tuple(Sensitivity(knob, tuple(each)) for knob, each in settings.items())


@dataclass(frozen=True, slots=True)
class _Turn:
    """The knobs, and which one of them this turn is about."""

    knob: str
    knobs: FitOptions

    @property
    def text(self) -> str:
        value = getattr(self.knobs, self.knob)
        if value is None:
            return "estimated"
        if isinstance(value, bool):
            return "yes" if value else "no"
        return f"{value:g}" if isinstance(value, float) else str(value)


def _usual(parts: Sequence[Part], members: Sequence[str]) -> FitOptions:
    first = parts[0].fitted_rows
    return FitOptions(tuple(members), default_clusters(len(first), len(by_dataset(first))))


def _turns(usual: FitOptions, most: int, quick: bool) -> list[_Turn]:
    """List each knob's values with the usual one among them, in order; few questions allow few clusters."""
    clusters = {min(count, most) for count in (_QUICK_CLUSTERS if quick else _CLUSTERS)} - {0}
    values: Mapping[str, Sequence[object]] = {
        "clusters": sorted(clusters | {usual.clusters or 1}),
        "method": _QUICK_METHODS if quick else tuple(METHODS),
        "across": (False, True),
        "top_k": _QUICK_TOP_KS if quick else _TOP_KS,
        "beta": _QUICK_BETAS if quick else _BETAS,
        "smoothing": (None, *(_QUICK_SMOOTHINGS if quick else _SMOOTHINGS)),
    }
    return [_Turn(knob, replace(usual, **{knob: value})) for knob, each in values.items() for value in each]  # type: ignore[arg-type]


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
