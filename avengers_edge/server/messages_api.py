"""Anthropic's Messages API: a request as a chat completion, an answer as content blocks and their events."""

from __future__ import annotations

import dataclasses
import itertools
import json
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import Meta

from avengers_edge.records import ToolCall
from avengers_edge.server.problems import Problem, refuse
from avengers_edge.server.replies import AnswerDetails, Choice, Dialect, Usage, Values, event_frame
from avengers_edge.server.schemas import Body, Extension, FunctionName, ModelName

_REASONS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}
_CHOICES = {"auto": "auto", "any": "required", "none": "none"}


class Block(Body, frozen=True):
    """A text, a call (`tool_use`) or a call's result (`tool_result`); other types are refused."""

    type: str
    text: str = ""
    id: str = ""
    name: str = ""
    input: dict[str, Any] = {}
    tool_use_id: str = ""
    content: str | list[Block] = ""


class Turn(Body, frozen=True):
    """A message of either side."""

    role: Literal["user", "assistant", "system"]
    content: str | list[Block]


class MessagesTool(Body, frozen=True):
    """A function that may be called."""

    name: FunctionName
    input_schema: dict[str, Any] | None = None
    description: str = ""
    type: str = "custom"


class MessagesToolChoice(Body, frozen=True):
    """Whether a function has to be called, and which."""

    type: Literal["auto", "any", "tool", "none"]
    name: FunctionName | None = None
    disable_parallel_tool_use: bool = False


class MessagesRequest(Body, frozen=True, kw_only=True):
    """The body of `/v1/messages`."""

    renamed: ClassVar[Mapping[str, str]] = MappingProxyType({"stop": "stop_sequences"})
    model: ModelName
    messages: Annotated[list[Turn], Meta(min_length=1)]
    system: str | list[Block] | None = None
    max_tokens: int | None = None
    stop_sequences: list[str] = []
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    stream: bool = False
    tools: list[MessagesTool] = []
    tool_choice: MessagesToolChoice | None = None
    avengers: Extension = Extension()

    def chat(self) -> Values:
        """Return the same request as the body of a chat completion."""
        system = [{"role": "system", "content": _text(self.system, "system")}] if self.system else []
        choice = self.tool_choice
        body: Values = {
            "model": self.model,
            "messages": [*system, *_messages(self.messages)],
            "max_tokens": self.max_tokens,
            "stop": self.stop_sequences or None,
            "temperature": self.temperature,
            "top_p": self.top_p,
            "top_k": self.top_k,
            "stream": self.stream,
            "tools": [_tool(tool, place) for place, tool in enumerate(self.tools)],
            "avengers": msgspec.to_builtins(self.avengers),
        }
        if choice is not None:
            named = {"type": "function", "function": {"name": choice.name}}
            body["tool_choice"] = named if choice.type == "tool" else _CHOICES[choice.type]
            body["parallel_tool_calls"] = not choice.disable_parallel_tool_use
        return body

    def dialect(self) -> Dialect:
        """Return how the answer is written."""
        return _MessagesDialect(self.model)


def _messages(turns: Iterable[Turn]) -> Iterator[Values]:
    for place, turn in enumerate(turns):
        where = f"messages[{place}].content"
        if isinstance(turn.content, str):
            yield {"role": turn.role, "content": turn.content}
            continue
        for block in turn.content:
            if block.type == "tool_result":
                result = {"role": "tool", "tool_call_id": block.tool_use_id}
                yield result | {"content": _text(block.content, where)}
        calls = [
            {"id": b.id, "type": "function", "function": {"name": b.name, "arguments": json.dumps(b.input)}}
            for b in turn.content
            if b.type == "tool_use"
        ]
        rest = [b for b in turn.content if b.type not in ("tool_use", "tool_result", "thinking", "redacted_thinking")]
        if calls:
            yield {"role": turn.role, "content": _text(rest, where) or None, "tool_calls": calls}
        elif rest:
            yield {"role": turn.role, "content": _text(rest, where)}


def _text(content: str | list[Block] | None, where: str) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    for block in content:
        if block.type != "text":
            raise refuse(where, f"{where} has a block {block.type[:40]!r}: only text can be read")
    return "\n".join(block.text for block in content)


def _tool(tool: MessagesTool, place: int) -> Values:
    if tool.type != "custom":
        raise refuse(f"tools[{place}]", f"tools[{place}] is a {tool.type[:40]}: only tools of your own can be called")
    function = {"name": tool.name, "description": tool.description, "parameters": tool.input_schema}
    return {"type": "function", "function": function}


@dataclasses.dataclass(slots=True)
class _MessagesDialect(Dialect):
    """A message with content blocks, or the events by which it comes about."""

    model: str
    ident: str = dataclasses.field(default_factory=lambda: uuid.uuid4().hex)
    at_work = event_frame({"type": "ping"}, "ping")

    def whole(self, choices: Sequence[Choice], usage: Usage, details: AnswerDetails) -> Values:
        (choice,) = choices
        text = [{"type": "text", "text": choice.text}] if choice.text or not choice.calls else []
        content = [*text, *map(_call, choice.calls)]
        ended = {"content": content, "stop_reason": _REASONS[choice.finish_reason], "usage": _usage(usage)}
        return self._message() | ended | {"avengers": details}

    def begin(self, index: int) -> Iterator[bytes]:  # noqa: ARG002 - one choice only
        yield self._event("message_start", message=self._message())
        yield self._event("content_block_start", index=0, content_block={"type": "text", "text": ""})

    def piece(self, index: int, text: str) -> Iterator[bytes]:  # noqa: ARG002
        if text:
            yield self._event("content_block_delta", index=0, delta={"type": "text_delta", "text": text})

    def end(self, choices: Sequence[Choice], usage: Usage, details: AnswerDetails) -> Iterator[bytes]:
        (choice,) = choices
        yield self._event("content_block_stop", index=0)
        for place, call in zip(itertools.count(1), choice.calls):
            yield self._event("content_block_start", index=place, content_block=_call(call) | {"input": {}})
            delta = {"type": "input_json_delta", "partial_json": call.arguments}
            yield self._event("content_block_delta", index=place, delta=delta)
            yield self._event("content_block_stop", index=place)
        reason = {"stop_reason": _REASONS[choice.finish_reason], "stop_sequence": None}
        yield self._event("message_delta", delta=reason, usage=_usage(usage), avengers=details)
        yield self._event("message_stop")

    def failed(self, problem: Problem) -> bytes:
        return event_frame(failure(problem), "error")

    def _event(self, name: str, **values: object) -> bytes:
        return event_frame({"type": name, **values}, name)

    def _message(self) -> Values:
        return {
            "id": f"msg_{self.ident}",
            "type": "message",
            "role": "assistant",
            "model": self.model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": {"input_tokens": 0, "output_tokens": 0},
        }


def failure(problem: Problem) -> Values:
    """Return a problem in this API's shape."""
    said = problem.reply().error
    return {"type": "error", "error": {"type": said.type, "message": said.message}}


def _call(call: ToolCall) -> Values:
    return {"type": "tool_use", "id": call.id, "name": call.name, "input": json.loads(call.arguments)}


def _usage(usage: Usage) -> Values:
    cached = usage.prompt_tokens_details.cached_tokens
    return {
        "input_tokens": usage.prompt_tokens - cached,
        "cache_read_input_tokens": cached,
        "cache_creation_input_tokens": 0,
        "output_tokens": usage.completion_tokens,
    }
