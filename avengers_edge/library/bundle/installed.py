"""A home folder against the bundles that were unpacked into it: what they promise is right, and there is no more."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from avengers_edge.errors import AvengersError, NotFound, VerificationFailed
from avengers_edge.library.bundle.archive import Front, Problem
from avengers_edge.library.bundle.layout import front_places, place_of
from avengers_edge.library.bundle.manifest import MAX_MANIFEST_BYTES, SIGNATURE, SUMS, BundleFile, read_manifest_json
from avengers_edge.library.bundle.usable import is_mended
from avengers_edge.library.files import read_small, reading, sha256_of
from avengers_edge.library.receipts import RECEIPT_SUFFIX

_LOOKED_AT = ("bundles", "manifests", "models", "tables", "teams")
_MAX_SMALL_BYTES = 1024


@dataclass(frozen=True, slots=True)
class HomeReport:
    """What was found: the bundles with a right manifest, how many files and bytes they promise, what is wrong."""

    fronts: tuple[Front, ...]
    files: int
    bytes: int
    problems: tuple[Problem, ...]


def check_home(home: Path, key: bytes | None = None, heard: Callable[[int, int], None] = lambda *_: None) -> HomeReport:
    """Hash every file that a bundle put into a home folder; `heard` is told the bytes done and their total.

    `key` is a public key that must have signed every bundle. What cannot be read is bad, and the rest is looked at.

    Raises:
        NotFound: no bundle was unpacked here.
        AvengersError: the folder of the bundles' manifests cannot be read.

    """
    problems: list[Problem] = []
    fronts: list[Front] = []
    manifests = _manifests(home)
    for path in manifests:
        try:
            fronts.append(_read_front(path, key))
        except (AvengersError, OSError, ValueError) as error:
            problems.append(Problem(f"bundles/{path.name}", "bad", str(error)))
    promised: dict[tuple[str, str], BundleFile] = {}
    known = {f"bundles/{path.name}" for path in manifests}
    for front in fronts:
        known |= {place for place, _ in front_places(front)}
        for file in front.manifest.files:
            if place := place_of(front.manifest.name, file):
                promised[place, file.sha256] = file
    total, done = sum(file.bytes for file in promised.values()), 0
    for (place, _), file in sorted(promised.items()):
        try:
            problem = _look(home / place, place, file, functools.partial(_add, heard, total, done))
        except OSError as error:
            problem = _unreadable(place, error)
        done += file.bytes
        if problem is not None:
            problems.append(problem)
    known |= {place for place, _ in promised}
    return HomeReport(tuple(fronts), len(promised), total, (*problems, *_extras(home, known)))


def _manifests(home: Path) -> list[Path]:
    with reading(home / "bundles"):
        try:
            found = sorted(path for path in (home / "bundles").iterdir() if path.suffix == ".json")
        except (FileNotFoundError, NotADirectoryError):
            found = []
    if not found:
        raise NotFound(
            f"no bundle was unpacked into {home}: run `avengers bundle unpack ARCHIVE`, or name one to verify"
        )
    return found


def _unreadable(place: str, error: OSError) -> Problem:
    return Problem(place, "bad", f"it cannot be read: {error.strerror or error}; mend its rights or the disk")


def _read_front(path: Path, key: bytes | None) -> Front:
    spelled = read_small(path, MAX_MANIFEST_BYTES)
    beside = path.with_suffix("")
    signature = beside / SIGNATURE
    front = Front(
        read_manifest_json(spelled), spelled, read_small(signature, _MAX_SMALL_BYTES) if signature.exists() else None
    )
    if front.manifest.name != path.stem:
        raise VerificationFailed(f"it is the manifest of bundle {front.manifest.name}: unpack that one again")
    sums = beside / SUMS
    if not sums.exists() or read_small(sums, _MAX_SMALL_BYTES) != front.sums:
        raise VerificationFailed(
            "it or its signature was changed: it has another sha256; unpack the bundle again, with --replace"
        )
    if key is not None:
        front.require_signature(key, "it")
    return front


def _add(heard: Callable[[int, int], None], total: int, before: int, hashed: int) -> None:
    heard(before + hashed, total)


def _look(path: Path, place: str, file: BundleFile, heard: Callable[[int], None]) -> Problem | None:
    again = f"unpack the bundle again{'' if is_mended(path, file) else ', with --replace'}"
    if not path.is_file():
        return Problem(place, "missing", "unpack the bundle again")
    if (size := path.stat().st_size) != file.bytes:
        return Problem(place, "bad", f"it has {size} bytes and should have {file.bytes}; {again}")
    if (found := sha256_of(path, heard)) != file.sha256:
        told = file.sha256[:12]
        return Problem(place, "bad", f"its sha256 begins with {found[:12]}, not with {told}; {again}")
    return None


def _extras(home: Path, known: set[str]) -> Iterator[Problem]:
    """Find what no bundle promises, and the folders that do not say what they hold."""
    refused: list[OSError] = []
    paths = [home / "modes.toml"]
    for folder in _LOOKED_AT:
        for place, folders, names in os.walk(home / folder, onerror=refused.append):
            paths += [Path(place, name) for name in (*folders, *names)]
    for error in refused:
        if not isinstance(error, FileNotFoundError):
            yield _unreadable(Path(error.filename).relative_to(home).as_posix(), error)
    for path in sorted(paths):
        place = path.relative_to(home).as_posix()
        if place in known:
            continue
        try:
            if not (path.is_file() or path.is_symlink()):
                continue
        except OSError as error:
            yield _unreadable(place, error)
            continue
        # A receipt goes with its file: it is right where that is, and says nothing more where that is extra itself.
        if not place.endswith(RECEIPT_SUFFIX) or not path.with_name(path.name.removesuffix(RECEIPT_SUFFIX)).exists():
            yield Problem(place, "extra", "no bundle promises it")
