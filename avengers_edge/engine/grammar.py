"""Bounds on what can be written: GBNF or a JSON schema, vetted here, followed by llama.cpp.

llama.cpp trusts a grammar. One that repeats `{5,2}`, nests deep or recurses on the left behind an empty rule hangs it
or takes all memory; a few hundred bytes of rules that may be empty take it exponential time; a token that the grammar
does not allow throws through C and ends the process. So a text is read here first, by the same rules, and measured.
"""

from __future__ import annotations

import ctypes
import json
import re
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

import llama_cpp.llama_cpp as llama
import numpy as np
from numpy.typing import NDArray

from avengers_edge.errors import BadRequest, EngineDied
from avengers_edge.records import Closing, SamplingParams

_MOST_BYTES = 64 * 1024
_MOST_ELEMENTS = 100_000  # 8 bytes each in llama.cpp
_MOST_NESTED = 64
_MOST_REPEATS = 2000  # llama.cpp's own; it widens a larger upper bound to no bound at all
_MOST_BEGINNINGS = 10_000  # ways into one rule: llama.cpp holds a stack for each
_MOST_VISITS = 2_000_000
_PATIENCE = 2.0  # seconds of processor time to look at a vocabulary
_PATIENCE_TO_ACCEPT = 0.1


def grammar_text(sampling: SamplingParams) -> str | None:
    """Give the GBNF that bounds a text, made from the JSON schema if there is one, or None if nothing does.

    What comes back is safe to hand to `Grammar`. A schema is enforced or refused, keyword by keyword: `oneOf` is taken
    as `anyOf`, properties come in the schema's order, and none is written that the schema does not name unless it
    names none.

    Raises:
        BadRequest: the grammar or the schema is malformed, contradicts itself or is too large to be followed.

    """
    if sampling.schema is not None:
        _limit_size("schema", sampling.schema)
        text = _Schema(_json(sampling.schema)).gbnf()
        try:
            _vet(text)
        except BadRequest as error:
            raise BadRequest(f"made of the schema, {error}") from error
    elif sampling.grammar is not None:
        _limit_size("grammar", sampling.grammar)
        text = sampling.grammar
        _vet(text)
    else:
        return None
    return text


def unwritable_tokens(vocab: object) -> NDArray[np.bool_]:
    """Mark the tokens that print nothing, once a model: a grammar would count their names as text that is not there."""
    silent = llama.LLAMA_TOKEN_ATTR_UNKNOWN | llama.LLAMA_TOKEN_ATTR_CONTROL
    attributes = (llama.llama_vocab_get_attr(vocab, token) for token in range(llama.llama_vocab_n_tokens(vocab)))
    return np.fromiter((bool(each & silent) for each in attributes), np.bool_)


class Grammar(Closing):
    """llama.cpp's state of one text within a grammar: a `sampler.Constraint`.

    `vocab` is a loaded model's, `text` comes from `grammar_text`, `unwritable` from `unwritable_tokens`. A token that
    ends generation is allowed where the grammar is complete.

    Raises:
        BadRequest: llama.cpp refuses the grammar.

    """

    def __init__(self, vocab: object, text: str, unwritable: NDArray[np.bool_]) -> None:
        self._vocab = vocab
        self._unwritable = unwritable
        self._sampler: Any = llama.llama_sampler_init_grammar(vocab, text.encode(), b"root")
        if not self._sampler:
            raise BadRequest(
                "llama.cpp refuses the grammar: let no rule begin with itself, and repeat nothing that may be empty"
            )

    def allows(self, token: int) -> bool:
        """Tell whether this token may come next."""
        return bool(self.allowed(np.array([token], np.int32))[0])

    def allowed(self, tokens: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Tell for each of these tokens whether it may come next.

        Raises:
            BadRequest: the grammar has become too ambiguous to follow.

        """
        self._require_open()
        candidates = np.zeros(tokens.size, np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)]))
        candidates["id"] = tokens
        data = candidates.ctypes.data_as(ctypes.POINTER(llama.llama_token_data))
        array = llama.llama_token_data_array(data=data, size=tokens.size, selected=-1, sorted=False)
        started = time.thread_time()
        llama.llama_sampler_apply(self._sampler, ctypes.byref(array))
        _limit_time(started, _PATIENCE)
        kept: NDArray[np.bool_] = candidates["logit"] == 0  # llama.cpp sets -inf
        for place in np.flatnonzero(kept & self._unwritable[tokens]):
            kept[place] = self._ends(int(tokens[place]))
        return kept

    def accept(self, token: int) -> None:
        """Go on after this token; after one that ends generation there is nothing to go on to.

        Raises:
            EngineDied: the grammar does not allow it.
            BadRequest: the grammar has become too ambiguous to follow.

        """
        if not self.allows(token):  # llama.cpp would end the process
            raise EngineDied(f"token {token} was drawn though the grammar does not allow it")
        if self._ends(token):
            return
        started = time.thread_time()
        llama.llama_sampler_accept(self._sampler, token)
        _limit_time(started, _PATIENCE_TO_ACCEPT)

    def close(self) -> None:
        """Free the state; a second call does nothing."""
        if self._sampler:
            llama.llama_sampler_free(self._sampler)
            self._sampler = None

    def _ends(self, token: int) -> bool:
        return bool(llama.llama_vocab_is_eog(self._vocab, token))

    def _require_open(self) -> None:
        if not self._sampler:
            raise EngineDied("the grammar was closed while it was in use: ask again")


def _limit_size(name: str, text: str) -> None:
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        raise BadRequest(f"the {name} has a character that is not valid Unicode at {error.start}") from error
    if size > _MOST_BYTES:
        raise BadRequest(f"the {name} has {size} bytes: use at most {_MOST_BYTES}")


def _limit_time(started: float, patience: float) -> None:
    # Ambiguity can double the stacks with each character: what is slow now will hang soon.
    if time.thread_time() - started > patience:
        raise BadRequest("the grammar is too ambiguous to follow: let no two alternatives begin alike")


# --- GBNF --------------------------------------------------------------------------------------

_ESCAPE = r'\\(?:x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[trn\\"\[\]-])'
_TOKEN = re.compile(
    rf"""
    (?P<space> (?:[ \t] | \#[^\r\n]*)+ )
    | (?P<newline> \r\n? | \n )
    | (?P<name> [a-zA-Z0-9-]+ )
    | (?P<define> ::= )
    | (?P<literal> "(?:[^"\\]|{_ESCAPE})*" )
    | (?P<set> \[ (?!\^?\]) \^? (?:[^\]\\]|{_ESCAPE})+ \] )
    | (?P<any> \. )
    | (?P<open> \( )
    | (?P<close> \) )
    | (?P<bar> \| )
    | (?P<repeat> [*+?] | \{{[ ]?(?P<least>[0-9]+)[ ]?(?P<comma>,)?[ ]?(?P<most>[0-9]*)[ ]?\}} )
    """,
    re.VERBOSE,
)
_TERMINAL = -1
_Sequence = list[int]
"""Numbers of rules, or `_TERMINAL`."""


def _vet(text: str) -> None:
    """Refuse GBNF that llama.cpp cannot read, or cannot follow in bounded time and memory."""
    rules = _Rules(text)
    rules.require_defined()
    _limit_beginnings(rules)


class _Rules:
    """GBNF as plain rules, made as llama.cpp makes them: groups and repetitions become rules of their own."""

    def __init__(self, text: str) -> None:
        self.names: list[str] = []
        self.bodies: list[list[_Sequence] | None] = []
        self._numbers: dict[str, int] = {}
        self._elements = 0
        self._line = 1
        self._parse(text)

    def _fail(self, complaint: str) -> BadRequest:
        return BadRequest(f"the grammar cannot be used, line {self._line}: {complaint}")

    def _new(self, name: str) -> int:
        self.names.append(name)
        self.bodies.append(None)
        return len(self.names) - 1

    def _number(self, name: str) -> int:
        if name not in self._numbers:
            self._numbers[name] = self._new(name)
        return self._numbers[name]

    def _grow(self, count: int) -> None:
        self._elements += count
        if self._elements > _MOST_ELEMENTS:
            raise self._fail(f"it has more than {_MOST_ELEMENTS} elements when its repetitions are written out")

    def _tokens(self, text: str) -> Iterator[re.Match[str]]:
        place = 0
        while place < len(text):
            match = _TOKEN.match(text, place)
            if match is None or "\0" in match[0]:
                if text[place] in "<!":
                    raise self._fail("tokens such as <think> cannot be asked for: write their text as a literal")
                raise self._fail(f"it does not read as GBNF from {text[place : place + 20]!r}")
            if match.lastgroup != "space":
                yield match
            self._line += len(re.findall(r"\r\n?|\n", match[0]))
            place = match.end()

    def _parse(self, text: str) -> None:
        frames: list[tuple[int, list[_Sequence]]] = []  # the rule and the groups that are open
        name: str | None = None
        item: tuple[int, int, int] | None = None  # what could be repeated: symbol, elements, llama.cpp's count of rules
        last = "newline"
        for match in self._tokens(text):
            kind = str(match.lastgroup)
            if kind == "newline":
                if name is not None:
                    raise self._fail(f"`::=` is missing after {name!r}")
                if len(frames) == 1 and last not in ("define", "bar"):
                    number, body = frames.pop()
                    self.bodies[number] = body
                continue
            if not frames:
                if name is None and kind == "name":
                    name = match[0]
                elif name is not None and kind == "define":
                    number = self._number(name)
                    if self.bodies[number] is not None:
                        raise self._fail(f"rule {name!r} is defined twice")
                    frames.append((number, [[]]))
                    name = item = None
                else:
                    raise self._fail(f'a rule such as `root ::= "yes"` was expected, not {match[0][:20]!r}')
            elif kind == "define":
                raise self._fail("`::=` is inside a rule: begin each rule on a new line")
            elif kind == "bar":
                frames[-1][1].append([])
                self._grow(1)
                item = None
            elif kind == "open":
                if len(frames) > _MOST_NESTED:
                    raise self._fail(f"groups are nested more than {_MOST_NESTED} deep")
                number = self._new("a group")
                frames.append((number, [[]]))
                self._grow(2)
                item = None
            elif kind == "close":
                if len(frames) == 1:
                    raise self._fail("`)` has no `(`")
                number, body = frames.pop()
                self.bodies[number] = body
                frames[-1][1][-1].append(number)
                item = (number, 1, len(self.names) - number)
            elif kind == "repeat":
                if item is None:
                    raise self._fail(
                        f"{match[0]!r} has nothing to repeat before it: put what it repeats in parentheses"
                    )
                self._repeat(frames[-1][1][-1], item, match)
                item = None
            elif kind == "name":
                number = self._number(match[0])
                frames[-1][1][-1].append(number)
                self._grow(1)
                item = (number, 1, 1)
            elif match[0] == '""':
                item = None
            else:
                frames[-1][1][-1].append(_TERMINAL)
                self._grow(len(match[0]))
                item = (_TERMINAL, len(match[0]), 1)
            last = kind
        if len(frames) > 1 or name is not None:
            raise self._fail("it ends inside a rule")
        if frames:
            self.bodies[frames[0][0]] = frames[0][1]

    def _repeat(self, sequence: _Sequence, item: tuple[int, int, int], match: re.Match[str]) -> None:
        symbol, elements, rules = item
        least, most = {"*": (0, None), "+": (1, None), "?": (0, 1)}.get(match[0], (-1, None))
        if least < 0:
            if max(len(match["least"]), len(match["most"])) > 6:
                raise self._fail(f"{match[0][:20]!r} repeats more than {_MOST_REPEATS} times")
            least = int(match["least"])
            most = least if not match["comma"] else int(match["most"]) if match["most"] else None
        if most is not None and most < least:
            raise self._fail(f"{match[0]!r} asks for at most {most} but at least {least}")
        if (most or least or 1) * rules > _MOST_REPEATS:
            raise self._fail(f"{match[0]!r} repeats more than llama.cpp's {_MOST_REPEATS} times, all rules counted")
        self._grow(least * elements)
        sequence.pop()
        sequence.extend([symbol] * least)
        optional: int | None = None
        for _ in range(1 if most is None else most - least):
            number = self._new("a repetition")
            self._grow(elements + 2)
            rest = [number] if most is None else [] if optional is None else [optional]
            self.bodies[number] = [[symbol, *rest], []]
            optional = number
        if optional is not None:
            sequence.append(optional)

    def require_defined(self) -> None:
        """Refuse a grammar without a root, or with a name that stands for nothing."""
        if "root" not in self._numbers:
            raise BadRequest("the grammar has no rule `root`, where a text begins")
        for name, number in self._numbers.items():
            if self.bodies[number] is None:
                raise BadRequest(f"the grammar uses the rule {name[:40]!r} but does not define it")

    def defined(self) -> list[list[_Sequence]]:
        """Give the alternatives of each rule."""
        return [body or [] for body in self.bodies]


def _limit_beginnings(rules: _Rules) -> None:
    """Refuse left recursion, and rules with too many ways to begin.

    llama.cpp walks from a rule into each rule that it may begin with, without remembering what it saw, and keeps a
    stack for each way. It overlooks that a rule made only of rules that may be empty may be empty.
    """
    bodies = rules.defined()
    empty = _may_be_empty(bodies)
    first = [
        [symbol for sequence in body for symbol in _beginnings(number, sequence, empty)]
        for number, body in enumerate(bodies)
    ]
    ways = [0] * len(bodies)  # 0: not seen, -1: being walked
    for start in range(len(bodies)):
        if ways[start]:
            continue
        ways[start] = -1
        walk = [(start, iter(first[start]))]
        while walk:
            number, rest = walk[-1]
            follower = next(rest, None)
            if follower is None:
                ways[number] = 1 + sum(ways[s] for s in first[number])
                walk.pop()
            elif ways[follower] == -1:
                raise BadRequest(
                    f"the grammar's rule {rules.names[follower]!r} can begin with itself: let it end with itself"
                )
            elif ways[follower] == 0:
                if len(walk) >= 1000:  # llama.cpp recurses
                    raise BadRequest("the grammar's rules begin with one another more than 1000 deep: use fewer rules")
                ways[follower] = -1
                walk.append((follower, iter(first[follower])))
    runs = (run for body in bodies for sequence in body for run in _runs(sequence, empty, ways))
    if max(runs, default=0) > _MOST_BEGINNINGS or sum(ways) > _MOST_VISITS:
        raise BadRequest("the grammar has too many ways to go on at one place: use fewer optional parts in a row")


def _beginnings(number: int, sequence: _Sequence, empty: list[bool]) -> Iterator[int]:
    for place, symbol in enumerate(sequence):
        if symbol == _TERMINAL or (symbol == number and place == len(sequence) - 1 > 0):
            return  # `x ::= y x` with an empty y leads to the same stack again, which llama.cpp sees
        yield symbol
        if not empty[symbol]:
            return


def _runs(sequence: _Sequence, empty: list[bool], ways: list[int]) -> Iterator[int]:
    run = 0
    for symbol in sequence:
        run = 0 if symbol == _TERMINAL else run + ways[symbol]
        yield run
        if symbol != _TERMINAL and not empty[symbol]:
            run = 0


def _may_be_empty(bodies: list[list[_Sequence]]) -> list[bool]:
    empty = [False] * len(bodies)
    waiting: dict[int, list[list[int]]] = {}  # for a rule: [rule that needs it, how many more it needs]
    found: list[int] = []
    for number, body in enumerate(bodies):
        for sequence in body:
            if not sequence:
                found.append(number)
            elif _TERMINAL not in sequence:
                need = [number, len(sequence)]
                for symbol in sequence:
                    waiting.setdefault(symbol, []).append(need)
    while found:
        number = found.pop()
        if empty[number]:
            continue
        empty[number] = True
        for need in waiting.get(number, ()):
            need[1] -= 1
            if not need[1]:
                found.append(need[0])
    return empty


# --- JSON schema -------------------------------------------------------------------------------

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


class _Schema:
    """Turns a JSON schema into GBNF. It fetches nothing: a `$ref` is resolved within the schema or refused."""

    def __init__(self, schema: object) -> None:
        self._whole = schema
        self._rules: dict[str, str] = dict(_JSON_RULES)
        self._references: dict[str, str] = {}
        self._pending: list[tuple[str, object]] = []

    def gbnf(self) -> str:
        """Write the rules.

        Raises:
            BadRequest: something in the schema cannot be enforced, or contradicts itself.

        """
        self._pending.append(("root", self._whole))
        while self._pending:
            name, schema = self._pending.pop()
            self._rules[name] = self._alternatives(schema, 0)
        return "".join(f"{name} ::= {rule}\n" for name, rule in self._rules.items())

    def _rule(self, schema: object, depth: int) -> str:
        """Give the name of a rule for a part of the schema."""
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
        if reference in self._references:
            return self._references[reference]
        target = self._whole
        for step in reference.split("/")[1:]:
            key = unquote(step).replace("~1", "/").replace("~0", "~")
            if isinstance(target, dict) and key in target:
                target = target[key]
            elif isinstance(target, list) and key.isdecimal() and len(key) < 6 and int(key) < len(target):
                target = target[int(key)]
            else:
                raise BadRequest(f"the schema refers to {reference[:60]!r}, which it does not have")
        name = "root" if reference == "#" else f"ref{len(self._references)}"
        self._references[reference] = name
        if reference != "#":
            self._pending.append((name, target))
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
            if name in required:
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
    """Give the types that a schema names, or whose keywords it uses, or all."""
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
        if not _is_a(value, "integer") or not 0 <= value <= _MOST_REPEATS:
            raise BadRequest(f"the schema's {name} is {str(value)[:20]}: use 0 to {_MOST_REPEATS}")
    if most is not None and most < least:
        raise BadRequest(f"the schema contradicts itself: {low} is {least} and {high} is {most}")
    return least, most
