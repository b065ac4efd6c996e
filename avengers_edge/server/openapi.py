"""The description at `/openapi.json`: what the paths take and give, for people and for test tools."""

from __future__ import annotations

from typing import Any

from avengers_edge import __version__
from avengers_edge.records import KINDS, SEED_LIMIT
from avengers_edge.records.requests import MOST_TOOLS
from avengers_edge.server.options import Limits

Values = dict[str, Any]

_TEXT: Values = {"type": "string"}
_TRUTH: Values = {"type": "boolean"}
_COUNT: Values = {"type": "integer", "minimum": 0}
_OBJECT: Values = {"type": "object"}
_SOMETHING: Values = {"type": "string", "minLength": 1}
_NAME: Values = {"type": "string", "pattern": "^[a-zA-Z0-9_-]{1,64}$"}


def description(limits: Limits) -> Values:
    """Make the document."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Avengers Edge",
            "version": __version__,
            "description": "A team of small local models behind OpenAI's API: routed, sampled, voted. "
            "A parameter that is not listed is refused.",
        },
        "paths": {
            "/v1/chat/completions": _post(
                "Answer a conversation", _chat(limits), _answer("chat.completion"), streams=True
            ),
            "/v1/completions": _post("Answer a prompt", _completion(limits), _answer("text_completion"), streams=True),
            "/v1/embeddings": _post("Embed texts", _embeddings(limits), _listing()),
            "/v1/models": _get("List the model names", _listing()),
            "/v1/models/{name}": {
                "parameters": [{"name": "name", "in": "path", "required": True, "schema": _SOMETHING}],
                **_get("Tell of a model name", _listed()),
            },
            "/api/route": _post("Tell who would answer, and why", _route(), _OBJECT),
            "/": {"get": _operation("Show the chat page", {"text/html": {"schema": _TEXT}})},
            "/health": _get("Tell whether what most requests need is loaded", _OBJECT, statuses=("503",)),
            "/metrics": {"get": _operation("Count for Prometheus", {"text/plain": {"schema": _TEXT}})},
            "/openapi.json": _get("Give this description", _OBJECT),
        },
        "components": {
            "schemas": {"Error": _error()},
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{}, {"key": []}],
    }


def _operation(summary: str, content: Values, statuses: tuple[str, ...] = ()) -> Values:
    problem = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    responses: Values = {"200": {"description": "Done", "content": content}}
    responses |= {status: {"description": "Not ready", "content": content} for status in statuses}
    return {"summary": summary, "responses": {**responses, "default": {"description": "Refused", "content": problem}}}


def _get(summary: str, given: Values, statuses: tuple[str, ...] = ()) -> Values:
    return {"get": _operation(summary, {"application/json": {"schema": given}}, statuses)}


def _post(summary: str, taken: Values, given: Values, *, streams: bool = False) -> Values:
    content: Values = {"application/json": {"schema": given}}
    if streams:
        content["text/event-stream"] = {}  # this version of OpenAPI has no word for events
    body = {"required": True, "content": {"application/json": {"schema": taken}}}
    return {"post": _operation(summary, content) | {"requestBody": body}}


def _of(required: list[str], properties: Values) -> Values:
    """Describe an object; null is a field that is not given, where it need not be."""
    described = {
        name: each if name in required else {"anyOf": [each, {"type": "null"}]} for name, each in properties.items()
    }
    return {"type": "object", "required": required, "properties": described, "additionalProperties": False}


def _number(least: float, most: float) -> Values:
    return {"type": "number", "minimum": least, "maximum": most}


def _sampling(limits: Limits) -> Values:
    return {
        "model": {
            **_TEXT,
            "description": "avengers, avengers/<team>, or a member's own name",
            "examples": ["avengers"],
        },
        "n": {"type": "integer", "minimum": 1, "maximum": limits.samples},
        "seed": {"type": "integer", "minimum": 0, "maximum": SEED_LIMIT - 1},
        "temperature": _number(0, 2),
        "top_p": {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
        "top_k": {**_COUNT, "maximum": 2**20},
        "min_p": _number(0, 1),
        "repeat_penalty": _number(0.1, 10),
        "frequency_penalty": _number(-2, 2),
        "presence_penalty": _number(-2, 2),
        "max_tokens": {"type": "integer", "minimum": 1, "maximum": limits.tokens},
        "stop": {"anyOf": [_TEXT, {"type": "array", "items": _TEXT, "maxItems": 16}]},
        "logit_bias": {
            "type": "object",
            "propertyNames": {"pattern": "^[0-9]{1,7}$"},
            "additionalProperties": _number(-100, 100),
        },
        "grammar": {**_TEXT, "description": "GBNF"},
        "stream": _TRUTH,
        "stream_options": _of([], {"include_usage": _TRUTH}),
        **_for_a_provider(),
        "avengers": _of(
            [],
            {
                "samples": {"type": "integer", "minimum": 1, "maximum": limits.samples},
                "early_stop": {"enum": ["exact", "adaptive", "off"]},
                "switch_below": _number(0, 1),
                "prefer": _number(0, 1),
                "kind": {"enum": list(KINDS)},
                "team": _TEXT,
                "stream": {"enum": ["elected", "first"]},
                "texts": _TRUTH,
            },
        ),
    }


def _for_a_provider() -> Values:
    """Describe what is accepted and changes nothing."""
    texts = dict.fromkeys(("user", "safety_identifier", "prompt_cache_key"), _TEXT)
    return {**texts, "metadata": _OBJECT, "store": {"const": False}, "service_tier": {"enum": ["auto", "default"]}}


def _chat(limits: Limits) -> Values:
    part = _of(["type", "text"], {"type": {"const": "text"}, "text": _TEXT})
    content = {"anyOf": [_TEXT, {"type": "array", "items": part}]}
    called = _of(["name"], {"name": _NAME, "arguments": _TEXT})
    call = _of(["id", "function"], {"id": _SOMETHING, "type": {"const": "function"}, "function": called})
    calls = {"type": "array", "minItems": 1, "items": call}
    message = {
        "anyOf": [
            _of(["role", "content"], {"role": {"enum": ["system", "developer", "user"]}, "content": content}),
            _of(["role", "content"], {"role": {"const": "assistant"}, "content": content, "tool_calls": calls}),
            _of(["role", "tool_calls"], {"role": {"const": "assistant"}, "content": content, "tool_calls": calls}),
            _of(
                ["role", "content", "tool_call_id"],
                {"role": {"const": "tool"}, "content": content, "tool_call_id": _SOMETHING, "name": _TEXT},
            ),
        ]
    }
    described = _of([], {"name": _TEXT, "description": _TEXT, "strict": _TRUTH, "schema": _OBJECT})
    kind = {"enum": ["text", "json_object", "json_schema"]}
    return _of(
        ["model", "messages"],
        {
            **_sampling(limits),
            "messages": {"type": "array", "minItems": 1, "items": message},
            "max_completion_tokens": {"type": "integer", "minimum": 1, "maximum": limits.tokens},
            "logprobs": _TRUTH,
            "top_logprobs": {"type": "integer", "minimum": 0, "maximum": 20},
            "response_format": _of(["type"], {"type": kind, "json_schema": described}),
            **_tools(),
        },
    )


def _tools() -> Values:
    parameters = {"type": "object", "description": "a JSON schema of an object"}
    function = _of(["name"], {"name": _NAME, "description": _TEXT, "parameters": parameters, "strict": _TRUTH})
    tool = _of(["type", "function"], {"type": {"const": "function"}, "function": function})
    named = _of(["type", "function"], {"type": {"const": "function"}, "function": _of(["name"], {"name": _NAME})})
    return {
        "tools": {"type": "array", "maxItems": MOST_TOOLS, "items": tool},
        "tool_choice": {"anyOf": [{"enum": ["none", "auto", "required"]}, named]},
        "parallel_tool_calls": _TRUTH,
    }


def _completion(limits: Limits) -> Values:
    logprobs = {"type": "integer", "minimum": 0, "maximum": 20}
    return _of(["model", "prompt"], {**_sampling(limits), "prompt": _SOMETHING, "logprobs": logprobs})


def _embeddings(limits: Limits) -> Values:
    listed = {"type": "array", "minItems": 1, "maxItems": limits.texts, "items": _SOMETHING}
    texts = {"anyOf": [_SOMETHING, listed]}
    return _of(
        ["model", "input"],
        {
            "model": _TEXT,
            "input": texts,
            "encoding_format": {"enum": ["float", "base64"]},
            "dimensions": _COUNT,
            **_for_a_provider(),
        },
    )


def _route() -> Values:
    return _of(["prompt"], {"prompt": _SOMETHING, "prefer": _number(0, 1), "team": _TEXT})


def _answer(kind: str) -> Values:
    properties: Values = {
        "id": _TEXT,
        "object": {"const": kind},
        "created": _COUNT,
        "model": _TEXT,
        "choices": {"type": "array", "items": _OBJECT},
        "usage": _OBJECT,
        "avengers": _OBJECT,
    }
    return {"type": "object", "required": list(properties), "properties": properties}


def _listing() -> Values:
    properties: Values = {"object": {"const": "list"}, "data": {"type": "array", "items": _OBJECT}}
    return {"type": "object", "required": list(properties), "properties": properties}


def _listed() -> Values:
    properties: Values = {"id": _TEXT, "object": {"const": "model"}, "created": _COUNT, "owned_by": _TEXT}
    return {"type": "object", "required": list(properties), "properties": properties}


def _error() -> Values:
    nullable = {"type": ["string", "null"]}
    inner = {"message": _TEXT, "type": _TEXT, "param": nullable, "code": nullable}
    return _of(["error"], {"error": _of(list(inner), inner)})
