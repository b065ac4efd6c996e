"""How a model writes calls of functions: known by its chat template, and held to by a grammar.

Where a call has to be made, the model's own form is the grammar. Where one may be, the grammar sets in when a call has
begun, in whichever form: models do not always keep to theirs, and Qwen2.5-Coder writes blocks of JSON.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from avengers_edge.engine.gbnf import vet
from avengers_edge.engine.json_schema import schema_grammar, schema_rules
from avengers_edge.engine.sampler import Constraint, Tokens
from avengers_edge.errors import BadRequest
from avengers_edge.records import Tool, Tools

_ANY = '{"type": "object"}'


@dataclass(frozen=True, slots=True)
class CallForm:
    """One way of writing calls: what the arguments are called, and the grammar's first rule for one call or several."""

    name: str
    key: str
    root: str
    several: str


# <tool_call>, a line of JSON, </tool_call>: Hermes 2 Pro (Nous Research), Qwen2.5, Qwen3
HERMES = CallForm(
    "hermes", "arguments",
    root=r'"<tool_call>\n" one "\n</tool_call>"',
    several=r'"<tool_call>\n" one "\n</tool_call>" ("\n<tool_call>\n" one "\n</tool_call>")*',
)  # fmt: skip
# [{"name": "f", "arguments": {…}}, …], after the token [TOOL_CALLS], which prints nothing
MISTRAL = CallForm("mistral", "arguments", root='" "? "[" one "]"', several='" "? "[" one (", " one)* "]"')
# {"name": "f", "parameters": {…}}: Llama 3.1 (Meta's "JSON based tool calling"), one at a time
LLAMA = CallForm("llama", "parameters", root="one", several="one")

_FOREIGN = ("<function=", "<arg_key>", "[ARGS]")
"""Marks of newer forms that look alike: Qwen3-Coder's, GLM's, the later Mistral models'."""

_BEGUN_ROOT = 'tagged | " "? list | " "? one | fence "[" ws one ws "]" close | fence one close'
_BEGUN_SEVERAL = 'tagged (ws tagged)* | " "? list | " "? row | fence list close | fence row close'
_BEGUN_RULES = {
    "tagged": '"<tool_call>" ws one ws "</tool_call>"',
    "row": "one (ws ([,;] ws)? one)*",
    "fence": r'"```" "json"? "\n" ws',
    "close": 'ws "```"',
}


def form_of(template: str | None) -> CallForm | None:
    """Read off a chat template how its model writes calls; None where it has no place for tools, or in another form."""
    if not template or not re.search(r"\btools\b", template) or any(mark in template for mark in _FOREIGN):
        return None
    if "<tool_call>" in template:
        return HERMES
    if "[TOOL_CALLS]" in template:
        return MISTRAL
    return LLAMA if "ipython" in template and re.search(r'"parameters\\?"', template) else None


@functools.lru_cache(maxsize=8)  # one reading for all samples of a request
def call_grammar(tools: Tools, form: CallForm) -> str:
    """Return the GBNF of calls of these tools, for `OnceCalled` unless a call has to be made.

    Arguments are bound by their schema. Where it cannot be enforced they are any JSON object, or refused if they have
    to be valid.
    """
    allowed = [tool for tool in tools.functions if tools.only in (None, tool.name)]
    schemas = [_enforceable(tool, tools) for tool in allowed]
    text = _text(allowed, schemas, tools, form)
    try:
        vet(text)
    except BadRequest as error:
        if any(tools.must or tool.strict for tool in allowed):
            raise BadRequest(f"tools together: made of their parameters, {error}") from error
        text = _text(allowed, [_ANY] * len(allowed), tools, form)
    return text


def begins_call(tools: Tools) -> re.Pattern[bytes]:
    """Compile the pattern of how a call begins: with its tag, or with JSON that names one of the functions."""
    names = "|".join(map(re.escape, tools.names))
    json = rf'\[?\s*\{{\s*"name"\s*:\s*"(?:{names})"'
    return re.compile(rf"<tool_call>|\A\s*{json}|```(?:json)?[ \t]*\n\s*{json}".encode())


def _text(allowed: Sequence[Tool], schemas: Sequence[str], tools: Tools, form: CallForm) -> str:
    if tools.must:
        rules = {"root": form.several if tools.parallel else form.root}
        call = rf'"{{\"name\": \"%s\", \"{form.key}\": " arguments-%d "}}"'
    else:
        item = '"[" ws one (ws "," ws one)* ws "]"' if tools.parallel else '"[" ws one ws "]"'
        rules = {"root": _BEGUN_SEVERAL if tools.parallel else _BEGUN_ROOT, "list": item, **_BEGUN_RULES}
        call = r'"{" ws "\"name\":" ws "\"%s\"," ws ("\"arguments\":" | "\"parameters\":") ws arguments-%d ws "}"'
    rules["one"] = " | ".join(f"call-{place}" for place in range(len(allowed)))
    rules |= {f"call-{place}": call % (tool.name, place) for place, tool in enumerate(allowed)}
    rules |= schema_rules({f"arguments-{place}": schema for place, schema in enumerate(schemas)})
    return "".join(f"{name} ::= {rule}\n" for name, rule in rules.items())


def _enforceable(tool: Tool, tools: Tools) -> str:
    try:
        vet(schema_grammar(tool.parameters))
    except BadRequest as error:
        if tools.must or tool.strict:
            raise BadRequest(f"tools has parameters of {tool.name} that cannot be enforced: {error}") from error
        return _ANY
    return tool.parameters


class OnceCalled:
    """A `sampler.Constraint` that leaves a text free until a call begins, and then holds it to the calls' grammar.

    The tokens that began it are gone through again; where they are not what the grammar begins with, the text stays
    free. `begins` finds the beginning of a call, `piece` gives a token's bytes, `grammar` is closed with this.
    """

    def __init__(self, grammar: Constraint, begins: re.Pattern[bytes], piece: Callable[[int], bytes]) -> None:
        self._grammar, self._begins, self._piece = grammar, begins, piece
        self._text = bytearray()
        self._tokens: list[tuple[int, int]] = []  # where each printing token begins, and which it is
        self._bound, self._free = False, False

    def allows(self, token: int) -> bool:
        return self._grammar.allows(token) if self._bound else True

    def allowed(self, tokens: Tokens) -> NDArray[np.bool_]:
        return self._grammar.allowed(tokens) if self._bound else np.ones(tokens.size, np.bool_)

    def accept(self, token: int) -> None:
        if self._bound:
            self._grammar.accept(token)
        elif not self._free and (piece := self._piece(token)):
            self._tokens.append((len(self._text), token))
            self._text += piece
            if (b'"' in piece or b">" in piece) and (begin := self._beginning()) is not None:
                self._bind(begin)

    def close(self) -> None:
        self._grammar.close()

    def _beginning(self) -> int | None:
        thought = self._text.rfind(b"</think>")
        if self._text.rfind(b"<think>") > thought:
            return None
        start = thought + len(b"</think>") if thought >= 0 else 0
        found = self._begins.search(self._text[start:])
        if found is None:
            return None
        white = len(found[0]) - len(found[0].lstrip())
        return start + found.start() + white

    def _bind(self, begin: int) -> None:
        self._bound = True
        for place, token in self._tokens:
            if place + len(self._piece(token)) > begin:
                if not self._grammar.allows(token):
                    self._bound, self._free = False, True
                    return
                self._grammar.accept(token)
