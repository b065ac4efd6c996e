"""The store: model files under their vendor's name, untouched, each with a receipt of when it was verified.

A file is handed out only if its bytes are known to be right: its size and modification time are those of the receipt,
or it is hashed again. What it must hash to is in the manifest or, where only the hub knew it, locked in the receipt.
A file may also be used where it lies: then the store has the receipt only, which names its path.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from avengers_edge._util.files import exclusive, reading
from avengers_edge.errors import NotFound, VerificationFailed
from avengers_edge.library.disk import disk_errors, move
from avengers_edge.library.manifests import ModelManifest
from avengers_edge.library.names import is_later_part, part_paths
from avengers_edge.library.receipts import (
    RECEIPT_SUFFIX,
    Expected,
    Receipt,
    Verification,
    read_receipt,
    receipt_path,
    remedy,
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

    def place_of(self, manifest: ModelManifest) -> Path:
        """Return where the model's file lies in the store, or would lie; its receipt is beside that in any case."""
        return self.home / "models" / manifest.id / manifest.file

    def path_of(self, manifest: ModelManifest) -> Path:
        """Return where the model's file lies or would lie: of several, the first, which is the one to be loaded."""
        receipt = self.receipt_of(manifest)
        return Path(receipt.link) if receipt and receipt.link else self.place_of(manifest)

    def files_of(self, manifest: ModelManifest) -> tuple[Path, ...]:
        """Return where all files of the model lie or would lie, the first one first."""
        path = self.path_of(manifest)
        return (path, *part_paths(path)[1:]) if manifest.parts else (path,)

    def partial_of(self, model_id: str) -> Path:
        """Return the folder of a model's unfinished download."""
        return self.home / "partial" / model_id

    def size_of(self, manifest: ModelManifest) -> int | None:
        """Return the bytes of the model's files, or None where it is not installed in full.

        Raises:
            AvengersError: the store cannot be read.

        """
        paths = self.files_of(manifest)
        with reading(paths[0]):
            return sum(path.stat().st_size for path in paths) if all(path.is_file() for path in paths) else None

    def receipt_of(self, manifest: ModelManifest) -> Receipt | None:
        """Return the receipt of a model's file, or None where it is missing or damaged."""
        return read_receipt(self.place_of(manifest))

    def find(self, manifest: ModelManifest) -> Path:
        """Return the model's file for use; hash it again only if it was touched since it was verified.

        Raises:
            NotFound: it is not installed.
            VerificationFailed: its bytes are not the ones that were verified.
            AvengersError: it cannot be read.

        """
        path = self._require_installed(manifest)
        with reading(path):
            receipt = self.receipt_of(manifest)
            untouched = receipt is not None and receipt.untouched(path)
        if not untouched or (receipt and not receipt.keeps(manifest)):
            self.verify(manifest)
        return path

    def verify(self, manifest: ModelManifest, on_progress: Callable[[int], None] = lambda _: None) -> Verification:
        """Hash the model's file in full, check its header, and renew its receipt.

        `on_progress` gets how many bytes were hashed so far.

        Raises:
            NotFound: it is not installed.
            VerificationFailed: its bytes or its header are not what they should be, or nothing says what they
                should be.
            AvengersError: it cannot be read.

        """
        path = self._require_installed(manifest)
        receipt = self.receipt_of(manifest)
        sha256 = manifest.sha256 or (receipt.sha256 if receipt else None)
        if sha256 is None:
            raise VerificationFailed(f"nothing says what {path} must hash to; {self._remedy(manifest)}")
        said_by, source = (receipt.expected_from, receipt.source) if receipt else ("manifest", str(path))
        with reading(path):
            link = receipt.link if receipt else None
            expected, bundled = Expected(sha256, said_by, source), self._is_bundled(manifest)
            verified = verify_file(path, manifest, expected, on_progress, link=link, bundled=bundled)
        with contextlib.suppress(OSError):  # a store that cannot be written can still be read
            write_receipt(dataclasses.replace(verified, path=self.place_of(manifest)))
        return verified

    def adopt(
        self,
        file: Path,
        manifest: ModelManifest,
        expected: Expected,
        on_progress: Callable[[int], None] = lambda _: None,
    ) -> Path:
        """Verify a finished file on the store's disk, its parts beside it; move all to their place and write a receipt.

        Raises:
            VerificationFailed: it is not the file that was expected; it stays where it is.

        """
        files = (file, *part_paths(file)[1:]) if manifest.parts else (file,)
        for each in files:
            if each.is_file():  # what is missing is told by verifying
                with each.open("rb+") as written:
                    os.fsync(written.fileno())
        verified = verify_file(file, manifest, expected, on_progress)
        place = self.place_of(manifest)
        place.parent.mkdir(parents=True, exist_ok=True)
        places = (place, *part_paths(place)[1:]) if manifest.parts else (place,)
        hashes = (verified.receipt.sha256, *(part.sha256 for part in verified.receipt.parts))
        for each, target, sha256 in zip(files, places, hashes, strict=True):
            move(each, target, sha256)
        write_receipt(dataclasses.replace(verified, path=place))
        return place

    def installed(self) -> tuple[Installed, ...]:
        """List the model files in the store by model; nothing is hashed.

        Raises:
            AvengersError: the store cannot be read.

        """
        models = self.home / "models"
        with reading(models):
            found = [
                each
                for folder in (models.iterdir() if models.is_dir() else ())
                if folder.is_dir()
                for path in folder.iterdir()  # glob would pass over a folder that cannot be read
                if (each := _installed(path)) is not None
            ]
        return tuple(sorted(found, key=lambda each: (each.model, each.path.name)))

    def remove(self, manifest: ModelManifest) -> int:
        """Delete the model's file, receipt and unfinished download; return how many bytes that freed.

        Raises:
            NotFound: there is nothing to delete.
            AvengersError: it is just being pulled, or the home folder cannot be written.

        """
        place, partial = self.place_of(manifest), self.partial_of(manifest.id)
        with reading(partial):
            if self.size_of(manifest) is None and self.receipt_of(manifest) is None and not partial.is_dir():
                raise NotFound(f"model {manifest.id!r} is not installed: `avengers models list` shows what is")
        with disk_errors(self.home, f"removing {manifest.id}"), self.lock(manifest.id):
            ours = [place, *(place.with_name(part.file) for part in manifest.parts), receipt_path(place)]
            files = [*ours, *(each for each in partial.rglob("*") if each.is_file())]
            freed = sum(each.stat().st_size for each in files if each.is_file())
            for each in ours:
                each.unlink(missing_ok=True)
            self.discard_partial(manifest)
            with contextlib.suppress(OSError):  # not empty: the rest is not ours
                place.parent.rmdir()
        return freed

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
        if self.size_of(manifest) is None:
            receipt = self.receipt_of(manifest)
            if receipt is not None and receipt.link is not None:
                raise NotFound(
                    f"model {manifest.id!r} is used where it lies, and {_gone(self.files_of(manifest))} is "
                    f"gone: {remedy(manifest, receipt.link)}"
                )
            raise NotFound(
                f"model {manifest.id!r} is not installed: {self._remedy(manifest)}; "
                "`avengers setup` brings a whole team"
            )
        return self.path_of(manifest)

    def _remedy(self, manifest: ModelManifest) -> str:
        return remedy(manifest, bundled=self._is_bundled(manifest))

    def _is_bundled(self, manifest: ModelManifest) -> bool:
        """Whether a bundle that was unpacked here promises the model."""
        told = f'"models/{manifest.id}/'.encode()
        with contextlib.suppress(OSError):
            return any(told in path.read_bytes() for path in (self.home / "bundles").glob("*.json"))
        return False


def _gone(paths: Sequence[Path]) -> Path:
    return next(path for path in paths if not path.is_file())


def _installed(path: Path) -> Installed | None:
    """Look whether a file of the store is a model's: a first file, or the receipt of one that lies elsewhere."""
    if path.name.endswith(RECEIPT_SUFFIX):
        place = path.with_name(path.name.removesuffix(RECEIPT_SUFFIX))
        receipt = read_receipt(place)
        if receipt is None or receipt.link is None:
            return None
        target = Path(receipt.link)
        return Installed(path.parent.name, target, target.stat().st_size if target.is_file() else 0, receipt)
    if path.suffix.lower() != ".gguf" or not path.is_file() or is_later_part(path.name):
        return None
    return Installed(path.parent.name, path, path.stat().st_size, read_receipt(path))
