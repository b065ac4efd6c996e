"""Thinking before the answer on llama.cpp: what a template opens is part of the text, and a budget ends it."""

from __future__ import annotations

import pytest
from random_gguf import ARCHITECTURES, tiny_gguf

from avengers_edge.engine.chat_template import ChatTemplate
from avengers_edge.engine.detokenizer import THOUGHT_END
from avengers_edge.engine.llama import LlamaEngine
from avengers_edge.engine.protocol import LoadOptions
from avengers_edge.records import Message, Request, SamplingParams

pytestmark = pytest.mark.native

OPTIONS = LoadOptions(cells=2048, sequences=16, threads=1, repack=False)
OPENS = "{% for m in messages %}{{ m.content }}\n{% endfor %}{{ '<think>\\n' }}"
MAX_TOKENS = 90


@pytest.fixture(scope="module", params=ARCHITECTURES)
def engine(request, tmp_path_factory):
    path = tiny_gguf(tmp_path_factory.mktemp(request.param) / f"{request.param}.gguf", request.param)
    with LlamaEngine(path, OPTIONS) as engine:
        engine._template = ChatTemplate(OPENS)
        yield engine


def ask(budget, *, n=1, temperature=0.0, **options):
    sampling = SamplingParams(temperature, max_tokens=MAX_TOKENS, thinking_budget=budget, **options)
    return Request((Message("user", "Why?"),), sampling, n)


def test_a_thought_that_takes_its_budget_is_closed_and_the_model_goes_on(engine):
    (free,) = engine.generate(ask(None)).completions
    (bound,) = engine.generate(ask(7)).completions
    assert free.text.startswith("<think>\n")
    assert "</think>" not in free.text  # random weights do not spell it
    thought, tag, answer = bound.text.partition("</think>")
    assert thought + tag + answer[:2] == free.text[: len("<think>\n") + 7] + THOUGHT_END
    assert len(answer) > 2
    assert bound.tokens == free.tokens == MAX_TOKENS
    assert bound.finish_reason == "length"


def test_each_of_several_samples_is_ended_by_itself_and_told_whole(engine):
    told = {}
    generation = engine.generate(
        ask(7, n=4, temperature=1.0, logprobs=2),
        on_token=lambda index, piece: told.setdefault(index, []).append(piece),
    )
    for completion in generation.completions:
        assert "".join(told[completion.index]) == completion.text
        assert completion.text.count("</think>") >= 1
        assert len(completion.logprobs) == completion.tokens
    assert len({completion.text for completion in generation.completions}) == 4


def test_a_model_that_is_not_to_think_answers_at_once(engine):
    (completion,) = engine.generate(ask(0)).completions
    assert not completion.text.startswith("<think>")
    assert engine.count_tokens(ask(0)) > engine.count_tokens(ask(None))


def test_what_a_grammar_bounds_has_no_thought(engine):
    (completion,) = engine.generate(ask(50, grammar='root ::= "yes"')).completions
    assert completion.text == "yes"
