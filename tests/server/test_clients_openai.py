"""OpenAI's own Python client against a listening server: what it offers works, and what goes wrong is its own error."""

from __future__ import annotations

import asyncio
import json

import pytest
from clients import KEY, PERSON, QUESTION, WEATHER_CALL, WRONG_KEY, imported, listening

openai = imported("openai")
pydantic = imported("pydantic")

ASKED = [{"role": "user", "content": QUESTION}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


class Person(pydantic.BaseModel):
    name: str
    age: int


class Weather(pydantic.BaseModel):
    """Tells the weather."""

    city: str


def client_of(served, key=KEY):
    return openai.OpenAI(base_url=served.url, api_key=key, max_retries=0)


def test_chat_is_answered_and_what_came_about_is_told():
    with listening("Answer: 5", "Answer: 6", "so Answer: 6") as served, client_of(served) as client:
        knobs = {"early_stop": "off", "samples": 3, "kind": "number"}
        answer = client.chat.completions.create(model="avengers", messages=ASKED, extra_body={"avengers": knobs})
        assert answer.choices[0].message.content in ("Answer: 6", "so Answer: 6")
        assert answer.choices[0].finish_reason == "stop"
        assert answer.usage.completion_tokens == 7
        assert answer.usage.prompt_tokens_details.cached_tokens == 2
        assert answer.model_extra["avengers"]["votes"][0] == {"key": "6", "count": 2, "weight": 2.0}


def test_a_stream_is_put_together_and_ends_with_the_usage():
    with listening("Ann is five") as served, client_of(served) as client:
        options = {"include_usage": True}
        chunks = list(
            client.chat.completions.create(model="avengers", messages=ASKED, stream=True, stream_options=options)
        )
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "Ann is five"
        assert chunks[-1].usage.completion_tokens == 3
        with client.chat.completions.stream(model="big", messages=ASKED) as stream:
            deltas = [event.delta for event in stream if event.type == "content.delta"]
            assert "".join(deltas) == stream.get_final_completion().choices[0].message.content == "Ann is five"


def test_a_vote_is_streamed_too():
    with listening("Answer: 5") as served, client_of(served) as client:
        knobs = {"avengers": {"samples": 3, "kind": "number"}}
        stream = client.chat.completions.create(model="avengers", messages=ASKED, stream=True, extra_body=knobs)
        chunks = list(stream)
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "Answer: 5"
        assert chunks[-1].model_extra["avengers"]["agreement"] == 1.0


def test_a_member_gives_as_many_choices_as_are_asked_for_and_log_probabilities():
    with listening("one", "two words") as served, client_of(served) as client:
        answer = client.chat.completions.create(model="big", messages=ASKED, n=2, logprobs=True, top_logprobs=1, seed=1)
        assert [choice.message.content for choice in answer.choices] == ["one", "two words"]
        assert answer.choices[1].logprobs.content[0].top_logprobs[0].token == "two"


def test_texts_are_embedded_as_numbers_and_in_the_clients_own_coding():
    with listening() as served, client_of(served) as client:
        for coding in ({}, {"encoding_format": "float"}):
            answer = client.embeddings.create(model="lengths", input=["a bb", "longer words"], **coding)
            assert [each.embedding for each in answer.data] == [[1.0, 0.0], [0.0, 1.0]]
            assert answer.usage.prompt_tokens == 4


def test_an_answer_has_the_shape_of_a_class():
    with listening(PERSON) as served, client_of(served) as client:
        answer = client.chat.completions.parse(model="avengers", messages=ASKED, response_format=Person)
        assert answer.choices[0].message.parsed == Person(name="Ann", age=5)
        schema = json.loads(served.engine.requests[0].sampling.schema)
        assert schema["required"] == ["name", "age"]


def test_a_function_is_called_by_its_caller_and_its_result_sent_back():
    with listening(WEATHER_CALL) as served, client_of(served) as client:
        answer = client.chat.completions.create(model="avengers", messages=ASKED, tools=[WEATHER], tool_choice="auto")
        message = answer.choices[0].message
        assert answer.choices[0].finish_reason == "tool_calls"
        (call,) = message.tool_calls
        assert (call.function.name, json.loads(call.function.arguments)) == ("weather", {"city": "Paris"})
        served.engine.texts = ["It rains."]
        result = {"role": "tool", "tool_call_id": call.id, "content": "rain"}
        answer = client.chat.completions.create(model="avengers", messages=[*ASKED, message, result], tools=[WEATHER])
        assert answer.choices[0].message.content == "It rains."
        assert [said.role for said in served.engine.requests[-1].messages] == ["user", "assistant", "tool"]


def test_a_call_is_streamed_and_read_as_a_class():
    with listening(f"Well.\n{WEATHER_CALL}") as served, client_of(served) as client:
        tools = [openai.pydantic_function_tool(Weather, name="weather")]
        with client.chat.completions.stream(model="big", messages=ASKED, tools=tools) as stream:
            names = [event.name for event in stream if event.type == "tool_calls.function.arguments.done"]
            message = stream.get_final_completion().choices[0].message
        assert names == ["weather"]
        assert message.tool_calls[0].function.parsed_arguments == Weather(city="Paris")
        assert message.content.rstrip() == "Well."
        assert served.engine.requests[0].tools.functions[0].strict


def test_a_prompt_is_completed():
    with listening("and ever") as served, client_of(served) as client:
        assert client.completions.create(model="big", prompt="For ever").choices[0].text == "and ever"
        chunks = client.completions.create(model="big", prompt="For ever", stream=True)
        assert "".join(chunk.choices[0].text for chunk in chunks) == "and ever"


def test_models_are_listed():
    with listening() as served, client_of(served) as client:
        assert [model.id for model in client.models.list()][:2] == ["avengers", "avengers/other"]
        assert client.models.retrieve("avengers/pair").id == "avengers/pair"


def test_asyncio_is_answered_too():
    async def ask(url):
        async with openai.AsyncOpenAI(base_url=url, api_key=KEY, max_retries=0) as client:
            answers = [client.chat.completions.create(model="big", messages=ASKED) for _ in range(3)]
            texts = [answer.choices[0].message.content for answer in await asyncio.gather(*answers)]
            stream = await client.chat.completions.create(model="big", messages=ASKED, stream=True)
            return texts, "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    with listening("Ann is five") as served:
        assert asyncio.run(ask(served.url)) == (["Ann is five"] * 3, "Ann is five")


@pytest.mark.parametrize("stream", [False, True])
def test_what_goes_wrong_is_the_clients_own_error(stream):
    with listening("x") as served, client_of(served) as client:
        create = client.chat.completions.create
        with pytest.raises(openai.NotFoundError) as error:
            create(model="gpt-4", messages=ASKED, stream=stream)
        assert error.value.code == "model_not_found" and "avengers/pair" in error.value.message
        with pytest.raises(openai.BadRequestError) as error:
            create(model="avengers", messages=ASKED, temperature=3, stream=stream)
        assert error.value.param == "temperature"
        with pytest.raises(openai.BadRequestError) as error:
            create(model="avengers", messages=ASKED, web_search_options={}, stream=stream)
        assert (error.value.param, error.value.code) == ("web_search_options", "unsupported_parameter")
        with client_of(served, WRONG_KEY) as stranger, pytest.raises(openai.AuthenticationError) as error:
            stranger.chat.completions.create(model="avengers", messages=ASKED, stream=stream)
        assert error.value.code == "invalid_api_key"
        assert create(model="avengers", messages=ASKED).choices[0].message.content == "x"
