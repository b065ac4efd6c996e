"""Answers in OpenAI's shapes, whole or in chunks, and the object `avengers` that tells how they came about."""

from __future__ import annotations

import abc
import dataclasses
import secrets
import time
import uuid
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType
from starlette.responses import Response

from avengers_edge.records import (
    Answer,
    Generation,
    Kind,
    Loading,
    Progress,
    Ranked,
    Sample,
    TokenLogprob,
    ToolCall,
    Tools,
    Vote,
)
from avengers_edge.server.parameters import Parameters
from avengers_edge.server.problems import Problem
from avengers_edge.voting.calls import ParsedReply, read_calls

Values = dict[str, Any]
EVENT_STREAM = "text/event-stream; charset=utf-8"
_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
_PLAIN = frozenset(f"{_LETTERS}_-.[] ")
_ID_LETTERS = 9
"""Some chat templates want ids of just so many letters and digits."""


class JSONReply(Response):
    """A response of one value that msgspec can write."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:  # noqa: ANN401 - whatever msgspec can write
        """Write it."""
        return msgspec.json.encode(content)


class CachedTokens(msgspec.Struct, frozen=True):
    """How much of a prompt was in the prefix cache."""

    cached_tokens: int


class Usage(msgspec.Struct, frozen=True):
    """Tokens; a vote's are those of all its samples."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: CachedTokens


class CallFunction(msgspec.Struct, frozen=True):
    """A called function; in a chunk its arguments come after its name."""

    name: str | UnsetType = UNSET
    arguments: str = ""


class ReplyCall(msgspec.Struct, frozen=True):
    """A call; `index` is its place in a chunk, where later ones carry arguments only."""

    function: CallFunction
    index: int | UnsetType = UNSET
    id: str | UnsetType = UNSET
    type: Literal["function"] | UnsetType = UNSET


class ReplyMessage(msgspec.Struct, frozen=True):
    """What a model wrote."""

    content: str | None
    role: Literal["assistant"] = "assistant"
    refusal: None = None
    tool_calls: list[ReplyCall] | UnsetType = UNSET


class Delta(msgspec.Struct, frozen=True):
    """What a chunk adds to a message."""

    role: Literal["assistant"] | UnsetType = UNSET
    content: str | UnsetType = UNSET
    tool_calls: list[ReplyCall] | UnsetType = UNSET


class ReplyChoice(msgspec.Struct, frozen=True, kw_only=True):
    """One text: whole (`message`, or `text` of a completion), or what a chunk adds (`delta`, or `text`)."""

    index: int
    message: ReplyMessage | UnsetType = UNSET
    delta: Delta | UnsetType = UNSET
    text: str | UnsetType = UNSET
    logprobs: Values | None = None
    finish_reason: str | None = None


class RouteDetails(msgspec.Struct, frozen=True):
    """A routing decision: the fields of `records.Route` that clients get."""

    cluster: int | None
    similarity: float | None
    ranking: tuple[Ranked, ...]
    margin: float
    fallback: str | None


class Milliseconds(msgspec.Struct, frozen=True, kw_only=True):
    """Time spent in each step; a member that is asked by its name is neither routed nor voted on."""

    prefill: float
    decode: float
    embed: float | UnsetType = UNSET
    route: float | UnsetType = UNSET
    load: float | UnsetType = UNSET
    total: float | UnsetType = UNSET


class AnswerDetails(msgspec.Struct, frozen=True, kw_only=True):
    """The object `avengers` of an answer: how it came about, by the fields of `records.Answer`.

    `samples` are there where their texts were asked for, `corrected` where the first sample was streamed: null, or the
    elected text where that is another one.
    """

    model: str
    models: tuple[str, ...]
    samples_requested: int
    samples_used: int
    timings_ms: Milliseconds
    route: RouteDetails | None = None
    votes: tuple[Vote, ...] = ()
    confidence: float | None = None
    agreement: float | None = None
    saved_tokens: int = 0
    ignored: tuple[str, ...] = ()
    answer: str | UnsetType = UNSET
    kind: Kind | UnsetType = UNSET
    stopped_early: bool | UnsetType = UNSET
    output: str | UnsetType | None = UNSET
    samples: tuple[Sample, ...] | UnsetType = UNSET
    corrected: str | UnsetType | None = UNSET


class Completion(msgspec.Struct, frozen=True, kw_only=True):
    """A response of `/v1/chat/completions` or `/v1/completions`, or a chunk of one.

    The last chunk has `avengers`; all have `usage` where that was asked for, which is null but in the last one.
    """

    id: str
    object: Literal["chat.completion", "chat.completion.chunk", "text_completion"]
    created: int
    model: str
    choices: list[ReplyChoice]
    usage: Usage | UnsetType | None = UNSET
    avengers: AnswerDetails | UnsetType = UNSET


class Model(msgspec.Struct, frozen=True):
    """A name that can be asked; `avengers` has its task, chat or embedding."""

    id: str
    avengers: dict[str, str]
    created: int
    object: Literal["model"] = "model"
    owned_by: str = "avengers-edge"


class ModelList(msgspec.Struct, frozen=True):
    """All names that can be asked."""

    data: list[Model]
    object: Literal["list"] = "list"


class EmbeddingUsage(msgspec.Struct, frozen=True):
    """Tokens of the embedded texts."""

    prompt_tokens: int
    total_tokens: int


class Embedding(msgspec.Struct, frozen=True):
    """A text's vector: numbers, or the bytes of little-endian float32 in base64."""

    index: int
    embedding: str | list[float]
    object: Literal["embedding"] = "embedding"


class EmbeddingList(msgspec.Struct, frozen=True):
    """The vectors, in the order of the texts."""

    data: list[Embedding]
    model: str
    usage: EmbeddingUsage
    object: Literal["list"] = "list"


@dataclasses.dataclass(frozen=True, slots=True)
class Choice:
    """One of the texts that were asked for, the calls in it, and why it ended."""

    index: int
    text: str
    finish_reason: str
    logprobs: tuple[TokenLogprob, ...] | None = None
    calls: tuple[ToolCall, ...] = ()


class Dialect(abc.ABC):
    """One API's way of writing an answer: whole, or as the frames of a stream. `at_work` keeps a connection alive."""

    media_type = EVENT_STREAM
    at_work = b": at work\n\n"

    @abc.abstractmethod
    def whole(self, choices: Sequence[Choice], usage: Usage, details: AnswerDetails) -> object:
        """Return the response that is not streamed, as a value that msgspec can write."""

    def begin(self, index: int) -> Iterator[bytes]:  # noqa: ARG002
        """Return the frames before a choice's first piece."""
        return iter(())

    @abc.abstractmethod
    def piece(self, index: int, text: str) -> Iterator[bytes]:
        """Return the frames of a piece of text."""

    @abc.abstractmethod
    def end(self, choices: Sequence[Choice], usage: Usage, details: AnswerDetails) -> Iterator[bytes]:
        """Return the last frames: calls, why each choice ended, what it cost. All text was sent."""

    def progress(self, event: Progress | Loading) -> bytes:  # noqa: ARG002
        """Return the frame of a vote under way, or of a model that is loaded."""
        return self.at_work

    @abc.abstractmethod
    def failed(self, problem: Problem) -> bytes:
        """Return the frame of a failure in the midst of a stream."""


@dataclasses.dataclass(frozen=True, slots=True)
class OpenAIDialect(Dialect):
    """Chat completions (`chat`) or text completions, as server-sent events where they are streamed."""

    chat: bool
    model: str
    include_usage: bool = False
    ident: str = dataclasses.field(default_factory=lambda: uuid.uuid4().hex)
    created: int = dataclasses.field(default_factory=lambda: int(time.time()))

    def whole(self, choices: Sequence[Choice], usage: Usage, details: AnswerDetails) -> Completion:
        """Return the response that is not streamed."""
        made = [
            ReplyChoice(
                index=choice.index,
                message=_message(choice) if self.chat else UNSET,
                text=UNSET if self.chat else choice.text,
                logprobs=self._logprobs(choice),
                finish_reason=choice.finish_reason,
            )
            for choice in choices
        ]
        kind: Literal["chat.completion", "text_completion"] = "chat.completion" if self.chat else "text_completion"
        return msgspec.structs.replace(self._chunk(*made), object=kind, usage=usage, avengers=details)

    def begin(self, index: int) -> Iterator[bytes]:
        """Return the chunk that names the role."""
        if self.chat:
            yield self._frame(self._adding(index, Delta(role="assistant", content="")))

    def piece(self, index: int, text: str) -> Iterator[bytes]:
        """Return the chunk of a piece of text."""
        yield self._frame(self._adding(index, Delta(content=text), text))

    def end(self, choices: Sequence[Choice], usage: Usage, details: AnswerDetails) -> Iterator[bytes]:
        """Return the chunks of calls, of each choice's end, and of the usage."""
        for choice in choices:
            for place, call in enumerate(choice.calls):
                head = ReplyCall(CallFunction(call.name), place, call.id, "function")
                rest = ReplyCall(CallFunction(arguments=call.arguments), place)
                for each in (head, rest):
                    yield self._frame(self._adding(choice.index, Delta(tool_calls=[each])))
        for choice in choices:  # their texts were sent, their log-probabilities were not
            last = self._adding(choice.index, Delta())
            ended = msgspec.structs.replace(last, logprobs=self._logprobs(choice), finish_reason=choice.finish_reason)
            yield self._frame(ended, details if choice is choices[-1] else UNSET)
        if self.include_usage:
            yield event_frame(msgspec.structs.replace(self._chunk(), usage=usage))
        yield b"data: [DONE]\n\n"

    def progress(self, event: Progress | Loading) -> bytes:
        """Return a comment."""
        if isinstance(event, Loading):
            return f": loading {event.model}\n\n".encode("utf-8", "replace")
        leading = ""
        if event.leader is not None:
            key = "".join(letter if letter.isprintable() else " " for letter in event.leader.key)[:80]
            leading = f", leading with {event.leader.count}: {key}"
        asking = f"voting {event.finished} of {event.samples}, asking {event.member}"
        return f": {asking}{leading}\n\n".encode("utf-8", "replace")

    def failed(self, problem: Problem) -> bytes:
        """Return the error as an event."""
        return event_frame(problem.reply())

    def _frame(self, choice: ReplyChoice, details: AnswerDetails | UnsetType = UNSET) -> bytes:
        usage = None if self.include_usage else UNSET
        return event_frame(msgspec.structs.replace(self._chunk(choice), usage=usage, avengers=details))

    def _adding(self, index: int, delta: Delta, text: str = "") -> ReplyChoice:
        return ReplyChoice(index=index, delta=delta) if self.chat else ReplyChoice(index=index, text=text)

    def _chunk(self, *choices: ReplyChoice) -> Completion:
        return Completion(
            id=f"{'chatcmpl' if self.chat else 'cmpl'}-{self.ident}",
            object="chat.completion.chunk" if self.chat else "text_completion",
            created=self.created,
            model=self.model,
            choices=list(choices),
        )

    def _logprobs(self, choice: Choice) -> Values | None:
        if choice.logprobs is None:
            return None
        return _chat_logprobs(choice.logprobs) if self.chat else _text_logprobs(choice.logprobs)


def event_frame(value: object, event: str | None = None) -> bytes:
    """Write a value as a server-sent event."""
    name = b"" if event is None else f"event: {event}\n".encode()
    return name + b"data: " + msgspec.json.encode(value) + b"\n\n"


def _message(choice: Choice) -> ReplyMessage:
    if not choice.calls:
        return ReplyMessage(choice.text)
    calls = [ReplyCall(CallFunction(call.name, call.arguments), id=call.id, type="function") for call in choice.calls]
    return ReplyMessage(choice.text or None, tool_calls=calls)


def reply_of(
    result: Answer | Generation, member: str | None, parameters: Parameters
) -> tuple[list[Choice], Usage, AnswerDetails]:
    """Return the texts (the elected one, or all that a member wrote), what they cost and how they came about."""
    tools, ignored = parameters.tools, parameters.ignored
    if isinstance(result, Answer):
        choices = [_choice(0, result.text, result.shown.finish_reason, None, tools)]
        details = msgspec.convert(result, AnswerDetails, from_attributes=True)
        details = msgspec.structs.replace(
            details,
            output=result.shown.output,
            saved_tokens=result.usage.saved_tokens,
            samples=details.samples if parameters.extension.texts else UNSET,
            ignored=ignored,
        )
        return choices, usage_of(result), details
    texts = result.completions
    details = AnswerDetails(
        model=member or "",
        models=(member or "",),
        samples_requested=len(texts),
        samples_used=len(texts),
        timings_ms=Milliseconds(prefill=round(result.prefill_ms, 3), decode=round(result.decode_ms, 3)),
        ignored=ignored,
    )
    choices = [_choice(done.index, done.text, done.finish_reason, done.logprobs, tools) for done in texts]
    return choices, usage_of(result), details


def usage_of(result: Answer | Generation) -> Usage:
    """Count tokens; a vote's are those of all its samples."""
    if isinstance(result, Answer):
        prompt, cached = result.usage.prompt_tokens, result.usage.cached_tokens
        written = result.usage.completion_tokens
    else:
        prompt, cached = result.prompt_tokens, result.reused_tokens
        written = sum(done.tokens for done in result.completions)
    return Usage(prompt, written, prompt + written, CachedTokens(cached))


def ignored_header(ignored: Sequence[str]) -> dict[str, str]:
    """Return the header that names what was passed over of a request."""
    named = ", ".join("".join(letter if letter in _PLAIN else "?" for letter in name)[:80] for name in ignored)
    return {"X-Avengers-Ignored": named} if ignored else {}


def _choice(
    index: int, text: str, reason: str, logprobs: tuple[TokenLogprob, ...] | None, tools: Tools | None
) -> Choice:
    reason = "stop" if reason == "stop" else "length"
    said = ParsedReply(text) if tools is None else read_calls(text, tools.names)
    if not said.calls:
        return Choice(index, text, reason, logprobs)
    ids = ("".join(secrets.choice(_LETTERS) for _ in range(_ID_LETTERS)) for _ in said.calls)
    calls = tuple(dataclasses.replace(call, id=ident) for call, ident in zip(said.calls, ids, strict=True))
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
