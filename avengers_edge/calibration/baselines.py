"""What a router has to beat: four that learn to predict scores from vectors, and four that need no vectors.

A learner takes vectors (N, D) and scores (N, M) and gives a predictor, which takes vectors and gives expected scores.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Protocol

import numpy as np

from avengers_edge.calibration.clustering import one_thread
from avengers_edge.calibration.outcomes import Floats, OutcomeRow, Vectors, by_dataset
from avengers_edge.errors import BadRequest

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


def chosen_scores(expected: Floats, scores: Floats) -> Floats:
    """Give each row's score of the member that is expected to do best, shape (N,); the first of equals."""
    if expected.shape != scores.shape:
        raise BadRequest(f"expected scores of shape {expected.shape} do not belong to scores of shape {scores.shape}")
    chosen: Floats = scores[np.arange(len(scores)), expected.argmax(axis=1)]
    return chosen


def without_vectors(single: int, rows: Sequence[OutcomeRow], scores: Floats) -> dict[str, Floats]:
    """Give the scores (N,) of what needs no vectors, of rows with scores (N, M).

    `random` is the mean over members, `best single` the member in the column `single`. The oracles know what they are
    judged by: the best member of each data set, and of each question.
    """
    dataset_oracle = np.empty(len(scores))
    for places in by_dataset(rows).values():
        dataset_oracle[places] = scores[places, scores[places].mean(axis=0).argmax()]
    return {
        "random": scores.mean(axis=1),
        "best single": scores[:, single],
        "dataset oracle": dataset_oracle,
        "query oracle": scores.max(axis=1),
    }
