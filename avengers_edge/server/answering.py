"""The blocking part of requests: a vote of a team or what one member writes, as events, and embeddings."""

from __future__ import annotations

import base64
import dataclasses
import re
import secrets
from collections.abc import Iterator
from typing import TypeAlias

from avengers_edge.election import Emit, events_of
from avengers_edge.errors import Cancelled, ContextFull, DoesNotFit
from avengers_edge.inquiry import Inquiry
from avengers_edge.records import SEED_LIMIT, Answer, Ask, CancelToken, Event, Finished, Generation, Token
from avengers_edge.routing.features import count_within_limit
from avengers_edge.server.model_registry import ModelRegistry, ResolvedModel
from avengers_edge.server.options import Limits
from avengers_edge.server.parameters import Parameters
from avengers_edge.server.problems import Problem, refuse
from avengers_edge.server.replies import Embedding, EmbeddingList, EmbeddingUsage
from avengers_edge.server.schemas import EmbeddingRequest
from avengers_edge.ways import requests_for

_BATCH = 16
"""Texts between two looks at the cancel token; the embedder does as many in one go."""

Result: TypeAlias = Answer | Generation


def respond(
    registry: ModelRegistry, target: ResolvedModel, parameters: Parameters, cancel: CancelToken, *, tokens: bool
) -> Iterator[Event | Generation]:
    """Do what is asked for; the last event is `Finished`, or what a member wrote."""
    try:
        # A program has to be run and letters have to be weighed: what such a member writes is no answer by itself.
        if target.member is None or parameters.voted or target.member.form != "text":
            yield from _elect(target, parameters, cancel, tokens=tokens)
        else:
            yield from _complete(registry, target, parameters, cancel, tokens=tokens)
    except ContextFull as error:
        # In the words that clients look for, before ours.
        limit = re.search(r"has (\d+)", str(error))
        known = f"This model's maximum context length is {limit[1]} tokens. " if limit else ""
        raise Problem(400, known + str(error), parameters.prompt_field, "context_length_exceeded") from error


def result_of(event: Event | Generation | None) -> Result:
    """Return the result that the last event has."""
    assert isinstance(event, Finished | Generation)
    return event.answer if isinstance(event, Finished) else event


def _elect(target: ResolvedModel, parameters: Parameters, cancel: CancelToken, *, tokens: bool) -> Iterator[Event]:
    ask = parameters.ask(target.member.name if target.member else None)
    if target.member is not None and target.member.form == "program" and ask.samples is None:
        ask = dataclasses.replace(ask, samples=1)
    return target.avengers.run(parameters.conversation.question, ask, cancel, tokens=tokens)


def _complete(
    registry: ModelRegistry, target: ResolvedModel, parameters: Parameters, cancel: CancelToken, *, tokens: bool
) -> Iterator[Event | Generation]:
    """Ask one member for `n` texts in one request."""
    member, team = target.member, target.avengers.team
    assert member is not None
    if parameters.tools is not None:
        target.avengers.require_tools(member)
    said = parameters.conversation
    ask = Ask(system=said.system, history=said.history, tools=parameters.tools, results=said.results)
    seed = secrets.randbelow(SEED_LIMIT) if parameters.seed is None else parameters.seed
    inquiry = Inquiry.of(said.question, ask)
    (request,) = requests_for(inquiry, member, team.sampling, parameters.n, seed=seed, greedy=False, open_ended=True)
    sampling = dataclasses.replace(request.sampling, **parameters.sampling)
    request = dataclasses.replace(request, sampling=sampling, keep=parameters.n == 1)
    with registry.lease(member.model) as engine:

        def generate(emit: Emit) -> Generation:
            on_token = (lambda index, piece: emit(Token(piece, index))) if tokens else None
            return engine.generate(request, on_token=on_token, cancel=cancel)

        (generation,) = yield from events_of([generate], cancel)
    yield generation


def embed(registry: ModelRegistry, wanted: EmbeddingRequest, limits: Limits, cancel: CancelToken) -> EmbeddingList:
    """Embed the texts."""
    vectors = registry.vectors
    if wanted.model not in (vectors.name, "avengers"):
        complaint = f"there is no embedding model {wanted.model[:80]!r}: use {vectors.name}"
        raise Problem(404, complaint, "model", "model_not_found")
    if wanted.dimensions not in (None, vectors.dimension):
        raise refuse("dimensions", f"dimensions is {wanted.dimensions}: {vectors.name} has {vectors.dimension}")
    texts = [wanted.input] if isinstance(wanted.input, str) else wanted.input
    if len(texts) > limits.texts:
        raise refuse("input", f"input has {len(texts)} texts: send up to {limits.texts}")
    try:
        counts = count_within_limit(vectors, texts, "input[{}]")
    except DoesNotFit as error:
        raise Problem(error.http_status, str(error), "input", "does_not_fit") from error
    order = sorted(range(len(counts)), key=counts.__getitem__)  # so that little of a batch is padding
    rows: dict[int, str | list[float]] = {}
    for start in range(0, len(order), _BATCH):
        if cancel.is_set():
            raise Cancelled("cancelled before all texts were embedded: ask again")
        places = order[start : start + _BATCH]
        for place, row in zip(places, vectors.embed([texts[each] for each in places]), strict=True):
            row = row.astype("<f4")
            rows[place] = (
                base64.b64encode(row.tobytes()).decode() if wanted.encoding_format == "base64" else row.tolist()
            )
    data = [Embedding(place, rows[place]) for place in range(len(counts))]
    return EmbeddingList(data, vectors.name, EmbeddingUsage(sum(counts), sum(counts)))
