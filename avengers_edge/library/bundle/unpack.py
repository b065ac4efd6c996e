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
from avengers_edge.library.bundle.usable import check_usable, record_models, recorded
from avengers_edge.library.catalog import Catalog
from avengers_edge.library.files import disk_errors, move, require_room, sha256_of
from avengers_edge.library.receipts import read_receipt, receipt_path
from avengers_edge.library.split import first_name
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

    def is_right(self) -> bool:
        """Tell whether the right bytes are in place; a model that was verified is not hashed again."""
        if not self.path.is_file() or self.path.stat().st_size != self.file.bytes:
            return False
        known = recorded(self.path) if self.file.role == "model" else None
        return (known or sha256_of(self.path)) == self.file.sha256

    def belongs_to(self, models: set[str]) -> bool:
        """Tell whether it is a file of one of these models."""
        return self.file.role == "model" and self.file.model in models

    def is_staged(self) -> bool:
        """Tell whether it was verified before: a file has its name in the stage only from then on."""
        return self.stage.is_file() and self.stage.stat().st_size == self.file.bytes


def unpack(
    path: Path, store: Store, *, key: bytes | None = None, replace: bool = False, progress: OnProgress = lambda _: None
) -> Unpacked:
    """Put the files of a bundle in place. Whatever ends it early, the next run goes on where it was.

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
            missing = [place for place in places if not place.is_right()]
            if not replace:
                _refuse_different(missing, home / manifest_place(manifest.name), front.spelled)
            # The parts of a model wait together, for its header is read from all of them.
            lacking = {place.file.model for place in missing if place.file.role == "model"}
            missing = [place for place in places if place in missing or place.belongs_to(lacking)]
            todo = {place.file.path: place for place in missing if not place.is_staged()}
            need = sum(place.file.bytes for place in todo.values())
            stage.mkdir(parents=True, exist_ok=True)
            require_room(stage, need, purpose)
            _require_room_elsewhere(missing, home, stage, purpose)
            staged = (lambda _: None) if replace else _refuse_other_modes
            for waiting in missing:
                if waiting.is_staged():
                    staged(waiting)
            _stage(archive, todo, need, progress, staged)
            apart = {place.path for place in missing}
            models = {
                place.file.path: (place.stage if place.path in apart else place.path)
                for place in places
                if place.file.role == "model"
            }
            check_usable(manifest, models, roots=(stage, home, shipped_dir()))
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
        ours = place.file.role in ("sbom", "licence")  # they go with the manifest
        if place.path.exists() and not ours and not _is_damaged(place):
            different.append(place.path)
        shipped = shipped_dir() / place.file.path
        if place.file.role in _SHADOWING and shipped.is_file() and sha256_of(shipped) != place.file.sha256:
            different.append(shipped)
    if different:
        names = ", ".join(map(str, different))
        raise BadRequest(f"the bundle has other files than those that are here: {names}; --replace uses the bundle's")


def _is_damaged(place: _Place) -> bool:
    """Tell whether what is there was once the promised model, so that replacing it loses nothing."""
    if place.file.role != "model":
        return False
    receipt = read_receipt(place.path.with_name(first_name(place.path.name)))
    return receipt is not None and place.file.sha256 in (receipt.sha256, *(part.sha256 for part in receipt.parts))


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
