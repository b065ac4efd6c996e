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
    options = "ensure_ascii=True, sort_keys=true"
    assert ChatTemplate(source.replace("%s", options)).render(HI) == 'Hi{"a": 1, "b": "\\u00e9"}'


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


DOUBLED = "{%% set ns = namespace(x='x') %%}{%% for i in range(60) %%}%s{%% endfor %%}"


@pytest.mark.parametrize(
    "source",
    [
        "{{ 'x' * 10 ** 13 }}",
        "{{ 10 ** 13 * 'x' }}",
        "{{ ([1] * 10 ** 13) | length }}",
        "{{ 2 ** (10 ** 9) }}",
        "{{ (2 ** 90000) ** 99 }}",
        "{{ '%1000000000d' % 1 }}",
        "{{ ('%999999d' * 99) % 1 }}",
        "{{ '%*d' % (10 ** 9, 1) }}",
        "{{ '%.*f' % (10 ** 9, 1) }}",
        "{{ '{:1000000000}'.format(1) }}",
        "{{ '{:{}}'.format(1, 10 ** 9) }}",
        "{{ '{:{a[0]}}'.format_map({'a': [10 ** 9]}) }}",
        "{{ 'x'.center(10 ** 9) }}",
        "{{ 'x' | center(10 ** 9) }}",
        "{{ 'x' | center(width=1000000000) }}",
        "{{ ['x'] | map('center', 10 ** 9) | list }}",
        "{{ {'a': 1} | tojson(indent=10 ** 9) }}",
        "{% for i in range(100000) %}{% endfor %}",
        "{% for i in range(400) %}{% for j in range(400) %}{% endfor %}{% endfor %}",
        "{% set r = range(400) %}{% for i in r %}{% for j in r %}{% endfor %}{% endfor %}",
        "{% set s = 'x' * 400 %}{% for i in s %}{% for j in s %}{% endfor %}{% endfor %}",
        "{% set s = 'x' * 400 %}{% for i in s recursive %}{% if loop.depth < 3 %}{{ loop(s) }}{% endif %}{% endfor %}",
        "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(40) }}",
        DOUBLED % "{% set ns.x = ns.x + ns.x %}",
        DOUBLED % "{% set ns.x = ns.x ~ ns.x %}",
        DOUBLED % "{% set ns.x %}{{ ns.x }}{{ ns.x }}{% endset %}",
        DOUBLED.replace("'x'", "3") % "{% set ns.x = ns.x * ns.x %}",
        "{% for i in range(40000) %}" + "x" * 1000 + "{% endfor %}",
    ],
)
def test_a_template_that_computes_without_measure_is_refused(source):
    with pytest.raises(BadRequest, match="it takes|it prints|it calls|it formats|makes a value"):
        ChatTemplate(source).render(HI)


GROWN = "{%% set ns = namespace(x=('x',), y=('x',)) %%}{%% for i in range(60) %%}%s{%% endfor %%}"
SHARED = GROWN % "{% set ns.x = (ns.x, ns.x) %}{% set ns.y = (ns.y, ns.y) %}"
MANY = "{%% set s = 'x' * 1000000 %%}{%% for i in range(24000) %%}%s{%% endfor %%}"


@pytest.mark.parametrize(
    "source",
    [
        "{{ ('x' * 1000000).replace('x', 'y' * 1000000) | length }}",
        "{{ ('x' * 100000) | replace('x', 'y' * 100000) | length }}",
        "{% filter replace('x', 'y' * 1000000) %}{{ 'x' * 1000000 }}{% endfilter %}",
        "{{ (['x' * 1000000] * 1000000) | join | length }}",
        "{{ ''.join(['x' * 1000000] * 1000000) | length }}",
        "{{ ('y' * 1000000).join(['x'] * 1000000) | length }}",
        "{{ ('\t' * 1000000).expandtabs(1000000) | length }}",
        "{{ ('x' * 1000000).translate({120: 'y' * 1000000}) | length }}",
        "{{ ('\n' * 1000000) | indent(1000000) | length }}",
        "{{ ['x' * 1000000] * 1000000 }}",
        "{{ (['x' * 1000] * 100000) | map('replace', 'x', 'y' * 1000) | list | length }}",
        "{{ (['x' * 1000000] * 1000000) | sort | length }}",
        "{{ ([[1]] * 100000) | sum(start=[]) | length }}",
        "{{ ('{0}' * 100000).format('x' * 1000000) | length }}",
        "{{ ('%(a)s' * 100000) % {'a': 'x' * 1000000} }}",
        "{{ 3 ** 60000 }}",
        "{{ 1 | round(1000000) }}",
        "{{ range(10) | slice(1000000) | list | length }}",
        SHARED + "{{ ns.x }}",
        SHARED + "{{ ns.x | string | length }}",
        SHARED + "{{ ns.x | tojson | length }}",
        SHARED + "{{ ns.x == ns.y }}",
        SHARED + "{{ ns.x in [ns.y] }}",
        SHARED + "{{ ns.x is eq(ns.y) }}",
        SHARED + "{{ [ns.y] | select('equalto', ns.x) | list }}",
        SHARED + "{{ {ns.x: 1} }}",
        SHARED + "{{ {}[ns.x] }}",
        SHARED + "{{ {}.get(ns.x) }}",
        GROWN % "{% set ns.x = {'a': ns.x, 'b': ns.x} %}" + "{{ ns.x }}",
        GROWN % "{% set ns.x = namespace(a=ns.x, b=ns.x) %}" + "{{ ns.x }}",
        MANY % "{% if s.upper() %}{% endif %}",
        MANY % "{% if s.count('y') %}{% endif %}",
        MANY % "{% if s | wordcount %}{% endif %}",
        MANY % "{% if s[1:] %}{% endif %}",
        MANY % "{% if 'y' in s %}{% endif %}",
        MANY % "{% if 'y' is in s %}{% endif %}",
        MANY % "{% set t = [1] * 500000 + [2] * 400000 %}",
        MANY % "{% set t = [s, s] | map('upper') | list %}",
    ],
)
def test_values_that_are_small_and_weigh_much_are_refused_before_anything_is_made_of_them(source):
    with pytest.raises(BadRequest, match="it takes|it prints|it calls|it adds|makes a value"):
        ChatTemplate(source).render(HI)


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


@pytest.mark.parametrize("source", ["{{ a }}" * 12_000, "x" * 300_000])
def test_a_template_that_is_no_chat_template_by_its_size_is_not_compiled(source):
    with pytest.raises(VerificationFailed, match="more than"):
        ChatTemplate(source)


def test_every_rendering_has_the_whole_budget():
    template = ChatTemplate("{% for i in range(40000) %}{% endfor %}done")
    assert [template.render(HI) for _ in range(4)] == ["done"] * 4


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
