"""What was unpacked, and the installer beside an archive, against the manifests of the bundles: bad, missing, extra."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from avengers_edge._util.files import read_small, reading
from avengers_edge.errors import AvengersError, NotFound, VerificationFailed
from avengers_edge.library.bundle.archive import (
    CHECKSUMS,
    MAX_CHECKSUMS_BYTES,
    MAX_MANIFEST_BYTES,
    SIGNATURE,
    Problem,
)
from avengers_edge.library.bundle.manifest import (
    Bundle,
    BundleFile,
    envelope_paths,
    home_path,
    installer_beside,
    read_manifest,
)
from avengers_edge.library.disk import sha256_of
from avengers_edge.library.names import first_name
from avengers_edge.library.receipts import RECEIPT_SUFFIX, read_receipt

_FOLDERS = ("bundles", "manifests", "models", "tables", "teams")


def check_home(
    home: Path, key: bytes | None = None, on_progress: Callable[[int, int], None] = lambda *_: None
) -> tuple[tuple[Bundle, ...], tuple[Problem, ...]]:
    """Hash every file that a bundle put into a home folder; `on_progress` gets the bytes done and their total.

    `key` is a public key that must have signed every bundle. What cannot be read is bad, and the rest is checked.

    Returns:
        The bundles with a right manifest, and what is wrong.

    Raises:
        NotFound: no bundle was unpacked here.
        AvengersError: the folder of the bundles' manifests cannot be read.

    """
    problems: list[Problem] = []
    bundles: list[Bundle] = []
    manifests = _manifests(home)
    for path in manifests:
        try:
            bundles.append(_read_bundle(path, key))
        except (AvengersError, OSError, ValueError) as error:
            problems.append(Problem(f"bundles/{path.name}", "bad", str(error)))
    listed: dict[tuple[str, str], BundleFile] = {}
    expected = {f"bundles/{path.name}" for path in manifests}
    for bundle in bundles:
        expected |= {place for place, _ in envelope_paths(bundle)}
        for file in bundle.manifest.files:
            if place := home_path(bundle.manifest.name, file):
                listed[place, file.sha256] = file
    total, done = sum(file.bytes for file in listed.values()), 0

    def report(hashed: int) -> None:
        on_progress(done + hashed, total)

    for (place, _), file in sorted(listed.items(), key=lambda item: item[0]):
        try:
            problem = _check_file(home / place, place, file, report)
        except OSError as error:
            problem = _unreadable(place, error)
        done += file.bytes
        if problem is not None:
            problems.append(problem)
    expected |= {place for place, _ in listed}
    return tuple(bundles), (*problems, *_extras(home, expected))


def check_installer(archive: Path, bundle: Bundle) -> tuple[Path | None, Problem | None]:
    """Compare the installer beside an archive, which is run before anything can check it, with the one inside.

    Returns:
        Its path, None where there is none, and what is wrong with it.

    """
    path = installer_beside(archive)
    try:
        if not path.is_file():
            return None, None
        found = sha256_of(path)
    except OSError as error:
        return path, Problem(path.name, "bad", f"it cannot be read: {error.strerror or error}; do not run it")
    if any(file.role == "installer" and file.sha256 == found for file in bundle.manifest.files):
        return path, None
    why = f"its sha256 begins with {found[:12]}, and the bundle's installer is another one; do not run it"
    return path, Problem(path.name, "bad", why)


def is_repairable(path: Path, file: BundleFile) -> bool:
    """Whether a bad file in a home may be replaced unasked, since no work is lost.

    The SBOM and licences go with the bundle's manifest; a model's receipt says that it was once the listed one.
    """
    if file.role != "model":
        return file.role in ("sbom", "licence")
    receipt = read_receipt(path.with_name(first_name(path.name)))
    return receipt is not None and file.sha256 in (receipt.sha256, *(part.sha256 for part in receipt.parts))


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


def _read_bundle(path: Path, key: bytes | None) -> Bundle:
    payload, folder = read_small(path, MAX_MANIFEST_BYTES), path.with_suffix("")
    signature, checksums = folder / SIGNATURE, folder / CHECKSUMS
    signed = read_small(signature, MAX_CHECKSUMS_BYTES) if signature.exists() else None
    bundle = Bundle(read_manifest(payload), payload, signed)
    if bundle.manifest.name != path.stem:
        raise VerificationFailed(f"it is the manifest of bundle {bundle.manifest.name}: unpack that one again")
    if not checksums.exists() or read_small(checksums, MAX_CHECKSUMS_BYTES) != bundle.checksums:
        raise VerificationFailed(
            "it or its signature was changed: it has another sha256; unpack the bundle again, with --replace"
        )
    if key is not None:
        bundle.require_signature(key, "it")
    return bundle


def _check_file(path: Path, place: str, file: BundleFile, on_progress: Callable[[int], None]) -> Problem | None:
    again = f"unpack the bundle again{'' if is_repairable(path, file) else ', with --replace'}"
    if not path.is_file():
        return Problem(place, "missing", "unpack the bundle again")
    if (size := path.stat().st_size) != file.bytes:
        return Problem(place, "bad", f"it has {size} bytes and should have {file.bytes}; {again}")
    if (found := sha256_of(path, on_progress)) != file.sha256:
        return Problem(place, "bad", f"its sha256 begins with {found[:12]}, not with {file.sha256[:12]}; {again}")
    return None


def _extras(home: Path, expected: set[str]) -> Iterator[Problem]:
    """Find what no bundle lists, and the folders that cannot be read."""
    errors: list[OSError] = []
    paths = [home / "modes.toml"]
    for folder in _FOLDERS:
        for place, folders, names in os.walk(home / folder, onerror=errors.append):
            paths += [Path(place, name) for name in (*folders, *names)]
    for error in errors:
        if not isinstance(error, FileNotFoundError):
            yield _unreadable(Path(error.filename).relative_to(home).as_posix(), error)
    for path in sorted(paths):
        place = path.relative_to(home).as_posix()
        if place in expected:
            continue
        try:
            if not (path.is_file() or path.is_symlink()):
                continue
        except OSError as error:
            yield _unreadable(place, error)
            continue
        # A receipt goes with its file: it is right where that is, and says nothing more where that is extra itself.
        if not place.endswith(RECEIPT_SUFFIX) or not path.with_name(path.name.removesuffix(RECEIPT_SUFFIX)).exists():
            yield Problem(place, "extra", "no bundle lists it")


def _unreadable(place: str, error: OSError) -> Problem:
    return Problem(place, "bad", f"it cannot be read: {error.strerror or error}; repair its rights or the disk")
