"""The catalog: model and team manifests by name, the user's own before those that ship.

Every root folder is laid out alike: `manifests/<model>.toml`, `teams/<team>.toml`, `tables/`, `modes.toml`.
"""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import cast

import msgspec

from avengers_edge._util.files import reading
from avengers_edge._util.toml_files import blaming, convert, parse_toml, read_toml, read_toml_text
from avengers_edge.config import Settings, shipped_dir
from avengers_edge.errors import AvengersError, BadRequest, NotFound
from avengers_edge.library.disk import disk_errors
from avengers_edge.library.manifests import ModelManifest, read_manifest, write_manifest
from avengers_edge.library.names import check_file_name, check_id, check_printable
from avengers_edge.records import AnswerForm, Kind, Member, Mode, SamplingParams, Team

DEFAULT_SAMPLES = 8
DEFAULT_SWITCH_BELOW = 0.8
_STANDARD = SamplingParams()
_WITHOUT_TABLE = "ask one member with `avengers ask --model NAME`"


class _Defaults(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The defaults of a team, which a request can override: table `[defaults]` of its file."""

    samples: int = DEFAULT_SAMPLES
    switch_below: float = DEFAULT_SWITCH_BELOW
    temperature: float = _STANDARD.temperature
    top_p: float = _STANDARD.top_p
    top_k: int = _STANDARD.top_k
    min_p: float = _STANDARD.min_p
    max_tokens: int = _STANDARD.max_tokens
    stop: tuple[str, ...] = ()

    def sampling(self) -> SamplingParams:
        """Return what is said of sampling."""
        return SamplingParams(
            temperature=self.temperature,
            top_p=self.top_p,
            top_k=self.top_k,
            min_p=self.min_p,
            max_tokens=self.max_tokens,
            stop=self.stop,
        )


class _ModeTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A way of asking, `[NAME]` in modes.toml or `[modes.NAME]` in a team's file; see `Mode`."""

    instructions: dict[str, str] = {}
    system: str | None = None
    max_tokens: int | None = None
    answer: str = "text"
    thinking_budget: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None

    def mode(self, name: str) -> Mode:
        """Return the way of asking that is called so."""
        return Mode(
            name=name,
            instructions=MappingProxyType(cast("dict[Kind, str]", self.instructions)),  # Mode refuses unknown kinds
            system=self.system,
            max_tokens=self.max_tokens,
            answer=cast("AnswerForm", self.answer),  # Mode refuses others
            thinking_budget=self.thinking_budget,
            temperature=self.temperature,
            top_p=self.top_p,
            top_k=self.top_k,
            min_p=self.min_p,
        )


class _MemberTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A member of a team, a table of `[[members]]`."""

    model: str
    mode: str | None = None


class _TeamFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A team's file; its modes are read one by one, so that a refusal names the mode."""

    name: str
    description: str
    table: str | None = None
    members: tuple[_MemberTable, ...] = ()
    modes: dict[str, object] = {}
    defaults: _Defaults = _Defaults()


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

        A name with a slash is a place, as `references` reads it, of which a manifest was written when it was pulled.

        Raises:
            NotFound: no manifest has this name; the message suggests near ones.
            BadRequest: the manifest is wrong, or no regular file.

        """
        if "/" in name:
            from avengers_edge.library.references import matches, parse_reference

            place = parse_reference(name)
            known = next((each for each in self.manifests().values() if place and matches(place, each)), None)
            if known is None:
                raise NotFound(f"{name} was not pulled yet: `avengers models pull {name}`")
            return known
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
            return _team(convert(parse_toml(text, path), _TeamFile, path), path, modes)

    def own_team(self, name: str) -> Path:
        """Return where the file of a team of the user's lies or would lie."""
        return self._roots[0] / "teams" / f"{name}.toml"

    def ships(self, team: str) -> bool:
        """Whether a team of this name comes with the product, which the user's own may not take."""
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

    def manifests(self) -> dict[str, ModelManifest]:
        """Read all manifests, by id; one that cannot be read is passed over."""
        found = {}
        for name in self.list_models():
            with contextlib.suppress(AvengersError):
                found[name] = read_manifest(self._find("manifests", name, "model", "avengers models list"))
        return found

    def find_by_sha256(self, sha256: str) -> ModelManifest | None:
        """Return the manifest that pins this very file, or None; a manifest that cannot be read is passed over."""
        return next((each for each in self.manifests().values() if each.sha256 == sha256), None)

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

    def _find(self, folder: str, name: str, what: str, remedy: str) -> Path:
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
        raise NotFound(f"there is no {what} {name!r}: {hint}`{remedy}` shows all")

    def modes(self) -> dict[str, Mode]:
        """Read the ways of asking that teams share, by name.

        Raises:
            BadRequest: a file of them is wrong.

        """
        modes: dict[str, Mode] = {}
        for root in reversed(self._roots):
            path = root / "modes.toml"
            with contextlib.suppress(FileNotFoundError), blaming(path):
                modes |= _modes(read_toml(path, dict[str, object]), path)
        return modes


def _team(file: _TeamFile, path: Path, shared: Mapping[str, Mode]) -> Team:
    modes = dict(shared) | _modes(file.modes, path)
    team = Team(
        name=check_id(file.name),
        description=check_printable(file.description, "its description"),
        members=tuple(Member(check_id(entry.model), _mode_of(entry.mode, modes)) for entry in file.members),
        table=None if file.table is None else check_file_name(file.table),
        samples=file.defaults.samples,
        sampling=file.defaults.sampling(),
        switch_below=file.defaults.switch_below,
    )
    if team.name != path.stem:
        raise BadRequest(f"its name is {team.name!r}, so call the file {team.name}.toml")
    return team


def _mode_of(name: str | None, modes: Mapping[str, Mode]) -> Mode | None:
    if name is None:
        return None
    if name not in modes:
        raise BadRequest(f"mode {name!r} is unknown: use one of {', '.join(sorted(modes)) or 'none, none is defined'}")
    return modes[name]


def _modes(tables: Mapping[str, object], path: Path) -> dict[str, Mode]:
    return {check_id(name): convert(table, _ModeTable, f"{path}, {name}").mode(name) for name, table in tables.items()}
