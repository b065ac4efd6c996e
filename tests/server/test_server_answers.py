"""Laws of what the server answers, on fakes: names, votes, choices, streams."""

from __future__ import annotations

import asyncio
import dataclasses
import json

import pytest
from server_fakes import PAIR, SUM, Served, events, text_of
from starlette.routing import Route

from avengers_edge.errors import DoesNotFit, EngineDied, NotFound
from avengers_edge.records import Member, Message, Mode
from avengers_edge.server import app
from avengers_edge.server.chat_page import page_routes

VOTES = ("Answer: 5", "Answer: 6", "so Answer: 6")


def test_the_team_votes_and_says_how():
    served = Served(*VOTES)
    answer = served.chat(avengers={"early_stop": "off"}).json()
    assert answer["object"] == "chat.completion"
    (choice,) = answer["choices"]
    assert choice["message"]["content"] in VOTES[1:]
    assert choice["finish_reason"] == "stop"
    said = answer["avengers"]
    assert (said["answer"], said["agreement"], said["samples_used"]) == ("6", 2 / 3, 3)
    assert said["votes"] == [{"key": "6", "count": 2, "weight": 2.0}, {"key": "5", "count": 1, "weight": 1.0}]
    assert said["route"]["ranking"][0] == {"model": "big", "score": 0.8}
    assert said["models"] == ["big"]
    assert answer["usage"] == {
        "prompt_tokens": 5,
        "completion_tokens": 7,
        "total_tokens": 12,
        "prompt_tokens_details": {"cached_tokens": 2},
    }


def test_a_number_of_samples_holds_and_early_stopping_saves_some():
    said = Served("Answer: 5").chat(avengers={"samples": 5}).json()["avengers"]
    assert (said["samples_requested"], said["samples_used"], said["stopped_early"]) == (5, 3, True)
    assert said["saved_tokens"] == 4


def test_a_member_by_its_name_writes_as_many_texts_as_are_asked_for_and_nobody_votes():
    served = Served("one", "two words", "three")
    answer = served.chat("Hi", model="small", n=3).json()
    assert [choice["message"]["content"] for choice in answer["choices"]] == ["one", "two words", "three"]
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2]
    assert answer["usage"]["completion_tokens"] == 4
    assert served.leased == ["small"]
    (request,) = served.engine.requests
    assert request.n == 3
    assert answer["avengers"]["votes"] == []


def test_a_member_votes_where_a_number_of_samples_is_given():
    said = Served(*VOTES).chat(model="small", avengers={"samples": 3, "early_stop": "off"}).json()["avengers"]
    assert (said["answer"], said["models"]) == ("6", ["small"])


def test_every_sample_is_told_where_its_text_is_asked_for_and_none_otherwise():
    for stream in (False, True):
        knobs = {"samples": 3, "early_stop": "off", "texts": True}
        answer = Served(*VOTES).chat(stream=stream, avengers=knobs)
        said = events(answer)[1][-1]["avengers"] if stream else answer.json()["avengers"]
        assert [(each["text"], each["key"], each["model"]) for each in said["samples"]] == [
            (text, text[-1], "big") for text in VOTES
        ]
        assert [each["finish_reason"] for each in said["samples"]] == ["stop"] * 3
    assert "samples" not in Served(*VOTES).chat().json()["avengers"]


def test_another_team_answers_by_its_name_in_the_model_or_in_the_extension():
    for how in ({"model": "avengers/other"}, {"avengers": {"team": "other"}}):
        served = Served()
        assert served.chat(SUM, **how).json()["avengers"]["models"] == ["small"]
        assert served.engine.requests[0].sampling.max_tokens == 7


def test_an_unknown_model_is_404_with_the_list():
    for model in ("gpt-4", "avengers/none", "avengers/", "avengers2"):
        answer = Served().chat(model=model)
        assert answer.status_code == 404
        error = answer.json()["error"]
        assert (error["code"], error["param"]) == ("model_not_found", "model")
        assert all(name in error["message"] for name in ("avengers/other", "avengers/pair", "small", "third"))


def test_an_unknown_team_is_404_where_it_is_named():
    served = Served()
    for answer, param in (
        (served.chat(avengers={"team": "none"}), "avengers.team"),
        (served("POST", "/api/route", {"prompt": "Hi", "team": "none"}), "team"),
    ):
        assert answer.status_code == 404
        error = answer.json()["error"]
        assert (error["code"], error["param"]) == ("team_not_found", param)
        assert error["message"] == "there is no team 'none': use one of other, pair"


def test_a_bare_model_is_asked_in_one_way_whether_it_votes_or_not():
    brief = Member("big", Mode("brief", {"number": "Be brief."}, max_tokens=9))
    served = Served(pair=dataclasses.replace(PAIR, members=(brief, Member("small"))))
    for knobs in ({}, {"avengers": {"samples": 1}}):
        answer = served.chat(model="big", **knobs).json()
        assert answer["avengers"]["models"] == ["big"]
    plain, voted = served.engine.requests
    assert (plain.messages, plain.sampling) == (voted.messages, voted.sampling)
    assert plain.sampling.max_tokens != 9
    assert served.chat(model="big:brief", avengers={"samples": 1}).json()["avengers"]["models"] == ["big:brief"]
    assert served.engine.requests[-1].sampling.max_tokens == 9


def test_the_list_names_what_can_be_asked():
    served = Served()
    listed = served("GET", "/v1/models").json()["data"]
    names = [each["id"] for each in listed]
    assert names == ["avengers", "avengers/other", "avengers/pair", "big", "small", "third", "lengths"]
    assert {each["id"] for each in listed if each["avengers"]["task"] == "embedding"} == {"lengths"}
    assert served("GET", "/v1/models/avengers/pair").json()["id"] == "avengers/pair"
    assert served("GET", "/v1/models/none").status_code == 404


def test_system_history_and_question_reach_the_model_in_their_order():
    served = Served()
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "developer", "content": "In English."},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello", "tool_calls": None, "annotations": []},
        {"role": "user", "content": [{"type": "text", "text": "Who "}, {"type": "text", "text": "are you?"}]},
    ]
    for model in ("avengers", "big"):
        assert served("POST", "/v1/chat/completions", {"model": model, "messages": messages}).status_code == 200
        assert served.engine.requests[-1].messages == (
            Message("system", "Be brief.\n\nIn English."),
            Message("user", "Hi"),
            Message("assistant", "Hello"),
            Message("user", "Who \nare you?"),
        )


def test_every_sampling_parameter_reaches_the_model():
    said = {
        "temperature": 0.3,
        "top_p": 0.9,
        "top_k": 5,
        "min_p": 0.1,
        "repeat_penalty": 1.1,
        "frequency_penalty": 0.5,
        "presence_penalty": -0.5,
    }
    fields = {**said, "seed": 7, "stop": ["\n", "END"], "max_completion_tokens": 9}
    for model in ("avengers", "big"):
        served = Served()
        assert served.chat(model=model, **fields).status_code == 200
        (request,) = served.engine.requests
        assert {name: getattr(request.sampling, name) for name in said} == said
        assert (request.seed, request.sampling.stop, request.sampling.max_tokens) == (7, ("\n", "END"), 9)


def test_token_biases_and_log_probabilities_are_a_members():
    served = Served("yes sir")
    answer = served.chat("Hi", model="big", logit_bias={"12": -100}, logprobs=True, top_logprobs=1).json()
    assert served.engine.requests[0].sampling.logit_bias == ((12, -100.0),)
    first, second = answer["choices"][0]["logprobs"]["content"]
    assert first == {
        "token": "yes",
        "logprob": -0.5,
        "bytes": [121, 101, 115],
        "top_logprobs": [{"token": "yes", "logprob": -0.5, "bytes": [121, 101, 115]}],
    }
    assert second["token"] == "sir"
    for fields in ({"logit_bias": {"1": 1}}, {"logprobs": True}):
        refused = served.chat(**fields)
        assert refused.status_code == 400
        assert refused.json()["error"]["param"] in fields


def test_a_token_that_is_a_part_of_a_character_claims_no_bytes():
    served = Served("a \ufffd")
    whole, part = served.chat("Hi", model="big", logprobs=True).json()["choices"][0]["logprobs"]["content"]
    assert (whole["bytes"], part["bytes"]) == ([97], None)


def test_a_response_format_bounds_the_text():
    schema = {"type": "object", "properties": {"age": {"type": "integer"}}}
    for said, wanted in (
        ({"type": "json_object"}, {"type": "object"}),
        ({"type": "json_schema", "json_schema": {"name": "p", "strict": True, "schema": schema}}, schema),
    ):
        served = Served("{}")
        assert served.chat("Hi", response_format=said).status_code == 200
        assert json.loads(served.engine.requests[0].sampling.schema) == wanted
    served = Served()
    served.chat("Hi", response_format={"type": "text"})
    assert served.engine.requests[0].sampling.schema is None


# --- streams ---------------------------------------------------------------------------------------------------


def test_a_vote_is_told_in_comments_and_then_the_winner_is_streamed():
    response = Served(*VOTES).chat(stream=True, avengers={"early_stop": "off"})
    assert response.headers["content-type"].startswith("text/event-stream")
    comments, objects, done = events(response)
    assert done
    assert comments == [
        "loading big",
        "voting 0 of 3, asking big",
        "voting 1 of 3, asking big, leading with 1: 5",
        "voting 2 of 3, asking big, leading with 1: 5",
        "voting 3 of 3, asking big, leading with 2: 6",
    ]
    assert text_of(objects) in VOTES[1:]
    assert len(objects) > 3  # in pieces
    assert all("usage" not in each for each in objects)
    last = objects[-1]
    assert last["choices"][0]["finish_reason"] == "stop"
    assert last["avengers"]["votes"][0] == {"key": "6", "count": 2, "weight": 2.0}
    assert len({each["id"] for each in objects}) == 1


def test_what_is_not_voted_on_is_streamed_as_it_is_written():
    for model in ("avengers", "big"):
        comments, objects, done = events(Served("Once upon a time").chat("Tell me a story.", model=model, stream=True))
        assert done
        pieces = [each["choices"][0]["delta"].get("content") for each in objects]
        assert pieces == ["", "Once", " upon", " a", " time", None]
        assert set(comments) <= {"loading big"}


def test_the_first_sample_can_be_streamed_and_is_corrected_by_the_vote():
    knobs = {"early_stop": "off", "stream": "first"}
    _, objects, _ = events(Served(*VOTES).chat(stream=True, avengers=knobs))
    assert text_of(objects) == VOTES[0]
    assert objects[-1]["avengers"]["corrected"] in VOTES[1:]
    _, objects, _ = events(Served(*reversed(VOTES)).chat(stream=True, avengers=knobs))
    assert text_of(objects) in VOTES[1:]
    assert objects[-1]["avengers"]["corrected"] is None


def test_usage_comes_in_a_chunk_of_its_own_where_it_is_asked_for_and_is_null_in_all_others():
    usage = {"stream_options": {"include_usage": True}}
    for model, n in (("big", 1), ("big", 2), ("avengers", 1)):
        _, objects, _ = events(Served("a b").chat("Hi", model=model, n=n, stream=True, **usage))
        *others, last = objects
        assert last["choices"] == []
        assert last["usage"]["completion_tokens"] == 2 * n
        assert all(each["usage"] is None for each in others), (model, n)
        assert sum(choice["finish_reason"] == "stop" for each in others for choice in each["choices"]) == n


def test_several_choices_are_streamed_beside_each_other_and_each_is_finished():
    _, objects, _ = events(Served("one", "two 2").chat("Hi", model="big", n=2, stream=True, logprobs=True))
    assert [text_of(objects, index) for index in (0, 1)] == ["one", "two 2"]
    ends = [choice for each in objects for choice in each["choices"] if choice["finish_reason"]]
    assert [end["index"] for end in ends] == [0, 1]
    assert [len(end["logprobs"]["content"]) for end in ends] == [1, 2]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("error", "status"),
    [(DoesNotFit("9 > 8 tokens"), 413), (EngineDied("gone"), 503), (NotFound("no file"), 404), (KeyError("x"), 500)],
)
def test_what_fails_before_the_first_piece_has_the_status_of_its_type(error, status, stream):
    served = Served()
    served.engine.error = error
    answer = served.chat(stream=stream)
    assert answer.status_code == status
    said = answer.json()["error"]
    assert set(said) == {"message", "type", "param", "code"}
    assert "KeyError" not in said["message"]
    served.engine.error = None
    assert served.chat().status_code == 200


def test_what_fails_in_the_middle_of_a_stream_is_its_last_event():
    served = Served("a b c")
    original = served.engine.generate

    def dies(request, **heard):
        original(request, **heard)
        raise EngineDied("killed")

    served.engine.generate = dies
    _, objects, done = events(served.chat("Hi", model="big", stream=True))
    assert objects[-1]["error"]["code"] == "engine_died"
    assert not done


# --- the other paths ---------------------------------------------------------------------------------------------


def test_a_prompt_is_completed_whole_and_streamed():
    served = Served("a b")
    body = {"model": "big", "prompt": "Hi", "logprobs": 1}
    answer = served("POST", "/v1/completions", body).json()
    assert answer["object"] == "text_completion"
    assert answer["choices"][0]["text"] == "a b"
    assert answer["choices"][0]["logprobs"]["text_offset"] == [0, 1]
    _, objects, done = events(
        served("POST", "/v1/completions", {"model": "avengers", "prompt": ["Hi"], "stream": True})
    )
    assert "".join(each["choices"][0]["text"] for each in objects) == "a b"
    assert done


def test_the_route_is_told_without_a_model():
    served = Served()
    said = served("POST", "/api/route", {"prompt": SUM}).json()
    assert said["ranking"][0]["model"] == "big"
    assert served.leased == []
    assert served("POST", "/api/route", {"prompt": " "}).status_code == 400


@pytest.mark.parametrize(
    ("error", "status", "word"), [(None, 200, "ok"), (NotFound("no model: run setup"), 503, "degraded")]
)
def test_health_says_whether_what_most_requests_need_is_there(error, status, word):
    served = Served(warm_error=error)

    async def settled():
        async with served.client() as client:
            assert (await client.get("/health")).json()["status"] == "loading"
            async with served.app.lifespan():
                while (answer := await client.get("/health")).json()["status"] == "loading":
                    await asyncio.sleep(0.01)
                return answer

    answer = asyncio.run(settled())
    assert (answer.status_code, answer.json()["status"]) == (status, word)
    assert answer.json()["reason"] == (str(error) if error else None)
    assert served.closed


@pytest.mark.parametrize(
    ("error", "reason"),
    [(NotFound("no model: run setup"), "no model: run setup"), (KeyError("x"), "loading failed: the log says why")],
)
def test_what_could_not_be_loaded_is_tried_again_as_long_as_somebody_asks(monkeypatch, error, reason):
    monkeypatch.setattr(app, "_RELOAD_SECONDS", 0.0)
    served = Served(warm_error=error)

    async def becomes(client, word):
        while (answer := (await client.get("/health")).json())["status"] != word:
            await asyncio.sleep(0.01)
        return answer["reason"]

    async def mended():
        async with served.client() as client, served.app.lifespan():
            assert await becomes(client, "degraded") == reason
            served.warm_error = None
            assert await becomes(client, "ok") is None

    asyncio.run(mended())


def test_metrics_count_requests_and_tokens_and_quote_nobody():
    served = Served("Answer: 5")
    served.chat()
    served.chat(model="nobody-we-know")
    text = served("GET", "/metrics").text
    assert 'avengers_requests_total{path="/v1/chat/completions",status="200"} 1' in text
    assert 'avengers_requests_total{path="/v1/chat/completions",status="404"} 1' in text
    assert 'avengers_tokens_total{kind="completion"} 4' in text
    assert 'avengers_answers_total{model="big"} 1' in text
    assert "apples" not in text and "nobody" not in text


def test_the_description_names_every_path():
    served = Served(routes=page_routes())
    described = served("GET", "/openapi.json").json()["paths"]
    assert set(described) == {
        route.path.replace(":path", "")
        for route in served.app.routes
        if isinstance(route, Route) and route.include_in_schema
    }


def test_the_description_says_what_the_object_avengers_holds_in_requests_and_in_answers():
    served = Served(*VOTES)
    schemas = served("GET", "/openapi.json").json()["components"]["schemas"]
    assert {"samples", "early_stop", "kind", "texts"} <= schemas["Extension"]["properties"].keys()
    described = schemas["AnswerDetails"]
    voted = served.chat(avengers={"early_stop": "off", "texts": True}).json()["avengers"]
    alone = served.chat(model="big").json()["avengers"]
    for said in (voted, alone):
        assert set(described["required"]) <= said.keys() <= described["properties"].keys()
    for name, inner in (("RouteDetails", voted["route"]), ("Sample", voted["samples"][0]), ("Vote", voted["votes"][0])):
        assert inner.keys() == schemas[name]["properties"].keys(), name


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions", "/v1/embeddings"])
def test_the_description_names_what_is_accepted_and_changes_nothing(path):
    fields = {"user": "me", "safety_identifier": "me", "prompt_cache_key": "k", "metadata": {}, "store": False}
    fields |= {"service_tier": "default"}
    served = Served()
    described = served("GET", "/openapi.json").json()
    (content,) = described["paths"][path]["post"]["requestBody"]["content"].values()
    taken = described["components"]["schemas"][content["schema"]["$ref"].rpartition("/")[2]]["properties"]
    assert fields.keys() <= taken.keys()
    model = "lengths" if path.endswith("embeddings") else "big"
    body = {"model": model, "messages": [{"role": "user", "content": "Hi"}], "prompt": "Hi", "input": "Hi", **fields}
    asked = {name: value for name, value in body.items() if name in taken}
    assert served("POST", path, asked).status_code == 200
