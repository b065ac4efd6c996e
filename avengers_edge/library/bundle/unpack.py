"""Unpack: from an archive to files in a home folder, none of them in its place before all of them verified."""

from __future__ import annotations

import contextlib
import glob
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from avengers_edge.config import shipped_dir
from avengers_edge.errors import BadRequest, VerificationFailed
from avengers_edge.files import exclusive, write_whole
from avengers_edge.library.bundle.archive import Archive, Entry, Front, Problem, open_archive
from avengers_edge.library.bundle.layout import front_places, manifest_place, place_of
from avengers_edge.library.bundle.manifest import BundleFile
from avengers_edge.library.bundle.usable import check_usable, is_mended, record_models
from avengers_edge.library.catalog import Catalog
from avengers_edge.library.files import disk_errors, move, require_room, sha256_of
from avengers_edge.library.receipts import receipt_path
from avengers_edge.library.store import Store
from avengers_edge.library.transfer import OnProgress, PullProgress

_SHADOWING = frozenset({"manifest", "table", "team"})
"""Roles of files that hide one of the same name that ships with the product."""


@dataclass(frozen=True, slots=True)
class Unpacked:
    """A bundle that is in place: how many files and bytes it has there, and how many of them were there before."""

    name: str
    team: str
    files: int
    bytes: int
    already: int


@dataclass(frozen=True, slots=True)
class _Place:
    """A promised file and where it will lie; `stage` is where it waits for the others."""

    file: BundleFile
    path: Path
    stage: Path

    def is_right(self, heard: Callable[[int], None]) -> bool:
        """Tell whether the right bytes are in place, by hashing them: no size, time or receipt sees a rotten disk."""
        return self._holds(self.path, heard)

    def belongs_to(self, models: set[str]) -> bool:
        """Tell whether it is a file of one of these models."""
        return self.file.role == "model" and self.file.model in models

    def is_staged(self, heard: Callable[[int], None]) -> bool:
        """Tell whether an earlier run left the right bytes in the stage; others, and unreadable ones, are deleted."""
        try:
            right = self._holds(self.stage, heard)
        except OSError:
            right = False
        if not right:
            self.stage.unlink(missing_ok=True)
        return right

    def _holds(self, path: Path, heard: Callable[[int], None]) -> bool:
        return path.is_file() and path.stat().st_size == self.file.bytes and sha256_of(path, heard) == self.file.sha256


@dataclass(slots=True)
class _Checked:
    """Tells of the bytes that are hashed where they lie, added up over the files."""

    name: str
    progress: OnProgress
    before: int = 0

    def tells(self, check: Callable[[Callable[[int], None]], bool]) -> bool:
        """Run one file's check."""
        done = self.before

        def heard(hashed: int) -> None:
            self.before = done + hashed
            self.progress(PullProgress(self.name, self.before, None, "checking what is there,"))

        return check(heard)


def unpack(
    path: Path, store: Store, *, key: bytes | None = None, replace: bool = False, progress: OnProgress = lambda _: None
) -> Unpacked:
    """Put the files of a bundle in place. Whatever ends it early, the next run goes on where it was.

    Each file is hashed by this run: as it is read from the archive, or where it lies already, in place or waiting.
    A damaged file is replaced: one that is bad, and that its receipt says was once the bundle's.
    `key` is a public key that must have signed it. Without `replace`, different files of the same name are refused.

    Raises:
        NotFound: there is no such archive.
        VerificationFailed: it is damaged, lies about itself, or lacks the signature.
        BadRequest: a different file of the same name is there.
        DoesNotFit: the disk has no room.
        AvengersError: the home folder cannot be written, or another process is unpacking.

    """
    home = store.home
    with open_archive(path) as archive:
        front = archive.front
        if key is not None:
            front.require_signature(key, str(path))
        archive.require_whole()
        manifest = front.manifest
        stage = home / "partial" / "_bundle" / front.digest[:16]  # no id begins like that
        places = [
            _Place(file, home / place, stage / file.path)
            for file in manifest.files
            if (place := place_of(manifest.name, file)) is not None
        ]
        purpose = f"unpacking {path.name}"
        busy = f"another process is unpacking into {home}: wait for it to end"
        with disk_errors(home, purpose, manifest.bytes), exclusive(stage.parent.with_suffix(".lock"), busy):
            checked = _Checked(manifest.name, progress)
            missing = [place for place in places if not checked.tells(place.is_right)]
            if not replace:
                _refuse_different(missing, home / manifest_place(manifest.name), front.spelled)
            # The parts of a model wait together, for its header is read from all of them.
            lacking = {place.file.model for place in missing if place.file.role == "model"}
            missing = [place for place in places if place in missing or place.belongs_to(lacking)]
            waiting = [place for place in missing if checked.tells(place.is_staged)]
            todo = {place.file.path: place for place in missing if place not in waiting}
            need = sum(place.file.bytes for place in todo.values())
            stage.mkdir(parents=True, exist_ok=True)
            require_room(stage, need, purpose)
            _require_room_elsewhere(missing, home, stage, purpose)
            staged = (lambda _: None) if replace else _refuse_other_modes
            for each in waiting:
                staged(each)
            _stage(archive, todo, need, progress, staged)
            apart = {place.path for place in missing}
            models = {
                place.file.path: (place.stage if place.path in apart else place.path)
                for place in places
                if place.file.role == "model"
            }
            try:
                check_usable(manifest, models, roots=(stage, home, shipped_dir()))
            except VerificationFailed:
                shutil.rmtree(stage, ignore_errors=True)  # what cannot be used is not kept for a next run
                raise
            _put_in_place(missing, front, store)
            _sweep(home, places, front)
            shutil.rmtree(stage)
            with contextlib.suppress(OSError):  # another bundle may wait there
                stage.parent.rmdir()
    already = len(places) - len(missing)
    return Unpacked(manifest.name, manifest.team, len(places), sum(place.file.bytes for place in places), already)


def _require_room_elsewhere(missing: list[_Place], home: Path, stage: Path, purpose: str) -> None:
    """Check the disk of the models too, where that is another one than the stage's."""
    models = home / "models"
    if models.is_dir() and models.stat().st_dev != stage.stat().st_dev:
        need = sum(place.file.bytes for place in missing if place.file.role == "model")
        require_room(models.resolve(), need, f"{purpose} into {models}")


def _refuse_different(missing: list[_Place], manifest_path: Path, spelled: bytes) -> None:
    different = []
    if manifest_path.is_file() and manifest_path.read_bytes() != spelled:
        different.append(manifest_path)
    for place in missing:
        if place.path.exists() and not is_mended(place.path, place.file):
            different.append(place.path)
        shipped = shipped_dir() / place.file.path
        if place.file.role in _SHADOWING and shipped.is_file() and sha256_of(shipped) != place.file.sha256:
            different.append(shipped)
    if different:
        names = ", ".join(map(str, different))
        raise BadRequest(f"the bundle has other files than those that are here: {names}; --replace uses the bundle's")


def _refuse_other_modes(place: _Place) -> None:
    """Refuse ways of asking, once they are staged, that would change those that ship: they are every team's."""
    if place.file.role != "modes":
        return
    try:
        theirs = Catalog(place.stage.parent).modes()
    except BadRequest as error:
        raise VerificationFailed(f"the ways of asking in the bundle cannot be used here: {error}") from error
    ours = Catalog(shipped_dir()).modes()
    if changed := [name for name, mode in theirs.items() if ours.get(name, mode) != mode]:
        raise BadRequest(
            f"the bundle's modes.toml changes ways of asking that ship, for all teams: {', '.join(changed)}; --replace "
            "uses the bundle's"
        )


def _stage(
    archive: Archive, todo: dict[str, _Place], need: int, progress: OnProgress, staged: Callable[[_Place], None]
) -> None:
    name, done = archive.front.manifest.name, 0

    def refuse(problem: Problem) -> None:
        raise VerificationFailed(f"nothing was put in place, for {problem}")

    def write(entry: Entry, stage: Path) -> None:
        nonlocal done
        stage.parent.mkdir(parents=True, exist_ok=True)
        part = stage.with_name(stage.name + ".part")
        with part.open("wb") as file:

            def take(data: bytes) -> None:
                nonlocal done
                file.write(data)
                done += len(data)
                progress(PullProgress(name, done, need, "unpacking"))

            problem = entry.copy(take)
            file.flush()
            os.fsync(file.fileno())
        if problem:
            part.unlink()
            refuse(problem)
        part.replace(stage)

    for entry in archive.read_files(refuse) if todo else ():
        if place := todo.get(entry.file.path):
            write(entry, place.stage)
            staged(place)
        # What is not kept in a home is no reason to trust a damaged archive.
        elif place_of(name, entry.file) is None and (problem := entry.copy(lambda _: None)):
            refuse(problem)


def _put_in_place(missing: list[_Place], front: Front, store: Store) -> None:
    with contextlib.ExitStack() as locks:
        for model in {file.model for file in front.manifest.files if file.role == "model"}:
            locks.enter_context(store.lock(model))
        for place in missing:
            place.path.parent.mkdir(parents=True, exist_ok=True)
            move(place.stage, place.path, place.file.sha256)
        record_models(front.manifest, Catalog(store.home, shipped_dir()), store)
    for name, data in front_places(front):
        write_whole(store.home / name, data)


def _sweep(home: Path, places: list[_Place], front: Front) -> None:
    """Delete what an earlier bundle of the same name left in its folder, and what a killed run had half written."""
    kept = {place.path for place in places} | {home / name for name, _ in front_places(front)}
    for path in (home / "bundles" / front.manifest.name).rglob("*"):
        if path.is_file() and path not in kept:
            path.unlink()
    written = [receipt_path(place.path) for place in places if place.file.role == "model"]
    for path in (*written, home / manifest_place(front.manifest.name)):
        for half in path.parent.glob(glob.escape(f".{path.name}-") + "*"):
            half.unlink()
