"""GGUF preflight: read a model file's header without trusting one byte of it.

A file is refused here, in plain Python, before llama.cpp's C++ parser sees it. Every length is compared with a limit
and with what remains of the file before it is followed, arrays are walked and not kept, and `BoundedReader`
stops at its `MAX_METADATA_BYTES`, so that a hostile header costs a bounded time and memory.

The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md

The tensor and file types are those of the llama.cpp release the project is tested with; a native test compares them
with the library itself, so that a new release cannot drift away unnoticed.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple, TypeVar

from avengers_edge.errors import NotFound, VerificationFailed
from avengers_edge.library.gguf_metadata import MAX_BLOCKS, MAX_EMBEDDING, MetadataReader
from avengers_edge.library.names import MOST_PARTS, part_names


class TensorType(NamedTuple):
    """A ggml tensor type: `block` elements are stored in `size` bytes."""

    name: str
    block: int
    size: int


TENSOR_TYPES: dict[int, TensorType] = {
    0: TensorType("F32", 1, 4),
    1: TensorType("F16", 1, 2),
    2: TensorType("Q4_0", 32, 18),
    3: TensorType("Q4_1", 32, 20),
    6: TensorType("Q5_0", 32, 22),
    7: TensorType("Q5_1", 32, 24),
    8: TensorType("Q8_0", 32, 34),
    9: TensorType("Q8_1", 32, 36),
    10: TensorType("Q2_K", 256, 84),
    11: TensorType("Q3_K", 256, 110),
    12: TensorType("Q4_K", 256, 144),
    13: TensorType("Q5_K", 256, 176),
    14: TensorType("Q6_K", 256, 210),
    15: TensorType("Q8_K", 256, 292),
    16: TensorType("IQ2_XXS", 256, 66),
    17: TensorType("IQ2_XS", 256, 74),
    18: TensorType("IQ3_XXS", 256, 98),
    19: TensorType("IQ1_S", 256, 50),
    20: TensorType("IQ4_NL", 32, 18),
    21: TensorType("IQ3_S", 256, 110),
    22: TensorType("IQ2_S", 256, 82),
    23: TensorType("IQ4_XS", 256, 136),
    24: TensorType("I8", 1, 1),
    25: TensorType("I16", 1, 2),
    26: TensorType("I32", 1, 4),
    27: TensorType("I64", 1, 8),
    28: TensorType("F64", 1, 8),
    29: TensorType("IQ1_M", 256, 56),
    30: TensorType("BF16", 1, 2),
    34: TensorType("TQ1_0", 256, 54),
    35: TensorType("TQ2_0", 256, 66),
    39: TensorType("MXFP4", 32, 17),
    40: TensorType("NVFP4", 64, 36),
    41: TensorType("Q1_0", 128, 18),
    42: TensorType("Q2_0", 64, 18),
}
"""By the number in the file; the numbers left out belonged to types that llama.cpp no longer reads."""

FILE_TYPES: dict[int, str] = {
    0: "F32",
    1: "F16",
    2: "Q4_0",
    3: "Q4_1",
    7: "Q8_0",
    8: "Q5_0",
    9: "Q5_1",
    10: "Q2_K",
    11: "Q3_K_S",
    12: "Q3_K_M",
    13: "Q3_K_L",
    14: "Q4_K_S",
    15: "Q4_K_M",
    16: "Q5_K_S",
    17: "Q5_K_M",
    18: "Q6_K",
    19: "IQ2_XXS",
    20: "IQ2_XS",
    21: "Q2_K_S",
    22: "IQ3_XS",
    23: "IQ3_XXS",
    24: "IQ1_S",
    25: "IQ4_NL",
    26: "IQ3_S",
    27: "IQ3_M",
    28: "IQ2_S",
    29: "IQ2_M",
    30: "IQ4_XS",
    31: "IQ1_M",
    32: "BF16",
    36: "TQ1_0",
    37: "TQ2_0",
    38: "MXFP4_MOE",
    39: "NVFP4",
    40: "Q1_0",
    41: "Q2_0",
}
"""Names of `general.file_type`, the mixture of tensor types that a whole file is quantized to."""


def quantization_in(file_name: str) -> str | None:
    """Read a quantization out of a file's name, where vendors write it; None where there is none."""
    words = re.split(r"[-. ()]+", file_name.upper())
    return next((name for name in FILE_TYPES.values() if name in words), None)


MAGIC = b"GGUF"
VERSIONS = (2, 3)

MIN_FILE_BYTES = 32
MAX_KEYS = 4096
MAX_TENSORS = 65_536
MAX_TENSOR_NAME_BYTES = 63
MAX_DIMENSIONS = 4
MAX_CONTEXT = 2**31 - 1


@dataclass(frozen=True, slots=True)
class GGUFHeader:
    """What a GGUF file says of itself, checked for sense but not for truth.

    `tensor_bytes` is the size of all weights, `kv_values` the number of values the KV cache holds for one token over
    all layers (0 where the architecture does not say). `feed_forward_length` is the widest block's, all experts that a
    token is sent to counted; 0 where the file is silent. `vocabulary` and `quantization` are None where it is, and
    `chat_template` where it is a base model. `parts` counts the files that it comes in, `tensor_count` and
    `tensor_bytes` are of all of them.
    """

    version: int
    architecture: str
    name: str | None
    licence: str | None
    context_length: int
    block_count: int
    embedding_length: int
    feed_forward_length: int
    kv_values: int
    vocabulary: int | None
    quantization: str | None
    chat_template: str | None
    tensor_count: int
    tensor_bytes: int
    data_offset: int
    parts: int = 1


@dataclass(frozen=True, slots=True)
class _Piece:
    """What one file has of a model: it is number `number` of `count`; `promised` tensors are in all of them."""

    number: int
    count: int
    promised: int | None
    tensors: frozenset[str]
    tensor_bytes: int


_T = TypeVar("_T")


def read_header(path: Path) -> GGUFHeader:
    """Read and check a model file's header, metadata and tensor table; the weights themselves are not read.

    Of a model in several files, `path` is the first one; the others lie beside it.

    Raises:
        NotFound: there is no such file, or a part is missing.
        VerificationFailed: the file is not a whole GGUF model file that llama.cpp could load, or not the first part.

    """
    header, piece = _parsed(path, _Parser.header)
    if piece.count == 1:
        return header
    names = part_names(path.name)
    if len(names) != piece.count:
        raise VerificationFailed(
            f"{path} is one of {piece.count} parts and not called NAME-00001-of-{piece.count:05}.gguf: keep the names "
            "that they came with"
        )
    if missing := [name for name in names if not path.with_name(name).is_file()]:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise NotFound(
            f"{path.name} is one of {len(names)} parts, and {', '.join(missing[:3])}{more} cannot be found beside it: "
            f"put all parts into {path.parent}"
        )
    pieces = [piece, *(_parsed(path.with_name(name), _Parser.piece) for name in names[1:])]
    return _joined(path, header, pieces)


def _joined(path: Path, header: GGUFHeader, pieces: list[_Piece]) -> GGUFHeader:
    """Add up the parts of a model."""
    names, count = part_names(path.name), len(pieces)
    for number, (name, piece) in enumerate(zip(names, pieces, strict=True), start=1):
        if (piece.number, piece.count) != (number, count):
            raise VerificationFailed(
                f"{path.with_name(name)} says that it is part {piece.number} of {piece.count}: get it again"
            )
    tensors = sum(len(piece.tensors) for piece in pieces)
    if len(frozenset().union(*(piece.tensors for piece in pieces))) < tensors:
        raise VerificationFailed(f"the parts of {path} have a tensor twice: get them again, all from one place")
    if pieces[0].promised not in (None, tensors):
        raise VerificationFailed(
            f"the parts of {path} have {tensors} tensors, not {pieces[0].promised}: get them again, all from one place"
        )
    tensor_bytes = sum(piece.tensor_bytes for piece in pieces)
    return replace(header, tensor_count=tensors, tensor_bytes=tensor_bytes, parts=count)


def _parsed(path: Path, read: Callable[[_Parser], _T]) -> _T:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for ever
            raise VerificationFailed(f"{path} is not a regular file: name a .gguf file")
        with path.open("rb") as file:
            return read(_Parser(path, file, status.st_size))
    except FileNotFoundError as error:
        raise NotFound(f"there is no file {path}: check the path") from error
    except OSError as error:
        raise VerificationFailed(f"{path} cannot be read: {error.strerror or error}") from error


class _Parser(MetadataReader):
    """The header in the order of its bytes: preamble, metadata, tensor table; then what the metadata means."""

    version = 0
    data_offset = 0

    def piece(self) -> _Piece:
        """Read the file as one part of a model: all but the first have tensors only."""
        self.version, tensors, keys = self._preamble()
        for _ in range(keys):
            self.key_value()
        number, count = self._split("split.no", 0) + 1, max(1, self._split("split.count", 1))
        if number > count or (tensors == 0 and count == 1):
            self.refuse(f"it claims {tensors} tensors as part {number} of {count}")
        if number == 1 and not self.text("general.architecture"):
            self.refuse("general.architecture is missing, so it is not a language model")
        names, tensor_bytes, self.data_offset = self._tensors(tensors)
        promised = self.scalars.get("split.tensors.count")
        return _Piece(number, count, promised if isinstance(promised, int) else None, names, tensor_bytes)

    def header(self) -> tuple[GGUFHeader, _Piece]:
        """Read the file as a whole model, or as the first part of one."""
        piece = self.piece()
        if piece.number > 1:
            self.refuse(f"it is part {piece.number} of {piece.count}", remedy="name the first part, …-00001-of-…")
        architecture = self.text("general.architecture") or ""
        blocks = self.count(f"{architecture}.block_count", MAX_BLOCKS)
        embedding = self.count(f"{architecture}.embedding_length", MAX_EMBEDDING)
        file_type = self.scalars.get("general.file_type")
        header = GGUFHeader(
            version=self.version,
            architecture=architecture,
            name=self.text("general.name"),
            licence=self.text("general.license"),
            context_length=self.count(f"{architecture}.context_length", MAX_CONTEXT),
            block_count=blocks,
            embedding_length=embedding,
            feed_forward_length=self.feed_forward(architecture),
            kv_values=self.kv_values(architecture, blocks, embedding),
            vocabulary=self.arrays.get("tokenizer.ggml.tokens"),
            quantization=FILE_TYPES.get(file_type) if isinstance(file_type, int) else None,
            chat_template=self.template,
            tensor_count=len(piece.tensors),
            tensor_bytes=piece.tensor_bytes,
            data_offset=self.data_offset,
        )
        return header, piece

    def _split(self, key: str, usual: int) -> int:
        value = self.scalars.get(key, usual)
        if not isinstance(value, int) or not 0 <= value <= MOST_PARTS:
            self.refuse(f"{key} is {value!r}; 0 to {MOST_PARTS} is possible")
        return value

    # --- the three parts of a header ---

    def _preamble(self) -> tuple[int, int, int]:
        if self.size < MIN_FILE_BYTES:
            self.refuse(f"it has {self.size} bytes, too few for any model")
        if (magic := self.take(4)) != MAGIC:
            self.refuse(f"it begins with {magic!r}, not with {MAGIC!r}")
        version = self.u32()
        if version & 0xFFFF == 0:
            self.refuse("it is big-endian or has no version", remedy="get a little-endian conversion of the model")
        if version not in VERSIONS:
            self.refuse(f"it is GGUF version {version} and only 2 and 3 are read", remedy="convert the model again")
        tensors, keys = self.u64(), self.u64()
        if tensors > MAX_TENSORS:
            self.refuse(f"it claims {tensors} tensors; at most {MAX_TENSORS} are possible")
        if keys > MAX_KEYS:
            self.refuse(f"it claims {keys} metadata keys; at most {MAX_KEYS} are possible")
        return version, tensors, keys

    def _tensors(self, count: int) -> tuple[frozenset[str], int, int]:
        """Check the tensor table; return the names and bytes of all tensors, and where their data begins."""
        names: set[str] = set()
        spans: list[tuple[int, int, str]] = []
        alignment = self.alignment()
        for _ in range(count):
            name = self.string("a tensor name", MAX_TENSOR_NAME_BYTES)
            if name in names:
                self.refuse(f"tensor {name!r} appears twice")
            names.add(name)
            length = self._tensor_length(name)
            offset = self.u64()
            if offset % alignment:
                self.refuse(f"tensor {name!r} is at {offset}, which is not a multiple of {alignment}")
            spans.append((offset, offset + length, name))
        data_offset = -(-self.at // alignment) * alignment
        end = 0
        for begin, after, name in sorted(spans):
            if begin < end:
                self.refuse(f"tensor {name!r} overlaps another")
            if data_offset + after > self.size:
                self.refuse(f"tensor {name!r} ends at byte {data_offset + after} of {self.size}: the file is cut off")
            end = after
        return frozenset(names), sum(after - begin for begin, after, _ in spans), data_offset

    def _tensor_length(self, name: str) -> int:
        dimensions = self.u32()
        if not 1 <= dimensions <= MAX_DIMENSIONS:
            self.refuse(f"tensor {name!r} has {dimensions} dimensions; 1 to {MAX_DIMENSIONS} are possible")
        shape = [self.u64() for _ in range(dimensions)]
        number = self.u32()
        kind = TENSOR_TYPES.get(number)
        if kind is None:
            self.refuse(f"tensor {name!r} has unknown type {number}", remedy="convert the model again")
        if 0 in shape or shape[0] % kind.block:
            self.refuse(f"tensor {name!r} has shape {shape}, which type {kind.name} cannot have")
        elements = 1
        for extent in shape:
            elements *= extent
            # Python does not overflow, but C does, and no file holds so much.
            if elements // kind.block * kind.size > self.size:
                self.refuse(f"tensor {name!r} of shape {shape} is larger than the file's {self.size} bytes")
        return elements // kind.block * kind.size
