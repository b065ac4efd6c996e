"""Laws of reading calls out of what models write, of their keys, and of what may be shown while they are written."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avengers_edge.errors import BadRequest
from avengers_edge.records import Ask, Tool, ToolCall, Tools
from avengers_edge.voting.ballot import UNIT, Ballot
from avengers_edge.voting.calls import NO_CALL, CallFilter, ParsedReply, calls_key, read_calls
from avengers_edge.voting.kinds import comparison_of, kind_of

NAMES = ("weather", "add")
PARIS = '{"name": "weather", "arguments": {"city": "Paris"}}'
SUM = '{"name": "add", "arguments": {"a": 2, "b": 3}}'
TAGGED = f"<tool_call>\n{PARIS}\n</tool_call>"
CALLS = {PARIS: ToolCall("weather", '{"city": "Paris"}'), SUM: ToolCall("add", '{"a": 2, "b": 3}')}


@pytest.mark.parametrize(
    ("text", "content"),
    [
        (TAGGED, ""),
        (f"Let me see.\n{TAGGED}", "Let me see."),
        (f"<tool_call>{PARIS}", ""),  # the end of the turn closes it
        (f"<tool_call>{{{PARIS}}}</tool_call>", ""),
        (f"{TAGGED}\nOne moment.", "One moment."),
        (f"<think>the sum? {SUM}</think>\n\n{TAGGED}", f"<think>the sum? {SUM}</think>"),
        (PARIS, ""),
        (f" [{PARIS}]", ""),  # Mistral's, whose mark prints nothing
        (f"[TOOL_CALLS] [{PARIS}]", ""),
        (f"<|python_tag|>{PARIS}", ""),
        (f"```json\n{PARIS}\n```", ""),
        (f"I look it up:\n```json\n{PARIS}\n```\n", "I look it up:"),
        (PARIS.replace("arguments", "parameters"), ""),
        ('{"type": "function", "function": ' + PARIS + "}", ""),
        (json.dumps({"name": "weather", "arguments": '{"city": "Paris"}'}), ""),
    ],
)
def test_a_call_is_read_in_every_form_that_models_write_it_in(text, content):
    assert read_calls(text, NAMES) == ParsedReply(content, (CALLS[PARIS],))


@pytest.mark.parametrize(
    "text",
    [
        f"{TAGGED}\n<tool_call>\n{SUM}\n</tool_call>",
        f"[{PARIS}, {SUM}]",
        f"{PARIS}\n{SUM}",
        f"{PARIS}; {SUM}",
        f"```\n{PARIS}\n{SUM}\n```",
    ],
)
def test_several_calls_are_read_in_their_order(text):
    assert read_calls(text, NAMES).calls == (CALLS[PARIS], CALLS[SUM])


def test_what_is_not_wholly_calls_of_known_functions_is_text():
    for text in [
        "",
        "It rains in Paris.",
        PARIS.replace("weather", "rm"),
        f"{TAGGED}<tool_call>oops</tool_call>",
        f"<tool_call>{PARIS[:-3]}</tool_call>",
        "<tool_call></tool_call>",
        f"Here: {PARIS}",
        f"{PARIS} is what I would call.",
        f"```python\n{PARIS}\n```",
        f"```json\n{PARIS}\n```\nThis is how to call it.",
        f"<think>{TAGGED}",
        '{"name": "weather"}',
        '{"name": "weather", "arguments": [1]}',
        '{"name": ["weather"], "arguments": {}}',
        '{"name": "add", "arguments": {"a": NaN}}',
        '{"name": "add", "arguments": {"a": 1e999}}',
        '{"name": "weather", "arguments": {"city": "\\ud800"}}',
        '{"name": "add", "arguments": {"a": ' + "9" * 5000 + "}}",
        "[" * 100_000,
        "<tool_call>" + '{"a":' * 100_000,
        '["weather"]',
        "5",
    ]:
        for kind in [tuple, frozenset]:
            assert read_calls(text, kind(NAMES)) == ParsedReply(text)


@given(st.text(st.sampled_from('<>/tol_cal`json\n{}[]":,weathr1 '), max_size=60))
def test_any_text_is_read_and_nothing_of_a_text_without_calls_is_lost(text):
    said = read_calls(text, NAMES)
    assert said.calls or said.content == text


def test_the_same_calls_are_one_key_whatever_their_form_order_and_spelling_of_values():
    swapped = '{"name": "add", "parameters": {"b": 3.0, "a": 2}}'
    assert calls_key(SUM, NAMES) == calls_key(swapped, NAMES) == calls_key(f"<tool_call>{swapped}", NAMES)
    both = f"[{PARIS}, {SUM}]"
    assert calls_key(both, NAMES) == calls_key(f"{swapped}\n{PARIS}", NAMES)
    others = [PARIS, SUM, both, SUM.replace("3", "4"), "Hello", f"[{SUM}, {SUM}]"]
    assert len({calls_key(text, NAMES) for text in others}) == len(others)


def test_texts_without_calls_agree_and_a_call_that_was_cut_off_votes_for_nothing():
    assert calls_key("Hello", NAMES) == calls_key("Good day", NAMES) == NO_CALL
    assert calls_key("<tool_call>{", NAMES) is None
    assert calls_key("<think>hm", NAMES) is None


def test_calls_are_voted_on_and_stop_sampling_like_any_other_answer():
    ask = Ask(tools=Tools((Tool("weather"), Tool("add"))))
    assert kind_of("How many are 2 and 3?", ask) == "text"
    compare = comparison_of(ask)
    assert compare is not None
    ballot = Ballot([UNIT] * 5, "exact", "text")
    texts = (SUM, "It is 5.", f"<tool_call>{SUM}</tool_call>", SUM.replace("2,", "2.0,"))
    needed = [ballot.add(index, compare(text)) for index, text in enumerate(texts)]
    assert needed[-1] == 0
    assert [(vote.key, vote.count) for vote in ballot.votes] == [('[["add",{"a":2,"b":3}]]', 3), (NO_CALL, 1)]


@pytest.mark.parametrize("values", [{"kind": "number"}, {"tests": "assert f(1)"}])
def test_tools_do_not_go_with_another_way_to_vote(values):
    with pytest.raises(BadRequest, match="tools"):
        Ask(tools=Tools((Tool("add"),)), **values)


# --- while it is written -------------------------------------------------------------------------------------------

TEXTS = (
    "It rains in Paris.",
    TAGGED,
    f"Let me see.\n{TAGGED}",
    f"<think>{{}} hm</think>Now:\n{TAGGED}\n{TAGGED}",
    PARIS,
    f"```json\n{PARIS}\n```",
    f"I look:\n```json\n{PARIS}\n```",
    "Use a < b and `code` and <tool> here.",
    "Write ```python\nprint({1})\n``` and run it.",
    "```\nplain\n```\nThat is all.",
)


@given(st.sampled_from(TEXTS), st.lists(st.integers(1, 9), min_size=1, max_size=9))
def test_of_a_text_only_what_is_no_call_is_shown_however_it_is_cut(text, widths):
    call_filter, shown, place, turn = CallFilter(), "", 0, 0
    while place < len(text):
        width = widths[turn % len(widths)]
        shown += call_filter.push(text[place : place + width])
        place, turn = place + width, turn + 1
    said = read_calls(text, NAMES)
    assert said.content.startswith(shown.rstrip())
    assert text.startswith(shown)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("It rains.", "It rains."),
        ("Use ```python\nprint(1)\n``` now, then rest", "Use ```python\nprint(1)\n``` now, then rest"),
        ("a <too", "a "),
        ("a <tools>", "a <tools>"),
        ("Look:\n``", "Look:\n"),
        ("Look:\n```js", "Look:\n"),
        ('Look:\n```json\n{"a"', "Look:\n"),
        ("<think>so {", "<think>so {"),
        (' {"temperature"', ""),
    ],
)
def test_prose_and_code_stream_and_only_what_may_be_a_call_is_held_back(text, shown):
    call_filter = CallFilter()
    assert "".join(map(call_filter.push, text)) == shown
