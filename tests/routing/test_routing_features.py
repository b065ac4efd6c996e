"""Surface features: what a question looks like is part of its vector."""

from __future__ import annotations

import numpy as np
import pytest
from fakes import WordLengthEmbedder
from hypothesis import given
from hypothesis import strategies as st

from avengers_edge.routing.features import WEIGHT, FeatureEmbedder, add_features, surface_features

TEXTS = ["What is 2 + 2?", "Which one?\nA) cat\nB) dog", "def f(x):\n    return x", ""]


@given(st.text(max_size=300))
def test_any_text_has_bounded_features(text: str) -> None:
    features = surface_features(text)
    assert features.shape == (14,)
    assert np.isfinite(features).all()
    assert (np.abs(features) <= 4).all()


def test_features_differ_where_embeddings_do_not() -> None:
    features = [surface_features(text) for text in TEXTS]
    for i, left in enumerate(features):
        for right in features[i + 1 :]:
            assert np.abs(left - right).max() > 0.5


def test_a_vector_has_length_one_and_begins_with_the_other_embedders() -> None:
    inner = WordLengthEmbedder()
    vectors = FeatureEmbedder(inner).embed(TEXTS)
    assert vectors.shape == (4, 2 + 14)
    assert vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx([1] * 4)
    head = vectors[:, :2] / np.linalg.norm(vectors[:, :2], axis=1, keepdims=True)
    assert head == pytest.approx(inner.embed(TEXTS), abs=1e-6)


def test_features_count_with_their_weight() -> None:
    vector = add_features(np.array([[1.0, 0.0]], dtype=np.float32), [TEXTS[0]])[0]
    assert vector[2:] / vector[0] == pytest.approx(WEIGHT / np.sqrt(14) * surface_features(TEXTS[0]), abs=1e-6)


def test_no_text_at_all_is_no_vector_at_all() -> None:
    assert add_features(np.empty((0, 2), dtype=np.float32), []).shape == (0, 16)


def test_its_fingerprint_is_not_the_other_embedders() -> None:
    inner = WordLengthEmbedder()
    assert FeatureEmbedder(inner).fingerprint != inner.fingerprint
    assert FeatureEmbedder(inner).dimension == 16
