"""The description at `/openapi.json`, written from the types that requests are read as and replies are made of."""

from __future__ import annotations

from typing import Any

import msgspec

from avengers_edge import __version__
from avengers_edge.server.messages_api import MessagesRequest
from avengers_edge.server.ollama_api import GenerateRequest, NameRequest, OllamaChatRequest, OllamaEmbedRequest
from avengers_edge.server.options import Limits
from avengers_edge.server.problems import ErrorReply
from avengers_edge.server.replies import Completion, EmbeddingList, Model, ModelList, RouteDetails
from avengers_edge.server.responses_api import ResponsesRequest
from avengers_edge.server.schemas import (
    LIMITED,
    ChatCompletionRequest,
    CompletionRequest,
    EmbeddingRequest,
    RouteRequest,
)

Values = dict[str, Any]
_TYPES = (
    *(ChatCompletionRequest, CompletionRequest, EmbeddingRequest, RouteRequest),
    *(ResponsesRequest, MessagesRequest, OllamaChatRequest, GenerateRequest, OllamaEmbedRequest, NameRequest),
    *(Completion, EmbeddingList, Model, ModelList, RouteDetails, ErrorReply),
)
_PREFIX = "#/components/schemas/"
_OBJECT: Values = {"type": "object"}
_TEXT: Values = {"type": "string"}


def description(limits: Limits) -> Values:
    """Return the document."""
    references, components = msgspec.json.schema_components(_TYPES, ref_template=f"{_PREFIX}{{name}}")
    chat, completion, embedding, route, *others, answer, vectors, model, models, decision, error = references
    responses, messages, ollama_chat, generate, ollama_embed, ollama_name = others
    for component in components.values():
        _bound(component, limits)
    paths: dict[str, Values] = {
        "/v1/chat/completions": _post("Answer a conversation", chat, answer, streams=True),
        "/v1/completions": _post("Answer a prompt", completion, answer, streams=True),
        "/v1/responses": _post("Answer in OpenAI's newer shapes, without a memory", responses, _OBJECT, streams=True),
        "/v1/messages": _post("Answer in Anthropic's shapes", messages, _OBJECT, streams=True),
        "/api/chat": _post("Answer a conversation in Ollama's shapes", ollama_chat, _OBJECT),
        "/api/generate": _post("Answer a prompt in Ollama's shapes", generate, _OBJECT),
        "/api/embed": _post("Embed texts in Ollama's shapes", ollama_embed, _OBJECT),
        "/api/embeddings": _post("Embed a text in Ollama's older shape", ollama_embed, _OBJECT),
        "/api/tags": _get("List the models in Ollama's shapes", _OBJECT),
        "/api/ps": _get("List the loaded models in Ollama's shapes", _OBJECT),
        "/api/show": _post("Describe a model in Ollama's shapes", ollama_name, _OBJECT),
        "/api/version": _get("The version of Ollama whose API is spoken", _OBJECT),
        "/v1/embeddings": _post("Embed texts", embedding, vectors),
        "/v1/models": _get("List the model names", models),
        "/v1/models/{name}": {
            "parameters": [{"name": "name", "in": "path", "required": True, "schema": {**_TEXT, "minLength": 1}}],
            **_get("Describe a model name", model),
        },
        "/api/route": _post("Route a question, without an answer", route, decision),
        "/": {"get": _operation("The chat page", {"text/html": {"schema": _TEXT}})},
        "/health": _get("Whether what most requests need is loaded", _OBJECT),
        "/metrics": {"get": _operation("Counters for Prometheus", {"text/plain": {"schema": _TEXT}})},
        "/openapi.json": _get("This description", _OBJECT),
    }
    paths["/health"]["get"]["responses"]["503"] = {"description": "Not ready", **_json(_OBJECT)}
    for path in paths.values():
        for operation in (path[method] for method in ("get", "post") if method in path):
            operation["responses"]["default"] = {"description": "Refused", **_json(error)}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Avengers Edge",
            "version": __version__,
            "description": "A team of small local models behind OpenAI's API: routed, sampled, voted. "
            "What is not listed is passed over and named in the answer, or refused where the answer would be wrong.",
        },
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{}, {"key": []}],
    }


def _bound(component: Values, limits: Limits) -> None:
    """Add what the types do not say: the operator's limits, and that null is a field that is not given."""
    if component.get("additionalProperties") is not False:  # a reply
        return
    properties: Values = component["properties"]
    for name, schema in properties.items():
        if name in LIMITED:
            schema["maximum"] = getattr(limits, LIMITED[name])
        optional = name not in component.get("required", ())
        if optional and "default" in schema and schema["default"] is not None:
            del schema["default"]
            properties[name] = {"anyOf": [schema, {"type": "null"}]}


def _operation(summary: str, content: Values) -> Values:
    return {"summary": summary, "responses": {"200": {"description": "Done", "content": content}}}


def _get(summary: str, given: Values) -> Values:
    return {"get": _operation(summary, _json(given)["content"])}


def _post(summary: str, taken: Values, given: Values, *, streams: bool = False) -> Values:
    content = _json(given)["content"]
    if streams:
        content["text/event-stream"] = {}  # this version of OpenAPI has no word for events
    return {"post": _operation(summary, content) | {"requestBody": {"required": True, **_json(taken)}}}


def _json(schema: Values) -> Values:
    return {"content": {"application/json": {"schema": schema}}}
