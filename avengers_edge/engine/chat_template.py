"""The model's own chat template: a conversation becomes the text of a prompt.

A template is a foreign program. It runs in Jinja's `ImmutableSandboxedEnvironment`, its size and that of its output are
limited, and whatever it raises becomes an error of ours. Time and memory are limited by `worker.template_limits` alone.
The helpers are those of Hugging Face's `apply_chat_template`, for which templates are written.
"""

from __future__ import annotations

import dataclasses
import datetime
import functools
import json
import re
from collections.abc import Sequence
from typing import Any

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from avengers_edge.engine.detokenizer import CLOSING, OPENING
from avengers_edge.engine.tool_calls import CallForm, form_of
from avengers_edge.errors import BadRequest, VerificationFailed
from avengers_edge.records import Message, Request, Tool, Tools

MOST_SOURCE = 100_000
"""Characters of a template; those that models come with have up to 30,000."""
MOST_OUTPUT = 2**24
"""Characters of a prompt, several times what the longest context holds."""

_NO_THOUGHT = f"{OPENING}\n\n{CLOSING}\n\n"
_OPEN = re.compile(rf"{OPENING}\s*\Z")
_CLOSED = re.compile(rf"{CLOSING}\s*\Z")


class ChatTemplate:
    """The compiled template of one model.

    Raises:
        VerificationFailed: the model has no template, or one that does not compile.

    """

    def __init__(self, source: str | None, *, bos: str = "", eos: str = "") -> None:
        if not source:
            raise VerificationFailed("the model carries no chat template: it is a base model, take an instruct model")
        if len(source) > MOST_SOURCE:
            raise VerificationFailed(
                f"the model's chat template has {len(source)} characters, more than {MOST_SOURCE}: take another model"
            )
        try:
            self._template = _environment().from_string(source)
        # Foreign source fails in the lexer, in Jinja's compiler and in Python's, each with errors of its own.
        except Exception as error:
            raise VerificationFailed(f"the model's chat template does not compile: {_line(error)}") from error
        self._source, self._tokens = source, {"bos_token": bos, "eos_token": eos}
        self._form = form_of(source)

    @property
    def call_form(self) -> CallForm:
        """How the model writes calls.

        Raises:
            BadRequest: the template has no place for tools, or has them in a form that is not known here.

        """
        if self._form is None:
            raise BadRequest("tools cannot be given to this model: its chat template has no place for them")
        return self._form

    def render(self, messages: Sequence[Message], tools: Tools | None = None, *, thinking: bool | None = None) -> str:
        """Render up to the point where the assistant speaks, `thinking` first or at once; None leaves that open.

        Templates that refuse a system role or pass over it get the system prompt at the head of the first user turn.
        A last message of the assistant's is begun, and is to be continued.

        Raises:
            BadRequest: the template refuses this conversation, or shows the system prompt, a tool, a call or its
                result nowhere.

        """
        if messages and messages[-1].role == "assistant" and not messages[-1].calls:
            return self.render(messages[:-1], tools, thinking=thinking) + messages[-1].content
        text = self._with_system(messages, tools, thinking)
        return _without_thought(text, self._source) if thinking is False else text

    def _with_system(self, messages: Sequence[Message], tools: Tools | None, thinking: bool | None) -> str:
        if not messages or messages[0].role != "system":
            return self._render(messages, tools, thinking)
        system, *turns = messages
        prompt = system.content.strip()
        try:
            if prompt in (text := self._render(messages, tools, thinking)):
                return text
        except BadRequest:
            if not turns:
                raise
        if turns:
            first, *rest = turns
            merged = dataclasses.replace(first, content=f"{system.content}\n\n{first.content}")
            if prompt in (text := self._render([merged, *rest], tools, thinking)):
                return text
        raise BadRequest(
            "the model's chat template has no place for a system prompt: say it in the question or take another model"
        )

    def _render(self, messages: Sequence[Message], tools: Tools | None, thinking: bool | None) -> str:
        functions = None if tools is None else [_function(tool) for tool in tools.functions]
        given = {"messages": _turns(messages), "add_generation_prompt": True, "tools": functions, **self._tokens}
        if thinking is not None:  # Qwen3's name for it, and Granite's
            given |= {"enable_thinking": thinking, "thinking": thinking}
        parts, size = [], 0
        try:
            for part in self._template.generate(given):
                parts.append(part)
                size += len(part)
                if size > MOST_OUTPUT:
                    raise OverflowError(f"it writes more than {MOST_OUTPUT} characters")
        # A template is a program: it can fail in every way a program can.
        except Exception as error:
            raise BadRequest(f"the model's chat template refuses this conversation: {_line(error)}") from error
        _require_shown(text := "".join(parts), messages, tools)
        return text


# --- what a template is given ---


def _function(tool: Tool) -> dict[str, Any]:
    function = {"name": tool.name, "description": tool.description, "parameters": json.loads(tool.parameters)}
    return {"type": "function", "function": function}


def _turns(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """Convert messages to what templates expect; calls are numbered anew, since some want ids of nine letters."""
    turns, known = [], dict[str, tuple[str, str]]()
    for message in messages:
        turn: dict[str, Any] = {"role": message.role, "content": message.content}
        for call in message.calls:
            known[call.id] = (f"call{len(known) + 1:05}", call.name)
            function = {"name": call.name, "arguments": json.loads(call.arguments)}
            made = {"id": known[call.id][0], "type": "function", "function": function}
            turn.setdefault("tool_calls", []).append(made)
        if message.call_id is not None:
            if message.call_id not in known:
                raise BadRequest(f"a result is of the call {message.call_id[:40]!r}, which was not made before it")
            turn["tool_call_id"], turn["name"] = known[message.call_id]
        turns.append(turn)
    return turns


def _require_shown(text: str, messages: Sequence[Message], tools: Tools | None) -> None:
    """Refuse a prompt in which something of tools was lost: templates pass over what they do not know."""
    called = [call.name for message in messages for call in message.calls]
    results = [message.content.strip() for message in messages if message.role == "tool"]
    if any(name not in text for name in (*(tools.names if tools else ()), *called)) or not all(
        result in text or json.dumps(result, ensure_ascii=False)[1:-1] in text for result in results
    ):
        raise BadRequest(
            "tools cannot be given to this model: its chat template leaves out a function, a call or its result"
        )


# --- thinking ---


def wants_thought(request: Request) -> bool | None:
    """Return whether the model is to think before it answers; None leaves that to its template."""
    sampling, tools = request.sampling, request.tools
    if sampling.grammar is not None or sampling.schema is not None or (tools is not None and tools.must):
        return False  # what is bounded from its first token has no place for a thought
    return None if sampling.thinking_budget is None else sampling.thinking_budget > 0


def opened_thought(prompt: str) -> str:
    """Return the tag that a prompt ends with where its template has opened a thought: it is part of the text."""
    return f"{OPENING}\n" if _OPEN.search(prompt) else ""


def _without_thought(prompt: str, template: str) -> str:
    if _OPEN.search(prompt):
        return f"{prompt.rstrip()}\n\n{CLOSING}\n\n"
    # A template that takes thoughts out of earlier turns, but has no variable that keeps a new one from beginning.
    if CLOSING in template and "thinking" not in template and not _CLOSED.search(prompt):
        return prompt + _NO_THOUGHT
    return prompt


# --- Jinja ---


class _Generation(Extension):
    """`{% generation %}`, which marks what a model is trained to say; here it changes nothing."""

    tags = {"generation"}  # noqa: RUF012 - as Jinja has it

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.loopcontrols", _Generation],
        optimized=False,  # or constants are computed, however large, when the model is loaded
    )
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = lambda pattern: datetime.datetime.now().astimezone().strftime(pattern)
    # Jinja's own tojson escapes HTML characters, which no model has been trained on.
    environment.filters["tojson"] = functools.partial(json.dumps, ensure_ascii=False)
    return environment


def _raise_exception(message: str) -> None:
    raise jinja2.TemplateError(message)


def _line(error: Exception) -> str:
    if isinstance(error, MemoryError):
        return "it takes too much memory"
    return " ".join(str(error).partition("\n")[0].split())[:200] or type(error).__name__
