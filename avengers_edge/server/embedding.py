"""The body of `/v1/embeddings`: which texts, and their vectors, batch by batch for as long as the client waits."""

from __future__ import annotations

import base64
import dataclasses
import threading
from collections.abc import Mapping
from typing import Any

from avengers_edge.errors import Cancelled, DoesNotFit
from avengers_edge.routing.whole import count_whole
from avengers_edge.server.asked import drop_ignored, read_model
from avengers_edge.server.fields import Fields, well_formed
from avengers_edge.server.house import NamedVectors
from avengers_edge.server.options import Limits
from avengers_edge.server.problems import Problem, refuse

_AT_ONCE = 16
"""Texts between two looks at whether the client still waits; the embedder does as many in one go."""


@dataclasses.dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be embedded; `coded` asks for the vectors' bytes in base64."""

    model: str
    texts: list[str]
    coded: bool
    dimensions: int | None


def read_wanted(values: Mapping[str, Any], limits: Limits) -> Wanted:
    """Read the body.

    Raises:
        Problem: 400, naming the field.

    """
    fields = Fields(values)
    wanted = Wanted(
        read_model(fields),
        _texts(fields.any("input"), limits),
        fields.word("encoding_format", ("float", "base64")) == "base64",
        fields.whole("dimensions", 1),
    )
    drop_ignored(fields)
    fields.done()
    return wanted


def embed(vectors: NamedVectors, wanted: Wanted, cancel: threading.Event) -> dict[str, Any]:
    """Embed the texts, and give OpenAI's shape.

    Raises:
        Problem: another model or dimension, or a text that cannot be seen whole.
        Cancelled: `cancel` was set before the last batch.

    """
    if wanted.model not in (vectors.name, "avengers"):
        complaint = f"there is no embedding model {wanted.model[:80]!r}: use {vectors.name}"
        raise Problem(404, complaint, "model", "model_not_found")
    if wanted.dimensions not in (None, vectors.dimension):
        raise refuse("dimensions", f"dimensions is {wanted.dimensions}: {vectors.name} has {vectors.dimension}")
    try:
        counts = count_whole(vectors, wanted.texts, "input[{}]")
    except DoesNotFit as error:
        raise Problem(error.http_status, str(error), "input", "does_not_fit") from error
    order = sorted(range(len(counts)), key=counts.__getitem__)  # so that little of a batch is padding
    rows: dict[int, str | list[float]] = {}
    for start in range(0, len(order), _AT_ONCE):
        if cancel.is_set():
            raise Cancelled("cancelled before all texts were embedded: ask again")
        places = order[start : start + _AT_ONCE]
        for place, row in zip(places, vectors.embed([wanted.texts[each] for each in places]), strict=True):
            row = row.astype("<f4")
            rows[place] = base64.b64encode(row.tobytes()).decode() if wanted.coded else row.tolist()
    usage = {"prompt_tokens": sum(counts), "total_tokens": sum(counts)}
    data = [{"object": "embedding", "index": place, "embedding": rows[place]} for place in range(len(counts))]
    return {"object": "list", "data": data, "model": vectors.name, "usage": usage}


def _texts(value: object, limits: Limits) -> list[str]:
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not 1 <= len(texts) <= limits.texts:
        raise refuse("input", f"input is not a text or a list of 1 to {limits.texts} texts: tokens are not read")
    for place, text in enumerate(texts):
        if not isinstance(text, str) or not text:
            raise refuse("input", f"input[{place}] is not a text, or is empty: tokens are not read")
        well_formed(text, f"input[{place}]")
    return texts
