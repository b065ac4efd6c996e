"""Simon Willison's `llm` against a listening server, as its users set it up: by a file of models, and its commands."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner
from clients import KEY, LEFT_OPEN, PERSON, QUESTION, WEATHER_CALL, WRONG_KEY, collected, imported, listening

llm = imported("llm")
commands = imported("llm.cli")
models = imported("llm.default_plugins.openai_models")
openai = imported("openai")
pydantic = imported("pydantic")

pytestmark = LEFT_OPEN
__all__ = ["collected"]


class Person(pydantic.BaseModel):
    name: str
    age: int


def weather(city: str) -> str:
    """Tell the weather."""
    return f"It rains in {city}."


@pytest.fixture(autouse=True)
def user(tmp_path, monkeypatch):
    """A user's folder of `llm` of its own."""
    monkeypatch.setenv("LLM_USER_PATH", str(tmp_path))
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    return tmp_path


def known(user, served, key=KEY):
    """Write the file that makes `llm` know this server's models."""
    lines = [
        f"- model_id: local-{name}\n  model_name: {name}\n  api_base: {served.url}\n  api_key_name: avengers\n"
        "  supports_schema: true\n  supports_tools: true\n"
        for name in ("avengers", "big", "gpt-4")
    ]
    (user / "extra-openai-models.yaml").write_text("".join(lines))
    (user / "keys.json").write_text(json.dumps({"avengers": key}))


def test_chat_is_answered_and_streamed(user):
    with listening("Ann is five") as served:
        known(user, served)
        model = llm.get_model("local-avengers")
        response = model.prompt(QUESTION, system="Be brief.", temperature=0.2, stream=False)
        assert response.text() == "Ann is five"
        assert response.usage().output == 3
        assert [said.role for said in served.engine.requests[0].messages] == ["system", "user"]
        assert list(model.prompt(QUESTION)) == ["Ann", " is", " five"]


def test_a_conversation_goes_on(user):
    with listening("Ann is five") as served:
        known(user, served)
        conversation = llm.get_model("local-big").conversation()
        conversation.prompt(QUESTION).text()
        conversation.prompt("And Bob?").text()
        assert [said.content for said in served.engine.requests[-1].messages] == [QUESTION, "Ann is five", "And Bob?"]


def test_an_answer_has_the_shape_of_a_class(user):
    with listening(PERSON) as served:
        known(user, served)
        response = llm.get_model("local-avengers").prompt(QUESTION, schema=Person)
        assert json.loads(response.text()) == {"name": "Ann", "age": 5}
        assert json.loads(served.engine.requests[0].sampling.schema)["required"] == ["name", "age"]


@pytest.mark.parametrize("stream", [True, False])
def test_a_tool_is_called_by_its_caller_and_its_result_sent_back(user, stream):
    with listening(WEATHER_CALL) as served:
        known(user, served)
        chain = llm.get_model("local-avengers").chain(QUESTION, tools=[weather], stream=stream)
        responses = chain.responses()
        (call,) = next(responses).tool_calls()
        assert (call.name, call.arguments) == ("weather", {"city": "Paris"})
        served.engine.texts = ["It rains."]
        assert next(responses).text() == "It rains."
        assert served.engine.requests[-1].messages[-1].content == "It rains in Paris."


def test_texts_are_embedded_by_a_model_that_a_plugin_would_register(user, monkeypatch):
    with listening() as served:
        monkeypatch.setenv("OPENAI_BASE_URL", served.url)
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        model = models.OpenAIEmbeddingModel("local", "lengths")
        assert list(model.embed_multi(["a bb", "longer words"])) == [[1.0, 0.0], [0.0, 1.0]]


def test_its_command_answers_with_a_known_model_and_by_an_address(user):
    with listening("Ann is five") as served:
        known(user, served)
        done = CliRunner().invoke(commands.cli, ["-m", "local-avengers", "--no-log", QUESTION])
        assert (done.output, done.exit_code) == ("Ann is five\n", 0)
        words = ["openai", "endpoint", served.url, "--key", KEY]
        done = CliRunner().invoke(commands.cli, [*words, "-m", "avengers", QUESTION])
        assert (done.output, done.exit_code) == ("Ann is five\n", 0)
        assert "avengers/pair" in CliRunner().invoke(commands.cli, [*words, "--models"]).output


@pytest.mark.parametrize("stream", [True, False])
def test_what_goes_wrong_is_told(user, stream):
    with listening("x") as served:
        known(user, served)
        with pytest.raises(openai.NotFoundError, match="avengers/pair"):
            llm.get_model("local-gpt-4").prompt(QUESTION, stream=stream).text()
        with pytest.raises(openai.BadRequestError, match="top_p"):
            llm.get_model("local-big").prompt(QUESTION, top_p=0, stream=stream).text()
        done = CliRunner().invoke(commands.cli, ["-m", "local-gpt-4", "--no-log", QUESTION])
        assert done.exit_code == 1 and "there is no model" in done.output
        known(user, served, WRONG_KEY)
        with pytest.raises(openai.AuthenticationError, match="key"):
            llm.get_model("local-big").prompt(QUESTION, stream=stream).text()
