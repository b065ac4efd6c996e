"""Laws of residency: what fits stays, who answers or is pinned never leaves, and a refusal says what would fit."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import stat
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avengers_edge.config import Settings
from avengers_edge.engine import loader, memory
from avengers_edge.engine import model_pool as pool_module
from avengers_edge.engine.memory import (
    DeviceMemory,
    available_bytes,
    largest_context,
    layers_that_fit,
    parse_vm_stat,
    place,
)
from avengers_edge.engine.model_pool import ModelPool
from avengers_edge.engine.protocol import LoadOptions
from avengers_edge.errors import Cancelled, DoesNotFit, EngineDied, NotFound
from avengers_edge.records import CancelToken

GB = 10**9
WAIT = 30  # seconds until a test that hangs fails


@dataclasses.dataclass(frozen=True)
class Need:
    weights: int
    kv_per_cell: int = 0
    compute: int = 0
    layers: int = 10

    def total(self, cells):
        return self.weights + self.compute + self.kv_per_cell * cells


class FakeEngine:
    def __init__(self, machine, model, path, gpu_layers):
        self.machine, self.model, self.gpu_layers = machine, model, gpu_layers
        self.alive, self.tokens, self.resumed = True, 0, None
        self.closed = threading.Event()

    def save_state(self, path):
        assert not self.closed.is_set()
        if self.tokens:
            path.write_bytes(b"state of " + self.model.encode())
        return self.tokens

    def load_state(self, path):
        self.resumed = path.read_bytes()
        return 1

    def close(self):
        if not self.closed.is_set():
            self.machine.loaded.remove(self)
        self.closed.set()


class Machine:
    """Memory of `size` bytes; it shows `seen` of what a model takes as taken, as with mapped files."""

    def __init__(self, home, size, needs, *, seen=1.0, device=None, unified=False, **settings):
        self.size, self.seen, self.device, self.unified, self.now = size, seen, device, unified, 0.0
        self.needs = {model: need if isinstance(need, Need) else Need(need) for model, need in needs.items()}
        self.files = home / "files"
        self.files.mkdir(parents=True, exist_ok=True)
        self.loaded, self.loads = [], []
        self.settings = Settings(home=home, context=1000, **({"gpu_layers": 0, "keep_alive": -1} | settings))
        self.model_pool = ModelPool(
            self.path_of,
            lambda path: self.needs[path.name],
            self.settings,
            self.open,
            available=self.available,
            device_memory=lambda: None if self.device is None else DeviceMemory(self.device, self.unified),
            clock=lambda: self.now,
        )

    def path_of(self, model):
        if model not in self.needs:
            raise NotFound(f"{model} is not installed")
        path = self.files / model
        path.write_text(model, encoding="utf-8") if not path.exists() else None
        return path

    def taken(self):
        return sum(self.needs[engine.model].total(1000) for engine in self.loaded)

    def available(self):
        return None if self.size is None else int(self.size - self.seen * self.taken())

    def open(self, model, path, gpu_layers):
        engine = FakeEngine(self, model, path, gpu_layers)
        self.loaded.append(engine)
        self.loads.append(model)
        return engine

    def use(self, *models):
        for model in models:
            self.now += 1
            with self.model_pool.lease(model):
                pass


@pytest.fixture
def machine(home):
    with contextlib.ExitStack() as stack:

        def make(size, needs, **values):
            made = Machine(home, size, needs, **values)
            stack.callback(made.model_pool.close)
            return made

        yield make


# --- eviction ---


def test_several_models_stay_while_they_fit_and_are_loaded_once(machine):
    here = machine(10, {"a": 3, "b": 3, "c": 3})
    here.use("a", "b", "c", "a", "b")
    assert here.loads == ["a", "b", "c"]
    assert here.model_pool.resident == ("c", "a", "b")


@pytest.mark.parametrize("seen", [1.0, 0.0])
def test_the_least_recently_used_model_leaves_and_no_more_than_has_to(machine, seen):
    here = machine(10, {"a": 3, "b": 3, "c": 3, "d": 4}, seen=seen)
    here.use("a", "b", "c", "a", "d")
    assert here.model_pool.resident == ("c", "a", "d")


def test_a_model_that_is_answering_never_leaves(machine):
    here = machine(10, {"a": 5, "b": 4, "c": 5})
    with here.model_pool.lease("a") as engine:
        here.use("b", "c")
        assert not engine.closed.is_set()
    assert set(here.model_pool.resident) == {"a", "c"}


def test_a_pinned_model_never_leaves(machine):
    here = machine(10, {"a": 5, "b": 4, "c": 5}, pin=("a",), keep_alive=0)
    here.use("a", "b", "c")
    here.now += 100
    here.use("c")
    assert "a" in here.model_pool.resident


def test_where_a_model_can_never_fit_nothing_leaves(machine):
    here = machine(10, {"a": 4, "b": 4, "giant": 11})
    here.use("a", "b")
    with pytest.raises(DoesNotFit):
        here.use("giant")
    assert here.model_pool.resident == ("a", "b")


def test_who_stands_in_the_way_is_named(machine):
    here = machine(10 * GB, {"a": 4 * GB, "b": 4 * GB, "c": 1 * GB, "d": 5 * GB}, pin=("a",))
    here.use("a", "c")
    with here.model_pool.lease("b"), pytest.raises(DoesNotFit) as refused:
        here.use("d")
    assert "d needs about 5.00 GB" in str(refused.value)
    assert "2.00 GB can be had; a (pinned), b (answering) cannot be unloaded" in str(refused.value)
    assert here.model_pool.resident == ("a", "c", "b")


def test_where_the_system_does_not_say_one_model_is_kept(machine):
    here = machine(None, {"a": 3, "b": 3})
    here.use("a", "b")
    assert here.model_pool.resident == ("b",)


@given(
    size=st.integers(0, 30),
    seen=st.sampled_from([0.0, 0.5, 1.0]),
    sizes=st.lists(st.integers(1, 20), min_size=1, max_size=5),
    pinned=st.sets(st.integers(0, 4)),
    steps=st.lists(st.tuples(st.integers(0, 4), st.booleans()), max_size=25),
)
def test_leased_and_pinned_models_stay_and_all_needs_together_fit(tmp_path_factory, size, seen, sizes, pinned, steps):
    # Even sizes: half of one is a whole number, so the fake's rounding cannot hide a byte.
    needs = {str(place): 2 * need for place, need in enumerate(sizes)}
    pins = tuple(name for name in needs if int(name) in pinned)
    here = Machine(tmp_path_factory.getbasetemp() / "laws", 2 * size, needs, seen=seen, pin=pins)
    with here.model_pool, contextlib.ExitStack() as answering:
        kept = {}
        for place_, hold in steps:
            model = str(place_ % len(needs))
            here.now += 1
            before = set(here.model_pool.resident)
            free = 2 * size - sum(needs[name] for name in before if name in kept or name in pins)
            try:
                if hold:
                    kept[model] = answering.enter_context(here.model_pool.lease(model))
                else:
                    here.use(model)
            except DoesNotFit:
                assert model not in before
                assert needs[model] > free, "a model was refused that could have been loaded"
                assert set(here.model_pool.resident) == before, "something left for nothing"
            after = set(here.model_pool.resident)
            assert {name for name in before if name in pins or name in kept} <= after
            assert sum(needs[name] for name in after) <= 2 * size
            assert len(here.loaded) == len(after)


# --- keep-alive ---


def test_an_idle_model_leaves_when_its_time_is_over_and_another_is_leased(machine):
    here = machine(10, {"a": 3, "b": 3}, keep_alive=60)
    here.use("a")
    here.now += 59
    here.use("b")
    assert here.model_pool.resident == ("b",)
    here.now += 60
    here.use("b")
    assert here.model_pool.resident == ("b",), "the one that was asked for is used, however old"
    assert here.loads == ["a", "b"]


def test_a_model_that_answers_is_not_idle(machine):
    here = machine(10, {"a": 3, "b": 3}, keep_alive=60)
    with here.model_pool.lease("a"):
        here.now += 1000
        here.use("b")
    assert set(here.model_pool.resident) == {"a", "b"}


def test_nobody_has_to_ask_for_an_idle_model_to_leave(machine):
    here = machine(10, {"a": 3}, keep_alive=0)
    with here.model_pool.lease("a") as engine:
        pass
    assert engine.closed.wait(WAIT)


def test_without_a_time_limit_there_is_no_thread(machine):
    here = machine(10, {"a": 3}, keep_alive=-1)
    before = set(threading.enumerate())  # those of other tests may be ending
    here.use("a")
    assert set(threading.enumerate()) <= before


# --- loading ---


def test_two_threads_that_want_the_same_model_load_it_once(machine):
    here = machine(10, {"a": 3})
    opening, go_on, engines = threading.Event(), threading.Event(), []
    open_engine = here.open

    def slowly(*values):
        opening.set()
        assert go_on.wait(WAIT)
        return open_engine(*values)

    here.model_pool._open_engine = slowly

    def lease():
        with here.model_pool.lease("a") as engine:
            engines.append(engine)

    threads = [threading.Thread(target=lease) for _ in range(4)]
    for thread in threads:
        thread.start()
    assert opening.wait(WAIT)
    go_on.set()
    for thread in threads:
        thread.join(WAIT)
    assert here.loads == ["a"]
    assert len(engines) == 4
    assert len(set(engines)) == 1


def test_loading_one_model_does_not_keep_another_waiting(machine):
    here = machine(10, {"a": 3, "b": 3})
    here.use("a")
    opening, go_on = threading.Event(), threading.Event()
    open_engine = here.open

    def slowly(*values):
        opening.set()
        assert go_on.wait(WAIT)
        return open_engine(*values)

    here.model_pool._open_engine = slowly
    loader = threading.Thread(target=here.use, args=("b",))
    loader.start()
    assert opening.wait(WAIT)
    here.use("a")
    assert here.model_pool.resident == ("a",)
    go_on.set()
    loader.join(WAIT)
    assert set(here.model_pool.resident) == {"a", "b"}


def test_a_failure_while_loading_leaves_nothing_behind(machine):
    here = machine(10, {"a": 3})

    def fail(*_):
        raise EngineDied("no")

    works, here.model_pool._open_engine = here.model_pool._open_engine, fail
    for _ in range(2):
        with pytest.raises(EngineDied, match="no"):
            here.use("a")
    with pytest.raises(NotFound):
        here.use("nobody")
    assert here.model_pool.resident == ()
    here.model_pool._open_engine = works
    here.use("a")
    assert here.model_pool.resident == ("a",)


def test_a_dead_engine_is_loaded_afresh_and_its_memory_is_free(machine):
    here = machine(10, {"a": 6, "b": 6}, seen=0.0)
    with here.model_pool.lease("a") as first:
        first.alive = False
        assert here.model_pool.resident == ()
        with here.model_pool.lease("a") as second:
            assert second is not first
        assert first.closed.is_set()
    second.alive = False
    here.use("b")
    assert here.model_pool.resident == ("b",)


def test_closing_frees_all_and_refuses_the_next(machine):
    here = machine(10, {"a": 3, "b": 3})
    here.use("a")
    with here.model_pool.lease("b"):
        here.model_pool.close()
        here.model_pool.close()
        assert not here.loaded
    with pytest.raises(EngineDied, match="closed"):
        here.use("a")


def test_a_model_whose_loading_ends_after_the_close_is_freed(machine):
    here = machine(10, {"a": 3})
    open_engine = here.open

    def close_meanwhile(*values):
        engine = open_engine(*values)
        here.model_pool.close()
        return engine

    here.model_pool._open_engine = close_meanwhile
    with pytest.raises(EngineDied, match="closed"):
        here.use("a")
    assert not here.loaded


def test_a_load_is_given_up_for_a_close_and_none_begins_after_it(machine, monkeypatch):
    begun = threading.Event()

    def opener(settings, stop):
        def open_engine(*values):
            killed = threading.Event()
            with stop.calling(killed.set):
                begun.set()
                assert killed.wait(WAIT)
            raise EngineDied("its worker process was ended while it loaded")

        return open_engine

    monkeypatch.setattr(pool_module, "llama_opener", opener)
    here = machine(10, {"a": 3, "b": 3})
    here.model_pool = ModelPool(here.path_of, lambda path: here.needs[path.name], here.settings, available=lambda: 10)
    failed = []

    def load():
        with pytest.raises(Cancelled, match="a is not loaded, because all models are being closed") as error:
            here.use("a")
        failed.append(error)

    loading = threading.Thread(target=load)
    loading.start()
    assert begun.wait(WAIT)
    here.model_pool.stop_loading()
    loading.join(WAIT)
    assert failed
    with pytest.raises(Cancelled, match="b is not loaded"):
        here.use("b")
    here.model_pool.close()
    with pytest.raises(EngineDied, match="closed"):
        here.use("b")


def test_what_is_loaded_answers_on_while_no_other_model_is_loaded_any_more(machine):
    here = machine(10, {"a": 3, "b": 3})
    here.use("a")
    here.model_pool.stop_loading()
    here.use("a")
    with pytest.raises(Cancelled):
        here.use("b")
    assert here.loads == ["a"]


def test_the_first_measurement_of_a_model_is_given_up_too(home, monkeypatch, tmp_path):
    stop, engine = CancelToken(), FakeEngine(None, "a", None, 0)
    engine.close = engine.closed.set

    def measure(_budget):
        stop.set()  # by another thread
        assert engine.closed.wait(WAIT)
        raise EngineDied("its worker process was unloaded")

    engine.measure = measure
    monkeypatch.setattr("avengers_edge.engine.worker_engine.WorkerEngine", lambda *_, **__: engine)
    with pytest.raises(EngineDied):
        loader.llama_opener(Settings(home=home, gpu_layers=0), stop)("a", tmp_path / "a.gguf", 0)


def test_an_engine_that_cannot_be_closed_does_not_keep_others_out(machine, caplog):
    here = machine(10, {"a": 6, "b": 3})
    with here.model_pool.lease("a") as engine:
        close = engine.close

    def close_badly():
        close()
        raise OSError("stuck")

    engine.close = close_badly
    here.needs["b"] = Need(6)
    here.use("b")
    assert here.model_pool.resident == ("b",)
    assert "a could not be closed" in caplog.text


# --- conversations ---


def test_a_conversation_outlives_its_models_unloading(machine, home):
    here = machine(10, {"a": 6, "b": 6})
    with here.model_pool.lease("a") as first:
        first.tokens = 5
    here.use("b")
    (kept,) = (home / "kv").iterdir()
    if os.name != "nt":
        assert stat.S_IMODE(kept.stat().st_mode) == 0o600
        assert stat.S_IMODE(kept.parent.stat().st_mode) == 0o700
    assert kept.name.startswith(f"{os.getpid()}-")
    with here.model_pool.lease("a") as second:
        assert second.resumed == b"state of a"
    assert not any((home / "kv").iterdir())


def test_where_conversations_are_not_parked_none_is_written(machine, home):
    here = machine(10, {"a": 6, "b": 6}, park=False)
    with here.model_pool.lease("a") as first:
        first.tokens = 5
        first.save_state = fail_with(AssertionError("it was to be kept"))
    here.use("b")
    with here.model_pool.lease("a") as second:
        assert second.resumed is None
    assert here.loads == ["a", "b", "a"]
    assert not (home / "kv").exists()


def test_a_conversation_with_another_file_is_not_resumed(machine, home):
    here = machine(10, {"a": 6, "b": 6})
    with here.model_pool.lease("a") as first:
        first.tokens = 5
    here.use("b")
    here.path_of("a").write_text("another model", encoding="utf-8")
    with here.model_pool.lease("a") as second:
        assert second.resumed is None
    assert not any((home / "kv").iterdir())


def test_nothing_is_left_when_models_are_closed(machine, home):
    here = machine(10, {"a": 6, "b": 6})
    with here.model_pool.lease("a") as first:
        first.tokens = 5
    here.use("b")
    here.model_pool.close()
    assert not any((home / "kv").iterdir())


def test_a_model_without_a_conversation_leaves_no_file(machine, home):
    here = machine(10, {"a": 6, "b": 6})
    here.use("a", "b", "a")
    assert not any((home / "kv").iterdir())
    assert here.loaded[0].resumed is None


def fail_with(error):
    def fail(*_):
        raise error

    return fail


@pytest.mark.parametrize("error", [EngineDied("gone"), OSError("disk"), ValueError("odd")])
def test_a_conversation_that_cannot_be_saved_or_read_stops_nothing(machine, home, caplog, error):
    here = machine(10, {"a": 6, "b": 6})
    with here.model_pool.lease("a") as engine:
        engine.save_state = fail_with(error)
    with caplog.at_level(logging.WARNING, "avengers_edge.model_pool"):
        here.use("b")
    assert "the conversation with a is not kept" in caplog.text
    with here.model_pool.lease("b") as engine:
        engine.tokens = 3
    open_engine = here.open

    def forgetful(*values):
        engine = open_engine(*values)
        engine.load_state = fail_with(error)
        return engine

    here.model_pool._open_engine = forgetful
    here.use("a", "b")
    assert "the conversation with b is not resumed" in caplog.text
    assert here.model_pool.resident == ("b",)
    assert not any((home / "kv").iterdir())


def test_a_full_disk_keeps_no_conversation(machine, home, monkeypatch):
    here = machine(10, {"a": 6, "b": 6})
    with here.model_pool.lease("a") as first:
        first.tokens = 5
    usage = pool_module.shutil.disk_usage(home)
    monkeypatch.setattr(pool_module.shutil, "disk_usage", lambda path: usage._replace(free=1000))
    here.use("b")
    assert not any((home / "kv").iterdir())


def test_what_a_dead_process_left_is_swept_and_what_a_living_one_has_stays(machine, home):
    folder = home / "kv"
    folder.mkdir(parents=True)
    ours, theirs = folder / f"{os.getpid()}-00000000-a.state", folder / "999999999-00000000-a.state"
    aged, other = folder / f"{os.getpid()}-11111111-a.state", folder / "notes.txt"
    for path in (ours, theirs, aged, other):
        path.write_text("x", encoding="utf-8")
    os.utime(aged, (0, 0))
    machine(10, {})
    assert sorted(folder.iterdir()) == sorted([ours, other])


@pytest.mark.parametrize("model", ["../../../etc/x", "a/b", "", "ü" * 300])
def test_a_models_name_never_leads_out_of_the_folder(machine, home, model):
    here = machine(10, {})
    (home / "file").write_text("x", encoding="utf-8")
    engine = FakeEngine(here, "m", home, 0)
    engine.tokens = 5
    with pool_module.Parking(home / "kv") as kept:
        kept.park(model, home / "file", engine, 0)
        (state,) = (home / "kv").iterdir()
        assert state.read_bytes() == b"state of m"


# --- devices ---


def test_all_layers_go_to_a_device_that_takes_them(machine):
    here = machine(100, {"a": Need(weights=10 * GB, compute=1)}, device=20 * GB, gpu_layers=-1)
    with here.model_pool.lease("a") as engine:
        assert engine.gpu_layers == -1


def test_as_many_layers_go_to_a_device_as_fit(machine):
    here = machine(20 * GB, {"a": Need(weights=10 * GB)}, device=5 * GB + memory._DEVICE_RESERVE, gpu_layers=-1)
    with here.model_pool.lease("a") as engine:
        assert engine.gpu_layers == 5


def test_an_idle_model_makes_room_on_the_device(machine):
    here = machine(100 * GB, {"a": Need(10 * GB), "b": Need(10 * GB), "c": Need(1)}, device=0, gpu_layers=-1)
    here.use("c")
    here.device = 11 * GB
    here.use("a")
    here.device = 1 * GB
    open_engine, close = here.open, here.loaded[1].close

    def close_and_free():
        close()
        here.device = 11 * GB

    here.loaded[1].close = close_and_free
    here.model_pool._open_engine = open_engine
    with here.model_pool.lease("b") as engine:
        assert engine.gpu_layers == -1
    assert here.model_pool.resident == ("c", "b"), "the one without layers there stays"


def test_without_a_device_the_setting_goes_to_the_engine_as_it_is(machine):
    here = machine(100, {"a": 10}, gpu_layers=7)
    with here.model_pool.lease("a") as engine:
        assert engine.gpu_layers == 7


def test_in_unified_memory_offloaded_layers_count_in_main_memory_too():
    need = Need(weights=10 * GB)
    assert place(need, 0, -1, DeviceMemory(20 * GB)).host == 0
    assert place(need, 0, -1, DeviceMemory(20 * GB, unified=True)).host == 10 * GB


def test_a_model_does_not_fit_beside_itself_in_unified_memory(machine):
    here = machine(5 * GB, {"a": Need(weights=10 * GB)}, device=20 * GB, gpu_layers=-1)
    here.use("a")
    with pytest.raises(DoesNotFit):
        machine(5 * GB, {"a": Need(weights=10 * GB)}, device=20 * GB, unified=True, gpu_layers=-1).use("a")


@pytest.mark.parametrize(
    ("layers", "backends", "wide"),
    [(-1, ("cuda",), True), (3, ("cuda",), True), (0, ("cuda",), False), (-1, (), False)],
)
def test_more_samples_run_beside_each_other_where_layers_go_to_a_device(home, monkeypatch, layers, backends, wide):
    monkeypatch.setattr(loader.devices, "gpu_backends", lambda: backends)
    options = loader.load_options(Settings(home=home, threads=3, context=999), layers)
    assert (options.cells, options.threads, options.gpu_layers) == (999, 3, layers)
    assert options.sequences == (128 if wide else LoadOptions().sequences)


def test_slots_are_as_many_sequences_with_a_part_of_the_context_each(home):
    options = loader.load_options(Settings(home=home, slots=4, context=4096), 0)
    assert (options.split, options.sequences, options.cells) == (True, 4, 1024)


@given(
    weights=st.integers(1, 10**11),
    compute=st.integers(0, 10**9),
    kv=st.integers(0, 10**6),
    layers=st.integers(1, 200),
    wanted=st.integers(-1, 300),
    free=st.integers(0, 10**12),
)
def test_what_is_placed_on_a_device_fits_there(weights, compute, kv, layers, wanted, free):
    need = Need(weights, kv, compute, layers)
    placed = place(need, 1000, wanted, DeviceMemory(free))
    assert placed.device <= free
    assert 0 <= placed.host <= need.total(1000)
    assert placed.host + placed.device >= need.total(1000)
    assert 0 <= layers_that_fit(need, 1000, free) <= layers
    assert -1 <= placed.gpu_layers <= (layers if wanted < 0 else min(wanted, layers))


# --- refusals ---


@given(st.integers(0, 10**7), st.integers(0, 10**5), st.integers(0, 10**9))
def test_the_largest_context_fits_and_the_next_step_does_not(weights, kv, free):
    need = Need(weights, kv, 5)
    cells = largest_context(need, free)
    assert cells % memory.LEAST_CELLS == 0
    assert cells == 0 or need.total(cells) <= free
    assert kv == 0 or need.total(cells + memory.LEAST_CELLS) > free


@pytest.mark.parametrize(
    ("need", "size", "advice"),
    [
        (Need(1 * GB, kv_per_cell=2_000_000), 2 * GB, "set `context = 256` or less"),
        (Need(4 * GB, kv_per_cell=1000), 2 * GB, "a file of at most 2.00 GB (50% of this one"),
        (Need(1 * GB, compute=3 * GB), 2 * GB, "too few for any file of this kind"),
    ],
)
def test_a_refusal_has_both_numbers_and_what_would_fit(machine, need, size, advice):
    with pytest.raises(DoesNotFit) as refused:
        machine(size, {"large": need}).use("large")
    text = str(refused.value)
    assert f"needs about {need.total(1000) / 1e9:.2f} GB of memory for a context of 1000 tokens" in text
    assert "2.00 GB can be had" in text
    assert advice in text
    assert "\n" not in text


# --- what the system says ---


def test_free_memory_is_read_from_the_system(monkeypatch, tmp_path):
    said = tmp_path / "meminfo"
    said.write_text("MemTotal: 9 kB\nMemAvailable:   7 kB\n", encoding="ascii")
    monkeypatch.setattr(memory, "_MEMINFO", said)
    monkeypatch.setattr(memory, "_OWN_CGROUP", tmp_path / "none")
    assert available_bytes() == 7 * 1024


@pytest.mark.parametrize(("limit", "free"), [("5000", 5000 - 3000 + 700), ("1000", 0), ("max", 7168)])
def test_a_containers_limit_counts_where_it_is_lower(monkeypatch, tmp_path, limit, free):
    files = {
        "meminfo": "MemAvailable:   7 kB\n",
        "own": "4:memory:/old\n0::/box\n",
        "box/memory.max": limit + "\n",
        "box/memory.current": "3000\n",
        "box/memory.stat": "anon 1\nactive_file 300\ninactive_file 400\n",
    }
    (tmp_path / "box").mkdir()
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="ascii")
    monkeypatch.setattr(memory, "_MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(memory, "_OWN_CGROUP", tmp_path / "own")
    monkeypatch.setattr(memory, "_CGROUPS", tmp_path)
    assert available_bytes() == free


def test_macos_says_it_in_pages():
    said = (
        "Mach Virtual Memory Statistics: (page size of 16384 bytes)\n"
        "Pages free:                               10.\nPages active:                           1000.\n"
        "Pages inactive:                            5.\nPages speculative:                         1.\n"
    )
    assert parse_vm_stat(said) == 16 * 16384
    assert parse_vm_stat("no idea") is None
