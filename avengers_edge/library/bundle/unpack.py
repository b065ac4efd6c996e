"""Unpack: from an archive to files in a home folder, none of them in its place before all of them verified."""

from __future__ import annotations

import contextlib
import glob
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast, get_args

from avengers_edge._util.files import exclusive, write_whole
from avengers_edge.config import shipped_dir
from avengers_edge.errors import BadRequest, NotFound, VerificationFailed
from avengers_edge.library.bundle.archive import Archive, Problem, open_archive
from avengers_edge.library.bundle.manifest import (
    Bundle,
    BundleFile,
    BundleManifest,
    Receipt,
    envelope_paths,
    home_path,
    manifest_path,
    read_manifest,
)
from avengers_edge.library.bundle.verify import is_repairable
from avengers_edge.library.catalog import Catalog
from avengers_edge.library.disk import disk_errors, move, require_room, sha256_of
from avengers_edge.library.download import OnProgress, PullProgress
from avengers_edge.library.gguf import read_header
from avengers_edge.library.receipts import (
    Expected,
    ExpectedFrom,
    describe,
    hash_template,
    read_receipt,
    receipt_path,
    write_receipt,
)
from avengers_edge.library.store import Store

_SHADOWING = frozenset({"manifest", "table", "team"})
"""Roles of files that hide one of the same name that ships with the product."""

_REMEDY = "install the product from the wheels of this bundle first"


@dataclass(frozen=True, slots=True)
class Unpacked:
    """A bundle that is in place: how many files and bytes it has there, and how many of them were there before."""

    name: str
    team: str
    files: int
    bytes: int
    already: int


@dataclass(frozen=True, slots=True)
class _Target:
    """A listed file, where it will lie, and `stage`, where it waits for the others."""

    file: BundleFile
    path: Path
    stage: Path

    def is_in_place(self, on_progress: Callable[[int], None]) -> bool:
        """Whether the right bytes are in place, by hashing them: size, time and receipt show no rotten disk."""
        return self._is_right(self.path, on_progress)

    def is_staged(self, on_progress: Callable[[int], None]) -> bool:
        """Whether an earlier run left the right bytes in the stage; others, and unreadable ones, are deleted."""
        try:
            right = self._is_right(self.stage, on_progress)
        except OSError:
            right = False
        if not right:
            self.stage.unlink(missing_ok=True)
        return right

    def _is_right(self, path: Path, on_progress: Callable[[int], None]) -> bool:
        size, sha256 = self.file.bytes, self.file.sha256
        return path.is_file() and path.stat().st_size == size and sha256_of(path, on_progress) == sha256


def unpack(
    path: Path, store: Store, *, key: bytes | None = None, replace: bool = False, progress: OnProgress = lambda _: None
) -> Unpacked:
    """Bring the files of a bundle to their places. Whatever ends it early, the next run goes on where it was.

    Each file is hashed by this run: as it is read from the archive, or where it lies already, in place or staged.
    A damaged file is replaced: one that is bad, and whose receipt says that it was once the bundle's.
    `key` is a public key that must have signed it. Without `replace`, different files of the same name are refused.

    Raises:
        NotFound: there is no such archive.
        VerificationFailed: it is damaged, lies about itself, or lacks the signature.
        BadRequest: a different file of the same name is there.
        DoesNotFit: the disk has no room.
        AvengersError: the home folder cannot be written, or another process is unpacking.

    """
    with open_archive(path, read_manifest) as archive:
        if key is not None:
            archive.envelope.require_signature(key, str(path))
        archive.require_whole()
        stage = store.home / "partial" / "_bundle" / archive.envelope.digest[:16]  # no id begins like that
        busy = f"another process is unpacking into {store.home}: wait for it to end"
        purpose, size = f"unpacking {path.name}", archive.envelope.manifest.total_bytes
        with disk_errors(store.home, purpose, size), exclusive(stage.parent.with_suffix(".lock"), busy):
            return _unpack(archive, store, stage, purpose, replace, progress)


def _unpack(
    archive: Archive[BundleManifest], store: Store, stage: Path, purpose: str, replace: bool, on_progress: OnProgress
) -> Unpacked:
    home, bundle, manifest = store.home, archive.envelope, archive.envelope.manifest
    hashed = 0

    def check(is_right: Callable[[Callable[[int], None]], bool]) -> bool:
        """Check a file where it lies; the bytes of all are added up."""
        before = hashed

        def report(done: int) -> None:
            nonlocal hashed
            hashed = before + done
            on_progress(PullProgress(manifest.name, hashed, None, "checking what is there,"))

        return is_right(report)

    targets = [
        _Target(file, home / place, stage / file.path)
        for file in manifest.files
        if (place := home_path(manifest.name, file)) is not None
    ]
    missing = [each for each in targets if not check(each.is_in_place)]
    if not replace:
        _refuse_different(missing, home, bundle)
    # The parts of a model are staged together, for its header is read from all of them.
    incomplete = {each.file.model for each in missing if each.file.role == "model"}
    missing = [
        each for each in targets if each in missing or (each.file.role == "model" and each.file.model in incomplete)
    ]
    staged = [each for each in missing if check(each.is_staged)]
    unread = {each.file.path: each for each in missing if each not in staged}
    stage.mkdir(parents=True, exist_ok=True)
    require_room(stage, sum(each.file.bytes for each in unread.values()), purpose)
    _require_room_for_models(missing, home, stage, purpose)
    check_staged = (lambda _: None) if replace else _refuse_other_modes
    for each in staged:
        check_staged(each)
    _stage(archive, unread, on_progress, check_staged)
    places = {each.file.path: each.stage if each in missing else each.path for each in targets}
    try:
        _check_usable(manifest, places, Catalog(stage, home, shipped_dir()))
    except VerificationFailed:
        shutil.rmtree(stage, ignore_errors=True)  # what cannot be used is not kept for a next run
        raise
    _put_in_place(missing, bundle, store)
    _sweep(home, targets, bundle)
    shutil.rmtree(stage)
    with contextlib.suppress(OSError):  # another bundle may be staged there
        stage.parent.rmdir()
    size = sum(each.file.bytes for each in targets)
    return Unpacked(manifest.name, manifest.team, len(targets), size, len(targets) - len(missing))


def _require_room_for_models(missing: list[_Target], home: Path, stage: Path, purpose: str) -> None:
    """Check the disk of the models too, where that is another one than the stage's."""
    models = home / "models"
    if models.is_dir() and models.stat().st_dev != stage.stat().st_dev:
        need = sum(each.file.bytes for each in missing if each.file.role == "model")
        require_room(models.resolve(), need, f"{purpose} into {models}")


def _refuse_different(missing: list[_Target], home: Path, bundle: Bundle) -> None:
    different = []
    manifest = home / manifest_path(bundle.manifest.name)
    if manifest.is_file() and manifest.read_bytes() != bundle.payload:
        different.append(manifest)
    for each in missing:
        if each.path.exists() and not is_repairable(each.path, each.file):
            different.append(each.path)
        shipped = shipped_dir() / each.file.path
        if each.file.role in _SHADOWING and shipped.is_file() and sha256_of(shipped) != each.file.sha256:
            different.append(shipped)
    if different:
        names = ", ".join(map(str, different))
        raise BadRequest(f"the bundle has other files than those that are here: {names}; --replace uses the bundle's")


def _refuse_other_modes(staged: _Target) -> None:
    """Refuse ways of asking, once they are staged, that would change those that ship: they are every team's."""
    if staged.file.role != "modes":
        return
    try:
        theirs = Catalog(staged.stage.parent).modes()
    except BadRequest as error:
        raise VerificationFailed(f"the ways of asking in the bundle cannot be used here: {error}") from error
    ours = Catalog(shipped_dir()).modes()
    if changed := [name for name, mode in theirs.items() if ours.get(name, mode) != mode]:
        raise BadRequest(
            f"the bundle's modes.toml changes ways of asking that ship, for all teams: {', '.join(changed)}; --replace "
            "uses the bundle's"
        )


def _stage(
    archive: Archive[BundleManifest],
    unread: Mapping[str, _Target],
    on_progress: OnProgress,
    check_staged: Callable[[_Target], None],
) -> None:
    """Copy files from the archive to the stage, each under its name once it is right; stop at the first problem."""
    name, done, need = archive.envelope.manifest.name, 0, sum(each.file.bytes for each in unread.values())

    def refuse(problem: Problem) -> None:
        raise VerificationFailed(f"nothing was put in place, for {problem}")

    def count(size: int) -> None:
        nonlocal done
        done += size
        on_progress(PullProgress(name, done, need, "unpacking"))

    for reader in archive.members(refuse) if unread else ():
        if target := unread.get(reader.member.path):
            if problem := reader.save(target.stage, count):
                refuse(problem)
            check_staged(target)
        # What is not kept in a home is no reason to trust a damaged archive.
        elif home_path(name, reader.member) is None and (problem := reader.copy(lambda _: None)):
            refuse(problem)


def _check_usable(manifest: BundleManifest, places: Mapping[str, Path], catalog: Catalog) -> None:
    """Check that the team is known, that its models are the bundle's, and that their headers are what is pinned.

    `places` maps each file's path in the bundle to where it lies now.
    """
    try:
        team, models = catalog.load_team(manifest.team), manifest.models()
        if missing := set(team.models) - models.keys():
            raise VerificationFailed(
                f"the bundle is of team {team.name} and lacks its model {min(missing)}: pack it again"
            )
        if team.table is not None:
            catalog.find_table(team)
        for model, parts in models.items():
            known, receipt = catalog.load_model(model), _receipt(parts)
            pins = {known.file: known.sha256} | {part.file: part.sha256 for part in known.parts}
            found = {Path(file.path).name: file.sha256 for file in parts}
            if pins.keys() != found.keys() or any(pin not in (None, found[name]) for name, pin in pins.items()):
                raise VerificationFailed(
                    f"models/{model} has other files than the manifest of {model} pins here: {_REMEDY}"
                )
            header = read_header(places[f"models/{model}/{known.file}"])
            template = hash_template(header)
            if known.chat_template_sha256 not in (None, template) or receipt.chat_template_sha256 != template:
                raise VerificationFailed(f"the chat template of {model} is not the pinned one: pack the bundle again")
            if receipt.expected_from not in get_args(ExpectedFrom) or header.parts != len(parts):
                raise VerificationFailed(f"the receipt of {model} is of an unknown kind, or of a part: {_REMEDY}")
    except (BadRequest, NotFound) as error:
        raise VerificationFailed(
            f"team {manifest.team} of the bundle cannot be used here: {error}; or {_REMEDY}"
        ) from error


def _put_in_place(missing: list[_Target], bundle: Bundle, store: Store) -> None:
    with contextlib.ExitStack() as locks:
        for model in bundle.manifest.models():
            locks.enter_context(store.lock(model))
        for each in missing:
            each.path.parent.mkdir(parents=True, exist_ok=True)
            move(each.stage, each.path, each.file.sha256)
        _write_receipts(bundle.manifest, store)
    for name, data in envelope_paths(bundle):
        write_whole(store.home / name, data)


def _write_receipts(manifest: BundleManifest, store: Store) -> None:
    """Write the receipts of models that were just verified, but where a valid one is there."""
    catalog = Catalog(store.home, shipped_dir())
    for model, parts in manifest.models().items():
        known, packed = catalog.load_model(model), _receipt(parts)
        place, kept = store.place_of(known), read_receipt(store.place_of(known))
        found = {Path(file.path).name: file.sha256 for file in parts}
        names = [known.file, *(part.file for part in known.parts)]
        hashes = [] if kept is None or kept.link else [kept.sha256, *(part.sha256 for part in kept.parts)]
        if kept is not None and hashes == [found[name] for name in names] and kept.untouched(place):
            continue
        statuses = [place.with_name(name).stat() for name in names]
        expected = Expected(found[known.file], cast("ExpectedFrom", packed.expected_from), packed.source)
        write_receipt(describe(place, known, expected, statuses, read_header(place)))


def _receipt(parts: list[BundleFile]) -> Receipt:
    receipt = parts[0].receipt
    assert receipt is not None  # a model file without one cannot be made
    return receipt


def _sweep(home: Path, targets: list[_Target], bundle: Bundle) -> None:
    """Delete what an earlier bundle of the same name left in its folder, and what a killed run had half written."""
    name = bundle.manifest.name
    kept = {each.path for each in targets} | {home / place for place, _ in envelope_paths(bundle)}
    for path in (home / "bundles" / name).rglob("*"):
        if path.is_file() and path not in kept:
            path.unlink()
    written = [receipt_path(each.path) for each in targets if each.file.role == "model"]
    for path in (*written, home / manifest_path(name)):
        for half in path.parent.glob(glob.escape(f".{path.name}-") + "*"):
            half.unlink()
