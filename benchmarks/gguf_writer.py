"""The bytes of a GGUF file: header, then tensors of random or constant values, a few megabytes at a time.

The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

TYPES = {"F32": (0, 1, 4), "F16": (1, 1, 2), "Q4_K": (12, 256, 144), "Q6_K": (14, 256, 210)}
"""By name: the type's number, values in a block, bytes of a block."""

_ALIGNMENT = 32
_PIECE_BYTES = 32 * 2**20
# Of a block's random bytes only the 16-bit scales are set, here by their place for a standard deviation of 1. A Q4_K
# value is d * sc * q - dmin * m, with sc and m of 6 bits and q of 4: its mean is 0 where dmin = 7.5 d, its deviation is
# then 258 d. A Q6_K value is d * sc * (q - 32), with sc of 8 bits, signed, and q of 6: its deviation is 1366 d.
_SCALES = {"Q4_K": {0: 1 / 258, 2: 7.5 / 258}, "Q6_K": {208: 1 / 1366}}

Metadata = Mapping[str, str | int | float | bool | Sequence[str] | Sequence[int]]


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor to be written; extents are in GGUF's order, the fastest first. `fill` is one value, None is random."""

    name: str
    extents: tuple[int, ...]
    type: str
    fill: float | None = None
    spread: float = 1.0

    @property
    def rows(self) -> int:
        """How many rows of the first extent there are."""
        return math.prod(self.extents[1:])

    @property
    def row_bytes(self) -> int:
        """The bytes of one row."""
        _, block, size = TYPES[self.type]
        return self.extents[0] // block * size


def write_file(
    path: Path, metadata: Metadata, tensors: Sequence[Tensor], seed: int, silent: Mapping[str, NDArray[np.bool_]]
) -> None:
    """Write the file, whole or not at all. Equal seeds give equal files.

    Args:
        path: where to.
        metadata: the keys and values, in order.
        tensors: what to write, in order.
        seed: of the random values.
        silent: by tensor name, the rows that are 0, shape (rows,).

    """
    rng = np.random.default_rng(seed)
    partial = path.with_name(path.name + ".part")
    try:
        with partial.open("wb") as file:
            file.write(_header(metadata, tensors))
            for tensor in tensors:
                _pad(file)
                for piece in _pieces(tensor, rng, silent.get(tensor.name)):
                    file.write(piece.tobytes())
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _header(metadata: Metadata, tensors: Sequence[Tensor]) -> bytes:
    parts = [b"GGUF", struct.pack("<IQQ", 3, len(tensors), len(metadata))]
    parts += [_text(key) + _value(value) for key, value in metadata.items()]
    offset = 0
    for tensor in tensors:
        number, rank = TYPES[tensor.type][0], len(tensor.extents)
        parts += [_text(tensor.name), struct.pack(f"<I{rank}QIQ", rank, *tensor.extents, number, offset)]
        offset += -(-tensor.rows * tensor.row_bytes // _ALIGNMENT) * _ALIGNMENT
    return b"".join(parts)


def _pieces(tensor: Tensor, rng: np.random.Generator, silent: NDArray[np.bool_] | None) -> Iterator[NDArray[np.uint8]]:
    step = max(1, _PIECE_BYTES // tensor.row_bytes)
    for start in range(0, tensor.rows, step):
        rows = make_rows(tensor, min(step, tensor.rows - start), rng)
        if silent is not None:
            rows[silent[start : start + len(rows)]] = 0  # in every type here, zero bytes are zero values
        yield rows


def make_rows(tensor: Tensor, count: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Make the next `count` rows of a tensor, shape (count, bytes of a row)."""
    width = tensor.extents[0]
    if tensor.fill is not None:
        return np.full((count, width), tensor.fill, np.float32).view(np.uint8)
    if tensor.type not in _SCALES:
        values = rng.standard_normal((count, width), np.float32) * tensor.spread
        return values.astype(np.float16 if tensor.type == "F16" else np.float32).view(np.uint8)
    _, block, size = TYPES[tensor.type]
    blocks = rng.integers(0, 256, (count, width // block, size), np.uint8)
    for at, scale in _SCALES[tensor.type].items():
        blocks[..., at : at + 2] = np.array([scale * tensor.spread], np.float16).view(np.uint8)
    return blocks.reshape(count, -1)


def _value(value: object) -> bytes:
    match value:
        case bool():
            return struct.pack("<I?", 7, value)
        case int():
            return struct.pack("<II", 4, value)
        case float():
            return struct.pack("<If", 6, value)
        case str():
            return struct.pack("<I", 8) + _text(value)
        case [str(), *_]:
            return struct.pack("<IIQ", 9, 8, len(value)) + b"".join(map(_text, value))
        case [int(), *_]:
            return struct.pack(f"<IIQ{len(value)}i", 9, 5, len(value), *value)
    raise TypeError(f"GGUF metadata of type {type(value).__name__}")


def _text(text: str) -> bytes:
    raw = text.encode("utf-8")
    return struct.pack("<Q", len(raw)) + raw


def _pad(file: BinaryIO) -> None:
    file.write(bytes(-file.tell() % _ALIGNMENT))
