#!/usr/bin/env python3
"""The router beside four others on the same vectors and splits, and how much hangs on its settings.

    python evals/rival_routers.py OUTCOMES.jsonl[.gz] ... [--members A,B] [--seeds 5] [--settings]

Tables are fitted on 70 % of the questions and judged by the rest; macro accuracy in percent, with what each router has
over the best single member (95 % paired bootstrap over questions). Nearest neighbours and perceptron follow RouterBench
(arXiv 2403.12031), matrix factorisation EmbedLLM (arXiv 2410.02223).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

import numpy as np

from avengers_edge.calibration.clustering import METHODS, one_thread
from avengers_edge.calibration.fit import FitOptions, default_clusters, fit_table
from avengers_edge.calibration.outcomes import (
    Floats,
    OutcomeRow,
    Vectors,
    by_dataset,
    checked_members,
    macro_accuracy,
    matrix,
    read_outcomes,
)
from avengers_edge.calibration.pipeline import embed_rows
from avengers_edge.calibration.resampling import resample, split_rows, units_of
from avengers_edge.calibration.study import Part, chosen_scores
from avengers_edge.config import Settings
from avengers_edge.opening import open_shipped_embedder
from avengers_edge.routing.router import Router

Predict = Callable[[Vectors], Floats]
Fit = Callable[[Vectors, Floats], Predict]

_NEIGHBOURS = 40
_HIDDEN = 64
_STOPPING_EARLY_FROM = 50
"""Questions; with fewer, the tenth that is held back to stop by says nothing."""
_RANK = 3
_PENALTIES = 10.0 ** np.arange(-2, 4)


def fit_neighbours(vectors: Vectors, scores: Floats, *, neighbours: int = _NEIGHBOURS) -> Predict:
    """Average the scores of the nearest questions by cosine, as RouterBench's kNN router does (arXiv 2403.12031)."""
    known, count = vectors.astype(np.float64), min(neighbours, len(vectors))

    def predict(asked: Vectors) -> Floats:
        with one_thread():
            similarity = asked.astype(np.float64) @ known.T
        nearest = np.argsort(-similarity, axis=1, kind="stable")[:, :count]
        expected: Floats = scores[nearest].mean(axis=1)
        return expected

    return predict


def fit_logistic(vectors: Vectors, scores: Floats, *, seed: int = 0) -> Predict:
    """Fit one logistic regression a member; a score between 0 and 1 counts as that share of a right answer."""
    with one_thread():
        from sklearn.linear_model import LogisticRegression

        models: list[Callable[[Floats], Floats]] = []
        rows = np.concatenate([vectors, vectors]).astype(np.float64)
        labels = np.repeat([1, 0], len(vectors))
        for column in scores.T:
            weights = np.concatenate([column, 1 - column])
            if not 0 < column.mean() < 1:  # always right or always wrong: there is nothing to separate
                models.append(_constant(float(column.mean())))
                continue
            used = weights > 0
            model = LogisticRegression(C=1.0, max_iter=1000, random_state=seed)
            model.fit(rows[used], labels[used], sample_weight=weights[used])
            models.append(_probability(model))

    def predict(asked: Vectors) -> Floats:
        with one_thread():
            columns: Floats = np.column_stack([model(asked.astype(np.float64)) for model in models])
        return columns

    return predict


def fit_perceptron(vectors: Vectors, scores: Floats, *, seed: int = 0) -> Predict:
    """Fit one network with a hidden layer to all members' scores at once, as RouterBench's MLP router does."""
    with one_thread():
        from sklearn.neural_network import MLPRegressor

        model = MLPRegressor(
            hidden_layer_sizes=(_HIDDEN,),
            alpha=1e-3,
            max_iter=200,
            early_stopping=len(vectors) >= _STOPPING_EARLY_FROM,
            random_state=seed,
        )
        model.fit(vectors.astype(np.float64), scores if scores.shape[1] > 1 else scores[:, 0])

    def predict(asked: Vectors) -> Floats:
        with one_thread():
            predicted = model.predict(asked.astype(np.float64)).reshape(len(asked), scores.shape[1])
        expected: Floats = np.clip(predicted, 0, 1)
        return expected

    return predict


def fit_factors(vectors: Vectors, scores: Floats, *, rank: int = _RANK) -> Predict:
    """Factorise scores into member embeddings and a linear projection of the vector, the model of EmbedLLM.

    EmbedLLM (arXiv 2410.02223) descends on a logistic loss; with a squared one the best factors of a given rank follow
    in closed form, as reduced-rank ridge regression (Mukherjee and Zhu 2011): ridge regression first, then its fitted
    values projected on their leading singular vectors, which are the member embeddings. The ridge penalty is the one
    of a grid with the least leave-one-out error.
    """
    with one_thread():
        rows, middle, centre = vectors.astype(np.float64), scores.mean(axis=0), vectors.mean(axis=0, dtype=np.float64)
        left, singular, right = np.linalg.svd(rows - centre, full_matrices=False)
        wanted = left.T @ (scores - middle)
        shrunk = min(
            (_shrinking(singular, float(penalty)) for penalty in _PENALTIES), key=_left_out(left, wanted, scores)
        )
        weights = right.T @ ((shrunk / np.where(singular > 0, singular, 1))[:, None] * wanted)
        # Of the fitted values, stacked on the penalty's rows, only the right singular vectors are needed.
        gram = wanted.T @ (shrunk[:, None] * wanted)
        _, vectors_of_members = np.linalg.eigh(gram)
        members = vectors_of_members[:, ::-1][:, :rank]
        projection = weights @ members

    def predict(asked: Vectors) -> Floats:
        with one_thread():
            expected: Floats = np.clip((asked.astype(np.float64) - centre) @ projection @ members.T + middle, 0, 1)
        return expected

    return predict


def _shrinking(singular: Floats, penalty: float) -> Floats:
    """Say how much of each principal direction a ridge penalty leaves; none of one without length."""
    squares = singular**2
    shares: Floats = squares / (squares + penalty)
    return shares


def _left_out(left: Floats, wanted: Floats, scores: Floats) -> Callable[[Floats], float]:
    """Make the judge of a shrinkage: the mean squared error on each row by a fit without it (Allen's PRESS)."""
    residual_of = scores - scores.mean(axis=0)

    def error(shrunk: Floats) -> float:
        influence = 1 / len(left) + (left**2 * shrunk).sum(axis=1)
        residual = residual_of - left @ (shrunk[:, None] * wanted)
        return float(((residual / np.maximum(1 - influence, 1e-9)[:, None]) ** 2).mean())

    return error


class _Classifier(Protocol):
    def predict_proba(self, asked: Floats, /) -> Floats: ...


def _probability(model: _Classifier) -> Callable[[Floats], Floats]:
    return lambda asked: model.predict_proba(asked)[:, 1]


def _constant(value: float) -> Callable[[Floats], Floats]:
    return lambda asked: np.full(len(asked), value)


LEARNERS: Mapping[str, Fit] = MappingProxyType(
    {
        "nearest neighbours": fit_neighbours,
        "logistic regression": fit_logistic,
        "perceptron": fit_perceptron,
        "matrix factorisation": fit_factors,
    }
)


SETTINGS: Mapping[str, Sequence[object]] = MappingProxyType(
    {
        "clusters": (8, 16, 32, 64, 128, 256),
        "method": tuple(METHODS),
        "cluster_jointly": (False, True),
        "top_k": (1, 3, 5, 10, 20),
        "beta": (0.0, 6.0, 20.0, 40.0),
        "pseudo_counts": (None, 0.0, 5.0, 20.0, 80.0, 320.0),
    }
)


def main() -> None:
    """Parse the command line, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("outcomes", type=Path, nargs="+")
    parser.add_argument("--members", type=lambda names: names.split(","))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--settings", action="store_true", help="turn one setting at a time instead")
    asked = parser.parse_args()
    rows = read_outcomes(asked.outcomes, asked.members, {})
    with open_shipped_embedder(Settings(home=Path())) as embedder:
        vectors = embed_rows(embedder, rows)
    names = checked_members(vectors, rows, asked.members)
    if asked.settings:
        for line in turned(vectors, rows, names, range(min(asked.seeds, 3))):
            print(line)
    else:
        print("\n".join(compared(vectors, rows, names, range(asked.seeds))))


def compared(vectors: Vectors, rows: Sequence[OutcomeRow], names: Sequence[str], seeds: range) -> list[str]:
    """Judge the router, the learners and the best single member on every split."""
    scores = matrix([row.scores for row in rows], names)
    ways = ["router", *LEARNERS, "best single"]
    sums, times = np.zeros((len(rows), len(ways))), np.zeros(len(rows), dtype=np.intp)
    for seed in seeds:
        split = split_rows(rows, seed)
        part = Part.of(split, vectors, rows, scores)
        table = fit_table(part.fitted, part.fitted_rows, FitOptions(names))
        expected = [Router(table).expected(part.judged)]
        expected += [fit(part.fitted, part.fitted_scores)(part.judged) for fit in LEARNERS.values()]
        chosen = [chosen_scores(each, part.judged_scores) for each in expected]
        sums[split.judged] += np.column_stack([*chosen, part.judged_scores[:, part.best_single]])
        times[split.judged] += 1
    found = resample(sums, times, units_of(rows), rows, draws=2000, seed=0)
    lines = []
    for place, name in enumerate(ways):
        macro, gain = found.interval(place), found.interval(place, less=len(ways) - 1)
        lines.append(f"{name:<22}{macro.mean:>7.2f}{gain.mean:>+8.2f} ({gain.low:+.2f} to {gain.high:+.2f})")
    return lines


def turned(vectors: Vectors, rows: Sequence[OutcomeRow], names: Sequence[str], seeds: range) -> Iterator[str]:
    """Turn one setting at a time, the others at their defaults: the mean, least and most over the splits."""
    scores = matrix([row.scores for row in rows], names)
    parts = [Part.of(split_rows(rows, seed), vectors, rows, scores) for seed in seeds]
    usual = FitOptions(tuple(names), default_clusters(len(parts[0].fitted), len(by_dataset(rows))))
    for setting, values in SETTINGS.items():
        for value in values:
            if setting == "clusters" and value > len(parts[0].fitted) // 5:  # type: ignore[operator]
                continue
            options = replace(usual, **{setting: value})  # type: ignore[arg-type]
            judged = []
            for part in parts:
                expected = Router(fit_table(part.fitted, part.fitted_rows, options)).expected(part.judged)
                chosen = chosen_scores(expected, part.judged_scores)
                judged.append(100 * float(macro_accuracy(chosen[:, None], part.judged_rows)[0]))
            yield f"{setting:<16}{value!s:<15}{np.mean(judged):>7.2f} ({min(judged):.2f} to {max(judged):.2f})"


if __name__ == "__main__":
    main()
