"""Ollama's API: requests as chat completions, answers as lines of JSON, and what is known of the models.

What talks to Ollama changes one address. Models are managed on the command line, so that `/api/pull` and the like are
refused; fields that cannot change the answer (`keep_alive`, `num_ctx`, `num_gpu`...) are passed over.
"""

from __future__ import annotations

import collections
import dataclasses
import datetime
import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Literal, TypeAlias

import msgspec
from msgspec import Meta

from avengers_edge.library.gguf import GGUFHeader
from avengers_edge.library.store import Installed
from avengers_edge.server.problems import Problem, refuse
from avengers_edge.server.replies import AnswerDetails, Choice, Dialect, Usage, Values
from avengers_edge.server.schemas import Body, FunctionTool, Text
from avengers_edge.voting.markers import ThoughtSplitter

VERSION = "0.12.0"
"""The version of Ollama whose API is spoken; some clients refuse to talk to an older one."""

MANAGING = ("pull", "push", "create", "copy", "delete")
"""What Ollama's clients can ask for and is done on the command line here."""

_NANOSECONDS = 1_000_000
_LATEST = ":latest"

Format: TypeAlias = Literal["json", ""] | dict[str, Any]


class OllamaOptions(Body, frozen=True):
    """Sampling, by the names of `SamplingRequest` but for `num_predict`; what is not named here is passed over."""

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    repeat_penalty: float | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    seed: int | None = None
    num_predict: int | None = None
    stop: str | list[str] | None = None


class OllamaFunction(Body, frozen=True):
    """A called function; its arguments are an object here."""

    name: str
    arguments: dict[str, Any] | str = {}


class OllamaCall(Body, frozen=True):
    """A call in an assistant's message."""

    function: OllamaFunction
    id: str | None = None


class OllamaMessage(Body, frozen=True):
    """A turn; a tool's result names its function, not its call."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str = ""
    images: list[Any] | None = None
    tool_calls: list[OllamaCall] | None = None
    tool_name: str | None = None
    tool_call_id: str | None = None


class _Asking(Body, frozen=True, kw_only=True):
    renamed: ClassVar[Mapping[str, str]] = MappingProxyType({
        **{name: f"options.{name}" for name in OllamaOptions.__struct_fields__},
        "max_tokens": "options.num_predict",
        "response_format": "format",
    })  # fmt: skip
    model: Text
    stream: bool = True
    format: Format | None = None
    options: OllamaOptions = OllamaOptions()
    keep_alive: float | str | None = None
    think: bool | str | None = None

    def dialect(self) -> _OllamaDialect:
        field: Literal["message", "response"] = "message" if isinstance(self, OllamaChatRequest) else "response"
        return _OllamaDialect(self.model, field, thinks=self.think is not False)

    def _body(self, messages: Iterable[Values]) -> Values:
        body = msgspec.structs.asdict(self.options)
        for name in ("num_predict", "seed", "top_k"):
            if body[name] is not None and body[name] < (1 if name == "num_predict" else 0):
                body[name] = None  # no limit, any seed, off
        body["max_tokens"] = body.pop("num_predict")
        body |= {"model": bare_name(self.model), "messages": [*messages], "stream": self.stream}
        if isinstance(self.format, dict):
            body["response_format"] = {"type": "json_schema", "json_schema": {"schema": self.format}}
        elif self.format:
            body["response_format"] = {"type": "json_object"}
        return body


class OllamaChatRequest(_Asking, frozen=True, kw_only=True):
    """The body of `/api/chat`."""

    messages: list[OllamaMessage] = []
    tools: list[FunctionTool] | None = None

    def chat(self) -> Values:
        """Return the same request as the body of a chat completion."""
        body = self._body(_messages(self.messages))
        return body | {"tools": msgspec.to_builtins(self.tools or [])}

    @property
    def loads_only(self) -> bool:
        """Whether nothing is asked: the model is to be loaded, or unloaded."""
        return not self.messages


class GenerateRequest(_Asking, frozen=True, kw_only=True):
    """The body of `/api/generate`: one question, by the model's chat template."""

    prompt: str = ""
    system: str | None = None
    suffix: str | None = None
    images: list[Any] | None = None
    raw: bool = False
    template: str | None = None
    context: list[int] | None = None

    def chat(self) -> Values:
        """Return the same request as the body of a chat completion."""
        for name, why in _REFUSED.items():
            if getattr(self, name):
                raise refuse(name, f"{name} is not supported: {why}")
        system = [{"role": "system", "content": self.system}] if self.system else []
        return self._body([*system, {"role": "user", "content": self.prompt}])

    @property
    def loads_only(self) -> bool:
        """Whether nothing is asked: the model is to be loaded, or unloaded."""
        return not self.prompt


_REFUSED = {
    "images": "only text can be read",
    "suffix": "text is continued, not filled in",
    "raw": "ask /v1/completions, which continues a text as it is",
    "template": "the model's own chat template is used",
    "context": "send the conversation to /api/chat",
}


class OllamaEmbedRequest(Body, frozen=True, kw_only=True):
    """The body of `/api/embed`, or with `prompt` of the older `/api/embeddings`."""

    model: Text
    input: str | Annotated[list[str], Meta(min_length=1)] | None = None
    prompt: str | None = None
    dimensions: int | None = None


class NameRequest(Body, frozen=True, kw_only=True):
    """The body of `/api/show`."""

    model: str = ""
    name: str = ""


def bare_name(name: str) -> str:
    """Return a model's name without the tag that Ollama's clients add."""
    return name.removesuffix(_LATEST)


def _messages(messages: Sequence[OllamaMessage]) -> Iterator[Values]:
    """Give the calls ids, since results refer to them here by the function's name or by their order."""
    waiting: collections.deque[tuple[str, str]] = collections.deque()
    for place, message in enumerate(messages):
        if message.images:
            where = f"messages[{place}].images"
            raise refuse(where, f"{where} are pictures: only text can be read")
        if message.role == "tool":
            named = (each for each in waiting if message.tool_name in (None, each[1]))
            found = next(named, None)
            if found is not None:
                waiting.remove(found)
            ident = message.tool_call_id or (found[0] if found else "")
            yield {"role": "tool", "tool_call_id": ident, "content": message.content}
            continue
        body: Values = {"role": message.role, "content": message.content}
        calls = []
        for number, call in enumerate(message.tool_calls or ()):
            ident, said = call.id or f"call_{place}_{number}", call.function.arguments
            arguments = said if isinstance(said, str) else json.dumps(said)
            waiting.append((ident, call.function.name))
            function = {"name": call.function.name, "arguments": arguments}
            calls.append({"id": ident, "type": "function", "function": function})
        yield body | {"tool_calls": calls} if calls else body


@dataclasses.dataclass(slots=True)
class _OllamaDialect(Dialect):
    """An answer as one object, or as lines of JSON of which the last says what it cost.

    `field` is where the text is: a `message` of `/api/chat` or a `response` of `/api/generate`. Thoughts have a field
    of their own unless the client asked for none, which drops them.
    """

    model: str
    field: Literal["message", "response"]
    thinks: bool = True
    began: int = dataclasses.field(default_factory=time.perf_counter_ns)
    thoughts: ThoughtSplitter = dataclasses.field(default_factory=ThoughtSplitter)
    media_type = "application/x-ndjson"
    at_work = b""

    def whole(self, choices: Sequence[Choice], usage: Usage, details: AnswerDetails) -> Values:
        (choice,) = choices
        splitter = ThoughtSplitter()
        said, thought = splitter.push(choice.text)
        return self._line(said + splitter.close(), thought, choice) | self._cost(choice, usage, details)

    def piece(self, index: int, text: str) -> Iterator[bytes]:  # noqa: ARG002 - one choice only
        said, thought = self.thoughts.push(text)
        if said or (thought and self.thinks):
            yield _json_line(self._line(said, thought))

    def end(self, choices: Sequence[Choice], usage: Usage, details: AnswerDetails) -> Iterator[bytes]:
        (choice,) = choices
        last = self._line(self.thoughts.close(), "", choice)
        yield _json_line(last | self._cost(choice, usage, details))

    def failed(self, problem: Problem) -> bytes:
        return _json_line(failure(problem))

    def loaded(self, *, unloads: bool) -> Values:
        return self._line("", "") | {"done": True, "done_reason": "unload" if unloads else "load"}

    def _line(self, said: str, thought: str, choice: Choice | None = None) -> Values:
        content: Values = {"response": said} if self.field == "response" else {"role": "assistant", "content": said}
        if thought and self.thinks:
            content["thinking"] = thought
        if choice is not None and choice.calls:
            content["tool_calls"] = [
                {"function": {"name": call.name, "arguments": json.loads(call.arguments)}} for call in choice.calls
            ]
        head = {"model": self.model, "created_at": _now()}
        return head | (content if self.field == "response" else {"message": content}) | {"done": False}

    def _cost(self, choice: Choice, usage: Usage, details: AnswerDetails) -> Values:
        timings = details.timings_ms
        return {
            "done": True,
            "done_reason": "length" if choice.finish_reason == "length" else "stop",
            "total_duration": time.perf_counter_ns() - self.began,
            "load_duration": round((timings.load or 0.0) * _NANOSECONDS),
            "prompt_eval_count": usage.prompt_tokens,
            "prompt_eval_duration": round(timings.prefill * _NANOSECONDS),
            "eval_count": usage.completion_tokens,
            "eval_duration": round(timings.decode * _NANOSECONDS),
            "avengers": details,
        }


def failure(problem: Problem) -> Values:
    """Return a problem in this API's shape."""
    return {"error": problem.reply().error.message}


def tag(name: str, file: Installed | None) -> Values:
    """Describe a model for `/api/tags` and `/api/ps`; a team has no file of its own."""
    receipt = file.receipt if file else None
    details = {"format": "gguf", "family": "", "families": None}
    return {
        "name": name,
        "model": name,
        "modified_at": receipt.verified_at if receipt else _now(),
        "size": file.bytes if file else 0,
        "digest": receipt.sha256 if receipt else "",
        "details": details | {"parent_model": "", "parameter_size": "", "quantization_level": ""},
    }


def show(header: GGUFHeader | None) -> Values:
    """Describe a model for `/api/show`; None is a team, whose members have headers of their own."""
    capabilities = ["completion", "tools"]
    if header is None:
        return {"details": {"format": "gguf", "family": ""}, "model_info": {}, "capabilities": capabilities}
    template = header.chat_template or ""
    family, quantization = header.architecture, header.quantization or ""
    details = {"format": "gguf", "family": family, "families": [family], "quantization_level": quantization}
    info = {
        "general.architecture": family,
        "general.name": header.name,
        f"{family}.context_length": header.context_length,
        f"{family}.embedding_length": header.embedding_length,
        f"{family}.block_count": header.block_count,
    }
    kept = capabilities if "tools" in template else capabilities[:1]
    return {"template": template, "details": details, "model_info": info, "capabilities": kept}


def _json_line(value: Values) -> bytes:
    return msgspec.json.encode(value) + b"\n"


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat().replace("+00:00", "Z")
