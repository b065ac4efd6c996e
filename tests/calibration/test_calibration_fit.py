"""Fit, evaluate and cross-validate on outcomes that a reader can compute by hand."""

import dataclasses
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from avengers_edge.calibration.evaluate import choose_clusters, cross_validate, deal, evaluate_table, references
from avengers_edge.calibration.fit import FitOptions, default_clusters, fit_table
from avengers_edge.calibration.outcomes import OutcomeRow, macro_accuracy
from avengers_edge.calibration.study import chosen_scores
from avengers_edge.errors import BadRequest, MissingExtra
from avengers_edge.records import KINDS
from avengers_edge.routing.table import CentroidTable

needs_scikit_learn = pytest.mark.usefixtures("scikit_learn")


@pytest.fixture
def scikit_learn() -> None:
    pytest.importorskip("sklearn")


def at(degrees: float) -> list[float]:
    return [math.cos(math.radians(degrees)), math.sin(math.radians(degrees))]


VECTORS = np.array([at(0), at(2), at(4), at(6), at(90), at(92)], dtype=np.float32)
ROWS = [
    OutcomeRow("0", "sums", "maths", {"a": 1, "b": 0}, {"a": 2.0, "b": 1.0}, {"a": 20, "b": 10}, "number"),
    OutcomeRow("1", "sums", "maths", {"a": 1, "b": 0}, {"a": 4.0, "b": 1.0}, {"a": 20, "b": 10}, "number"),
    OutcomeRow("2", "sums", "maths", {"a": 1, "b": 1}, {"a": 2.0, "b": 1.0}, {"a": 20, "b": 10}, "number"),
    OutcomeRow("3", "sums", "maths", {"a": 0, "b": 0}, {"a": 4.0, "b": 1.0}, {"a": 20, "b": 10}, "number"),
    OutcomeRow("4", "moods", "chat", {"a": 0, "b": 1}, {"a": 1.0, "b": 1.0}, {"a": 20, "b": 10}, "label"),
    OutcomeRow("5", "moods", "chat", {"a": 0, "b": 0.5}, {"a": 1.0, "b": 1.0}, {"a": 20, "b": 10}),
]


def fit(vectors: Any = VECTORS, rows: Any = ROWS, **options: Any) -> CentroidTable:
    facts = {"embedder": "e", "fitted_at": "now", "provenance": ""}
    facts |= {name: options.pop(name) for name in tuple(options) if name in facts}
    return fit_table(vectors, rows, FitOptions(**({"clusters": 2} | options)), **facts)


@needs_scikit_learn
def test_a_cell_is_the_members_mean_score_in_the_cluster() -> None:
    table = fit(pseudo_counts=3.0, seed=7, provenance="by hand")
    east = int(table.centroids[:, 0].argmax())
    order = [east, 1 - east]
    assert table.centroids[order] == pytest.approx(np.array([at(3), at(91)]), abs=1e-4)
    assert table.accuracy[order] == pytest.approx(np.array([[0.75, 0.25], [0, 0.75]]))
    assert table.counts[order].tolist() == [[4, 4], [2, 2]]
    assert table.seconds[order] == pytest.approx(np.array([[3, 1], [1, 1]]))
    assert table.tokens[order] == pytest.approx(np.array([[20, 10], [20, 10]]))
    number, label = (table.kinds[order][:, KINDS.index(kind)].tolist() for kind in ("number", "label"))
    assert (number, label, table.kinds.sum()) == ([4, 0], [0, 1], 5)
    header = table.header
    assert header.members == ("a", "b")
    assert dict(header.datasets) == {"moods": 2, "sums": 4}
    assert header.macro == pytest.approx((0.375, 0.5))
    assert header.best_single == "b"
    assert (header.clusters, header.method, header.seed, header.smoothing) == (2, "kmeans", 7, 3.0)
    assert (header.embedder, header.fitted_at, header.provenance) == ("e", "now", "by hand")


@needs_scikit_learn
def test_the_floor_is_the_first_percentile_of_the_questions_own_similarity() -> None:
    similarity = [math.cos(math.radians(degrees)) for degrees in (3, 1, 1, 3, 1, 1)]
    assert fit().header.similarity_floor == pytest.approx(np.percentile(similarity, 1), abs=1e-5)


@needs_scikit_learn
def test_the_same_rows_and_seed_give_the_same_bytes_apart_from_the_date(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    vectors = draw.normal(size=(80, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    rows = [OutcomeRow(str(place), "d", "c", {"a": float(draw.random())}) for place in range(80)]
    paths = [tmp_path / name for name in ("one", "two", "later")]
    for path, date in zip(paths, ("now", "now", "NOW"), strict=True):
        fit(vectors, rows, clusters=None, fitted_at=date).save(path)
    one, two, later = (path.read_bytes() for path in paths)
    assert one == two
    assert one == later.replace(b"NOW", b"now")


@needs_scikit_learn
def test_members_choose_columns_and_their_order() -> None:
    table = fit(members=["b"])
    assert table.header.members == ("b",)
    assert table.accuracy.shape == (2, 1)
    assert fit(members=["b", "a"]).header.macro == fit().header.macro[::-1]


@needs_scikit_learn
@pytest.mark.parametrize("missing", [None, {"a": 1.0}])
def test_seconds_are_left_out_unless_every_row_has_every_members(missing: Any) -> None:
    rows = [*ROWS[:-1], dataclasses.replace(ROWS[-1], seconds=missing)]
    table = fit(rows=rows)
    assert table.seconds is None
    assert table.tokens is not None


@needs_scikit_learn
def test_no_cluster_is_empty_when_questions_repeat() -> None:
    table = fit(np.array([at(0)] * 3 + [at(90)] * 3, dtype=np.float32), clusters=5)
    # "sums" has questions at both places, "moods" at one.
    assert table.header.clusters == 3
    assert sorted(table.counts[:, 0].tolist()) == [1, 2, 3]


@pytest.mark.parametrize(
    ("questions", "datasets", "clusters"),
    [
        (1, 1, 1),
        (79, 1, 1),
        (160, 1, 2),
        (160, 5, 5),
        (3, 5, 3),
        (8000, 14, 100),
        (99_999, 14, 256),
        (99_999, 300, 300),
    ],
)
def test_a_cluster_for_every_eighty_questions_and_one_a_data_set(questions: int, datasets: int, clusters: int) -> None:
    assert default_clusters(questions, datasets) == clusters


@needs_scikit_learn
def test_evaluation_sets_the_router_beside_what_it_has_to_beat() -> None:
    found = evaluate_table(fit(pseudo_counts=0.0), VECTORS, ROWS)
    moods = {"n": 2, "router": 75, "random": 37.5, "best_single": 75, "dataset_oracle": 75, "query_oracle": 75}
    sums = {"n": 4, "router": 75, "random": 50, "best_single": 25, "dataset_oracle": 75, "query_oracle": 75}
    assert found == {
        "n": 6,
        "datasets": {"moods": moods, "sums": sums},
        "macro": {"router": 75, "random": 43.75, "best_single": 50, "dataset_oracle": 75, "query_oracle": 75},
        "micro": {"router": 75, "random": 45.83, "best_single": 41.67, "dataset_oracle": 75, "query_oracle": 75},
        "best_single_member": "b",
    }


@needs_scikit_learn
def test_the_best_single_member_comes_from_the_fitting_data_not_from_the_judged() -> None:
    judged = [OutcomeRow("6", "sums", "maths", {"a": 1, "b": 0})]
    found = evaluate_table(fit(), np.array([at(90)], dtype=np.float32), judged)
    assert found["best_single_member"] == "b"
    assert found["macro"]["best_single"] == 0
    assert found["macro"]["dataset_oracle"] == 100


@needs_scikit_learn
def test_columns_of_the_table_find_their_scores_in_any_order() -> None:
    shuffled = [dataclasses.replace(row, scores=dict(reversed(row.scores.items()))) for row in ROWS]
    assert evaluate_table(fit(), VECTORS, shuffled) == evaluate_table(fit(), VECTORS, ROWS)


@needs_scikit_learn
def test_cross_validation_judges_each_choice_on_questions_that_were_not_fitted() -> None:
    vectors = np.array([at(0)] * 10 + [at(90)] * 10, dtype=np.float32)
    rows = [OutcomeRow(str(n), "east", "", {"a": 1, "b": 0}) for n in range(10)]
    rows += [OutcomeRow(str(n), "north", "", {"a": 0, "b": 0.8}) for n in range(10, 20)]
    options, fold_of = FitOptions(clusters=1, pseudo_counts=0.0), deal(rows, 5, 42)
    assert cross_validate(vectors, rows, options, fold_of) == 50.0
    assert cross_validate(vectors, rows, dataclasses.replace(options, clusters=2), fold_of) == 90.0
    assert choose_clusters(vectors, rows, options) == 2


@needs_scikit_learn
def test_questions_that_belong_together_are_dealt_to_one_fold() -> None:
    rows = [OutcomeRow(str(n), "d", "", {"a": n % 2}, group=f"rule {n // 2}") for n in range(10)]
    folds = deal(rows, 5, 42).tolist()
    assert folds[::2] == folds[1::2]
    assert sorted(folds[::2]) == [0, 1, 2, 3, 4]
    vectors = np.array([at(10 * n) for n in range(10)], dtype=np.float32)
    with pytest.raises(BadRequest, match="too few"):
        choose_clusters(vectors, [dataclasses.replace(row, group="one") for row in rows], FitOptions())


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"rows": [], "vectors": VECTORS[:0]}, "no outcomes"),
        ({"vectors": VECTORS[:5]}, "do not belong to 6 outcomes"),
        ({"vectors": VECTORS[0]}, "do not belong"),
        ({"vectors": VECTORS * np.float32("nan")}, "not finite"),
        ({"members": []}, "members are none"),
        ({"members": ["a", "a"]}, "each once"),
        ({"members": ["a", "c"]}, "outcome '0' has no score of c"),
        ({"rows": [*ROWS[:5], OutcomeRow("9", "moods", "", {"a": 1})]}, "outcome '9' has no score of b"),
        ({"rows": [*ROWS[:5], ROWS[0]]}, "outcome '0' occurs twice"),
        ({"clusters": 0}, "0 clusters were asked of 6"),
        ({"clusters": 7}, "7 clusters were asked of 6"),
        ({"pseudo_counts": -1.0}, "smoothing is -1"),
        ({"pseudo_counts": math.nan}, "smoothing is nan"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_what_cannot_be_fitted_is_refused_in_one_line(changes: Any, complaint: str) -> None:
    with pytest.raises(BadRequest, match=complaint):
        fit(**changes)


@pytest.mark.parametrize(
    "values",
    [
        {"scores": {"a": 1.5}},
        {"scores": {"a": math.nan}},
        {"scores": {"a": 1}, "seconds": {"a": -1}},
        {"scores": {"a": 1}, "tokens": {"a": math.inf}},
    ],
    ids=str,
)
def test_outcomes_outside_their_range_are_refused(values: Any) -> None:
    with pytest.raises(BadRequest, match="outcome 'q'"):
        OutcomeRow("q", "d", "c", **values)


def test_without_scikit_learn_the_message_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(MissingExtra, match=r"\[calibrate\]"):
        fit()


def test_a_member_that_answered_a_part_is_judged_by_that_part_and_by_no_other() -> None:
    rows = [
        OutcomeRow("0", "sums", "c", {"a": 1.0, "b": 1.0}),
        OutcomeRow("1", "sums", "c", {"a": 0.0}),
        OutcomeRow("2", "moods", "c", {"a": 1.0}),
    ]
    vectors = np.array([[1, 0], [1, 0], [0, 1]], dtype=np.float32)
    table = fit_table(vectors, rows, FitOptions(("a", "b"), clusters=2, partly=True))
    by_name = dict(zip(table.header.datasets, table.accuracy.tolist(), strict=True))
    assert by_name == {"sums": [0.5, 1.0], "moods": [1.0, 0.0]}
    assert sorted(table.counts.tolist()) == [[1, 0], [2, 1]]
    assert table.header.macro == (0.75, 0.5)  # what it never answered counts as answered wrongly
    with pytest.raises(BadRequest, match="no outcome has a score of c"):
        fit_table(vectors, rows, FitOptions(("a", "c"), clusters=2, partly=True))


def test_what_is_expected_to_do_best_is_asked_and_the_first_of_equals():
    scores = np.array([[0.1, 0.9], [0.3, 0.7]])
    assert chosen_scores(np.array([[0.2, 0.4], [0.5, 0.5]]), scores).tolist() == [0.9, 0.3]


def test_macro_accuracy_gives_each_data_set_the_same_weight():
    rows = [OutcomeRow(str(place), name, "c", {"a": 1}) for place, name in enumerate("dddde")]
    assert macro_accuracy(np.array([[1.0], [1], [1], [1], [0]]), rows) == pytest.approx([0.5])


def test_what_needs_no_vectors_by_hand():
    judged_rows = [OutcomeRow(str(place), name, "c", {}) for place, name in enumerate("ddee")]
    judged = np.array([[1.0, 0], [0, 1], [0, 1], [0, 1]])
    found = references(0, judged_rows, judged)
    assert {name: scores.tolist() for name, scores in found.items()} == {
        "random": [0.5, 0.5, 0.5, 0.5],
        "best single": [1, 0, 0, 0],
        "dataset oracle": [1, 0, 1, 1],
        "query oracle": [1, 1, 1, 1],
    }
