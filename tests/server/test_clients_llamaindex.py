"""LlamaIndex against a listening server: chat, streams, choices, vectors, classes, tools, errors; no network."""

from __future__ import annotations

import json

import pytest
from clients import KEY, LEFT_OPEN, PERSON, QUESTION, WEATHER_CALL, WRONG_KEY, collected, imported, listening

like = imported("llama_index.llms.openai_like")
embeddings = imported("llama_index.embeddings.openai_like")
llms = imported("llama_index.core.llms")
prompts = imported("llama_index.core.prompts")
tools = imported("llama_index.core.tools")
openai = imported("openai")
pydantic = imported("pydantic")

pytestmark = LEFT_OPEN
__all__ = ["collected"]


class Person(pydantic.BaseModel):
    """Somebody."""

    name: str
    age: int


def weather(city: str) -> str:
    """Tell the weather."""
    return f"It rains in {city}."


def llm_of(served, model="avengers", key=KEY, **options):
    return like.OpenAILike(model=model, api_base=served.url, api_key=key, is_chat_model=True, max_retries=0, **options)


ASKED = [llms.ChatMessage(role="user", content=QUESTION)]


def test_chat_is_answered_and_streamed():
    with listening("Ann is five") as served:
        llm = llm_of(served)
        assert llm.complete(QUESTION).text == "Ann is five"
        assert llm.chat([llms.ChatMessage(role="system", content="Be brief."), *ASKED]).message.content == "Ann is five"
        assert [said.role for said in served.engine.requests[-1].messages] == ["system", "user"]
        assert [part.delta for part in llm.stream_chat(ASKED) if part.delta] == ["Ann", " is", " five"]


def test_the_knobs_of_a_vote_go_along():
    with listening("Answer: 5") as served:
        knobs = {"extra_body": {"avengers": {"samples": 5, "kind": "number"}}}
        assert llm_of(served, additional_kwargs=knobs).chat(ASKED).message.content == "Answer: 5"
        assert served.engine.requests[0].n == 5


def test_a_member_gives_several_choices():
    with listening("one", "two") as served:
        answer = llm_of(served, "big", additional_kwargs={"n": 2}).chat(ASKED)
        assert [choice.message.content for choice in answer.raw.choices] == ["one", "two"]


def test_texts_are_embedded():
    with listening() as served:
        model = embeddings.OpenAILikeEmbedding(model_name="lengths", api_base=served.url, api_key=KEY, max_retries=0)
        assert model.get_text_embedding_batch(["a bb", "longer words"]) == [[1.0, 0.0], [0.0, 1.0]]
        assert model.get_query_embedding("a") == [1.0, 0.0]


@pytest.mark.parametrize("structured", [True, False])
def test_an_answer_has_the_shape_of_a_class(structured):
    text = PERSON if structured else f'{{"name": "Person", "arguments": {PERSON}}}'
    with listening(text) as served:
        llm = llm_of(served, should_use_structured_outputs=structured, is_function_calling_model=True)
        person = llm.structured_predict(Person, prompts.PromptTemplate("Who is {name}?"), name="Ann")
        assert person == Person(name="Ann", age=5)
        (request,) = served.engine.requests
        if structured:
            assert json.loads(request.sampling.schema)["required"] == ["name", "age"]
        else:
            assert request.tools.names == ("Person",)


def test_a_tool_is_called_by_its_caller_and_its_result_sent_back():
    with listening(WEATHER_CALL) as served:
        llm, tool = llm_of(served, is_function_calling_model=True), tools.FunctionTool.from_defaults(weather)
        answer = llm.chat_with_tools([tool], chat_history=ASKED)
        (call,) = llm.get_tool_calls_from_response(answer)
        assert (call.tool_name, call.tool_kwargs) == ("weather", {"city": "Paris"})
        result = llms.ChatMessage(role="tool", content="rain", additional_kwargs={"tool_call_id": call.tool_id})
        served.engine.texts = ["It rains."]
        assert llm.chat_with_tools([tool], chat_history=[*ASKED, answer.message, result]).message.content == "It rains."
        assert [said.role for said in served.engine.requests[-1].messages] == ["user", "assistant", "tool"]


def test_a_call_is_streamed():
    with listening(WEATHER_CALL) as served:
        llm, tool = llm_of(served, is_function_calling_model=True), tools.FunctionTool.from_defaults(weather)
        *_, last = llm.stream_chat_with_tools([tool], chat_history=ASKED, tool_required=True)
        (call,) = llm.get_tool_calls_from_response(last)
        assert call.tool_kwargs == {"city": "Paris"}
        assert served.engine.requests[0].tools.must


@pytest.mark.parametrize("ask", [lambda llm: llm.chat(ASKED), lambda llm: list(llm.stream_chat(ASKED))])
def test_what_goes_wrong_is_the_clients_own_error(ask):
    with listening("x") as served:
        with pytest.raises(openai.NotFoundError, match="avengers/pair"):
            ask(llm_of(served, "gpt-4"))
        with pytest.raises(openai.BadRequestError, match="top_p"):
            ask(llm_of(served, additional_kwargs={"top_p": 0}))
        with pytest.raises(openai.AuthenticationError, match="key"):
            ask(llm_of(served, key=WRONG_KEY))
