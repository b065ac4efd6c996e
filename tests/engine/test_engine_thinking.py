"""Laws of thinking before the answer: who is asked to, where it begins, and that it leaves room for an answer."""

from __future__ import annotations

import itertools

import pytest
from fake_llama import FLAT, STEEP, FakeLlama, FakeModel
from hypothesis import given
from hypothesis import strategies as st

from avengers_edge.engine.chat_template import ChatTemplate, opened_thought, wants_thought
from avengers_edge.engine.detokenizer import THOUGHT_END, ThinkingBudget
from avengers_edge.records import Message, Request, SamplingParams, Tool, Tools
from avengers_edge.voting.keys import answer_key, extract_answer
from avengers_edge.voting.markers import said_in

HI = (Message("user", "Hi"),)
TURNS = "{% for m in messages %}<{{ m.role }}>{{ m.content.split('</think>')[-1] }}\n{% endfor %}{{ '<assistant>\n' }}"
OPENS = TURNS + "{{ '<think>\n' }}"
"""As GLM-Z1, Nemotron Nano and the distilled DeepSeek R1 do."""
SWITCHES = (
    TURNS + "{% if enable_thinking is defined and enable_thinking is false %}{{ '<think>\n\n</think>\n\n' }}{% endif %}"
)
"""As Qwen3 and MiniCPM 4.1 do: they think unless they are told not to."""
ASKS = TURNS.replace("</think>", "|") + "{% if thinking %}{{ '<think>\n' }}{% endif %}"
"""As Granite 3 does: it thinks where it is told to."""
PLAIN = TURNS.replace(".split('</think>')[-1]", "")


@pytest.mark.parametrize(
    ("template", "thinking", "end"),
    [
        (OPENS, None, "<assistant>\n<think>\n"),
        (OPENS, True, "<assistant>\n<think>\n"),
        (OPENS, False, "<assistant>\n<think>\n\n</think>\n\n"),
        (SWITCHES, None, "<assistant>\n"),
        (SWITCHES, True, "<assistant>\n"),
        (SWITCHES, False, "<assistant>\n<think>\n\n</think>\n\n"),
        (TURNS, None, "<assistant>\n"),  # DeepSeek R1 0528, whose model begins the thought
        (TURNS, False, "<assistant>\n<think>\n\n</think>\n\n"),
        (ASKS, None, "<assistant>\n"),
        (ASKS, True, "<assistant>\n<think>\n"),
        (ASKS, False, "<assistant>\n"),
        (PLAIN, True, "<assistant>\n"),
        (PLAIN, False, "<assistant>\n"),
    ],
)
def test_a_prompt_ends_as_the_thinking_that_is_asked_for_begins(template, thinking, end):
    text = ChatTemplate(template).render(HI, thinking=thinking)
    assert text == "<user>Hi\n" + end
    assert opened_thought(text) == ("<think>\n" if end.endswith("<think>\n") else "")


@pytest.mark.parametrize(
    ("sampling", "tools", "wanted"),
    [
        ({}, None, None),
        ({"thinking_budget": 0}, None, False),
        ({"thinking_budget": 9}, None, True),
        ({"thinking_budget": 9, "schema": "{}"}, None, False),
        ({"thinking_budget": 9, "grammar": "root ::= [a]"}, None, False),
        ({"schema": "{}"}, None, False),
        ({"thinking_budget": 9}, Tools((Tool("f"),)), True),
        ({"thinking_budget": 9}, Tools((Tool("f"),), must=True), False),
    ],
)
def test_what_is_bounded_from_its_first_token_has_no_place_for_a_thought(sampling, tools, wanted):
    assert wants_thought(Request(HI, SamplingParams(**sampling), tools=tools)) is wanted


def due(pieces, budget=4, max_tokens=100, *, open_at_start=False):
    """The place of the piece with which a thought has taken its budget, or None."""
    counted = ThinkingBudget(SamplingParams(thinking_budget=budget), max_tokens, opened=open_at_start)
    return next((place for place, piece in enumerate(pieces) if counted.push(piece)), None)


A_TO_J = [letter.encode() for letter in "abcdefghij"]


@pytest.mark.parametrize(
    ("pieces", "options", "place"),
    [
        (A_TO_J, {}, None),  # no thought at all
        (A_TO_J, {"open_at_start": True}, 3),
        ([b"<think>", *A_TO_J], {}, 3),
        ([b"a <th", b"ink>b", *A_TO_J], {}, 4),
        ([b"<think>", b"</think>", *A_TO_J], {}, None),
        ([b"a", b"</th", b"ink>", *A_TO_J], {"open_at_start": True}, None),
        ([b"<think>x</think>", *A_TO_J], {}, None),
        ([b"<think>", b"a", b"</think>", b"<think>", b"b", b"c"], {}, 4),  # both thoughts take of one budget
        (A_TO_J, {"open_at_start": True, "budget": 0}, 0),
        (A_TO_J, {"open_at_start": True, "budget": None}, None),
        (A_TO_J, {"open_at_start": True, "budget": 9, "max_tokens": 6}, 4),  # a sixth is for the answer
    ],
)
def test_the_tokens_of_thoughts_are_counted_and_no_others(pieces, options, place):
    assert due(pieces, **options) == place


@given(st.lists(st.sampled_from(["<think>", "</think>", "ab", "<", "think>"]), max_size=8), st.data())
def test_a_tag_is_seen_however_tokens_cut_it(parts, data):
    text = "".join(parts).encode()
    cuts = sorted(data.draw(st.sets(st.integers(0, len(text)))) | {0, len(text)})
    counted = ThinkingBudget(SamplingParams(thinking_budget=0), 512, opened=False)
    last = False
    for begin, end in itertools.pairwise(cuts):
        last = counted.push(text[begin:end])
    assert last == (text.rfind(b"<think>") > text.rfind(b"</think>"))


class Thinker(FakeModel):
    """Token "c" begins a thought, "z" ends it; the last words are "z" and "!", which is its "y"."""

    PIECES = {3: b"<think>", 25: b"!", 26: b"</think>"}  # noqa: RUF012
    thought_end = (26, 25)

    def piece(self, token: int) -> bytes:
        return self.PIECES.get(token) or super().piece(token)


def request(budget, max_tokens=24, n=1, temperature=0.0, text="ab"):
    sampling = SamplingParams(temperature=temperature, max_tokens=max_tokens, thinking_budget=budget)
    return Request((Message("user", text),), sampling, n)


def text_of(budget, text="ab", **options):
    llama = FakeLlama(model=Thinker(), **options)
    (completion,) = llama.generate(request(budget, text=text)).completions
    assert completion.tokens <= 24
    return completion.text


def test_a_thought_that_takes_its_budget_is_closed_and_the_answer_goes_on():
    assert text_of(None) == "b<think>defghijklmnopqrstuvwx!"
    assert text_of(4) == "b<think>def</think>!ijklmnopqrstuvwx!"
    assert text_of(0) == "b<think></think>!fghijklmnopqrstuvwx!"


def test_the_thought_that_a_prompt_opens_is_part_of_the_text_and_of_what_is_told():
    told = []
    llama = FakeLlama(model=Thinker(), opened="<think>\n")
    (completion,) = llama.generate(
        request(3, max_tokens=6, text="abcd"), on_token=lambda _, piece: told.append(piece)
    ).completions
    assert completion.text == "".join(told) == "<think>\ndef</think>!i"
    assert completion.tokens == 6
    assert said_in(completion.text) == "!i"


def test_each_sample_has_a_budget_of_its_own():
    llama = FakeLlama(model=Thinker(), opened="<think>\n")
    generation = llama.generate(request(3, max_tokens=9, n=5, temperature=1.0, text="abcd"))
    for completion in generation.completions:
        thought = completion.text.removeprefix("<think>\n").partition("</think>")[0]
        assert len(thought.replace("<think>", "c").replace("</think>", "z")) <= 3


@pytest.mark.parametrize("text", ["ab", "abab" * 8, "abcdefghijklmnopqrstuvwxyz" * 3])
def test_an_end_that_is_forced_does_not_depend_on_what_was_drafted(text):
    assert text_of(4, text, curve=FLAT) == text_of(4, text, curve=STEEP)


@pytest.mark.parametrize("kind", ["number", "choice", "label", "expression", "code", "text"])
def test_a_thought_is_never_the_answer(kind):
    cut = "<think>\nIt is 7 or B or yes,\n```python\nx = 7\n```\n so \\(7\\) it is"
    assert answer_key(cut, kind, truncated=True, choices=("yes", "no")) is None
    assert said_in(cut) == ""
    closed = cut + THOUGHT_END
    assert extract_answer(closed, kind, choices=("yes", "no")) is None


def test_what_is_said_after_the_last_words_is_the_answer():
    text = f"<think>\nAnswer: 7? No, 8.{THOUGHT_END}Answer: 8"
    assert extract_answer(text, "number") == said_in(text).removeprefix("Answer: ") == "8"
