"""The main path: embed, route, sample, vote."""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager

from avengers_edge.clock import Clock
from avengers_edge.config import Settings
from avengers_edge.election import Election, OnProgress
from avengers_edge.engine.residency import Residency
from avengers_edge.errors import AvengersError, BadRequest, DoesNotFit, EngineDied, NotFound, VerificationFailed
from avengers_edge.library.catalog import Catalog
from avengers_edge.opening import open_residency, open_router, open_shipped_embedder, takes_tools
from avengers_edge.records import (
    Answer,
    Ask,
    Closing,
    Embedder,
    Engine,
    Member,
    Once,
    OnToken,
    Route,
    Team,
)
from avengers_edge.records.basics import require, require_text
from avengers_edge.routing.router import Router, pick_only, unfitted_route
from avengers_edge.routing.topic import topic
from avengers_edge.sandbox.judge import SandboxJudge
from avengers_edge.voting.behaviour import Judge

_CLOSE = 0.5
"""A member that is expected to be right less than half as often as another one rather outvotes it than helps it."""

OnRoute = Callable[[Route], None]
"""Hears who is asked, and why."""

OnLoad = Callable[[str], None]
"""Hears of a model that has to be loaded before it can be asked."""


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
        judge: runs code that the members wrote; without one it is compared by its text.
        takes_tools: tells of a model whether its chat template has a place for tools.
        stop_loading: gives up what `lease` is loading, so that closing need not wait for it.

    """

    def __init__(
        self,
        team: Team,
        open_embedder: Callable[[], Embedder],
        open_router: Callable[[Embedder], Router | None],
        lease: Callable[[str], AbstractContextManager[Engine]],
        close: Callable[[], None] = lambda: None,
        resident: Callable[[], Collection[str]] = tuple,
        judge: Judge | None = None,
        takes_tools: Callable[[str], bool] = lambda _model: True,
        stop_loading: Callable[[], None] = lambda: None,
    ) -> None:
        self.stop_loading = stop_loading
        self.team, self._judge, self._takes_tools = team, judge, takes_tools
        self._embedder = Once(open_embedder)
        self._router = Once(lambda: open_router(self._embedder.get()))
        self._lease, self._close, self._resident = lease, close, resident

    @classmethod
    def open(
        cls,
        settings: Settings,
        team: str | None = None,
        *,
        residency: Residency | None = None,
        open_embedder: Callable[[], Embedder] | None = None,
    ) -> Avengers:
        """Make a team of the settings' home folder ready to be asked.

        Several teams can share loaded models, which whoever made `residency` then closes, and an embedder.

        Raises:
            NotFound: no such team.

        """
        catalog = Catalog.of(settings)
        chosen = catalog.load_team(team or settings.team)
        loaded = residency or open_residency(settings)
        return cls(
            chosen,
            open_embedder or (lambda: open_shipped_embedder(settings)),
            functools.partial(open_router, catalog, chosen),
            loaded.lease,
            (lambda: None) if residency else loaded.close,
            lambda: loaded.resident,
            SandboxJudge(),
            functools.cache(functools.partial(takes_tools, settings)),
            (lambda: None) if residency else loaded.stop_loading,
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

    def answer(
        self,
        question: str,
        ask: Ask | None = None,
        *,
        member: Member | None = None,
        on_route: OnRoute | None = None,
        on_load: OnLoad | None = None,
        on_progress: OnProgress | None = None,
        on_token: OnToken | None = None,
        cancel: threading.Event | None = None,
    ) -> Answer:
        """Answer a question: embed, route, sample, vote.

        Where the samples of the member in front disagree, the second-ranked member is sampled too and both vote, unless
        it is far behind and the user has not asked for it. Where it cannot be sampled, the first one's vote stands, and
        the route's `fallback` says so.

        `member` is who `ask.member` names, where somebody else than this team's own rule has decided that.

        Raises:
            BadRequest: an empty question or a value that cannot be used.
            NotFound: the member, its model or the team's table is not there.
            VerificationFailed: a file is damaged, or table and embedder do not belong together.
            DoesNotFit: the prompt is longer than the model's context.
            EngineDied: llama.cpp failed.
            NoSandbox: there are tests, and code cannot be run here.
            Cancelled: `cancel` was set before a sample began; later, what there is makes the answer.

        """
        require(isinstance(ask, Ask | None), f"ask is {ask!r:.40}: use an Ask")
        ask, clock = ask or Ask(), Clock()
        route = self._route(question, ask, clock, self._resident())
        if on_route:
            on_route(route)
        election = Election(
            question,
            ask,
            self.team,
            can_switch=_second_may_vote(ask, route),
            worth=route.samples,
            on_progress=on_progress,
            on_token=on_token,
            cancel=cancel,
            judge=self._judge,
        )
        for ranked in route.ranking[:2]:
            chosen = member or self._member(ranked.model)
            request = election.request_for(chosen)
            try:
                with contextlib.ExitStack() as lent:
                    with clock("load"):
                        engine = lent.enter_context(self._lend(chosen.model, on_load))
                    election.sample(engine, chosen, request)
            except (NotFound, VerificationFailed, DoesNotFit, EngineDied) as error:
                route = election.go_without(chosen, error, route)
                break
            election.judge()
            if not election.switch():
                break
        return election.answer(route, clock, lambda texts: self._embedder.get().embed(texts))

    def route(self, question: str, *, prefer: float = 1.0) -> Route:
        """Decide who would answer; no language model is loaded, and it does not matter which ones are."""
        return self._route(question, Ask(prefer=prefer), Clock())

    def _route(self, question: str, ask: Ask, clock: Clock, resident: Collection[str] = ()) -> Route:
        _check_text(question)
        if ask.member is not None:
            if ask.tools is not None:
                self.require_tools(self._member(ask.member))
            return pick_only(ask.member)
        names = [member.name for member in self.team.members] if ask.tools is None else self._who_takes_tools()
        with clock("load"):
            router = self._router.get()
        if router is None:
            return unfitted_route(self.team.name, names)
        with clock("embed"):
            (vector,) = self._embedder.get().embed([topic(question, ask.history or ())])
        with clock("route"):
            return router.route(vector, members=names, prefer=ask.prefer, resident=resident)

    def _lend(self, model: str, on_load: OnLoad | None) -> AbstractContextManager[Engine]:
        """Lend a model's engine, and say so first where it has to be loaded."""
        if on_load and model not in self._resident():
            on_load(model)
        return self._lease(model)

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
        """Find a member by its name; a bare model of the team is asked as its first member of that model is."""
        for member in self.team.members:
            if name in (member.name, member.model):
                return member
        if ":" in name:
            known = ", ".join(member.name for member in self.team.members)
            raise NotFound(f"team {self.team.name} has no member {name!r}: use one of {known}")
        return Member(name)  # any installed model can be named; the store says if it is not there


def _second_may_vote(ask: Ask, route: Route) -> bool:
    """Tell whether there is a second member whose votes are worth counting beside the first one's."""
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
