"""Clients of other APIs than chat completions against a listening server: Responses, Ollama's own, Anthropic's own."""

from __future__ import annotations

import json

import pytest
from clients import KEY, LEFT_OPEN, PERSON, QUESTION, WEATHER_CALL, WRONG_KEY, collected, imported, listening
from server_fakes import Served

openai = imported("openai")
ollama = imported("ollama")
anthropic = imported("anthropic")

pytestmark = LEFT_OPEN
__all__ = ["collected"]

PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
FUNCTION = {"name": "weather", "description": "the weather", "parameters": PARAMETERS}
FLAT_TOOL = {"type": "function", "strict": True, **FUNCTION}
TOOL = {"type": "function", "function": FUNCTION}
SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name", "age"],
    "additionalProperties": False,
}


def post(served, path, **body):
    return served("POST", path, {"model": "big", **body})


# --- Responses ------------------------------------------------------------------------------------------------------


def responses_of(served, key=KEY):
    return openai.OpenAI(base_url=served.url, api_key=key, max_retries=0)


def test_a_response_has_the_text_and_what_it_cost():
    with listening("Ann is five") as served, responses_of(served) as client:
        answer = client.responses.create(model="big", input=QUESTION, instructions="Be brief.", max_output_tokens=9)
        assert (answer.output_text, answer.status) == ("Ann is five", "completed")
        assert (answer.usage.output_tokens, answer.usage.input_tokens_details.cached_tokens) == (3, 2)
        (request,) = served.engine.requests
        assert [(each.role, each.content) for each in request.messages] == [("system", "Be brief."), ("user", QUESTION)]
        assert request.sampling.max_tokens == 9


def test_the_events_of_a_response_come_in_order_and_make_up_the_response():
    with listening("Ann is five") as served, responses_of(served) as client:
        with client.responses.stream(model="avengers", input=QUESTION) as stream:
            events = list(stream)
            final = stream.get_final_response()
        assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == "Ann is five"
        assert final.output_text == "Ann is five"
        assert [event.sequence_number for event in events] == sorted(event.sequence_number for event in events)
        assert (events[0].type, events[-1].type) == ("response.created", "response.completed")


def test_a_function_is_called_and_its_result_goes_back_by_responses():
    with listening(WEATHER_CALL) as served, responses_of(served) as client:
        said = [{"role": "user", "content": "How is Paris?"}]
        first = client.responses.create(model="big", input=said, tools=[FLAT_TOOL], tool_choice="auto")
        (call,) = [item for item in first.output if item.type == "function_call"]
        assert (call.name, json.loads(call.arguments)) == ("weather", {"city": "Paris"})
        said += [each.model_dump(exclude_none=True) for each in first.output]
        said.append({"type": "function_call_output", "call_id": call.call_id, "output": "sun"})
        served.engine.texts = ["Sunny."]
        assert client.responses.create(model="big", input=said, tools=[FLAT_TOOL]).output_text == "Sunny."
        roles = [each.role for each in served.engine.requests[-1].messages]
        assert roles == ["user", "assistant", "tool"]


def test_a_call_is_streamed_as_an_item_of_its_own():
    with listening(WEATHER_CALL) as served, responses_of(served) as client:
        with client.responses.stream(model="big", input=QUESTION, tools=[FLAT_TOOL]) as stream:
            kinds = [event.type for event in stream]
            final = stream.get_final_response()
        assert "response.function_call_arguments.done" in kinds
        assert [item.type for item in final.output][-1] == "function_call"


def test_a_responses_text_is_parsed_by_its_schema():
    with listening(PERSON) as served, responses_of(served) as client:
        wanted = {"format": {"type": "json_schema", "name": "person", "schema": SCHEMA, "strict": True}}
        answer = client.responses.create(model="big", input=QUESTION, text=wanted)
        assert json.loads(answer.output_text) == json.loads(PERSON)
        assert json.loads(served.engine.requests[0].sampling.schema) == SCHEMA


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"background": True}, "background"),
        ({"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}]}, "input[0].content"),
        ({"input": [{"type": "item_reference", "id": "x"}]}, "input[0]"),
        ({"input": [{"type": "computer_call_output", "call_id": "x"}]}, "input[0]"),
        ({"input": []}, "input"),
        ({"input": [{"role": "assistant", "content": "Hi"}]}, "input[0]"),
        ({"tools": [{"type": "web_search"}]}, "tools[0]"),
        ({"tool_choice": {"type": "mcp"}}, "tool_choice"),
        ({"temperature": 5}, "temperature"),
        ({"max_output_tokens": "many"}, "max_output_tokens"),
    ],
)
def test_what_a_response_would_need_and_is_not_here_is_400_by_its_name(fields, param):
    answer = post(Served(), "/v1/responses", **{"input": "Hi", **fields})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param), answer.text


def test_what_a_response_passes_over_is_named():
    answer = post(Served(), "/v1/responses", input="Hi", service_tier="flex", prompt_cache_key="k", user="me")
    assert sorted(answer.json()["avengers"]["ignored"]) == ["prompt_cache_key", "service_tier", "user"]


# --- Ollama ---------------------------------------------------------------------------------------------------------


def ollama_of(served):
    return ollama.Client(host=served.url.removesuffix("/v1"), headers={"Authorization": f"Bearer {KEY}"})


def test_ollamas_client_chats_whole_and_in_pieces():
    with listening("Ann is five") as served:
        client = ollama_of(served)
        whole = client.chat("big", [{"role": "user", "content": QUESTION}], options={"num_predict": 9, "num_ctx": 99})
        assert (whole.message.content, whole.done_reason, whole.eval_count) == ("Ann is five", "stop", 3)
        assert served.engine.requests[0].sampling.max_tokens == 9
        pieces = list(client.chat("avengers:latest", [{"role": "user", "content": QUESTION}], stream=True))
        assert "".join(each.message.content for each in pieces) == "Ann is five"
        assert [each.done for each in pieces][-2:] == [False, True]


def test_ollamas_client_generates_embeds_and_lists():
    with listening("Ann is five") as served:
        client = ollama_of(served)
        assert client.generate("big", QUESTION, system="Be brief.").response == "Ann is five"
        assert "".join(each.response for each in client.generate("big", QUESTION, stream=True)) == "Ann is five"
        assert len(client.embed("lengths", ["a", "b"]).embeddings) == 2
        assert client.embeddings("lengths", "a").embedding
        assert {"avengers", "big", "small"} <= {each.model for each in client.list().models}
        assert [each.model for each in client.ps().models] == ["big"]
        assert "completion" in client.show("big").capabilities
        assert client.generate("big").done_reason == "load"


def test_a_thought_is_apart_from_what_is_said():
    with listening("<think>hm</think>\n\nFive.") as served:
        client = ollama_of(served)
        said = client.chat("big", [{"role": "user", "content": QUESTION}])
        assert (said.message.content, said.message.thinking) == ("Five.", "hm")
        pieces = list(client.chat("big", [{"role": "user", "content": QUESTION}], stream=True, think=False))
        assert "".join(each.message.content for each in pieces) == "Five."
        assert not any(each.message.thinking for each in pieces)


def test_ollamas_client_calls_a_tool_and_sends_its_result():
    with listening(WEATHER_CALL) as served:
        client, said = ollama_of(served), [{"role": "user", "content": "How is Paris?"}]
        first = client.chat("big", said, tools=[TOOL])
        (call,) = first.message.tool_calls
        assert (call.function.name, dict(call.function.arguments)) == ("weather", {"city": "Paris"})
        said += [first.message, {"role": "tool", "tool_name": "weather", "content": "sun"}]
        served.engine.texts = ["Sunny."]
        assert client.chat("big", said, tools=[TOOL]).message.content == "Sunny."


def test_ollamas_format_bounds_the_answer():
    with listening(PERSON) as served:
        ollama_of(served).chat("big", [{"role": "user", "content": QUESTION}], format=SCHEMA)
        assert json.loads(served.engine.requests[0].sampling.schema) == SCHEMA
        ollama_of(served).generate("big", QUESTION, format="json")
        assert json.loads(served.engine.requests[1].sampling.schema) == {"type": "object"}


@pytest.mark.parametrize(
    ("path", "fields", "said"),
    [
        ("chat", {"messages": [{"role": "user", "content": "Hi", "images": ["x"]}]}, "images"),
        ("chat", {"messages": [{"role": "user", "content": "Hi"}], "options": {"top_p": 9}}, "options.top_p"),
        ("generate", {"prompt": "Hi", "suffix": "there"}, "suffix"),
        ("generate", {"prompt": "Hi", "raw": True}, "raw"),
        ("generate", {"prompt": "Hi", "context": [1]}, "context"),
        ("generate", {"prompt": "Hi", "format": "xml"}, "format"),
        ("embed", {"input": []}, "input"),
    ],
)  # fmt: skip
def test_what_ollama_could_do_and_is_not_here_is_one_line_of_error(path, fields, said):
    answer = post(Served(), f"/api/{path}", **fields)
    assert answer.status_code == 400
    assert said in answer.json()["error"], answer.text


def test_an_unknown_model_is_404_with_the_names_there_are():
    with listening("x") as served, pytest.raises(ollama.ResponseError, match="use one of") as error:
        ollama_of(served).chat("llama3.2", [{"role": "user", "content": "Hi"}])
    assert error.value.status_code == 404


def test_models_are_managed_on_the_command_line():
    with listening("x") as served, pytest.raises(ollama.ResponseError, match="avengers models pull"):
        ollama_of(served).pull("llama3.2")


def test_keep_alive_0_unloads_nothing_that_is_in_use_and_is_no_error():
    for alive in (0, "0s"):
        answer = post(Served(), "/api/generate", keep_alive=alive)
        assert answer.json()["done_reason"] == "unload"
    assert post(Served(), "/api/generate", prompt="Hi", keep_alive="5m", stream=False).json()["response"]


# --- Anthropic ------------------------------------------------------------------------------------------------------


def anthropic_of(served, key=KEY):
    return anthropic.Anthropic(base_url=served.url.removesuffix("/v1"), api_key=key, max_retries=0)


CLAUDE_TOOL = {"name": "weather", "description": "the weather", "input_schema": PARAMETERS}


def test_anthropics_client_has_a_message_whole_and_in_pieces():
    with listening("Ann is five") as served, anthropic_of(served) as client:
        asked = {"model": "big", "max_tokens": 9, "messages": [{"role": "user", "content": QUESTION}]}
        whole = client.messages.create(**asked, system="Be brief.", stop_sequences=["END"])
        assert (whole.content[0].text, whole.stop_reason, whole.usage.output_tokens) == ("Ann is five", "end_turn", 3)
        assert served.engine.requests[0].sampling.stop == ("END",)
        with client.messages.stream(**asked) as stream:
            assert "".join(stream.text_stream) == "Ann is five"
            assert stream.get_final_message().usage.output_tokens == 3


def test_anthropics_client_calls_a_tool_and_sends_its_result():
    with listening(WEATHER_CALL) as served, anthropic_of(served) as client:
        said = [{"role": "user", "content": "How is Paris?"}]
        asked = {"model": "big", "max_tokens": 99, "tools": [CLAUDE_TOOL]}
        first = client.messages.create(**asked, messages=said)
        (call,) = [block for block in first.content if block.type == "tool_use"]
        assert (call.name, call.input, first.stop_reason) == ("weather", {"city": "Paris"}, "tool_use")
        result = {"type": "tool_result", "tool_use_id": call.id, "content": "sun"}
        said += [{"role": "assistant", "content": first.content}, {"role": "user", "content": [result]}]
        served.engine.texts = ["Sunny."]
        assert client.messages.create(**asked, messages=said).content[0].text == "Sunny."


def test_a_call_is_streamed_as_a_block_of_its_own():
    with listening(WEATHER_CALL) as served, anthropic_of(served) as client:
        said = [{"role": "user", "content": QUESTION}]
        with client.messages.stream(model="big", max_tokens=9, tools=[CLAUDE_TOOL], messages=said) as stream:
            final = stream.get_final_message()
        assert final.content[-1].input == {"city": "Paris"}


def test_what_goes_wrong_is_anthropics_own_error():
    with listening("x") as served, anthropic_of(served) as client:
        picture = [{"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "x"}}]
        with pytest.raises(anthropic.BadRequestError, match="only text"):
            client.messages.create(model="big", max_tokens=9, messages=[{"role": "user", "content": picture}])
        with pytest.raises(anthropic.NotFoundError):
            client.messages.create(model="claude", max_tokens=9, messages=[{"role": "user", "content": "Hi"}])
        with anthropic_of(served, WRONG_KEY) as stranger, pytest.raises(anthropic.AuthenticationError):
            stranger.messages.create(model="big", max_tokens=9, messages=[{"role": "user", "content": "Hi"}])


# --- addresses ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/chat/completions", "/v1/chat/completions"])
def test_an_address_without_the_version_is_understood(path):
    assert post(Served(), path, messages=[{"role": "user", "content": "Hi"}]).status_code == 200
