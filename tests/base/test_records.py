"""Values are refused where they are made, so that no step meets one that it cannot use."""

from __future__ import annotations

import json
import math

import pytest

from avengers_edge.errors import BadRequest
from avengers_edge.records import Ask, CancelToken, Message, Request, SamplingParams, Team, Tool, ToolCall, Tools

QUESTION = (Message("user", "How many?"),)


@pytest.mark.parametrize(
    "values",
    [
        {"temperature": math.nan},
        {"temperature": math.inf},
        {"temperature": "hot"},
        {"temperature": True},
        {"top_p": math.nan},
        {"top_p": 0},
        {"min_p": -0.1},
        {"max_tokens": 0},
        {"max_tokens": 8.0},
        {"max_tokens": "8"},
        {"top_k": 1.5},
        {"penalty_window": -1},
        {"penalty_window": True},
        {"repeat_penalty": 1e-38},
        {"repeat_penalty": math.nan},
        {"frequency_penalty": 2.5},
        {"presence_penalty": math.nan},
        {"logprobs": 21},
        {"logprobs": 1.0},
        {"thinking_budget": -1},
        {"thinking_budget": 1.0},
        {"stop": "one"},
        {"stop": ("",)},
        {"stop": (b"x",)},
        {"logit_bias": ((-1, 1.0),)},
        {"logit_bias": ((1, math.nan),)},
        {"logit_bias": ((1.5, 1.0),)},
        {"grammar": "root ::= [a]", "schema": "{}"},
        {"schema": {}},
    ],
)
def test_sampling_that_means_nothing_is_refused(values):
    with pytest.raises(BadRequest):
        SamplingParams(**values)


@pytest.mark.parametrize(
    "values", [{"n": 0}, {"n": 10_000}, {"n": 2.0}, {"n": True}, {"seed": -1}, {"seed": 2**32}, {"least": 3, "n": 2}]
)
def test_a_request_that_means_nothing_is_refused(values):
    with pytest.raises(BadRequest):
        Request(QUESTION, **values)


@pytest.mark.parametrize("messages", [(), ("hi",)])
def test_a_request_without_messages_is_refused(messages):
    with pytest.raises(BadRequest):
        Request(messages)


@pytest.mark.parametrize(("role", "content"), [("user", None), ("user", 5), ("king", "hi")])
def test_a_message_is_a_role_and_a_text(role, content):
    with pytest.raises(BadRequest):
        Message(role, content)


CALL = ToolCall("f", "{}", "1")


@pytest.mark.parametrize(
    ("role", "values"),
    [
        ("user", {"calls": (CALL,)}),
        ("tool", {}),
        ("user", {"call_id": "1"}),
        ("tool", {"calls": (CALL,), "call_id": "1"}),
    ],
)
def test_an_assistant_calls_and_a_tool_answers_a_call(role, values):
    with pytest.raises(BadRequest):
        Message(role, "hi", **values)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("", "{}"),
        ("a b", "{}"),
        ("x" * 65, "{}"),
        (5, "{}"),
        ("f", "[]"),
        ("f", "{"),
        ("f", '{"type": "string"}'),
        ("f", 5),
    ],
)
def test_a_tool_is_a_name_and_a_schema_of_an_object(name, parameters):
    with pytest.raises(BadRequest, match=r"^tools "):
        Tool(name, "", parameters)


@pytest.mark.parametrize("arguments", ["", "[]", "{", "5", None, "[" * 100_000])
def test_a_call_has_an_object_of_arguments(arguments):
    with pytest.raises(BadRequest):
        ToolCall("f", arguments)


F, G = Tool("f"), Tool("g")


@pytest.mark.parametrize(
    "values",
    [
        {"functions": ()},
        {"functions": (F, F)},
        {"functions": (F, G), "only": "h"},
        {"functions": tuple(Tool(f"f{place}") for place in range(129))},
        {"functions": (Tool("f", "", json.dumps({"title": "x" * 70_000})),)},
    ],
)
def test_tools_that_cannot_be_told_apart_or_are_too_many_are_refused(values):
    with pytest.raises(BadRequest, match=r"^tools "):
        Tools(**values)


@pytest.mark.parametrize("bound", [{"grammar": "root ::= [a]"}, {"schema": "{}"}])
def test_tools_and_another_bound_on_the_same_text_are_refused(bound):
    with pytest.raises(BadRequest, match="tools"):
        Request(QUESTION, SamplingParams(**bound), tools=Tools((F,)))


@pytest.mark.parametrize("results", [("hi",), (Message("user", "hi"),)])
def test_what_followed_a_question_is_calls_and_results(results):
    with pytest.raises(BadRequest):
        Ask(results=results)


@pytest.mark.parametrize("share", [-0.1, 1.1, math.nan])
def test_a_share_is_a_share(share):
    with pytest.raises(BadRequest):
        Ask(switch_below=share)
    with pytest.raises(BadRequest):
        Ask(prefer=share)
    with pytest.raises(BadRequest):
        Team("t", "", (), None, switch_below=share)


def test_a_recall_calls_those_who_listen_at_that_time_and_those_who_come_later_at_once():
    recall, heard = CancelToken(), []
    with recall.calling(lambda: heard.append("gone")):
        pass
    with recall.calling(lambda: heard.append("there")):
        assert heard == []
        recall.set()
        assert heard == ["there"]
    with recall.calling(lambda: heard.append("late")):
        assert heard == ["there", "late"]
    assert recall.is_set()
