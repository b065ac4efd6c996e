"""Laws of schemas that a grammar cannot hold a text to in all: what is left out is named, the rest is enforced."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avengers_edge.engine.json_schema import relaxed, schema_grammar
from avengers_edge.errors import BadRequest

SAFE = 2**53 - 1  # zod's bounds of every integer


def left(schema):
    text, lost = relaxed(json.dumps(schema))
    schema_grammar(text)  # it can be enforced
    return json.loads(text), lost


@pytest.mark.parametrize(
    ("schema", "kept", "lost"),
    [
        ({"type": "integer", "minimum": -SAFE, "maximum": SAFE}, {"type": "integer"}, ()),
        ({"type": "integer", "minimum": 1, "maximum": 5}, {"type": "integer", "minimum": 1, "maximum": 5}, ()),
        ({"type": "integer", "exclusiveMinimum": 0, "maximum": 5}, {"type": "integer", "minimum": 1, "maximum": 5}, ()),
        ({"type": "integer", "minimum": 0}, {"type": "integer"}, ("minimum",)),
        ({"type": "number", "minimum": 0.5, "maximum": 1}, {"type": "number"}, ("minimum", "maximum")),
        ({"type": "string", "pattern": "^a", "minLength": 2}, {"type": "string", "minLength": 2}, ("pattern",)),
        ({"type": "string", "format": "email"}, {"type": "string"}, ("format",)),
        ({"type": "string", "format": "date"}, {"type": "string", "format": "date"}, ()),
        ({"type": "string", "nullable": True}, {"type": ["string", "null"]}, ()),
        ({"type": "array", "items": {"type": "number", "multipleOf": 2}, "uniqueItems": True},
         {"type": "array", "items": {"type": "number"}}, ("uniqueItems", "items.multipleOf")),
        ({"type": "object", "properties": {"a": {"type": "string", "example": "x", "x-order": 1}}},
         {"type": "object", "properties": {"a": {"type": "string"}}}, ()),
        ({"anyOf": [{"type": "string"}, {"type": "null"}], "discriminator": {}, "title": "T"},
         {"anyOf": [{"type": "string"}, {"type": "null"}], "title": "T"}, ()),
        ({"$ref": "#/$defs/A", "minLength": 1, "$defs": {"A": {"type": "string"}}},
         {"$ref": "#/$defs/A", "$defs": {"A": {"type": "string"}}}, ("minLength",)),
        ({"type": "object", "propertyNames": {"pattern": "a"}, "minProperties": 1}, {"type": "object"},
         ("propertyNames", "minProperties")),
    ],
)  # fmt: skip
def test_what_cannot_be_held_is_left_out_by_name_and_the_rest_stays(schema, kept, lost):
    assert left(schema) == (kept, lost)


def test_what_is_no_json_is_refused():
    with pytest.raises(BadRequest):
        relaxed("{")


KEYWORDS = st.dictionaries(
    st.sampled_from(["minimum", "maximum", "exclusiveMinimum", "multipleOf", "pattern", "format", "minLength", "x-a"]),
    st.integers(-10, 10**9) | st.just("a"),
)
TYPED = st.builds(lambda kind, more: {**more, "type": kind}, st.sampled_from(["string", "number", "boolean"]), KEYWORDS)


@given(st.dictionaries(st.text(max_size=3), TYPED, max_size=4))
def test_whatever_is_left_is_a_subset_and_leaving_out_twice_changes_nothing(properties):
    text, _ = relaxed(json.dumps({"type": "object", "properties": properties}))
    assert relaxed(text) == (text, ())
    for name, schema in json.loads(text)["properties"].items():
        assert schema.items() <= properties[name].items()
