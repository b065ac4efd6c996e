"""OpenAI's own Python client against a real server process on the real 135M model and the real embedder."""

from __future__ import annotations

import math

import pytest
from clients import imported
from homes import linked_home
from test_server_real import LONG, MODEL, Running

openai = imported("openai")
pydantic = imported("pydantic")

pytestmark = pytest.mark.native

ASKED = [{"role": "user", "content": "Name a colour."}]


class Colour(pydantic.BaseModel):
    name: str
    warm: bool


@pytest.fixture(scope="module")
def client(model_home, tmp_path_factory):
    running = Running(linked_home(model_home, tmp_path_factory.mktemp("clients") / "home"))
    with openai.OpenAI(base_url=f"{running.address}/v1", api_key="any", max_retries=0, timeout=LONG) as made:
        yield made
    running.end()


def test_chat_is_the_same_whole_and_streamed(client):
    create = client.chat.completions.create
    whole = create(model=MODEL, messages=ASKED, temperature=0, max_tokens=12)
    stream = create(model=MODEL, messages=ASKED, temperature=0, max_tokens=12, stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == whole.choices[0].message.content
    assert whole.usage.completion_tokens in range(1, 13)


def test_several_choices_differ_and_have_log_probabilities(client):
    answer = client.chat.completions.create(
        model=MODEL, messages=ASKED, n=4, max_tokens=12, seed=1, temperature=1.5, logprobs=True, top_logprobs=2
    )
    assert len({choice.message.content for choice in answer.choices}) > 1
    assert all(token.logprob <= 0 for choice in answer.choices for token in choice.logprobs.content)


def test_a_vote_is_told(client):
    knobs = {"avengers": {"samples": 4, "kind": "number"}}
    asked = [{"role": "user", "content": "How many are 2 and 3?"}]
    answer = client.chat.completions.create(model=MODEL, messages=asked, max_tokens=24, extra_body=knobs)
    assert answer.model_extra["avengers"]["samples_requested"] == 4


def test_an_answer_has_the_shape_of_a_class(client):
    answer = client.chat.completions.parse(
        model=MODEL, messages=ASKED, max_tokens=200, temperature=0, response_format=Colour
    )
    assert isinstance(answer.choices[0].message.parsed, Colour)


def test_texts_are_embedded_by_their_sense(client):
    (name,) = [model.id for model in client.models.list() if model.model_extra["avengers"]["task"] == "embedding"]
    texts = ["a small cat", "a little kitten", "tax law of 1987"]
    rows = [each.embedding for each in client.embeddings.create(model=name, input=texts).data]
    assert all(math.isclose(math.hypot(*row), 1, abs_tol=1e-3) for row in rows)
    near, far = (sum(left * right for left, right in zip(rows[0], row, strict=True)) for row in rows[1:])
    assert near > far


def test_tools_are_refused_by_a_model_whose_template_has_no_place_for_them(client):
    tool = {"type": "function", "function": {"name": "now"}}
    with pytest.raises(openai.BadRequestError) as error:
        client.chat.completions.create(model=MODEL, messages=ASKED, tools=[tool])
    assert error.value.param == "tools"


def test_what_goes_wrong_is_the_clients_own_error(client):
    with pytest.raises(openai.NotFoundError, match=MODEL):
        client.chat.completions.create(model="gpt-4", messages=ASKED)
    with pytest.raises(openai.BadRequestError, match="temperature"):
        client.chat.completions.create(model=MODEL, messages=ASKED, temperature=3)
    with pytest.raises(openai.APIStatusError) as error:
        client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "word " * 12_000}])
    assert error.value.status_code == 400
