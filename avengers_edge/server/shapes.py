"""Answers in OpenAI's shapes, whole or in chunks, and the extension object that says how they came about."""

from __future__ import annotations

import dataclasses
import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from avengers_edge.records import Answer, Generation, TokenLogprob, ToolCall, Tools
from avengers_edge.server.tools import new_id, shape_of
from avengers_edge.voting.calls import Said, read_calls

Values = dict[str, Any]


@dataclasses.dataclass(frozen=True, slots=True)
class Choice:
    """One of the texts that were asked for, the calls that were in it, and why it ended."""

    index: int
    text: str
    finish_reason: str
    logprobs: tuple[TokenLogprob, ...] | None = None
    calls: tuple[ToolCall, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Reply:
    """What all parts of one response have in common. `chat` tells a chat completion from a text completion."""

    chat: bool
    model: str
    ident: str = dataclasses.field(default_factory=lambda: uuid.uuid4().hex)
    created: int = dataclasses.field(default_factory=lambda: int(time.time()))

    def whole(self, choices: Sequence[Choice], usage: Values, extension: Values) -> Values:
        """Make the response that is not streamed."""
        named = self._named("chat.completion" if self.chat else "text_completion")
        shown = []
        for choice in choices:
            message: Values = {"role": "assistant", "content": choice.text, "refusal": None}
            if choice.calls:
                message |= {"content": choice.text or None, "tool_calls": [shape_of(call) for call in choice.calls]}
            shown.append(self._choice(choice, {"message": message} if self.chat else {"text": choice.text}))
        return named | {"choices": shown, "usage": usage, "avengers": extension}

    def begin(self, index: int) -> Values:
        """Make the first chunk of a choice."""
        return self._chunk(index, {"role": "assistant", "content": ""}, "")

    def piece(self, index: int, text: str) -> Values:
        """Make the chunk of a piece of text."""
        return self._chunk(index, {"content": text}, text)

    def call(self, index: int, place: int, call: ToolCall) -> tuple[Values, Values]:
        """Make the chunks of a call: what is called, and with what."""
        head = {"index": place, "id": call.id, "type": "function", "function": {"name": call.name, "arguments": ""}}
        rest = {"index": place, "function": {"arguments": call.arguments}}
        return self._chunk(index, {"tool_calls": [head]}, ""), self._chunk(index, {"tool_calls": [rest]}, "")

    def finish(self, choice: Choice) -> Values:
        """Make the last chunk of a choice: its text was told, its log-probabilities were not."""
        said: Values = {"delta": {}} if self.chat else {"text": ""}
        return self._named("chat.completion.chunk" if self.chat else "text_completion") | {
            "choices": [self._choice(choice, said)]
        }

    def usage(self, usage: Values) -> Values:
        """Make the chunk that carries the usage, and no choice."""
        named = self._named("chat.completion.chunk" if self.chat else "text_completion")
        return named | {"choices": [], "usage": usage}

    def _chunk(self, index: int, delta: Values, text: str) -> Values:
        said: Values = {"delta": delta} if self.chat else {"text": text}
        choice = {"index": index, **said, "logprobs": None, "finish_reason": None}
        return self._named("chat.completion.chunk" if self.chat else "text_completion") | {"choices": [choice]}

    def _named(self, kind: str) -> Values:
        ident = f"{'chatcmpl' if self.chat else 'cmpl'}-{self.ident}"
        return {"id": ident, "object": kind, "created": self.created, "model": self.model}

    def _choice(self, choice: Choice, said: Values) -> Values:
        logprobs = None
        if choice.logprobs is not None:
            logprobs = _chat_logprobs(choice.logprobs) if self.chat else _text_logprobs(choice.logprobs)
        return {"index": choice.index, **said, "logprobs": logprobs, "finish_reason": choice.finish_reason}


def choices_of(result: Answer | Generation, tools: Tools | None = None) -> list[Choice]:
    """Give the texts, and the calls of these tools in them: the elected one, or all that a member wrote."""
    if isinstance(result, Answer):
        reason = result.shown.finish_reason
        return [_choice(0, result.text, reason, None, tools)]
    return [_choice(done.index, done.text, done.finish_reason, done.logprobs, tools) for done in result.completions]


def usage_of(result: Answer | Generation) -> Values:
    """Count tokens; a vote's are those of all its samples."""
    if isinstance(result, Answer):
        prompt, cached = result.usage.prompt_tokens, result.usage.cached_tokens
        written = result.usage.completion_tokens
    else:
        prompt, cached = result.prompt_tokens, result.reused_tokens
        written = sum(done.tokens for done in result.completions)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": written,
        "total_tokens": prompt + written,
        "prompt_tokens_details": {"cached_tokens": cached},
    }


def extension_of(result: Answer | Generation, member: str | None = None, *, texts: bool = False) -> Values:
    """Say how an answer came about; `texts` adds every sample of a vote."""
    if isinstance(result, Generation):
        ended = len(result.completions)
        return {
            "model": member,
            "models": [member],
            "route": None,
            "votes": [],
            "confidence": None,
            "agreement": None,
            "samples_requested": ended,
            "samples_used": ended,
            "saved_tokens": 0,
            "timings_ms": {"prefill": round(result.prefill_ms, 3), "decode": round(result.decode_ms, 3)},
        }
    values = result.as_dict()
    kept: Mapping[str, Any] = {name: values[name] for name in (*_TOLD, *(("samples",) if texts else ()))}
    return {**kept, "output": result.shown.output, "saved_tokens": result.usage.saved_tokens}


_TOLD = (
    *("answer", "kind", "model", "models", "route", "votes", "confidence", "agreement"),
    *("samples_requested", "samples_used", "stopped_early", "timings_ms"),
)


def _choice(
    index: int, text: str, reason: str, logprobs: tuple[TokenLogprob, ...] | None, tools: Tools | None
) -> Choice:
    reason = "stop" if reason == "stop" else "length"
    said = Said(text) if tools is None else read_calls(text, tools.names)
    if not said.calls:
        return Choice(index, text, reason, logprobs)
    calls = tuple(dataclasses.replace(call, id=new_id()) for call in said.calls)
    return Choice(index, said.content, "tool_calls", logprobs, calls)


def _chat_logprobs(tokens: Sequence[TokenLogprob]) -> Values:
    def entry(text: str, logprob: float) -> Values:
        whole = "\ufffd" not in text  # a token that is a part of a character is not known by its bytes any more
        return {"token": text, "logprob": logprob, "bytes": list(text.encode()) if whole else None}

    return {
        "content": [
            {**entry(each.text, each.logprob), "top_logprobs": [entry(*other) for other in each.top]} for each in tokens
        ],
        "refusal": None,
    }


def _text_logprobs(tokens: Sequence[TokenLogprob]) -> Values:
    offsets, offset = [], 0
    for each in tokens:
        offsets.append(offset)
        offset += len(each.text)
    return {
        "tokens": [each.text for each in tokens],
        "token_logprobs": [each.logprob for each in tokens],
        "top_logprobs": [dict(each.top) for each in tokens],
        "text_offset": offsets,
    }
