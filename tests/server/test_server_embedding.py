"""Laws of `/v1/embeddings`, on an embedder that a reader can compute by hand."""

from __future__ import annotations

import base64
import threading
from types import SimpleNamespace

import numpy as np
import pytest
from fakes import Lengths
from server_fakes import Served

from avengers_edge.errors import Cancelled
from avengers_edge.routing.features import CHARACTERS_READ
from avengers_edge.server.answering import embed
from avengers_edge.server.options import Limits
from avengers_edge.server.schemas import EmbeddingRequest


def test_texts_are_embedded_as_numbers_and_as_their_bytes():
    served = Served()
    plain = served("POST", "/v1/embeddings", {"model": "lengths", "input": ["a bb", "long words"]}).json()
    rows = np.array([each["embedding"] for each in plain["data"]])
    assert rows.tolist() == [[1.0, 0.0], [0.0, 1.0]]
    assert plain["usage"] == {"prompt_tokens": 4, "total_tokens": 4}
    coded = served("POST", "/v1/embeddings", {"model": "lengths", "input": "a", "encoding_format": "base64"}).json()
    assert np.frombuffer(base64.b64decode(coded["data"][0]["embedding"]), "<f4").tolist() == [1.0, 0.0]


def test_a_text_that_the_embedder_cannot_see_whole_is_refused():
    answer = Served()("POST", "/v1/embeddings", {"model": "lengths", "input": ["a", "one two three four five"]})
    assert answer.status_code == 413
    assert "input[1] has 5 tokens" in answer.json()["error"]["message"]


def test_a_text_of_which_only_the_beginning_is_read_is_refused_too():
    text = "a" + " " * CHARACTERS_READ + "rest"
    answer = Served()("POST", "/v1/embeddings", {"model": "lengths", "input": ["a", text]})
    assert answer.status_code == 413
    assert answer.json()["error"]["param"] == "input"
    assert f"input[1] has {len(text)} characters" in answer.json()["error"]["message"]


def test_no_further_batch_is_embedded_when_the_client_has_gone():
    cancel, embedded = threading.Event(), []

    class Leaving(Lengths):
        def embed(self, texts):
            embedded.extend(texts)
            cancel.set()
            return super().embed(texts)

    with pytest.raises(Cancelled):
        embed(SimpleNamespace(vectors=Leaving()), EmbeddingRequest(model="lengths", input=["a"] * 40), Limits(), cancel)
    assert len(embedded) == 16


def test_many_texts_of_any_length_keep_their_places():
    texts = [" ".join(["a"] * (place % 4) + ["longer"] * (place % 3) + ["a"])[:20] for place in range(70)]
    texts = [text if len(text.split()) <= 4 else "a" for text in texts]
    answer = Served()("POST", "/v1/embeddings", {"model": "lengths", "input": texts}).json()["data"]
    assert [each["index"] for each in answer] == list(range(70))
    assert np.allclose([each["embedding"] for each in answer], Lengths().embed(texts))


@pytest.mark.parametrize(
    ("fields", "status", "param"),
    [
        ({"input": []}, 400, "input"),
        ({"input": [1, 2]}, 400, "input[0]"),
        ({"input": ["a"] * 2049}, 400, "input"),
        ({"input": ""}, 400, "input"),
        ({"dimensions": 7}, 400, "dimensions"),
        ({"model": "ada"}, 404, "model"),
    ],
)
def test_embedding_requests_that_cannot_be_met_name_the_field(fields, status, param):
    answer = Served()("POST", "/v1/embeddings", {"model": "lengths", "input": "a", **fields})
    assert (answer.status_code, answer.json()["error"]["param"]) == (status, param)
