"""Bundles for tests: small right ones, wrong ones of every kind, and homes to pack from."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import io
import json
import os
import random
import warnings
import zipfile
from pathlib import Path

from gguf_files import BASICS, Tiny, tensor, tiny_model

from avengers_edge._util.files import write_text
from avengers_edge.config import shipped_dir
from avengers_edge.library.bundle.archive import member_header
from avengers_edge.library.bundle.manifest import (
    Bundle,
    BundleFile,
    BundleManifest,
    Receipt,
    in_order,
    write_manifest,
)
from avengers_edge.library.bundle.pack import PackOptions, pack, write_archive
from avengers_edge.library.catalog import Catalog
from avengers_edge.library.manifests import ModelManifest, PathSource
from avengers_edge.library.store import Store

TEAM = 'name = "small"\ndescription = "the tiny model, alone"\n[[members]]\nmodel = "tiny"\n'
EPOCH = {"SOURCE_DATE_EPOCH": "1700000000"}


def large_model(size: int, seed: int = 0) -> bytes:
    """Build a valid model file with a tensor of so many random bytes, a multiple of 32."""
    data = random.Random(seed).randbytes(size)
    return Tiny(pairs=BASICS, tensors=(tensor("first", shape=(size // 4,)),), data=data).build()


def make_home(home: Path, model: bytes | None = None) -> tuple[Catalog, Store]:
    """Make a home with the model `tiny` and the team `small`, which is all the user's own."""
    write_text(home / "teams" / "small.toml", TEAM)
    catalog, store = Catalog(home, shipped_dir()), Store(home)
    data = tiny_model() if model is None else model
    manifest = ModelManifest(
        "tiny", "Tiny.gguf", "MIT", 128, (PathSource("/vendor/Tiny.gguf"),), len(data), sha256(data), True
    )
    catalog.add_model(manifest)
    path = store.path_of(manifest)
    path.parent.mkdir(parents=True)
    path.write_bytes(data)
    store.verify(manifest)
    return catalog, store


def pack_small(home: Path, folder: Path, name: str = "small", **options) -> Path:
    """Pack the team `small` without wheels; the same home always gives the same bytes."""
    catalog, store = Catalog(home, shipped_dir()), Store(home)
    packed = pack(PackOptions("small", name, folder, None, **options), catalog, store, environ=EPOCH)
    return packed.archive


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def listed(path: str, data: bytes, role: str) -> BundleFile:
    receipt = Receipt("a test", "2026-01-01", "import", None) if role == "model" else None
    return BundleFile(path, len(data), sha256(data), role, receipt)


CONTENTS = {
    "install.py": ("installer", b"# nothing"),
    "sbom.cdx.json": ("sbom", b"{}"),
    "licences/models.txt": ("licence", bytes(range(200))),
    "tables/small.safetensors": ("table", bytes(512)),
    f"models/tiny/{'long' * 26}.gguf": ("model", b"not a model" * 50),
}
"""Files that make an archive, though no team; the model's name is too long for a plain header."""


def bundle_of(contents=CONTENTS, signature: bytes | None = None, **fields) -> Bundle:
    """Make the manifest of some contents."""
    files = in_order(listed(path, data, role) for path, (role, data) in contents.items())
    given = {"name": "small", "created": "2026-01-01T00:00:00Z", "product": "0.1.0", "team": "small"} | fields
    manifest = BundleManifest(files=files, **given)
    return Bundle(manifest, write_manifest(manifest), signature)


def right_archive(contents=CONTENTS, bundle: Bundle | None = None) -> bytes:
    """Build the archive that the product writes of some contents."""
    file = io.BytesIO()
    write_archive(file, bundle or bundle_of(contents), {path: data for path, (_, data) in contents.items()})
    return file.getvalue()


def entry(path: str, data: bytes) -> bytes:
    return member_header(path, len(data)) + data + bytes(-len(data) % 512)


def entries_of(bundle: Bundle, contents=CONTENTS) -> list[bytes]:
    """List the entries of a right archive, one by one."""
    files = [entry(file.path, contents[file.path][1]) for file in bundle.manifest.files]
    return [*(entry(name, data) for name, data in bundle.entries()), *files]


def archive_of(entries: list[bytes]) -> bytes:
    """Join entries, whatever they are, and end them as tar does."""
    tar = b"".join(entries) + bytes(1024)
    return tar + bytes(-len(tar) % 10240)


def spelled(value: object) -> bytes:
    """Spell JSON as manifests are."""
    return (json.dumps(value, indent=1) + "\n").encode()


def relabelled(bundle: Bundle, **changes) -> Bundle:
    """Change what the JSON of a manifest says, with right checksums: the manifest of a liar."""
    return dataclasses.replace(bundle, payload=spelled(json.loads(bundle.payload) | changes))


def fake_wheel(folder: Path, name: str, version: str, files: dict[str, str], metadata: str = "") -> Path:
    """Write a wheel of plain Python."""
    module = name.replace("-", "_")
    info, path = f"{module}-{version}.dist-info", folder / f"{module}-{version}-py3-none-any.whl"
    folder.mkdir(parents=True, exist_ok=True)
    head = f"Metadata-Version: 2.4\nName: {name}\nVersion: {version}\n{metadata}"
    wheel = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    members = files | {f"{info}/METADATA": head, f"{info}/WHEEL": wheel}
    with zipfile.ZipFile(path, "w") as archive:
        for member, text in members.items():
            archive.writestr(member, text)
        archive.writestr(f"{info}/RECORD", "".join(f"{member},,\n" for member in [*members, f"{info}/RECORD"]))
    return path


def tree(folder: Path) -> dict[str, bytes]:
    """Read all files below a folder but locks."""
    paths = [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock"]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def another_disk(monkeypatch, folder: Path) -> Path:
    """Make a folder that files cannot be renamed into or out of, as if it were on a disk of its own."""
    folder.mkdir()
    rename = Path.replace

    def replace(path, target):
        if (folder in path.resolve().parents) != (folder in Path(target).resolve().parents):
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), str(path), None, str(target))
        return rename(path, target)

    monkeypatch.setattr(Path, "replace", replace)
    return folder


def killed_at(call: int, work) -> int:
    """Run `work` in a child that kills itself with SIGKILL at its n-th call of a function in C; 0 lets it live.

    Returns:
        How many such calls it made, if it lived to the end; 0 if it was killed.

    """
    import signal
    import sys

    reader, writer = os.pipe()
    with warnings.catch_warnings():  # of threads, none of which the child needs
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        made = 0

        def count(frame, event, argument):
            nonlocal made
            if event == "c_call":
                made += 1
                if made == call:
                    os.kill(os.getpid(), signal.SIGKILL)

        code = 1
        try:
            sys.setprofile(count)
            work()
            sys.setprofile(None)
            os.write(writer, str(made).encode())
            code = 0
        finally:
            os._exit(code)
    os.close(writer)
    _, status = os.waitpid(child, 0)
    told = os.read(reader, 100)
    os.close(reader)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, "the child failed"
    return int(told or 0)
