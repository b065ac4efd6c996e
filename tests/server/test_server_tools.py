"""Laws of tools over HTTP, on fakes: who is given them, how calls come back, what is refused, and that none is made."""

from __future__ import annotations

import json
import time

import pytest
from server_fakes import Served, events, text_of

from avengers_edge.engine.json_schema import schema_grammar
from avengers_edge.records import Message, Tool, ToolCall, Tools
from avengers_edge.server import parameters

CHAT = "/v1/chat/completions"
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = {"type": "function", "function": {"name": "weather", "description": "Tells.", "parameters": SCHEMA}}
TIME = {"type": "function", "function": {"name": "time"}}
PARIS = '<tool_call>\n{"name": "weather", "arguments": {"city": "Paris"}}\n</tool_call>'
ROME = PARIS.replace("Paris", "Rome")
ASKED = {"role": "user", "content": "How is the weather?"}
CALL = {"id": "abc", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Paris"}'}}
CALLED = {"role": "assistant", "content": None, "tool_calls": [CALL]}
RESULT = {"role": "tool", "tool_call_id": "abc", "content": "Rain."}


def asked(served, model="big", messages=(ASKED,), tools=(WEATHER, TIME), **fields):
    body = {"model": model, "messages": messages, "tools": tools, **fields}
    return served("POST", CHAT, content=json.dumps(body).encode())


@pytest.mark.parametrize("model", ["big", "avengers"])
def test_a_call_comes_back_as_one_and_is_not_made(model):
    served = Served(f"Let me see.\n{PARIS}")
    answer = asked(served, model).json()
    (choice,) = answer["choices"]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["content"] == "Let me see."
    (call,) = choice["message"]["tool_calls"]
    assert (call["type"], call["function"]) == ("function", CALL["function"])
    assert call["id"].isalnum() and len(call["id"]) == 9
    assert len(served.engine.requests) == 1


def test_what_may_be_called_reaches_the_model():
    served = Served(PARIS)
    assert asked(served, tool_choice="required", parallel_tool_calls=False).status_code == 200
    weather = Tool("weather", "Tells.", json.dumps(SCHEMA))
    assert served.engine.requests[0].tools == Tools((weather, Tool("time")), must=True, parallel=False)
    assert asked(served, tool_choice={"type": "function", "function": {"name": "time"}}).status_code == 200
    assert (served.engine.requests[1].tools.must, served.engine.requests[1].tools.only) == (True, "time")
    for choice in ("auto", None):
        assert asked(served, tool_choice=choice).status_code == 200
        assert served.engine.requests[-1].tools.must is False


def test_without_a_call_an_answer_is_what_it_always_was():
    (choice,) = asked(Served("It rains.")).json()["choices"]
    assert choice["finish_reason"] == "stop"
    assert choice["message"] == {"role": "assistant", "content": "It rains.", "refusal": None}


@pytest.mark.parametrize("fields", [{"tool_choice": "none"}, {"tools": []}, {"tools": None}])
def test_where_nothing_may_be_called_a_text_that_looks_like_a_call_is_text(fields):
    served = Served(PARIS)
    (choice,) = asked(served, **fields).json()["choices"]
    assert (choice["message"]["content"], choice["finish_reason"]) == (PARIS, "stop")
    assert served.engine.requests[0].tools is None


def test_each_of_several_choices_has_its_own_calls():
    choices = asked(Served(PARIS, "No idea.", ROME), n=3).json()["choices"]
    assert [choice["finish_reason"] for choice in choices] == ["tool_calls", "stop", "tool_calls"]
    ids = {choices[place]["message"]["tool_calls"][0]["id"] for place in (0, 2)}
    assert len(ids) == 2


def test_more_than_can_be_given_is_refused_before_it_is_looked_at(monkeypatch):
    monkeypatch.setattr(parameters, "schema_grammar", lambda _: pytest.fail("it was looked at"))
    wide = {"type": "object", "properties": {f"p{place}": {} for place in range(10_000)}}
    strict = {"type": "function", "function": {"name": "wide", "parameters": wide, "strict": True}}
    for listed in ([strict], [WEATHER | {"function": {"name": f"f{place}", "strict": True}} for place in range(200)]):
        answer = asked(Served(PARIS), tools=listed)
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, "tools")


def test_a_schema_of_many_required_properties_is_written_in_a_time_that_grows_with_them():
    names = [f"p{place}" for place in range(40_000)]
    began = time.process_time()
    schema_grammar(json.dumps({"type": "object", "properties": dict.fromkeys(names, True), "required": names}))
    assert time.process_time() - began < 8


@pytest.mark.parametrize("model", ["big", "avengers"])
def test_calls_and_their_results_reach_the_model_in_their_order(model):
    served = Served("It rains.")
    before = [
        {"role": "system", "content": "Be brief."},
        ASKED,
        CALLED,
        RESULT,
        {"role": "assistant", "content": "Rain."},
    ]
    again = CALLED | {"tool_calls": [CALL | {"id": "def"}]}
    messages = [*before, {"role": "user", "content": "And now?"}, again, RESULT | {"tool_call_id": "def"}]
    assert asked(served, model, messages).status_code == 200
    call = ToolCall("weather", '{"city": "Paris"}', "abc")
    assert served.engine.requests[0].messages == (
        Message("system", "Be brief."),
        Message("user", "How is the weather?"),
        Message("assistant", "", (call,)),
        Message("tool", "Rain.", call_id="abc"),
        Message("assistant", "Rain."),
        Message("user", "And now?"),
        Message("assistant", "", (ToolCall("weather", '{"city": "Paris"}', "def"),)),
        Message("tool", "Rain.", call_id="def"),
    )


def test_what_came_back_can_be_sent_back_as_it_is():
    served = Served(PARIS)
    message = asked(served).json()["choices"][0]["message"]
    result = {"role": "tool", "tool_call_id": message["tool_calls"][0]["id"], "content": "Rain.", "name": "weather"}
    assert asked(served, messages=[ASKED, message, result]).status_code == 200


# --- votes ---------------------------------------------------------------------------------------------------------


def test_samples_with_the_same_calls_agree():
    other_words = '{"name": "weather", "parameters": {"city": "Paris"}}'
    served = Served(ROME, PARIS, other_words)
    answer = asked(served, "avengers", avengers={"samples": 3, "early_stop": "off"}).json()
    assert answer["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"] == '{"city": "Paris"}'
    assert answer["avengers"]["votes"] == [
        {"key": '[["weather",{"city":"Paris"}]]', "count": 2, "weight": 2.0},
        {"key": '[["weather",{"city":"Rome"}]]', "count": 1, "weight": 1.0},
    ]
    assert answer["avengers"]["agreement"] == 2 / 3


def test_answering_without_a_call_can_win():
    served = Served(PARIS, "It rains.", "Rain.")
    answer = asked(served, "avengers", avengers={"samples": 3, "early_stop": "off"}).json()
    assert answer["choices"][0]["message"]["content"] == "It rains."
    assert answer["avengers"]["votes"][0] == {"key": "no call", "count": 2, "weight": 2.0}


def test_one_sample_is_taken_unless_more_are_asked_for_whatever_the_question_sounds_like():
    served = Served(PARIS)
    asked(served, "avengers", [{"role": "user", "content": "How many are 2 and 3?"}])
    (request,) = served.engine.requests
    assert request.n == 1
    assert request.messages[-1].content == "How many are 2 and 3?"


# --- streams -------------------------------------------------------------------------------------------------------


def streamed(*texts, **fields):
    _, objects, done = events(asked(Served(*texts), stream=True, **fields))
    assert done
    return objects


def calls_of(objects, index=0):
    """Put calls together as clients do."""
    calls = {}
    for each in objects:
        for choice in each["choices"]:
            for delta in choice["delta"].get("tool_calls", ()) if choice["index"] == index else ():
                call = calls.setdefault(delta["index"], {"id": None, "name": None, "arguments": ""})
                call["id"] = call["id"] or delta.get("id")
                call["name"] = call["name"] or delta["function"].get("name")
                call["arguments"] += delta["function"]["arguments"]
    return [calls[place] for place in sorted(calls)]


@pytest.mark.parametrize("fields", [{}, {"model": "avengers"}, {"model": "avengers", "avengers": {"samples": 3}}])
def test_calls_are_streamed_in_deltas_and_nothing_of_their_text_is(fields):
    objects = streamed(f"Let me see.\n{PARIS}\n{ROME}", **fields)
    assert text_of(objects).rstrip() == "Let me see."
    calls = calls_of(objects)
    assert [(call["name"], json.loads(call["arguments"])["city"]) for call in calls] == [
        ("weather", "Paris"),
        ("weather", "Rome"),
    ]
    assert len({call["id"] for call in calls}) == 2
    assert objects[-1]["choices"][0]["finish_reason"] == "tool_calls"
    assert objects[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}


def test_what_a_text_says_after_its_calls_is_streamed_too():
    objects = streamed(f"Look. {PARIS} Done")
    assert text_of(objects) == "Look. \nDone"
    assert len(calls_of(objects)) == 1


def test_a_call_alone_is_streamed_without_text():
    objects = streamed(PARIS)
    assert text_of(objects) == ""
    assert len(calls_of(objects)) == 1


@pytest.mark.parametrize(
    "text",
    ["It rains in Paris now.", "{ is a brace and", 'Use {"name": 1} here', f"{PARIS[:-20]}", "```python\n1\n```\nok"],
)
def test_prose_is_streamed_whole_whatever_it_looks_like(text):
    objects = streamed(text)
    assert text_of(objects) == text
    assert calls_of(objects) == []
    assert objects[-1]["choices"][0]["finish_reason"] == "stop"


def test_prose_is_streamed_while_it_is_written():
    pieces = [each["choices"][0]["delta"].get("content") for each in streamed("It rains in Paris")]
    assert pieces == ["", "It", " rains", " in", " Paris", None]


def test_each_streamed_choice_has_its_own_calls():
    objects = streamed(PARIS, "Dry.", n=2)
    assert [len(calls_of(objects, index)) for index in (0, 1)] == [1, 0]
    assert text_of(objects, 1) == "Dry."


def test_the_first_sample_is_streamed_and_corrected_by_a_call_that_was_elected():
    knobs = {"samples": 3, "early_stop": "off", "stream": "first"}
    objects = streamed("It rains.", PARIS, PARIS, model="avengers", avengers=knobs)
    assert text_of(objects) == "It rains."
    assert objects[-1]["avengers"]["corrected"] == ""
    assert len(calls_of(objects)) == 1


# --- who is given tools -------------------------------------------------------------------------------------------


def test_a_question_with_tools_goes_to_a_member_that_takes_them_and_another_one_as_always():
    served = Served("ok", takers=("small",))
    assert asked(served, "avengers").json()["avengers"]["models"] == ["small"]
    assert asked(served, "avengers", tools=()).json()["avengers"]["models"] == ["big"]


@pytest.mark.parametrize("fields", [{}, {"stream": True}, {"avengers": {"samples": 2}}])
def test_a_member_that_does_not_take_them_is_400_with_those_that_do(fields):
    served = Served("ok", takers=("small",))
    answer = asked(served, "big", **fields)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["param"] == "tools"
    assert "big" in error["message"] and "small" in error["message"]
    assert served.engine.requests == []


def test_a_team_in_which_nobody_takes_them_is_400():
    answer = asked(Served("ok", takers=()), "avengers")
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "tools")
    assert "pair" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    "arguments",
    ['{"x": NaN}', '{"x": -Infinity}', '{"x": 1e999}', '{"x": "\\ud800"}', '{"x": ' + "[" * 900 + "]" * 900 + "}"],
)
def test_broken_arguments_of_earlier_calls_are_read_as_a_text_and_never_an_error(arguments):
    called = CALLED | {"tool_calls": [CALL | {"function": {"name": "f", "arguments": arguments}}]}
    result = {"role": "tool", "tool_call_id": CALL["id"], "content": "5"}
    answer = Served().chat(model="big", messages=[ASKED, called, result])
    assert answer.status_code == 200, answer.text


# --- what is refused ------------------------------------------------------------------------------------------------


def function(**fields):
    return {"type": "function", "function": {"name": "f", **fields}}


WHERE = "tools[0].function.parameters"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"tools": "weather"}, "tools"),
        ({"tools": ["weather"]}, "tools[0]"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"tools": [{"function": {"name": "f"}}]}, "tools[0].type"),
        ({"tools": [{"type": "function"}]}, "tools[0].function"),
        ({"tools": [function(name="no spaces")]}, "tools[0].function.name"),
        ({"tools": [function(name="x" * 65)]}, "tools[0].function.name"),
        ({"tools": [function(name=5)]}, "tools[0].function.name"),
        ({"tools": [function(description=5)]}, "tools[0].function.description"),
        ({"tools": [function(colour="red")]}, "tools[0].function.colour"),
        ({"tools": [function(parameters="city")]}, WHERE),
        ({"tools": [function(parameters={"type": "string"})]}, WHERE),
        ({"tools": [function(parameters={"type": "object", "properties": ["city"]})]}, WHERE),
        ({"tools": [function(parameters={"type": "object", "properties": {"city": "string"}})]}, WHERE),
        ({"tools": [function(parameters={"type": "object", "required": "city"})]}, WHERE),
        ({"tools": [function(strict=True, parameters={"type": "object", "minProperties": 1})]}, WHERE),
        ({"tools": [function(), function()]}, "tools"),
        ({"tools": [function(name=f"f{place}") for place in range(200)]}, "tools"),
        ({"tools": [function(parameters={"type": "object", "title": "x" * 70_000})]}, "tools"),
        ({"tool_choice": "some"}, "tool_choice"),
        ({"tool_choice": 5}, "tool_choice"),
        ({"tool_choice": {"type": "function"}}, "tool_choice.function"),
        ({"tool_choice": {"type": "allowed_tools"}}, "tool_choice.type"),
        ({"tool_choice": {"type": "function", "function": {"name": "rm"}}}, "tool_choice"),
        ({"tool_choice": {"type": "function", "function": {"name": "time"}, "x": 1}}, "tool_choice.x"),
        ({"parallel_tool_calls": "no"}, "parallel_tool_calls"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"grammar": "root ::= [a]"}, "grammar"),
        ({"avengers": {"kind": "number"}, "model": "avengers"}, "tools"),
        ({"messages": [ASKED, CALLED]}, "messages[1].tool_calls"),
        ({"messages": [ASKED, CALLED, ASKED]}, "messages[1].tool_calls"),
        ({"messages": [ASKED, RESULT]}, "messages[1].tool_call_id"),
        ({"messages": [ASKED, CALLED, RESULT, RESULT]}, "messages[3].tool_call_id"),
        ({"messages": [ASKED, CALLED, RESULT | {"tool_call_id": "xyz"}]}, "messages[2].tool_call_id"),
        ({"messages": [ASKED, CALLED, RESULT | {"tool_call_id": None}]}, "messages[2].tool_call_id"),
        ({"messages": [ASKED, CALLED, RESULT | {"content": None}]}, "messages[2].content"),
        ({"messages": [ASKED, CALLED, RESULT, CALLED, RESULT]}, "messages[3].tool_calls"),
        ({"messages": [ASKED | {"tool_calls": [CALL]}]}, "messages[0].tool_calls"),
        ({"messages": [ASKED, CALLED | {"tool_calls": ["f"]}]}, "messages[1].tool_calls[0]"),
        ({"messages": [ASKED, CALLED | {"tool_calls": [CALL | {"id": ""}]}]}, "messages[1].tool_calls[0].id"),
        ({"messages": [ASKED, CALLED | {"tool_calls": [CALL | {"type": "x"}]}]}, "messages[1].tool_calls[0].type"),
        (
            {"messages": [ASKED, CALLED | {"tool_calls": [CALL | {"function": {"name": "a b"}}]}]},
            "messages[1].tool_calls[0].function.name",
        ),
        ({"messages": [CALLED, RESULT]}, "messages[1]"),
        ({"model": "big", "functions": [{"name": "f"}], "tools": None}, "functions"),
    ],
)
def test_what_cannot_be_meant_is_400_by_its_name(fields, param):
    served = Served("ok", strict=True)
    answer = asked(served, **fields)
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["param"] == param, answer.text
    assert served.engine.requests == []


def test_a_prompt_is_completed_without_tools():
    body = {"model": "big", "prompt": "Hi", "tools": [WEATHER]}
    answer = Served()("POST", "/v1/completions", body)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "tools")
    assert "chat" in answer.json()["error"]["message"]
