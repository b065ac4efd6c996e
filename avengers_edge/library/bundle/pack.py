"""Pack: one archive with everything that a machine without a network needs, and its installer beside it."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

import avengers_edge
from avengers_edge.errors import BadRequest, VerificationFailed
from avengers_edge.files import exclusive, write_whole
from avengers_edge.library.bundle.archive import Front
from avengers_edge.library.bundle.contents import (
    find_models,
    find_wheels,
    licence_items,
    model_items,
    user_items,
    wheel_items,
    written_item,
)
from avengers_edge.library.bundle.installer import installer_script
from avengers_edge.library.bundle.layout import SUFFIX, installer_beside
from avengers_edge.library.bundle.manifest import BundleManifest, in_order, write_manifest_json
from avengers_edge.library.bundle.sbom import build_sbom
from avengers_edge.library.bundle.signing import Signer
from avengers_edge.library.bundle.tar import END, header, padding
from avengers_edge.library.bundle.wheels import WheelOptions, gather_wheels, platforms_of, python_of
from avengers_edge.library.bundle.zstd import RawWriter
from avengers_edge.library.catalog import Catalog
from avengers_edge.library.files import CHUNK_BYTES, disk_errors, open_regular, reading, require_room
from avengers_edge.library.store import Store
from avengers_edge.library.transfer import OnProgress, PullProgress

_ELSEWHERE = "--out"


@dataclass(frozen=True, slots=True)
class PackOptions:
    """What to pack and where to: `folder` will hold `name`.tar.zst and `name`.install.py.

    `wheels` None packs none; `sign_key` is a private key in PEM.
    """

    team: str
    name: str
    folder: Path
    wheels: WheelOptions | None
    sign_key: Path | None = None

    @property
    def archive(self) -> Path:
        """The archive's path."""
        return self.folder / f"{self.name}{SUFFIX}"

    @property
    def installer(self) -> Path:
        """The installer's path."""
        return installer_beside(self.archive)


@dataclass(frozen=True, slots=True)
class Packed:
    """A bundle that was written: where, how large, and what it says of itself."""

    archive: Path
    installer: Path
    bytes: int
    front: Front


def pack(
    options: PackOptions,
    catalog: Catalog,
    store: Store,
    *,
    progress: OnProgress = lambda _: None,
    environ: Mapping[str, str] = os.environ,
) -> Packed:
    """Write a bundle. It has its name only once it is whole; what an interrupted run left is replaced by the next one.

    With SOURCE_DATE_EPOCH in `environ` the same files give the same bytes.

    Raises:
        NotFound: the team is unknown or not set up, or there is no wheel of something.
        VerificationFailed: a file is damaged, or changed while it was packed.
        DoesNotFit: the disk has no room for it.
        BadRequest: an option cannot be used.
        AvengersError: the folder cannot be written, or another process is packing the same bundle.

    """
    created = _moment(environ)
    signer = Signer(options.sign_key) if options.sign_key else None
    team = catalog.load_team(options.team)
    models = find_models(team, catalog, store)

    def say(step: str, done: int, total: int | None) -> None:
        progress(PullProgress(options.name, done, total, step))

    with (
        disk_errors(options.folder, "packing", elsewhere=_ELSEWHERE, resumes=False),
        _workplace(options) as work,
        contextlib.ExitStack() as held,
    ):
        found: tuple[Path, ...] = ()
        if options.wheels is not None:
            bench = held.enter_context(_workbench(store.home, options))
            with disk_errors(bench, "gathering wheels", resumes=False):
                found = gather_wheels(options.wheels, bench, lambda done: say("gathering wheels,", done, None))
        wheels, script = find_wheels(found), installer_script()
        items = [
            written_item("install.py", "installer", script),
            written_item("sbom.cdx.json", "sbom", build_sbom(options.name, created, models, wheels)),
            *licence_items(models, wheels),
            *wheel_items(wheels),
            *user_items(team, store.home),
            *model_items(models, store),
        ]
        manifest = BundleManifest(
            name=options.name,
            created=created,
            product=avengers_edge.__version__,
            team=team.name,
            files=in_order([item.file for item in items]),
            platforms=platforms_of(options.wheels) if options.wheels else (),
            python=python_of(options.wheels) if options.wheels else "",
            extras=options.wheels.extras if options.wheels else (),
        )
        spelled = write_manifest_json(manifest)
        front = Front(manifest, spelled, signer.sign(spelled) if signer else None)
        require_room(options.folder, front.packed_bytes(), "packing", elsewhere=_ELSEWHERE)
        contents = {item.file.path: item.content for item in items}
        part = work / "archive.part"
        with part.open("wb") as file:
            write_archive(file, front, contents, lambda done: say("packing", done, manifest.bytes))
            file.flush()
            os.fsync(file.fileno())
        write_whole(work / "install.part", script)
        (work / "install.part").replace(options.installer)
        part.replace(options.archive)
    return Packed(options.archive, options.installer, front.packed_bytes(), front)


def write_archive(
    file: BinaryIO, front: Front, contents: Mapping[str, Path | bytes], heard: Callable[[int], None] = lambda _: None
) -> None:
    """Write an archive of contents by their paths in it; `heard` is told how many bytes were written so far.

    Raises:
        VerificationFailed: a file is not what was promised of it.

    """
    frame, done = RawWriter(file), 0
    for name, data in front.entries():
        frame.write(header(name, len(data)) + data + bytes(padding(len(data))))
    for promised in front.manifest.files:
        frame.write(header(promised.path, promised.bytes))
        digest, size = hashlib.sha256(), 0
        for data in _chunks(contents[promised.path]):
            digest.update(data)
            size += len(data)
            frame.write(data)
            heard(done + size)
        if (size, digest.hexdigest()) != (promised.bytes, promised.sha256):
            raise VerificationFailed(
                f"{promised.path} changed while it was packed: run `avengers models verify`, pack again"
            )
        done += size
        frame.write(bytes(padding(size)))
    frame.write(END)
    frame.close()


def _chunks(content: Path | bytes) -> Iterator[bytes]:
    if isinstance(content, bytes):
        yield content
        return
    with reading(content), open_regular(content) as file:
        while data := file.read(CHUNK_BYTES):
            yield data


@contextlib.contextmanager
def _workplace(options: PackOptions) -> Iterator[Path]:
    """Make a folder beside the archive for what is not whole, locked while it is used and removed afterwards.

    Raises:
        AvengersError: another process packs the same bundle.

    """
    work, lock = options.folder / f".{options.name}.packing", options.folder / f".{options.name}.lock"
    with exclusive(lock, _busy(options), tidy=True):
        if work.exists():
            shutil.rmtree(work)
        work.mkdir()
        try:
            yield work
        finally:
            shutil.rmtree(work, ignore_errors=True)


@contextlib.contextmanager
def _workbench(home: Path, options: PackOptions) -> Iterator[Path]:
    """Make a folder for building wheels, removed afterwards.

    It lies in the home or, where that cannot be written, where the system keeps what is temporary; never beside the
    archive, for a stick may be unable to run programs or to keep links.
    """
    with contextlib.ExitStack() as held:
        try:
            mark = hashlib.sha256(str(options.archive.absolute()).encode()).hexdigest()[:12]
            bench = home / "partial" / f"_packing-{mark}"
            held.enter_context(exclusive(bench.with_name(f"{bench.name}.lock"), _busy(options)))
            if bench.exists():  # of a run that was killed
                shutil.rmtree(bench)
            bench.mkdir()
            held.callback(shutil.rmtree, bench, ignore_errors=True)
        except OSError:
            bench = Path(held.enter_context(tempfile.TemporaryDirectory(prefix="avengers-packing-")))
        yield bench


def _busy(options: PackOptions) -> str:
    return f"another process is packing {options.archive}: wait for it to end"


def _moment(environ: Mapping[str, str]) -> str:
    told = environ.get("SOURCE_DATE_EPOCH")
    try:
        moment = datetime.now(UTC) if told is None else datetime.fromtimestamp(int(told), UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise BadRequest(f"SOURCE_DATE_EPOCH is {told!r}: use seconds since 1970") from error
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
