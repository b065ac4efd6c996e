"""Form: what a question looks like is part of its vector."""

from __future__ import annotations

import numpy as np
import pytest
from fakes import WordLengthEmbedder
from hypothesis import given
from hypothesis import strategies as st

from avengers_edge.routing.form import WEIGHT, FormEmbedder, form_of, with_form

TEXTS = ["What is 2 + 2?", "Which one?\nA) cat\nB) dog", "def f(x):\n    return x", ""]


@given(st.text(max_size=300))
def test_any_text_has_a_bounded_form(text: str) -> None:
    form = form_of(text)
    assert form.shape == (14,)
    assert np.isfinite(form).all()
    assert (np.abs(form) <= 4).all()


def test_forms_differ_where_embeddings_do_not() -> None:
    forms = [form_of(text) for text in TEXTS]
    for i, left in enumerate(forms):
        for right in forms[i + 1 :]:
            assert np.abs(left - right).max() > 0.5


def test_a_vector_has_length_one_and_begins_with_the_other_embedders() -> None:
    inner = WordLengthEmbedder()
    vectors = FormEmbedder(inner).embed(TEXTS)
    assert vectors.shape == (4, 2 + 14)
    assert vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx([1] * 4)
    head = vectors[:, :2] / np.linalg.norm(vectors[:, :2], axis=1, keepdims=True)
    assert head == pytest.approx(inner.embed(TEXTS), abs=1e-6)


def test_form_counts_with_its_weight() -> None:
    vector = with_form(np.array([[1.0, 0.0]], dtype=np.float32), [TEXTS[0]])[0]
    assert vector[2:] / vector[0] == pytest.approx(WEIGHT / np.sqrt(14) * form_of(TEXTS[0]), abs=1e-6)


def test_no_text_at_all_is_no_vector_at_all() -> None:
    assert with_form(np.empty((0, 2), dtype=np.float32), []).shape == (0, 16)


def test_its_fingerprint_is_not_the_other_embedders() -> None:
    inner = WordLengthEmbedder()
    assert FormEmbedder(inner).fingerprint != inner.fingerprint
    assert FormEmbedder(inner).dimension == 16
