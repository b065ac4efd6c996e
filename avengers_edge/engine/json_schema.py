"""Turns a JSON schema into a GBNF grammar, keyword by keyword: what cannot be enforced is refused.

Not by llama_cpp's own converter: that lets raw newlines into strings, passes over keywords that it does not know, mixes
up references of one name, and may fetch.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from avengers_edge.engine.gbnf import MOST_REPEATS
from avengers_edge.errors import BadRequest

_MOST_NESTED = 64

_JSON_RULES = {
    "ws": r'| " " | "\n" [ \t]{0,20}',
    "hex": "[0-9a-fA-F]",
    # \uD800 to \uDFFF are halves of characters.
    "char": r'[^"\\\x00-\x1F\x7F] | "\\" (["\\/bfnrt] | "u" ([0-9a-cA-CefEF] hex | [dD] [0-7]) hex{2})',
    "string": r'"\"" char* "\""',
    "integer": '"-"? ("0" | [1-9] [0-9]{0,15})',
    "number": 'integer ("." [0-9]{1,15})? ([eE] [-+]? [0-9]{1,2})?',
    "boolean": '"true" | "false"',
    "null": '"null"',
    "array": '"[" ws (value ("," ws value)* ws)? "]"',
    "object": '"{" ws (string ":" ws value ("," ws string ":" ws value)* ws)? "}"',
    "value": "object | array | string | number | boolean | null",
    "year": "[0-9]{4}",
    "day": '"0" [1-9] | "1" [0-9] | "2" [0-8]',
    "date": 'year "-" (("0" [1-9] | "1" [0-2]) "-" day | ("0" [13-9] | "1" [0-2]) "-" ("29" | "30") | long "-31")',
    "long": '"0" [13578] | "1" [02]',
    "clock": '([01] [0-9] | "2" [0-3]) ":" [0-5] [0-9]',
    "time": 'clock ":" [0-5] [0-9] ("." [0-9]{1,6})? ("Z" | [-+] clock)',
    "date-time": 'date "T" time',
    "uuid": 'hex{8} "-" hex{4} "-" hex{4} "-" hex{4} "-" hex{12}',
}
_FORMATS = ("date", "time", "date-time", "uuid")
_NOTES = {
    *("title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly"),
    *("$schema", "$id", "$comment", "$defs", "definitions"),
}
_KEYWORDS = {
    "string": ("minLength", "maxLength", "format"),
    "integer": ("minimum", "maximum"),
    "number": (),
    "boolean": (),
    "null": (),
    "array": ("items", "prefixItems", "minItems", "maxItems"),
    "object": ("properties", "required", "additionalProperties"),
}
_CLASSES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
    "array": (list,),
    "object": (dict,),
}
_MOST_VALUES = 256


def schema_grammar(schema: str) -> str:
    """Return the GBNF of the JSON texts that a schema allows; what is not JSON or cannot be enforced is refused."""
    return "".join(f"{name} ::= {rule}\n" for name, rule in schema_rules({"root": schema}).items())


def schema_rules(schemas: Mapping[str, str]) -> dict[str, str]:
    """Return the GBNF rules of several schemas, each under its name, and those that they need."""
    return _Rules({name: _json(schema) for name, schema in schemas.items()}).write()


def _json(text: str) -> object:
    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is not JSON")

    try:
        return json.loads(text, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"the schema is not JSON: {str(error) or 'it is nested too deep'}") from error


def _literal(value: object) -> str:
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
        text.encode()
    except ValueError as error:  # UnicodeEncodeError is one
        raise BadRequest(f"the schema has a value that JSON cannot carry: {json.dumps(value)[:40]}") from error
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _is_a(value: object, kind: str) -> bool:
    return isinstance(value, _CLASSES[kind]) and (isinstance(value, bool) == (kind == "boolean"))


class _Rules:
    """Turns JSON schemas into GBNF. It fetches nothing: a `$ref` is resolved within its schema or refused."""

    def __init__(self, schemas: Mapping[str, object]) -> None:
        self._wholes = schemas
        self._within = ""  # the schema that is being written
        self._rules: dict[str, str] = dict(_JSON_RULES)
        self._references: dict[tuple[str, str], str] = {}
        self._pending: list[tuple[str, str, object]] = [(name, name, schema) for name, schema in schemas.items()]

    def write(self) -> dict[str, str]:
        while self._pending:
            name, self._within, schema = self._pending.pop()
            self._rules[name] = self._alternatives(schema, 0)
        return self._rules

    def _rule(self, schema: object, depth: int) -> str:
        """Return the name of a rule for a part of the schema."""
        return self._add(self._alternatives(schema, depth + 1))

    def _add(self, rule: str) -> str:
        if rule in self._rules:  # a name already
            return rule
        name = f"r{len(self._rules)}"
        self._rules[name] = rule
        return name

    def _alternatives(self, schema: object, depth: int) -> str:
        if depth > _MOST_NESTED:
            raise BadRequest(f"the schema is nested more than {_MOST_NESTED} deep")
        if schema is True:
            return "value"
        if not isinstance(schema, dict):
            what = "false, which nothing satisfies" if schema is False else json.dumps(schema)[:40]
            raise BadRequest(f"the schema has {what}, where an object or true was expected")
        asked = {key: value for key, value in schema.items() if key not in _NOTES}
        for key, make in (("$ref", self._reference), ("anyOf", self._union), ("oneOf", self._union)):
            if key in asked:
                _only(asked, key)
                return make(asked[key], depth)
        if "allOf" in asked:
            _only(asked, "allOf")
            if not isinstance(asked["allOf"], list) or len(asked["allOf"]) != 1:
                raise BadRequest("the schema's allOf joins several schemas: write them as one")
            return self._alternatives(asked["allOf"][0], depth + 1)
        if "const" in asked:
            _only(asked, "const", "type")
            return self._values([asked["const"]], asked)
        if "enum" in asked:
            _only(asked, "enum", "type")
            return self._values(asked["enum"], asked)
        return " | ".join(self._typed(kind, asked, depth) for kind in _kinds(asked))

    def _reference(self, reference: object, _depth: int) -> str:
        if not isinstance(reference, str) or not (reference == "#" or reference.startswith("#/")):
            raise BadRequest(
                f"the schema refers to {str(reference)[:60]!r}: only parts of itself, '#/...', can be used"
            )
        known = self._references.get((self._within, reference))
        if known is not None:
            return known
        target = self._wholes[self._within]
        for step in reference.split("/")[1:]:
            key = unquote(step).replace("~1", "/").replace("~0", "~")
            if isinstance(target, dict) and key in target:
                target = target[key]
            elif isinstance(target, list) and key.isdecimal() and len(key) < 6 and int(key) < len(target):
                target = target[int(key)]
            else:
                raise BadRequest(f"the schema refers to {reference[:60]!r}, which it does not have")
        name = self._within if reference == "#" else f"ref{len(self._references)}"
        self._references[self._within, reference] = name
        if reference != "#":
            self._pending.append((name, self._within, target))
        return name

    def _union(self, schemas: object, depth: int) -> str:
        if not isinstance(schemas, list) or not schemas:
            raise BadRequest("the schema's anyOf or oneOf is not a list of schemas")
        return " | ".join(self._rule(schema, depth) for schema in schemas)

    def _values(self, values: object, asked: dict[str, Any]) -> str:
        if not isinstance(values, list):
            raise BadRequest("the schema's enum is not a list of values")
        kinds = _kinds(asked) if "type" in asked else tuple(_KEYWORDS)
        fitting = [value for value in values if any(_is_a(value, kind) for kind in kinds)]
        if not fitting:
            raise BadRequest("the schema contradicts itself: no value of its enum or const has its type")
        return " | ".join(dict.fromkeys(_literal(value) for value in fitting))

    def _typed(self, kind: str, asked: dict[str, Any], depth: int) -> str:
        own = {key: asked[key] for key in _KEYWORDS.get(kind, ()) if key in asked}
        if kind == "object":
            return self._object(own, depth) if own else "object"
        if kind == "array":
            return self._array(own, depth) if own else "array"
        if kind == "string":
            return self._string(own) if own else "string"
        if own:
            low, high = (own[key] if _is_a(own.get(key), "integer") else None for key in ("minimum", "maximum"))
            if low is None or high is None or not 0 <= high - low < _MOST_VALUES:
                raise BadRequest(
                    "the schema's minimum and maximum cannot be enforced: "
                    f"give both, integers, at most {_MOST_VALUES} of them"
                )
            return self._values(list(range(low, high + 1)), {})
        return kind

    def _string(self, own: dict[str, Any]) -> str:
        if "format" in own:
            _only(own, "format")
            if own["format"] not in _FORMATS:
                raise BadRequest(f"the schema's format {str(own['format'])[:40]!r} is none of {', '.join(_FORMATS)}")
            return f'"\\"" {own["format"]} "\\""'
        least, most = _bounds(own, "minLength", "maxLength")
        return f'"\\"" char{{{least},{"" if most is None else most}}} "\\""'

    def _array(self, own: dict[str, Any], depth: int) -> str:
        least, most = _bounds(own, "minItems", "maxItems")
        if "prefixItems" in own:
            parts = own["prefixItems"]
            if not isinstance(parts, list) or not least <= len(parts) <= (len(parts) if most is None else most):
                raise BadRequest("the schema's prefixItems is no list, or does not fit minItems and maxItems")
            items = ' "," ws '.join(self._rule(part, depth) for part in parts)
            return f'"[" ws {items} ws "]"'
        if most == 0:
            return '"[" ws "]"'
        item = self._rule(own.get("items", True), depth)
        more = f'("," ws {item}){{{max(least - 1, 0)},{"" if most is None else most - 1}}}'
        return f'"[" ws {item} {more} ws "]"' if least else f'"[" ws ({item} {more} ws)? "]"'

    def _object(self, own: dict[str, Any], depth: int) -> str:
        properties, required = own.get("properties", {}), own.get("required", [])
        others = own.get("additionalProperties", True)
        if not isinstance(properties, dict) or not isinstance(required, list):
            raise BadRequest("the schema's properties are no object, or its required is no list of names")
        for name in required:
            if not isinstance(name, str) or (name not in properties and others is False):
                raise BadRequest(
                    f"the schema contradicts itself: it requires {str(name)[:40]!r} and has no such property"
                )
        needed = frozenset(required)
        properties = {**properties, **{name: others for name in required if name not in properties}}
        if not properties:
            if others is False:
                return '"{" ws "}"'
            pair = f'string ":" ws {self._rule(others, depth)}'
            return f'"{{" ws ({pair} ("," ws {pair})* ws)? "}}"'
        # What may follow from property i on: `first` when none was written before it, `after` when one was.
        first, after = '""', ""  # an alternative of nothing at the end of a line would go on in the next
        for name, schema in reversed(properties.items()):
            pair = self._add(f'{_literal(name)} ":" ws {self._rule(schema, depth)}')
            if name in needed:
                first = self._add(f"{pair} {after}")
                after = self._add(f'"," ws {pair} {after}')
            else:
                first = self._add(f"{pair} {after} | {first}")
                after = self._add(f'("," ws {pair})? {after}')
        return f'"{{" ws {first} ws "}}"'


def _only(asked: dict[str, Any], *keys: str) -> None:
    for key in asked:
        if key not in keys:
            raise BadRequest(f"the schema has {key[:40]!r} beside {keys[0]!r}, which cannot be enforced: leave one out")


def _kinds(asked: dict[str, Any]) -> tuple[str, ...]:
    """Return the types that a schema names, or whose keywords it uses, or all."""
    named = asked.get("type", [])
    kinds = tuple(named) if isinstance(named, list) else (named,)
    for kind in kinds:
        if not isinstance(kind, str) or kind not in _KEYWORDS:
            raise BadRequest(f"the schema's type {str(kind)[:40]!r} is none of {', '.join(_KEYWORDS)}")
    if "type" in asked and not kinds:
        raise BadRequest("the schema's type is an empty list")
    if not kinds:
        kinds = tuple(kind for kind, keys in _KEYWORDS.items() if any(key in asked for key in keys)) or ("value",)
    known = {"type", "enum", "const"}.union(*(_KEYWORDS.get(kind, ()) for kind in kinds))
    for key in asked:
        if key not in known:
            raise BadRequest(f"the schema's {key[:40]!r} cannot be enforced: leave it out and check the answer")
    return kinds


def _bounds(own: dict[str, Any], low: str, high: str) -> tuple[int, int | None]:
    least, most = own.get(low, 0), own.get(high)
    for name, value in ((low, least), (high, least if most is None else most)):
        if not _is_a(value, "integer") or not 0 <= value <= MOST_REPEATS:
            raise BadRequest(f"the schema's {name} is {str(value)[:20]}: use 0 to {MOST_REPEATS}")
    if most is not None and most < least:
        raise BadRequest(f"the schema contradicts itself: {low} is {least} and {high} is {most}")
    return least, most
