"""Teams and models by the names that clients use, all over one set of loaded models."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager

from avengers_edge.config import Settings
from avengers_edge.errors import AvengersError, NotFound
from avengers_edge.library.catalog import Catalog
from avengers_edge.library.store import Installed, Store
from avengers_edge.opening import open_model_pool, open_sentence_embedder
from avengers_edge.records import Closing, Engine, Lazy, Member
from avengers_edge.routing.embedder import OnnxEmbedder
from avengers_edge.routing.features import FeatureEmbedder
from avengers_edge.runtime import Avengers
from avengers_edge.server.problems import Problem

ROUTED_NAME = "avengers"
"""The model name that is routed and voted by the default team; `avengers/<team>` is by another one."""


@dataclasses.dataclass(frozen=True, slots=True)
class ResolvedModel:
    """What a model name means: a team, or one member without routing."""

    avengers: Avengers
    member: Member | None = None


class ModelRegistry(Closing):
    """The teams and models that are served; calls from several threads are safe.

    `default` is the team that is meant by `avengers`; `open_team` makes one of the `teams` ready, over the same loaded
    models. `installed` has the models' files, `lease` lends a model's engine, `resident` lists the loaded models.
    """

    def __init__(
        self,
        default: Avengers,
        *,
        teams: Callable[[], Sequence[str]],
        open_team: Callable[[str], Avengers],
        installed: Callable[[], Mapping[str, Installed]],
        lease: Callable[[str], AbstractContextManager[Engine]],
        resident: Callable[[], Collection[str]],
        vectors: Callable[[], OnnxEmbedder],
        close: Callable[[], None],
    ) -> None:
        self.default, self.installed, self.lease, self.resident = default, installed, lease, resident
        self._teams, self._open_team, self._vectors, self._close = teams, open_team, vectors, close
        self._opened: dict[str, Avengers] = {default.team.name: default}
        self._lock = threading.Lock()

    @classmethod
    def open(cls, settings: Settings, team: str | None = None) -> ModelRegistry:
        """Open what the settings' home folder has."""
        store, pool = Store(settings.home), open_model_pool(settings)
        shared = Lazy(lambda: open_sentence_embedder(settings))

        def open_team(name: str) -> Avengers:
            return Avengers.open(settings, name, model_pool=pool, open_embedder=lambda: FeatureEmbedder(shared.get()))

        return cls(
            open_team(team or settings.team),
            teams=Catalog.of(settings).list_teams,
            open_team=open_team,
            installed=lambda: {each.model: each for each in store.installed()},
            lease=pool.lease,
            resident=lambda: pool.resident,
            vectors=shared.get,
            close=pool.close,
        )

    @property
    def vectors(self) -> OnnxEmbedder:
        """The sentence embedder, opened at its first use."""
        return self._vectors()

    def resolve(self, model: str, team: str | None = None, team_field: str = "avengers.team") -> ResolvedModel:
        """Find what a model name means, with the team that is named beside it in `team_field`.

        A bare model is that model without a way of asking, also where the team has members of it.
        """
        routed, _, named = model.partition("/")
        if routed == ROUTED_NAME and (named or model == ROUTED_NAME):
            if named and team and named != team:
                raise Problem(400, f"model names team {named} and {team_field} {team}: name one", team_field)
            try:
                return ResolvedModel(self._open(named or team or self.default.team.name))
            except NotFound as error:
                if named or not team:
                    raise self._unknown(model) from error
                complaint = f"there is no team {team[:80]!r}: use one of {', '.join(self._teams())}"
                raise Problem(404, complaint, team_field, "team_not_found") from error
        if team:
            raise Problem(400, f"{team_field} goes with model {ROUTED_NAME}, not with {model}", team_field)
        if found := self.default.team.member(model):
            return ResolvedModel(self.default, found)
        if model in self.installed() or model in self.default.team.models:
            return ResolvedModel(self.default, Member(model))
        raise self._unknown(model)

    def names(self) -> list[str]:
        """List the model names that can be asked now: teams whose models are all installed, members, other models."""
        installed = set(self.installed())
        voted = [ROUTED_NAME] if installed.issuperset(self.default.team.models) else []
        for name in self._teams():
            with contextlib.suppress(AvengersError):
                if installed.issuperset(self._open(name).team.models):
                    voted.append(f"{ROUTED_NAME}/{name}")
        members = [member.name for member in self.default.team.members if member.model in installed]
        return list(dict.fromkeys([*voted, *members, *sorted(installed)]))

    def missing(self) -> list[str]:
        """List the models of the default team that are not installed."""
        return sorted(set(self.default.team.models).difference(self.installed()))

    def close(self) -> None:
        """Free the loaded models; what is under way ends with an error."""
        self._close()

    def _open(self, name: str) -> Avengers:
        with self._lock:
            if name not in self._opened:
                if name not in self._teams():
                    raise NotFound(f"there is no team {name!r}")
                self._opened[name] = self._open_team(name)
            return self._opened[name]

    def _unknown(self, model: str) -> Problem:
        known = ", ".join(self.names())
        team = self.default.team.name
        remedy = f"use one of {known}" if known else f"none is installed, `avengers setup {team}` does that"
        return Problem(404, f"there is no model {model[:80]!r}: {remedy}", "model", "model_not_found")
