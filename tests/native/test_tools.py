"""Laws of calls, against llama.cpp and the real 135M model: what a grammar lets through is what is read, and valid."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import llama_cpp.llama_cpp as llama
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from avengers_edge.engine.chat_template import ChatTemplate
from avengers_edge.engine.grammar import Grammar, unwritable_tokens
from avengers_edge.engine.llama_context import start_backend
from avengers_edge.engine.tool_calls import HERMES, LLAMA, MISTRAL, call_grammar
from avengers_edge.errors import BadRequest
from avengers_edge.records import Message, Request, SamplingParams, Tool, Tools
from avengers_edge.voting.calls import read_calls

pytestmark = pytest.mark.native

CITY = {"type": "object", "properties": {"city": {"enum": ["Paris", "Rome"]}, "day": {"type": "integer"}}}
STRICT = {**CITY, "required": ["city"], "additionalProperties": False}
WEATHER, NOW = Tool("weather", "Tells the weather.", json.dumps(STRICT)), Tool("now", "Tells the time.")
SOME = {"name": "weather", "arguments": {"city": "Paris", "day": 3}}
TEMPLATE = (
    "{% if tools %}<|im_start|>system\n<tools>{% for tool in tools %}{{ tool | tojson }}\n{% endfor %}</tools>\n"
    'Call as <tool_call>\n{"name": …, "arguments": …}\n</tool_call><|im_end|>\n{% endif %}'
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}{% for call in m.tool_calls %}<tool_call>\n"
    '{"name": "{{ call.function.name }}", "arguments": {{ call.function.arguments | tojson }}}\n</tool_call>'
    "{% endfor %}<|im_end|>\n{% endfor %}<|im_start|>assistant\n"
)
ASKED = (Message("user", "How is the weather in Rome?"),)


@pytest.fixture(scope="module")
def follow(model_home: Path) -> Iterator[Any]:
    """Tell whether a grammar lets a text through to its end."""
    start_backend()
    params = llama.llama_model_default_params()
    params.vocab_only = True
    (file,) = (model_home / "models" / "smollm2-135m-instruct").glob("*.gguf")
    model = llama.llama_model_load_from_file(str(file).encode(), params)
    vocab = llama.llama_model_get_vocab(model)
    unwritable = unwritable_tokens(vocab)
    end = llama.llama_vocab_eos(vocab)

    def follows(grammar: str, text: str) -> bool:
        raw = text.encode()
        room = (llama.llama_token * (len(raw) + 2))()
        count = llama.llama_tokenize(vocab, raw, len(raw), room, len(room), False, False)
        with Grammar(vocab, grammar, unwritable) as state:
            for token in [*room[:count], end]:
                if not state.allows(token):
                    return False
                state.accept(token)
        return True

    yield follows
    llama.llama_model_free(model)


def wrapped(form, call):
    said = json.dumps({"name": call["name"], form.key: call["arguments"]})
    return {"hermes": f"<tool_call>\n{said}\n</tool_call>", "mistral": f"[{said}]", "llama": said}[form.name]


BEGUN = [
    wrapped(HERMES, SOME),
    wrapped(MISTRAL, SOME),
    wrapped(LLAMA, SOME),
    f"```json\n{json.dumps(SOME, indent=2)}\n```",
    json.dumps(SOME, indent=1),
]


@pytest.mark.parametrize("form", [HERMES, MISTRAL, LLAMA])
def test_a_call_that_has_to_be_made_is_let_through_in_the_models_form_only(follow, form):
    grammar = call_grammar(Tools((WEATHER, NOW), must=True), form)
    assert follow(grammar, wrapped(form, SOME))
    assert follow(grammar, wrapped(form, {"name": "now", "arguments": {}}))
    for wrong in ("Rain.", "", wrapped(form, {**SOME, "name": "rm"}), wrapped(form, SOME)[:-1]):
        assert not follow(grammar, wrong)
    for arguments in ({}, {"city": "Oslo"}, {"city": "Rome", "more": 1}, {"city": "Rome", "day": "x"}):
        assert not follow(grammar, wrapped(form, {**SOME, "arguments": arguments}))
    only = call_grammar(Tools((WEATHER, NOW), must=True, only="now"), form)
    assert not follow(only, wrapped(form, SOME))


@pytest.mark.parametrize("text", BEGUN)
@pytest.mark.parametrize("parallel", [True, False])
def test_a_call_that_was_begun_is_let_through_in_every_form_that_is_read(follow, text, parallel):
    tools = Tools((WEATHER, NOW), parallel=parallel)
    grammar = call_grammar(tools, HERMES)
    assert follow(grammar, text)
    (call,) = read_calls(text, tools.names).calls
    assert json.loads(call.arguments) == SOME["arguments"]
    assert not follow(grammar, text.replace("Paris", "Oslo"))


@pytest.mark.parametrize(
    "text",
    ["{0}\n{0}", "[{0}, {0}]", "<tool_call>\n{0}\n</tool_call>\n<tool_call>{0}</tool_call>", "```\n{0}\n{0}\n```"],
)
def test_several_calls_are_let_through_only_where_several_are_allowed(follow, text):
    text = text.replace("{0}", json.dumps(SOME))
    for parallel in (True, False):
        tools = Tools((WEATHER, NOW), parallel=parallel)
        assert follow(call_grammar(tools, HERMES), text) is parallel
        assert len(read_calls(text, tools.names).calls) == 2


CITIES, DAYS = st.sampled_from(["Paris", "Rome"]), st.integers(-(10**15), 10**15)
VALUES = st.fixed_dictionaries({"city": CITIES}) | st.builds(lambda city, day: {"city": city, "day": day}, CITIES, DAYS)


@given(VALUES, st.sampled_from([HERMES, MISTRAL, LLAMA]), st.booleans())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
def test_valid_arguments_are_let_through_and_read_as_they_are(follow, arguments, form, must):
    tools = Tools((NOW, WEATHER), must=must)
    text = wrapped(form, {"name": "weather", "arguments": arguments})
    assert follow(call_grammar(tools, form), text)
    (call,) = read_calls(text, tools.names).calls
    assert json.loads(call.arguments) == arguments


# --- the engine ----------------------------------------------------------------------------------------------------


@pytest.fixture
def caller(small_engine, monkeypatch):
    """The real model as if it came with a template that has a place for tools."""
    monkeypatch.setattr(small_engine, "_template", ChatTemplate(TEMPLATE))
    return small_engine


@pytest.mark.parametrize(
    ("tools", "names"),
    [
        (Tools((WEATHER, NOW), must=True), {"weather", "now"}),
        (Tools((WEATHER, NOW), must=True, only="weather"), {"weather"}),
        (Tools((WEATHER,), must=True, parallel=False), {"weather"}),
    ],
)
def test_whatever_a_model_would_like_to_say_a_call_that_has_to_be_made_is_a_valid_one(caller, tools, names):
    generation = caller.generate(Request(ASKED, SamplingParams(1.5, max_tokens=160), n=4, seed=1, tools=tools))
    ended = [done.text for done in generation.completions if done.finish_reason == "stop"]
    assert ended
    for text in ended:
        calls = read_calls(text, tools.names).calls
        assert calls and {call.name for call in calls} <= names
        assert tools.parallel or len(calls) == 1
        for call in calls:
            arguments = json.loads(call.arguments)
            if call.name == "weather":
                assert arguments["city"] in ("Paris", "Rome") and arguments.keys() <= {"city", "day"}


def test_where_no_call_has_to_be_made_prose_is_as_it_would_be_without_a_grammar(caller, monkeypatch):
    request = Request(ASKED, SamplingParams(0.0, max_tokens=12), tools=Tools((NOW,)))
    with_grammar = caller.generate(request)
    monkeypatch.setattr(caller, "_constraint_for", lambda request: None)
    assert caller.generate(request).completions == with_grammar.completions
    assert with_grammar.completions[0].text


def test_a_model_whose_template_has_no_place_for_tools_refuses_them(small_engine):
    with pytest.raises(BadRequest, match="tools"):
        small_engine.generate(Request(ASKED, SamplingParams(max_tokens=8), tools=Tools((NOW,))))
