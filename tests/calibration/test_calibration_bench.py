"""Laws of `bench`: what it keeps is what later loads go by, and its times are those of the questions."""

from __future__ import annotations

import contextlib
import dataclasses
from types import SimpleNamespace

import pytest

from avengers_edge.calibration import bench as room
from avengers_edge.calibration.bench import QUESTIONS, Spread, bench, tune
from avengers_edge.config import Settings
from avengers_edge.engine.loader import llama_opener
from avengers_edge.engine.step_cost import StepCurve
from avengers_edge.errors import EngineDied, NotFound
from avengers_edge.library.store import Store
from avengers_edge.records import Token

QUICK = StepCurve(((1, 0.01), (64, 0.1), (256, 0.5)))
SLOW = StepCurve(((1, 0.1), (64, 1.0), (256, 5.0)))
TEAM = """
name = "pair"
description = "two ways of one model"
[[members]]
model = "smollm2-135m-instruct"
mode = "think"
[[members]]
model = "qwen2.5-coder-0.5b-instruct"
"""


class FakeWorker:
    """A worker whose steps take what `found` says, or that cannot be loaded where that is an error."""

    def __init__(self, found):
        if isinstance(found, Exception):
            raise found
        self.found = found

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        pass

    def measure(self, budget):
        assert 0 < budget < 60
        return self.found


@pytest.fixture
def workers(monkeypatch):
    """Lets workers find these curves, by whether weights are repacked; gives the list of what was loaded how."""

    def give(*, off, on):
        opened = []

        def load(path, options, *, curve=None, timeout=0, stop=None):
            opened.append((options, curve))
            return FakeWorker({False: off, True: on}[options.repack])

        monkeypatch.setattr(room, "WorkerEngine", load)
        monkeypatch.setattr("avengers_edge.engine.worker_engine.WorkerEngine", load)
        return opened

    return give


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "some-model.gguf"
    path.write_bytes(b"weights")
    return path


def quiet(phase):
    assert phase


@pytest.mark.parametrize(("off", "on", "repack"), [(QUICK, SLOW, False), (SLOW, QUICK, True)])
def test_both_ways_are_measured_and_the_quicker_is_what_later_loads_go_by(home, workers, model, off, on, repack):
    opened, settings = workers(off=off, on=on), Settings(home=home)
    assert tune(model, settings, quiet) == (repack, (False, True), QUICK)
    assert [options.repack for options, _ in opened] == [False, True]
    llama_opener(settings)("some-model", model, settings.gpu_layers)
    options, curve = opened[-1]
    assert (options.repack, curve) == (repack, QUICK)
    assert len(opened) == 3  # and nothing was measured again: a way of None would have failed


def test_a_way_that_kills_the_worker_is_left_alone(home, workers, model):
    opened, settings = workers(off=SLOW, on=EngineDied("it crashed")), Settings(home=home)
    assert tune(model, settings, quiet) == (False, (False,), SLOW)
    llama_opener(settings)("some-model", model, -1)
    assert opened[-1][0].repack is False


def test_a_model_that_loads_neither_way_is_an_error_and_keeps_nothing(home, workers, model):
    workers(off=EngineDied("it crashed"), on=EngineDied("it crashed"))
    with pytest.raises(EngineDied, match="crashed"):
        tune(model, Settings(home=home), quiet)
    assert not (home / "tuning").exists()


@pytest.mark.parametrize("repack", [False, True])
def test_a_way_that_the_settings_name_is_the_only_one_measured(home, workers, model, repack):
    opened, settings = workers(off=SLOW, on=QUICK), Settings(home=home, repack=repack)
    curve = QUICK if repack else SLOW
    assert tune(model, settings, quiet) == (repack, (repack,), curve)
    assert [options.repack for options, _ in opened] == [repack]
    llama_opener(settings)("some-model", model, -1)
    assert (opened[-1][0].repack, opened[-1][1]) == (repack, curve)


@pytest.mark.parametrize("devices", [(), ("CUDA",)], ids=["no device", "a device"])
@pytest.mark.parametrize(
    "other", [{}, {"threads": 1}, {"kv_type": "q8_0"}, {"gpu_layers": 0}, {"context": 4096}], ids=str
)
def test_it_loads_as_later_loads_do(home, workers, model, monkeypatch, devices, other):
    monkeypatch.setattr("avengers_edge.engine.devices.gpu_backends", lambda: devices)
    opened, settings = workers(off=QUICK, on=SLOW), dataclasses.replace(Settings(home=home), **other)
    tune(model, settings, quiet)
    llama_opener(settings)("some-model", model, settings.gpu_layers)
    assert opened[0][0] == dataclasses.replace(opened[-1][0], repack=False)
    assert opened[-1][1] == QUICK


# --- the whole of it


class Clocked:
    """A team that answers by its own clock: a vote takes 12 s, a call 2 to 4 s; the first piece comes after a quarter.

    The first answer of all takes a minute: the model is loaded.
    """

    def __init__(self):
        self.now, self.asks = 0.0, []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def answer(self, question, ask):
        *_, last = self.run(question, ask)
        return last

    def run(self, question, ask):
        self.asks.append((question, ask))
        if len(self.asks) == 1:
            self.now += 60
            yield None
            return
        seconds = 12.0 if ask.samples > 1 else 2.0 + QUESTIONS.index(question)
        self.now += seconds / 4
        yield Token("piece")
        yield Token("another")
        self.now += seconds * 3 / 4
        yield None


@pytest.fixture
def clocked(home, monkeypatch):
    (home / "teams").mkdir(parents=True)
    (home / "teams" / "pair.toml").write_text(TEAM, encoding="utf-8")
    team = Clocked()
    monkeypatch.setattr(room, "Avengers", SimpleNamespace(open=lambda settings, name: contextlib.nullcontext(team)))
    monkeypatch.setattr(room, "time", SimpleNamespace(perf_counter=lambda: team.now))
    monkeypatch.setattr(Store, "find", lambda self, manifest: home / "some-model.gguf")
    monkeypatch.setattr(room, "tune", lambda path, settings, on_phase: (False, (False, True), QUICK))
    return team


def test_a_vote_is_weighed_against_as_many_calls_one_by_one(home, clocked):
    report = bench(Settings(home=home), "pair", None, 4, quiet)
    assert report.voted == Spread(12.0, 12.0, 12.0)
    assert report.one_by_one == Spread(12.0, 8.0, 16.0)  # four calls of 2, 3 and 4 s
    assert report.ratio == Spread(1.0, pytest.approx(2 / 3), pytest.approx(4 / 3))
    assert report.first_token == Spread(0.75, 0.5, 1.0)
    assert (report.model, report.member, report.samples) == ("smollm2-135m-instruct", "smollm2-135m-instruct:think", 4)
    assert (report.repack, report.repack_tried, report.curve) == (False, (False, True), QUICK)


def test_every_call_has_a_seed_of_its_own_and_all_ask_the_member_that_is_measured(home, clocked):
    bench(Settings(home=home), "pair", "qwen2.5-coder-0.5b-instruct", 3, quiet)
    measured = [ask for _, ask in clocked.asks[1:]]
    assert len(measured) == len(QUESTIONS) * (1 + 3)
    assert len({ask.seed for ask in measured}) == len(measured)
    assert {ask.member for ask in measured} == {"qwen2.5-coder-0.5b-instruct"}


def test_loading_is_not_part_of_any_time(home, clocked):
    report = bench(Settings(home=home), "pair", None, 2, quiet)
    assert max(report.voted.most, report.one_by_one.most, report.first_token.most) < 60


def test_a_model_that_nobody_has_is_not_found(home, clocked):
    with pytest.raises(NotFound, match="no-such-model"):
        bench(Settings(home=home), "pair", "no-such-model", 2, quiet)


def test_a_spread_is_the_median_with_the_extremes():
    assert Spread.of([3.0, 1.0, 2.0]) == Spread(2.0, 1.0, 3.0)
    assert Spread.of([4.0, 1.0]) == Spread(2.5, 1.0, 4.0)
