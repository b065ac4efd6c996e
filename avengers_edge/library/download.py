"""Model files from one place: an http or https address, or a path on this machine."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import os
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO

from avengers_edge._util.files import open_regular
from avengers_edge.errors import AvengersError, VerificationFailed
from avengers_edge.library.disk import CHUNK_BYTES, require_room, sha256_of
from avengers_edge.library.manifests import ModelManifest, PathSource, UrlSource
from avengers_edge.library.receipts import Expected


class SourceUnavailable(AvengersError):
    """A source that cannot be reached or lacks the file; the next one may have it."""


@dataclass(frozen=True, slots=True)
class PullProgress:
    """How far a pull is. `done_bytes` are of the model file, `total_bytes` is None while it is unknown.

    `step` says in a few words what is being done.
    """

    model: str
    done_bytes: int
    total_bytes: int | None
    step: str


OnProgress = Callable[[PullProgress], None]
"""Called with a pull's progress a few times a second."""


@dataclass(frozen=True, slots=True)
class PullJob:
    """A pull as a source sees it: what is wanted, the folder to work in, and the callback for progress."""

    manifest: ModelManifest
    folder: Path
    progress: OnProgress

    def report(self, step: str, done: int, total: int | None) -> None:
        """Report progress."""
        self.progress(PullProgress(self.manifest.id, done, total, step))


@dataclass(frozen=True, slots=True)
class Fetched:
    """A file that a source brought in full, not verified yet."""

    path: Path
    expected: Expected


TIMEOUT_SECONDS = 30.0


def fetch_url(source: UrlSource, job: PullJob) -> Fetched:
    """Download a file over http or https, going on where an earlier try ended.

    Raises:
        SourceUnavailable: the server cannot be reached, refuses, or broke off.
        VerificationFailed: it sends more than the file should have.
        DoesNotFit: the disk has no room.

    """
    manifest = job.manifest
    # A hash in the name: a part of another file is not continued.
    known = manifest.sha256 or hashlib.sha256(source.url.encode()).hexdigest()
    part = job.folder / f"{manifest.file}.{known[:16]}.part"
    have = part.stat().st_size if part.exists() else 0
    if manifest.bytes is None or have < manifest.bytes:
        require_room(job.folder, (manifest.bytes or have) - have, f"pulling {manifest.id}")
        # Nothing left: an earlier try brought all. If it is not what is wanted, verifying tells.
        with contextlib.suppress(_NothingLeft), part.open("ab") as target, _opened(source.url, have) as answer:
            if answer.status != http.HTTPStatus.PARTIAL_CONTENT:
                target.truncate(0)
                have = 0
            _receive(answer, target, have, source, job)
    if manifest.sha256 is None:  # the user takes what comes; from now on it is held to this
        return Fetched(part, Expected(sha256_of(part), "first download", source.url))
    return Fetched(part, Expected(manifest.sha256, "manifest", source.url))


def copy_path(source: PathSource, job: PullJob) -> Fetched:
    """Copy a file of this machine; needs no network.

    Raises:
        SourceUnavailable: it is not there or cannot be read.
        VerificationFailed: it is larger than the file should be.
        DoesNotFit: the disk has no room.

    """
    manifest, origin = job.manifest, Path(source.path)
    assert manifest.sha256 is not None  # a manifest with a path has one
    part = job.folder / f"{manifest.file}.copy.part"
    try:
        reading = open_regular(origin)
    except OSError as error:
        raise SourceUnavailable(f"{origin} cannot be copied: {error.strerror or error}; check the path") from error
    with reading:
        total = manifest.bytes or os.fstat(reading.fileno()).st_size
        require_room(job.folder, total, f"pulling {manifest.id}")
        with part.open("wb") as target:
            done = 0
            while chunk := reading.read(CHUNK_BYTES):
                done += len(chunk)
                if done > total:
                    raise VerificationFailed(f"{origin} has more than the {total} bytes it should have")
                target.write(chunk)
                job.report("copying", done, total)
    return Fetched(part, Expected(manifest.sha256, "manifest", source.path))


class _NothingLeft(SourceUnavailable):
    """The server has no byte beyond those that are here."""


class _WebOnly(urllib.request.HTTPRedirectHandler):
    """Follows a redirect to http and https only; urllib would also go to ftp."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        if not newurl.startswith(("https://", "http://")):
            raise urllib.error.URLError(f"it redirects to {newurl!r}")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


@contextmanager
def _opened(url: str, have: int) -> Iterator[http.client.HTTPResponse]:
    headers = {"User-Agent": "avengers-edge", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    opener = urllib.request.build_opener(_WebOnly)
    with _network_errors(url):
        try:
            answer = opener.open(urllib.request.Request(url, headers=headers), timeout=TIMEOUT_SECONDS)
        except urllib.error.HTTPError as error:
            if have and error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                raise _NothingLeft(f"{url} has no byte beyond the first {have}") from error
            raise
    with answer:
        begins = answer.headers.get("Content-Range", "").removeprefix("bytes ").partition("-")[0]
        if answer.status == http.HTTPStatus.PARTIAL_CONTENT and begins != str(have):
            raise SourceUnavailable(f"{url} answered with bytes from {begins or 'nowhere'} and not from {have}")
        yield answer


def _receive(answer: http.client.HTTPResponse, target: BinaryIO, have: int, source: UrlSource, job: PullJob) -> None:
    length = answer.headers.get("Content-Length", "")
    with _network_errors(source.url):
        promised = have + int(length) if length.isdecimal() else None
    total = job.manifest.bytes or promised
    while True:
        with _network_errors(source.url):
            chunk = answer.read(CHUNK_BYTES)
        if not chunk:
            break
        have += len(chunk)
        if total is not None and have > total:
            raise VerificationFailed(
                f"{source.url} sends more than the {total} bytes it should have; try another source"
            )
        target.write(chunk)
        job.report("downloading", have, total)
    if total is not None and have < total:
        raise SourceUnavailable(f"{source.url} broke off at {have} of {total} bytes: run it again, it goes on there")


@contextmanager
def _network_errors(url: str) -> Iterator[None]:
    try:
        yield
    except (OSError, http.client.HTTPException, ValueError) as error:  # ValueError: a hostile redirect or length
        reason = getattr(error, "reason", None) or str(error) or type(error).__name__
        raise SourceUnavailable(f"{url} cannot be downloaded: {reason}; check the address and the network") from error
