"""The main path: embed, route, sample, vote."""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable, Collection, Generator, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from avengers_edge._util.timing import Clock
from avengers_edge.config import Settings
from avengers_edge.errors import (
    AvengersError,
    BadRequest,
    DoesNotFit,
    EngineDied,
    NoSandbox,
    NotFound,
    VerificationFailed,
)
from avengers_edge.inquiry import Inquiry
from avengers_edge.library.catalog import Catalog
from avengers_edge.opening import (
    open_judge,
    open_model_pool,
    open_programs,
    open_router,
    open_shipped_embedder,
    takes_tools,
)
from avengers_edge.records import (
    Answer,
    Ask,
    Closing,
    Embedder,
    Engine,
    Event,
    Finished,
    Lazy,
    Loading,
    Member,
    Route,
    Routed,
    Team,
)
from avengers_edge.records.basics import require, require_text
from avengers_edge.routing.features import routing_text
from avengers_edge.routing.router import Router, pick_only, unfitted_route

if TYPE_CHECKING:  # imported where they are used, so that a question is routed without the engine and the vote
    from avengers_edge.election import Election, Wave
    from avengers_edge.engine.model_pool import ModelPool
    from avengers_edge.voting.code_votes import Judge
    from avengers_edge.ways import Programs

_CLOSE = 0.5
"""A member that is expected to be right less than half as often as another one rather outvotes it than helps it."""


class Avengers(Closing):
    """A team that answers questions. Nothing is opened before it is needed.

    Args:
        team: who answers.
        open_embedder: opens what turns questions into vectors.
        open_router: opens what ranks the members; it gives None for a team without a table, whose members are then
            taken in their own order.
        lease: lends the engine of a model, by its id, and loads it first if need be.
        close: frees what `lease` loaded.
        resident: names the models that are loaded, which routing prefers between equals.
        open_judge: opens what runs code that the members wrote; without one it is compared by its text.
        takes_tools: tells of a model whether its chat template has a place for tools.
        stop_loading: gives up what `lease` is loading, so that closing need not wait for it.
        open_programs: opens what runs the programs of members that answer by one; without it they are passed over.

    """

    def __init__(
        self,
        team: Team,
        open_embedder: Callable[[], Embedder],
        open_router: Callable[[Embedder], Router | None],
        lease: Callable[[str], AbstractContextManager[Engine]],
        close: Callable[[], None] = lambda: None,
        resident: Callable[[], Collection[str]] = tuple,
        open_judge: Callable[[], Judge | None] = lambda: None,
        takes_tools: Callable[[str], bool] = lambda _model: True,
        stop_loading: Callable[[], None] = lambda: None,
        open_programs: Callable[[], Programs | None] = lambda: None,
    ) -> None:
        self.team, self._takes_tools, self.stop_loading = team, takes_tools, stop_loading
        self._judge, self._programs = Lazy(open_judge), Lazy(open_programs)
        self._embedder, self._open_router = Lazy(open_embedder), open_router
        self._router = Lazy(self._load_router)
        self._lease, self._close, self._resident = lease, close, resident

    @classmethod
    def open(
        cls,
        settings: Settings,
        team: str | None = None,
        *,
        model_pool: ModelPool | None = None,
        open_embedder: Callable[[], Embedder] | None = None,
    ) -> Avengers:
        """Make a team of the settings' home folder ready to be asked.

        Several teams can share loaded models, which whoever made `model_pool` then closes, and an embedder.

        Raises:
            NotFound: no such team.

        """
        catalog = Catalog.of(settings)
        chosen = catalog.load_team(team or settings.team)
        pool = Lazy(lambda: model_pool or open_model_pool(settings))

        def close() -> None:
            if model_pool is None and pool.made is not None:
                pool.made.close()

        def stop_loading() -> None:
            if model_pool is None and pool.made is not None:
                pool.made.stop_loading()

        return cls(
            chosen,
            open_embedder or (lambda: open_shipped_embedder(settings)),
            functools.partial(open_router, catalog, chosen),
            lambda model: pool.get().lease(model),
            close,
            lambda: pool.get().resident,
            open_judge,
            functools.cache(functools.partial(takes_tools, settings)),
            stop_loading,
            open_programs,
        )

    def warm(self) -> None:
        """Load what the next question will probably need: embedder, table, and the model that is best over all.

        Raises:
            AvengersError: what `answer` would raise for them.

        """
        router = self._router.get()
        names = [member.name for member in self.team.members]
        best = names[0] if router is None else router.best_of(names)
        with self._lease(self._member(best).model):
            pass

    def close(self) -> None:
        """Free the loaded models."""
        self._close()

    def run(
        self,
        question: str,
        ask: Ask | None = None,
        cancel: threading.Event | None = None,
        *,
        tokens: bool = True,
    ) -> Generator[Event, None, None]:
        """Answer a question, event by event: embed, route, sample, vote. The last event is `Finished`.

        Which samples are drawn of whom is the election's to say. Where a later member cannot be sampled, the vote of
        the earlier ones stands, and the route's `fallback` says so. Closing the iterator cancels what is under way.

        Args:
            question: what is asked.
            ask: how; what it leaves open is left to the team.
            cancel: ends sampling; what there is by then makes the answer.
            tokens: whether `Token` events are wanted.

        Raises:
            BadRequest: an empty question or a value that cannot be used.
            NotFound: the member, its model or the team's table is not there.
            VerificationFailed: a file is damaged, or table and embedder do not belong together.
            DoesNotFit: the prompt is longer than the model's context.
            EngineDied: llama.cpp failed.
            NoSandbox: there are tests, and code cannot be run here.
            Cancelled: `cancel` was set before a sample began.
            AvengersError: programs were asked for, and none of them printed an answer.

        """
        require(isinstance(ask, Ask | None), f"ask is {ask!r:.40}: use an Ask")
        _check_text(question)
        inquiry, clock = Inquiry.of(question, ask or Ask()), Clock()
        route = self._route(inquiry, clock, self._resident())
        yield Routed(route)
        election = self._open_election(inquiry, route, cancel, tokens=tokens)
        for wave in election.waves():
            yield from self._sample(election, wave, clock)
        yield Finished(election.answer(clock, lambda texts: self._embedder.get().embed(texts)))

    def answer(self, question: str, ask: Ask | None = None, cancel: threading.Event | None = None) -> Answer:
        """Answer a question: the last event of `run`, whose errors it raises."""
        *_, last = self.run(question, ask, cancel, tokens=False)
        assert isinstance(last, Finished)
        return last.answer

    def _open_election(
        self, inquiry: Inquiry, route: Route, cancel: threading.Event | None, *, tokens: bool
    ) -> Election:
        from avengers_edge.election import Election

        return Election(
            inquiry,
            [self._member(ranked.model) for ranked in route.ranking],
            self.team,
            route,
            can_switch=_second_may_vote(inquiry.ask, route),
            cancel=cancel,
            tokens=tokens,
            judge=self._judge.get(),
            programs=self._programs.get(),
        )

    def _sample(self, election: Election, wave: Wave, clock: Clock) -> Iterator[Event]:
        """Draw a wave; without its member, where that fails and others were sampled before."""
        member = wave[0].member
        try:
            if member.model not in self._resident():
                yield Loading(member.model)
            with contextlib.ExitStack() as leased:
                with clock("load"):
                    engine = leased.enter_context(self._lease(member.model))
                yield from election.sample(engine, wave)
        except (NotFound, VerificationFailed, DoesNotFit, EngineDied) as error:
            election.drop_member(member, error)

    def route(self, question: str, *, prefer: float = 1.0) -> Route:
        """Decide who would answer; no language model is loaded, and it does not matter which ones are."""
        _check_text(question)
        return self._route(Inquiry.of(question, Ask(prefer=prefer)), Clock())

    def _route(self, inquiry: Inquiry, clock: Clock, resident: Collection[str] = ()) -> Route:
        ask = inquiry.ask
        if ask.member is not None:
            named = self._member(ask.member)
            if ask.tools is not None:
                self.require_tools(named)
            if not inquiry.suits(named):
                raise BadRequest(
                    f"{named.name} has no way to answer a question for a {inquiry.kind}: ask another member, or "
                    "say with --kind what the answer is"
                )
            return pick_only(ask.member)
        with clock("load"):
            router = self._router.get()
        if router is not None:
            with clock("embed"):
                (vector,) = self._embedder.get().embed([routing_text(inquiry.question, ask.history or ())])

        def ranked(members: Sequence[Member]) -> Route:
            names = [member.name for member in members]
            if router is None:
                return unfitted_route(self.team.name, names)
            with clock("route"):
                return router.route(vector, members=names, prefer=ask.prefer, resident=resident)

        members = self._who_can(inquiry)
        route = ranked(members)
        if any(self._member(each.model).form == "program" for each in route.ranking[:2]):
            try:
                self._require_programs()
            except NoSandbox as error:
                if not (others := [member for member in members if member.form != "program"]):
                    raise
                return ranked(others).noting(f"no program is asked for: {error}")
        return route

    def _load_router(self) -> Router | None:
        if any(member.form == "program" for member in self.team.members):
            threading.Thread(target=self._try_programs).start()  # a process of its own, while the embedder is loaded
        return self._open_router(self._embedder.get())

    def _try_programs(self) -> None:
        with contextlib.suppress(Exception):  # it is raised again where a program is to be asked for
            self._require_programs()

    def _require_programs(self) -> None:
        programs = self._programs.get()
        if programs is None:
            raise NoSandbox("there is nothing to run it in")
        programs.prepare()

    def _who_can(self, inquiry: Inquiry) -> list[Member]:
        """List the members that this question can be put to."""
        takers = None if inquiry.ask.tools is None else self._who_takes_tools()
        members = [
            member
            for member in self.team.members
            if inquiry.suits(member) and (takers is None or member.name in takers)
        ]
        if not members:
            raise BadRequest(
                f"no member of team {self.team.name} can answer a question for a {inquiry.kind}: ask another team, or "
                "say with --kind what the answer is"
            )
        return members

    def require_tools(self, member: Member) -> None:
        """Refuse tools for a member whose model has no place for them.

        Raises:
            BadRequest: with the names of those that do.
            NotFound: its model is not installed.

        """
        if not self._takes_tools(member.model):
            others = ", ".join(self._who_takes_tools())
            raise BadRequest(f"tools have no place in the chat template of {member.name}: ask {others}")

    def _who_takes_tools(self) -> list[str]:
        names = []
        for member in self.team.members:
            with contextlib.suppress(AvengersError):  # it is not installed
                if self._takes_tools(member.model):
                    names.append(member.name)
        if not names:
            raise BadRequest(
                f"tools have no place in the chat template of any installed member of team {self.team.name}: leave "
                "them out, or ask another team"
            )
        return names

    def _member(self, name: str) -> Member:
        """Find a member by its name; a bare model's name is that model without a way of asking."""
        for member in self.team.members:
            if name == member.name:
                return member
        if ":" in name and "/" not in name:
            known = ", ".join(member.name for member in self.team.members)
            raise NotFound(f"team {self.team.name} has no member {name!r}: use one of {known}")
        return Member(name)  # any installed model can be named; the store says if it is not there


def _second_may_vote(ask: Ask, route: Route) -> bool:
    """Return whether there is a second member whose votes are worth counting beside the first one's."""
    if len(route.ranking) < 2:
        return False
    # The user decides; without a table nothing is known, and scores that weigh seconds do not say who is right.
    if ask.switch_below is not None or route.cluster is None or ask.prefer < 1:
        return True
    first, second = route.ranking[:2]
    return second.score >= _CLOSE * first.score


def _check_text(question: str) -> None:
    require_text(question, "the question")
    if not question.strip():
        raise BadRequest("the question is empty: give it as an argument or on standard input")
