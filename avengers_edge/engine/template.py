"""A conversation rendered with the model's own chat template, which comes with a foreign file: in a sandbox."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

from avengers_edge.engine.calls import CallForm, form_of
from avengers_edge.engine.template_sandbox import Sandbox, render
from avengers_edge.engine.thinking import without_thought
from avengers_edge.errors import BadRequest, VerificationFailed
from avengers_edge.records import Message, Tool, Tools

_LONGEST = 200_000
"""Characters of a template; those that models come with have up to 30,000."""


class ChatTemplate:
    """The compiled template of one model.

    Raises:
        VerificationFailed: the model has no template, or one that does not compile.

    """

    def __init__(self, source: str | None, *, bos: str = "", eos: str = "") -> None:
        if not source:
            raise VerificationFailed("the model carries no chat template: it is a base model, take an instruct model")
        if len(source) > _LONGEST:
            raise VerificationFailed(f"the model's chat template has {len(source)} characters, more than {_LONGEST}")
        try:
            self._template = Sandbox().template(source)
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

        Raises:
            BadRequest: the template refuses this conversation, or shows the system prompt, a tool, a call or its
                result nowhere.

        """
        text = self._with_system(messages, tools, thinking)
        return without_thought(text, self._source) if thinking is False else text

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
        try:
            text = render(self._template, given)
        # A template is a program: it can fail in every way a program can.
        except Exception as error:
            raise BadRequest(f"the model's chat template refuses this conversation: {_line(error)}") from error
        _require_shown(text, messages, tools)
        return text


def _function(tool: Tool) -> dict[str, Any]:
    told = {"name": tool.name, "description": tool.description, "parameters": json.loads(tool.parameters)}
    return {"type": "function", "function": told}


def _turns(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """Put messages as templates expect them; calls are numbered anew, since some want ids of nine letters."""
    turns, known = [], dict[str, tuple[str, str]]()
    for message in messages:
        turn: dict[str, Any] = {"role": message.role, "content": message.content}
        if message.calls:
            for call in message.calls:
                known[call.id] = (f"call{len(known) + 1:05}", call.name)
            turn["tool_calls"] = [
                {
                    "id": known[call.id][0],
                    "type": "function",
                    "function": {"name": call.name, "arguments": json.loads(call.arguments)},
                }
                for call in message.calls
            ]
        if message.call_id is not None:
            if message.call_id not in known:
                raise BadRequest(f"a result is of the call {message.call_id[:40]!r}, which nobody made before it")
            turn["tool_call_id"], turn["name"] = known[message.call_id]
        turns.append(turn)
    return turns


def _require_shown(text: str, messages: Sequence[Message], tools: Tools | None) -> None:
    """Refuse a prompt in which something of tools was lost: templates pass over what they do not know."""
    called = [call.name for message in messages for call in message.calls]
    told = [message.content.strip() for message in messages if message.role == "tool"]
    if any(name not in text for name in (*(tools.names if tools else ()), *called)) or not all(
        result in text or json.dumps(result, ensure_ascii=False)[1:-1] in text for result in told
    ):
        raise BadRequest(
            "tools cannot be given to this model: its chat template leaves out a function, a call or its result"
        )


def _line(error: Exception) -> str:
    lines = str(error).split("\n", 1)[0].split()
    return " ".join(lines)[:200] or type(error).__name__
