"""Laws of what is kept of a measurement: it comes back as it was for the same machine, and never stands in the way."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import math
import sys

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from avengers_edge.config import Settings
from avengers_edge.engine.loader import choose_repack, keep, measure_first, tuned
from avengers_edge.engine.protocol import LoadOptions
from avengers_edge.engine.step_cost import StepCurve
from avengers_edge.errors import BadRequest, EngineDied

CURVE = StepCurve(((1, 0.02), (8, 0.05), (64, 0.4)))
OTHER = StepCurve(((1, 0.01), (256, 0.9)))
OPTIONS = LoadOptions(threads=2)


@pytest.fixture
def here(home):
    return Settings(home=home)


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "some-model.gguf"
    path.write_bytes(b"weights")
    return path


def file_of(here):
    (file,) = (here.home / "tuning").iterdir()
    return file


def test_nothing_is_known_before_anything_was_measured(here, model):
    assert tuned(model, OPTIONS, here) == (OPTIONS, None)
    assert not here.home.exists()


MICROSECONDS = st.integers(1, 10**9).map(lambda count: count / 10**6)
"""What `measure_steps` gives: a plan made from the file is the plan made from the measurement."""


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.integers(1, 600), MICROSECONDS, min_size=1), st.sampled_from([None, False, True]))
def test_a_measurement_comes_back_as_it_was(here, model, points, repack):
    curve = StepCurve(tuple(sorted(points.items())))
    keep(model, OPTIONS, here, curve, repack)
    options, found = tuned(model, OPTIONS, here)
    assert found == curve
    assert options == dataclasses.replace(OPTIONS, repack=repack)


def test_what_was_asked_for_is_not_overruled_by_what_was_measured(here, model):
    forced = dataclasses.replace(OPTIONS, repack=False)
    keep(model, forced, here, CURVE, True)
    assert tuned(model, forced, here)[0].repack is False


def test_a_later_measurement_replaces_the_earlier(here, model):
    keep(model, OPTIONS, here, CURVE, False)
    keep(model, OPTIONS, here, OTHER, True)
    assert tuned(model, OPTIONS, here)[1] == OTHER
    assert file_of(here).is_file()


@pytest.mark.parametrize(
    "other",
    [
        {"threads": 1},
        {"gpu_layers": 0},
        {"kv_type": "q8_0"},
        {"sequences": 8},
        {"split": True},
        {"repack": True},
        {"repack": False},
    ],
    ids=str,
)
def test_a_measurement_holds_only_for_the_options_it_was_made_with(here, model, other):
    keep(model, OPTIONS, here, CURVE, None)
    others = dataclasses.replace(OPTIONS, **other)
    assert tuned(model, others, here) == (others, None)
    keep(model, others, here, OTHER, None)
    assert tuned(model, OPTIONS, here)[1] == CURVE
    assert tuned(model, others, here)[1] == OTHER


def test_all_cores_are_as_many_threads_as_there_are(here, model, monkeypatch):
    monkeypatch.setattr("avengers_edge.engine.loader.usable_cores", lambda: 3)
    keep(model, LoadOptions(threads=None), here, CURVE, None)
    assert tuned(model, LoadOptions(threads=3), here)[1] == CURVE
    monkeypatch.setattr("avengers_edge.engine.loader.usable_cores", lambda: 4)
    assert tuned(model, LoadOptions(threads=None), here)[1] is None


def test_a_file_of_another_size_or_name_is_another_model(here, model):
    keep(model, OPTIONS, here, CURVE, None)
    namesake = model.with_name("other-model.gguf")
    namesake.write_bytes(model.read_bytes())
    assert tuned(namesake, OPTIONS, here)[1] is None
    model.write_bytes(b"heavier weights")
    assert tuned(model, OPTIONS, here)[1] is None


def test_the_same_file_in_another_folder_is_the_same_model(here, model, tmp_path):
    keep(model, OPTIONS, here, CURVE, None)
    moved = tmp_path / "elsewhere" / model.name
    moved.parent.mkdir()
    model.rename(moved)
    assert tuned(moved, OPTIONS, here)[1] == CURVE


def test_another_build_of_llama_cpp_is_measured_again(here, model, monkeypatch):
    keep(model, OPTIONS, here, CURVE, None)
    version = importlib.metadata.version
    monkeypatch.setattr(importlib.metadata, "version", lambda name: version(name) + ".post1")
    assert tuned(model, OPTIONS, here)[1] is None


# --- whatever the file has become


HUGE = "1" + "0" * 400
GARBAGE = {
    "nothing": b"",
    "no text": b"\xff\xfe\x00\x80",
    "no json": b"{",
    "no object": b"[1, 2]",
    "null": b"null",
    "a number": b"7",
    "half a file": b'{"format": 1, "seconds_by_rows": [[1, 0.0',
    "huge": b" " * 10_000_000,
    "deep": b"[" * 60_000,
}
POINTS = [
    "[]",
    "null",
    "7",
    '"1, 2"',
    "{}",
    "[1, 2]",
    "[[1]]",
    "[[1, 2, 3]]",
    "[[1, null]]",
    '[[1, "x"]]',
    "[[1, NaN]]",
    "[[1, Infinity]]",
    "[[1, -Infinity]]",
    "[[1, -0.5]]",
    "[[1, 0]]",
    "[[0, 0.5]]",
    "[[-4, 0.5]]",
    "[[NaN, 0.5]]",
    "[[Infinity, 0.5]]",
    "[[1e400, 0.5]]",
    "[[2, 0.5], [1, 0.5]]",
    "[[1, 0.5], [1, 0.6]]",
    f"[[1, {HUGE}]]",
    "[[1, 1e400]]",
    "[[1, [1]]]",
    "[[[1], 1]]",
]


@pytest.mark.parametrize("content", GARBAGE.values(), ids=GARBAGE.keys())
def test_a_file_that_cannot_be_read_is_measured_again(here, model, content):
    keep(model, OPTIONS, here, CURVE, None)
    file_of(here).write_bytes(content)
    assert tuned(model, OPTIONS, here) == (OPTIONS, None)
    keep(model, OPTIONS, here, CURVE, None)
    assert tuned(model, OPTIONS, here)[1] == CURVE


@pytest.mark.parametrize("points", POINTS)
def test_points_that_are_no_curve_are_measured_again(here, model, points):
    keep(model, OPTIONS, here, CURVE, None)
    values = json.loads(file_of(here).read_bytes()) | {"seconds_by_rows": "here"}
    file_of(here).write_text(json.dumps(values).replace('"here"', points), encoding="utf-8")
    assert tuned(model, OPTIONS, here) == (OPTIONS, None)


@pytest.mark.parametrize(
    "wrong", [{"format": 0}, {"format": 99}, {"format": "1"}, {"repack": 1}, {"repack": "yes"}, {"repack": [True]}]
)
def test_another_format_or_a_wrong_option_is_measured_again(here, model, wrong):
    keep(model, OPTIONS, here, CURVE, None)
    file_of(here).write_text(json.dumps(json.loads(file_of(here).read_bytes()) | wrong), encoding="utf-8")
    assert tuned(model, OPTIONS, here) == (OPTIONS, None)


@pytest.mark.parametrize("missing", ["format", "repack", "seconds_by_rows"])
def test_a_field_that_is_missing_is_measured_again(here, model, missing):
    keep(model, OPTIONS, here, CURVE, None)
    values = json.loads(file_of(here).read_bytes())
    del values[missing]
    file_of(here).write_text(json.dumps(values), encoding="utf-8")
    assert tuned(model, OPTIONS, here) == (OPTIONS, None)


NUMBERS = st.one_of(st.integers(), st.floats(), st.integers(10**300, 10**420), st.booleans(), st.none(), st.text())


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(NUMBERS, min_size=1, max_size=3), max_size=4))
@example([[1, 0.5], [10**400, 0.6]])
@example([[math.inf, 0.5]])
@example([[1, 1e-320], [2, 5e-324]])
def test_whatever_points_the_file_has_there_is_no_curve_or_one_that_can_be_gone_by(here, model, points):
    keep(model, OPTIONS, here, CURVE, None)
    values = json.loads(file_of(here).read_bytes())
    file_of(here).write_text(json.dumps(values | {"seconds_by_rows": points}), encoding="utf-8")
    _, curve = tuned(model, OPTIONS, here)
    if curve is not None:
        assert all(0 < curve.seconds(rows) < math.inf for rows in (1, 2, 64, 700))
        assert 1 <= curve.widest(63) <= 63
        assert 0 <= curve.beside(3, 7) <= 7
        assert curve.prefill_beside(5, 128) <= 128
        assert curve.with_drafts(5, [0.5, 0.2]) <= 2


def test_a_folder_in_the_files_place_is_measured_again_each_time(here, model, caplog):
    keep(model, OPTIONS, here, CURVE, None)
    place = file_of(here)
    place.unlink()
    (place / "something").mkdir(parents=True)
    assert tuned(model, OPTIONS, here) == (OPTIONS, None)
    keep(model, OPTIONS, here, CURVE, None)
    assert "cannot be kept" in caplog.text
    assert [each.name for each in place.parent.iterdir()] == [place.name]


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege there")
def test_a_link_that_leads_nowhere_is_measured_again(here, model):
    keep(model, OPTIONS, here, CURVE, None)
    place = file_of(here)
    place.unlink()
    place.symlink_to(place.name)
    assert tuned(model, OPTIONS, here) == (OPTIONS, None)
    keep(model, OPTIONS, here, CURVE, None)
    assert tuned(model, OPTIONS, here)[1] == CURVE


@pytest.mark.parametrize("place", ["", "tuning"])
def test_where_the_home_cannot_be_written_a_measurement_is_only_lost(here, model, caplog, place):
    blocked = here.home / place
    blocked.parent.mkdir(parents=True, exist_ok=True)
    blocked.write_text("a file where a folder should be", encoding="utf-8")
    keep(model, OPTIONS, here, CURVE, None)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert model.name in caplog.text
    assert tuned(model, OPTIONS, here) == (OPTIONS, None)


# --- measuring


class Timed:
    """An engine that has measured itself."""

    def __init__(self):
        self.budgets = []

    def measure(self, budget):
        self.budgets.append(budget)
        return CURVE


def test_the_first_use_of_a_model_measures_it_once_and_for_all(here, model):
    engine = Timed()
    assert measure_first(engine, model, OPTIONS, here) == CURVE
    assert tuned(model, OPTIONS, here) == (OPTIONS, CURVE)
    assert len(engine.budgets) == 1
    assert 0 < engine.budgets[0] <= 10


def ways(**measured):
    """`off` and `on`: (seconds of loading, curve), or the error of it."""

    def measure(repack):
        found = measured["on" if repack else "off"]
        if isinstance(found, Exception):
            raise found
        return found

    return measure


def scaled(factor):
    return StepCurve(tuple((rows, seconds * factor) for rows, seconds in CURVE.points))


def test_of_two_ways_the_one_that_answers_sooner_is_chosen():
    assert choose_repack(ways(off=(1.0, CURVE), on=(2.0, CURVE)))[0] is False
    assert choose_repack(ways(off=(2.0, CURVE), on=(1.0, CURVE)))[0] is True
    assert choose_repack(ways(off=(1.0, CURVE), on=(1.0, scaled(0.5))))[0] is True
    assert choose_repack(ways(off=(1.0, scaled(0.5)), on=(1.0, CURVE)))[0] is False


def test_a_load_that_takes_longer_is_weighed_against_quicker_steps():
    """A question of 200 tokens and 150 steps of ten samples: 200 x 0.4 / 64 + 150 x 0.0625 seconds by this curve."""
    saved = (200 * 0.4 / 64 + 150 * (0.05 + 0.35 * 2 / 56)) / 2
    assert choose_repack(ways(off=(1.0, CURVE), on=(1.0 + saved * 0.99, scaled(0.5))))[0] is True
    assert choose_repack(ways(off=(1.0, CURVE), on=(1.0 + saved * 1.01, scaled(0.5))))[0] is False


def test_both_curves_come_back():
    assert choose_repack(ways(off=(1.0, CURVE), on=(1.0, OTHER)))[1] == {False: CURVE, True: OTHER}


@pytest.mark.parametrize("failure", [EngineDied("it crashed"), BadRequest("no curve: measure it again")])
def test_where_one_way_fails_the_other_is_chosen(failure):
    assert choose_repack(ways(off=(9.0, CURVE), on=failure)) == (False, {False: CURVE})
    assert choose_repack(ways(off=failure, on=(9.0, CURVE))) == (True, {True: CURVE})


def test_where_both_ways_fail_one_of_the_failures_is_raised():
    with pytest.raises(EngineDied, match="it crashed"):
        choose_repack(ways(off=EngineDied("it crashed once"), on=EngineDied("it crashed twice")))


def test_what_is_no_failure_of_the_engine_is_not_swallowed():
    with pytest.raises(ZeroDivisionError):
        choose_repack(ways(off=ZeroDivisionError(), on=(1.0, CURVE)))
