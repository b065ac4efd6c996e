"""A real model in a process of its own that is killed, starved and stopped in the middle of an answer."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from avengers_edge.config import Settings
from avengers_edge.engine.protocol import LoadOptions
from avengers_edge.engine.worker_engine import WorkerEngine
from avengers_edge.errors import BadRequest, DoesNotFit, EngineDied
from avengers_edge.library.catalog import Catalog
from avengers_edge.library.store import Store
from avengers_edge.records import Message, Request, SamplingParams

pytestmark = pytest.mark.native

MODEL = "smollm2-135m-instruct"
POSIX = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
OPTIONS = LoadOptions(cells=4096)
LONG = 60  # seconds a test waits for what must come


@pytest.fixture(scope="module")
def path(model_home):
    return Store(model_home).find(Catalog.of(Settings(home=model_home)).load_model(MODEL))


@pytest.fixture(scope="module")
def engine(path):
    with WorkerEngine(path, OPTIONS) as engine:
        yield engine


def question(text="Write a long story about three cats.", *, max_tokens=24, **fields):
    return Request((Message("user", text),), SamplingParams(max_tokens=max_tokens), **fields)


def comes(what):
    """Wait for what must come."""
    return any(what() or threading.Event().wait(0.05) for _ in range(LONG * 20))


def on_piece(number, act):
    """Do something in the middle of an answer: when that many pieces of text have come."""
    heard = []

    def on_token(index, piece):
        heard.append((index, piece))
        if len(heard) == number:
            act()

    return on_token


def test_a_worker_gives_the_text_that_the_engine_in_this_process_gives(path, engine):
    from avengers_edge.engine.llama import LlamaEngine

    request = question(n=4, seed=7)
    with LlamaEngine(path, OPTIONS) as here, WorkerEngine(path, OPTIONS) as there:
        assert here.facts == there.facts
        assert here.count_tokens(request) == there.count_tokens(request)
        told, heard = [], []
        first = here.generate(request, on_token=lambda *each: told.append(each), on_finish=lambda _done: 1)
        second = there.generate(request, on_token=lambda *each: heard.append(each), on_finish=lambda _done: 1)
    assert first.completions == second.completions
    assert told == heard
    assert len(second.completions) == 4


def test_a_decision_cancels_the_other_samples(engine):
    # The first sentences of eight stories are not all of one length.
    sampling = SamplingParams(max_tokens=400, temperature=1.0, stop=(".",))
    request = Request((Message("user", "Write a long story about three cats."),), sampling, n=8)
    reasons = [done.finish_reason for done in engine.generate(request, on_finish=lambda _done: 0).completions]
    assert {"stop", "cancelled"} <= set(reasons)


def test_log_probabilities_pass(engine):
    sampling = SamplingParams(max_tokens=8, logprobs=2)
    (done,) = engine.generate(Request((Message("user", "Hi"),), sampling)).completions
    assert done.logprobs
    assert all(len(each.top) == 2 and each.logprob <= 0 for each in done.logprobs)


def test_threads_share_a_worker(engine):
    got = {}

    def ask(seed):
        got[seed] = engine.generate(question(n=2, seed=seed, max_tokens=8))

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONG)
    assert [len(got[seed].completions) for seed in range(6)] == [2] * 6


def test_refused_requests_leave_a_running_one_alone(engine):
    running = engine.submit(question(max_tokens=32))
    with pytest.raises(DoesNotFit):
        engine.generate(question("word " * OPTIONS.cells))
    with pytest.raises(BadRequest):
        engine.generate(question("half a pair: \ud800"))
    assert running.result().completions[0].finish_reason in ("stop", "length")
    assert engine.alive


def test_a_prompt_can_be_called_off_while_it_is_evaluated(engine):
    handle = engine.submit(question("word " * 3500))
    heard = engine._received
    assert comes(lambda: engine._received > heard or handle.future.done())
    handle.cancel()
    assert all(done.finish_reason == "cancelled" for done in handle.result().completions)
    assert engine.generate(question(max_tokens=4)).completions


def test_a_measured_curve_and_a_saved_state_pass(engine, tmp_path):
    curve = engine.measure(0.5)
    assert curve.seconds(1) > 0
    engine.generate(question(max_tokens=4, keep=True))
    kept = engine.save_state(tmp_path / "state")
    assert kept > 4
    assert engine.load_state(tmp_path / "state") == kept


def test_an_unloadable_file_is_one_error(tmp_path):
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF" + bytes(64))
    with pytest.raises(EngineDied, match=r"broken\.gguf"):
        WorkerEngine(broken, OPTIONS)


def starve(pid):
    import resource

    resource.prlimit(pid, resource.RLIMIT_AS, (2**20, 2**20))


DEATHS = {
    "SIGKILL": (lambda engine: os.kill(engine.pid, signal.SIGKILL), "SIGKILL"),
    "SIGSEGV": (lambda engine: os.kill(engine.pid, signal.SIGSEGV), "SIGSEGV"),
    "SIGABRT": (lambda engine: os.kill(engine.pid, signal.SIGABRT), "SIGABRT"),
}


def assert_dies_and_is_started_anew(path, act, how):
    with WorkerEngine(path, OPTIONS) as engine:
        other = engine.submit(question(max_tokens=2000))
        with pytest.raises(EngineDied, match=how) as caught:
            engine.generate(question(n=4, max_tokens=500), on_token=on_piece(10, lambda: act(engine)))
        with pytest.raises(EngineDied):
            other.future.result(LONG)
        assert not engine.alive
        assert caught.value.exit_code == 7
        assert path.name in str(caught.value)
    with WorkerEngine(path, OPTIONS) as fresh:
        assert fresh.generate(question(max_tokens=4)).completions


@POSIX
@pytest.mark.parametrize("how", DEATHS)
def test_whatever_ends_a_worker_while_it_answers_the_next_question_is_answered(path, how):
    assert_dies_and_is_started_anew(path, *DEATHS[how])


@POSIX
def test_a_worker_that_hangs_while_it_answers_is_killed_and_the_next_question_is_answered(path):
    def stop(engine):
        os.kill(engine.pid, signal.SIGSTOP)
        engine._watchdog.timeout = 2  # not before: a slow machine is not to be taken for a hang

    assert_dies_and_is_started_anew(path, stop, "did not answer for 2 s")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="prlimit is Linux's")
def test_a_worker_that_gets_no_memory_while_it_answers_dies_alone(path):
    extra = []

    def act(engine):
        starve(engine.pid)
        extra.append(engine.submit(question("word " * 2**23)))  # what it frees is not enough for that

    assert_dies_and_is_started_anew(path, act, "MemoryError|bad_alloc|memory|SIGABRT|SIGSEGV")
    with pytest.raises(EngineDied):
        extra[0].result()


OWNER = """
import sys
from pathlib import Path
from avengers_edge.engine.protocol import LoadOptions
from avengers_edge.engine.worker_engine import WorkerEngine
from avengers_edge.records import Message, Request, SamplingParams
engine = WorkerEngine(Path(sys.argv[1]), LoadOptions(cells=4096))
request = Request((Message("user", "Write a long story."),), SamplingParams(max_tokens=2000), n=2)
handle = engine.submit(request, on_token=lambda index, piece: print(engine.pid, flush=True))
handle.result()
"""


def gone(pid):
    """Whether a process ended; one that nobody collects is as good as gone."""
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return state.strip()[:1] in ("", "Z")


@POSIX
def test_a_worker_goes_with_a_parent_that_is_killed_while_it_answers(path):
    with subprocess.Popen([sys.executable, "-c", OWNER, str(path)], stdout=subprocess.PIPE) as owner:
        pid = int(owner.stdout.readline())
        owner.kill()
        owner.wait(LONG)
        assert comes(lambda: gone(pid))


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_the_models_memory_is_the_workers(path):
    def mib(pid):
        fields = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
        return int(next(line.split()[1] for line in fields.splitlines() if line.startswith("VmRSS"))) / 1024

    before = mib("self")
    with WorkerEngine(path, OPTIONS) as engine:
        engine.generate(question(max_tokens=4))
        assert mib(engine.pid) > 60
        assert mib("self") < before + 20
