"""Turns of a chat, on an engine whose answers a reader knows."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
from typing import Any

import pytest
from fakes import Lengths, QueuedEngine, WordLengthEmbedder

from avengers_edge.api.sync import Avengers
from avengers_edge.cli.chat.turns import Note, Turns, _count_oldest
from avengers_edge.errors import BadRequest, Cancelled, ContextFull, DoesNotFit
from avengers_edge.records import Ask, Finished, Loading, Member, Message, Progress, Routed, Team, Token
from avengers_edge.routing.features import routing_text
from avengers_edge.runtime import Avengers as Runtime

SUM = "How many apples are 2 and 3 apples?"
TEAM = Team("one", "a model", (Member("small"),), None, samples=3, switch_below=0.0)


def turns_on(engine: Any) -> Turns:
    return turns_of(lambda _: contextlib.nullcontext(engine))


def turns_of(lease: Any) -> Turns:
    return Turns(Avengers(Runtime(TEAM, WordLengthEmbedder, lambda _: None, lease), Lengths))


def heard(turns: Turns, text: str, *history: Message, **options: Any) -> list[Any]:
    events = turns.send(text, Ask(history=history, **options), threading.Event())
    return [at for at in events if not isinstance(at, Routed | Loading)]


def user(text: str) -> Message:
    return Message("user", text)


def model(text: str) -> Message:
    return Message("assistant", text)


OLDEST = (
    "the oldest {} messages do not fit the context any more: they are left out, and further ones as the chat goes on"
)


def notes_of(events: list[Any]) -> list[str]:
    return [at.text for at in events if isinstance(at, Note)]


@pytest.fixture
def said() -> tuple[Message, ...]:
    """Forty turns."""
    return tuple(turn for place in range(40) for turn in (user(f"question {place}"), model(f"answer {place}")))


class Cramped(QueuedEngine):
    """Takes at most so many messages."""

    def __init__(self, texts: Any, messages: int) -> None:
        super().__init__(texts)
        self.most, self.refused = messages, 0

    def generate(self, request: Any, **options: Any) -> Any:
        if len(request.messages) > self.most:
            self.refused += 1
            raise ContextFull(f"{len(request.messages)} messages, {self.most} fit: say less")
        return super().generate(request, **options)


def test_free_text_is_streamed_and_never_voted_on() -> None:
    with turns_on(QueuedEngine(["Once upon a time"])) as turns:
        events = heard(turns, "Tell me a tale about a dragon")
    assert events[0] == Token("Once upon a time")
    assert isinstance(events[-1], Finished)
    assert events[-1].answer.text == "Once upon a time"
    assert len(events) == 2


def test_what_has_an_answer_is_voted_on_and_the_leader_is_told() -> None:
    with turns_on(QueuedEngine(["Answer: 5", "Answer: 5", "Answer: 6"])) as turns:
        events = heard(turns, SUM)
    assert [(at.finished, at.leader and at.leader.key) for at in events[:-1]] == [(0, None), (1, "5"), (2, "5")]
    assert all(isinstance(at, Progress) for at in events[:-1])
    assert events[-1].answer.answer == "5"


def test_a_voting_turn_with_one_sample_is_streamed() -> None:
    with turns_on(QueuedEngine(["Answer: 5"])) as turns:
        assert heard(turns, SUM, samples=1)[0] == Token("Answer: 5")


def test_the_model_sees_what_was_said_before_and_keeps_it_for_the_next_turn() -> None:
    engine = QueuedEngine(["nine"])
    with turns_on(engine) as turns:
        heard(turns, "Tell me more", user("Tell me of cats"), model("They have lives"), system="Purr.")
    (request,) = engine.requests
    assert [message.content for message in request.messages] == [
        "Purr.",
        "Tell me of cats",
        "They have lives",
        "Tell me more",
    ]
    assert request.keep


def test_the_oldest_turns_are_left_out_where_all_do_not_fit_and_a_note_says_so() -> None:
    engine = Cramped(["fine"], 3)
    said = [user("a"), model("b"), user("c"), model("d")]
    with turns_on(engine) as turns:
        events = heard(turns, "Tell me more", *said)
    assert [message.content for message in engine.requests[0].messages] == ["c", "d", "Tell me more"]
    assert notes_of(events) == [OLDEST.format(2)]
    assert isinstance(events[0], Note)


def test_several_turns_that_are_left_out_are_one_note(said: tuple[Message, ...]) -> None:
    engine = Cramped(["fine"], 3)
    with turns_on(engine) as turns:
        events = heard(turns, SUM, *said, samples=1)
    assert notes_of(events) == [OLDEST.format(len(said) - 2)]
    assert [message.content for message in engine.requests[0].messages][:2] == ["question 39", "answer 39"]
    assert engine.refused < 30  # of 39: not one by one


def test_what_was_left_out_stays_out_and_is_told_once(said: tuple[Message, ...]) -> None:
    engine = Cramped(["one", "two", "three", "four"], 9)
    with turns_on(engine) as turns:
        first = heard(turns, "Tell me a tale", *said)
        refused = engine.refused
        again = heard(turns, "Tell me a tale", *said)  # /regen
        said += (user("Tell me a tale"), model("two"))
        further = heard(turns, "Tell me more", *said)
        said += (user("Tell me more"), model("three"))
        last = heard(turns, "And then?", *said)
    assert len(notes_of(first)) == 1
    assert notes_of(again) == notes_of(further) == notes_of(last) == []
    assert engine.requests[1] == dataclasses.replace(engine.requests[0], seed=engine.requests[1].seed)
    assert engine.refused <= refused + 2  # further ones had to go, but none was tried again
    assert all(len(request.messages) <= 9 for request in engine.requests)


def test_another_conversation_is_tried_whole(said: tuple[Message, ...]) -> None:
    engine = Cramped(["one", "two", "three"], 9)
    with turns_on(engine) as turns:
        heard(turns, "Tell me a tale", *said)
        heard(turns, "Tell me a tale", user("a"), model("b"))
        other = heard(turns, "Tell me another tale", *said)  # as after /undo: the question may have been the long one
    assert [message.content for message in engine.requests[1].messages] == ["a", "b", "Tell me a tale"]
    assert len(notes_of(other)) == 1


@pytest.mark.parametrize("sizes", [[4, 10_000, 10_000], [10_000, 4, 4], [1] * 50, [0, 0, 0]])
def test_what_is_left_out_at_once_is_one_turn_or_an_eighth_of_the_text(sizes: list[int]) -> None:
    said = tuple(turn for size in sizes for turn in (user("x" * size), model("")))
    count = _count_oldest(said)
    assert count % 2 == 0
    assert count >= 2
    assert count == 2 or sum(sizes[: count // 2]) <= sum(sizes) / 8


def test_a_lack_of_memory_is_no_full_context_and_leaves_nothing_out(said: tuple[Message, ...]) -> None:
    leased = []

    def lease(name: str) -> Any:
        leased.append(name)
        raise DoesNotFit("small needs about 9.00 GB of memory and 4.00 GB can be had: ask a smaller model")

    with turns_of(lease) as turns, pytest.raises(DoesNotFit, match="9.00 GB"):
        heard(turns, "Tell me a tale", *said)
    assert len(leased) == 1


def test_a_turn_that_does_not_fit_alone_is_refused_and_the_next_one_goes_on() -> None:
    with turns_on(Cramped(["fine"], 1)) as turns:
        with pytest.raises(DoesNotFit, match="2 messages"):
            heard(turns, "Tell me a tale", system="Purr.")
        assert heard(turns, "Tell me a tale")[-1].answer.text == "fine"


class Endless(QueuedEngine):
    """Begins a sample, and goes on until it is called off."""

    called_off = False

    def generate(self, request: Any, *, on_token: Any = None, cancel: Any = None, **options: Any) -> Any:
        while not cancel.is_set():
            on_token(0, "more ")
            threading.Event().wait(0.001)
        self.called_off = True
        return super().generate(request, on_token=on_token, cancel=threading.Event(), **options)


def test_whoever_stops_listening_cancels_the_turn() -> None:
    engine = Endless(["Once"])
    with turns_on(engine) as turns:
        events = turns.send("Tell me a tale", Ask(history=()), threading.Event())
        assert Token("more ") in events
        events.close()
    assert engine.called_off


def test_the_cancel_event_ends_the_turn_with_what_there_is() -> None:
    cancel = threading.Event()
    with turns_on(Endless(["Once"])) as turns:
        events = turns.send("Tell me a tale", Ask(history=()), cancel)
        assert Token("more ") in events
        cancel.set()
        assert list(events)[-1].answer.text == "Once"


def test_a_team_that_cannot_be_warmed_says_so_in_the_turn() -> None:
    def broken(_: str) -> Any:
        raise BadRequest("no such thing: get one")

    with turns_of(broken) as turns:
        turns.warm()
        with pytest.raises(BadRequest, match="get one"):
            heard(turns, "Tell me a tale")


def test_whoever_leaves_does_not_wait_for_a_model_that_is_being_loaded() -> None:
    begun, given_up, ended = threading.Event(), threading.Event(), threading.Event()

    def lease(_: str) -> Any:
        begun.set()
        assert given_up.wait(30)
        ended.set()
        raise Cancelled("small is not loaded, because all models are being closed")

    runtime = Runtime(TEAM, WordLengthEmbedder, lambda _: None, lease, stop_loading=given_up.set)
    turns = Turns(Avengers(runtime, Lengths))
    turns.warm()
    assert begun.wait(30)
    turns.close()
    assert ended.is_set()


def test_a_turn_is_about_what_the_user_said_before() -> None:
    said = (user("How far is Rome?"), model("Far."))
    assert routing_text("And in miles?", said) == "How far is Rome?\nAnd in miles?"
    assert routing_text("And in miles?", (user("x" * 900), model("y"), *said)) == "How far is Rome?\nAnd in miles?"
    assert routing_text("z" * 900, said) == "z" * 900


@pytest.mark.parametrize("history", [(Message("system", "Purr."),), ("cats",)])
def test_a_history_is_of_user_and_assistant(history: Any) -> None:
    with pytest.raises(BadRequest, match="history"):
        Ask(history=history)
