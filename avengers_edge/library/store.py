"""The store: model files under their vendor's name, untouched, each with a receipt of when it was verified.

A file is handed out only if its bytes are known to be right: its size and modification time are those of the receipt,
or it is hashed again. What it must hash to is in the manifest or, where only the hub knew it, locked in the receipt.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from avengers_edge.errors import BadRequest, NotFound, VerificationFailed
from avengers_edge.library.catalog import Catalog
from avengers_edge.library.files import CHUNK_BYTES, disk_errors, exclusive, reading, require_room
from avengers_edge.library.gguf import read_header
from avengers_edge.library.manifests import ModelManifest, PathSource, check_file_name, check_id
from avengers_edge.library.receipts import (
    Expected,
    Receipt,
    Verification,
    cure,
    hash_template,
    read_receipt,
    receipt_path,
    verify_file,
    write_receipt,
)


@dataclass(frozen=True, slots=True)
class Installed:
    """A model file in the store; `receipt` is None where it is missing or damaged."""

    model: str
    path: Path
    bytes: int
    receipt: Receipt | None


class Store:
    """The model files below a home folder."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def path_of(self, manifest: ModelManifest) -> Path:
        """Return where the model's file lies or would lie."""
        return self.home / "models" / manifest.id / manifest.file

    def partial_of(self, model_id: str) -> Path:
        """Return the folder of a model's unfinished download."""
        return self.home / "partial" / model_id

    def size_of(self, manifest: ModelManifest) -> int | None:
        """Return the bytes of the model's file, or None where it is not installed.

        Raises:
            AvengersError: the store cannot be read.

        """
        path = self.path_of(manifest)
        with reading(path):
            return path.stat().st_size if path.is_file() else None

    def receipt_of(self, manifest: ModelManifest) -> Receipt | None:
        """Return the receipt of a model's file, or None where it is missing or damaged."""
        return read_receipt(self.path_of(manifest))

    def find(self, manifest: ModelManifest) -> Path:
        """Return the model's file for use; hash it again only if it was touched since it was verified.

        Raises:
            NotFound: it is not installed.
            VerificationFailed: its bytes are not the ones that were verified.
            AvengersError: it cannot be read.

        """
        path = self._require_installed(manifest)
        with reading(path):
            receipt, status = self.receipt_of(manifest), path.stat()
        untouched = receipt is not None and (receipt.bytes, receipt.mtime_ns) == (status.st_size, status.st_mtime_ns)
        if not untouched or (manifest.sha256 is not None and receipt and receipt.sha256 != manifest.sha256):
            self.verify(manifest)
        return path

    def verify(self, manifest: ModelManifest, heard: Callable[[int], None] = lambda _: None) -> Verification:
        """Hash the model's file in full, check its header, and renew its receipt.

        `heard` is told how many bytes were hashed so far.

        Raises:
            NotFound: it is not installed.
            VerificationFailed: its bytes or its header are not what they should be, or nobody knows what they
                should be.
            AvengersError: it cannot be read.

        """
        path = self._require_installed(manifest)
        receipt = self.receipt_of(manifest)
        sha256 = manifest.sha256 or (receipt.sha256 if receipt else None)
        if sha256 is None:
            raise VerificationFailed(f"nothing says what {path} must hash to; {cure(manifest)}")
        said_by, source = (receipt.expected_from, receipt.source) if receipt else ("manifest", str(path))
        with reading(path):
            verified = verify_file(path, manifest, Expected(sha256, said_by, source), heard)
        with contextlib.suppress(OSError):  # a store that cannot be written can still be read
            write_receipt(verified)
        return verified

    def adopt(
        self, file: Path, manifest: ModelManifest, expected: Expected, heard: Callable[[int], None] = lambda _: None
    ) -> Path:
        """Verify a finished file on the store's disk, move it to its place and write its receipt.

        Raises:
            VerificationFailed: it is not the file that was expected; it stays where it is.

        """
        with file.open("rb+") as written:
            os.fsync(written.fileno())
        verified = verify_file(file, manifest, expected, heard)
        path = self.path_of(manifest)
        path.parent.mkdir(parents=True, exist_ok=True)
        file.replace(path)
        write_receipt(dataclasses.replace(verified, path=path))
        return path

    def installed(self) -> tuple[Installed, ...]:
        """List the model files in the store by model; nothing is hashed.

        Raises:
            AvengersError: the store cannot be read.

        """
        models = self.home / "models"
        with reading(models):
            found = [
                Installed(path.parent.name, path, path.stat().st_size, read_receipt(path))
                for folder in (models.iterdir() if models.is_dir() else ())
                if folder.is_dir()
                for path in folder.iterdir()  # glob would pass over a folder that cannot be read
                if path.suffix.lower() == ".gguf" and path.is_file()
            ]
        return tuple(sorted(found, key=lambda each: (each.model, each.path.name)))

    def remove(self, manifest: ModelManifest) -> int:
        """Delete the model's file, receipt and unfinished download; return how many bytes that freed.

        Raises:
            NotFound: there is nothing to delete.
            AvengersError: it is just being pulled, or the home folder cannot be written.

        """
        path, partial = self.path_of(manifest), self.partial_of(manifest.id)
        with reading(partial):
            if self.size_of(manifest) is None and not partial.is_dir():
                raise NotFound(f"model {manifest.id!r} is not installed: `avengers models list` shows what is")
        with disk_errors(self.home, f"removing {manifest.id}"), self.lock(manifest.id):
            files = [path, receipt_path(path), *(each for each in partial.rglob("*") if each.is_file())]
            freed = sum(each.stat().st_size for each in files if each.is_file())
            path.unlink(missing_ok=True)
            receipt_path(path).unlink(missing_ok=True)
            self.discard_partial(manifest)
            with contextlib.suppress(OSError):  # not empty: the rest is not ours
                path.parent.rmdir()
        return freed

    def import_file(self, path: Path, catalog: Catalog, *, model_id: str | None = None) -> ModelManifest:
        """Copy a model file into the store and, if no manifest knows it, write one.

        A file whose hash a manifest pins is installed as that model. With `model_id` of a manifest that pins nothing,
        the file is taken for that model and its hash is locked in the receipt.

        Raises:
            NotFound: there is no such file.
            VerificationFailed: it is not a whole GGUF model.
            BadRequest: the id belongs to another file, or cannot be an id.
            DoesNotFit: the disk has no room for the copy.

        """
        header, size = read_header(path), path.stat().st_size
        wanted = check_id(model_id or _id_from(path.name))
        file = check_file_name(path.name if path.suffix.lower() == ".gguf" else f"{path.name}.gguf")
        partial, purpose = self.partial_of(wanted), f"importing {path.name}"
        with disk_errors(self.home, purpose, size), self.lock(wanted):
            partial.mkdir(parents=True, exist_ok=True)
            copy = partial / "import.part"
            try:
                require_room(partial, size, purpose)
                sha256 = _copy_hashing(path, copy)
                known = _known(wanted, model_id, sha256, catalog)
                manifest = known
                if manifest is None:
                    told = header.licence or ""
                    manifest = ModelManifest(
                        id=wanted,
                        file=file,
                        licence=told if told.isprintable() and told else "unknown",
                        context_length=header.context_length,
                        sources=(PathSource(str(path.absolute())),),
                        bytes=copy.stat().st_size,
                        sha256=sha256,
                        checked=True,
                        chat_template_sha256=hash_template(header),
                    )
                self.adopt(copy, manifest, Expected(sha256, "import", str(path.absolute())))
                if known is None:
                    catalog.add_model(manifest)
            finally:
                copy.unlink(missing_ok=True)
                with contextlib.suppress(OSError):  # an unfinished pull of the same model may lie there
                    partial.rmdir()
        return manifest

    def discard_partial(self, manifest: ModelManifest) -> None:
        """Delete the model's unfinished download."""
        if (partial := self.partial_of(manifest.id)).is_dir():
            shutil.rmtree(partial)

    def lock(self, model_id: str) -> contextlib.AbstractContextManager[None]:
        """Keep other processes from changing this model's files.

        Raises:
            AvengersError: another process is changing them.

        """
        busy = f"another pull of {model_id} is running: wait for it to end"
        return exclusive(self.home / "partial" / f"{model_id}.lock", busy)

    def _require_installed(self, manifest: ModelManifest) -> Path:
        path = self.path_of(manifest)
        if self.size_of(manifest) is None:
            raise NotFound(f"model {manifest.id!r} is not installed: run `avengers models pull {manifest.id}`")
        return path


def _copy_hashing(path: Path, copy: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as source, copy.open("wb") as target:
        while chunk := source.read(CHUNK_BYTES):
            digest.update(chunk)
            target.write(chunk)
        target.flush()
        os.fsync(target.fileno())
    return digest.hexdigest()


def _id_from(file_name: str) -> str:
    stem = re.sub(r"\.gguf$", "", file_name.lower())
    return re.sub(r"[^a-z0-9._-]+", "-", stem).strip("._-")


def _known(wanted: str, model_id: str | None, sha256: str, catalog: Catalog) -> ModelManifest | None:
    """Find the manifest that an imported file belongs to, or None where it needs one of its own."""
    known = catalog.find_by_sha256(sha256)
    if known is not None and model_id in (None, known.id):
        return known
    if wanted not in catalog.list_models():
        return None
    taken = catalog.load_model(wanted)
    if taken.sha256 == sha256 or (model_id is not None and taken.sha256 is None):
        return taken
    raise BadRequest(
        f"the id {wanted!r} belongs to another file: choose one with --id, or remove an earlier import with "
        f"`avengers models remove {wanted}`"
    )
