"""Laws of grammars, against llama.cpp and the vocabulary of the real 135M model."""

from __future__ import annotations

import ctypes
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import llama_cpp.llama_cpp as llama
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from avengers_edge.engine.grammar import Grammar, grammar_text, unwritable_tokens
from avengers_edge.engine.llama_context import start_backend
from avengers_edge.engine.sampler import TokenSampler
from avengers_edge.errors import BadRequest, EngineDied
from avengers_edge.records import SamplingParams

pytestmark = pytest.mark.native


@dataclass(frozen=True)
class Vocabulary:
    handle: Any
    unwritable: NDArray[np.bool_]
    ends: list[int]

    def grammar(self, text: str) -> Grammar:
        return Grammar(self.handle, text, self.unwritable)

    def tokens(self, text: str) -> list[int]:
        raw = text.encode()
        room = (llama.llama_token * (len(raw) + 2))()
        count = llama.llama_tokenize(self.handle, raw, len(raw), room, len(room), False, False)
        return list(room[:count])

    def piece(self, token: int) -> bytes:
        room = ctypes.create_string_buffer(256)
        length = llama.llama_token_to_piece(self.handle, token, room, 256, 0, False)
        return room.raw[:length]


@pytest.fixture(scope="module")
def vocabulary(model_home: Path) -> Iterator[Vocabulary]:
    start_backend()
    params = llama.llama_model_default_params()
    params.vocab_only = True
    (file,) = (model_home / "models" / "smollm2-135m-instruct").glob("*.gguf")
    model = llama.llama_model_load_from_file(str(file).encode(), params)
    vocab = llama.llama_model_get_vocab(model)
    size = llama.llama_vocab_n_tokens(vocab)
    ends = [token for token in range(size) if llama.llama_vocab_is_eog(vocab, token)]
    yield Vocabulary(vocab, unwritable_tokens(vocab), ends)
    llama.llama_model_free(model)


def gbnf(text: str) -> str:
    made = grammar_text(SamplingParams(grammar=text))
    assert made is not None
    return made


def schema(value: object) -> str:
    made = grammar_text(SamplingParams(schema=value if isinstance(value, str) else json.dumps(value)))
    assert made is not None
    return made


def write(vocabulary: Vocabulary, text: str, seed: int, temperature: float = 0.7) -> str:
    """A whole text from random logits that lean ever more towards an end."""
    random = np.random.default_rng(seed)
    leaning = [*vocabulary.ends, *(token for mark in '"]},:0' for token in vocabulary.tokens(mark))]
    sampler = TokenSampler(SamplingParams(temperature=temperature), seed, vocabulary.grammar(text))
    written = b""
    try:
        for step in range(400):
            logits = random.normal(0, 3, vocabulary.unwritable.size).astype(np.float32)
            logits[leaning] += 0.5 * step
            token = sampler.draw(logits).token
            if token in vocabulary.ends:
                return written.decode()
            written += vocabulary.piece(token)
    finally:
        sampler.close()
    pytest.fail(f"no end after {written[:200]!r}")


# --- GBNF


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        ('root ::= "yes" | "no"', "yes|no"),
        ('root ::= [0-9]{2,4} ("," [0-9]+)*', r"\d{2,4}(,\d+)*"),
        ('root ::= "é" thing? "."\nthing ::= [ж-я]+ # Greek', "é[ж-я]*\\."),
        ('root ::= ("a" | "b" "c"){3} [^x\\n]{0,5}', r"(a|bc){3}[^x\n]{0,5}"),
        ('root ::=\n  "\\x41\\u0042\\"\\\\" |\n  "c"\r\n', r'AB"\\|c'),
        ('root ::= ("a"? "b"?)* "."', r"[ab]*\."),
    ],
)
@pytest.mark.parametrize("temperature", [0.0, 0.7])
def test_a_whole_text_conforms_to_its_grammar(
    vocabulary: Vocabulary, text: str, pattern: str, temperature: float
) -> None:
    for seed in range(3):
        written = write(vocabulary, gbnf(text), seed, temperature)
        assert re.fullmatch(pattern, written), written


def test_a_text_may_end_only_where_the_grammar_is_complete(vocabulary: Vocabulary) -> None:
    with vocabulary.grammar(gbnf('root ::= "aa" "b"?')) as grammar:
        for token in vocabulary.tokens("a")[:1]:
            assert not any(grammar.allows(end) for end in vocabulary.ends)
            grammar.accept(token)
            grammar.accept(token)
        assert all(grammar.allows(end) for end in vocabulary.ends)
        grammar.accept(vocabulary.ends[0])  # changes nothing
        assert grammar.allows(vocabulary.tokens("b")[0])


def test_tokens_that_print_nothing_are_not_taken_for_text(vocabulary: Vocabulary) -> None:
    tokens = np.arange(vocabulary.unwritable.size, dtype=np.int32)
    with vocabulary.grammar(gbnf("root ::= .*")) as grammar:
        allowed = tokens[grammar.allowed(tokens)]
    silent = [int(token) for token in allowed if not vocabulary.piece(int(token))]
    assert set(silent) <= set(vocabulary.ends)
    assert vocabulary.unwritable.sum() > len(vocabulary.ends)


def test_a_token_is_allowed_alone_as_among_others(vocabulary: Vocabulary) -> None:
    tokens = np.arange(0, vocabulary.unwritable.size, 97, dtype=np.int32)
    with vocabulary.grammar(gbnf("root ::= [a-m ]+")) as grammar:
        allowed = grammar.allowed(tokens)
        assert 0 < allowed.sum() < tokens.size
        assert [grammar.allows(int(token)) for token in tokens] == allowed.tolist()
        assert not grammar.allowed(tokens[:0]).size


def test_what_is_not_allowed_is_refused_before_llama_cpp_would_end_the_process(vocabulary: Vocabulary) -> None:
    with vocabulary.grammar(gbnf('root ::= "a"')) as grammar:
        for token in (vocabulary.tokens("b")[0], vocabulary.ends[0]):
            with pytest.raises(EngineDied, match="does not allow"):
                grammar.accept(token)
        grammar.accept(vocabulary.tokens("a")[0])


def test_a_closed_grammar_says_so(vocabulary: Vocabulary) -> None:
    grammar = vocabulary.grammar(gbnf('root ::= "a"'))
    grammar.close()
    grammar.close()
    with pytest.raises(EngineDied, match="closed"):
        grammar.allows(0)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "no rule `root`"),
        ("# only a comment", "no rule `root`"),
        ('foo ::= "a"', "no rule `root`"),
        ("root ::= foo", "'foo' but does not define"),
        ('root ::= "a', "line 1"),
        ('root ::= "a"\n\nroot ::= "b"', "line 3: rule 'root' is defined twice"),
        ('root ::= "a" )', r"`\)` has no"),
        ('root ::= ("a"', "ends inside"),
        ("root", "ends inside"),
        ("root\n::= x", "missing after 'root'"),
        ('"a"', "was expected"),
        ('root ::= "a" x ::= "b"', "inside a rule"),
        (r'root ::= "\q"', "does not read as GBNF"),
        ("root ::= [a-", "does not read as GBNF"),
        ("root ::= []", "does not read as GBNF"),
        ("root ::= [^]", "does not read as GBNF"),
        ('root ::= "\0"', "does not read as GBNF"),
        ('root ::= "\ud800"', "not valid Unicode"),
        ("root ::= <think>", "cannot be asked for"),
        ("root ::= *", "nothing to repeat"),
        ('root ::= ""*', "nothing to repeat"),
        ('root ::= "a"{3}{2}', "nothing to repeat"),
        ('root ::= "a"{5,2}', "at most 2 but at least 5"),  # hangs llama.cpp
        ('root ::= "a"{1,1000000000}', "repeats more than 2000"),  # is no bound to llama.cpp
        ('root ::= "a"{99999999999999999999999}', "repeats more than 2000"),
        ('root ::= (("a" | "b"){100} "c"?){1000}', "repeats more than"),
        ('root ::= "' + "a" * 60000 + '"{2000}', "more than 100000 elements"),  # takes a gigabyte
        ("root ::= " + '"a"{0,2000} ' * 1000, "more than 100000 elements"),
        ("root ::= " + "(" * 1000 + '"a"' + ")" * 1000, "nested more than 64"),  # overflows llama.cpp's stack
        ("root ::= " + '"a" ' * 20000, "use at most 65536"),
        ('root ::= root "a" | "b"', "'root' can begin with itself"),
        ('root ::= x "a" | "b"\nx ::= root?', "can begin with itself"),
        ('root ::= e root "a" | "b"\ne ::= f\nf ::= ""', "'root' can begin with itself"),  # hangs llama.cpp
        (
            'root ::= a0\na30 ::= "x"' + "".join(f'\na{i} ::= a{i + 1} a{i + 1} | ""' for i in range(30)),
            "too many ways",
        ),
        ("root ::= a0" + "".join(f"\na{i} ::= a{i + 1}" for i in range(2000)) + '\na2000 ::= "x"', "1000 deep"),
    ],
)
def test_a_grammar_that_cannot_be_followed_is_a_bad_request(text: str, complaint: str) -> None:
    with pytest.raises(BadRequest, match=complaint) as caught:
        gbnf(text)
    assert "\n" not in str(caught.value)


def test_what_only_llama_cpp_refuses_is_a_bad_request_too(vocabulary: Vocabulary) -> None:
    with pytest.raises(BadRequest, match="llama.cpp refuses"):
        vocabulary.grammar(gbnf('root ::= e* "a"\ne ::= "b" | ""'))


@given(st.lists(st.sampled_from([*'ab"()[]|*+?{}012, \n\\-^.#:=<!é', "root", "::=", "{2}", '"a"']), max_size=25))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_vetted_never_ends_the_process(vocabulary: Vocabulary, parts: list[str]) -> None:
    try:
        grammar = vocabulary.grammar(gbnf("root ::= " + " ".join(parts)))
    except BadRequest:
        return
    with grammar:
        tokens = np.arange(0, vocabulary.unwritable.size, 211, dtype=np.int32)
        grammar.allowed(tokens)


# --- JSON schema

NODE = {
    "$defs": {
        "a_node": {
            "type": "object",
            "properties": {
                "v": {"type": "number"},
                "next": {"$ref": "#/$defs/a_node"},
                "kids": {"type": "array", "items": {"$ref": "#/$defs/a_node"}, "maxItems": 2},
            },
            "required": ["v"],
            "additionalProperties": False,
        }
    },
    "$ref": "#/$defs/a_node",
}
DATE = r"\d{4}-\d\d-\d\d"
SCHEMAS: list[tuple[Any, Callable[[Any], bool]]] = [
    (True, lambda x: True),
    ({}, lambda x: True),
    ({"type": "object"}, lambda x: isinstance(x, dict)),
    ({"type": "string"}, lambda x: isinstance(x, str)),
    ({"type": "number"}, lambda x: isinstance(x, int | float)),
    ({"type": ["boolean", "null"], "title": "T"}, lambda x: x in (True, False, None)),
    ({"type": "integer", "minimum": -3, "maximum": 12}, lambda x: isinstance(x, int) and -3 <= x <= 12),
    ({"enum": ['x"y', "\\n", "é😀\n", None, 1.5]}, lambda x: x in ['x"y', "\\n", "é😀\n", None, 1.5]),
    ({"enum": ["a", 1], "type": "integer"}, lambda x: x == 1),
    ({"const": {"a": [1, "b"]}}, lambda x: x == {"a": [1, "b"]}),
    ({"type": "string", "minLength": 2, "maxLength": 4}, lambda x: 2 <= len(x) <= 4),
    ({"type": ["string", "null"], "maxLength": 0}, lambda x: x in ("", None)),
    ({"type": "string", "format": "date"}, lambda x: re.fullmatch(DATE, x) is not None),
    ({"type": "string", "format": "date-time"}, lambda x: re.match(DATE + "T", x) is not None),
    ({"type": "string", "format": "uuid"}, lambda x: len(x) == 36),
    (
        {"items": {"type": "boolean"}, "minItems": 2, "maxItems": 3},
        lambda x: 2 <= len(x) <= 3 and {*x} <= {True, False},
    ),
    ({"type": "array", "maxItems": 0}, lambda x: x == []),
    ({"prefixItems": [{"const": 1}, {"type": "null"}]}, lambda x: x == [1, None]),
    ({"additionalProperties": False}, lambda x: x == {}),
    ({"additionalProperties": {"const": 1}}, lambda x: all(value == 1 for value in x.values())),
    (
        {"properties": {'b"\\é': {"const": 1}, "c": {"const": 2}, "b c": {"const": 3}}, "required": ["c", "d"]},
        lambda x: {"c", "d"} <= {*x} <= {'b"\\é', "b c", "c", "d"} and x["c"] == 2,
    ),
    ({"anyOf": [{"type": "null"}, {"allOf": [{"const": "x"}]}]}, lambda x: x in (None, "x")),
    (NODE, lambda x: isinstance(x["v"], int | float) and {*x} <= {"v", "next", "kids"}),
    (
        {"properties": {"again": {"anyOf": [{"type": "null"}, {"$ref": "#"}]}}, "required": ["again"]},
        lambda x: {*x} == {"again"},
    ),
    (  # two references whose last names are the same
        {
            "properties": {"a": {"$ref": "#/$defs/x/items"}, "b": {"$ref": "#/$defs/y~1z/items"}},
            "required": ["a", "b"],
            "$defs": {"x": {"items": {"const": 1}}, "y/z": {"items": {"const": 2}}},
        },
        lambda x: x == {"a": 1, "b": 2},
    ),
]


@pytest.mark.parametrize(("value", "holds"), SCHEMAS, ids=range(len(SCHEMAS)))
def test_a_whole_text_conforms_to_its_schema(vocabulary: Vocabulary, value: Any, holds: Callable[[Any], bool]) -> None:
    for seed in range(3):
        written = write(vocabulary, schema(value), seed)
        assert holds(json.loads(written)), written


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        ("", "is not JSON"),
        ("{", "is not JSON"),
        ("[" * 60000, "is not JSON"),
        ('{"const": NaN}', "is not JSON"),
        ('{"const": 1e999}', "cannot carry"),
        ('{"const": "\\ud800"}', "cannot carry"),
        ("[1]", "where an object or true was expected"),
        ("3", "where an object or true was expected"),
        ("null", "where an object or true was expected"),
        (False, "nothing satisfies"),
        ({"const": "x" * 70000}, "use at most 65536"),
        ({"type": "thing"}, "'thing' is none of"),
        ({"type": [[]]}, "is none of"),
        ({"$ref": "https://example.com/schema.json"}, "only parts of itself"),
        ({"$ref": "other.json#/a"}, "only parts of itself"),
        ({"$ref": 3}, "only parts of itself"),
        ({"$ref": "#/$defs/absent"}, "does not have"),
        ({"$ref": "#"}, "can begin with itself"),
        ({"properties": {"$ref": 3}}, "where an object or true was expected"),
        ({"properties": {"a": {"$ref": "#/properties/b"}, "b": {"$ref": "#/properties/a"}}}, "can begin with itself"),
        ({"type": "string", "pattern": "^a$"}, "'pattern' cannot be enforced"),
        ({"type": "string", "format": "email"}, "'email' is none of"),
        ({"type": "array", "uniqueItems": True}, "'uniqueItems' cannot be enforced"),
        ({"type": "integer", "minimum": 0}, "give both"),
        ({"type": "number", "minimum": 0}, "'minimum' cannot be enforced"),
        ({"anyOf": [{}], "type": "string"}, "beside 'anyOf'"),
        ({"anyOf": []}, "not a list of schemas"),
        ({"allOf": [{}, {}]}, "joins several"),
        ({"enum": 3}, "not a list of values"),
        ({"enum": []}, "contradicts itself"),
        ({"enum": ["a"], "type": "integer"}, "contradicts itself"),
        ({"const": True, "type": "integer"}, "contradicts itself"),
        ({"type": "string", "minLength": 3, "maxLength": 2}, "contradicts itself"),
        ({"type": "string", "maxLength": 10**9}, "use 0 to 2000"),
        ({"type": "string", "minLength": -1}, "use 0 to 2000"),
        ({"type": "string", "minLength": "3"}, "use 0 to 2000"),
        ({"prefixItems": [{"type": "string", "minLength": 2000 - i} for i in range(60)]}, "made of the schema"),
        ({"type": "array", "prefixItems": [{}], "minItems": 2}, "does not fit"),
        ({"properties": {}, "required": ["a"], "additionalProperties": False}, "requires 'a'"),
        ({"properties": [1]}, "are no object"),
        ({"required": 3}, "no list of names"),
        ({"required": [3]}, "requires '3'"),
    ],
)
def test_a_schema_that_cannot_be_enforced_is_a_bad_request(value: Any, complaint: str) -> None:
    with pytest.raises(BadRequest, match=complaint) as caught:
        schema(value)
    assert "\n" not in str(caught.value)


def test_a_schema_nested_too_deep_is_a_bad_request() -> None:
    value: Any = True
    for _ in range(100):
        value = {"items": value}
    with pytest.raises(BadRequest, match="nested more than 64"):
        schema(value)


KEYWORDS = (
    "type enum const properties required additionalProperties items prefixItems minItems maxItems minLength maxLength "
    "format minimum maximum anyOf oneOf allOf $ref $defs title"
)
NAMES = st.sampled_from(["object", "string", "array", "integer", "#", "#/$defs", "#/items"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 3) | st.text(max_size=3) | NAMES,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYWORDS.split()), inner | NAMES, max_size=4)
    ),
    max_leaves=12,
)


@given(JSON)
def test_any_json_becomes_a_grammar_or_a_bad_request(value: Any) -> None:
    try:
        schema(json.dumps(value))
    except BadRequest as error:
        assert "\n" not in str(error)


def test_without_a_bound_there_is_no_grammar() -> None:
    assert grammar_text(SamplingParams()) is None
