"""Whatever is wrong with a request has the right status, an error object of OpenAI's shape, and no further effect."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import logging
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from server_fakes import BODY, SUM, Served

from avengers_edge.errors import BadRequest, ContextFull
from avengers_edge.records import SamplingParams
from avengers_edge.server.options import Limits, ServeOptions
from avengers_edge.server.parameters import parameters_of
from avengers_edge.server.problems import Problem, problem_of
from avengers_edge.server.schemas import SAMPLING, ChatCompletionRequest, CompletionRequest, SamplingRequest
from avengers_edge.server.validation import convert, parse_object

CHAT = "/v1/chat/completions"
KEY = "a key of sixteen letters".replace(" ", "-")
USER = {"role": "user", "content": "Hi"}


def refused(answer, status, code=None, param=None):
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert "\n" not in error["message"] and "Traceback" not in error["message"]
    assert code in (None, error["code"]), error
    assert param in (None, error["param"]), error
    return error["message"]


# --- bodies ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"nonsense",
        b"[]",
        b"null",
        b'"text"',
        b"\xff\xfe",
        b'{"a": NaN}',
        b'{"a": 1e999}',
        b'{"a": "half \\ud800"}',
        b'{"\\ud800": 1}',
        b'{"a": ' + b"9" * 5000 + b"}",
        b'{"a": ' + b"[" * 100 + b"]" * 100 + b"}",
        b'{"a": ' + b"[" * 200_000,
        b'{"a":' * 50_000,
    ],
)
def test_a_body_that_is_no_modest_json_object_is_400(content):
    served = Served()
    refused(served("POST", CHAT, content=content), 400, "invalid_json")
    assert served.chat().status_code == 200


def test_nesting_is_allowed_up_to_its_limit_and_no_further():
    for depth in (1, 2, 5):
        text = '{"a":' * depth + "1" + "}" * depth
        assert parse_object(text.encode(), depth)
        if depth > 1:
            with pytest.raises(Problem, match="nested"):
                parse_object(text.encode(), depth - 1)


def test_a_body_over_the_limit_is_413_whether_or_not_it_says_so_first():
    served = Served(limits=Limits(body=1000))
    assert served.chat("x" * 500).status_code == 200
    refused(served.chat("x" * 1000), 413, "body_too_large")

    async def chunks():
        for _ in range(100):
            yield b" " * 100

    refused(served("POST", CHAT, content=chunks()), 413, "body_too_large")
    refused(served("POST", CHAT, content=b"{}", headers={"content-length": "9" * 30}), 413, "body_too_large")


def test_another_content_type_is_415_because_pages_can_send_those_unasked():
    for kind in ("text/plain", "application/x-www-form-urlencoded", ""):
        headers = {"content-type": kind, "origin": "http://127.0.0.1"}
        refused(Served()("POST", CHAT, content=b"{}", headers=headers), 415, "content_type")


def test_what_no_page_sends_is_read_whatever_its_content_type_says():
    headers = {"content-type": "application/x-www-form-urlencoded"}  # curl -d, say
    assert Served()("POST", CHAT, content=json.dumps(BODY).encode(), headers=headers).status_code == 200


# --- fields ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": None}, "model"),
        ({"model": 5}, "model"),
        ({"messages": None}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": "Hi"}, "messages"),
        ({"messages": ["Hi"]}, "messages[0]"),
        ({"messages": [{"content": "Hi"}]}, "messages[0].role"),
        ({"messages": [{"role": "wizard", "content": "Hi"}]}, "messages[0].role"),
        ({"messages": [{"role": "tool", "content": "Hi"}]}, "messages[0].tool_call_id"),
        ({"messages": [{"role": ["user"], "content": "Hi"}]}, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": ""}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": " \n"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": []}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        ({"messages": [USER | {"tool_calls": [{}]}]}, "messages[0].tool_calls"),
        ({"messages": [{"role": "system", "content": "Be brief."}]}, "messages[0]"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://x/"}}]}]},
            "messages[0].content[0].type",
        ),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": 5}]}]}, "messages[0].content[0].text"),
        ({"temperature": 3}, "temperature"),
        ({"temperature": "hot"}, "temperature"),
        ({"temperature": True}, "temperature"),
        ({"temperature": 10**400}, "temperature"),
        ({"top_p": 0}, "top_p"),
        ({"top_k": 10**12}, "top_k"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 10**30}, "max_tokens"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"max_tokens": 5, "max_completion_tokens": 6}, "max_tokens"),
        ({"n": 0}, "n"),
        ({"n": 10**6}, "n"),
        ({"n": 2}, "n"),
        ({"seed": -1}, "seed"),
        ({"seed": 2**40}, "seed"),
        ({"stop": 5}, "stop"),
        ({"stop": [5]}, "stop[0]"),
        ({"stop": ""}, "stop"),
        ({"stop": ["x", ""]}, "stop[1]"),
        ({"stop": ["x"] * 17}, "stop"),
        ({"presence_penalty": 9}, "presence_penalty"),
        ({"logit_bias": {"cat": 5}}, "logit_bias"),
        ({"logit_bias": {"5": "much"}}, "logit_bias"),
        ({"logit_bias": {"5": 10**400}}, "logit_bias"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"stream": "yes"}, "stream"),
        ({"stream": True, "stream_options": {"frames": 1}}, "stream_options.frames"),
        ({"response_format": {"type": "xml"}}, "response_format.type"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"schema": 5}}},
            "response_format.json_schema.schema",
        ),
        ({"response_format": {"type": "text", "more": 1}}, "response_format.more"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"schema": {"type": "poem"}}}},
            "response_format",
        ),
        ({"tools": [{"type": "function"}]}, "tools[0].function"),
        ({"functions": []}, "functions"),
        ({"reasoning_effort": "high"}, "reasoning_effort"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"temprature": 1}, "temprature"),
        ({"\u202e\n": 1}, "??"),
        ({"avengers": 5}, "avengers"),
        ({"avengers": {"samples": 0}}, "avengers.samples"),
        ({"avengers": {"samples": 8.0}}, "avengers.samples"),
        ({"avengers": {"kind": "poem"}}, "avengers.kind"),
        ({"avengers": {"early_stop": "soon"}}, "avengers.early_stop"),
        ({"avengers": {"prefer": 2}}, "avengers.prefer"),
        ({"avengers": {"switch_below": -1}}, "avengers.switch_below"),
        ({"avengers": {"stream": "last"}}, "avengers.stream"),
        ({"avengers": {"size": 1}}, "avengers.size"),
        ({"model": "big", "avengers": {"kind": "text"}}, "avengers"),
        ({"model": "big", "avengers": {"team": "other"}}, "avengers.team"),
        ({"model": "avengers/pair", "avengers": {"team": "other"}}, "avengers.team"),
        ({"model": "big", "temperature": 3}, "temperature"),
    ],
)
def test_a_field_that_cannot_be_used_is_400_by_its_name(fields, param):
    served = Served(strict=True)
    body = {"model": "avengers", "messages": [USER], **fields}
    refused(served("POST", CHAT, content=json.dumps(body).encode()), 400, param=param)
    assert served.engine.requests == []


@pytest.mark.parametrize(
    ("fields", "ignored"),
    [
        ({"messages": [USER | {"name": "Bob"}]}, []),
        ({"messages": [USER | {"cache_control": 1}, USER | {"cache_control": 2}]}, ["messages.cache_control"]),
        ({"messages": [USER, {"role": "assistant", "content": "Hello", "reasoning_content": "…"}, USER]},
         ["messages.reasoning_content"]),
        ({"store": True}, ["store"]),
        ({"reasoning_effort": "high", "verbosity": "low"}, ["reasoning_effort", "verbosity"]),
        ({"modalities": ["text"], "functions": [], "stop": "", "seed": -1, "top_k": -1, "max_tokens": -1}, []),
        ({"echo": False, "best_of": 1, "suffix": ""}, []),
        ({"stream_options": {"include_usage": True}}, []),
        ({"tool_choice": "auto"}, []),
        ({"max_tokens": 10**30}, ["max_tokens above 8192"]),
        ({"response_format": {"type": "text", "more": 1}}, ["response_format.more"]),
        ({"avengers": {"size": 1}}, ["avengers.size"]),
        ({"temprature": 1}, ["temprature"]),
    ],
)  # fmt: skip
def test_a_field_that_cannot_make_the_answer_wrong_is_passed_over_by_name(fields, ignored):
    answer = Served()("POST", CHAT, {"model": "avengers", "messages": [USER], **fields})
    assert answer.status_code == 200, answer.text
    assert answer.json()["avengers"]["ignored"] == ignored
    assert answer.headers.get("x-avengers-ignored", "") == ", ".join(ignored)


@pytest.mark.parametrize(
    "fields", [{"functions": [{}]}, {"modalities": ["audio"]}, {"best_of": 3}, {"guided_regex": "a*"}, {"suffix": "x"}]
)
def test_a_field_without_which_the_answer_is_wrong_is_refused(fields):
    (name,) = fields
    refused(Served()("POST", CHAT, BODY | fields), 400, param=name)


def test_hundreds_of_unknown_fields_are_not_read_over_one_by_one():
    refused(Served()("POST", CHAT, BODY | {f"x{n}": n for n in range(500)}), 400)


def test_turns_of_one_role_and_later_system_prompts_are_joined():
    served = Served()
    said = [("system", "A"), ("user", "B"), ("user", "C"), ("assistant", "D"), ("system", "E"), ("user", "F")]
    served("POST", CHAT, {"model": "big", "messages": [{"role": role, "content": text} for role, text in said]})
    (request,) = served.engine.requests
    expected = [("system", "A\n\nE"), ("user", "B\n\nC"), ("assistant", "D"), ("user", "F")]
    assert [(message.role, message.content) for message in request.messages] == expected


def test_a_last_message_of_the_assistant_is_continued():
    served = Served("Paris.")
    messages = [USER, {"role": "assistant", "content": "The capital is"}]
    assert served("POST", CHAT, {"model": "big", "messages": messages}).status_code == 200
    assert served.engine.requests[0].messages[-1].content == "The capital is"


@pytest.mark.parametrize("bias", ["200", "-100.5", "1e300", "9" * 400])
def test_a_bias_out_of_bounds_is_told_with_its_token_and_its_bounds(bias):
    content = f'{{"model": "big", "messages": [{json.dumps(USER)}], "logit_bias": {{"7": {bias}}}}}'.encode()
    said = refused(Served()("POST", CHAT, content=content), 400, param="logit_bias")
    assert '"7"' in said and "-100 to 100" in said and "tuple" not in said


@pytest.mark.parametrize(
    "fields",
    [
        {"user": "me", "metadata": {"a": "b"}, "store": False, "service_tier": "auto", "tool_choice": "none"},
        {"temperature": None, "tools": None, "avengers": None},
        {"response_format": None, "stop": [], "logit_bias": {}, "parallel_tool_calls": True},
    ],
)
def test_a_field_that_changes_nothing_is_accepted(fields):
    assert Served().chat(**fields).status_code == 200


@pytest.mark.parametrize(
    ("prompt", "param"),
    [
        *((prompt, "prompt") for prompt in (None, "", " \n", [], ["a", "b"], {"a": 1})),
        *((prompt, "prompt[0]") for prompt in ([1], [[1]], [""])),
    ],
)
def test_a_prompt_that_is_not_one_text_is_400(prompt, param):
    body = json.dumps({"model": "big", "prompt": prompt}).encode()
    refused(Served()("POST", "/v1/completions", content=body), 400, param=param)


@pytest.mark.parametrize("fields", [{}, {"prompt": ""}, {"prompt": " \n"}, {"prompt": None}, {"prompt": 5}])
def test_a_route_of_no_question_is_400_by_the_prompt(fields):
    refused(Served()("POST", "/api/route", fields), 400, param="prompt")


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model", ["avengers", "big"])
def test_a_question_past_the_context_is_400_in_the_words_that_clients_look_for(model, stream):
    served = Served()
    served.engine.error = ContextFull("9 prompt tokens and 9 to generate need 18 tokens, and big has 8")
    refused(served.chat(model=model, stream=stream), 400, "context_length_exceeded", "messages")
    body = {"model": model, "prompt": SUM, "stream": stream}
    refused(served("POST", "/v1/completions", body), 400, "context_length_exceeded", "prompt")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=8,
)
NAMES = st.sampled_from(
    (
        *("model", "messages", "prompt", "n", "stop", "seed", "logit_bias", "avengers", "stream", "stream_options"),
        *("store", "response_format", "temperature", "max_tokens", "top_logprobs", "tools", "user", "tool_choice"),
    )
)


@given(st.dictionaries(NAMES, JSON, max_size=5), st.booleans())
def test_any_object_is_read_or_refused_and_never_an_error_of_another_kind(values, whole):
    usual = {"model": "avengers", "messages": [USER], "prompt": "Hi"}
    for kind, other in ((ChatCompletionRequest, "prompt"), (CompletionRequest, "messages")):
        body = usual | values if whole else dict(values)
        body.pop(other, None)
        with contextlib.suppress(Problem, BadRequest):
            parameters_of(convert(body, kind, Limits())).ask(None)


def test_a_sampling_option_is_named_in_the_request_alone():
    """A field that `SamplingParams` has too reaches it, and a complaint of ours is blamed on it by its name."""
    told = {each.name: each.default for each in dataclasses.fields(SamplingParams)}
    shared = told.keys() & set(SamplingRequest.__struct_fields__)
    assert shared == set(SAMPLING) and len(shared) > 9
    fields = {name: told[name] for name in shared} | {"stop": "x", "logit_bias": {"1": 2}, "grammar": "root ::= [a]"}
    request = convert({"model": "big", "messages": [USER], **fields}, ChatCompletionRequest, Limits())
    assert parameters_of(request).sampling.keys() == shared
    for name in shared:
        assert problem_of(BadRequest(f"{name} is 7: use 1")).param == name


# --- who may come in -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil", "10.0.0.1", "", "[::1"])
def test_a_name_that_is_not_this_servers_is_403(host):
    refused(Served()("GET", "/v1/models", headers={"host": host}), 403, "bad_host")


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8765", "127.0.0.1:1", "[::1]:8765", "edge.lan"])
def test_the_names_of_this_server_are_let_in(host):
    assert Served(hosts=("edge.lan",))("GET", "/v1/models", headers={"host": host}).status_code == 200


def test_on_all_addresses_numbers_are_let_in_and_names_are_not():
    served = Served(host="0.0.0.0", api_key=KEY)
    headers = {"authorization": f"Bearer {KEY}"}
    assert served("GET", "/v1/models", headers={**headers, "host": "192.168.1.9:8765"}).status_code == 200
    refused(served("GET", "/v1/models", headers={**headers, "host": "evil.example"}), 403, "bad_host")


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:9", "file://", "http://[", "x"])
def test_a_page_from_elsewhere_is_403(origin):
    served = Served()
    body = {"model": "avengers", "messages": [USER]}
    answer = served("POST", CHAT, body, headers={"origin": origin})
    refused(answer, 403, "bad_origin")
    assert served.engine.requests == []
    assert "access-control-allow-origin" not in answer.headers


def test_the_servers_own_page_is_let_in():
    assert Served()("GET", "/v1/models", headers={"origin": "http://127.0.0.1"}).status_code == 200


def test_a_page_that_is_allowed_can_ask_first_and_read_the_answer():
    served = Served(origins=("https://app.example",), api_key=KEY)
    asked = served("OPTIONS", CHAT, headers={"origin": "https://app.example"})
    assert asked.status_code == 204
    assert asked.headers["access-control-allow-origin"] == "https://app.example"
    refused(served("OPTIONS", CHAT, headers={"origin": "https://other.example"}), 403)
    headers = {"origin": "https://app.example", "authorization": f"Bearer {KEY}"}
    assert served("GET", "/v1/models", headers=headers).headers["vary"] == "Origin"


def test_an_allowed_page_may_send_the_headers_that_its_client_has():
    served, origin = Served(origins=("https://app.example",)), {"origin": "https://app.example"}
    for wanted in ("authorization,content-type,x-stainless-os, x-stainless-retry-count", "x_y"):
        asked = served("OPTIONS", CHAT, headers=origin | {"access-control-request-headers": wanted})
        assert asked.headers["access-control-allow-headers"] == wanted
    for wanted in ("", "x: y", "a;b", "h\xe9".encode("latin-1")):
        asked = served("OPTIONS", CHAT, headers=origin | {"access-control-request-headers": wanted})
        assert asked.headers["access-control-allow-headers"] == "Authorization, Content-Type"


@pytest.mark.parametrize("sent", [None, "Bearer", "Bearer wrong", f"Basic {KEY}", KEY, f"Bearer {KEY}x", "Bearer \xe9"])
def test_without_the_key_everything_but_health_is_401(sent):
    served = Served(api_key=KEY)
    headers = {} if sent is None else {"authorization": sent.encode("latin-1")}
    for method, path in (("GET", "/v1/models"), ("GET", "/metrics"), ("POST", CHAT), ("GET", "/nothing")):
        refused(served(method, path, headers=headers), 401, "invalid_api_key")
    assert served("GET", "/health", headers=headers).status_code in (200, 503)


def test_with_the_key_all_is_as_without_one():
    served = Served(api_key=KEY)
    assert served("GET", "/v1/models", headers={"authorization": f"bearer {KEY}"}).status_code == 200


@pytest.mark.parametrize(
    "options",
    [
        {"host": "0.0.0.0"},
        {"host": "::"},
        {"host": "192.168.1.9"},
        {"host": "edge.lan"},
        {"host": ""},
        {"port": 70000},
        {"api_key": "short"},
        {"origins": ("*",)},
        {"origins": ("https://a.example/",)},
        {"certificate": "cert.pem"},
    ],
)
def test_options_that_would_let_in_whoever_comes_are_refused(options):
    with pytest.raises(BadRequest):
        ServeOptions(**options)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, -1])
@pytest.mark.parametrize("name", ["seconds", "drain", "width", "send_seconds"])
def test_a_limit_that_is_no_number_of_anything_is_refused(name, value):
    with pytest.raises(BadRequest, match=name):
        Limits(**{name: value})


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "[::1]", "localhost"])
def test_loopback_needs_no_key(host):
    assert ServeOptions(host=host).loopback


def test_headers_over_the_limit_are_431():
    refused(Served(limits=Limits(header_bytes=1000))("GET", "/v1/models", headers={"x": "y" * 1000}), 431)


def test_a_target_with_scheme_and_authority_means_its_path_and_is_let_in_like_it():
    served = Served(api_key=KEY)

    async def get(path, **headers):
        scope = {"type": "http", "method": "GET", "path": path, "query_string": b"", "root_path": ""}
        scope["headers"] = [
            (b"host", b"localhost"),
            *((name.encode(), said.encode()) for name, said in headers.items()),
        ]
        sent = []

        async def send(message):
            sent.append(message)

        await served.app.asgi(scope, None, send)
        return sent[0]["status"]

    said = {"authorization": f"Bearer {KEY}"}
    for prefix in ("", "http://localhost:8765", "HTTPS://localhost"):
        assert asyncio.run(get(f"{prefix}/metrics", **said)) == 200
        assert asyncio.run(get(f"{prefix}/metrics")) == 401
        assert asyncio.run(get(f"{prefix}/nothing", **said)) == 404


@pytest.mark.parametrize("path", ["/metrics%0a", "/health%0A", "/v1/models%0a"])
def test_a_path_with_a_line_feed_is_none_of_ours(path):
    refused(Served()("GET", path), 404, "unknown_path")


def test_an_unknown_path_is_404_and_another_method_405():
    served = Served()
    refused(served("GET", "/v2/models"), 404, "unknown_path")
    refused(served("GET", "/../../etc/passwd"), 404, "unknown_path")
    refused(served("DELETE", "/v1/models"), 405, "method_not_allowed")
    refused(served("OPTIONS", CHAT), 405, "method_not_allowed")


# --- the log -------------------------------------------------------------------------------------------------------


def test_what_is_asked_is_logged_only_where_the_operator_says_so(caplog):
    caplog.set_level(logging.INFO, "avengers_edge.server")
    quiet = Served()
    quiet.chat()
    quiet.engine.error = KeyError(SUM)
    quiet.chat()
    assert "POST /v1/chat/completions 200" in caplog.text
    assert "apples" not in caplog.text
    Served(log_prompts=True).chat()
    assert "apples" in caplog.text


def test_an_unexpected_error_says_nothing_of_its_inside():
    served = Served()
    served.engine.error = KeyError("secret.py")
    assert "secret" not in refused(served.chat(), 500, "internal_error")
