"""Texts that the sentence embedder can see whole; others are refused, not cut."""

from __future__ import annotations

from collections.abc import Sequence

from avengers_edge.errors import DoesNotFit
from avengers_edge.records import Vectors

CHARACTERS_READ = 16_384
"""Only so much of a text is tokenized: 64 characters for each token that the model can see."""


def count_whole(vectors: Vectors, texts: Sequence[str], naming: str) -> list[int]:
    """Count each text's tokens.

    Args:
        vectors: what is to embed them.
        texts: the texts.
        naming: how one is named by its place, like `text {}`.

    Raises:
        DoesNotFit: one is longer than what can be seen of it.

    """
    for place, text in enumerate(texts):
        if len(text) > CHARACTERS_READ:
            _refuse(naming.format(place), f"{len(text)} characters", CHARACTERS_READ)
    counts = vectors.count_tokens(texts)
    for place, count in enumerate(counts):
        if count > vectors.most_tokens:
            _refuse(naming.format(place), f"{count} tokens", vectors.most_tokens)
    return counts


def _refuse(named: str, has: str, most: int) -> None:
    raise DoesNotFit(f"{named} has {has} and the embedder reads {most}: split it")
