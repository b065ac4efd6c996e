"""The bodies that clients send: types that msgspec reads, and that describe themselves at `/openapi.json`."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

import msgspec
from msgspec import Meta

from avengers_edge.records import SEED_LIMIT, EarlyStop, Kind, SamplingParams
from avengers_edge.records.requests import MOST_TOOLS

Text: TypeAlias = Annotated[str, Meta(min_length=1)]
Texts: TypeAlias = Text | Annotated[list[Text], Meta(min_length=1)]
Share: TypeAlias = Annotated[float, Meta(ge=0, le=1)]
Penalty: TypeAlias = Annotated[float, Meta(ge=-2, le=2)]
FunctionName: TypeAlias = Annotated[str, Meta(pattern="^[a-zA-Z0-9_-]{1,64}$")]
Logprobs: TypeAlias = Annotated[int, Meta(ge=0, le=20)]
ModelName: TypeAlias = Annotated[
    Text, Meta(description="avengers, avengers/<team>, or a member's own name", examples=["avengers"])
]
MOST_STOPS = 16
# Checked in `parameters.py`: the refusal names the token, which msgspec's would not.
_BIASES = Meta(
    extra_json_schema={
        "propertyNames": {"pattern": "^[0-9]{1,7}$"},
        "additionalProperties": {"type": "number", "minimum": -100, "maximum": 100},
    }
)


class Body(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A JSON object; a field that is null counts as not given, one that is unknown is passed over by name."""


class TextPart(Body, frozen=True, tag_field="type", tag="text"):
    """A part of a message's content; other kinds of parts are refused."""

    text: str


Content: TypeAlias = str | list[TextPart]


class CalledFunction(Body, frozen=True):
    """What a model called, its arguments as JSON text."""

    name: FunctionName
    arguments: str = "{}"


class Call(Body, frozen=True):
    """A call in an assistant's message. `index` is there in what was put together from a stream."""

    id: Text
    function: CalledFunction
    type: Literal["function"] = "function"
    index: int | None = None


class SystemMessage(Body, frozen=True, tag_field="role", tag="system"):
    """A system prompt."""

    content: Content
    name: str | None = None


class DeveloperMessage(SystemMessage, frozen=True, tag="developer"):
    """A system prompt, by its newer name."""


class UserMessage(Body, frozen=True, tag_field="role", tag="user"):
    """What a user said."""

    content: Content
    name: str | None = None


class AssistantMessage(Body, frozen=True, tag_field="role", tag="assistant"):
    """What a model said; clients send back what they got."""

    content: Content | None = None
    tool_calls: list[Call] = []
    name: str | None = None


class ToolMessage(Body, frozen=True, tag_field="role", tag="tool"):
    """The result of a call. `name` repeats what its call says."""

    content: Content
    tool_call_id: Text
    name: str | None = None


ChatMessage: TypeAlias = SystemMessage | DeveloperMessage | UserMessage | AssistantMessage | ToolMessage


class Function(Body, frozen=True):
    """A function that may be called. `parameters` is a JSON schema of an object."""

    name: FunctionName
    description: str = ""
    parameters: dict[str, Any] | None = None
    strict: bool = False


class FunctionTool(Body, frozen=True):
    """A tool; functions are the only kind."""

    type: Literal["function"]
    function: Function


class FunctionNamed(Body, frozen=True):
    """A function by its name."""

    name: FunctionName


class ToolChoice(Body, frozen=True):
    """The function that has to be called."""

    type: Literal["function"]
    function: FunctionNamed


class JsonSchema(Body, frozen=True):
    """A schema of the answer; it is always enforced, so `strict` changes nothing."""

    name: str | None = None
    description: str | None = None
    strict: bool | None = None
    schema: dict[str, Any] | None = None


class ResponseFormat(Body, frozen=True):
    """What the answer has to look like."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None


class StreamOptions(Body, frozen=True):
    """What a stream has besides its text."""

    include_usage: bool = False


class Extension(Body, frozen=True):
    """The object `avengers`: how a vote is held. What is not given is left to the team.

    `texts` asks for every sample with its text, beside the elected one.
    """

    samples: Annotated[int, Meta(ge=1)] | None = None
    early_stop: EarlyStop = "exact"
    switch_below: Share | None = None
    prefer: Share = 1.0
    kind: Kind | None = None
    team: str | None = None
    stream: Literal["elected", "first"] = "elected"
    texts: bool = False


class _ProviderFields(Body, frozen=True):
    """What is for a provider's own books, and changes nothing about the answer."""

    user: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    metadata: dict[str, Any] | None = None
    store: bool = False
    service_tier: str | None = None


class SamplingRequest(_ProviderFields, frozen=True, kw_only=True):
    """What chat and text completions have in common."""

    model: ModelName
    n: Annotated[int, Meta(ge=1)] = 1
    seed: Annotated[int, Meta(ge=0, lt=SEED_LIMIT)] | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(gt=0, le=1)] | None = None
    top_k: Annotated[int, Meta(ge=0, le=2**20)] | None = None
    min_p: Share | None = None
    repeat_penalty: Annotated[float, Meta(ge=0.1, le=10)] | None = None
    frequency_penalty: Penalty | None = None
    presence_penalty: Penalty | None = None
    max_tokens: Annotated[int, Meta(ge=1)] | None = None
    stop: Text | Annotated[list[Text], Meta(max_length=MOST_STOPS)] | None = None
    logit_bias: Annotated[dict[str, Any], _BIASES] | None = None
    grammar: Annotated[str, Meta(description="GBNF")] | None = None
    stream: bool = False
    stream_options: StreamOptions | None = None
    avengers: Extension = Extension()


SAMPLING = tuple(name for name in SamplingRequest.__struct_fields__ if name in SamplingParams.__dataclass_fields__)
"""The sampling options, which `Ask` and `SamplingParams` have by the same names."""


class ChatCompletionRequest(SamplingRequest, frozen=True, kw_only=True):
    """The body of `/v1/chat/completions`."""

    messages: Annotated[list[ChatMessage], Meta(min_length=1)]
    max_completion_tokens: Annotated[int, Meta(ge=1)] | None = None
    logprobs: bool = False
    top_logprobs: Logprobs | None = None
    response_format: ResponseFormat | None = None
    tools: Annotated[list[FunctionTool], Meta(max_length=MOST_TOOLS)] = []
    tool_choice: Literal["none", "auto", "required"] | ToolChoice | None = None
    parallel_tool_calls: bool = True


class CompletionRequest(SamplingRequest, frozen=True, kw_only=True):
    """The body of `/v1/completions`: the prompt is what a user says, and the model's chat template is applied."""

    prompt: Text | Annotated[list[Text], Meta(min_length=1, max_length=1)]
    logprobs: Logprobs | None = None


class EmbeddingRequest(_ProviderFields, frozen=True, kw_only=True):
    """The body of `/v1/embeddings`."""

    model: ModelName
    input: Texts
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: Annotated[int, Meta(ge=1)] | None = None


class RouteRequest(Body, frozen=True):
    """The body of `/api/route`."""

    prompt: Text
    prefer: Share = 1.0
    team: str | None = None


LIMITED = {"n": "samples", "samples": "samples", "max_tokens": "tokens", "max_completion_tokens": "tokens"}
"""Fields that the operator's limits bound from above, and the names of these limits."""
