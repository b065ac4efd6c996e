"""Whether the files of a bundle make a team that can answer here, and the receipts that say where they come from."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import cast, get_args

from avengers_edge.errors import BadRequest, NotFound, VerificationFailed
from avengers_edge.library.bundle.manifest import BundleFile, BundleManifest
from avengers_edge.library.catalog import Catalog
from avengers_edge.library.gguf import read_header
from avengers_edge.library.receipts import (
    ExpectedFrom,
    Receipt,
    Verification,
    hash_template,
    read_receipt,
    write_receipt,
)


def check_usable(manifest: BundleManifest, models: Mapping[str, Path], roots: tuple[Path, ...]) -> None:
    """Check that the team is known, that its models are the bundle's, and that their headers are what is pinned.

    `models` tells where each model file of the bundle lies now, `roots` are the folders of the catalog.

    Raises:
        VerificationFailed: something does not fit; the message says what.

    """
    catalog = Catalog(*roots)
    files = {file.path: file for file in manifest.files if file.role == "model"}
    try:
        team = catalog.load_team(manifest.team)
        lacking = set(team.models) - {file.model for file in files.values()}
        if lacking:
            raise VerificationFailed(
                f"the bundle is of team {team.name} and lacks its model {min(lacking)}: pack it again"
            )
        if team.table is not None:
            catalog.find_table(team)
        for path, file in files.items():
            known = catalog.load_model(file.model)
            header = read_header(models[path])
            template = hash_template(header)
            assert file.origin is not None
            if known.file != Path(path).name or known.sha256 not in (None, file.sha256):
                raise VerificationFailed(f"{path} is not the file that the manifest of {known.id} pins here: {_CURE}")
            if known.chat_template_sha256 not in (None, template) or file.origin.chat_template_sha256 != template:
                raise VerificationFailed(f"the chat template in {path} is not the pinned one: pack the bundle again")
            if file.origin.expected_from not in get_args(ExpectedFrom):
                raise VerificationFailed(f"the receipt of {path} is of an unknown kind: {_CURE}")
    except (BadRequest, NotFound) as error:
        raise VerificationFailed(
            f"team {manifest.team} of the bundle cannot be used here: {error}; or {_CURE}"
        ) from error


def record_model(file: BundleFile, path: Path) -> None:
    """Write the receipt of a model file that was just verified, unless it has one that holds."""
    assert file.origin is not None
    status, receipt = path.stat(), read_receipt(path)
    if receipt is not None and (receipt.sha256, receipt.bytes, receipt.mtime_ns) == (
        file.sha256,
        status.st_size,
        status.st_mtime_ns,
    ):
        return
    receipt = Receipt(
        model=file.model,
        file=path.name,
        bytes=status.st_size,
        sha256=file.sha256,
        source=file.origin.source,
        verified_at=datetime.now(UTC).isoformat(timespec="seconds"),
        mtime_ns=status.st_mtime_ns,
        chat_template_sha256=file.origin.chat_template_sha256,
        expected_from=cast("ExpectedFrom", file.origin.expected_from),
    )
    write_receipt(Verification(path, receipt, read_header(path)))


_CURE = "install the product from the wheels of this bundle first"
