"""Values are refused where they are made, so that no step meets one that it cannot use."""

from __future__ import annotations

import math

import pytest

from avengers_edge.errors import BadRequest
from avengers_edge.records import Ask, Message, Recall, Request, SamplingParams, Team

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


@pytest.mark.parametrize("share", [-0.1, 1.1, math.nan])
def test_a_share_is_a_share(share):
    with pytest.raises(BadRequest):
        Ask(switch_below=share)
    with pytest.raises(BadRequest):
        Ask(prefer=share)
    with pytest.raises(BadRequest):
        Team("t", "", (), None, switch_below=share)


def test_a_recall_calls_those_who_listen_at_that_time_and_those_who_come_later_at_once():
    recall, heard = Recall(), []
    with recall.calling(lambda: heard.append("gone")):
        pass
    with recall.calling(lambda: heard.append("there")):
        assert heard == []
        recall.set()
        assert heard == ["there"]
    with recall.calling(lambda: heard.append("late")):
        assert heard == ["there", "late"]
    assert recall.is_set()
