"""Where the files of a bundle lie: beside its archive, and in a home folder once it was unpacked.

<name>.tar.zst, <name>.install.py                   on the stick

models/, manifests/, teams/, tables/, modes.toml    as in the archive
bundles/<name>.json                                 the manifest
bundles/<name>/                                     its checksum and signature, the SBOM, licences
"""

from __future__ import annotations

from pathlib import Path

from avengers_edge.library.bundle.archive import Front
from avengers_edge.library.bundle.manifest import SIGNATURE, SUMS, BundleFile

SUFFIX, INSTALLER_SUFFIX = ".tar.zst", ".install.py"
_NOT_KEPT = frozenset({"installer", "wheel"})
_OF_THE_BUNDLE = frozenset({"sbom", "licence"})


def installer_beside(archive: Path) -> Path:
    """Return where the installer of an archive lies, unless somebody moved one of the two."""
    return archive.with_name(archive.name.removesuffix(SUFFIX) + INSTALLER_SUFFIX)


def place_of(name: str, file: BundleFile) -> str | None:
    """Return where a file of the bundle `name` lies below the home folder; None for one that is not kept there."""
    if file.role in _NOT_KEPT:
        return None
    return f"bundles/{name}/{file.path}" if file.role in _OF_THE_BUNDLE else file.path


def manifest_place(name: str) -> str:
    """Return where the manifest of the bundle `name` lies below the home folder."""
    return f"bundles/{name}.json"


def front_places(front: Front) -> list[tuple[str, bytes]]:
    """List what a bundle says of itself by its place below the home folder; the manifest, which decides, last."""
    name = front.manifest.name
    signature = [] if front.signature is None else [(f"bundles/{name}/{SIGNATURE}", front.signature)]
    return [*signature, (f"bundles/{name}/{SUMS}", front.sums), (manifest_place(name), front.spelled)]
