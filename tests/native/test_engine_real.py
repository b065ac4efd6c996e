"""Laws of the engine that only a real model can show: the 135M one, in this process."""

from __future__ import annotations

import ctypes
import dataclasses
import json
import math
import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import llama_cpp.llama_cpp as llama
import numpy as np
import pytest

from avengers_edge.config import Settings
from avengers_edge.engine.devices import usable_cores
from avengers_edge.engine.llama import LlamaEngine
from avengers_edge.engine.llama_context import LlamaContext, LlamaModel, start_backend
from avengers_edge.engine.protocol import LoadOptions, generate_many
from avengers_edge.engine.sequence import derive_seed
from avengers_edge.library.catalog import Catalog
from avengers_edge.library.store import Store
from avengers_edge.records import Message, Request, SamplingParams

pytestmark = pytest.mark.native

LONG = 120.0  # seconds that a test waits for what must come
NEAR_TIE = 0.8
CLOSE = 0.4
"""Activations are quantized, so the log-probabilities of the likeliest tokens move where the same tokens are evaluated
in other pieces: by 0.1 to 0.24 in the mean and by 0.6 at the most. Of another conversation they are elsewhere."""
SMALL = LoadOptions(cells=256, sequences=8)
SYSTEM = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"
STORY = "Write a story about a fox."


@pytest.fixture(scope="module")
def path(model_home: Path) -> Path:
    return Store(model_home).find(Catalog.of(Settings(home=model_home)).load_model("smollm2-135m-instruct"))


@pytest.fixture(scope="module")
def fresh(path: Path) -> Iterator[LlamaEngine]:
    """An engine that keeps nothing, so that it has no answer but by evaluating the whole prompt."""
    with LlamaEngine(path, LoadOptions(cells=1024, sequences=8)) as engine:
        yield engine


@pytest.fixture(
    scope="module",
    params=[LoadOptions(cells=2048, sequences=16), LoadOptions(cells=1024, sequences=16, split=True)],
    ids=["shared", "split"],
)
def chatty(path: Path, request: pytest.FixtureRequest) -> Iterator[LlamaEngine]:
    """An engine that keeps conversations; the one that all tests share has none, so that its plans stay the same."""
    with LlamaEngine(path, request.param) as engine:
        yield engine


class Bare:
    """The model by llama.cpp's own calls, one sequence and one token at a time."""

    def __init__(self, path: Path) -> None:
        start_backend()
        params = llama.llama_model_default_params()
        params.use_extra_bufts = False
        self.model: Any = llama.llama_model_load_from_file(str(path).encode(), params)
        self.vocab = llama.llama_model_get_vocab(self.model)
        shape = llama.llama_context_default_params()
        shape.n_ctx = 512
        shape.n_threads = shape.n_threads_batch = usable_cores()
        self.context: Any = llama.llama_init_from_model(self.model, shape)

    def close(self) -> None:
        llama.llama_free(self.context)
        llama.llama_model_free(self.model)

    def tokens(self, text: str) -> list[int]:
        raw = text.encode()
        room = (llama.llama_token * (len(raw) + 2))()
        count = llama.llama_tokenize(self.vocab, raw, len(raw), room, len(room), False, True)
        return list(room[:count])

    def token(self, text: str) -> int:
        (token,) = self.tokens(text)
        return token

    def piece(self, token: int) -> str:
        room = ctypes.create_string_buffer(64)
        length = llama.llama_token_to_piece(self.vocab, token, room, 64, 0, False)
        return room.raw[:length].decode("utf-8", "replace")

    def logits(self, tokens: list[int]) -> np.ndarray:
        llama.llama_memory_clear(llama.llama_get_memory(self.context), False)
        batch = (llama.llama_token * len(tokens))(*tokens)
        assert llama.llama_decode(self.context, llama.llama_batch_get_one(batch, len(tokens))) == 0
        row = np.ctypeslib.as_array(
            llama.llama_get_logits_ith(self.context, -1), (llama.llama_vocab_n_tokens(self.vocab),)
        )
        return row.copy()


@pytest.fixture(scope="module")
def bare(path: Path) -> Iterator[Bare]:
    model = Bare(path)
    yield model
    model.close()


def ask(
    *turns: str, n: int = 1, seed: int = 0, keep: bool = False, max_tokens: int = 16, temperature: float = 0.0, **more
):
    """A conversation, the user first."""
    messages = tuple(Message(("user", "assistant")[place % 2], text) for place, text in enumerate(turns))
    return Request(messages, SamplingParams(temperature, max_tokens=max_tokens, **more), n, seed, keep=keep)


def said(engine, *turns: str, **options):
    (completion,) = engine.generate(ask(*turns, **{"logprobs": 20, **options})).completions
    return completion


def texts(generation) -> list[str]:
    return [completion.text for completion in generation.completions]


def alike(one, other) -> bool:
    """Whether two greedy samples come of one context: alike at every token up to where a near tie parts them."""
    for left, right in zip(one.logprobs, other.logprobs, strict=False):
        ours, theirs = dict(left.top), dict(right.top)
        common = ours.keys() & theirs.keys()
        if len(common) < 14 or math.fsum(abs(ours[token] - theirs[token]) for token in common) > CLOSE * len(common):
            return False
        if left.text != right.text:
            return True
    return True


# --- one prompt, many samples


def test_a_prompt_is_evaluated_once_however_many_samples_share_it(small_engine):
    before = small_engine.counters()["prefilled"]
    generation = small_engine.generate(ask("Shared by all: " + STORY, n=8, temperature=1.0, max_tokens=3))
    evaluated = small_engine.counters()["prefilled"] - before
    assert len(generation.completions) == 8
    # The prompt's last token is each sample's first row.
    assert evaluated == generation.prompt_tokens - generation.reused_tokens - 1


def test_every_sample_has_the_whole_prompt_before_it(small_engine, fresh):
    """Sampled so that only the likeliest token can be drawn, all are what one greedy sample is."""
    generation = small_engine.generate(ask(STORY, n=6, temperature=1e-6, logprobs=20, max_tokens=8))
    alone = said(fresh, STORY, max_tokens=8)
    assert len(generation.completions) == 6
    assert all(alike(completion, alone) for completion in generation.completions)


def test_greedy_is_the_largest_logit_again_and_again(small_engine, bare):
    prompt = f"<|im_start|>system\n{SYSTEM}<|im_end|>\n<|im_start|>user\n{STORY}<|im_end|>\n<|im_start|>assistant\n"
    tokens = bare.tokens(prompt)
    assert small_engine.count_tokens(ask(STORY)) == len(tokens)
    sure = 0
    for drawn in said(small_engine, STORY).logprobs:
        row = bare.logits(tokens)
        likeliest = [int(token) for token in np.argsort(-row)[:20]]
        token = next(token for token in likeliest if bare.piece(token) == drawn.text)
        assert row[likeliest[0]] - row[token] < NEAR_TIE
        sure += row[likeliest[0]] - row[likeliest[1]] > NEAR_TIE
        total = float(row.max()) + math.log(np.exp(row - row.max()).sum())
        assert drawn.logprob == pytest.approx(float(row[token]) - total, abs=NEAR_TIE)
        tokens.append(token)
    assert sure >= 4, "ask something that the model is surer of"


def test_the_same_seed_gives_the_same_samples_and_another_seed_others(small_engine):
    request = ask(STORY, n=4, seed=5, temperature=1.0, max_tokens=8)
    first, again = small_engine.generate(request), small_engine.generate(request)
    assert texts(first) == texts(again)
    assert [completion.seed for completion in first.completions] == [derive_seed(5, index) for index in range(4)]
    assert texts(first) != texts(small_engine.generate(ask(STORY, n=4, seed=6, temperature=1.0, max_tokens=8)))


# --- side by side


def test_requests_side_by_side_say_what_they_say_alone(small_engine, fresh):
    questions = [STORY, "What is the capital of France?", "Count to ten.", "Hello!", "Name three colours of paint."]
    alone = [said(fresh, question, max_tokens=8) for question in questions]
    requests = [ask(question, logprobs=20, max_tokens=8) for question in questions]
    together = dict(generate_many(small_engine, requests))
    for place, expected in enumerate(alone):
        assert alike(together[place].completions[0], expected), questions[place]
    assert not any(alike(alone[left], alone[right]) for left in range(5) for right in range(left))


def test_cells_of_what_was_called_off_are_free_again(path):
    """Each request takes most of the cells: one that stayed taken would fail the next."""
    with LlamaEngine(path, SMALL) as engine:
        for seed in range(2):
            heard = threading.Semaphore(0)
            request = ask(STORY, n=7, seed=seed, max_tokens=30, temperature=1.2)
            handle = engine.submit(request, on_token=lambda index, piece, heard=heard: heard.release())
            assert all(heard.acquire(timeout=LONG) for _ in range(20))
            handle.cancel()
            assert len(handle.future.result(LONG).completions) == 7
            generation = engine.generate(ask("word " * 170, max_tokens=24))
            assert 220 < generation.prompt_tokens + 24 <= 256
            assert generation.reused_tokens < 64
            assert len(generation.completions) == 1


# --- conversations


def test_a_second_turn_evaluates_only_what_is_new(chatty, fresh):
    question = "My name is Ada and I like trains. " + STORY
    first = chatty.generate(ask(question, keep=True))
    turns = (question, first.completions[0].text, "What is my name?")
    before = chatty.counters()["prefilled"]
    second = chatty.generate(ask(*turns, keep=True, logprobs=20))
    # All was evaluated but the token drawn last, and the last of the prompt is the sample's first row.
    assert second.reused_tokens >= first.prompt_tokens + first.completions[0].tokens - 1
    assert chatty.counters()["prefilled"] - before == second.prompt_tokens - second.reused_tokens - 1
    assert alike(second.completions[0], said(fresh, *turns))
    assert not alike(second.completions[0], said(fresh, turns[-1]))


def test_an_edited_turn_is_not_answered_from_the_old_one(chatty, fresh):
    turns = ("My favourite colour is {}. Remember it.", "Your favourite colour is {}.", "What is my favourite colour?")
    for colour, other in (("red", "blue"), ("blue", "red")):
        edited = [turn.format(colour) for turn in turns]
        generation = chatty.generate(ask(*edited, keep=True, logprobs=20))
        completion = generation.completions[0]
        assert alike(completion, said(fresh, *edited))
        assert colour in completion.text.lower()
        assert other not in completion.text.lower()
    assert 16 <= generation.reused_tokens < generation.prompt_tokens / 2  # the system prompt, up to the colour


def test_a_saved_conversation_goes_on_in_another_engine(path, chatty, fresh, tmp_path):
    question = "My name is Kim and I like boats. " + STORY
    first = chatty.generate(ask(question, keep=True))
    saved = chatty.save_state(tmp_path / "state")
    assert saved == first.prompt_tokens + first.completions[0].tokens - 1
    turns = (question, first.completions[0].text, "What is my name?")
    split = chatty._context.split
    with LlamaEngine(path, dataclasses.replace(SMALL, split=not split)) as unlike:
        assert unlike.load_state(tmp_path / "state") == 0
    with LlamaEngine(path, LoadOptions(cells=256, sequences=16, split=True) if split else SMALL) as other:
        assert other.save_state(tmp_path / "nothing kept") == 0
        assert other.load_state(tmp_path / "state") == saved
        second = other.generate(ask(*turns, logprobs=20))
        assert second.reused_tokens == saved
        assert alike(second.completions[0], said(fresh, *turns))
        assert not alike(second.completions[0], said(fresh, turns[-1]))


_LOAD_STATES = """
    import sys
    from pathlib import Path
    from avengers_edge.engine.llama import LlamaEngine
    from avengers_edge.engine.protocol import LoadOptions
    from avengers_edge.records import Message, Request, SamplingParams

    model, folder = map(Path, sys.argv[1:])
    hello = Request((Message("user", "Hi!"),), SamplingParams(0, max_tokens=1))
    for kv_type, names in (("f16", ("empty", "other", "missing", "half")), ("q8_0", ("state",))):
        with LlamaEngine(model, LoadOptions(cells=256, sequences=8, kv_type=kv_type)) as engine:
            for name in names:
                print(name, engine.load_state(folder / name), engine.generate(hello).reused_tokens, flush=True)
"""


def test_a_state_that_is_none_is_of_no_use_and_no_harm(path, chatty, tmp_path):
    """In a process of its own, since llama.cpp ends the one in which it reads what it does not expect."""
    chatty.generate(ask("Hi!", keep=True, max_tokens=2))
    assert chatty.save_state(tmp_path / "state") > 0
    whole = (tmp_path / "state").read_bytes()
    (tmp_path / "half").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "other").write_bytes(b"something else entirely " * 100)
    command = [sys.executable, "-c", textwrap.dedent(_LOAD_STATES), str(path), str(tmp_path)]
    quiet = os.environ | {"GGML_NO_BACKTRACE": "1"}
    ended = subprocess.run(command, capture_output=True, text=True, timeout=LONG, check=False, env=quiet)
    told = [f"{name} 0 0" for name in ("empty", "other", "missing", "half", "state")]
    assert (ended.stdout.splitlines(), ended.returncode) == (told, 0), ended.stderr[-500:]


# --- how tokens are drawn


def test_logprobs_are_log_probabilities_and_spell_the_text(small_engine):
    completion = said(small_engine, STORY, logprobs=5)
    assert len(completion.logprobs) == completion.tokens
    assert "".join(drawn.text for drawn in completion.logprobs) == completion.text
    for drawn in completion.logprobs:
        values = [logprob for _, logprob in drawn.top]
        assert len(values) == 5
        assert all(-100 < logprob <= 0 for logprob in values)
        assert values == sorted(values, reverse=True)
        assert math.fsum(map(math.exp, values)) <= 1 + 1e-5
        assert (drawn.text, drawn.logprob) == drawn.top[0]


def test_a_stop_string_across_a_token_border_ends_the_text_before_it_and_leaks_nothing(small_engine):
    whole = said(small_engine, STORY, max_tokens=14)
    pieces = [drawn.text for drawn in whole.logprobs]
    stop = pieces[8][-2:] + pieces[9][:2]
    place = whole.text.index(stop)
    streamed: list[str] = []
    generation = small_engine.generate(
        ask(STORY, max_tokens=14, stop=(stop,)), on_token=lambda index, piece: streamed.append(piece)
    )
    (completion,) = generation.completions
    assert (completion.text, completion.finish_reason) == (whole.text[:place], "stop")
    assert "".join(streamed) == completion.text
    assert completion.tokens <= 10


def test_a_grammar_bounds_every_sample(small_engine):
    grammar = 'root ::= ("yes" | "no") ", " [a-c]+ "."'
    generation = small_engine.generate(
        ask("Is the sky blue?", n=6, temperature=1.0, grammar='root ::= ("yes" | "no") "."')
    )
    assert set(texts(generation)) <= {"yes.", "no."}
    assert {completion.finish_reason for completion in generation.completions} == {"stop"}
    cut = said(small_engine, "Is the sky blue?", grammar=grammar, max_tokens=6)
    assert cut.text.startswith(("yes, ", "no, "))
    assert set(cut.text.partition(", ")[2]) <= set("abc.")


def test_a_schema_gives_json_that_fits_it(small_engine):
    schema = {
        "type": "object",
        "properties": {"colour": {"enum": ["red", "green"]}, "warm": {"type": "boolean"}},
        "required": ["colour", "warm"],
        "additionalProperties": False,
    }
    generation = small_engine.generate(
        ask("Describe fire.", n=4, temperature=1.0, max_tokens=60, schema=json.dumps(schema))
    )
    finished = [completion for completion in generation.completions if completion.finish_reason == "stop"]
    assert finished
    for completion in finished:
        values = json.loads(completion.text)
        assert set(values) == {"colour", "warm"}
        assert values["colour"] in ("red", "green")
        assert isinstance(values["warm"], bool)


def test_a_bias_decides_what_is_said_and_what_is_not(small_engine, bare):
    cat = bare.token(" cat")
    assert said(small_engine, STORY, logit_bias=((cat, 100.0),), max_tokens=5).text == " cat" * 5
    first = said(small_engine, STORY, max_tokens=1).text
    assert said(small_engine, STORY, max_tokens=1, logit_bias=((bare.token(first), -100.0),)).text != first


def test_penalties_turn_a_text_away_from_what_it_said(small_engine, bare):
    bias = ((bare.token(" cat"), 100.0), (bare.token(" dog"), 60.0))
    assert said(small_engine, STORY, logit_bias=bias, max_tokens=2).text == " cat cat"
    assert said(small_engine, STORY, logit_bias=bias, max_tokens=2, repeat_penalty=10.0).text == " cat dog"
    close = (bias[0], (bias[1][0], 92.0))
    counted = said(small_engine, STORY, logit_bias=close, max_tokens=24, frequency_penalty=2.0)
    words = counted.text.split()
    assert words[0] == "cat"
    assert "dog" in words
    forgetful = said(small_engine, STORY, logit_bias=close, max_tokens=24, frequency_penalty=2.0, penalty_window=1)
    assert set(forgetful.text.split()) == {"cat"}


def test_samples_that_are_evaluated_apart_from_prompts_follow_from_the_same_tokens(path):
    """A step of 64 rows and more is evaluated in two calls where all share a cache: the rows stay whose they were."""
    tokens = [100 + 7 * place for place in range(80)]
    with LlamaModel(path, LoadOptions()) as model, LlamaContext(model, LoadOptions(cells=1024, sequences=8)) as context:
        for sequence in range(4):
            count = 9 + sequence
            context.decode(tokens[:count], list(range(count)), [sequence] * count, [False] * count)
        alone = [context.decode([tokens[50 + s]], [9 + s], [s], [True]).copy()[0] for s in range(4)]
        for sequence in range(4):
            context.rollback(sequence, 9 + sequence)
        prompt = len(tokens) - 4
        columns = (
            [tokens[50], tokens[51], *tokens[:prompt], tokens[52], tokens[53]],
            [9, 10, *range(prompt), 11, 12],
            [0, 1, *[5] * prompt, 2, 3],
        )
        among = context.decode(*columns, [True, True, *[False] * prompt, True, True]).copy()
        with pytest.raises(AssertionError):
            np.testing.assert_allclose(among[[1, 0, 3, 2]], alone, atol=1.0)
        np.testing.assert_allclose(among, alone, atol=1.0)
        after = context.decode([5], [prompt], [5], [True]).copy()
        context.clear()
        context.decode(tokens[:prompt], list(range(prompt)), [5] * prompt, [False] * prompt)
        np.testing.assert_allclose(after, context.decode([5], [prompt], [5], [True]), atol=1.0)
