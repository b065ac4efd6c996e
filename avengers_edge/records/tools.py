"""Functions that a model may ask its caller to call; nothing here calls one."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from avengers_edge.records.basics import require

MOST_TOOLS = 128
"""OpenAI's own limit."""
MOST_SCHEMA_BYTES = 64 * 1024
"""Of all parameters together."""

_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")


@dataclass(frozen=True, slots=True)
class Tool:
    """A function as models are told of it. `parameters` is a JSON schema of an object, as text.

    A call of a `strict` one is valid against that schema, whatever the model would like to write.
    """

    name: str
    description: str = ""
    parameters: str = '{"type": "object", "properties": {}}'
    strict: bool = False

    def __post_init__(self) -> None:
        named = isinstance(self.name, str) and _NAME.fullmatch(self.name)
        require(bool(named), f"tools has the name {self.name!r:.40}: use up to 64 letters, digits, _ and -")
        require(isinstance(self.description, str), f"tools describes {self.name} with no text")
        try:
            schema = json.loads(self.parameters)
        except (TypeError, ValueError, RecursionError):
            schema = None
        holds = isinstance(schema, dict) and schema.get("type", "object") == "object"
        require(holds, f"tools has parameters of {self.name} that are no JSON schema of an object")


@dataclass(frozen=True, slots=True)
class Tools:
    """What may be called. `must` asks for a call, `only` for one of that function, `parallel` allows several."""

    functions: tuple[Tool, ...]
    must: bool = False
    only: str | None = None
    parallel: bool = True

    def __post_init__(self) -> None:
        require(bool(self.functions), "tools is empty: leave it out")
        require(len(self.functions) <= MOST_TOOLS, f"tools has {len(self.functions)} functions: use {MOST_TOOLS}")
        names = self.names
        twice = next((name for place, name in enumerate(names) if name in names[:place]), None)
        require(twice is None, f"tools has two functions {twice!r}: name each differently")
        size = sum(len(tool.parameters.encode("utf-8", "replace")) for tool in self.functions)
        require(size <= MOST_SCHEMA_BYTES, f"tools has {size} bytes of parameters: use up to {MOST_SCHEMA_BYTES}")
        require(self.only is None or self.only in names, f"tools has no function {self.only!r:.80}: name one of them")

    @property
    def names(self) -> tuple[str, ...]:
        """The functions' names in their order."""
        return tuple(tool.name for tool in self.functions)


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call that a model asks for. `arguments` is a JSON object, as text; `id` is what its result refers to."""

    name: str
    arguments: str
    id: str = ""

    def __post_init__(self) -> None:
        try:
            value = json.loads(self.arguments)
            json.dumps(value, ensure_ascii=False, allow_nan=False).encode()  # JSON has no NaN and no half characters
        except (TypeError, ValueError, RecursionError):
            value = None
        require(isinstance(value, dict), f"a call of {self.name!r:.80} has arguments that are no JSON object")
