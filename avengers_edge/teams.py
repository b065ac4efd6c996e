"""Teams of the user's own: made, changed, chosen, deleted. Each is checked as a whole before a byte is written."""

from __future__ import annotations

import contextlib
import itertools
import re
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path

from avengers_edge._util.files import reading, write_whole
from avengers_edge._util.text import counted
from avengers_edge._util.toml_files import quoted, read_toml_text
from avengers_edge.config import Settings
from avengers_edge.errors import BadRequest, NotFound
from avengers_edge.library.catalog import Catalog
from avengers_edge.library.disk import disk_errors
from avengers_edge.library.names import check_id
from avengers_edge.opening import open_shipped_embedder
from avengers_edge.records import Member, Team
from avengers_edge.routing.table import CentroidTable

_TEAM_KEY = re.compile(r"^\s*team\s*=")
_TABLE_HEAD = re.compile(r"^\s*\[")


class Teams:
    """The teams of a home folder, and what changes them."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._catalog = Catalog.of(settings)

    def check_name(self, name: str) -> str:
        """Return a name that a new team can have.

        Raises:
            BadRequest: it is no plain name, ships with the product, or is taken.

        """
        check_id(name)
        if self._catalog.ships(name):
            raise BadRequest(f"team {name!r} ships with the product: choose another name for yours")
        if self._catalog.own_team(name).exists():
            raise BadRequest(f"there is a team {name!r}: change it with `avengers team add`, or choose another name")
        return name

    def check_own(self, name: str) -> Path:
        """Return the file of a team of the user's.

        Raises:
            NotFound: there is no such team.
            BadRequest: it ships.

        """
        path = self._catalog.own_team(name)
        if not path.exists():
            self._catalog.load_team(name)  # says that there is none
            raise BadRequest(f"team {name!r} ships with the product and stays as it is: make one with another name")
        return path

    def members(self, names: Sequence[str]) -> tuple[Member, ...]:
        """Make members of what users write, `model` or `model:mode`.

        Raises:
            NotFound: no manifest has the model, or there is no such mode.
            BadRequest: one is named twice.

        """
        modes = self._catalog.modes()
        found = []
        for name in names:
            model, colon, mode = (name, "", "") if "/" in name else name.partition(":")
            model = self._catalog.load_model(model).id
            if colon and mode not in modes:
                raise NotFound(f"there is no way of asking {mode!r} for {model}: use one of {', '.join(sorted(modes))}")
            found.append(Member(model, modes[mode] if colon else None))
        if len({member.name for member in found}) < len(found):
            raise BadRequest("a member is named twice: name each once")
        return tuple(found)

    def find_table(self, said: str) -> Path:
        """Find a table by its file, or by the team that has it.

        Raises:
            NotFound: it is neither.

        """
        path = Path(said)
        with reading(path):
            if path.is_file():
                return path
        if said in self._catalog.list_teams():
            return self._catalog.find_table(self._catalog.load_team(said))
        raise NotFound(f"there is no table {said}: name a file that `avengers calibrate fit` wrote, or a team")

    def outcomes_of(self, name: str) -> Path:
        """Return where the answers lie, or would lie, that a team of the user's was calibrated by."""
        return self._settings.home / "outcomes" / f"{name}.jsonl"

    def create(
        self,
        name: str,
        members: Sequence[Member],
        *,
        description: str | None = None,
        table: Path | None = None,
        samples: int | None = None,
    ) -> Team:
        """Make a team; its table is copied.

        Raises:
            BadRequest: a name that cannot be had, no member, or a table without a column for one of them.
            VerificationFailed: the table is damaged or of another embedder.
            AvengersError: the home folder cannot be written.

        """
        self.check_name(name)
        if not members:
            raise BadRequest("a team needs a member: name one with --member")
        words = description or f"{counted(len(members), 'member')}, chosen on this machine"
        text = new_text(name, words, members, f"{name}.safetensors" if table else None, samples)
        return self._save(name, text, members, table)

    def add(
        self, name: str, members: Sequence[Member], *, table: Path | None = None, without_table: bool = False
    ) -> Team:
        """Add members to a team of the user's, give it another table, or take its table away.

        Raises:
            NotFound: there is no such team.
            BadRequest: it ships, a member is in it already, or its table has no column for one.
            VerificationFailed: the table is damaged or of another embedder.
            AvengersError: the home folder cannot be written.

        """
        team, text = self._own(name)
        if taken := [member.name for member in members if team.member(member.name)]:
            raise BadRequest(f"{taken[0]} is a member of {name} already: leave it out")
        if members:
            text = with_members(text, members)
        if table is not None or without_table:
            text = with_table(text, f"{name}.safetensors" if table else None)
        elif team.table is not None:
            table = self._catalog.find_table(team)
        return self._save(name, text, (*team.members, *members), table)

    def drop(self, name: str, members: Sequence[str]) -> Team:
        """Take members out of a team of the user's.

        Raises:
            NotFound: there is no such team, or it has no such member.
            BadRequest: it ships, or no member would be left.
            AvengersError: the home folder cannot be written.

        """
        team, text = self._own(name)
        if missing := [member for member in members if team.member(member) is None]:
            known = ", ".join(member.name for member in team.members)
            raise NotFound(f"team {name} has no member {missing[0]!r}: use one of {known}")
        left = tuple(member for member in team.members if member.name not in members)
        if not left:
            raise BadRequest(f"no member would be left in {name}: delete the team with `avengers team remove {name}`")
        return self._save(name, without_members(text, members), left, None)

    def delete(self, name: str) -> None:
        """Delete a team of the user's, the table that was copied for it, and the answers that it was calibrated by.

        Raises:
            NotFound: there is no such team.
            BadRequest: it ships, or is the usual one.
            AvengersError: the home folder cannot be written.

        """
        path = self.check_own(name)
        if self._settings.team == name:
            raise BadRequest(f"team {name} is the usual one: choose another with `avengers team use` first")
        with disk_errors(self._settings.home, f"deleting team {name}"):
            path.unlink(missing_ok=True)
            self._table_of(name).unlink(missing_ok=True)
            self.outcomes_of(name).unlink(missing_ok=True)

    def use(self, name: str) -> Team:
        """Make a team the usual one, in the settings file; all else in it stays as it is.

        Raises:
            NotFound: there is no such team.
            BadRequest: the settings file is written in an unusual way.
            AvengersError: it cannot be written.

        """
        team = self._catalog.load_team(name)
        path = self._settings.home / "settings.toml"
        try:
            text = read_toml_text(path)
        except FileNotFoundError:
            text = ""
        changed, wanted = with_usual_team(text, name), tomllib.loads(text) | {"team": name}
        try:
            understood = tomllib.loads(changed) == wanted
        except ValueError:
            understood = False
        if not understood:
            raise BadRequest(f'{path} is written in an unusual way: write team = "{name}" into it by hand')
        with disk_errors(self._settings.home, f"choosing team {name}"):
            write_whole(path, changed.encode())
        return team

    def _own(self, name: str) -> tuple[Team, str]:
        path = self.check_own(name)
        return self._catalog.load_team(name), read_toml_text(path)

    def _table_of(self, name: str) -> Path:
        return self._settings.home / "tables" / f"{name}.safetensors"

    def _save(self, name: str, text: str, members: Sequence[Member], table: Path | None) -> Team:
        """Check a team's new text and its table, then write both."""
        path = self._catalog.own_team(name)
        try:
            team = self._catalog.parse_team(text, path)
        except BadRequest as error:
            raise BadRequest(f"{error}; if the file is written in an unusual way, change it by hand") from error
        if team.members != tuple(members):
            raise BadRequest(f"{path} is written in an unusual way: change it by hand")
        target = self._table_of(name)
        content = None
        if table is not None:
            self._check_table(table, team)
            with reading(table):
                content = None if target.exists() and target.samefile(table) else table.read_bytes()
        with disk_errors(self._settings.home, f"writing team {name}"):
            if content is not None and team.table == target.name:
                write_whole(target, content)
            write_whole(path, text.encode())
            if team.table is None:
                target.unlink(missing_ok=True)
        return team

    def _check_table(self, path: Path, team: Team) -> None:
        with contextlib.closing(open_shipped_embedder(self._settings)) as embedder:
            table = CentroidTable.load(path, fingerprint=embedder.fingerprint, dimension=embedder.dimension)
        columns = table.header.members
        if lacking := [member.name for member in team.members if member.name not in columns]:
            raise BadRequest(
                f"the table {path.name} has no column for {lacking[0]}, it has {', '.join(columns)}: measure and fit "
                "that member with `avengers calibrate measure`, or leave the table out"
            )


def with_usual_team(text: str, name: str) -> str:
    """Set `team` in the text of a settings file."""
    lines = text.split("\n")
    head = next((place for place, line in enumerate(lines) if _TABLE_HEAD.match(line)), len(lines))
    line = f'team = "{name}"'
    for place, old in enumerate(lines[:head]):
        if _TEAM_KEY.match(old):
            return "\n".join([*lines[:place], line, *lines[place + 1 :]])
    return "\n".join([line, *lines]) if text.strip() else f"{line}\n"


_TABLE = re.compile(r"^\s*\[")
_KEY = re.compile(r"^\s*table\s*=")
_MEMBERS = re.compile(r"^\s*\[\[\s*members\s*\]\]\s*(?:#.*)?$")


def new_text(name: str, description: str, members: Sequence[Member], table: str | None, samples: int | None) -> str:
    """Write a new team."""
    lines = [f"name = {quoted(name)}", f"description = {quoted(description)}"]
    if table is not None:
        lines.append(f"table = {quoted(table)}")
    if samples is not None:
        lines += ["", "[defaults]", f"samples = {samples}"]
    return with_members("\n".join(lines) + "\n", members)


def with_members(text: str, members: Sequence[Member]) -> str:
    """Add members at the end."""
    lines = [text.rstrip("\n")]
    for member in members:
        lines += ["", "[[members]]", f"model = {quoted(member.model)}"]
        if member.mode is not None:
            lines.append(f"mode = {quoted(member.mode.name)}")
    return "\n".join(lines) + "\n"


def without_members(text: str, names: Sequence[str]) -> str:
    """Leave out members by their names."""
    lines = text.split("\n")
    for start, end in reversed(list(_blocks(lines))):
        if _name_of("\n".join(lines[start:end])) in names:
            del lines[start:end]
    return "\n".join(lines).rstrip("\n") + "\n"


def with_table(text: str, table: str | None) -> str:
    """Name another table, or none."""
    lines = text.split("\n")
    head = next((place for place, line in enumerate(lines) if _TABLE.match(line)), len(lines))
    kept = [line for line in lines[:head] if not _KEY.match(line)]
    if table is not None:
        last = max((place for place, line in enumerate(kept) if line.strip()), default=-1)
        kept.insert(last + 1, f"table = {quoted(table)}")
    return "\n".join([*kept, *lines[head:]])


def _blocks(lines: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Find the lines of each member: from its head up to the next head."""
    heads = [place for place, line in enumerate(lines) if _TABLE.match(line)]
    for start, end in itertools.pairwise([*heads, len(lines)]):
        if _MEMBERS.match(lines[start]):
            yield start, end


def _name_of(block: str) -> str:
    try:
        (entry,) = tomllib.loads(block)["members"]
        mode = entry.get("mode")
        return str(entry["model"]) if mode is None else f"{entry['model']}:{mode}"
    except (ValueError, KeyError, TypeError) as error:
        raise BadRequest(f"a member is written in an unusual way ({error}): change the file by hand") from error
