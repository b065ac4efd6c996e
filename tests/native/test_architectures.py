"""The engine on architectures whose memory cannot be cut back: never an answer to another context than the one asked.

The models are tiny, of random weights, and what they say depends on every token before. The same context evaluated in
other pieces gives the same log-probabilities but for rounding, which is why those are compared and not only the text.
"""

from __future__ import annotations

import dataclasses

import pytest
from random_gguf import ARCHITECTURES, tiny_gguf

from avengers_edge.config import KV_TYPES
from avengers_edge.engine.llama import LlamaEngine
from avengers_edge.engine.protocol import LoadOptions, generate_many
from avengers_edge.errors import EngineDied
from avengers_edge.records import Message, Request, SamplingParams

pytestmark = pytest.mark.native

OPTIONS = LoadOptions(cells=2048, sequences=16, threads=1, repack=False)
TOKENS = 12
ROUNDING = 0.2
"""Keys and values are 16-bit floats: evaluated in other pieces, logits of deviation 2.4 moved by at most 0.02."""

QUESTION = "A question longer than the sliding window."
LONG = "More than a step of the prompt holds. " * 8


@pytest.fixture(scope="module", params=ARCHITECTURES)
def model(request, tmp_path_factory):
    return tiny_gguf(tmp_path_factory.mktemp(request.param) / f"{request.param}.gguf", request.param)


@pytest.fixture
def engine(model):
    with LlamaEngine(model, OPTIONS) as engine:
        yield engine


@pytest.fixture
def fresh(model):
    """What an engine says to a conversation that has seen nothing else."""

    def say(messages):
        with LlamaEngine(model, OPTIONS) as engine:
            return say_one(engine, messages, keep=False)

    return say


def ask(messages, *, keep=True, n=1, temperature=0.0):
    sampling = SamplingParams(temperature, max_tokens=TOKENS, logprobs=20)
    return Request(tuple(messages), sampling, n, keep=keep)


def say_one(engine, messages, **options):
    (completion,) = engine.generate(ask(messages, **options)).completions
    return completion


def chat(*turns):
    return [Message(role, text) for role, text in zip(("user", "assistant") * len(turns), turns, strict=False)]


def alike(one, other):
    """Whether two greedy samples come from one context: alike at every token up to where a near tie parts them."""
    for left, right in zip(one.logprobs, other.logprobs, strict=True):
        ours, theirs = dict(left.top), dict(right.top)
        common = ours.keys() & theirs.keys()
        if len(common) < 15 or max(abs(ours[token] - theirs[token]) for token in common) > ROUNDING:
            return False
        if left.text != right.text:
            return True
    return True


def test_what_is_said_depends_on_the_first_letter(fresh):
    """So none of the laws below holds by itself."""
    said = [fresh(chat(letter + QUESTION)) for letter in "HJK"]
    assert not any(alike(said[left], said[right]) for left, right in ((0, 1), (1, 2), (2, 0)))


def test_n_samples_are_n_and_each_is_as_long_as_asked(engine):
    done = engine.generate(ask(chat(LONG), n=10, temperature=1.0)).completions
    assert [completion.index for completion in done] == list(range(10))
    assert len({completion.text for completion in done}) == 10
    assert {(c.tokens, c.finish_reason) for c in done if c.finish_reason != "stop"} == {(TOKENS, "length")}


def test_every_sample_has_the_whole_prompt_before_it(engine, fresh):
    done = engine.generate(ask(chat(QUESTION), n=6, temperature=1e-6)).completions  # greedy, but really sampled
    assert len(done) == 6
    assert all(alike(completion, fresh(chat(QUESTION))) for completion in done)


def test_a_prompt_of_several_steps_is_one_context(engine, fresh):
    talk = chat(LONG + QUESTION)
    assert alike(say_one(engine, talk), fresh(talk))
    assert not alike(say_one(engine, talk), fresh(chat(QUESTION)))


def test_later_turns_are_said_as_a_fresh_engine_says_them(engine, fresh):
    talk = chat(QUESTION)
    for question in ("And then?", "Why?", "Sure?"):
        reply = say_one(engine, talk)
        assert alike(reply, fresh(talk))
        talk += [Message("assistant", reply.text), Message("user", question)]


def test_the_same_prompt_again_says_the_same(engine, fresh):
    assert all(alike(say_one(engine, chat(QUESTION)), fresh(chat(QUESTION))) for _ in range(3))


@pytest.mark.parametrize("place", [0, 3, TOKENS - 1])
def test_an_edited_history_is_never_answered_from_the_old_one(engine, fresh, place):
    first = say_one(engine, chat(QUESTION)).text
    edited = first[:place] + ("@" if first[place] != "@" else "#") + first[place + 1 :]
    assert alike(say_one(engine, chat(QUESTION, edited, "Go on.")), fresh(chat(QUESTION, edited, "Go on.")))


def test_a_history_cut_short_is_never_answered_from_the_long_one(engine, fresh):
    first = say_one(engine, chat(QUESTION)).text
    say_one(engine, chat(QUESTION, first, "And then?"))
    for shorter in (chat(QUESTION), chat(QUESTION, first, "And"), chat(QUESTION[:30]), chat(QUESTION[:9])):
        assert alike(say_one(engine, shorter), fresh(shorter))


def test_the_samples_that_were_not_chosen_leave_no_trace(engine, fresh):
    done = engine.generate(ask(chat(QUESTION), n=4, temperature=1.0)).completions
    for completion in (done[2], done[0], done[2]):
        turn = chat(QUESTION, completion.text, "Go on.")
        assert alike(say_one(engine, turn), fresh(turn))


def test_conversations_that_take_turns_do_not_mix(engine, fresh):
    talks = [chat(letter + QUESTION) for letter in "AB"]
    for question in ("One.", "Two."):
        for talk in talks:
            reply = say_one(engine, talk)
            assert alike(reply, fresh(talk))
            talk += [Message("assistant", reply.text), Message("user", question)]


def test_requests_side_by_side_say_what_they_say_alone(engine, fresh):
    talks = [chat(letter + QUESTION[: 10 * place]) for place, letter in enumerate("ABCDE")]
    together = dict(generate_many(engine, [ask(talk, keep=False) for talk in talks]))
    for place, talk in enumerate(talks):
        assert alike(together[place].completions[0], fresh(talk))


def test_what_was_called_off_leaves_no_trace(engine, fresh):
    engine.generate(ask(chat(QUESTION), n=5, temperature=1.0), on_finish=lambda _: 0)
    assert alike(say_one(engine, chat(QUESTION)), fresh(chat(QUESTION)))


def test_a_turn_goes_on_from_the_last_one_and_an_edited_one_from_as_far_as_the_memory_can_be_cut(engine):
    """Each byte is a token; all were evaluated but the one drawn last. Only plain attention can be cut back."""
    first = engine.generate(ask(chat(QUESTION)))
    said = first.completions[0].text
    held = first.prompt_tokens + TOKENS - 1
    assert engine.generate(ask(chat(QUESTION, said, "And then?"), keep=False)).reused_tokens == held
    engine.generate(ask(chat(QUESTION)))
    again = engine.generate(ask(chat(QUESTION, "@" + said[1:], "And then?")))
    assert again.reused_tokens == (first.prompt_tokens if engine.facts.name == "llama.gguf" else 0)


def test_a_state_read_back_gives_the_same_turns(model, engine, fresh, tmp_path):
    first = say_one(engine, chat(QUESTION)).text
    saved = engine.save_state(tmp_path / "state")
    assert saved > TOKENS
    for said, reused in ((first, saved), ("@" + first[1:], None)):
        turn = chat(QUESTION, said, "And then?")
        with LlamaEngine(model, OPTIONS) as other:
            assert other.load_state(tmp_path / "state") == saved
            generation = other.generate(ask(turn))
            assert reused in (None, generation.reused_tokens)
            assert alike(generation.completions[0], fresh(turn))


def test_quantized_random_weights_make_sense_to_llama_cpp(tmp_path):
    """Numbers that are none would show as log-probabilities that are none, or as one token over and over."""
    with LlamaEngine(tiny_gguf(tmp_path / "tiny.gguf", "tiny"), OPTIONS) as engine:
        said = say_one(engine, chat("Hello"))
    assert all(-30 < logprob <= 0 for token in said.logprobs for _, logprob in token.top)
    assert said.text.isascii()
    assert len(set(said.text)) > TOKENS // 3


@pytest.mark.parametrize("kv_type", KV_TYPES)
def test_a_type_of_cells_works_or_the_refusal_names_it(kv_type, tmp_path):
    """Blocks of 32 do not divide every head."""
    options = dataclasses.replace(OPTIONS, kv_type=kv_type)
    path = tiny_gguf(tmp_path / "tiny.gguf", "tiny")
    try:
        with LlamaEngine(path, options) as engine:
            assert say_one(engine, chat("Hello")).tokens > 0
    except EngineDied as error:
        assert f"{kv_type} cells" in str(error)
        assert kv_type.startswith("q")
