"""The study: it finds who is best on outcomes that a reader can compute by hand, and finds the same again."""

import json
import sys

import numpy as np
import pytest
from study_rows import two_directions

from avengers_edge.calibration.outcomes import OutcomeRow, matrix
from avengers_edge.calibration.study import describe_clusters, run_study
from avengers_edge.errors import BadRequest, MissingExtra, NotFound

pytest.importorskip("sklearn")


@pytest.fixture(scope="module")
def each_best_at_one():
    return run_study(*two_directions(), seeds=3)


def test_where_each_member_is_best_at_one_thing_the_router_wins(each_best_at_one):
    router, single = each_best_at_one.standing("router"), each_best_at_one.standing("best single")
    assert (router.macro.mean, router.micro.mean, router.by_seed) == (100, 100, (100, 100, 100))
    assert single.macro.mean == 50
    assert (router.gain.mean, router.gain.low, router.gain.high) == (50, 50, 50)
    assert router.datasets == {"east": 100, "west": 100}


def test_where_one_member_is_always_best_the_router_is_the_best_single():
    study = run_study(*two_directions(east=(1, 0), west=(1, 0)), seeds=2, quick=True)
    router = study.standing("router")
    assert study.best_single == ("a", "a")
    assert router.macro == study.standing("best single").macro == study.standing("a alone").macro
    assert (router.gain.low, router.gain.high) == (0, 0)


def test_nobody_beats_the_query_oracle_and_the_dataset_oracle_beats_every_member_alone(each_best_at_one):
    best = each_best_at_one.standing("query oracle").macro.mean
    assert all(each.macro.mean <= best for each in each_best_at_one.standings)
    oracle = each_best_at_one.standing("dataset oracle").macro.mean
    assert all(each.macro.mean <= oracle for each in each_best_at_one.standings if each.role in ("member", "reference"))


def test_the_dial_runs_from_the_fastest_member_to_the_most_accurate(each_best_at_one):
    costs = each_best_at_one.costs
    assert [(each.name, each.accuracy, each.seconds) for each in costs.members] == [("a", 50, 4), ("b", 50, 1)]
    assert [each.name for each in costs.router][:: len(costs.router) - 1] == ["0", "1"]
    assert (costs.router[0].accuracy, costs.router[0].seconds) == (50, 1)
    assert (costs.router[-1].accuracy, costs.router[-1].seconds) == (100, 2.5)


def test_every_vote_of_two_samples_or_more_is_in_the_diagram(each_best_at_one):
    found = each_best_at_one.reliability
    assert [(each.high, each.votes, each.right) for each in found.bins] == [(70, 80, 50), (100, 80, 50)]


def test_the_same_outcomes_give_the_same_findings_which_are_plain_values(each_best_at_one):
    again = run_study(*two_directions(), seeds=3)
    assert json.dumps(again.as_dict()) == json.dumps(each_best_at_one.as_dict())


def test_what_was_not_measured_is_none():
    vectors, rows = two_directions()
    bare = [OutcomeRow(row.id, row.dataset, row.category, row.scores) for row in rows]
    study = run_study(vectors, bare, seeds=1, quick=True)
    assert (study.costs, study.reliability) == (None, None)


def test_progress_names_what_is_done_and_never_goes_back():
    heard = []
    run_study(*two_directions(), seeds=2, quick=True, on_progress=lambda what, share: heard.append((what, share)))
    shares = [share for _, share in heard]
    assert shares == sorted(shares)
    assert (shares[0], heard[-1]) == (0, ("done", 1))
    assert "split 2 of 2" in [what for what, _ in heard]


def test_quick_compares_two_splits_at_most():
    assert run_study(*two_directions(), seeds=5, quick=True).seeds == (0, 1)


def test_prompts_are_named_only_when_asked_for():
    vectors, rows = two_directions()
    assert "matter" not in json.dumps(run_study(vectors, rows, seeds=1, quick=True).as_dict()["clusters"])
    shapes = run_study(vectors, rows, seeds=1, quick=True, examples=2).clusters
    assert all(len(shape.examples) == 2 for shape in shapes)


def test_members_choose_the_columns():
    vectors, rows = two_directions()
    assert run_study(vectors, rows, members=["b"], seeds=1, quick=True).best_single == ("b",)


def test_no_split_and_an_unknown_standing_are_refused(each_best_at_one):
    with pytest.raises(BadRequest, match="seeds is 0"):
        run_study(*two_directions(), seeds=0)
    with pytest.raises(NotFound, match="luck"):
        each_best_at_one.standing("luck")


def test_clusters_are_numbered_by_size_and_say_what_they_hold():
    vectors, rows = two_directions(30)
    vectors, rows = vectors[:50], rows[:50]  # 30 of east, 20 of west
    shapes = describe_clusters(vectors, rows, matrix([row.scores for row in rows], ["a", "b"]), 1)
    assert [(each.number, each.questions, each.datasets, each.accuracy) for each in shapes] == [
        (1, 30, (("east", 100.0),), (100, 0)),
        (2, 20, (("west", 100.0),), (0, 100)),
    ]
    assert shapes[0].examples == ("eastern matter 2",)  # in the middle


def test_an_example_is_one_short_line():
    row = OutcomeRow("q", "d", "c", {"a": 1.0}, prompt="word\n" * 100)
    (shape,) = describe_clusters(np.ones((1, 1), dtype=np.float32), [row], np.ones((1, 1)), 1)
    assert len(shape.examples[0]) == 200
    assert "\n" not in shape.examples[0]


def test_without_scikit_learn_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "threadpoolctl", None)
    with pytest.raises(MissingExtra, match=r"\[calibrate\]"):
        run_study(*two_directions())
