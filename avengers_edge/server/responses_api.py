"""OpenAI's Responses API without its memory: a request as a chat completion, an answer as typed items and events."""

from __future__ import annotations

import dataclasses
import itertools
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Literal, TypeAlias

import msgspec
from msgspec import Meta

from avengers_edge.records import Loading, Progress, ToolCall
from avengers_edge.server.problems import Problem, refuse
from avengers_edge.server.replies import AnswerDetails, Choice, Dialect, Usage, Values, event_frame
from avengers_edge.server.schemas import Body, Extension, FunctionName, ModelName, Text

_TEXT_PARTS = ("input_text", "output_text", "text")


class TextFormat(Body, frozen=True):
    """What the answer has to look like."""

    type: Literal["text", "json_object", "json_schema"] = "text"
    name: str | None = None
    schema: dict[str, Any] | None = None
    strict: bool | None = None


class TextOptions(Body, frozen=True):
    """Options of the text."""

    format: TextFormat = TextFormat()
    verbosity: str | None = None


class FlatTool(Body, frozen=True):
    """A function that may be called; the Responses API has its fields beside the type."""

    type: str
    name: FunctionName | None = None
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class NamedTool(Body, frozen=True):
    """The function that has to be called."""

    type: str
    name: FunctionName | None = None


Item: TypeAlias = dict[str, Any]
"""A message, a call, a call's result, or what is passed over; read by hand, since messages need not name their type."""


class ResponsesRequest(Body, frozen=True, kw_only=True):
    """The body of `/v1/responses`. Nothing is stored, so that a conversation comes whole with each request."""

    renamed: ClassVar[Mapping[str, str]] = MappingProxyType(
        {"messages": "input", "max_tokens": "max_output_tokens", "response_format": "text.format"}
    )
    model: ModelName
    input: Text | Annotated[list[Item], Meta(min_length=1)]
    instructions: str | None = None
    max_output_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_logprobs: int | None = None
    text: TextOptions = TextOptions()
    tools: list[FlatTool] = []
    tool_choice: Literal["none", "auto", "required"] | NamedTool | None = None
    parallel_tool_calls: bool = True
    stream: bool = False
    store: bool | None = None
    previous_response_id: str | None = None
    conversation: Any = None
    background: bool = False
    reasoning: dict[str, Any] | None = None
    metadata: dict[str, Any] | None = None
    truncation: str | None = None
    avengers: Extension = Extension()

    def chat(self) -> Values:
        """Return the same request as the body of a chat completion."""
        for name in ("previous_response_id", "conversation"):
            if getattr(self, name) is not None:
                raise refuse(
                    name, f"{name} asks for what was said before, and nothing is stored here: send it as input"
                )
        if self.background:
            raise refuse("background", "background answers would have to be stored: use stream")
        system = [{"role": "system", "content": self.instructions}] if self.instructions else []
        items = [{"role": "user", "content": self.input}] if isinstance(self.input, str) else self.input
        body: Values = {
            "model": self.model,
            "messages": [*system, *_messages(items)],
            "tools": [_tool(tool, place) for place, tool in enumerate(self.tools)],
            "parallel_tool_calls": self.parallel_tool_calls,
            "stream": self.stream,
            "temperature": self.temperature,
            "top_p": self.top_p,
            "max_tokens": self.max_output_tokens,
            "avengers": msgspec.to_builtins(self.avengers),
        }
        if isinstance(self.tool_choice, NamedTool):
            if self.tool_choice.type != "function":
                raise refuse(
                    "tool_choice", f"tool_choice is of a {self.tool_choice.type}: only functions can be called"
                )
            body["tool_choice"] = {"type": "function", "function": {"name": self.tool_choice.name}}
        else:
            body["tool_choice"] = self.tool_choice
        wanted = self.text.format
        if wanted.type == "json_schema":
            schema = {"name": wanted.name, "schema": wanted.schema, "strict": wanted.strict}
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
        elif wanted.type == "json_object":
            body["response_format"] = {"type": "json_object"}
        return body

    def dialect(self) -> Dialect:
        """Return how the answer is written."""
        echoed = {
            "instructions": self.instructions,
            "max_output_tokens": self.max_output_tokens,
            "metadata": self.metadata or {},
            "parallel_tool_calls": self.parallel_tool_calls,
            "temperature": 1.0 if self.temperature is None else self.temperature,
            "top_p": 1.0 if self.top_p is None else self.top_p,
            "text": msgspec.to_builtins(self.text),
            "tool_choice": "auto" if self.tool_choice is None else msgspec.to_builtins(self.tool_choice),
            "tools": msgspec.to_builtins(self.tools),
            "reasoning": {"effort": None, "summary": None},
            "truncation": "disabled",
            "previous_response_id": None,
            "store": False,
            "background": False,
        }
        return _ResponsesDialect(self.model, echoed)


def _messages(items: Iterable[Item]) -> Iterator[Values]:
    """Turn items into messages: calls that follow each other, and a text before them, are one message."""
    pending: Values | None = None
    for place, item in enumerate(items):
        where, kind = f"input[{place}]", item.get("type", "message")
        if kind == "reasoning":  # a hosted model's thought, which no other model can read
            continue
        if kind == "function_call":
            call = {"name": item.get("name"), "arguments": item.get("arguments") or "{}"}
            pending = pending or {"role": "assistant", "content": None, "tool_calls": []}
            made = {"id": item.get("call_id") or item.get("id"), "type": "function", "function": call}
            pending.setdefault("tool_calls", []).append(made)
            continue
        if kind == "message" and item.get("role") == "assistant":
            if pending:
                yield pending
            pending = {"role": "assistant", "content": _text(item.get("content"), where)}
            continue
        if pending:
            yield pending
            pending = None
        if kind == "function_call_output":
            output = _text(item.get("output"), where)
            yield {"role": "tool", "tool_call_id": item.get("call_id"), "content": output}
        elif kind == "message":
            yield {"role": item.get("role"), "content": _text(item.get("content"), where)}
        else:
            raise refuse(where, f"{where} is a {str(kind)[:40]}: send messages, function calls and their outputs")
    if pending:
        yield pending


def _text(content: object, where: str) -> object:
    if not isinstance(content, list):
        return content
    for part in content:
        if not isinstance(part, dict) or part.get("type") not in _TEXT_PARTS:
            kind = part.get("type") if isinstance(part, dict) else part
            raise refuse(f"{where}.content", f"{where}.content has a part {str(kind)[:40]!r}: only text can be read")
    return [{"type": "text", "text": part.get("text")} for part in content]


def _tool(tool: FlatTool, place: int) -> Values:
    if tool.type != "function":
        raise refuse(f"tools[{place}]", f"tools[{place}] is a {tool.type[:40]}: only functions can be called")
    function: Values = {"name": tool.name, "description": tool.description or "", "parameters": tool.parameters}
    # Clients of this API ask for strictness by default, also of schemas that cannot be held to it.
    return {"type": "function", "function": function | {"strict": False}}


@dataclasses.dataclass(slots=True)
class _ResponsesDialect(Dialect):
    """A response object, or the events by which it comes about, numbered in order."""

    model: str
    echoed: Values
    ident: str = dataclasses.field(default_factory=lambda: uuid.uuid4().hex)
    created: int = dataclasses.field(default_factory=lambda: int(time.time()))
    numbers: Iterator[int] = dataclasses.field(default_factory=itertools.count)
    begun: bool = False

    def whole(self, choices: Sequence[Choice], usage: Usage, details: AnswerDetails) -> Values:
        (choice,) = choices
        status = "incomplete" if choice.finish_reason == "length" else "completed"
        why = {"reason": "max_output_tokens"} if status == "incomplete" else None
        spent = {
            "input_tokens": usage.prompt_tokens,
            "input_tokens_details": {"cached_tokens": usage.prompt_tokens_details.cached_tokens},
            "output_tokens": usage.completion_tokens,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": usage.total_tokens,
        }
        output = [self._message(choice.text, status)] if choice.text or not choice.calls else []
        output += [self._call(call, place) for place, call in enumerate(choice.calls)]
        return self._response(status, output) | {"incomplete_details": why, "usage": spent, "avengers": details}

    def begin(self, index: int) -> Iterator[bytes]:  # noqa: ARG002 - one choice only
        self.begun = True
        for name in ("response.created", "response.in_progress"):
            yield self._event(name, response=self._response("in_progress", []))
        item = self._message("", "in_progress") | {"content": []}
        yield self._event("response.output_item.added", output_index=0, item=item)
        yield self._event("response.content_part.added", **self._place(), part=_part(""))

    def piece(self, index: int, text: str) -> Iterator[bytes]:  # noqa: ARG002
        if text:
            yield self._event("response.output_text.delta", **self._place(), delta=text, logprobs=[])

    def end(self, choices: Sequence[Choice], usage: Usage, details: AnswerDetails) -> Iterator[bytes]:
        (choice,) = choices
        place = self._place()
        yield self._event("response.output_text.done", **place, text=choice.text, logprobs=[])
        yield self._event("response.content_part.done", **place, part=_part(choice.text))
        done = self._message(choice.text, "completed")
        yield self._event("response.output_item.done", output_index=0, item=done)
        for number, call in enumerate(choice.calls):
            item, at = self._call(call, number), number + 1
            added = item | {"arguments": "", "status": "in_progress"}
            yield self._event("response.output_item.added", output_index=at, item=added)
            named = {"item_id": item["id"], "output_index": at}
            yield self._event("response.function_call_arguments.delta", **named, delta=call.arguments)
            yield self._event(
                "response.function_call_arguments.done", **named, arguments=call.arguments, name=call.name
            )
            yield self._event("response.output_item.done", output_index=at, item=item)
        whole = self.whole(choices, usage, details)
        calls = [item for item in whole["output"] if item["type"] == "function_call"]
        whole |= {"output": [done, *calls]}  # as it was streamed, an empty text too
        yield self._event(f"response.{whole['status']}", response=whole)

    def progress(self, event: Progress | Loading) -> bytes:
        if isinstance(event, Loading):
            return f": loading {event.model}\n\n".encode("utf-8", "replace")
        return f": voting {event.finished} of {event.samples}\n\n".encode()

    def failed(self, problem: Problem) -> bytes:
        said = problem.reply().error
        error = {"code": said.code or "server_error", "message": said.message}
        failed = self._response("failed", []) | {"error": error}
        return self._event("error", **error, param=said.param) + self._event("response.failed", response=failed)

    def _event(self, event: str, **values: object) -> bytes:
        return event_frame({"type": event, "sequence_number": next(self.numbers), **values}, event)

    def _place(self) -> Values:
        return {"item_id": f"msg_{self.ident}", "output_index": 0, "content_index": 0}

    def _message(self, text: str, status: str) -> Values:
        content = [_part(text)]
        return {"type": "message", "id": f"msg_{self.ident}", "status": status, "role": "assistant", "content": content}

    def _call(self, call: ToolCall, number: int) -> Values:
        ident = f"fc_{self.ident}_{number}"
        named = {"call_id": call.id, "name": call.name, "arguments": call.arguments}
        return {"type": "function_call", "id": ident, "status": "completed", **named}

    def _response(self, status: str, output: list[Values]) -> Values:
        return {
            "id": f"resp_{self.ident}",
            "object": "response",
            "created_at": self.created,
            "status": status,
            "error": None,
            "incomplete_details": None,
            "model": self.model,
            "output": output,
            "usage": None,
            "user": None,
            **self.echoed,
        }


def _part(text: str) -> Values:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
