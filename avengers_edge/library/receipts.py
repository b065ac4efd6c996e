"""Receipts: proof beside a model file of what was verified, against whose word, and when."""

from __future__ import annotations

import functools
import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import msgspec

from avengers_edge._util.files import read_small, write_text
from avengers_edge.errors import VerificationFailed
from avengers_edge.library.disk import sha256_of
from avengers_edge.library.gguf import GGUFHeader, read_header
from avengers_edge.library.manifests import ModelManifest
from avengers_edge.library.names import part_paths

ExpectedFrom = Literal["manifest", "hub metadata", "import", "first download"]
"""Who said what a file must hash to."""

RECEIPT_SUFFIX = ".receipt.json"
_MAX_RECEIPT_BYTES = 64 * 2**10


class PartReceipt(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A further file of a model that comes in several."""

    file: str
    bytes: int
    sha256: str
    mtime_ns: int


class Receipt(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What was verified, against whose word, and when; kept beside the file as JSON.

    `link` is the path of a file that is used where it lies: then only the receipt is in the store. `parts` are the
    further files of a model that comes in several, which lie beside the first.
    """

    model: str
    file: str
    bytes: int
    sha256: str
    source: str
    verified_at: str
    mtime_ns: int
    chat_template_sha256: str | None
    expected_from: ExpectedFrom
    link: str | None = None
    parts: tuple[PartReceipt, ...] = ()

    def keeps(self, manifest: ModelManifest) -> bool:
        """Whether what was verified is what the manifest pins now, the chat template and the parts included."""
        pinned = (manifest.sha256 or self.sha256, manifest.chat_template_sha256 or self.chat_template_sha256)
        parts = [(part.file, part.sha256) for part in manifest.parts]
        return (self.sha256, self.chat_template_sha256) == pinned and parts == [
            (part.file, part.sha256) for part in self.parts
        ]

    def untouched(self, path: Path) -> bool:
        """Whether the file and its parts have the size and time that they were verified with.

        Raises:
            OSError: one of them cannot be looked at.

        """
        seen = [(self.bytes, self.mtime_ns), *((part.bytes, part.mtime_ns) for part in self.parts)]
        paths = [path, *part_paths(path)[1:]] if self.parts else [path]
        there = [path.stat() for path in paths]
        return seen == [(status.st_size, status.st_mtime_ns) for status in there]


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
    file: Path,
    manifest: ModelManifest,
    expected: Expected,
    on_progress: Callable[[int], None] = lambda _: None,
    *,
    link: str | None = None,
    bundled: bool = False,
) -> Verification:
    """Hash a file and its parts in full, check header and chat template; `on_progress` gets how many bytes were hashed.

    `link` says that the file is used where it lies, and is written into the receipt; `bundled`, that a bundle brings
    it too.

    Raises:
        VerificationFailed: it is not the file that was expected, or no model file at all.

    """
    hashes = [expected.sha256, *(part.sha256 for part in manifest.parts)]
    paths = [file, *part_paths(file)[1:]] if manifest.parts else [file]
    before = [path.stat() for path in paths]
    done = 0
    for path, status, sha256 in zip(paths, before, hashes, strict=True):
        found = sha256_of(path, functools.partial(_report, on_progress, done))
        if found != sha256:
            raise VerificationFailed(
                f"{path} is damaged or another file: its sha256 begins with {found[:12]}, not with {sha256[:12]}; "
                f"{remedy(manifest, link, bundled=bundled)}"
            )
        done += status.st_size
    header = read_header(file)
    if header.parts != len(paths):
        raise VerificationFailed(f"{file} is one of {header.parts} parts, and its manifest knows {len(paths)}")
    if manifest.chat_template_sha256 not in (None, hash_template(header)):
        raise VerificationFailed(
            f"the chat template in {file} is not the pinned one; {remedy(manifest, link, bundled=bundled)}"
        )
    return describe(file, manifest, expected, before, header, link=link)


def describe(
    file: Path,
    manifest: ModelManifest,
    expected: Expected,
    statuses: Sequence[os.stat_result],
    header: GGUFHeader,
    *,
    link: str | None = None,
) -> Verification:
    """Write down that a file, and its parts, were hashed and are right; `statuses` are those from before hashing."""
    receipt = Receipt(
        model=manifest.id,
        file=manifest.file,
        bytes=statuses[0].st_size,
        sha256=expected.sha256,
        source=expected.source,
        verified_at=datetime.now(UTC).isoformat(timespec="seconds"),
        mtime_ns=statuses[0].st_mtime_ns,
        chat_template_sha256=hash_template(header),
        expected_from=expected.said_by,
        link=link,
        parts=tuple(
            PartReceipt(part.file, status.st_size, part.sha256, status.st_mtime_ns)
            for part, status in zip(manifest.parts, statuses[1:], strict=True)
        ),
    )
    return Verification(file, receipt, header)


def _report(on_progress: Callable[[int], None], before: int, more: int) -> None:
    on_progress(before + more)


def hash_template(header: GGUFHeader) -> str | None:
    """Hash the UTF-8 text of a header's chat template; None where it has none."""
    template = header.chat_template
    return None if template is None else hashlib.sha256(template.encode("utf-8")).hexdigest()


def remedy(manifest: ModelManifest, link: str | None = None, *, bundled: bool = False) -> str:
    """Name what brings a good copy of a model.

    `link` is the path of a file used where it lies; `bundled` says that a bundle brings the model too.
    """
    if link is not None:
        return f"put the old file back, or run `avengers models remove {manifest.id}` and import the new one"
    pull = f"run `avengers models pull {manifest.id}`"
    return f"{pull}, or unpack the bundle it came from again" if bundled else pull


def receipt_path(path: Path) -> Path:
    """Return where the receipt of a model file lies."""
    return path.with_name(path.name + RECEIPT_SUFFIX)


def write_receipt(verified: Verification) -> None:
    """Write the receipt of a verified file beside it."""
    write_text(receipt_path(verified.path), json.dumps(msgspec.to_builtins(verified.receipt), indent=2) + "\n")


def read_receipt(path: Path) -> Receipt | None:
    """Read the receipt beside a file; whatever is wrong with it, it then proves nothing and counts as missing."""
    try:
        return msgspec.convert(json.loads(read_small(receipt_path(path), _MAX_RECEIPT_BYTES)), Receipt)
    except (OSError, ValueError, RecursionError):  # msgspec's refusals are ValueErrors
        return None
