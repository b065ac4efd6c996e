"""The embedded team on a real model in a worker process: what is told is what is answered, and what is left ends."""

from __future__ import annotations

import asyncio
import threading

import numpy as np
import pytest
from api_fakes import solo_home

from avengers_edge import (
    Ask,
    AsyncAvengers,
    Avengers,
    Cancelled,
    DoesNotFit,
    Finished,
    Loading,
    Message,
    Progress,
    Routed,
    Token,
)

pytestmark = pytest.mark.native

TALE, SUM = "Tell me a tale of three cats", "How many legs do 3 cats have?"
ENDLESS = Ask(max_tokens=4000, temperature=1.0)
LONG = 120  # seconds a test waits for what must come


@pytest.fixture(scope="module")
def folder(model_home, tmp_path_factory):
    return solo_home(model_home, tmp_path_factory.mktemp("solo"))


@pytest.fixture(scope="module")
def team(folder):
    with Avengers.open(home=folder) as team:
        yield team


def test_the_first_question_tells_that_the_model_is_loaded_and_the_pieces_are_the_text(team):
    first, second = (list(team.stream(TALE)) for _ in range(2))
    assert [type(event) for event in first[:3]] == [Routed, Loading, Token]
    assert [type(event) for event in second[:2]] == [Routed, Token]
    for events in (first, second):
        assert isinstance(events[-1], Finished)
        assert "".join(event.text for event in events if isinstance(event, Token)) == events[-1].answer.text


def test_a_vote_tells_its_count_and_no_text(team):
    events = list(team.stream(SUM, Ask(samples=4)))
    counts = [event.finished for event in events if isinstance(event, Progress)]
    assert counts == list(range(len(counts)))
    assert events[-1].answer.samples_used == counts[-1]
    assert not any(isinstance(event, Token) for event in events)


def test_who_stops_listening_and_who_cancels_end_their_answers_long_before_their_length(team):
    events = team.stream(TALE, ENDLESS)
    assert any(isinstance(event, Token) for event in events)
    events.close()
    begun = threading.Event()
    pending = team.submit(TALE, ENDLESS, on_event=lambda event: isinstance(event, Token) and begun.set())
    assert begun.wait(LONG)
    pending.cancel()
    (sample,) = pending.result(LONG).samples
    assert sample.finish_reason == "cancelled"
    assert 0 < sample.tokens < 4000


def test_questions_at_the_same_time_share_the_model(team):
    pending = [team.submit(TALE, Ask(max_tokens=16, seed=seed)) for seed in range(6)]
    assert all(each.result(LONG).usage.completion_tokens for each in pending)


def test_a_conversation_finds_what_it_knows_in_the_cache(team):
    first = team.answer(TALE, Ask(history=(), max_tokens=8))
    said = (Message("user", TALE), Message("assistant", first.text))
    assert team.answer("Tell me more", Ask(history=said, max_tokens=8)).usage.cached_tokens > 0


def test_vectors_are_the_embedders_own_and_a_long_text_is_refused(team):
    vectors = team.embed(["a cat", "a dog", "the square root of two"])
    assert (vectors.dtype, vectors.shape) == (np.float32, (3, 384))
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2]
    with pytest.raises(DoesNotFit, match="reads 256"):
        team.embed(["word " * 300])


def test_a_task_that_is_cancelled_leaves_the_model_to_others(folder):
    async def main():
        async with AsyncAvengers.open(home=folder) as team:
            await team.warm()
            events = team.stream(TALE, ENDLESS)
            async for event in events:
                if isinstance(event, Token):
                    break
            await events.aclose()
            answer = asyncio.create_task(team.answer(TALE, ENDLESS))
            await asyncio.sleep(0.2)
            answer.cancel()
            await asyncio.wait([answer])
            assert answer.cancelled()
            return await team.answer(TALE, Ask(max_tokens=8))

    assert asyncio.run(main()).usage.completion_tokens


def test_closing_ends_an_answer_in_its_middle_with_what_there_is(folder):
    team, begun = Avengers.open(home=folder), threading.Event()
    pending = team.submit(TALE, ENDLESS, on_event=lambda event: isinstance(event, Token) and begun.set())
    assert begun.wait(LONG)
    team.close()
    assert pending.done()
    assert pending.result().samples[0].finish_reason == "cancelled"


def test_closing_while_the_model_is_loaded_is_no_answer(folder):
    team, loading = Avengers.open(home=folder), threading.Event()
    pending = team.submit(TALE, on_event=lambda event: isinstance(event, Loading) and loading.set())
    assert loading.wait(LONG)
    team.close()
    assert isinstance(pending.exception(LONG), Cancelled)
