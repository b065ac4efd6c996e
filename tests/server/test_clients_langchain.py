"""LangChain against a listening server: chat, streams, choices, vectors, classes, tools, errors; no network."""

from __future__ import annotations

import json

import pytest
from clients import KEY, LEFT_OPEN, PERSON, QUESTION, WEATHER_CALL, WRONG_KEY, collected, imported, listening

langchain = imported("langchain_openai")
messages = imported("langchain_core.messages")
tools = imported("langchain_core.tools")
openai = imported("openai")
pydantic = imported("pydantic")

pytestmark = LEFT_OPEN
__all__ = ["collected"]


class Person(pydantic.BaseModel):
    """Somebody."""

    name: str
    age: int


@tools.tool
def weather(city: str) -> str:
    """Tell the weather."""
    return f"It rains in {city}."


def chat_of(served, model="avengers", key=KEY, **options):
    return langchain.ChatOpenAI(model=model, base_url=served.url, api_key=key, max_retries=0, **options)


def test_chat_is_answered_and_streamed():
    with listening("Ann is five") as served:
        chat = chat_of(served, temperature=0.3, seed=1)
        answer = chat.invoke([("system", "Be brief."), ("user", QUESTION)])
        assert answer.content == "Ann is five"
        assert answer.usage_metadata["output_tokens"] == 3
        assert [said.role for said in served.engine.requests[0].messages] == ["system", "user"]
        chunks = list(chat.stream(QUESTION))
        assert "".join(chunk.content for chunk in chunks) == "Ann is five"
        assert len([chunk for chunk in chunks if chunk.content]) == 3


def test_the_knobs_of_a_vote_go_along():
    with listening("Answer: 5") as served:
        chat = chat_of(served, extra_body={"avengers": {"samples": 5, "kind": "number"}})
        assert chat.invoke(QUESTION).content == "Answer: 5"
        assert served.engine.requests[0].n == 5


def test_a_member_gives_several_choices():
    with listening("one", "two") as served:
        (choices,) = chat_of(served, "big", n=2).generate([[messages.HumanMessage(QUESTION)]]).generations
        assert [choice.text for choice in choices] == ["one", "two"]


def test_texts_are_embedded_without_tables_from_the_network():
    with listening() as served:
        embeddings = langchain.OpenAIEmbeddings(
            model="lengths", base_url=served.url, api_key=KEY, check_embedding_ctx_length=False, max_retries=0
        )
        assert embeddings.embed_documents(["a bb", "longer words"]) == [[1.0, 0.0], [0.0, 1.0]]
        assert embeddings.embed_query("a") == [1.0, 0.0]


def test_tokens_are_counted_without_tables_from_the_network():
    with listening() as served:
        chat = chat_of(served, custom_get_token_ids=lambda text: list(range(len(text.split()))))
        assert chat.get_num_tokens("one two three") == 3


@pytest.mark.parametrize("method", ["json_schema", "function_calling", "json_mode"])
def test_an_answer_has_the_shape_of_a_class(method):
    text = PERSON if method != "function_calling" else f'{{"name": "Person", "arguments": {PERSON}}}'
    with listening(text) as served:
        assert chat_of(served).with_structured_output(Person, method=method).invoke(QUESTION) == Person(
            name="Ann", age=5
        )
        (request,) = served.engine.requests
        if method == "function_calling":
            assert (request.tools.must, request.tools.only) == (True, "Person")
        else:
            assert json.loads(request.sampling.schema)["type"] == "object"


def test_a_tool_is_called_by_its_caller_and_its_result_sent_back():
    with listening(WEATHER_CALL) as served:
        chat = chat_of(served).bind_tools([weather])
        said = [messages.HumanMessage(QUESTION)]
        said.append(chat.invoke(said))
        (call,) = said[-1].tool_calls
        assert (call["name"], call["args"]) == ("weather", {"city": "Paris"})
        said.append(weather.invoke(call))
        served.engine.texts = ["It rains."]
        assert chat.invoke(said).content == "It rains."
        assert served.engine.requests[-1].messages[-1].content == "It rains in Paris."


def test_a_call_is_streamed():
    with listening(WEATHER_CALL) as served:
        chunks = list(chat_of(served).bind_tools([weather], tool_choice="any").stream(QUESTION))
        whole = chunks[0]
        for chunk in chunks[1:]:
            whole += chunk
        assert [call["args"] for call in whole.tool_calls] == [{"city": "Paris"}]
        assert served.engine.requests[0].tools.must


@pytest.mark.parametrize("ask", [lambda chat: chat.invoke(QUESTION), lambda chat: list(chat.stream(QUESTION))])
def test_what_goes_wrong_is_the_clients_own_error(ask):
    with listening("x") as served:
        with pytest.raises(openai.NotFoundError, match="avengers/pair"):
            ask(chat_of(served, "gpt-4"))
        with pytest.raises(openai.BadRequestError, match="top_p"):
            ask(chat_of(served, top_p=0.0))
        with pytest.raises(openai.AuthenticationError, match="key"):
            ask(chat_of(served, key=WRONG_KEY))
