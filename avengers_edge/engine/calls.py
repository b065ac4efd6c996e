"""How a model writes calls of functions: known by its chat template, and held to by a grammar.

Three forms, each by the family that made it common:

    <tool_call>
    {"name": "f", "arguments": {…}}
    </tool_call>                                    Hermes 2 Pro (Nous Research), Qwen2.5, Qwen3
    [{"name": "f", "arguments": {…}}, …]            Mistral, after its token [TOOL_CALLS], which prints nothing
    {"name": "f", "parameters": {…}}                Llama 3.1 (Meta's "JSON based tool calling"), one at a time
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from avengers_edge.engine.gbnf import vet
from avengers_edge.engine.sampler import Constraint, Tokens
from avengers_edge.engine.schema import schema_grammar, schema_rules
from avengers_edge.errors import BadRequest
from avengers_edge.records import Tool, Tools

_ANY = '{"type": "object"}'


@dataclass(frozen=True, slots=True)
class CallForm:
    """One way of writing calls.

    `opening` is what a call begins with, white space left out: `anywhere` in a text, or else at its head. `root` is the
    grammar's first rule over `one` call, whose arguments are called `key`; `several` is that rule where more than one
    call is allowed.
    """

    name: str
    opening: bytes
    anywhere: bool
    key: str
    root: str
    several: str


HERMES = CallForm(
    "hermes", b"<tool_call>", True, "arguments",
    root=r'"<tool_call>\n" one "\n</tool_call>"',
    several=r'"<tool_call>\n" one "\n</tool_call>" ("\n<tool_call>\n" one "\n</tool_call>")*',
)  # fmt: skip
MISTRAL = CallForm(
    "mistral", b"[{", False, "arguments", root='" "? "[" one "]"', several='" "? "[" one (", " one)* "]"'
)
LLAMA = CallForm("llama", b"{", False, "parameters", root='" "? one', several='" "? one')

_FOREIGN = ("<function=", "<arg_key>", "[ARGS]")
"""Marks of newer forms that look alike: Qwen3-Coder's, GLM's, the later Mistral models'."""


def form_of(template: str | None) -> CallForm | None:
    """Tell by a chat template how its model writes calls; None where it has no place for tools, or in another form."""
    if not template or not re.search(r"\btools\b", template) or any(mark in template for mark in _FOREIGN):
        return None
    if "<tool_call>" in template:
        return HERMES
    if "[TOOL_CALLS]" in template:
        return MISTRAL
    return LLAMA if "ipython" in template and re.search(r'"parameters\\?"', template) else None


def call_grammar(tools: Tools, form: CallForm) -> str:
    """Give the GBNF of calls of these tools.

    Arguments that have to be valid are bound by their schema; others are where it can be enforced, and are any JSON
    object where it cannot.

    Raises:
        BadRequest: arguments have to be valid, and their schema cannot be enforced.

    """
    allowed = [tool for tool in tools.functions if tools.only in (None, tool.name)]
    schemas = {f"arguments-{place}": _enforceable(tool, tools) for place, tool in enumerate(allowed)}
    text = _text(allowed, schemas, tools, form)
    try:
        vet(text)
    except BadRequest as error:
        if any(_bound(tool, tools) for tool in allowed):
            raise BadRequest(f"tools together: made of their parameters, {error}") from error
        text = _text(allowed, dict.fromkeys(schemas, _ANY), tools, form)
    return text


def _text(allowed: list[Tool], schemas: dict[str, str], tools: Tools, form: CallForm) -> str:
    rules = {"root": form.several if tools.parallel else form.root}
    rules["one"] = " | ".join(f"call-{place}" for place in range(len(allowed)))
    for place, tool in enumerate(allowed):
        rules[f"call-{place}"] = rf'"{{\"name\": \"{tool.name}\", \"{form.key}\": " arguments-{place} "}}"'
    rules |= schema_rules(schemas)
    return "".join(f"{name} ::= {rule}\n" for name, rule in rules.items())


def _bound(tool: Tool, tools: Tools) -> bool:
    return tools.must or tool.strict


def _enforceable(tool: Tool, tools: Tools) -> str:
    try:
        vet(schema_grammar(tool.parameters))
    except BadRequest as error:
        if _bound(tool, tools):
            raise BadRequest(f"tools has parameters of {tool.name} that cannot be enforced: {error}") from error
        return _ANY
    return tool.parameters


class OnceCalled:
    """A `sampler.Constraint` that lets a text go as it likes until a call begins, and then holds it to the grammar.

    So a model may answer in prose, but a call that it begins ends as a valid one. The tokens that began it are gone
    through again; where they are not what the grammar begins with, the text stays free, and is no call.

    Args:
        grammar: of the calls, from their very beginning; closed with this.
        form: how one is known to begin.
        piece: gives a token's bytes.

    """

    def __init__(self, grammar: Constraint, form: CallForm, piece: Callable[[int], bytes]) -> None:
        self._grammar, self._form, self._piece = grammar, form, piece
        self._text = bytearray()
        self._tokens: list[tuple[int, int]] = []  # where each printing token begins, and which it is
        self._bound, self._free = False, False

    def allows(self, token: int) -> bool:
        """Tell whether this token may come next."""
        return self._grammar.allows(token) if self._bound else True

    def allowed(self, tokens: Tokens) -> NDArray[np.bool_]:
        """Tell for each of these tokens whether it may come next."""
        return self._grammar.allowed(tokens) if self._bound else np.ones(tokens.size, np.bool_)

    def accept(self, token: int) -> None:
        """Go on after this token."""
        if self._bound:
            self._grammar.accept(token)
        elif not self._free and (piece := self._piece(token)):
            self._tokens.append((len(self._text), token))
            self._text += piece
            begin = self._begin_within(len(piece)) if self._form.anywhere else self._begin_at_head()
            if begin is not None:
                self._bind(begin)

    def close(self) -> None:
        """Close the grammar; a second call does nothing."""
        self._grammar.close()

    def _begin_within(self, length: int) -> int | None:
        opening = self._form.opening
        found = self._text.find(opening, max(0, len(self._text) - length - len(opening)))
        thinking = self._text.rfind(b"<think>") > self._text.rfind(b"</think>")
        return None if found < 0 or thinking else found

    def _begin_at_head(self) -> int | None:
        head = self._text.lstrip()
        seen = b"".join(head[:64].split())[: len(self._form.opening)]
        self._free = not self._form.opening.startswith(seen)
        return len(self._text) - len(head) if seen == self._form.opening else None

    def _bind(self, begin: int) -> None:
        self._bound = True
        for place, token in self._tokens:
            if place + len(self._piece(token)) > begin:
                if not self._grammar.allows(token):
                    self._bound, self._free = False, True
                    return
                self._grammar.accept(token)
