"""Whether the files of a bundle make a team that can answer here, and the receipts that say where they come from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import cast, get_args

from avengers_edge.errors import BadRequest, NotFound, VerificationFailed
from avengers_edge.library.bundle.manifest import BundleFile, BundleManifest, Origin
from avengers_edge.library.catalog import Catalog
from avengers_edge.library.gguf import read_header
from avengers_edge.library.receipts import (
    Expected,
    ExpectedFrom,
    describe,
    hash_template,
    read_receipt,
    write_receipt,
)
from avengers_edge.library.split import first_name
from avengers_edge.library.store import Store


def check_usable(manifest: BundleManifest, models: Mapping[str, Path], roots: tuple[Path, ...]) -> None:
    """Check that the team is known, that its models are the bundle's, and that their headers are what is pinned.

    `models` tells where each model file of the bundle lies now, `roots` are the folders of the catalog.

    Raises:
        VerificationFailed: something does not fit; the message says what.

    """
    catalog = Catalog(*roots)
    files = _by_model(manifest)
    try:
        team = catalog.load_team(manifest.team)
        lacking = set(team.models) - files.keys()
        if lacking:
            raise VerificationFailed(
                f"the bundle is of team {team.name} and lacks its model {min(lacking)}: pack it again"
            )
        if team.table is not None:
            catalog.find_table(team)
        for model, parts in files.items():
            known = catalog.load_model(model)
            pins = {known.file: known.sha256} | {part.file: part.sha256 for part in known.parts}
            told = {Path(file.path).name: file.sha256 for file in parts}
            if pins.keys() != told.keys() or any(pin not in (None, told[name]) for name, pin in pins.items()):
                raise VerificationFailed(
                    f"models/{model} has other files than the manifest of {model} pins here: {_CURE}"
                )
            header = read_header(models[f"models/{model}/{known.file}"])
            template, origin = hash_template(header), _origin(parts)
            if known.chat_template_sha256 not in (None, template) or origin.chat_template_sha256 != template:
                raise VerificationFailed(f"the chat template of {model} is not the pinned one: pack the bundle again")
            if origin.expected_from not in get_args(ExpectedFrom) or header.parts != len(parts):
                raise VerificationFailed(f"the receipt of {model} is of an unknown kind, or of a part: {_CURE}")
    except (BadRequest, NotFound) as error:
        raise VerificationFailed(
            f"team {manifest.team} of the bundle cannot be used here: {error}; or {_CURE}"
        ) from error


def record_models(manifest: BundleManifest, catalog: Catalog, store: Store) -> None:
    """Write the receipts of models that were just verified, but where one is there that holds."""
    for model, parts in _by_model(manifest).items():
        known, origin = catalog.load_model(model), _origin(parts)
        place = store.place_of(known)
        hashes = {Path(file.path).name: file.sha256 for file in parts}
        if all(recorded(place.with_name(name)) == sha256 for name, sha256 in hashes.items()):
            continue
        statuses = [place.with_name(name).stat() for name in (known.file, *(part.file for part in known.parts))]
        expected = Expected(hashes[known.file], cast("ExpectedFrom", origin.expected_from), origin.source)
        write_receipt(describe(place, known, expected, statuses, read_header(place)))


def is_mended(path: Path, file: BundleFile) -> bool:
    """Tell whether a bad file in a home may be replaced unasked, for nobody's work is lost.

    The SBOM and licences go with the bundle's manifest; a model's receipt tells that it was once the promised one.
    """
    if file.role != "model":
        return file.role in ("sbom", "licence")
    receipt = read_receipt(path.with_name(first_name(path.name)))
    return receipt is not None and file.sha256 in (receipt.sha256, *(part.sha256 for part in receipt.parts))


def recorded(path: Path) -> str | None:
    """Return what a model file in the store hashed to when it was verified; None where nothing holds that."""
    first = path.with_name(first_name(path.name))
    receipt = read_receipt(first)
    if receipt is None or receipt.link is not None or not path.is_file():
        return None
    status = path.stat()
    told = {first.name: (receipt.bytes, receipt.mtime_ns, receipt.sha256)}
    told |= {part.file: (part.bytes, part.mtime_ns, part.sha256) for part in receipt.parts}
    size, mtime_ns, sha256 = told.get(path.name, (-1, -1, ""))
    return sha256 if (size, mtime_ns) == (status.st_size, status.st_mtime_ns) else None


def _by_model(manifest: BundleManifest) -> dict[str, list[BundleFile]]:
    files: dict[str, list[BundleFile]] = {}
    for file in manifest.files:
        if file.role == "model":
            files.setdefault(file.model, []).append(file)
    return files


def _origin(parts: list[BundleFile]) -> Origin:
    origin = parts[0].origin
    assert origin is not None  # a model file without one cannot be made
    return origin


_CURE = "install the product from the wheels of this bundle first"
