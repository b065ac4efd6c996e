"""Laws of `LlamaEngine`'s threads, on a fake model and cache: any thread may ask, one serves, nobody waits forever."""

from __future__ import annotations

import concurrent.futures
import contextlib
import threading
from pathlib import Path

import pytest
from fake_llama import ALPHABET, FLAT, FakeContext, FakeLlama, FakeModel

import avengers_edge.engine.llama as room
from avengers_edge.engine.llama import LlamaEngine
from avengers_edge.engine.protocol import EngineFacts, LoadOptions, generate_many, wait_for
from avengers_edge.errors import BadRequest, ContextFull, EngineDied, VerificationFailed
from avengers_edge.records import CancelToken, Closing, Message, Request, SamplingParams

LONG = 60.0  # seconds that a test waits for what must come
PATH = Path("fake.gguf")
ENDLESS = 10**6  # tokens; what wants as many ends by being called off


class Model(FakeModel, Closing):
    """The fake model as the engine loads it; `log` is the order of what was opened and closed."""

    vocabulary = 1 + len(ALPHABET)
    vocab = None
    chat_template = "{{ messages[-1].content }}"
    bos = eos = ""
    log: list[str]

    def __init__(self, path, options, on_progress=None):
        super().__init__()
        self.n_ctx_train = 2 * ENDLESS
        self.log.append("model opened")
        if on_progress:
            on_progress()

    def close(self):
        self.log.append("model closed")


class Context(FakeContext, Closing):
    """The fake cache; `before_step` runs on the owner thread before each step and may raise."""

    batch_size = 128
    log: list[str]

    def __init__(self, model, options):
        super().__init__(cells=4 * ENDLESS, sequences=options.sequences)
        self.log.append("context opened")
        self.threads = set()
        self.before_step = lambda: None
        self.facts = EngineFacts("fake.gguf", model.n_ctx_train, self.cells, 1, 0, (), False, 1, "")

    def decode(self, tokens, positions, sequences, wanted):
        self.threads.add(threading.current_thread())
        self.before_step()
        return super().decode(tokens, positions, sequences, wanted)

    def close(self):
        self.log.append("context closed")


@pytest.fixture(autouse=True)
def log(monkeypatch):
    told = []
    for kind in (Model, Context):
        monkeypatch.setattr(kind, "log", told, raising=False)
    monkeypatch.setattr(room, "LlamaModel", Model)
    monkeypatch.setattr(room, "LlamaContext", Context)
    return told


def in_time(act):
    """Run something that must not wait forever."""
    failures = []

    def run():
        try:
            act()
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(LONG)
    assert not thread.is_alive(), "it waits forever"
    if failures:
        raise failures[0]


def load(**options):
    return LlamaEngine(PATH, LoadOptions(**{"sequences": 32, **options}), curve=FLAT)


@pytest.fixture
def engine():
    engine = load()
    yield engine
    in_time(engine.close)


def owners():
    return [thread for thread in threading.enumerate() if thread.name.startswith("llama ")]


def ask(text="abcdefgh", n=3, max_tokens=10, temperature=1.0, seed=0, **sampling):
    options = SamplingParams(temperature=temperature, max_tokens=max_tokens, **sampling)
    return Request((Message("user", text),), options, n, seed)


def ask_for_ever(text="endless", n=2):
    """Greedy but for being sampled: as long as the alphabet goes on, no sample ends."""
    return ask(text, n=n, max_tokens=ENDLESS, temperature=0.01)


def result(handle):
    return handle.future.result(LONG)


def texts(generation):
    return [completion.text for completion in generation.completions]


class Endless:
    """A request that is under way and would never end."""

    def __init__(self, engine):
        self.begun = threading.Event()
        self.handle = engine.submit(ask_for_ever(), on_token=lambda index, piece: self.begun.set())
        assert self.begun.wait(LONG)


@pytest.fixture
def under_way(engine):
    endless = Endless(engine)
    yield endless
    endless.handle.cancel()


# --- asking


def test_requests_from_many_threads_get_each_its_own_answer_and_one_thread_makes_them(engine):
    asked = {
        place: ask(f"question {'abcdefgh'[place % 8]} {place % 3 * 'x'}", n=1 + place % 4, seed=place)
        for place in range(24)
    }
    answers, start = {}, threading.Barrier(8)

    def client(places):
        start.wait(LONG)
        for place in places:
            answers[place] = result(engine.submit(asked[place]))

    threads = [threading.Thread(target=client, args=(range(first, 24, 8),), daemon=True) for first in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONG)
    for place, request in asked.items():
        assert texts(answers[place]) == texts(FakeLlama().generate(request))
    assert engine._context.threads == {engine.server}


def test_many_requests_at_once_come_back_each_at_its_place(engine):
    requests = [ask("abc"[: 1 + place % 3], n=2, seed=place) for place in range(20)]
    answers = dict(generate_many(engine, requests, in_flight=5))
    assert sorted(answers) == list(range(20))
    assert all(texts(answers[place]) == texts(FakeLlama().generate(request)) for place, request in enumerate(requests))


def test_a_submitted_request_is_answered_though_nobody_waits_for_it(engine):
    heard = threading.Event()
    engine.submit(ask(n=1), on_finish=lambda done: heard.set() or 0)
    assert heard.wait(LONG)


def test_callbacks_run_on_the_owner_thread(engine):
    heard = set()

    def on_finish(done):
        heard.add(threading.current_thread())
        return 3 - done.index

    engine.generate(ask(), on_finish=on_finish, on_token=lambda *_: heard.add(threading.current_thread()))
    assert heard == {engine.server}


def test_tokens_are_counted_while_others_are_answered(engine, under_way):
    assert engine.count_tokens(ask("twelve tokens")) == 13


def test_a_cancelled_ticket_gives_what_there_is(engine, under_way):
    under_way.handle.cancel()
    reasons = {completion.finish_reason for completion in result(under_way.handle).completions}
    assert reasons == {"cancelled"}
    assert texts(engine.generate(ask())) == texts(FakeLlama().generate(ask()))


def test_a_request_called_off_in_its_prompt_ends_within_a_step(engine):
    ready, context = threading.Event(), engine._context

    def before_step():
        assert ready.wait(LONG)
        handle.cancel()

    context.before_step = before_step
    handle = engine.submit(ask("x" * 1000))
    ready.set()
    assert result(handle).completions == ()
    assert len(context.steps) == 1
    assert engine.counters()["prefilled"] == len(context.steps[0]) < 1000
    assert context.held == {}


@pytest.mark.parametrize("below", [lambda event: event, CancelToken])
@pytest.mark.parametrize("kind", [threading.Event, CancelToken])
def test_an_event_that_is_set_calls_the_request_off(engine, kind, below):
    cancel = kind()
    generation = engine.generate(ask_for_ever(), on_token=lambda index, piece: cancel.set(), cancel=below(cancel))
    assert {completion.finish_reason for completion in generation.completions} == {"cancelled"}


# --- what fails alone


def raise_it(*_, **__):
    raise RuntimeError("not today")


def ask_greedily(**fields):
    return ask("greedy", temperature=0, **fields)


@pytest.mark.parametrize("make", [ask, ask_greedily])
@pytest.mark.parametrize("listener", ["on_finish", "on_token"])
def test_a_listener_that_fails_fails_its_own_request_only(engine, under_way, make, listener):
    bad = engine.submit(make(), **{listener: raise_it})
    good = engine.submit(ask("good"))
    with pytest.raises(RuntimeError, match="not today"):
        result(bad)
    assert texts(result(good)) == texts(FakeLlama().generate(ask("good")))
    assert engine.alive
    assert not under_way.handle.future.done()


@pytest.mark.parametrize("failing", [1, 2])
@pytest.mark.parametrize("listener", ["on_finish", "on_token"])
def test_a_listener_that_fails_at_a_later_greedy_sample_fails_its_own_request_only(engine, failing, listener):
    """Greedy samples are computed once and told of one after the other."""

    def fail_at(told, piece=None):
        index = told if listener == "on_token" else told.index
        if index == failing:
            raise RuntimeError("not today")
        return 3 - index

    bad = engine.submit(ask("greedy", temperature=0), **{listener: fail_at})
    with pytest.raises(RuntimeError, match="not today"):
        result(bad)
    assert texts(engine.generate(ask("good"))) == texts(FakeLlama().generate(ask("good")))


REFUSED = {
    "a grammar that is none": ({"grammar": "root ::= (("}, BadRequest, "grammar"),
    "a grammar that contradicts itself": ({"grammar": 'root ::= "a" other'}, BadRequest, "other"),
    "a schema that is none": ({"schema": "[1, 2"}, BadRequest, "schema"),
    "a token that there is not": ({"logit_bias": ((28, 1.0),)}, BadRequest, "token 28"),
}


@pytest.mark.parametrize(("fields", "error", "said"), REFUSED.values(), ids=REFUSED.keys())
def test_a_request_that_is_refused_leaves_the_others_alone(engine, under_way, fields, error, said):
    bad, good = engine.submit(ask("bad", **fields)), engine.submit(ask("good"))
    with pytest.raises(error, match=said):
        result(bad)
    assert texts(result(good)) == texts(FakeLlama().generate(ask("good")))
    assert engine.alive
    assert not under_way.handle.future.done()


def test_a_prompt_of_no_tokens_is_refused_and_the_engine_lives(engine):
    with pytest.raises(BadRequest, match="nothing in this prompt"):
        engine.generate(ask(""))
    assert engine.alive


def test_a_prompt_of_far_too_many_letters_is_refused_before_it_is_rendered(engine, monkeypatch):
    monkeypatch.setattr(engine._template, "render", raise_it)
    monkeypatch.setattr(engine._context, "longest", 10)
    with pytest.raises(ContextFull, match="641 characters does not fit into 10 tokens"):
        engine.generate(ask("x" * 641))
    assert engine.alive


def test_a_template_that_fails_fails_its_request_only(engine, monkeypatch):
    monkeypatch.setattr(engine._template, "render", raise_it)
    with pytest.raises(RuntimeError, match="not today"):
        result(engine.submit(ask()))
    with pytest.raises(RuntimeError, match="not today"):
        engine.count_tokens(ask())
    assert engine.alive


def test_the_template_is_compiled_and_rendered_within_its_limits_and_nothing_else_is(monkeypatch):
    within = []

    @contextlib.contextmanager
    def limits():
        within.append(threading.current_thread())
        yield
        within.append("end")

    def compiled(self, *_, **__):
        within.append("compiled")

    def rendered(self, messages, *_, **__):
        within.append("rendered")
        return messages[-1].content

    monkeypatch.setattr(room.ChatTemplate, "__init__", compiled)
    monkeypatch.setattr(room.ChatTemplate, "render", rendered)
    engine = LlamaEngine(PATH, LoadOptions(), curve=FLAT, template_limits=limits)
    try:
        engine.generate(ask())
        assert within == [engine.server, "compiled", "end", engine.server, "rendered", "end"]
    finally:
        in_time(engine.close)


class Follows:
    """A grammar that allows everything, until the third token of a sample that it cannot follow any more."""

    open = 0

    def __init__(self, *_):
        self.accepted = 0
        Follows.open += 1

    def allows(self, token):
        return True

    def accept(self, token):
        self.accepted += 1
        if self.accepted == 3:
            raise BadRequest("the grammar is too ambiguous to follow")

    def close(self):
        Follows.open -= 1


def test_a_grammar_that_fails_midway_fails_its_request_only_and_is_freed(engine, under_way, monkeypatch):
    monkeypatch.setattr(Follows, "open", 0)
    monkeypatch.setattr(room, "Grammar", Follows)
    monkeypatch.setattr(room, "unwritable_tokens", lambda vocab: None)
    bad, good = engine.submit(ask("bad", grammar='root ::= "a"*')), engine.submit(ask("good"))
    with pytest.raises(BadRequest, match="too ambiguous"):
        result(bad)
    assert texts(result(good)) == texts(FakeLlama().generate(ask("good")))
    engine.count_tokens(ask())  # by the next command the failed request's other samples are gone too
    assert Follows.open == 0
    assert not under_way.handle.future.done()


# --- callbacks that ask


ASKING = {
    "generate": lambda engine: engine.generate(ask("inner")),
    "result": lambda engine: engine.submit(ask("inner")).result(),
    "count_tokens": lambda engine: engine.count_tokens(ask("inner")),
    "measure": lambda engine: engine.measure(0),
    "save_state": lambda engine: engine.save_state(Path("state")),
    "counters": lambda engine: engine.counters(),
}


@pytest.mark.parametrize("wait", ASKING.values(), ids=ASKING.keys())
def test_a_callback_that_would_wait_for_its_own_engine_is_refused(engine, wait):
    refusals = []

    def on_finish(done):
        with pytest.raises(BadRequest, match="another thread") as refusal:
            wait(engine)
        refusals.append(refusal)
        return 3 - 1 - done.index

    generation = result(engine.submit(ask(), on_finish=on_finish))
    assert len(refusals) == len(generation.completions) == 3


def test_a_callback_may_hand_in_a_request_that_somebody_else_waits_for(engine):
    inner = []

    def on_finish(done):
        inner.append(engine.submit(ask("inner")))
        return 0

    result(engine.submit(ask("outer"), on_finish=on_finish))
    assert texts(result(inner[0])) == texts(FakeLlama().generate(ask("inner")))


# --- measuring


def test_an_engine_that_answers_is_not_measured(engine, under_way):
    with pytest.raises(BadRequest, match="idle"):
        engine.measure(0)
    assert not under_way.handle.future.done()


def test_a_measured_engine_answers_as_before(monkeypatch):
    monkeypatch.setattr(Context, "batch_size", 512)
    engine = load()
    try:
        before = texts(engine.generate(ask("before")))
        assert engine.measure(0).points
        assert texts(engine.generate(ask("before"))) == before
    finally:
        in_time(engine.close)


# --- ends


def test_closing_while_it_answers_fails_all_that_wait_and_ends_the_thread(engine):
    running = Endless(engine)
    queued = [engine.submit(ask_for_ever(f"queued {place}", n=40)) for place in range(10)]
    in_time(engine.close)
    for handle in (running.handle, *queued):
        with pytest.raises(EngineDied, match="unloaded"):
            result(handle)
    assert not engine.alive
    assert owners() == []


def test_a_closed_engine_refuses_everything_and_closing_it_again_does_nothing(engine):
    in_time(engine.close)
    in_time(engine.close)
    for use in (
        lambda: engine.submit(ask()),
        lambda: engine.generate(ask()),
        lambda: engine.count_tokens(ask()),
        lambda: engine.measure(0),
        lambda: engine.counters(),
    ):
        with pytest.raises(EngineDied, match="unloaded"):
            in_time(use)


def test_whoever_asks_while_it_closes_gets_an_answer_or_an_error():
    """However the two meet: ten clients ask as fast as they can until they are told."""
    engine, told = load(), []

    def client():
        while True:
            try:
                result(engine.submit(ask("a", n=1, max_tokens=1)))
            except EngineDied:
                told.append(True)
                return

    clients = [threading.Thread(target=client, daemon=True) for _ in range(10)]
    for thread in clients:
        thread.start()
    engine.generate(ask())
    in_time(engine.close)
    for thread in clients:
        thread.join(LONG)
    assert len(told) == 10


def test_a_callback_may_close_its_engine(engine):
    handle = engine.submit(ask_for_ever(), on_token=lambda index, piece: engine.close())
    with pytest.raises(EngineDied, match="unloaded"):
        result(handle)
    engine.server.join(LONG)
    assert not engine.alive


def test_the_context_is_freed_before_the_model(log):
    in_time(load().close)
    assert log == ["model opened", "context opened", "context closed", "model closed"]


@pytest.mark.parametrize(
    ("failure", "said"),
    [
        (EngineDied("llama.cpp failed to evaluate 3 tokens"), "failed to evaluate 3 tokens"),
        (MemoryError("no room"), "MemoryError: no room"),
        (OSError(5, "input/output error"), "input/output error"),
    ],
)
def test_an_engine_that_fails_in_a_step_fails_everything_with_the_reason(engine, log, failure, said):
    running = Endless(engine)
    queued = [engine.submit(ask_for_ever(f"queued {place}", n=40)) for place in range(4)]

    def fail():
        raise failure

    engine._context.before_step = fail
    for handle in (running.handle, *queued):
        with pytest.raises(EngineDied, match=said):
            result(handle)
    assert not engine.alive
    for use in (lambda: engine.submit(ask()), lambda: engine.count_tokens(ask())):
        with pytest.raises(EngineDied, match=said):
            use()
    in_time(engine.close)
    assert log[-2:] == ["context closed", "model closed"]
    assert owners() == []


def test_a_model_that_cannot_be_loaded_raises_where_it_is_asked_for(monkeypatch, log):
    def refuse(*_):
        raise EngineDied("llama.cpp cannot load fake.gguf")

    monkeypatch.setattr(room, "LlamaModel", refuse)
    with pytest.raises(EngineDied, match="cannot load"):
        load()
    assert owners() == []


def test_a_context_that_cannot_be_made_raises_and_frees_the_model(monkeypatch, log):
    def refuse(*_):
        raise EngineDied("llama.cpp cannot make a context")

    monkeypatch.setattr(room, "LlamaContext", refuse)
    with pytest.raises(EngineDied, match="cannot make a context"):
        load()
    assert log == ["model opened", "model closed"]
    assert owners() == []


def test_a_model_without_a_chat_template_is_refused_and_freed(monkeypatch, log):
    monkeypatch.setattr(Model, "chat_template", None)
    with pytest.raises(VerificationFailed, match="no chat template"):
        load()
    assert log == ["model opened", "model closed"]
    assert owners() == []


def test_there_is_a_sign_of_life_at_loading_and_at_every_step():
    beats = []
    engine = LlamaEngine(PATH, LoadOptions(), curve=FLAT, on_heartbeat=lambda: beats.append(threading.current_thread()))
    try:
        loading = len(beats)
        assert loading >= 1
        engine.generate(ask())
        steps = engine.counters()["steps"]
        assert len(beats) - loading >= steps > 0
        assert set(beats) == {engine.server}
    finally:
        in_time(engine.close)


def test_counters_count(engine):
    engine.generate(ask("x" * 30, n=4))
    counters = engine.counters()
    assert counters["steps"] == len(engine._context.steps)
    assert counters["prefilled"] == 29
    assert 0 <= counters["accepted"] <= counters["drafted"]
    assert counters["step_seconds"] > 0


def test_only_the_thread_that_hears_ctrl_c_waits_in_glances(monkeypatch):
    glancing, wait, future = set(), concurrent.futures.wait, concurrent.futures.Future()

    def watched(*given):
        glancing.add(threading.current_thread())
        return wait(*given)

    monkeypatch.setattr(concurrent.futures, "wait", watched)
    other = threading.Thread(target=wait_for, args=(future,), daemon=True)
    other.start()
    threading.Timer(0.1, future.set_result, (7,)).start()
    assert wait_for(future) == 7
    other.join(LONG)
    assert not other.is_alive()
    assert glancing == {threading.main_thread()}
