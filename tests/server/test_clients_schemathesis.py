"""Schemathesis over the served description: whatever is sent, no 500, and each answer is one that was described."""

from __future__ import annotations

import pytest
from clients import LEFT_OPEN, collected, imported
from hypothesis import HealthCheck, Phase, given, settings
from server_fakes import Served

schemathesis = imported("schemathesis")
checks = imported("schemathesis.checks")
described = imported("schemathesis.specs.openapi.checks")
generation = imported("schemathesis.generation")

pytestmark = LEFT_OPEN
__all__ = ["collected"]

LAWS = [
    described.status_code_conformance,
    described.content_type_conformance,
    described.response_schema_conformance,
]
TAKING = ("/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/api/route")
GIVING = ("/v1/models", "/metrics", "/health", "/openapi.json")


def sent(path, method, mode, examples, put=None):
    """Send what the description allows, or what it does not, with some of it put in; give the statuses that came back.

    Of names and conversations that are made up hardly anything but a refusal comes.
    """
    served, seen = Served("Answer: 5", hosts=("testserver",)), set()
    operation = schemathesis.openapi.from_asgi("/openapi.json", served.app.asgi)[path][method]

    @given(operation.as_strategy(generation_mode=generation.GenerationMode[mode]))
    @settings(max_examples=examples, phases=[Phase.generate], suppress_health_check=list(HealthCheck), derandomize=True)
    def send(case):
        if put:
            case.body |= put
        response = case.call()
        seen.add(response.status_code)
        assert response.status_code < 500 or path == "/health", response.text
        case.validate_response(response, checks=LAWS)

    send()
    return seen


CHAT = {"messages": [{"role": "user", "content": "Hi"}]}


@pytest.mark.parametrize(
    ("path", "put"),
    [
        ("/v1/chat/completions", {}),
        ("/v1/chat/completions", {"model": "avengers", **CHAT}),
        ("/v1/chat/completions", {"model": "big", **CHAT}),
        ("/v1/completions", {"model": "avengers"}),
        ("/v1/completions", {"model": "big"}),
        ("/v1/embeddings", {"model": "lengths"}),
        ("/api/route", {}),
    ],
)
def test_what_the_description_allows_is_answered_as_described(path, put):
    statuses = sent(path, "post", "POSITIVE", 20, put)
    assert statuses <= {200, 400, 404, 413}
    assert not put or 200 in statuses


@pytest.mark.parametrize("path", TAKING)
def test_what_the_description_does_not_allow_is_refused_as_described(path):
    assert 400 in sent(path, "post", "NEGATIVE", 20)


@pytest.mark.parametrize("path", GIVING)
def test_what_takes_nothing_is_as_described(path):
    assert sent(path, "get", "POSITIVE", 1) <= {200, 503}
