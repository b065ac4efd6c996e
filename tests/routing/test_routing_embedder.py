"""The shipped embedder on real ONNX Runtime: the numbers it gives, and the laws that they keep."""

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from avengers_edge.config import shipped_dir
from avengers_edge.errors import AvengersError, BadRequest, NotFound, VerificationFailed
from avengers_edge.routing.embedder import EmbedderSpec, OnnxEmbedder, fingerprint_of, pool

CANONICAL = {
    "What is the capital of France?": [0.07940, 0.03625, -0.00234, -0.00590, 0.02319],
    "def add(a, b):\n    return a + b": [-0.02509, -0.00678, -0.06627, 0.02272, -0.09034],
    "Ein Zug fährt 60 km in 45 Minuten. Wie schnell ist er?": [0.01165, 0.15459, -0.00547, -0.04364, -0.05784],
    "": [-0.12766, 0.04104, -0.00136, -0.01609, 0.05396],
}
"""First five numbers of a vector. Activations are float32, so processors differ by about 1e-6, not by int8 steps."""

FLOAT_MODEL = {
    "What is the capital of France?": [0.0820, 0.0361, -0.0039, -0.0049, 0.0257],
    "def add(a, b):\n    return a + b": [-0.0238, -0.0060, -0.0671, 0.0235, -0.0914],
    "Ein Zug fährt 60 km in 45 Minuten. Wie schnell ist er?": [0.0132, 0.1538, -0.0082, -0.0438, -0.0583],
    "": [-0.1188, 0.0483, -0.0025, -0.0110, 0.0520],
}
"""The same from the original weights in torch, as the export script computes them."""


@pytest.fixture(scope="module")
def embedder() -> Iterator[OnnxEmbedder]:
    with OnnxEmbedder(shipped_dir() / "embedder") as opened:
        yield opened


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Small files under a description that is true of them, though they are no model."""
    shipped = json.loads((shipped_dir() / "embedder" / "embedder.json").read_text(encoding="utf-8"))
    onnx, tokenizer = (hashlib.sha256(content).hexdigest() for content in (b"no model", b"no tokenizer"))
    fingerprint = fingerprint_of(onnx, tokenizer, "mean", 256)
    spec = shipped | {"onnx_sha256": onnx, "tokenizer_sha256": tokenizer, "fingerprint": fingerprint}
    (tmp_path / "model.onnx").write_bytes(b"no model")
    (tmp_path / "tokenizer.json").write_bytes(b"no tokenizer")
    (tmp_path / "embedder.json").write_text(json.dumps(spec), encoding="utf-8")
    return tmp_path


def change_spec(folder: Path, **values: Any) -> None:
    path = folder / "embedder.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | values), encoding="utf-8")


def test_pooling_averages_the_tokens_that_the_mask_keeps_and_scales_to_length_one() -> None:
    states = np.array([[[3, 0], [3, 8], [9, 9]]], dtype=np.float32)
    assert pool(states, np.array([[1, 1, 0]])) == pytest.approx(np.array([[0.6, 0.8]]))


def test_the_fingerprint_names_everything_that_a_vector_depends_on() -> None:
    facts = ("model", "tokenizer", "mean", 256)
    others = [("m", *facts[1:]), ("model", "t", "mean", 256), ("model", "tokenizer", "cls", 256), (*facts[:3], 128)]
    assert len({fingerprint_of(*facts), *(fingerprint_of(*other) for other in others)}) == 5


@pytest.mark.native
@pytest.mark.parametrize("text", CANONICAL)
def test_vectors_are_the_ones_that_were_pinned(embedder: OnnxEmbedder, text: str) -> None:
    assert embedder.embed([text])[0, :5] == pytest.approx(CANONICAL[text], abs=1e-3)


@pytest.mark.native
def test_few_texts_have_the_vectors_of_many(embedder: OnnxEmbedder) -> None:
    with OnnxEmbedder(shipped_dir() / "embedder", few=True) as opened:
        assert opened.embed([*CANONICAL]) == pytest.approx(embedder.embed([*CANONICAL]), abs=2e-6)


@pytest.mark.native
@pytest.mark.parametrize("text", FLOAT_MODEL)
def test_vectors_are_close_to_the_float_models(embedder: OnnxEmbedder, text: str) -> None:
    assert embedder.embed([text])[0, :5] == pytest.approx(FLOAT_MODEL[text], abs=1e-2)


def test_the_card_states_a_cosine_of_at_least_098_to_the_float_model() -> None:
    card = (shipped_dir() / "embedder" / "README.md").read_text(encoding="utf-8")
    texts, least = re.search(r"over (\d+) varied texts .*?least ([\d.]+),", card, re.DOTALL).groups()
    assert int(texts) == 200
    assert float(least) >= 0.98


@pytest.mark.native
def test_questions_alike_are_near_and_questions_unlike_are_far(embedder: OnnxEmbedder) -> None:
    capital, again, code = embedder.embed([*list(CANONICAL)[:1], "Which city is France's seat of government?", "a + b"])
    assert capital @ again == pytest.approx(0.808, abs=5e-3)
    assert capital @ code < 0.2


@pytest.mark.native
def test_a_text_has_one_vector_alone_or_among_others_in_any_order(embedder: OnnxEmbedder) -> None:
    texts = [f"{'ten green bottles ' * (7 * count % 20)}{count}" for count in range(19)]
    together = embedder.embed(texts)
    alone = np.vstack([embedder.embed([text]) for text in texts])
    assert together == pytest.approx(alone, abs=1e-5)
    assert embedder.embed(texts[::-1]) == pytest.approx(together[::-1], abs=1e-5)


@pytest.mark.native
def test_no_texts_give_no_vectors_of_the_right_width(embedder: OnnxEmbedder) -> None:
    assert embedder.embed([]).shape == (0, embedder.dimension) == (0, 384)


@pytest.mark.native
@pytest.mark.parametrize("text", ["", " ", "\0", "\ud800", "\udfff\ud800", "🙂" * 9, "a" * 1_000_000, "b " * 500_000])
def test_every_text_has_a_finite_vector_of_length_one(embedder: OnnxEmbedder, text: str) -> None:
    vectors = embedder.embed([text])
    assert vectors.dtype == np.float32
    assert np.linalg.norm(vectors[0]) == pytest.approx(1, abs=1e-5)


@pytest.mark.native
def test_a_text_is_embedded_by_its_first_256_tokens(embedder: OnnxEmbedder) -> None:
    at_the_limit = " ".join(["word"] * 254)  # and the two markers
    vectors = embedder.embed([at_the_limit, f"{at_the_limit} and much more", at_the_limit[:-5]])
    assert vectors[0] == pytest.approx(vectors[1], abs=1e-6)
    assert vectors[0] != pytest.approx(vectors[2], abs=1e-6)


@pytest.mark.native
def test_tokens_are_counted_beyond_those_that_are_seen(embedder: OnnxEmbedder) -> None:
    counts = embedder.count_tokens(["", "word", "word " * 254, "word " * 255, "word " * 1000])
    assert counts == [2, 3, 256, 257, 1002]
    assert (embedder.most_tokens, embedder.name) == (256, embedder.spec.name)


@pytest.mark.native
def test_one_text_in_place_of_a_list_is_refused(embedder: OnnxEmbedder) -> None:
    with pytest.raises(BadRequest, match="list of texts"):
        embedder.embed("text")


@pytest.mark.native
def test_the_fingerprint_is_the_one_in_the_card(embedder: OnnxEmbedder) -> None:
    assert embedder.fingerprint in (shipped_dir() / "embedder" / "README.md").read_text(encoding="utf-8")


@pytest.mark.native
def test_a_closed_embedder_says_so() -> None:
    embedder = OnnxEmbedder(shipped_dir() / "embedder")
    embedder.close()
    embedder.close()
    with pytest.raises(AvengersError, match="closed"):
        embedder.embed(["text"])


@pytest.mark.native
@pytest.mark.parametrize("providers", [["NoSuchProvider"], ["CPUExecutionProvider", "NoSuchProvider"], []])
def test_an_unknown_provider_is_refused_with_those_that_exist(providers: list[str]) -> None:
    with pytest.raises(BadRequest, match="CPUExecutionProvider"):
        OnnxEmbedder(shipped_dir() / "embedder", providers)


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json", "embedder.json"])
def test_a_missing_file_is_not_found(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(NotFound, match=re.escape(name)):
        OnnxEmbedder(folder)


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json"])
def test_one_changed_byte_is_refused(folder: Path, name: str) -> None:
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(VerificationFailed, match=re.escape(name)):
        OnnxEmbedder(folder)


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"\xff", b"[" * 100_000, b'{"format": 1}'])
def test_a_damaged_description_is_refused(folder: Path, content: bytes) -> None:
    (folder / "embedder.json").write_bytes(content)
    with pytest.raises(VerificationFailed):
        OnnxEmbedder(folder)


@pytest.mark.parametrize(
    "values",
    [
        {"format": 2},
        {"format": True},
        {"pooling": "cls"},
        {"dimension": 0},
        {"dimension": "384"},
        {"max_tokens": 128},
        {"max_tokens": 0},
        {"fingerprint": "0" * 64},
        {"tools": None},
        {"surplus": 1},
    ],
)
def test_a_description_that_contradicts_itself_is_refused(folder: Path, values: Any) -> None:
    change_spec(folder, **values)
    with pytest.raises(VerificationFailed):
        OnnxEmbedder(folder)


@pytest.mark.native
def test_a_file_that_is_no_model_ends_in_one_line(folder: Path) -> None:
    with pytest.raises(AvengersError, match=r"^ONNX Runtime cannot load [^\n]*$"):
        OnnxEmbedder(folder)


def test_the_shipped_description_is_whole() -> None:
    values = json.loads((shipped_dir() / "embedder" / "embedder.json").read_text(encoding="utf-8"))
    assert EmbedderSpec(**values).max_tokens == 256
