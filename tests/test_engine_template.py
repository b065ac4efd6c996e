"""Laws of chat templates: they come with a foreign file, so they are data that must not act."""

from __future__ import annotations

import pytest

from avengers_edge.engine.template import ChatTemplate
from avengers_edge.errors import BadRequest, VerificationFailed
from avengers_edge.records import Message

CHATML = (
    "{% for message in messages %}<|{{ message.role }}|>{{ message.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
NO_SYSTEM = "{% if messages[0].role == 'system' %}{{ raise_exception('no system role') }}{% endif %}" + CHATML
TALK = [Message("system", "Be brief."), Message("user", "Hi")]


def test_a_conversation_ends_where_the_assistant_speaks():
    assert ChatTemplate(CHATML).render(TALK) == "<|system|>Be brief.\n<|user|>Hi\n<|assistant|>"


def test_a_template_without_a_system_role_gets_it_in_the_first_turn():
    assert ChatTemplate(NO_SYSTEM).render(TALK) == "<|user|>Be brief.\n\nHi\n<|assistant|>"


def test_the_models_own_tokens_are_known_to_the_template():
    template = ChatTemplate("{{ bos_token }}{{ messages[0].content }}{{ eos_token }}", bos="<s>", eos="</s>")
    assert template.render([Message("user", "x")]) == "<s>x</s>"


def test_json_is_written_as_models_were_trained_on_it():
    assert ChatTemplate("{{ {'a': '<é>'} | tojson }}").render(TALK) == '{"a": "<é>"}'


def test_content_is_data_not_template():
    assert "{{ 7 * 7 }}" in ChatTemplate(CHATML).render([Message("user", "{{ 7 * 7 }}")])


@pytest.mark.parametrize("source", [None, ""])
def test_a_model_without_a_template_is_refused(source):
    with pytest.raises(VerificationFailed, match="no chat template"):
        ChatTemplate(source)


@pytest.mark.parametrize("source", ["{% for %}", "{{ unclosed", "{% include 'x' %}{% endfor %}"])
def test_a_template_that_does_not_compile_is_refused(source):
    with pytest.raises(VerificationFailed, match="does not compile"):
        ChatTemplate(source)


@pytest.mark.parametrize(
    "source",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ messages.append(1) }}",
        "{{ raise_exception.__globals__.os }}",
        "{{ cycler.__init__.__globals__.os.system('true') }}",
        "{% for i in range(10 ** 9) %}x{% endfor %}",
        "{% include '/etc/passwd' %}",
        "{{ 1 / 0 }}",
        "{{ messages[99].content }}",
        "{{ raise_exception('line one\nline two') }}",
    ],
)
def test_a_template_that_reaches_out_or_breaks_is_refused_in_one_line(source):
    with pytest.raises(BadRequest, match="refuses this conversation") as refused:
        ChatTemplate(source).render([Message("user", "Hi")])
    assert "\n" not in str(refused.value)
