"""Laws of how calls are written: which form a template stands for, what a grammar of calls holds to, how it sets in."""

from __future__ import annotations

import json

import numpy as np
import pytest

from avengers_edge.engine.chat_template import ChatTemplate
from avengers_edge.engine.gbnf import vet
from avengers_edge.engine.tool_calls import HERMES, LLAMA, MISTRAL, OnceCalled, begins_call, call_grammar, form_of
from avengers_edge.errors import BadRequest
from avengers_edge.records import Message, Tool, ToolCall, Tools

# Short templates of the published forms.
CHATML = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% endfor %}<|assistant|>"
QWEN = (
    "{% if tools %}<tools>{% for tool in tools %}{{ tool | tojson }}{% endfor %}</tools>{% endif %}"
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% for call in m.tool_calls %}"
    '<tool_call>{"name": "{{ call.function.name }}", "arguments": {{ call.function.arguments | tojson }}}</tool_call>'
    "{% endfor %}{% endfor %}<|assistant|>"
)
MISTRALS = (
    "{% if tools is not none %}[AVAILABLE_TOOLS]{{ tools | tojson }}[/AVAILABLE_TOOLS]{% endif %}"
    "{% for m in messages %}{% if m.tool_calls is defined %}[TOOL_CALLS]{% for call in m.tool_calls %}"
    "{% if call.id | length != 9 %}{{ raise_exception('ids have length 9') }}{% endif %}"
    '{{ (call.function | tojson)[:-1] }}, "id": "{{ call.id }}"}{% endfor %}'
    "{% elif m.role == 'tool' %}[TOOL_RESULTS]{{ m.content }} {{ m.tool_call_id }}[/TOOL_RESULTS]"
    "{% else %}[INST]{{ m.content }}[/INST]{% endif %}{% endfor %}"
)
LLAMAS = (
    "{% if tools is not none %}Environment: ipython {% for tool in tools %}{{ tool | tojson(indent=4) }}{% endfor %}"
    "{% endif %}{% for m in messages %}{% if 'tool_calls' in m %}"
    "{% if m.tool_calls | length != 1 %}{{ raise_exception('only single tool-calls') }}{% endif %}"
    "{%- set call = m.tool_calls[0].function -%}"
    '{"name": "{{ call.name }}", "parameters": {{ call.arguments | tojson }}}'
    "{% elif m.role == 'tool' %}<|ipython|>{{ {'output': m.content} | tojson }}"
    "{% else %}<|{{ m.role }}|>{{ m.content | trim }}{% endif %}{% endfor %}<|assistant|>"
)
ADD = Tool("add", "Adds.", json.dumps({"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}))
TIME = Tool("time")
TOOLS = Tools((ADD, TIME))
CALL = ToolCall("add", '{"a": 2}', "an-id-of-a-clients-own")
TALK = (
    Message("user", "Hi"),
    Message("assistant", "", (CALL,)),
    Message("tool", 'It is "5".\n', call_id=CALL.id),
)


@pytest.mark.parametrize(
    ("template", "form"),
    [
        (QWEN, HERMES),
        (MISTRALS, MISTRAL),
        (LLAMAS, LLAMA),
        (CHATML, None),
        (None, None),
        ("", None),
        ("{{ tools }}", None),
        (f"{QWEN}<function=", None),
        (f"{MISTRALS}[ARGS]", None),
    ],
)
def test_a_template_tells_how_its_model_writes_calls_and_an_unknown_form_is_none(template, form):
    assert form_of(template) == form


@pytest.mark.parametrize("source", [QWEN, MISTRALS, LLAMAS])
def test_tools_calls_and_results_reach_the_prompt(source):
    text = ChatTemplate(source).render(TALK, TOOLS)
    described = text.replace("\n", "").replace(" ", "")
    assert '"description":"Adds."' in described and '"integer"' in described and '"time"' in described
    assert '"name": "add"' in text and '{"a": 2}' in text
    assert "It is " in text


def test_a_result_is_numbered_and_named_like_its_call():
    source = QWEN + "{% for m in messages if m.role == 'tool' %}{{ m.tool_call_id }}={{ m.name }}{% endfor %}"
    source += "{{ messages[1].tool_calls[0].id }}"
    assert ChatTemplate(source).render(TALK, TOOLS).endswith("call00001=addcall00001")


@pytest.mark.parametrize(
    ("source", "talk", "tools"),
    [
        (CHATML, TALK[:1], TOOLS),
        (CHATML, TALK, None),
        ("{% for m in messages if m.role != 'tool' %}{{ m.content }}{{ m.tool_calls }}{% endfor %}", TALK, None),
        (LLAMAS, (TALK[0], Message("assistant", "", (CALL, CALL)), TALK[2]), TOOLS),
        (QWEN, (TALK[0], TALK[2]), TOOLS),
    ],
    ids=["no place for tools", "no place for calls", "no place for results", "one call at a time", "no call"],
)
def test_what_a_template_would_lose_is_refused(source, talk, tools):
    with pytest.raises(BadRequest, match=r"tools cannot be given|refuses this conversation|was not made before it"):
        ChatTemplate(source).render(talk, tools)


def test_a_model_without_a_form_for_calls_says_so():
    with pytest.raises(BadRequest, match="tools"):
        _ = ChatTemplate(CHATML).call_form


# --- grammars -----------------------------------------------------------------------------------------------------

PATTERN = json.dumps({"type": "object", "properties": {"a": {"type": "string", "pattern": "^a+$"}}})
REFERS = json.dumps(
    {
        "type": "object",
        "properties": {"at": {"$ref": "#/$defs/place"}, "again": {"$ref": "#"}},
        "$defs": {"place": {"const": "here"}},
    }
)


@pytest.mark.parametrize("form", [HERMES, MISTRAL, LLAMA])
@pytest.mark.parametrize("tools", [TOOLS, Tools((ADD, TIME), must=True), Tools((ADD,), parallel=False)])
def test_a_grammar_of_calls_can_be_followed(form, tools):
    vet(call_grammar(tools, form))


def test_only_the_function_that_is_asked_for_is_in_the_grammar():
    text = call_grammar(Tools((ADD, TIME), must=True, only="time"), HERMES)
    assert "time" in text and "add" not in text


def test_schemas_of_several_functions_refer_each_to_itself():
    text = call_grammar(Tools((Tool("f", "", REFERS), Tool("g", "", REFERS.replace("here", "there"))), True), LLAMA)
    vet(text)
    assert '"\\"here\\""' in text and '"\\"there\\""' in text


def test_arguments_that_have_to_be_valid_and_cannot_be_held_to_it_are_refused():
    tools = Tools((Tool("f", "", PATTERN, True),))
    with pytest.raises(BadRequest, match=r"tools.*pattern"):
        call_grammar(tools, HERMES)


def test_arguments_that_need_not_be_valid_are_held_to_what_can_be_enforced_of_their_schema():
    text = call_grammar(Tools((Tool("f", "", PATTERN), ADD)), HERMES)
    assert '":" ws string' in text and '":" ws integer' in text


def test_schemas_that_are_too_much_together_are_refused_or_not_held_to():
    wide = json.dumps({"type": "object", "properties": {"a": {"type": "string", "maxLength": 2000}}})
    many = tuple(Tool(f"f{place}", "", wide) for place in range(40))
    with pytest.raises(BadRequest, match="tools"):
        call_grammar(Tools(many, must=True), HERMES)
    vet(call_grammar(Tools(many), HERMES))


# --- when a grammar sets in ----------------------------------------------------------------------------------------


class Exactly:
    """A grammar of one text: token k is letter k, and only the next letter is allowed."""

    def __init__(self, text):
        self.left, self.closed = text, False

    def allows(self, token):
        return self.left[:1] == chr(token)

    def allowed(self, tokens):
        return np.array([self.allows(int(token)) for token in tokens])

    def accept(self, token):
        assert self.allows(token)
        self.left = self.left[1:]

    def close(self):
        self.closed = True


def written(call, text):
    """Write a text letter by letter; give what may follow, None where anything may."""
    constraint = OnceCalled(Exactly(call), begins_call(TOOLS), lambda token: chr(token).encode() if token > 1 else b"")
    for letter in text:
        constraint.accept(ord(letter))
    letters = np.arange(32, 127, dtype=np.int32)
    allowed = [chr(letter) for letter in letters[constraint.allowed(letters)]]
    assert [chr(letter) for letter in letters if constraint.allows(int(letter))] == allowed
    return None if len(allowed) == letters.size else "".join(allowed)


NAMED = '{"name": "add"'


@pytest.mark.parametrize(
    ("call", "text", "follows"),
    [
        ("<tool_call>{}", "Hello <tool_cal", None),
        ("<tool_call>{}", "Hello <tool_call>", "{"),
        ("<tool_call>{}", "\x01<tool_call>{", "}"),
        ("<tool_call>{}", "<think><tool_call>", None),
        ("<tool_call>{}", "<think>so</think><tool_call>", "{"),
        (f"{NAMED},", f"\n{NAMED}", ","),
        (f"{NAMED},", f"<think>{NAMED}</think>\n{NAMED}", ","),
        (f"{NAMED},", NAMED[:-1], None),
        (f"{NAMED},", NAMED.replace("add", "rm"), None),
        (f"{NAMED},", f"Look: {NAMED}", None),
        (f"[{NAMED},", f" [{NAMED}", ","),
        (f"```json\n{NAMED},", f"Look:\n```json\n{NAMED}", ","),
        (f"```json\n{NAMED},", '```json\n{"weather": "add"', None),
        ("<other>", NAMED, None),  # the grammar begins otherwise, so the text is free
    ],
)
def test_a_text_is_free_until_a_call_begins_and_bound_from_then_on(call, text, follows):
    assert written(call, text) == follows


def test_closing_closes_the_grammar():
    grammar = Exactly("")
    OnceCalled(grammar, begins_call(TOOLS), lambda token: b"").close()
    assert grammar.closed
