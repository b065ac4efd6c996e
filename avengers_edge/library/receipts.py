"""Receipts: proof beside a model file of what was verified, against whose word, and when."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, get_args

from avengers_edge.errors import VerificationFailed
from avengers_edge.library.files import read_small, sha256_of, write_text
from avengers_edge.library.gguf import GGUFHeader, read_header
from avengers_edge.library.manifests import ModelManifest

ExpectedFrom = Literal["manifest", "hub metadata", "import"]
"""Who said what a file must hash to."""

RECEIPT_SUFFIX = ".receipt.json"
_MAX_RECEIPT_BYTES = 64 * 2**10


@dataclass(frozen=True, slots=True)
class Receipt:
    """What was verified, against whose word, and when; kept beside the file as JSON."""

    model: str
    file: str
    bytes: int
    sha256: str
    source: str
    verified_at: str
    mtime_ns: int
    chat_template_sha256: str | None
    expected_from: ExpectedFrom


@dataclass(frozen=True, slots=True)
class Expected:
    """What a file must hash to, who said so, and where the file comes from."""

    sha256: str
    said_by: ExpectedFrom
    source: str


@dataclass(frozen=True, slots=True)
class Verification:
    """A file that was hashed in full just now, and its checked header."""

    path: Path
    receipt: Receipt
    header: GGUFHeader


def verify_file(
    file: Path, manifest: ModelManifest, expected: Expected, heard: Callable[[int], None] = lambda _: None
) -> Verification:
    """Hash a file in full and check its header and chat template; `heard` is told how many bytes were hashed so far.

    Raises:
        VerificationFailed: it is not the file that was expected, or no model file at all.

    """
    before = file.stat()
    sha256 = sha256_of(file, heard)
    if sha256 != expected.sha256:
        raise VerificationFailed(
            f"{file} is damaged or another file: its sha256 begins with {sha256[:12]}, not with "
            f"{expected.sha256[:12]}; {cure(manifest)}"
        )
    header = read_header(file)
    template_sha256 = hash_template(header)
    if manifest.chat_template_sha256 not in (None, template_sha256):
        raise VerificationFailed(f"the chat template in {file} is not the pinned one; {cure(manifest)}")
    receipt = Receipt(
        model=manifest.id,
        file=manifest.file,
        bytes=before.st_size,
        sha256=sha256,
        source=expected.source,
        verified_at=datetime.now(UTC).isoformat(timespec="seconds"),
        mtime_ns=before.st_mtime_ns,
        chat_template_sha256=template_sha256,
        expected_from=expected.said_by,
    )
    return Verification(file, receipt, header)


def hash_template(header: GGUFHeader) -> str | None:
    """Hash the UTF-8 text of a header's chat template; None where it has none."""
    template = header.chat_template
    return None if template is None else hashlib.sha256(template.encode("utf-8")).hexdigest()


def cure(manifest: ModelManifest) -> str:
    """Name the command that brings a good copy of a model."""
    return f"run `avengers models pull {manifest.id}`"


def receipt_path(path: Path) -> Path:
    """Return where the receipt of a model file lies."""
    return path.with_name(path.name + RECEIPT_SUFFIX)


def write_receipt(verified: Verification) -> None:
    """Write the receipt of a verified file beside it."""
    write_text(receipt_path(verified.path), json.dumps(dataclasses.asdict(verified.receipt), indent=2) + "\n")


def read_receipt(path: Path) -> Receipt | None:
    """Read the receipt beside a file; whatever is wrong with it, it then proves nothing and counts as missing."""
    try:
        receipt = Receipt(**json.loads(read_small(receipt_path(path), _MAX_RECEIPT_BYTES)))
    except (OSError, ValueError, TypeError, RecursionError):
        return None
    strings = (receipt.model, receipt.file, receipt.sha256, receipt.source, receipt.verified_at)
    whole = all(isinstance(text, str) for text in strings) and isinstance(receipt.bytes, int)
    return receipt if whole and receipt.expected_from in get_args(ExpectedFrom) else None
