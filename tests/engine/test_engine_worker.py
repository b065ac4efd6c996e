"""Laws of the frames, of the worker's serving loop and of the parent's end of it, with an engine that is scripted."""

from __future__ import annotations

import contextlib
import functools
import gc
import io
import json
import logging
import math
import os
import re
import signal
import subprocess
import sys
import threading
import typing
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from worker_child import FACTS, ScriptedEngine

from avengers_edge import errors
from avengers_edge.config import KV_TYPES
from avengers_edge.engine import spawn, wire, worker, worker_engine, worker_process
from avengers_edge.engine.protocol import EngineFacts, LoadOptions, generate_many
from avengers_edge.engine.step_cost import StepCurve
from avengers_edge.engine.worker_engine import WorkerEngine
from avengers_edge.engine.worker_process import StderrTail, Watchdog
from avengers_edge.errors import AvengersError, BadRequest, DoesNotFit, EngineDied, MissingExtra, VerificationFailed
from avengers_edge.records import (
    MOST_SAMPLES,
    CancelToken,
    Completion,
    Generation,
    Message,
    Request,
    SamplingParams,
    TokenLogprob,
    Tool,
    ToolCall,
    Tools,
)

CHILD = str(Path(__file__).parents[1] / "support" / "worker_child.py")
POSIX = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
LONG = 60  # seconds a test waits for what must come

# --- frames ------------------------------------------------------------------------------------

anything = st.text(st.characters(codec=None))  # also halves of surrogate pairs
counts = st.integers(0, 2**40)
fractions = st.floats(0, 1)
seconds = st.floats(0, allow_nan=False)
logprobs = st.builds(
    TokenLogprob,
    anything,
    st.floats(max_value=0),
    st.lists(st.tuples(anything, st.floats(max_value=0)), max_size=3).map(tuple),
)
completions = st.builds(
    Completion,
    counts,
    counts,
    anything,
    counts,
    st.sampled_from(["stop", "length", "cancelled"]),
    st.none() | st.lists(logprobs, max_size=3).map(tuple),
)
curves = st.builds(
    StepCurve,
    st.dictionaries(st.integers(1, 512), st.floats(1e-6, 10), min_size=1, max_size=5).map(
        lambda points: tuple(sorted(points.items()))
    ),
)
samplings = st.builds(
    SamplingParams,
    temperature=st.floats(0, 2) | st.integers(0, 2),
    top_p=st.floats(0.01, 1),
    top_k=counts,
    min_p=fractions,
    max_tokens=st.integers(1, 2**30),
    stop=st.lists(st.text(min_size=1), max_size=3).map(tuple),
    repeat_penalty=st.floats(0.1, 10),
    frequency_penalty=st.floats(-2, 2),
    presence_penalty=st.floats(-2, 2),
    penalty_window=st.integers(0, 2**20),
    logit_bias=st.lists(st.tuples(counts, st.floats(-100, 100)), max_size=3).map(tuple),
    grammar=st.none() | anything,
    logprobs=st.none() | st.integers(0, 20),
)
names = st.text("abc_-1", min_size=1, max_size=9)
calls = st.builds(ToolCall, names, st.just('{"a": 1}'), anything)
messages = (
    st.builds(Message, st.sampled_from(["system", "user", "assistant"]), anything)
    | st.builds(Message, st.just("assistant"), anything, st.lists(calls, max_size=2).map(tuple))
    | st.builds(Message, st.just("tool"), anything, call_id=anything)
)
tools = st.builds(
    Tools, st.builds(Tool, names, anything, strict=st.booleans()).map(lambda tool: (tool,)), st.booleans()
)
requests = st.builds(
    Request,
    st.lists(messages, min_size=1).map(tuple),
    samplings.map(lambda sampling: replace(sampling, grammar=None)),
    n=st.integers(3, 1000),
    seed=st.integers(0, 2**32 - 2),
    least=st.none() | st.integers(1, 3),
    tools=st.none() | tools,
) | st.builds(Request, st.lists(messages, min_size=1).map(tuple), samplings)
facts = st.builds(
    EngineFacts,
    anything,
    counts,
    counts,
    counts,
    counts,
    st.lists(st.tuples(anything, counts)).map(tuple),
    st.booleans(),
    counts,
    anything,
)
options = st.builds(
    LoadOptions,
    cells=st.integers(512, 2**31),
    sequences=st.integers(2, 256),
    threads=st.none() | st.integers(1, 1024),
    gpu_layers=st.integers(-1, 1000),
    repack=st.none() | st.booleans(),
    kv_type=st.sampled_from(KV_TYPES),
)
FRAMES = {
    wire.Open: st.builds(wire.Open, counts, anything, options, st.none() | curves),
    wire.Submit: st.builds(wire.Submit, counts, requests, st.booleans(), st.booleans()),
    wire.Cancel: st.builds(wire.Cancel, counts),
    wire.StopDecision: st.builds(wire.StopDecision, counts, counts),
    wire.Count: st.builds(wire.Count, counts, requests),
    wire.Measure: st.builds(wire.Measure, counts, seconds),
    wire.SaveState: st.builds(wire.SaveState, counts, anything),
    wire.LoadState: st.builds(wire.LoadState, counts, anything),
    wire.Heartbeat: st.just(wire.Heartbeat()),
    wire.Ready: st.builds(wire.Ready, counts, facts),
    wire.Token: st.builds(wire.Token, counts, counts, anything),
    wire.Finish: st.builds(wire.Finish, counts, completions),
    wire.Part: st.builds(wire.Part, counts, completions),
    wire.Done: st.builds(
        wire.Done,
        counts,
        st.builds(Generation, st.lists(completions, max_size=2).map(tuple), counts, seconds, seconds, counts),
    ),
    wire.Number: st.builds(wire.Number, counts, counts),
    wire.Measured: st.builds(wire.Measured, counts, curves),
    wire.Failed: st.builds(wire.Failed, counts, anything, anything, st.booleans()),
}
frames = st.one_of(*FRAMES.values())


def test_every_frame_is_put_to_the_test():
    assert set(typing.get_args(wire.Frame)) == set(FRAMES)


@given(frames)
def test_a_frame_comes_back_as_it_was(frame):
    line = wire.encode(frame)
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert wire.decode(line) == frame


@given(st.lists(frames, max_size=4), st.data())
def test_frames_come_back_in_their_order_however_the_pipe_cuts_them(sent, data):
    left = b"".join(map(wire.encode, sent)) + b'{"is":'  # half a frame at the end is dropped

    def read(size):
        nonlocal left
        cut = data.draw(st.integers(1, min(len(left), size))) if left else 0
        chunk, left = left[:cut], left[cut:]
        return chunk

    assert list(map(wire.decode, wire.lines(read))) == sent


@given(frames, st.data())
def test_a_frame_with_a_field_missing_added_or_of_another_type_is_broken(frame, data):
    plain = json.loads(wire.encode(frame).decode("utf-8", "surrogatepass"))
    name = data.draw(st.sampled_from(sorted(plain)))
    for damaged in ({**plain, "other": 1}, {k: v for k, v in plain.items() if k != name}, {**plain, name: [{"no": 1}]}):
        with pytest.raises(wire.BrokenFrame):
            wire.decode(json.dumps(damaged).encode())


def test_a_program_from_before_an_upgrade_is_understood_where_it_says_nothing_of_what_it_does_not_know():
    sent = wire.Submit(1, Request((Message("user", "Hi"),)), False, False)
    plain = json.loads(wire.encode(sent))
    del plain["request"]["tools"], plain["request"]["messages"][0]["calls"]
    assert wire.decode(json.dumps(plain).encode()) == sent
    del plain["request"]["messages"][0]["content"]
    with pytest.raises(wire.BrokenFrame):
        wire.decode(json.dumps(plain).encode())


@given(st.binary())
def test_bytes_are_a_frame_or_broken(line):
    with contextlib.suppress(wire.BrokenFrame):
        wire.decode(line)


@pytest.mark.parametrize(
    "line",
    [
        b"[" * 100_000,
        b"[]",
        b"1",
        b"null",
        b'{"is":[]}',
        b'{"is":"Frame"}',
        b'{"is":"Cancel","id":true}',
        b'{"is":"Cancel","id":1.0}',
        b'{"is":"Measured","id":1,"curve":{"points":[[2,1.0],[1,1.0]]}}',
        b'{"is":"Measured","id":1,"curve":{"points":[[1,1.0,5]]}}',
        b'{"is":"Cancel","id":' + b"1" * 5000 + b"}",
    ],
)
def test_what_no_frame_can_be_is_broken(line):
    with pytest.raises(wire.BrokenFrame):
        wire.decode(line)


def test_a_line_without_an_end_is_broken_before_it_fills_the_memory(monkeypatch):
    monkeypatch.setattr(wire, "LONGEST", 2**20)
    asked = []

    def read(size):
        asked.append(size)
        return b"x" * size

    with pytest.raises(wire.BrokenFrame):
        list(wire.lines(read))
    assert sum(asked) <= 2 * 2**20


def test_a_frame_that_is_too_long_is_refused_where_it_is_made(monkeypatch):
    monkeypatch.setattr(wire, "LONGEST", 100)
    with pytest.raises(BadRequest):
        wire.encode(wire.Token(1, 1, "x" * 100))


def wrong(frozen, **values):
    """A value that was made past its own checks."""
    for name, value in values.items():
        object.__setattr__(frozen, name, value)
    return frozen


class Odd:
    def __repr__(self):
        return "odd\nthing"


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("max_tokens", 1e3, "`int`, got `float` - at `$.request.sampling.max_tokens`"),
        ("temperature", "hot", "`float`, got `str` - at `$.request.sampling.temperature`"),
        ("logprobs", True, "got `bool` - at `$.request.sampling.logprobs`"),
        ("stop", "word", "`array`, got `str` - at `$.request.sampling.stop`"),
        pytest.param("top_k", 10**5000, "wrong type", id="digits"),
        ("top_p", Odd(), "objects of type Odd"),
        ("top_p", SamplingParams, "wrong type"),
    ],
)
def test_a_value_of_the_wrong_type_is_named_where_the_frame_is_made(field, value, said):
    request = Request((Message("user", "x"),), wrong(SamplingParams(), **{field: value}))
    with pytest.raises(BadRequest, match=re.escape(said)) as refused:
        wire.encode_strictly(wire.Submit(1, request, False, False))
    assert "\n" not in str(refused.value)


@given(frames)
def test_a_frame_of_the_right_types_is_made_in_the_same_way_when_it_is_checked(frame):
    assert wire.encode_strictly(frame) == wire.encode(frame)


def test_log_probabilities_of_minus_infinity_pass():
    told = TokenLogprob("a", -math.inf, (("b", -math.inf),))
    frame = wire.Part(1, Completion(0, 0, "a", 1, "stop", (told,)))
    assert wire.decode(wire.encode(frame)) == frame


TREE = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, AvengersError)]


@pytest.mark.parametrize("kind", TREE)
def test_an_error_keeps_its_class_and_message(kind):
    error = kind("needle", "hay", "sewing") if kind is MissingExtra else kind("what, with which value, what next")
    passed = wire.decode(wire.encode(wire.Failed.of(1, error))).error()
    assert type(passed) is kind
    assert str(passed) == str(error)


def test_an_error_of_no_known_class_is_the_engine_that_died_in_one_line():
    class Special(DoesNotFit):
        pass

    assert type(wire.Failed.of(1, Special("x")).error()) is DoesNotFit
    strange = wire.Failed.of(1, RuntimeError("two\nlines")).error()
    assert type(strange) is EngineDied
    assert "\n" not in str(strange)
    for name in ("ClassVar", "INTERRUPTED_EXIT_CODE", "SystemExit", "__doc__"):
        assert type(wire.Failed(1, name, "x", False).error()) is EngineDied


# --- the serving loop, in this process ---------------------------------------------------------


class Loop:
    """The worker's loop on a thread, between two pipes."""

    def __init__(self, make=ScriptedEngine):
        inlet, self.commands = os.pipe()
        self.events, outlet = os.pipe()
        self.left = []
        self.lines = wire.lines(functools.partial(os.read, self.events))
        self.thread = threading.Thread(target=worker.serve, args=(inlet, outlet, make, self.left.append))
        self.thread.start()
        self._open = [inlet, outlet, self.events]

    def say(self, frame):
        os.write(self.commands, wire.encode(frame))

    def hear(self):
        return next(frame for line in self.lines if (frame := wire.decode(line)) != wire.Heartbeat())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.close(self.commands)
        self.thread.join(LONG)
        assert not self.thread.is_alive()
        for end in self._open:
            os.close(end)


def question(text, **fields):
    return Request((Message("user", text),), **fields)


def opened(loop):
    loop.say(wire.Open(1, "model.gguf", LoadOptions(), None))
    assert loop.hear() == wire.Ready(1, FACTS)
    return loop


def test_the_loop_shows_life_loads_and_answers_in_order(tmp_path):
    curve = StepCurve(((1, 0.5), (8, 0.75)))
    with Loop() as loop:
        assert wire.decode(next(loop.lines)) == wire.Heartbeat()
        loop.say(wire.Open(1, "model.gguf", LoadOptions(), curve))
        assert loop.hear() == wire.Ready(1, FACTS)
        loop.say(wire.Count(2, question("four")))
        loop.say(wire.Measure(3, 1.0))
        loop.say(wire.LoadState(4, str(tmp_path / "state")))
        loop.say(wire.SaveState(5, str(tmp_path / "state")))
        heard = [loop.hear() for _ in range(4)]
    assert heard == [wire.Number(2, 4), wire.Measured(3, curve), wire.Number(4, 0), wire.Number(5, 4)]


def test_a_request_tells_tokens_waits_for_verdicts_and_ends_with_its_parts():
    with opened(Loop()) as loop:
        loop.say(wire.Submit(2, question("a b", n=3, seed=5), True, True))
        told = []
        while not isinstance(frame := loop.hear(), wire.Done):
            told.append(frame)
            if isinstance(frame, wire.Finish):
                loop.say(wire.StopDecision(2, 1 - frame.completion.index))
    done = [Completion(index, 5 + index, "a b", 2, "stop") for index in range(2)]
    each = [[wire.Token(2, i, "a"), wire.Token(2, i, "b"), wire.Finish(2, done[i])] for i in range(2)]
    assert told == [*each[0], *each[1], *(wire.Part(2, each) for each in done)]
    assert frame == wire.Done(2, Generation((), 7, 1.5, 2.5, 3))


def test_what_nobody_listens_to_is_not_told():
    with opened(Loop()) as loop:
        loop.say(wire.Submit(2, question("a b"), False, False))
        assert isinstance(loop.hear(), wire.Part)
        assert isinstance(loop.hear(), wire.Done)


def test_a_refused_request_leaves_the_others_alone_and_cancel_of_nothing_is_nothing():
    with opened(Loop()) as loop:
        loop.say(wire.Submit(2, question("too long"), False, False))
        loop.say(wire.Cancel(2))
        loop.say(wire.Cancel(77))
        assert loop.hear() == wire.Failed(2, "DoesNotFit", "no room", False)
        loop.say(wire.Count(3, question("x")))
        assert loop.hear() == wire.Number(3, 1)


def test_when_the_parent_is_gone_the_process_ends():
    with opened(Loop()) as loop:
        pass
    assert loop.left == [0]


def test_when_nobody_reads_the_process_ends():
    with opened(Loop()) as loop:
        os.close(loop.events)
        loop._open.remove(loop.events)
        loop.say(wire.Count(2, question("x")))
    assert loop.left[0] == 0


@pytest.mark.parametrize("line", [b"hello\n", b'{"is":"StopDecision","id":9,"needed":1}\n'])
def test_the_loop_ends_the_process_at_a_broken_frame(line):
    with opened(Loop()) as loop:
        os.write(loop.commands, line)
    assert loop.left == [1]


def test_an_engine_that_died_is_told_to_be_the_end():
    with opened(Loop()) as loop:
        loop.say(wire.Submit(2, question("DIED"), False, False))
        assert loop.hear() == wire.Failed(2, "EngineDied", "the step failed", True)
        loop.thread.join(LONG)  # without being asked to


# --- the parent, with a real process -----------------------------------------------------------


def start(mode="serve", **fields):
    command = (sys.executable, CHILD, mode)
    return WorkerEngine(Path("model.gguf"), fields.pop("options", LoadOptions()), _command=command, **fields)


@pytest.fixture
def engine():
    with start() as engine:
        yield engine
    assert_ended(engine)


def assert_ended(engine):
    assert not engine.alive
    assert not any(thread.is_alive() for thread in engine._threads)
    for pipe in (engine._process.popen.stdin, engine._process.popen.stdout, engine._process.popen.stderr):
        assert pipe.closed
    with pytest.raises(EngineDied):
        engine.submit(question("x"))
    engine.close()


def test_every_method_gives_what_the_engine_in_the_worker_gives(tmp_path):
    curve = StepCurve(((1, 0.5), (8, 0.75)))
    with start(curve=curve) as engine:
        assert engine.alive
        assert engine.pid != os.getpid()
        assert engine.facts == FACTS
        assert engine.measure(1) == curve
        assert engine.count_tokens(question("four")) == 4
        assert (engine.load_state(tmp_path / "s"), engine.save_state(tmp_path / "s")) == (0, 4)
        done = Completion(0, 9, "a b", 2, "stop")
        assert engine.generate(question("a b", seed=9)) == Generation((done,), 7, 1.5, 2.5, 3)


def test_callbacks_hear_all_in_order_and_decide(engine):
    told = []

    def on_finish(completion):
        told.append(completion.index)
        return 1 - completion.index

    generation = engine.generate(question("a b", n=5), on_finish=on_finish, on_token=lambda *each: told.append(each))
    assert told == [(0, "a"), (0, "b"), 0, (1, "a"), (1, "b"), 1]
    assert len(generation.completions) == 2


def test_what_is_printed_in_the_worker_is_no_frame(engine):
    assert engine.generate(question("PRINT")).completions[0].text == "PRINT"


def test_what_the_interpreter_prints_at_its_start_is_no_frame():
    with start("noise") as engine:
        assert engine.count_tokens(question("x")) == 1


def test_requests_from_many_threads_do_not_mix(engine):
    texts = [f"request {number} " + "word " * (number % 7) for number in range(40)]
    got = {}

    def ask(text):
        pieces = []
        generation = engine.generate(question(text), on_token=lambda _index, piece: pieces.append(piece))
        got[text] = generation.completions[0].text, pieces

    threads = [threading.Thread(target=ask, args=(text,)) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONG)
    assert got == {text: (text, text.split()) for text in texts}


def test_frames_larger_than_a_pipe_pass_both_ways_at_once(engine):
    texts = [letter * 300_000 for letter in "abcdefgh"]
    done = dict(generate_many(engine, [question(f"{text} x") for text in texts], on_finish=lambda _place, _done: 0))
    assert [done[place].completions[0].text for place in range(8)] == [f"{text} x" for text in texts]


def test_a_request_that_is_too_long_is_refused_and_the_worker_lives_on(engine, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(wire, "LONGEST", 1000)
        with pytest.raises(BadRequest):
            engine.submit(question("x" * 1000))
    assert engine.count_tokens(question("x")) == 1


def test_a_cancelled_request_gives_what_there_is(engine):
    handle = engine.submit(question("one BEAT two"))
    handle.cancel()
    assert handle.result().completions[0].finish_reason == "cancelled"
    handle.cancel()  # too late, and nothing
    cancel = threading.Event()
    cancel.set()
    assert engine.generate(question("BEAT"), cancel=cancel).completions[0].finish_reason == "cancelled"


@pytest.mark.parametrize("below", [lambda event: event, CancelToken])
def test_an_event_that_is_set_while_a_request_is_under_way_cancels_it(engine, below):
    cancel = threading.Event()
    generation = engine.generate(question("BEAT"), on_token=lambda *_: cancel.set(), cancel=below(cancel))
    assert generation.completions[0].finish_reason == "cancelled"


def test_a_callback_may_cancel_and_submit(engine):
    others = []

    def on_token(_index, piece):
        if piece == "BEAT":
            others.append(engine.submit(question("other")))
            handle.cancel()

    began = threading.Event()
    handle = engine.submit(question("begin BEAT"), on_token=lambda *each: (began.wait(LONG), on_token(*each)))
    began.set()
    assert handle.result().completions[0].finish_reason == "cancelled"
    assert others[0].result().completions[0].text == "other"


WAITING = {
    "count_tokens": lambda engine: engine.count_tokens(question("b")),
    "generate": lambda engine: engine.generate(question("b BEAT")),
    "result": lambda engine: engine.submit(question("b")).result(),
}


@pytest.mark.parametrize("how", WAITING)
@pytest.mark.parametrize("heard", ["on_token", "on_finish"])
def test_a_callback_that_waits_for_its_own_engine_is_refused(engine, how, heard):
    with pytest.raises(BadRequest, match="ask from another thread"):
        engine.generate(question("a"), **{heard: lambda *_: WAITING[how](engine)})
    if how != "result":
        assert not engine._calls, "what it asked for never began"
    assert engine.count_tokens(question("four")) == 4


def test_a_request_with_a_value_of_the_wrong_type_harms_nobody(engine):
    other = engine.submit(question("a BEAT"))
    with pytest.raises(BadRequest, match="got `float` - at .*max_tokens"):
        engine.generate(question("x", sampling=wrong(SamplingParams(), max_tokens=1e3)))
    with pytest.raises(BadRequest):
        engine.count_tokens("no request")
    assert not other.future.done()
    other.cancel()
    assert other.result().completions[0].finish_reason == "cancelled"


class Mishap(Exception):
    pass


def raising(*_):
    raise Mishap


@pytest.mark.parametrize("heard", [{"on_token": raising}, {"on_finish": raising}])
def test_an_error_in_a_callback_is_its_requests_and_the_others_go_on(engine, heard):
    other = engine.submit(question("a BEAT"))
    with pytest.raises(Mishap):
        engine.generate(question("a b", n=3), **heard)
    assert not other.future.done()
    other.cancel()
    assert other.result().completions[0].finish_reason == "cancelled"


def test_a_verdict_that_is_no_number_is_the_requests_error(engine):
    with pytest.raises(TypeError):
        engine.generate(question("a"), on_finish=lambda _done: None)
    assert engine.alive


@pytest.mark.parametrize("verdict", [True, MOST_SAMPLES, pytest.param(10**5000, id="digits")])
def test_a_verdict_that_is_nearly_a_number_counts_as_one(engine, verdict):
    assert len(engine.generate(question("a", n=3), on_finish=lambda _done: verdict).completions) == 3


def test_typed_errors_pass_and_a_refused_request_harms_nobody(engine):
    other = engine.submit(question("a BEAT"))
    with pytest.raises(DoesNotFit, match="^no room$"):
        engine.generate(question("too long"))
    with pytest.raises(EngineDied, match="RuntimeError: not on purpose"):
        engine.generate(question("BUG"))
    assert engine.alive
    other.cancel()
    assert other.result()


def test_an_error_at_load_is_raised_and_nothing_is_left():
    before = set(threading.enumerate())
    with pytest.raises(VerificationFailed, match="^no chat template$"):
        start("refuse")
    assert set(threading.enumerate()) <= before


DEATHS = [
    ("EXIT 3", "exit code 3"),
    ("MEMORY", "exit code 1: error: out of memory"),
    ("CRASH", "ZeroDivisionError"),
    *(
        pytest.param(*case, marks=POSIX)
        for case in [
            ("SIGNAL 9", r"SIGKILL; .* memory runs out"),
            ("SIGNAL 11", "SIGSEGV"),
            ("SIGNAL 6", "SIGABRT"),
            ("ASSERT", r"SIGABRT: llama\.cpp:12: GGML_ASSERT\(logits != nullptr\) failed"),
        ]
    ),
]


@pytest.mark.parametrize(("text", "how"), DEATHS)
def test_a_worker_that_dies_fails_all_that_wait_in_one_line_and_another_answers(text, how):
    with start() as engine:
        others = [engine.submit(question("a BEAT")) for _ in range(3)]
        with pytest.raises(EngineDied, match=how) as caught:
            engine.generate(question(text))
        assert not engine.alive
        for other in others:
            with pytest.raises(EngineDied, match=how):
                other.future.result(LONG)
        for part in ("model.gguf", "next question"):
            assert part in str(caught.value)
        assert str(caught.value).isprintable()
        assert caught.value.exit_code == 7
        with pytest.raises(EngineDied, match=how):
            engine.count_tokens(question("x"))
    assert_ended(engine)
    with start() as fresh:
        assert fresh.generate(question("a")).completions


ENDLESS = [
    "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
    "{% set s = ['x' * 9999] * 9999 %}{% for i in range(99999) %}{% if s | join in '' %}{% endif %}{% endfor %}",
    "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(40) }}",
    # It shares its parts, so it is small, and never lets go of the interpreter.
    "{% set ns = namespace(x=('x',), y=('x',)) %}{% for i in range(60) %}{% set ns.x = (ns.x, ns.x) %}"
    "{% set ns.y = (ns.y, ns.y) %}{% endfor %}{{ ns.x == ns.y }}",
]


@pytest.mark.parametrize("source", ENDLESS, ids=range(len(ENDLESS)))
def test_a_chat_template_without_an_end_ends_its_worker_in_one_line_that_says_so(source):
    with start() as engine:
        with pytest.raises(EngineDied, match="its chat template takes too long, so take another model") as caught:
            engine.generate(question(f"TEMPLATE {source}"))
        assert "\n" not in str(caught.value)
    assert_ended(engine)


def test_a_chat_template_that_ends_in_time_does_its_worker_no_harm(engine):
    assert engine.generate(question("TEMPLATE {{ messages[0].content }}"))
    threading.Event().wait(0.6)  # longer than it was given
    assert engine.count_tokens(question("x")) == 1


def test_the_worker_limits_the_chat_templates_of_its_models(monkeypatch, tmp_path):
    from avengers_edge.engine import llama

    given = {}
    monkeypatch.setattr(llama, "LlamaEngine", lambda path, options, **passed: given.update(passed))
    worker.make_llama(tmp_path, LoadOptions(), None, lambda: None)
    assert given["template_limits"] is worker.template_limits


@pytest.mark.parametrize("said", [b"Timeout of the server\n", b"File x, Timeout (0:00:10)! no\n"])
def test_other_timeouts_are_not_taken_for_the_templates(said):
    tail = StderrTail()
    tail.read(io.BytesIO(said))
    assert tail.reason() == ""


def test_an_engine_that_failed_is_not_asked_again_while_its_process_goes():
    with start() as engine:
        with pytest.raises(EngineDied, match="^the step failed$"):
            engine.generate(question("DIED"))
        assert not engine.alive
        with pytest.raises(EngineDied, match="^the step failed$"):
            engine.submit(question("x"))


@pytest.mark.parametrize("mode", ["garble", "half"])
def test_a_broken_frame_or_a_closed_pipe_is_the_workers_end(mode):
    with pytest.raises(EngineDied, match="no frame|closed its pipe|exit code"), start(mode) as engine:
        engine.generate(question("x"))


def test_a_worker_that_says_nothing_at_all_is_killed_after_its_timeout():
    with pytest.raises(EngineDied, match=r"did not answer for 0\.5 s"):
        start("mute", timeout=0.5)


@pytest.mark.parametrize("timeout", [0.5, 8, 120])
def test_silence_as_long_as_the_timeout_is_too_long_and_a_frame_ends_it(timeout):
    watchdog = Watchdog(timeout)
    polls = math.ceil(timeout / watchdog.poll_seconds)
    assert polls >= 8
    for received in range(3):
        assert [watchdog.expired(received, excused=False) for _ in range(polls + 1)] == [False] * polls + [True]


def test_silence_that_is_excused_does_not_count():
    watchdog = Watchdog(1)
    assert not any(watchdog.expired(1, excused=True) for _ in range(100))
    assert not watchdog.expired(1, excused=False)


@pytest.fixture
def fast_polls(monkeypatch):
    """Polls in quick succession, however long the timeout."""
    monkeypatch.setattr(worker_process, "_LONGEST_POLL", 0.05)


def impatient(engine):
    """Shorten the timeout only now: how long it takes to start is not the matter here."""
    engine._watchdog.timeout = 0.5


def test_a_worker_that_hangs_is_killed(fast_polls):
    with start() as engine:
        impatient(engine)
        with pytest.raises(EngineDied, match=r"did not answer for 0\.5 s"):
            engine.generate(question("HANG"))
    assert_ended(engine)


def test_a_sign_of_life_is_due_while_a_request_is_under_way_but_not_in_a_callback(engine):
    excused = []
    assert engine._excused
    engine.generate(question("a"), on_finish=lambda _done: excused.append(engine._excused) or 0)
    assert excused == [True]
    handle = engine.submit(question("a BEAT"))
    assert not engine._excused
    handle.cancel()
    handle.result()


def test_a_busy_worker_shows_life(engine):
    handle = engine.submit(question("BEAT"))
    begin = engine._received
    assert comes(lambda: engine._received >= begin + 2)
    handle.cancel()
    assert handle.result().completions


def comes(what):
    """Wait for what must come."""
    return any(what() or threading.Event().wait(0.05) for _ in range(LONG * 20))


@pytest.mark.parametrize("early", [True, False])
def test_a_load_can_be_given_up_from_another_thread(early, monkeypatch):
    stop, children = CancelToken(), []
    real = worker_engine.WorkerProcess

    def child(*values):
        children.append(real(*values))
        if early:
            stop.set()
        else:
            threading.Thread(target=stop.set).start()
        return children[0]

    monkeypatch.setattr(worker_engine, "WorkerProcess", child)
    with pytest.raises(EngineDied, match="was ended while it loaded"):
        start("mute", stop=stop)
    assert not children[0].running
    stop.set()  # nobody is called any more


@POSIX
def test_ctrl_c_while_a_model_loads_leaves_no_worker():
    before = set(threading.enumerate())
    main = threading.main_thread().ident

    def interrupt():
        if comes(lambda: any(thread.name == "model.gguf: watchdog" for thread in threading.enumerate())):
            signal.pthread_kill(main, signal.SIGINT)

    stop = threading.Thread(target=interrupt)
    stop.start()
    with pytest.raises(KeyboardInterrupt):
        start("mute")
    stop.join()
    assert set(threading.enumerate()) <= before


@POSIX
def test_a_stopped_worker_with_full_pipes_is_a_hang(fast_polls):
    with start() as engine:
        impatient(engine)
        os.kill(engine.pid, signal.SIGSTOP)
        with pytest.raises(EngineDied, match=r"did not answer for 0\.5 s"):
            engine.generate(question("x" * 2**20))
    assert_ended(engine)


@POSIX
def test_a_stopped_worker_can_be_closed():
    engine = start()
    os.kill(engine.pid, signal.SIGSTOP)
    engine.close()
    assert_ended(engine)


def test_closing_fails_what_is_under_way_and_a_callback_may_close():
    with start() as engine:
        handle = engine.submit(question("BEAT"))
        other = start()
        with pytest.raises(EngineDied, match="unloaded"):
            other.generate(question("a BEAT"), on_token=lambda *_: other.close())
        other.close()
        assert_ended(other)
    with pytest.raises(EngineDied, match="unloaded"):
        handle.result()


def test_closing_tells_who_waits_although_a_callback_hangs():
    began, held = threading.Event(), threading.Event()

    def hang(*_):
        began.set()
        held.wait(30)

    engine = start()
    with ThreadPoolExecutor(1) as pool:
        try:
            hung = pool.submit(engine.generate, question("a"), on_token=hang)
            assert began.wait(30)
            other = engine.submit(question("a"))
            engine.close()
            for waits in (other.result, lambda: hung.result(30)):
                with pytest.raises(EngineDied, match=r"model\.gguf was unloaded: ask again"):
                    waits()
        finally:
            held.set()


def test_the_workers_words_go_to_the_log(caplog):
    with caplog.at_level(logging.DEBUG, "avengers_edge.llama"), start() as engine:
        engine.generate(question("PRINT"))
    assert "on standard output" in caplog.messages


@POSIX
def test_ctrl_c_is_not_for_the_worker(engine):
    assert os.getpgid(engine.pid) != os.getpgid(0)
    os.kill(engine.pid, signal.SIGINT)
    assert engine.generate(question("a")).completions


def test_a_frozen_program_is_told_the_setting(monkeypatch):
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    with pytest.raises(BadRequest, match="worker = false"):
        WorkerEngine(Path("model.gguf"), LoadOptions())


def test_a_child_finds_this_package_but_polls_in_no_current_folder(monkeypatch):
    monkeypatch.setattr(sys, "path", ["", "somewhere", "somewhere", ""])
    entries = spawn.environment()["PYTHONPATH"].split(os.pathsep)
    assert entries == ["somewhere", str(Path(errors.__file__).parents[1])]


def test_the_users_own_setting_of_openmp_stays(monkeypatch):
    monkeypatch.setenv("GOMP_SPINCOUNT", "7")
    assert spawn.environment()["GOMP_SPINCOUNT"] == "7"


def test_the_worker_is_the_module_that_is_started():
    assert worker.__name__ == spawn.WORKER


def test_a_program_that_cannot_be_started_is_a_dead_engine(tmp_path):
    with pytest.raises(EngineDied, match="cannot be started"):
        WorkerEngine(Path("model.gguf"), LoadOptions(), _command=(str(tmp_path / "none"),))


def gone(pid):
    """Whether a process ended; one that nobody collects is as good as gone."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return state.strip()[:1] in ("", "Z")


OWNER = f"""
import sys
from pathlib import Path
from avengers_edge.engine.protocol import LoadOptions
from avengers_edge.engine.worker_engine import WorkerEngine
from avengers_edge.records import Message, Request
engine = WorkerEngine(Path("m.gguf"), LoadOptions(), _command=(sys.executable, {CHILD!r}, "serve"))
handles = [engine.submit(Request((Message("user", text),)), on_finish=lambda done: 0) for text in ("HANG", "a BEAT")]
print(engine.pid, flush=True)
"""


@POSIX
@pytest.mark.parametrize("how", ["SIGKILL", "exit"])
def test_no_worker_outlives_its_parent_and_none_keeps_it_from_ending(how):
    code = OWNER + ("sys.stdin.read()" if how == "SIGKILL" else "")
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as owner:
        pid = int(owner.stdout.readline())
        if how == "SIGKILL":
            owner.kill()
        owner.wait(LONG)
        assert comes(lambda: gone(pid))
    assert how == "SIGKILL" or owner.returncode == 0


def test_the_parents_module_imports_nothing_native():
    code = "import avengers_edge.engine.worker_engine, sys; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert {"llama_cpp", "numpy", "jinja2"}.isdisjoint(loaded)


def test_workers_leave_no_thread_and_no_pipe():
    with start():
        pass
    gc.collect()
    before = threading.active_count(), open_files()
    for _ in range(3):
        with start() as engine:
            engine.generate(question("a"))
    assert (threading.active_count(), open_files()) == before


def open_files():
    folder = Path("/proc/self/fd")
    return len(list(folder.iterdir())) if folder.exists() else 0
