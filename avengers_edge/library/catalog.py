"""The catalog: model and team manifests by name, the user's own before those that ship.

Every root folder is laid out alike: `manifests/<model>.toml`, `teams/<team>.toml`, `tables/`, `modes.toml`.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import cast

from avengers_edge._util.files import reading
from avengers_edge._util.toml_files import Table, blaming, parse_toml, read_toml, read_toml_text
from avengers_edge.config import Settings, shipped_dir
from avengers_edge.errors import AvengersError, BadRequest, NotFound
from avengers_edge.library.disk import disk_errors
from avengers_edge.library.manifests import (
    ModelManifest,
    check_file_name,
    check_id,
    check_printable,
    read_manifest,
    write_manifest,
)
from avengers_edge.records import AnswerForm, Kind, Member, Mode, SamplingParams, Team

DEFAULT_SAMPLES = 8
DEFAULT_SWITCH_BELOW = 0.8
_WITHOUT_TABLE = "ask one member with `avengers ask --model NAME`"


class Catalog:
    """Finds manifests and teams in one or more folders; the first folder that has a name wins."""

    def __init__(self, *roots: Path) -> None:
        self._roots = roots

    @classmethod
    def of(cls, settings: Settings) -> Catalog:
        """Look in the user's home first, then in what ships with the package."""
        return cls(settings.home, shipped_dir())

    def list_models(self) -> tuple[str, ...]:
        """List the ids of all manifests, sorted; the manifests themselves are not read."""
        return self._names("manifests")

    def list_teams(self) -> tuple[str, ...]:
        """List the names of all teams, sorted; the files themselves are not read."""
        return self._names("teams")

    def load_model(self, name: str) -> ModelManifest:
        """Read the manifest of a model.

        Raises:
            NotFound: no manifest has this name; the message suggests near ones.
            BadRequest: the manifest is wrong, or no regular file.

        """
        return read_manifest(self._find("manifests", name, "model", "avengers models list"))

    def load_team(self, name: str) -> Team:
        """Read a team with the modes its members are asked in.

        Raises:
            NotFound: no team has this name; the message suggests near ones.
            BadRequest: the file is wrong, not a regular one, or names an unknown mode.

        """
        path = self._find("teams", name, "team", "avengers team list")
        return self.parse_team(read_toml_text(path), path)

    def parse_team(self, text: str, path: Path) -> Team:
        """Read the text of a team's file, which lies or will lie at `path`.

        Raises:
            BadRequest: it is wrong or names an unknown mode.

        """
        modes = self.modes()
        with blaming(path):
            return _team(parse_toml(text, path), path.stem, modes)

    def own_team(self, name: str) -> Path:
        """Tell where the file of a team of the user's lies or would lie."""
        return self._roots[0] / "teams" / f"{name}.toml"

    def ships(self, team: str) -> bool:
        """Tell whether a team of this name comes with the product, which the user's own may not take."""
        return any((root / "teams" / f"{team}.toml").is_file() for root in self._roots[1:])

    def find_table(self, team: Team) -> Path:
        """Find the file of a team's centroid table.

        Raises:
            NotFound: the team has no table, or it lies nowhere.

        """
        if team.table is None:
            raise NotFound(f"team {team.name!r} has no centroid table: {_WITHOUT_TABLE}")
        for root in self._roots:
            path = root / "tables" / team.table
            with reading(path):
                if path.is_file():
                    return path
        raise NotFound(f"the centroid table {team.table} of team {team.name!r} is missing: {_WITHOUT_TABLE}")

    def find_by_sha256(self, sha256: str) -> ModelManifest | None:
        """Return the manifest that pins this very file, or None; a manifest that cannot be read is passed over."""
        for name in self.list_models():
            try:
                manifest = self.load_model(name)
            except AvengersError:
                continue
            if manifest.sha256 == sha256:
                return manifest
        return None

    def add_model(self, manifest: ModelManifest) -> Path:
        """Write a manifest into the first root, the user's own."""
        path = self._roots[0] / "manifests" / f"{manifest.id}.toml"
        write_manifest(path, manifest)
        return path

    def forget_model(self, manifest: ModelManifest) -> bool:
        """Delete the manifest if an import wrote it, as its sources tell: paths on this machine and nothing else.

        Returns:
            Whether there was such a manifest in the first root, the user's own.

        Raises:
            AvengersError: the home folder cannot be written.

        """
        home = self._roots[0]
        path = home / "manifests" / f"{manifest.id}.toml"
        with disk_errors(home, f"removing {manifest.id}"):
            if not manifest.imported or not path.is_file():
                return False
            path.unlink(missing_ok=True)
        return True

    def _names(self, folder: str) -> tuple[str, ...]:
        names: set[str] = set()
        for root in self._roots:
            with reading(root / folder):
                names |= {path.stem for path in (root / folder).glob("*.toml") if path.is_file()}
        return tuple(sorted(names))

    def _find(self, folder: str, name: str, what: str, cure: str) -> Path:
        names = self._names(folder)
        if name in names:
            for root in self._roots:
                path = root / folder / f"{name}.toml"
                with reading(path):
                    if path.is_file():
                        return path
        for root in self._roots:
            for path in (root / folder).glob("*.toml"):
                if path.stem == name:
                    raise BadRequest(f"{path} is not a regular file, or leads to none: move it away")
        near = difflib.get_close_matches(name, names, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise NotFound(f"there is no {what} {name!r}: {hint}`{cure}` shows all")

    def modes(self) -> dict[str, Mode]:
        """Read the ways of asking that teams share, by name.

        Raises:
            BadRequest: a file of them is wrong.

        """
        modes: dict[str, Mode] = {}
        for root in reversed(self._roots):
            try:
                table = read_toml(root / "modes.toml")
            except FileNotFoundError:
                continue
            with blaming(root / "modes.toml"):
                modes |= _modes(table)
        return modes


def _team(table: Table, stem: str, shared: Mapping[str, Mode]) -> Team:
    modes = dict(shared) | _modes(table.table("modes"))
    members = []
    for entry in table.tables("members"):
        members.append(Member(check_id(entry.need("model", str)), _mode_of(entry.take("mode", str), modes)))
        entry.done()
    defaults = table.table("defaults")
    samples = defaults.take("samples", int)
    switch_below: float | None = defaults.take("switch_below", int | float)
    sampling = _sampling(defaults)
    file = table.take("table", str)
    team = Team(
        name=check_id(table.need("name", str)),
        description=check_printable(table.need("description", str), "its description"),
        members=tuple(members),
        table=None if file is None else check_file_name(file),
        samples=DEFAULT_SAMPLES if samples is None else samples,
        sampling=sampling,
        switch_below=DEFAULT_SWITCH_BELOW if switch_below is None else float(switch_below),
    )
    table.done()
    if team.name != stem:
        raise BadRequest(f"its name is {team.name!r}, so call the file {team.name}.toml")
    return team


def _sampling(table: Table) -> SamplingParams:
    standard = SamplingParams()

    def number(key: str) -> float:
        value: float | None = table.take(key, int | float)
        return float(getattr(standard, key)) if value is None else float(value)

    def whole(key: str) -> int:
        value = table.take(key, int)
        return int(getattr(standard, key)) if value is None else value

    sampling = SamplingParams(
        temperature=number("temperature"),
        top_p=number("top_p"),
        top_k=whole("top_k"),
        min_p=number("min_p"),
        max_tokens=whole("max_tokens"),
        stop=table.list_of("stop", str),
    )
    table.done()
    return sampling


def _mode_of(name: str | None, modes: Mapping[str, Mode]) -> Mode | None:
    if name is None:
        return None
    if name not in modes:
        raise BadRequest(f"mode {name!r} is unknown: use one of {', '.join(sorted(modes)) or 'none, none is defined'}")
    return modes[name]


def _modes(table: Table) -> dict[str, Mode]:
    modes = {}
    for name in table.keys():  # noqa: SIM118 - a Table is not a dict
        mode = table.table(name)
        wording = mode.table("instructions")
        instructions = {kind: wording.need(kind, str) for kind in wording.keys()}  # noqa: SIM118
        modes[check_id(name)] = Mode(
            name=name,
            instructions=MappingProxyType(cast("dict[Kind, str]", instructions)),  # Mode refuses unknown kinds
            system=mode.take("system", str),
            max_tokens=mode.take("max_tokens", int),
            thinking_budget=mode.take("thinking_budget", int),
            temperature=mode.take("temperature", int | float),
            top_p=mode.take("top_p", int | float),
            top_k=mode.take("top_k", int),
            min_p=mode.take("min_p", int | float),
            answer=cast("AnswerForm", mode.take("answer", str) or "text"),  # Mode refuses others
        )
        mode.done()
    return modes
