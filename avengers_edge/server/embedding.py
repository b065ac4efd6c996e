"""The vectors of `/v1/embeddings`, batch by batch for as long as the client waits."""

from __future__ import annotations

import base64
import threading

from avengers_edge.errors import Cancelled, DoesNotFit
from avengers_edge.routing.whole import count_whole
from avengers_edge.server.model_registry import NamedVectors
from avengers_edge.server.options import Limits
from avengers_edge.server.problems import Problem, refuse
from avengers_edge.server.replies import Embedding, EmbeddingList, EmbeddingUsage
from avengers_edge.server.schemas import EmbeddingRequest

_AT_ONCE = 16
"""Texts between two looks at whether the client still waits; the embedder does as many in one go."""


def embed(vectors: NamedVectors, wanted: EmbeddingRequest, limits: Limits, cancel: threading.Event) -> EmbeddingList:
    """Embed the texts.

    Raises:
        Problem: another model or dimension, or a text that cannot be seen whole.
        Cancelled: `cancel` was set before the last batch.

    """
    if wanted.model not in (vectors.name, "avengers"):
        complaint = f"there is no embedding model {wanted.model[:80]!r}: use {vectors.name}"
        raise Problem(404, complaint, "model", "model_not_found")
    if wanted.dimensions not in (None, vectors.dimension):
        raise refuse("dimensions", f"dimensions is {wanted.dimensions}: {vectors.name} has {vectors.dimension}")
    texts = [wanted.input] if isinstance(wanted.input, str) else wanted.input
    if len(texts) > limits.texts:
        raise refuse("input", f"input has {len(texts)} texts: send up to {limits.texts}")
    try:
        counts = count_whole(vectors, texts, "input[{}]")
    except DoesNotFit as error:
        raise Problem(error.http_status, str(error), "input", "does_not_fit") from error
    order = sorted(range(len(counts)), key=counts.__getitem__)  # so that little of a batch is padding
    rows: dict[int, str | list[float]] = {}
    for start in range(0, len(order), _AT_ONCE):
        if cancel.is_set():
            raise Cancelled("cancelled before all texts were embedded: ask again")
        places = order[start : start + _AT_ONCE]
        for place, row in zip(places, vectors.embed([texts[each] for each in places]), strict=True):
            row = row.astype("<f4")
            rows[place] = (
                base64.b64encode(row.tobytes()).decode() if wanted.encoding_format == "base64" else row.tolist()
            )
    data = [Embedding(place, rows[place]) for place in range(len(counts))]
    return EmbeddingList(data, vectors.name, EmbeddingUsage(sum(counts), sum(counts)))
