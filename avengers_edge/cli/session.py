"""What the global options say, handed from the group to its commands."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import click

from avengers_edge.config import Settings, load_settings


@dataclass(frozen=True, slots=True)
class Session:
    """The global options of one call. Settings are read by the commands that need them."""

    home: Path | None = None
    offline: bool = False

    def settings(self) -> Settings:
        """Combine the global options with the environment and the settings file."""
        return load_settings(self.home, offline=True if self.offline else None)


pass_session = click.make_pass_decorator(Session)
