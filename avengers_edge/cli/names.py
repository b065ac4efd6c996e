"""Names for the shell to complete: models, members, teams. Nothing heavy is loaded, nothing is complained of."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import click

from avengers_edge.cli.session import Session

if TYPE_CHECKING:
    from avengers_edge.config import Settings
    from avengers_edge.library.catalog import Catalog

Complete = Callable[[click.Context, click.Parameter, str], list[str]]
"""What click asks for the words that can follow an incomplete one."""


def _completing(names: Callable[[click.Context, Settings, Catalog], Iterable[str]]) -> Complete:
    def complete(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
        from avengers_edge.library.catalog import Catalog

        try:
            # Completing runs no command, so there is no session yet; click has read the options before this word.
            settings = Session(context.find_root().params.get("home")).settings()
            found = sorted(set(names(context, settings, Catalog.of(settings))))
        except Exception:  # a shell shows whatever is said in the middle of the user's line
            return []
        return [name for name in found if name.startswith(incomplete)]

    return complete


def _models(_context: click.Context, _settings: Settings, catalog: Catalog) -> Iterable[str]:
    return catalog.list_models()


def _installed(_context: click.Context, settings: Settings, _catalog: Catalog) -> Iterable[str]:
    return (folder.name for folder in (settings.home / "models").iterdir() if folder.is_dir())


def _teams(_context: click.Context, _settings: Settings, catalog: Catalog) -> Iterable[str]:
    return catalog.list_teams()


def _members(context: click.Context, settings: Settings, catalog: Catalog) -> Iterable[str]:
    team = catalog.load_team(context.params.get("team") or settings.team)
    return [*(member.name for member in team.members), *catalog.list_models()]


def _any_members(_context: click.Context, _settings: Settings, catalog: Catalog) -> Iterable[str]:
    return (f"{model}:{mode}" for model in catalog.list_models() for mode in catalog.modes())


complete_models = _completing(_models)
"""All models that a manifest describes."""
complete_installed = _completing(_installed)
"""Models that have a folder in the store."""
complete_teams = _completing(_teams)
"""All teams."""
complete_members = _completing(_members)
"""The members of the team that the command names, or the usual one, and all models."""
complete_any_member = _completing(_any_members)
"""All models in all ways of asking."""

team_option = click.option("--team", shell_complete=complete_teams, help="The team that answers.")
