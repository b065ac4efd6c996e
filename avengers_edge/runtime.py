"""The main path: embed, route, sample, vote."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from avengers_edge.config import Settings, shipped_dir
from avengers_edge.engine.residency import Residency
from avengers_edge.errors import BadRequest, Cancelled, NotFound
from avengers_edge.library.catalog import Catalog
from avengers_edge.library.gguf import estimate_memory_bytes, read_header
from avengers_edge.library.store import Store
from avengers_edge.records import (
    SEED_LIMIT,
    Answer,
    Ask,
    Closing,
    Completion,
    Embedder,
    Engine,
    Generation,
    Kind,
    Member,
    Message,
    OnToken,
    Request,
    Route,
    Sample,
    Team,
    Timings,
    Usage,
    Vote,
)
from avengers_edge.routing.embedder import OnnxEmbedder
from avengers_edge.routing.router import Router, pick_only, unfitted_route
from avengers_edge.routing.table import CentroidTable
from avengers_edge.voting.ballot import Ballot
from avengers_edge.voting.keys import extract_answer
from avengers_edge.voting.kinds import find_choices, infer_kind
from avengers_edge.voting.tally import confidence, medoid, representative, winner

_T = TypeVar("_T")
_UNVOTED: frozenset[Kind] = frozenset({"text", "code"})
"""Kinds of which one sample is taken unless more are asked for: their samples hardly ever agree word for word."""


@dataclasses.dataclass(frozen=True, slots=True)
class Progress:
    """A vote under way: samples that ended out of those asked for, and the answer that leads."""

    finished: int
    samples: int
    leader: Vote | None


OnProgress = Callable[[Progress], None]


class Avengers(Closing):
    """A team that answers questions. Nothing is opened before it is needed.

    Args:
        team: who answers.
        open_embedder: opens what turns questions into vectors.
        open_router: opens what ranks the members; it gives None for a team without a table, whose members are then
            taken in their own order.
        engine_for: loads a model by its id, or gives the loaded one.
        close: frees what `engine_for` loaded.

    """

    def __init__(
        self,
        team: Team,
        open_embedder: Callable[[], Embedder],
        open_router: Callable[[Embedder], Router | None],
        engine_for: Callable[[str], Engine],
        close: Callable[[], None] = lambda: None,
    ) -> None:
        self.team = team
        self._open_embedder, self._open_router = open_embedder, open_router
        self._engine_for, self._close = engine_for, close

    @functools.cached_property
    def _embedder(self) -> Embedder:
        return self._open_embedder()

    @functools.cached_property
    def _router(self) -> Router | None:
        return self._open_router(self._embedder)

    @classmethod
    def open(cls, settings: Settings, team: str | None = None) -> Avengers:
        """Make a team of the settings' home folder ready to be asked.

        Raises:
            NotFound: no such team.

        """
        catalog, store = Catalog.of(settings), Store(settings.home)
        chosen = catalog.load_team(team or settings.team)

        def open_embedder() -> OnnxEmbedder:
            return OnnxEmbedder(shipped_dir() / "embedder", settings.providers, settings.threads)

        def open_router(embedder: Embedder) -> Router | None:
            if chosen.table is None:
                return None
            path = catalog.find_table(chosen)
            return Router(CentroidTable.load(path, fingerprint=embedder.fingerprint, dimension=embedder.dimension))

        def path_of(model: str) -> Path:
            return store.find(catalog.load_model(model))

        def need_of(path: Path) -> int:
            return estimate_memory_bytes(read_header(path), settings.context)

        residency = Residency(path_of, need_of, settings)
        return cls(chosen, open_embedder, open_router, residency.engine_for, residency.close)

    def close(self) -> None:
        """Free the loaded model."""
        self._close()

    def answer(
        self,
        question: str,
        ask: Ask | None = None,
        *,
        on_progress: OnProgress | None = None,
        on_token: OnToken | None = None,
        cancel: threading.Event | None = None,
    ) -> Answer:
        """Answer a question: embed, route, sample, vote.

        Raises:
            BadRequest: an empty question or a value that cannot be used.
            NotFound: the member, its model or the team's table is not there.
            VerificationFailed: a file is damaged, or table and embedder do not belong together.
            DoesNotFit: the prompt is longer than the model's context.
            EngineDied: llama.cpp failed.
            Cancelled: `cancel` was set before a sample began; later, what there is makes the answer.

        """
        ask = ask or Ask()
        clock = _Clock()
        kind = ask.kind or infer_kind(question)
        route = self._route(question, ask, clock)
        member = self._member(route.ranking[0].model)
        request = self._request(question, kind, member, ask)
        with clock("load"):
            engine = self._engine_for(member.model)
        ballot = Ballot(kind, request.n, ask.early_stop, find_choices(question))

        def count(completion: Completion) -> bool:
            decided = ballot.add(completion)
            if on_progress:
                on_progress(Progress(ballot.finished, request.n, ballot.leader))
            return decided

        generation = engine.generate(request, on_finish=count, on_token=on_token, cancel=cancel)
        if not generation.completions:
            raise Cancelled("cancelled before the first sample began: ask again")
        return self._elect(kind, member, route, request, ballot, generation, clock)

    def route(self, question: str, *, prefer: float = 1.0) -> Route:
        """Decide who would answer; no language model is loaded."""
        return self._route(question, Ask(prefer=prefer), _Clock())

    def _route(self, question: str, ask: Ask, clock: _Clock) -> Route:
        _check_text(question)
        if ask.member is not None:
            return pick_only(ask.member)
        names = [member.name for member in self.team.members]
        with clock("load"):
            router = self._router
        if router is None:
            return unfitted_route(self.team.name, names)
        with clock("embed"):
            (vector,) = self._embedder.embed([question])
        with clock("route"):
            return router.route(vector, members=names, prefer=ask.prefer)

    def _member(self, name: str) -> Member:
        """Find a member by its name; a bare model of the team is asked as its first member of that model is."""
        for member in self.team.members:
            if name in (member.name, member.model):
                return member
        if ":" in name:
            known = ", ".join(member.name for member in self.team.members)
            raise NotFound(f"team {self.team.name} has no member {name!r}: use one of {known}")
        return Member(name)  # any installed model can be named; the store says if it is not there

    def _request(self, question: str, kind: Kind, member: Member, ask: Ask) -> Request:
        defaults = self.team.sampling
        limit = member.mode.limit(kind) if member.mode else None
        sampling = dataclasses.replace(
            defaults,
            temperature=_first(ask.temperature, defaults.temperature),
            top_p=_first(ask.top_p, defaults.top_p),
            max_tokens=_first(ask.max_tokens, _first(limit, defaults.max_tokens)),
        )
        messages = messages_for(question, kind, member, ask.system)
        samples = _first(ask.samples, 1 if kind in _UNVOTED else self.team.samples)
        seed = secrets.randbelow(SEED_LIMIT) if ask.seed is None else ask.seed
        return Request(messages, sampling, samples, seed)

    def _elect(
        self,
        kind: Kind,
        member: Member,
        route: Route,
        request: Request,
        ballot: Ballot,
        generation: Generation,
        clock: _Clock,
    ) -> Answer:
        completions = generation.completions
        samples = tuple(
            Sample(member.name, done.seed, done.text, ballot.keys.get(done.index), done.tokens, done.finish_reason)
            for done in completions
        )
        chosen = samples[self._choose(kind, ballot, samples)]
        cut = chosen.finish_reason != "stop"
        answer = extract_answer(chosen.text, kind, truncated=cut, choices=ballot.choices)
        return Answer(
            answer=answer or chosen.text.strip(),
            text=chosen.text,
            kind=kind,
            model=member.name,
            models=(member.name,),
            confidence=confidence(ballot.votes),
            route=route,
            votes=ballot.votes,
            samples_requested=request.n,
            samples_used=ballot.finished,
            stopped_early=ballot.finished < request.n,
            samples=samples,
            usage=Usage(generation.prompt_tokens, sum(done.tokens for done in completions)),
            timings_ms=clock.timings(generation),
        )

    def _choose(self, kind: Kind, ballot: Ballot, samples: Sequence[Sample]) -> int:
        """Choose the sample to show: one of the winning group, or the most central where there is no vote."""
        leader = winner(ballot.votes)
        if leader is not None:
            return representative([s.key for s in samples], [s.finish_reason for s in samples], leader.key)
        ended = [place for place, sample in enumerate(samples) if sample.finish_reason != "cancelled"]
        if kind == "text" and len(ended) > 2:
            return ended[medoid(self._embedder.embed([samples[place].text for place in ended]).tolist())]
        return ended[0] if ended else 0


def messages_for(question: str, kind: Kind, member: Member, system: str | None = None) -> tuple[Message, ...]:
    """Put a question the way a member is asked: its instruction for the kind, its system prompt unless one is given."""
    mode = member.mode
    instruction = mode.instructions.get(kind) if mode else None
    system = _first(system, mode.system if mode else None)
    user = Message("user", f"{question}\n\n{instruction}" if instruction else question)
    return (Message("system", system), user) if system else (user,)


def _check_text(question: str) -> None:
    if not question.strip():
        raise BadRequest("the question is empty: give it as an argument or on standard input")
    try:
        question.encode("utf-8")
    except UnicodeEncodeError as error:
        raise BadRequest(f"the question has a character at {error.start} that is not valid Unicode") from error


def _first(said: _T | None, otherwise: _T) -> _T:
    return otherwise if said is None else said


class _Clock:
    """Milliseconds by step, since the question came in."""

    def __init__(self) -> None:
        self._start = time.perf_counter()
        self._spent: dict[str, float] = {}

    @contextlib.contextmanager
    def __call__(self, step: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self._spent[step] = self._spent.get(step, 0.0) + (time.perf_counter() - start) * 1000

    def timings(self, generation: Generation) -> Timings:
        spent = {step: round(self._spent.get(step, 0.0), 3) for step in ("embed", "route", "load")}
        return Timings(
            embed=spent["embed"],
            route=spent["route"],
            load=spent["load"],
            prefill=round(generation.prefill_ms, 3),
            decode=round(generation.decode_ms, 3),
            total=round((time.perf_counter() - self._start) * 1000, 3),
        )
