"""The router on tables that a reader can compute by hand."""

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from avengers_edge.errors import BadRequest, NotFound
from avengers_edge.records import Ranked, Route
from avengers_edge.routing.router import Router, pick_only, scaled, unfitted_route
from avengers_edge.routing.table import FORMAT, CentroidTable, TableHeader

EAST, NORTH = [1.0, 0.0], [0.0, 1.0]


def make(
    accuracy: Any,
    *,
    members: Any = ("a", "b", "c"),
    centroids: Any = (EAST, NORTH),
    counts: Any = 10,
    seconds: Any = None,
    **header: Any,
) -> CentroidTable:
    """A table whose members' overall accuracy is the plain mean over clusters, without smoothing or floor."""
    accuracy = np.array(accuracy, dtype=np.float32)
    macro = header.pop("macro", tuple(accuracy.mean(axis=0).tolist()))
    values = {
        "format": FORMAT,
        "members": tuple(members),
        "embedder": "",
        "clusters": len(centroids),
        "method": "by hand",
        "seed": 0,
        "smoothing": 0.0,
        "datasets": {"sums": 1},
        "macro": macro,
        "best_single": members[max(range(len(macro)), key=macro.__getitem__)],
        "similarity_floor": -1.0,
        "kinds": (),
        "fitted_at": "",
        "provenance": "",
    }
    return CentroidTable(
        header=TableHeader(**(values | header)),
        centroids=np.array(centroids, dtype=np.float32),
        accuracy=accuracy,
        counts=np.broadcast_to(np.int32(counts), accuracy.shape).astype(np.int32),
        kinds=np.zeros((len(centroids), 0), dtype=np.int32),
        seconds=None if seconds is None else np.array(seconds, dtype=np.float32),
    )


SKILLS = [[0.9, 0.1, 0.5], [0.2, 0.8, 0.5]]
TABLE = make(SKILLS)
SLOW_IS_GOOD = make([[0.9, 0.6, 0.3]] * 2, seconds=[[9, 3, 1]] * 2)


def names(route: Route) -> list[str]:
    return [ranked.model for ranked in route.ranking]


def scores(route: Route) -> dict[str, float]:
    return {ranked.model: ranked.score for ranked in route.ranking}


def test_the_best_over_all_is_one_of_the_members_that_are_asked_for() -> None:
    router = Router(make([[0.9, 0.6, 0.6]] * 2))
    assert [router.best_of(members) for members in ("abc", "bc", "cb", "c")] == ["a", "b", "b", "c"]
    with pytest.raises(NotFound):
        router.best_of("x")


@pytest.mark.parametrize(("vector", "order", "cluster"), [(EAST, "acb", 0), (NORTH, "bca", 1)])
def test_the_nearest_cluster_alone_ranks_by_its_own_accuracy(vector: Any, order: Any, cluster: int) -> None:
    route = Router(TABLE, top_k=1).route(vector)
    assert names(route) == list(order)
    assert route.cluster == cluster
    assert route.similarity == pytest.approx(1)
    assert route.fallback is None
    assert scores(route) == pytest.approx(dict(zip("abc", SKILLS[cluster], strict=True)))
    assert route.margin == pytest.approx(route.ranking[0].score - route.ranking[1].score)


def test_clusters_weigh_softmax_of_minus_beta_times_cosine_distance() -> None:
    vector = [0.8, 0.6]  # distances 0.2 and 0.4
    near, far = math.exp(-6 * 0.2), math.exp(-6 * 0.4)
    expected = (0.9 * near + 0.2 * far) / (near + far)
    assert scores(Router(TABLE, beta=6.0).route(vector))["a"] == pytest.approx(expected, abs=1e-6)


def test_beta_0_weighs_all_clusters_alike() -> None:
    assert scores(Router(TABLE, beta=0).route(EAST)) == pytest.approx({"a": 0.55, "b": 0.45, "c": 0.5})


def test_only_the_top_k_nearest_clusters_count() -> None:
    west = make([*SKILLS, [0.0, 1.0, 0.0]], centroids=(EAST, NORTH, [-1.0, 0.0]), macro=(0.5, 0.5, 0.5))
    vector = [0.8, 0.6]
    assert scores(Router(west, top_k=2).route(vector)) == pytest.approx(scores(Router(TABLE).route(vector)))


def test_smoothing_adds_answers_at_the_overall_accuracy() -> None:
    smoothed = make(SKILLS, counts=[[10] * 3, [2] * 3], smoothing=5.0, macro=(0.6, 0.5, 0.5))
    assert scores(Router(smoothed, top_k=1).route(EAST))["a"] == pytest.approx((0.9 * 10 + 0.6 * 5) / 15)
    assert scores(Router(smoothed, top_k=1).route(NORTH))["a"] == pytest.approx((0.2 * 2 + 0.6 * 5) / 7)


def test_a_cell_without_answers_has_the_overall_accuracy() -> None:
    unseen = make(SKILLS, counts=0, macro=(0.7, 0.5, 0.4))
    assert scores(Router(unseen).route(EAST)) == pytest.approx({"a": 0.7, "b": 0.5, "c": 0.4})


def test_a_foreign_question_goes_by_overall_accuracy_and_says_why() -> None:
    guarded = make(SKILLS, similarity_floor=0.5, macro=(0.3, 0.4, 0.6))
    route = Router(guarded).route([-0.8, 0.6 - 0.2])
    assert names(route) == ["c", "b", "a"]
    assert scores(route) == pytest.approx({"c": 0.6, "b": 0.4, "a": 0.3})
    assert route.fallback == "nearest cluster at cosine 0.40, below 0.50: ranked by overall accuracy"
    assert (route.cluster, route.similarity) == (1, pytest.approx(0.4))


def test_a_foreign_question_is_voted_on_as_most_questions_are() -> None:
    places = (EAST, NORTH, [0.6, 0.8])
    guarded = make([[0.5]] * 3, members="a", centroids=places, counts=[[1], [2], [4]], similarity_floor=0.9)
    for budgets, most in (([4, 4, 1], 1), ([2**31 - 1, 4, 4], 4)):
        table = dataclasses.replace(guarded, samples=np.array(budgets, dtype=np.int32))
        assert Router(table).route([-1.0, 0.0]).samples == most
    assert Router(guarded).route([-1.0, 0.0]).samples is None


def test_a_question_at_the_floor_is_not_foreign() -> None:
    assert Router(make(SKILLS, similarity_floor=1.0)).route(EAST).fallback is None


def test_prefer_1_is_the_expected_accuracy_and_prefer_0_the_speed() -> None:
    router = Router(SLOW_IS_GOOD)
    assert scores(router.route(EAST, prefer=1)) == pytest.approx({"a": 0.9, "b": 0.6, "c": 0.3})
    assert scores(router.route(EAST, prefer=0)) == pytest.approx({"c": 1, "b": 0.75, "a": 0})
    assert names(router.route(EAST, prefer=0)) == ["c", "b", "a"]


def test_prefer_between_mixes_both_scaled_over_the_members() -> None:
    expected = {"a": 0.4 * 1 + 0.6 * 0, "b": 0.4 * 0.5 + 0.6 * 0.75, "c": 0.4 * 0 + 0.6 * 1}
    assert scores(Router(SLOW_IS_GOOD).route(EAST, prefer=0.4)) == pytest.approx(expected, abs=1e-6)


def test_prefer_scales_over_the_members_that_are_ranked() -> None:
    assert scores(Router(SLOW_IS_GOOD).route(EAST, members=["a", "b"], prefer=0.5)) == pytest.approx(
        {"a": 0.5, "b": 0.5}
    )


def test_prefer_does_nothing_without_measured_seconds() -> None:
    assert Router(TABLE).route(EAST, prefer=0) == Router(TABLE).route(EAST)


def test_a_foreign_question_keeps_the_preference_for_speed() -> None:
    guarded = make([[0.9, 0.6, 0.3]] * 2, seconds=[[9, 3, 1]] * 2, similarity_floor=0.9)
    route = Router(guarded).route([0.5, 0.5], prefer=0)
    assert route.fallback is not None
    assert names(route) == ["c", "b", "a"]


def test_equal_scores_go_to_the_faster_member_then_to_table_order() -> None:
    assert names(Router(make([[0.5] * 3] * 2, seconds=[[2, 1, 2]] * 2)).route([0.7, 0.7])) == ["b", "a", "c"]
    assert names(Router(make([[0.5] * 3] * 2)).route([0.7, 0.7])) == ["a", "b", "c"]


def test_members_restrict_the_ranking_and_leave_the_scores() -> None:
    route = Router(TABLE, top_k=1).route(EAST, members=["b", "c", "b"])
    assert scores(route) == pytest.approx({"c": 0.5, "b": 0.1})


def test_the_order_in_which_members_are_named_does_not_matter() -> None:
    assert Router(TABLE).route(EAST, members=["c", "a"]) == Router(TABLE).route(EAST, members=["a", "c"])


def test_one_member_has_no_margin() -> None:
    assert Router(TABLE).route(EAST, members=["b"]).margin == 0


def test_an_unknown_member_is_not_found() -> None:
    with pytest.raises(NotFound, match="'d', it has a, b, c"):
        Router(TABLE).route(EAST, members=["a", "d"])


@pytest.mark.parametrize("options", [{"members": []}, {"prefer": -0.1}, {"prefer": 1.1}, {"prefer": math.nan}], ids=str)
def test_options_without_meaning_are_refused(options: Any) -> None:
    with pytest.raises(BadRequest):
        Router(TABLE).route(EAST, **options)


@pytest.mark.parametrize("vector", [[1.0], [[1.0, 0.0]], [math.nan, 0.0], []], ids=str)
def test_a_vector_of_another_shape_is_refused(vector: Any) -> None:
    with pytest.raises(BadRequest, match="cannot be routed"):
        Router(TABLE).route(vector)


@pytest.mark.parametrize("options", [{"top_k": 0}, {"beta": -1.0}, {"beta": math.nan}, {"beta": math.inf}], ids=str)
def test_a_router_without_meaning_is_refused(options: Any) -> None:
    with pytest.raises(BadRequest):
        Router(TABLE, **options)


def test_scaled_values_run_from_0_to_1_and_equal_values_are_0() -> None:
    assert scaled(np.array([2.0, 4.0, 3.0])).tolist() == [0, 1, 0.5]
    assert scaled(np.array([2.0, 2.0])).tolist() == [0, 0]


def test_a_member_that_the_user_named_is_the_whole_ranking() -> None:
    route = pick_only("a:think")
    assert route.ranking == (Ranked("a:think", 1.0),)
    assert (route.cluster, route.similarity, route.margin, route.fallback) == (None, None, 0.0, None)


def test_a_team_without_a_table_keeps_its_own_order_and_says_so() -> None:
    route = unfitted_route("mine", ["b", "a"])
    assert route.ranking == (Ranked("b", 0.0), Ranked("a", 0.0))
    assert route.fallback == "team mine has no table: members keep their order, `avengers ask --model NAME` picks one"


angles = st.floats(0, 2 * math.pi)
accuracies = st.lists(st.lists(st.floats(0, 1, width=32), min_size=3, max_size=3), min_size=4, max_size=4)
CORNERS = (EAST, NORTH, [-1.0, 0.0], [0.0, -1.0])
SECONDS = [[1, 2, 3], [3, 2, 1], [2, 2, 2], [1, 1, 9]]


@given(accuracies, angles, st.floats(0, 1), st.floats(0, 50), st.integers(1, 6), st.floats(-1, 1))
def test_scores_lie_in_0_to_1_and_the_ranking_is_sorted_and_whole(
    accuracy: Any, angle: float, prefer: float, smoothing: float, top_k: int, floor: float
) -> None:
    table = make(accuracy, centroids=CORNERS, seconds=SECONDS, smoothing=smoothing, similarity_floor=floor)
    route = Router(table, top_k=top_k).route([math.cos(angle), math.sin(angle)], prefer=prefer)
    found = [ranked.score for ranked in route.ranking]
    assert sorted(names(route)) == ["a", "b", "c"]
    assert found == sorted(found, reverse=True)
    assert all(0 <= score <= 1 for score in found)
    assert 0 <= route.margin <= 1


@given(accuracies, angles, st.floats(0, 1), st.permutations(range(3)))
def test_the_order_of_columns_changes_no_score(accuracy: Any, angle: float, prefer: float, order: Any) -> None:
    vector = [math.cos(angle), math.sin(angle)]
    plain = make(accuracy, centroids=CORNERS, seconds=SECONDS)
    shuffled = make(
        np.array(accuracy)[:, order],
        members=[plain.header.members[column] for column in order],
        centroids=CORNERS,
        seconds=np.array(SECONDS)[:, order],
    )
    assert scores(Router(plain).route(vector, prefer=prefer)) == pytest.approx(
        scores(Router(shuffled).route(vector, prefer=prefer))
    )


@given(accuracies, st.floats(0.01, math.pi / 4 - 0.01), st.permutations(range(4)))
def test_the_order_of_clusters_changes_only_their_numbers(accuracy: Any, angle: float, order: Any) -> None:
    vector = [math.cos(angle), math.sin(angle)]
    plain = make(accuracy, centroids=CORNERS)
    shuffled = make(np.array(accuracy)[order], centroids=[CORNERS[row] for row in order], macro=plain.header.macro)
    one, other = Router(plain).route(vector), Router(shuffled).route(vector)
    assert order[other.cluster] == one.cluster
    assert scores(one) == pytest.approx(scores(other))


@given(accuracies, angles)
def test_equal_columns_have_equal_scores_to_the_last_bit(accuracy: Any, angle: float) -> None:
    alike = [[row[0]] * 3 for row in accuracy]
    route = Router(make(alike, centroids=CORNERS, smoothing=3.0)).route([math.cos(angle), math.sin(angle)])
    assert len(set(scores(route).values())) == 1
    assert names(route) == ["a", "b", "c"]


def test_the_table_is_not_changed_by_routing() -> None:
    before = {name: tensor.copy() for name, tensor in SLOW_IS_GOOD.tensors().items()}
    Router(SLOW_IS_GOOD).route(EAST, prefer=0.5)
    for name, tensor in SLOW_IS_GOOD.tensors().items():
        np.testing.assert_array_equal(tensor, before[name])


def test_headers_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        TABLE.header.seed = 1


# --- which models are loaded ---

CLOSE = make([[0.80, 0.76, 0.50]] * 2, members=("x:think", "y", "z:plain"), counts=50, macro=(0.8, 0.76, 0.5))


def test_a_loaded_member_within_the_margin_of_error_comes_first_with_its_true_score() -> None:
    # One standard error of the difference over 50 answers each: sqrt(.8 * .2 / 50 + .76 * .24 / 50) = 0.083
    alone, tied = Router(CLOSE, top_k=1).route(EAST), Router(CLOSE, top_k=1).route(EAST, resident=["y", "z"])
    assert names(alone) == ["x:think", "y", "z:plain"]
    assert names(tied) == ["y", "x:think", "z:plain"]
    assert scores(tied) == scores(alone)
    assert tied.margin == pytest.approx(-0.04, abs=1e-6)
    assert tied.fallback == "y is loaded and within the margin of error of x:think"


@pytest.mark.parametrize("resident", [(), ("x",), ("x", "y"), ("z",), ("x:think", "nobody")])
def test_a_loaded_best_member_or_a_worse_one_changes_nothing(resident: Any) -> None:
    assert Router(CLOSE, top_k=1).route(EAST, resident=resident) == Router(CLOSE, top_k=1).route(EAST)


@pytest.mark.parametrize(("answers", "first"), [(50, "y"), (10_000, "x:think")])
def test_more_answers_narrow_the_margin_of_error(answers: int, first: str) -> None:
    surer = dataclasses.replace(CLOSE, counts=np.full((2, 3), answers, dtype=np.int32))
    assert names(Router(surer, top_k=1).route(EAST, resident=["y"]))[0] == first


@pytest.mark.parametrize(("gap", "first"), [(0.06, "b"), (0.08, "a")])
def test_clusters_count_with_the_square_of_their_weight_and_smoothing_as_answers(gap: float, first: str) -> None:
    # Two clusters at weight 1/2 with 30 + 20 answers: sqrt(2 * 2 * (1/4) * .25 / 50) = 0.0707, a little less off 1/2
    rates = [[0.5 + gap, 0.5]] * 2
    table = make(rates, members=("a", "b"), counts=30, smoothing=20.0, macro=tuple(rates[0]))
    assert names(Router(table, beta=0).route(EAST, resident=["b"]))[0] == first


def test_a_foreign_question_has_both_reasons() -> None:
    guarded = make(SKILLS, similarity_floor=0.5, macro=(0.3, 0.55, 0.6))
    route = Router(guarded).route([-0.8, 0.6 - 0.2], resident=["b"])
    assert names(route) == ["b", "c", "a"]
    assert route.fallback == (
        "nearest cluster at cosine 0.40, below 0.50: ranked by overall accuracy; "
        "b is loaded and within the margin of error of c"
    )


def test_the_margin_of_error_follows_the_dial() -> None:
    table = make([[0.60, 0.58, 0.30]] * 2, counts=20, seconds=[[9, 9, 1]] * 2)
    assert names(Router(table).route(EAST, prefer=0.9, resident=["b"]))[0] == "b"
    assert names(Router(table).route(EAST, prefer=0.9, resident=["c"]))[0] == "a"
    assert names(Router(table).route(EAST, prefer=0, resident=["a"]))[0] == "c"


@given(
    rates=st.lists(st.floats(0, 1), min_size=1, max_size=5),
    counts=st.integers(0, 1000),
    resident=st.sets(st.integers(0, 4)),
    prefer=st.floats(0, 1),
)
def test_the_loaded_only_reorder_and_never_beyond_one_place(
    rates: Any, counts: int, resident: Any, prefer: float
) -> None:
    members = [f"m{place}:mode" for place in range(len(rates))]
    router = Router(make([rates] * 2, members=members, counts=counts, seconds=[[1] * len(rates)] * 2))
    alone = router.route(EAST, prefer=prefer)
    tied = router.route(EAST, prefer=prefer, resident={f"m{place}" for place in resident})
    assert scores(tied) == scores(alone)
    rest = [name for name in names(alone) if name != names(tied)[0]]
    assert names(tied)[1:] == rest
    assert (tied.fallback is None) == (names(tied) == names(alone))
