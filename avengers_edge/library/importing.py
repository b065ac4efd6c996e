"""Import: a model file of the user's, copied into the store or used where it lies, and a manifest if none knows it."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from avengers_edge.errors import BadRequest
from avengers_edge.library.catalog import Catalog
from avengers_edge.library.disk import CHUNK_BYTES, disk_errors, require_room, sha256_of
from avengers_edge.library.gguf import GGUFHeader, read_header
from avengers_edge.library.manifests import ModelManifest, Part, PathSource
from avengers_edge.library.names import check_file_name, check_id, part_paths, whole_name
from avengers_edge.library.receipts import Expected, describe, hash_template, receipt_path, write_receipt
from avengers_edge.library.store import Store


def import_file(
    store: Store, path: Path, catalog: Catalog, *, model_id: str | None = None, link: bool = False
) -> ModelManifest:
    """Bring a model file into the store and, if no manifest knows it, write one. Of several parts, name the first.

    A file whose hash a manifest pins is installed as that model. With `model_id` of a manifest that pins nothing,
    the file is taken for that model and its hash is locked in the receipt. Without an id it follows from the file's
    name; where that is taken by another file, the quantization is added to it.

    With `link` nothing is copied: the file is used where it lies as long as it stays what it is now.

    Raises:
        NotFound: there is no such file, or one of its parts is missing.
        VerificationFailed: it is not a whole GGUF model.
        BadRequest: the id belongs to another file, or cannot be an id; or the file to be linked is the store's own.
        DoesNotFit: the disk has no room for the copy.

    """
    header = read_header(path)
    files = part_paths(path) if header.parts > 1 else (path,)
    statuses = [file.stat() for file in files]
    size = sum(status.st_size for status in statuses)
    wanted = check_id(model_id or _id_from(path.name))
    source, purpose = str(path.absolute()), f"importing {path.name}"
    with (
        disk_errors(store.home, purpose, None if link else size),
        store.lock(wanted),
        _staged(store.partial_of(wanted)) as stage,
    ):
        if link:
            hashes = [sha256_of(file) for file in files]
        else:
            require_room(stage, size, purpose)
            hashes = [_copy_hashing(file, stage / _file_name(file)) for file in files]
        chosen = _choose(wanted, model_id, hashes[0], header, catalog)
        manifest = _new_manifest(chosen, path, header, statuses, hashes) if isinstance(chosen, str) else chosen
        expected = Expected(hashes[0], "import", source)
        if link:
            _link(store, path, manifest, expected, statuses, header)
        else:
            store.adopt(stage / _file_name(path), manifest, expected)
        if manifest is not chosen:
            catalog.add_model(manifest)
    return manifest


def _link(
    store: Store,
    path: Path,
    manifest: ModelManifest,
    expected: Expected,
    statuses: Sequence[os.stat_result],
    header: GGUFHeader,
) -> None:
    place, target = store.place_of(manifest), path.absolute()
    if (store.home / "models").resolve() in target.resolve().parents:
        raise BadRequest(f"{path} lies in the store itself: import it from where it came from")
    if place.exists():
        raise BadRequest(f"model {manifest.id!r} is in the store: run `avengers models remove {manifest.id}` first")
    verified = describe(place, manifest, expected, statuses, header, link=str(target))
    receipt_path(place).parent.mkdir(parents=True, exist_ok=True)
    write_receipt(verified)


@contextlib.contextmanager
def _staged(partial: Path) -> Iterator[Path]:
    """Make a folder for the copies, which is gone afterwards."""
    stage = partial / "import"
    stage.mkdir(parents=True, exist_ok=True)
    try:
        yield stage
    finally:
        shutil.rmtree(stage, ignore_errors=True)
        with contextlib.suppress(OSError):  # an unfinished pull of the same model may lie there
            partial.rmdir()


def _copy_hashing(path: Path, copy: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as source, copy.open("wb") as target:
        while chunk := source.read(CHUNK_BYTES):
            digest.update(chunk)
            target.write(chunk)
        target.flush()
        os.fsync(target.fileno())
    return digest.hexdigest()


def _file_name(path: Path) -> str:
    return check_file_name(path.name if path.suffix.lower() == ".gguf" else f"{path.name}.gguf")


def _id_from(file_name: str) -> str:
    stem = re.sub(r"\.gguf$", "", whole_name(file_name).lower())
    return re.sub(r"[^a-z0-9._-]+", "-", stem).strip("._-")


def _new_manifest(
    name: str, path: Path, header: GGUFHeader, statuses: Sequence[os.stat_result], hashes: Sequence[str]
) -> ModelManifest:
    told = header.licence or ""
    parts = zip(part_paths(path)[1:], statuses[1:], hashes[1:], strict=False) if header.parts > 1 else ()
    return ModelManifest(
        id=name,
        file=_file_name(path),
        licence=told if told.isprintable() and told else "unknown",
        context_length=header.context_length,
        sources=(PathSource(str(path.absolute())),),
        bytes=statuses[0].st_size,
        sha256=hashes[0],
        checked=True,
        chat_template_sha256=hash_template(header),
        parts=tuple(Part(file.name, status.st_size, sha256) for file, status, sha256 in parts),
    )


def _choose(
    wanted: str, model_id: str | None, sha256: str, header: GGUFHeader, catalog: Catalog
) -> ModelManifest | str:
    """Find the manifest that an imported file belongs to, or the id of a new one."""
    known = catalog.find_by_sha256(sha256)
    if known is not None and model_id in (None, known.id):
        return known
    names = [wanted]
    kind = (header.quantization or "").lower()
    if model_id is None and kind and kind not in wanted:
        names.append(f"{wanted}-{kind}")
    for name in names:
        if name not in catalog.list_models():
            return check_id(name)
        taken = catalog.load_model(name)
        if taken.sha256 == sha256 or (model_id is not None and taken.sha256 is None):
            return taken
    raise BadRequest(
        f"the id {wanted!r} belongs to another file: choose one with --id, or remove an earlier import with "
        f"`avengers models remove {wanted}`"
    )
