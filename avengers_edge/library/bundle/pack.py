"""Pack: one archive with everything that a machine without a network needs, and its installer beside it."""

from __future__ import annotations

import ast
import contextlib
import hashlib
import importlib.util
import io
import os
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

import avengers_edge
from avengers_edge._util.files import exclusive, open_regular, reading, write_whole
from avengers_edge.errors import BadRequest, MissingExtra, VerificationFailed
from avengers_edge.library.bundle.archive import member_info
from avengers_edge.library.bundle.contents import (
    build_sbom,
    find_models,
    find_wheels,
    licence_items,
    model_items,
    user_items,
    written_item,
)
from avengers_edge.library.bundle.manifest import (
    SUFFIX,
    Bundle,
    BundleFile,
    BundleManifest,
    in_order,
    installer_beside,
    write_manifest,
)
from avengers_edge.library.bundle.signature import read_key_file
from avengers_edge.library.bundle.wheels import WheelOptions, gather_wheels, platforms_of, python_of
from avengers_edge.library.catalog import Catalog
from avengers_edge.library.disk import CHUNK_BYTES, disk_errors, require_room
from avengers_edge.library.download import OnProgress, PullProgress
from avengers_edge.library.store import Store

_ELSEWHERE = "--out"
_INSTALLER_MODULES = (
    "errors",
    "library/names",
    "library/bundle/signature",
    "library/bundle/archive",
    "library/bundle/install",
)
"""The modules of the installer, which need only the standard library, in the order of their imports."""

_INSTALLER = '''#!/usr/bin/env python3
"""Installs a bundle of Avengers Edge {version}; Python 3.11 or newer suffices, and nothing is fetched from a network.

    python3 NAME.install.py NAME.tar --venv DIR [--home DIR] [--key PUBLIC] [--replace]

These are modules of the product, one after the other, so the code that checks a bundle here is the product's own.
"""

from __future__ import annotations

import sys

if sys.version_info < (3, 11):
    sys.exit("Python 3.11 or newer is needed: run this with another python3")

{modules}
if __name__ == "__main__":
    sys.exit(install_main(sys.argv[1:]))
'''


@dataclass(frozen=True, slots=True)
class PackOptions:
    """What to pack and where to: `folder` will hold `name`.tar and `name`.install.py.

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
    """A bundle that was written: where, how large, and its manifest."""

    archive: Path
    installer: Path
    bytes: int
    bundle: Bundle


class Signer:
    """Signs with the Ed25519 private key in a PEM file, which is read when the signer is made.

    Raises:
        MissingExtra: `cryptography` is not installed.
        NotFound: there is no such file.
        BadRequest: it holds no such key.

    """

    def __init__(self, path: Path) -> None:
        if importlib.util.find_spec("cryptography") is None:
            raise MissingExtra("cryptography", "sign", "signing a bundle")
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        try:
            key = load_pem_private_key(read_key_file(path), password=None)
        except TypeError as error:
            raise BadRequest(
                f"the key {path} is encrypted: decrypt it with `openssl pkey` for the time of signing"
            ) from error
        except (ValueError, UnsupportedAlgorithm) as error:
            raise BadRequest(
                f"{path} is no private key in PEM: make one with `openssl genpkey -algorithm ed25519`"
            ) from error
        if not isinstance(key, Ed25519PrivateKey):
            raise BadRequest(f"{path} is a key of another kind: make one with `openssl genpkey -algorithm ed25519`")
        self._key = key

    def sign(self, message: bytes) -> bytes:
        """Return the signature of a message, 64 bytes."""
        return self._key.sign(message)


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
    created = _timestamp(environ)
    signer = Signer(options.sign_key) if options.sign_key else None
    team = catalog.load_team(options.team)
    models = find_models(team, catalog, store)

    def report(step: str, done: int, total: int | None) -> None:
        progress(PullProgress(options.name, done, total, step))

    with (
        disk_errors(options.folder, "packing", elsewhere=_ELSEWHERE, resumes=False),
        _output_folder(options) as work,
        contextlib.ExitStack() as stack,
    ):
        found: tuple[Path, ...] = ()
        if options.wheels is not None:
            build = stack.enter_context(_build_folder(store.home, options))
            with disk_errors(build, "gathering wheels", resumes=False):
                found = gather_wheels(options.wheels, build, lambda done: report("gathering wheels,", done, None))
        wheels, script = find_wheels(found), installer_script()
        items = [
            written_item("install.py", "installer", script),
            written_item("sbom.cdx.json", "sbom", build_sbom(options.name, created, models, wheels)),
            *licence_items(models, wheels),
            *(wheel.item for wheel in wheels),
            *user_items(team, store.home),
            *model_items(models, store),
        ]
        manifest = BundleManifest(
            name=options.name,
            created=created,
            product=avengers_edge.__version__,
            team=team.name,
            files=in_order(item.file for item in items),
            platforms=platforms_of(options.wheels) if options.wheels else (),
            python=python_of(options.wheels) if options.wheels else "",
            extras=options.wheels.extras if options.wheels else (),
        )
        payload = write_manifest(manifest)
        bundle = Bundle(manifest, payload, signer.sign(payload) if signer else None)
        require_room(options.folder, bundle.archive_bytes(), "packing", elsewhere=_ELSEWHERE)
        contents = {item.file.path: item.content for item in items}
        part = work / "archive.part"
        with part.open("wb") as file:
            write_archive(file, bundle, contents, lambda done: report("packing", done, manifest.total_bytes))
            file.flush()
            os.fsync(file.fileno())
        write_whole(work / "install.part", script)
        (work / "install.part").replace(options.installer)
        part.replace(options.archive)
    return Packed(options.archive, options.installer, bundle.archive_bytes(), bundle)


def write_archive(
    file: BinaryIO,
    bundle: Bundle,
    contents: Mapping[str, Path | bytes],
    on_progress: Callable[[int], None] = lambda _: None,
) -> None:
    """Write an archive of contents by their paths in it; `on_progress` gets how many of their bytes were written.

    Raises:
        VerificationFailed: a file is not as the manifest says.

    """
    done = 0

    def count(size: int) -> None:
        nonlocal done
        done += size
        on_progress(done)

    with tarfile.TarFile(
        fileobj=file, mode="w", format=tarfile.GNU_FORMAT, encoding="utf-8", copybufsize=CHUNK_BYTES
    ) as tar:
        for name, data in bundle.entries():
            tar.addfile(member_info(name, len(data)), io.BytesIO(data))
        for member in bundle.manifest.files:
            with contextlib.closing(_CheckedReader(contents[member.path], member, count)) as reader:
                tar.addfile(member_info(member.path, member.bytes), reader)
                reader.finish()


class _CheckedReader:
    """Reads the content of a member for the archive, and checks that it is as the manifest says."""

    def __init__(self, content: Path | bytes, member: BundleFile, on_read: Callable[[int], None]) -> None:
        self._path = content if isinstance(content, Path) else Path(member.path)
        with reading(self._path):
            self._file = io.BytesIO(content) if isinstance(content, bytes) else open_regular(content)
        self._member, self._on_read, self._digest = member, on_read, hashlib.sha256()

    def read(self, size: int = -1, /) -> bytes:
        """Read so many bytes, and no fewer."""
        with reading(self._path):
            data = self._file.read(size)
        self._require(len(data) == size)
        self._digest.update(data)
        self._on_read(size)
        return data

    def finish(self) -> None:
        """Check that nothing is left, and that all was right."""
        self._require(self._digest.hexdigest() == self._member.sha256 and not self._file.read(1))

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _require(self, holds: bool) -> None:
        if not holds:
            raise VerificationFailed(
                f"{self._member.path} changed while it was packed: run `avengers models verify`, pack again"
            )


def installer_script() -> bytes:
    """Join the installer's modules to one script; the same product always builds the same bytes."""
    package = Path(avengers_edge.__file__).parent
    modules = []
    for name in _INSTALLER_MODULES:
        lines = (package / f"{name}.py").read_text(encoding="utf-8").splitlines()
        for node in ast.parse("\n".join(lines)).body:
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(("avengers_edge", "__future__")):
                lines[node.lineno - 1 : node.end_lineno] = [""] * ((node.end_lineno or node.lineno) - node.lineno + 1)
        modules.append("\n".join([f"# --- {name}.py ---", "", *lines, "", ""]))
    return _INSTALLER.format(version=avengers_edge.__version__, modules="\n".join(modules)).encode("utf-8")


@contextlib.contextmanager
def _output_folder(options: PackOptions) -> Iterator[Path]:
    """Make a folder beside the archive for what is not whole, locked while it is used and removed afterwards."""
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
def _build_folder(home: Path, options: PackOptions) -> Iterator[Path]:
    """Make a folder for building wheels, removed afterwards.

    It lies in the home or, where that cannot be written, where the system keeps what is temporary; never beside the
    archive, for a stick may be unable to run programs or to keep links.
    """
    with contextlib.ExitStack() as stack:
        try:
            mark = hashlib.sha256(str(options.archive.absolute()).encode()).hexdigest()[:12]
            folder = home / "partial" / f"_packing-{mark}"
            stack.enter_context(exclusive(folder.with_name(f"{folder.name}.lock"), _busy(options)))
            if folder.exists():  # of a run that was killed
                shutil.rmtree(folder)
            folder.mkdir()
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
        except OSError:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="avengers-packing-")))
        yield folder


def _busy(options: PackOptions) -> str:
    return f"another process is packing {options.archive}: wait for it to end"


def _timestamp(environ: Mapping[str, str]) -> str:
    epoch = environ.get("SOURCE_DATE_EPOCH")
    try:
        moment = datetime.now(UTC) if epoch is None else datetime.fromtimestamp(int(epoch), UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise BadRequest(f"SOURCE_DATE_EPOCH is {epoch!r}: use seconds since 1970") from error
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
