"""Laws of the embedded team, on fakes: what is told, what calls it off, what closing does."""

from __future__ import annotations

import concurrent.futures
import gc
import queue
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from api_fakes import ROUTE, SUM, TALE, Embedding, Endless
from fakes import QueuedEngine, WordEngine

from avengers_edge import (
    Ask,
    Avengers,
    AvengersError,
    BadRequest,
    Cancelled,
    DoesNotFit,
    EngineDied,
    Finished,
    Loading,
    Message,
    NotFound,
    Progress,
    Routed,
    Settings,
    Token,
    Vote,
)
from avengers_edge.api import sync

LONG = 30  # seconds a test waits for what must come


class Together(QueuedEngine):
    """Answers once so many requests are there at the same time."""

    def __init__(self, number):
        super().__init__(["once"] * number)
        self.barrier = threading.Barrier(number)

    def generate(self, request, **options):
        self.barrier.wait(LONG)
        return super().generate(request, **options)


@pytest.fixture
def held():
    """A team whose engine stops after the first word until it is called off, or told to go on."""
    held = Embedding("Once upon a time", face=Avengers)
    held.engine.hold.clear()
    yield held
    held.engine.hold.set()
    held.team.close()


# --- what is told ---


def test_an_answer_that_is_not_voted_on_is_told_piece_by_piece():
    with Embedding("Once upon a time").team as team:
        *events, last = team.stream(TALE)
    assert events == [Routed(ROUTE), Loading("big"), *map(Token, ["Once", " upon", " a", " time"])]
    assert isinstance(last, Finished)
    assert last.answer.text == "".join(at.text for at in events if isinstance(at, Token))


def test_while_a_vote_is_held_its_count_is_told_and_no_text():
    with Embedding("Answer: 5", "Answer: 6", "Answer: 5").team as team:
        events = list(team.stream(SUM, Ask(early_stop="off")))
    assert events[:2] == [Routed(ROUTE), Loading("big")]
    leaders = [None, Vote("5", 1), Vote("5", 1), Vote("5", 2)]
    assert events[2:-1] == [Progress(done, 3, leader, "big") for done, leader in enumerate(leaders)]
    assert events[-1].answer.answer == "5"


def test_a_model_that_is_loaded_is_not_told_to_be_loading():
    with Embedding("Once", resident=["big"]).team as team:
        assert [type(event) for event in team.stream(TALE)] == [Routed, Token, Finished]


@pytest.mark.parametrize("question", [SUM, TALE])
def test_all_ways_to_ask_hear_the_same_and_give_the_same(question):
    def asked(way):
        heard = []
        with Embedding("Answer: 5").team as team:
            answer = way(team, heard)
        return heard[:-1], answer.answer, answer.votes, isinstance(heard[-1], Finished)

    def streamed(team, heard):
        heard += team.stream(question, Ask(seed=1))
        return heard[-1].answer

    ways = [
        lambda team, heard: team.answer(question, Ask(seed=1), on_event=heard.append),
        lambda team, heard: team.submit(question, Ask(seed=1), on_event=heard.append).result(LONG),
        streamed,
    ]
    first, *others = [asked(way) for way in ways]
    assert first[3]
    assert others == [first, first]


def test_without_a_listener_the_engine_tells_no_tokens():
    asked = Embedding(engine=QueuedEngine(["Once"]))
    asked.engine.generate = lambda request, on_token=None, **rest: (
        pytest.fail("tokens are told to nobody")
        if on_token
        else QueuedEngine.generate(asked.engine, request, on_token=on_token, **rest)
    )
    with asked.team as team:
        assert team.answer(TALE).text == "Once"


def test_what_was_said_before_goes_along():
    said = (Message("user", "Tell me of cats"), Message("assistant", "They purr"))
    asked = Embedding("Nine")
    with asked.team as team:
        team.answer("Tell me more", Ask(history=said))
    assert [message.content for message in asked.engine.requests[0].messages] == [
        "Tell me of cats",
        "They purr",
        "Tell me more",
    ]


def test_errors_are_those_of_the_one_tree_whichever_way_one_asks():
    asked = Embedding()
    asked.engine.error = EngineDied("it died: ask again")
    with asked.team as team:
        for way in (team.answer, lambda question: team.submit(question).result(LONG), lambda q: list(team.stream(q))):
            with pytest.raises(EngineDied, match="ask again"):
                way(TALE)
            with pytest.raises(BadRequest, match="empty"):
                way("  ")


# --- at the same time ---


def test_questions_from_several_threads_are_under_way_together():
    asked = Embedding(engine=Together(6))
    with asked.team as team, concurrent.futures.ThreadPoolExecutor(3) as threads:
        pending = [team.submit(TALE) for _ in range(3)]
        assert [answer.text for answer in threads.map(team.answer, [TALE] * 3)] == ["once"] * 3
        assert [each.result(LONG).text for each in pending] == ["once"] * 3


def test_submit_does_not_wait_and_tells_its_end(held):
    told = concurrent.futures.Future()
    pending = held.team.submit(TALE)
    pending.add_done_callback(told.set_result)
    assert not pending.done()
    held.engine.hold.set()
    assert told.result(LONG) is pending
    assert pending.result().text == "Once upon a time"


def test_a_stream_begins_when_it_is_asked_for():
    asked = Embedding("Once")
    with asked.team as team:
        events = team.stream(TALE)
        assert asked.leased == []
        next(events)
        assert len(list(events)) == 3


# --- what calls off ---


def test_a_cancelled_answer_is_what_there_is_by_then(held):
    cancel = threading.Event()
    events = held.team.stream(TALE, cancel=cancel)
    assert Token("Once") in events
    cancel.set()
    (last,) = events
    assert (last.answer.text, last.answer.samples[0].finish_reason) == ("Once", "cancelled")


@pytest.mark.parametrize("ask", ["answer", "stream", "submit"])
def test_a_plain_event_cancels_what_waits_for_a_loaded_model(ask):
    cancel = threading.Event()
    with Embedding(engine=Endless(), face=Avengers).team as team:
        timer = threading.Timer(0.05, cancel.set)
        timer.start()
        given = getattr(team, ask)(TALE, cancel=cancel)
        answer = {
            "answer": lambda: given,
            "stream": lambda: list(given)[-1].answer,
            "submit": lambda: given.result(LONG),
        }
        assert answer[ask]().text == "Once"
        timer.join()


def test_a_result_that_is_cancelled_is_what_there_is_by_then(held):
    pending = held.team.submit(TALE)
    assert held.engine.began.wait(LONG)
    assert pending.cancel()
    assert pending.result(LONG).text == "Once"
    assert not pending.cancel()


def test_what_was_cancelled_before_it_began_asks_nobody():
    asked, cancel = Embedding(), threading.Event()
    cancel.set()
    with asked.team as team:
        with pytest.raises(Cancelled):
            team.answer(TALE, cancel=cancel)
        with pytest.raises(Cancelled):
            list(team.stream(TALE, cancel=cancel))
    assert asked.leased == []


@pytest.mark.parametrize("leave", ["close", "drop"])
def test_who_stops_listening_calls_off_his_own_answer_only(held, leave):
    shared = threading.Event()
    other = held.team.submit(TALE, cancel=shared)
    events = held.team.stream(TALE, cancel=shared)
    assert Token("Once") in events
    if leave == "close":
        events.close()
    else:
        del events
        gc.collect()
    assert held.engine.called_off.wait(LONG)
    assert not shared.is_set()
    assert not other.done()
    held.engine.hold.set()
    assert other.result(LONG).text == "Once upon a time"


def test_a_listener_that_fails_calls_its_answer_off():
    def fail(event):
        raise ZeroDivisionError

    with Embedding().team as team:
        with pytest.raises(ZeroDivisionError):
            team.answer(TALE, on_event=fail)
        assert team.answer(SUM).answer == "5"


# --- closing ---


def test_closing_ends_what_is_under_way_and_frees_the_models_last(held):
    with concurrent.futures.ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(held.team.answer, TALE)
        pending = held.team.submit(TALE)
        events = held.team.stream(TALE)
        assert Token("Once") in events
        while len(held.engine.requests) < 3:
            threading.Event().wait(0.001)
        held.team.close()
        assert held.freed == 1
        assert waiting.done()
        assert pending.done()
        assert [pending.result().text, waiting.result().text, list(events)[-1].answer.text] == ["Once"] * 3


def test_what_waits_for_a_thread_is_cancelled_too(held):
    pending = [held.team.submit(TALE) for _ in range(40)]
    assert held.engine.began.wait(LONG)
    held.team.close()
    ended = [each.exception(LONG) for each in pending]
    assert ended.count(None) <= 32
    assert {type(error) for error in ended if error} <= {Cancelled}


def test_a_closed_team_says_so_and_can_be_closed_again():
    asked = Embedding()
    asked.team.close()
    asked.team.close()
    ways = [
        lambda: asked.team.answer(TALE),
        lambda: asked.team.submit(TALE),
        lambda: next(asked.team.stream(TALE)),
        lambda: asked.team.route(TALE),
        lambda: asked.team.embed(["a"]),
        lambda: asked.team.warm(),
    ]
    for way in ways:
        with pytest.raises(AvengersError, match="open it again"):
            way()


@pytest.mark.parametrize("kind", [Routed, Token, Finished])
def test_a_callback_that_closes_what_waits_for_it_is_refused(kind):
    with Embedding("Once").team as team:

        def close(event):
            if isinstance(event, kind):
                team.close()

        for way in (team.answer, lambda *words, **options: team.submit(*words, **options).result(LONG)):
            with pytest.raises(BadRequest, match="another thread"):
                way(TALE, on_event=close)
        assert team.answer(TALE).text == "Once"


class Elsewhere(WordEngine):
    """Calls back in a thread of its own, and waits for what it calls, as llama.cpp's does."""

    def generate(self, request, **options):
        with ThreadPoolExecutor(1) as own:
            return own.submit(super().generate, request, **options).result(LONG)


def test_a_callback_that_waits_for_the_answer_that_it_is_told_of_is_refused():
    with Embedding(engine=Elsewhere(["Once"])).team as team:
        pending, begun = [], threading.Event()

        def nested(event):
            if isinstance(event, Token):
                assert begun.wait(LONG)
                pending[0].result(LONG)

        pending.append(team.submit(TALE, on_event=nested))
        begun.set()
        with pytest.raises(BadRequest, match="a callback cannot wait for the answer"):
            pending[0].result(LONG)
        assert team.answer(TALE).text == "Once"


@pytest.mark.parametrize(
    "wait",
    [
        lambda team: team.submit(TALE).result(LONG).text,
        lambda team: [*team.stream(TALE)][-1].answer.text,
        lambda team: team.answer(TALE).text,
    ],
)
def test_a_callback_may_ask_another_question_and_wait_for_it(wait):
    with Embedding(engine=Elsewhere(["Once"])).team as team:
        heard = []

        def nested(event):
            if isinstance(event, Routed | Token):
                heard.append(wait(team))

        assert team.answer(TALE, on_event=nested).text == "Once"
        assert heard == ["Once", "Once"]


# --- what is no question ---


@pytest.mark.parametrize(
    ("way", "complaint"),
    [
        (lambda team: team.answer(123), "the question is 123: use a text"),
        (lambda team: team.answer(b"x"), "the question is b'x'"),
        (lambda team: team.route(None), "the question is None"),
        (lambda team: team.answer(TALE, {"samples": 1}), "ask is .*: use an Ask"),
        (lambda team: team.answer(TALE, on_event=5), "on_event is 5"),
        (lambda team: team.submit(TALE, cancel="y"), "cancel is 'y'"),
        (lambda team: team.route(TALE, prefer="a"), "prefer is 'a': use a number"),
        (lambda team: team.embed(["a", "\ud800"]), "text 1 has a character at 0"),
        (lambda _: Ask(samples="3"), "samples is '3': use a whole number"),
        (lambda _: Ask(samples=True), "samples is True"),
        (lambda _: Ask(switch_below="x"), "switch_below is 'x'"),
        (lambda _: Ask(tests=5), "tests is 5: use a text"),
        (lambda _: Ask(history=[]), "tuples of messages"),
        (lambda _: Ask(results=None), "tuples of messages"),
        (lambda _: Avengers.open(5), "team is 5"),
        (lambda _: Avengers.open(""), "team is ''"),
        (lambda _: Avengers.open(home="a\0b"), "home is"),
        (lambda _: Avengers.open(home=5), "home is 5"),
        (lambda _: Avengers.open(settings="x"), "settings is 'x'"),
    ],
)
def test_a_value_of_the_wrong_type_is_refused_in_words(way, complaint):
    asked = Embedding()
    with asked.team as team, pytest.raises(BadRequest, match=complaint):
        way(team)
    assert asked.leased == []


# --- the rest ---


def test_a_route_is_the_decision_alone():
    asked = Embedding()
    with asked.team as team:
        assert team.route(TALE) == ROUTE
    assert asked.leased == []


def test_events_are_waited_for_in_polls_which_can_be_interrupted_everywhere(monkeypatch):
    waits, here = [], threading.current_thread()

    class Watched(queue.SimpleQueue):
        def get(self, block=True, timeout=None):
            if threading.current_thread() is here:
                waits.append(timeout)
            return super().get(block, timeout)

    asked = Embedding()
    asked.engine.hold.clear()
    monkeypatch.setattr(sync, "_POLL_SECONDS", 0.01)
    with asked.team as team, monkeypatch.context() as patched:
        patched.setattr(queue, "SimpleQueue", Watched)
        events = team.stream(TALE)
        next(events)
        threading.Timer(0.2, asked.engine.hold.set).start()
        assert isinstance(list(events)[-1], Finished)
    assert len(waits) > 5 and set(waits) == {0.01}


def test_vectors_are_float32_of_length_1_in_the_order_of_the_texts():
    with Embedding().team as team:
        vectors = team.embed(["a bc", "letters letters", "a letters"])
    assert (vectors.dtype, vectors.shape) == (np.float32, (3, 2))
    assert np.allclose(vectors, [[1, 0], [0, 1], [2**-0.5, 2**-0.5]])


def test_texts_may_come_one_by_one():
    with Embedding().team as team:
        assert team.embed(text for text in ["a", "b"]).shape == (2, 2)


@pytest.mark.parametrize("texts", ["one text", [b"bytes"], [1], 5, None, iter(["a", 1])])
def test_what_is_no_list_of_texts_is_not_embedded(texts):
    with Embedding().team as team, pytest.raises(BadRequest, match="use a (list of )?text"):
        team.embed(texts)


def test_a_text_that_would_be_cut_is_refused_with_both_numbers():
    with Embedding().team as team, pytest.raises(DoesNotFit, match="text 1 has 5 tokens and the embedder reads 4"):
        team.embed(["a b c d", "a b c d e"])
    with Embedding().team as team, pytest.raises(DoesNotFit, match="text 0 has 20005 characters and the embedder"):
        team.embed(["a" + " " * 20000 + "rest"])


def test_warming_loads_and_what_goes_wrong_is_told_where_it_is_waited_for():
    def broken(model):
        raise NotFound(f"{model} is not here: get it")

    fine = Embedding()
    fine.team._runtime.warm = lambda: fine.leased.append("warmed")
    with fine.team as team:
        assert team.warm().result(LONG) is None
        assert fine.leased == ["warmed"]
    bad = Embedding(lease=broken)
    bad.team._runtime.warm = lambda: broken("big")
    with bad.team as team, pytest.raises(NotFound, match="get it"):
        team.warm().result(LONG)


def test_opening_knows_the_team_and_loads_nothing(tmp_path):
    with Avengers.open(home=tmp_path) as team:
        assert team.team == "starter"
        assert "qwen2.5-coder-1.5b-instruct:program" in team.members
        with pytest.raises(NotFound, match="setup|pull"):
            team.answer(TALE)
    with Avengers.open("open-7b", settings=Settings(home=tmp_path)) as team:
        assert team.team == "open-7b"
    assert list(tmp_path.rglob("*")) == []


def test_a_team_that_is_not_there_and_two_homes_are_refused(tmp_path):
    with pytest.raises(NotFound, match="nobody"):
        Avengers.open("nobody", home=tmp_path)
    with pytest.raises(BadRequest, match="one of the two"):
        Avengers.open(home=tmp_path, settings=Settings(home=tmp_path))


def test_threads_end_with_the_team():
    asked = Embedding(engine=WordEngine(["Once"]))
    with asked.team as team:
        concurrent.futures.wait([team.submit(TALE) for _ in range(8)], LONG)
        ours = [each for each in threading.enumerate() if each.name.startswith("avengers_")]
        assert ours
    assert not any(each.is_alive() for each in ours)
