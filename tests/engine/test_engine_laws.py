"""Laws of any engine, held against the decode loop on a fake cache and against real llama.cpp on a real small model."""

from __future__ import annotations

import threading

import pytest
from fake_llama import FakeLlama

from avengers_edge.engine.speculation import LONGEST
from avengers_edge.errors import ContextFull
from avengers_edge.records import Message, Request, SamplingParams


def ask(n=4, *, text="tell me a story", seed=7, temperature=0.8, max_tokens=24, stop=()):
    sampling = SamplingParams(temperature=temperature, max_tokens=max_tokens, stop=stop)
    return Request((Message("user", text),), sampling, n, seed)


@pytest.fixture(
    params=[
        "fake",
        "fake, split",
        pytest.param("small_engine", marks=pytest.mark.native),
        pytest.param("split_engine", marks=pytest.mark.native),
    ]
)
def engine(request):
    if request.param.startswith("fake"):
        return FakeLlama(split=request.param.endswith("split"))
    return request.getfixturevalue(request.param)


def texts(generation):
    return [completion.text for completion in generation.completions]


def test_exactly_n_samples_come_back_in_index_order(engine):
    generation = engine.generate(ask(11))
    assert [completion.index for completion in generation.completions] == list(range(11))


def test_no_sample_is_longer_than_max_tokens_and_length_means_just_that(engine):
    for completion in engine.generate(ask(8, max_tokens=6)).completions:
        assert completion.tokens <= 6
        assert (completion.finish_reason == "length") == (completion.tokens == 6)


def test_more_samples_than_fit_in_a_step_wait_and_still_come(engine):
    assert len(engine.generate(ask(40, max_tokens=8)).completions) == 40


def test_greedy_samples_are_all_alike(engine):
    assert len(set(texts(engine.generate(ask(4, temperature=0, max_tokens=12))))) == 1


def test_samples_with_a_temperature_are_not_one_sample_repeated(engine):
    assert len(set(texts(engine.generate(ask(10, temperature=1.2))))) > 1


def test_each_sample_has_a_seed_of_its_own(engine):
    assert len({completion.seed for completion in engine.generate(ask(16, max_tokens=2)).completions}) == 16


def test_the_same_seed_gives_the_same_texts_and_another_seed_others(engine):
    first, again, other = (texts(engine.generate(ask(6, seed=seed))) for seed in (3, 3, 4))
    assert first == again
    assert first != other


def test_enough_cancels_the_others_at_once(engine):
    heard = []

    def enough_after_one(completion):
        heard.append(completion.index)
        return 0

    generation = engine.generate(ask(8, max_tokens=64), on_finish=enough_after_one)
    reasons = {completion.index: completion.finish_reason for completion in generation.completions}
    assert heard and all(reasons[index] != "cancelled" for index in heard)
    assert all(reason == "cancelled" for index, reason in reasons.items() if index not in heard)


def test_cancelling_ends_every_sample_within_one_step(engine):
    """A step gives a sample one token and at most as many as were drafted."""
    handed_in = threading.Event()

    def call_off(index, piece):
        assert handed_in.wait(60)
        request.cancel()

    request = engine.submit(ask(4, max_tokens=64), on_token=call_off)
    handed_in.set()
    if isinstance(engine, FakeLlama):
        while engine.scheduler.busy:
            engine.step()
        request = request.handle
    generation = request.result()
    assert all(completion.tokens <= 1 + LONGEST for completion in generation.completions)
    assert any(completion.finish_reason == "cancelled" for completion in generation.completions)


def test_an_engine_cancelled_before_it_began_generates_nothing(engine):
    cancel = threading.Event()
    cancel.set()
    assert engine.generate(ask(4), cancel=cancel).completions == ()


def test_after_a_failure_in_a_callback_the_engine_works_as_before(engine):
    def fail(completion):
        raise RuntimeError("not today")

    before = texts(engine.generate(ask(3)))
    with pytest.raises(RuntimeError, match="not today"):
        engine.generate(ask(3), on_finish=fail)
    assert texts(engine.generate(ask(3))) == before


def test_streamed_pieces_add_up_to_the_texts(engine):
    streamed = {}
    generation = engine.generate(ask(3), on_token=lambda index, piece: streamed.setdefault(index, []).append(piece))
    for completion in generation.completions:
        assert "".join(streamed.get(completion.index, [])) == completion.text


def test_a_stop_string_ends_a_sample_and_is_not_in_its_text(engine):
    generation = engine.generate(ask(6, stop=("e",), max_tokens=64))
    assert all("e" not in completion.text for completion in generation.completions)
    assert any(completion.finish_reason == "stop" for completion in generation.completions)


def test_a_prompt_beyond_the_context_is_refused_with_both_numbers(engine):
    with pytest.raises(ContextFull, match=r"\d+ prompt tokens and 24 for an answer need \d+ tokens .* has \d+"):
        engine.generate(ask(1, text="abc " * 6_000))
