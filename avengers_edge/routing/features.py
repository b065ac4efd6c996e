"""Questions as they are embedded: the text to route by, texts that fit whole, and a question's surface features.

These are what a question looks like: length, lettered options, code, formulas, digits. Sentence embedders see topics;
benchmarks and people's habits differ in these features as well, and models' strengths follow them.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from avengers_edge.errors import DoesNotFit
from avengers_edge.records import Closing, Embedder, Message, Vectors

_CHARACTERS = 800  # about 200 tokens of the embedder's 256


def routing_text(question: str, history: Sequence[Message]) -> str:
    """Join the latest user turns that fit into what the embedder reads: "and in miles?" is about those before it."""
    said = [question]
    for message in reversed(history):
        if message.role == "user":
            if sum(map(len, said)) + len(message.content) > _CHARACTERS:
                break
            said.append(message.content)
    return "\n".join(reversed(said))


CHARACTERS_READ = 16_384
"""Only so much of a text is tokenized: 64 characters for each token that the model can see."""


def count_within_limit(vectors: Vectors, texts: Sequence[str], naming: str) -> list[int]:
    """Count each text's tokens, where none is longer than what `vectors` can see of it.

    Args:
        vectors: what is to embed them.
        texts: the texts.
        naming: how one is named by its place, like `text {}`.

    Raises:
        DoesNotFit: one is longer.

    """
    for place, text in enumerate(texts):
        if len(text) > CHARACTERS_READ:
            raise _too_long(naming.format(place), f"{len(text)} characters", CHARACTERS_READ)
    counts = vectors.count_tokens(texts)
    for place, count in enumerate(counts):
        if count > vectors.most_tokens:
            raise _too_long(naming.format(place), f"{count} tokens", vectors.most_tokens)
    return counts


def _too_long(named: str, has: str, most: int) -> DoesNotFit:
    return DoesNotFit(f"{named} has {has} and the embedder reads {most}: split it")


WEIGHT = 0.7
"""Weight of the features beside the embedding's length of 1; chosen on held-out outcomes (see docs/evidence.md)."""

_VERSION = 1
_OPTION = re.compile(r"(?:^|\s)\(?[A-J][).:]\s")
_OPTION_LINE = re.compile(r"^\s*\(?[A-J][).:]", re.MULTILINE)
_FORMULA = re.compile(r"[=+*/^\\$]")

# Mean and standard deviation of each figure below over the questions of 40 public benchmarks.
_MEAN = (6.04, 1.93, 0.465, 2.32, 0.107, 0.0238, 0.592, 0.389, 0.187, 0.0346, 0.198, 4.87, 0.0717, 0.171)
_DEVIATION = (1.09, 1.21, 0.499, 2.78, 0.309, 0.0419, 0.492, 0.488, 0.39, 0.0275, 0.398, 1.27, 0.258, 0.377)


def surface_features(text: str) -> NDArray[np.float32]:
    """Describe a text by 14 figures, each about 0 on average and 1 in spread over benchmark questions, shape (14,)."""
    figures = np.array(_figures(text[:CHARACTERS_READ]), dtype=np.float64)
    standard = (figures - np.array(_MEAN)) / np.array(_DEVIATION)
    features: NDArray[np.float32] = np.clip(standard, -4, 4).astype(np.float32)
    return features


def _figures(text: str) -> tuple[float, ...]:
    length, words = max(len(text), 1), text.split()
    return (
        math.log1p(len(text)),
        math.log1p(text.count("\n")),
        float(_OPTION_LINE.search(text) is not None),
        float(min(len(_OPTION.findall(text)), 20)),
        float(any(mark in text for mark in ("```", "def ", "assert"))),
        sum(letter.isdigit() for letter in text) / length,
        float("?" in text),
        float(_FORMULA.search(text) is not None),
        float("\\" in text or "$" in text),
        sum(letter.isupper() for letter in text) / length,
        float('"' in text),
        sum(map(len, words)) / max(len(words), 1),
        float(text.count("?") > 1),
        float("_" in text),
    )


class FeatureEmbedder(Closing):
    """An embedder that adds surface features to another one's vectors, which have length 1 again.

    A vector is (e, WEIGHT f / sqrt(14)) scaled to length 1, with e the other embedder's vector and f the features.
    """

    def __init__(self, inner: Embedder) -> None:
        self.inner = inner

    def close(self) -> None:
        """Close the other embedder, where it has something to close."""
        if isinstance(self.inner, Closing):
            self.inner.close()

    @property
    def fingerprint(self) -> str:
        """Identifies the other embedder and how features are added."""
        facts = f"{self.inner.fingerprint}\nform {_VERSION} {WEIGHT}\n"
        return hashlib.sha256(facts.encode()).hexdigest()

    @property
    def dimension(self) -> int:
        """The length of a vector."""
        return self.inner.dimension + len(_MEAN)

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed into shape (len(texts), D), rows of length 1."""
        return add_features(self.inner.embed(texts), texts)


def add_features(vectors: NDArray[np.float32], texts: Sequence[str]) -> NDArray[np.float32]:
    """Add each text's surface features to its unit vector, (N, D) to (N, D + 14)."""
    features = np.array([surface_features(text) for text in texts], dtype=np.float32).reshape(len(texts), len(_MEAN))
    joined = np.hstack([vectors, WEIGHT / math.sqrt(len(_MEAN)) * features])
    unit: NDArray[np.float32] = (joined / np.linalg.norm(joined, axis=1, keepdims=True)).astype(np.float32)
    return unit
