"""Laws of chat templates: they come with a foreign file, so they are data that must not act."""

from __future__ import annotations

import subprocess
import sys

import pytest

from avengers_edge.engine import chat_template
from avengers_edge.engine.chat_template import ChatTemplate
from avengers_edge.errors import BadRequest, VerificationFailed
from avengers_edge.records import Message

CHATML = (
    "{% for message in messages %}<|{{ message.role }}|>{{ message.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
NO_SYSTEM = "{% if messages[0].role == 'system' %}{{ raise_exception('no system role') }}{% endif %}" + CHATML
NO_SYSTEM_NO_WORD = "{% for m in messages %}{% if m.role == 'user' %}[{{ m.content }}]{% endif %}{% endfor %}"
TALK = [Message("system", "Be brief."), Message("user", "Hi")]
HI = [Message("user", "Hi")]


def test_a_conversation_ends_where_the_assistant_speaks():
    assert ChatTemplate(CHATML).render(TALK) == "<|system|>Be brief.\n<|user|>Hi\n<|assistant|>"


def test_a_template_without_a_system_role_gets_it_in_the_first_turn():
    assert ChatTemplate(NO_SYSTEM).render(TALK) == "<|user|>Be brief.\n\nHi\n<|assistant|>"


def test_a_template_that_passes_over_the_system_role_gets_it_in_the_first_turn():
    assert ChatTemplate(NO_SYSTEM_NO_WORD).render(TALK) == "[Be brief.\n\nHi]"


def test_a_template_may_trim_the_system_prompt():
    trimmed = ChatTemplate("{{ messages[0].content | trim }}|{{ messages[1].content }}")
    assert trimmed.render([Message("system", " Be brief.\n"), *HI]) == "Be brief.|Hi"


@pytest.mark.parametrize(
    ("source", "talk"), [("{{ messages[-1].role }}", TALK), (NO_SYSTEM_NO_WORD, TALK[:1]), ("constant", TALK)]
)
def test_a_system_prompt_that_would_be_lost_is_refused(source, talk):
    with pytest.raises(BadRequest, match="no place for a system prompt"):
        ChatTemplate(source).render(talk)


def test_a_template_that_refuses_a_lone_system_prompt_is_heard():
    with pytest.raises(BadRequest, match="no system role"):
        ChatTemplate(NO_SYSTEM).render(TALK[:1])


def test_the_models_own_tokens_are_known_to_the_template():
    template = ChatTemplate("{{ bos_token }}{{ messages[0].content }}{{ eos_token }}", bos="<s>", eos="</s>")
    assert template.render([Message("user", "x")]) == "<s>x</s>"


def test_json_is_written_as_models_were_trained_on_it():
    assert ChatTemplate("{{ {'a': '<é>'} | tojson }}").render(HI) == '{"a": "<é>"}'


def test_marks_of_training_and_options_of_json_are_understood():
    source = "{% generation %}{{ messages[0].content }}{% endgeneration %}{{ {'b': 'é', 'a': 1} | tojson(%s) }}"
    options = "ensure_ascii=True, sort_keys=true, separators=(',', ':')"
    assert ChatTemplate(source.replace("%s", options)).render(HI) == 'Hi{"a":1,"b":"\\u00e9"}'


def test_content_is_data_not_template():
    assert "{{ 7 * 7 }}" in ChatTemplate(CHATML).render([Message("user", "{{ 7 * 7 }}")])


@pytest.mark.parametrize("source", [None, ""])
def test_a_model_without_a_template_is_refused(source):
    with pytest.raises(VerificationFailed, match="no chat template"):
        ChatTemplate(source)


@pytest.mark.parametrize(
    "source",
    [
        "{% for %}",
        "{{ unclosed",
        "{% include 'x' %}{% endfor %}",
        "{% for a in b %}" * 25 + "{% endfor %}" * 25,
        "{{ " + "9" * 5000 + " }}",
        "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
        "{{ 1 | no_such_filter }}",
    ],
    ids=range(7),
)
def test_a_template_that_does_not_compile_is_refused_in_one_line(source):
    with pytest.raises(VerificationFailed, match="does not compile") as refused:
        ChatTemplate(source)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "source",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ messages.append(1) }}",
        "{{ raise_exception.__globals__.os }}",
        "{{ cycler.__init__.__globals__.os.system('true') }}",
        "{{ ('' | attr('__class__')).__mro__ }}",
        "{{ ''['__class__'].__mro__ }}",
        "{{ '{0.__class__.__mro__}'.format(1) }}",
        "{{ '{0[__class__].x}'.format(raise_exception) }}",
        "{{ messages.__setitem__(0, 1) }}",
        "{{ messages[0].update(role='system') }}",
        "{{ self.__init__.__globals__ }}",
        "{% for i in range(10 ** 9) %}x{% endfor %}",
        "{% include '/etc/passwd' %}",
        "{{ 1 / 0 }}",
        "{{ messages[99].content }}",
        "{{ raise_exception('line one\nline two') }}",
        "{{ raise_exception('') }}",
        "{{ cycler() }}",
        "{% macro again() %}{{ again() }}{% endmacro %}{{ again() }}",
    ],
)
def test_a_template_that_reaches_out_or_breaks_is_refused_in_one_line(source):
    with pytest.raises(BadRequest, match="refuses this conversation") as refused:
        ChatTemplate(source).render(HI)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "source",
    [
        "{{ ''.__class__ }}",
        "{{ raise_exception.__code__ }}",
        "{{ strftime_now.__globals__ }}",
        "{{ '{0.__class__}'.format(1) }}",
        "{{ '{a.__globals__}'.format_map({'a': raise_exception}) }}",
        "{{ ('{0.__class__}' | attr('format'))(1) }}",
        "{% set f = '{0.__class__}'.format %}{{ f(1) }}",
    ],
)
def test_what_a_template_may_not_reach_is_nothing_to_it(source):
    assert ChatTemplate(source).render(HI) == ""


@pytest.mark.parametrize(
    "source",
    [
        "{% for i in range(50000) %}" + "x" * 1000 + "{% endfor %}",
        "{% for i in range(50000) %}{% for j in range(50000) %}{{ i }}{% endfor %}{% endfor %}",
        "{% set s = 'x' * 9000000 %}{{ s }}{{ s }}",
    ],
    ids=range(3),
)
def test_a_template_that_writes_without_measure_is_refused(source):
    with pytest.raises(BadRequest, match="it writes more than 16777216 characters"):
        ChatTemplate(source).render(HI)


def test_a_template_that_is_no_chat_template_by_its_size_is_not_compiled(monkeypatch):
    monkeypatch.setattr(chat_template, "_environment", lambda: pytest.fail("it was compiled"))
    with pytest.raises(VerificationFailed, match="100001 characters, more than 100000"):
        ChatTemplate("x" * 100_001)


def test_nothing_is_computed_before_it_is_asked_for():
    ChatTemplate("{{ 'x' * 10 ** 15 }}{{ (9 ** 9 ** 9) }}")


def test_a_long_conversation_is_far_from_every_limit():
    """Twice what a context of 128,000 tokens holds, by a template that looks at each message in many ways."""
    source = (
        "{% set ns = namespace(text='') %}{% for m in messages %}"
        "{% if loop.index0 == messages | length - 1 %}LAST{% endif %}"
        "{% if 'think' in m.content and m['role'] != messages[loop.index0 - 1].role %}"
        "{{ m.content.split('x')[0] }}{% endif %}{% set ns.text = ns.text + m.content[:99] %}"
        "{{ m.content | trim }}{{ m.content.strip() | replace('a', 'b') }}{% endfor %}{{ ns.text }}"
    )
    talk = [Message(("user", "assistant")[turn % 2], f"think {turn} " + "a" * 1000) for turn in range(1000)]
    assert len(ChatTemplate(source).render(talk)) > 3_000_000


LIMITED = """
import sys
from avengers_edge.engine.chat_template import ChatTemplate
from avengers_edge.engine.worker import template_limits
from avengers_edge.errors import BadRequest
from avengers_edge.records import Message
for source in sys.argv[1:]:
    try:
        with template_limits(60, 2**26):
            ChatTemplate(source).render([Message("user", "Hi")])
    except BadRequest as error:
        print(error)
print(len("x" * 2**27))
"""
MEMORY_BOMBS = [
    "{{ 'x' * 10 ** 9 }}",
    "{{ ([1] * 10 ** 9) | length }}",
    "{{ '%1000000000d' % 1 }}",
    "{{ '{:1000000000}'.format(1) }}",
    "{{ 'x' | center(10 ** 9) }}",
    "{% set ns = namespace(x='x') %}{% for i in range(60) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}",
    "{% set ns = namespace(x='x') %}{% for i in range(60) %}{% set ns.x %}{{ ns.x }}{{ ns.x }}{% endset %}{% endfor %}",
]


@pytest.mark.skipif(sys.platform != "linux", reason="macOS and Windows have no such limit")
def test_a_template_that_takes_too_much_memory_is_refused_and_the_worker_lives_on():
    command = [sys.executable, "-c", LIMITED, *MEMORY_BOMBS]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=600)
    refused = "the model's chat template refuses this conversation: it takes too much memory"
    assert done.stdout.splitlines() == [refused] * len(MEMORY_BOMBS) + [str(2**27)], done.stderr


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("{{ 1 ~ missing ~ 'a' ~ none }}", "1aNone"),
        ("{{ '-' * 3 + '=' }}{{ [1] + [2] }}{{ 7 % 4 }}{{ 2 ** 10 }}", "---=[1, 2]31024"),
        ("{{ '%s is %03d' % ('x', 7) }}{{ '{} {a:>3}'.format(1, a=2) }}", "x is 0071   2"),
        ("{% for k, v in {'a': 1}.items() %}{{ loop.index }}{{ k }}{{ v }}{{ loop.last }}{% endfor %}", "1a1True"),
        ("{{ [1, 2, 3] | sum }}{{ [{'a': 2}, {'a': 3}] | sum('a') }}{{ 'abc'[1:] }}{{ [1, 2][-1] }}", "65bc2"),
        ("{{ 'b' in 'abc' }}{{ 1 not in [2] }}{{ 1 < 2 < 3 }}{{ {'a': 1} == {'a': 1} }}", "TrueTrueTrueTrue"),
        ("{{ 'a,b'.split(',') | join('-') | upper }}{{ {'x': 1}.get('y', 2) }}{{ 'x' | indent(2, true) }}", "A-B2  x"),
        ("{% for x in missing %}{% else %}none{% endfor %}{{ missing }}{{ None }}", "noneNone"),
        ("{% for x in [1, [2]] recursive %}{{ x if x is number else loop(x) }}{% endfor %}", "12"),
        ("{% for x in range(9) if x is odd %}{% if x > 5 %}{% break %}{% endif %}{{ x }}{% endfor %}", "135"),
        ("{{ messages | selectattr('role', 'equalto', 'user') | map(attribute='content') | join(',') }}", "Hi"),
    ],
)
def test_ordinary_programs_compute_what_jinja_computes(source, text):
    assert ChatTemplate(source).render(HI) == text
