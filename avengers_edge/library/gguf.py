"""GGUF preflight: read a model file's header without trusting one byte of it.

A file is refused here, in plain Python, before llama.cpp's C++ parser sees it. Every length is compared with a limit
and with what remains of the file before it is followed, arrays are walked and not kept, and `BoundedReader`
stops at its `MAX_METADATA_BYTES`, so that a hostile header costs a bounded time and memory.

The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import stat
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from avengers_edge.errors import NotFound, VerificationFailed
from avengers_edge.library.bounded import BoundedReader
from avengers_edge.library.ggml import FILE_TYPES, TENSOR_TYPES

MAGIC = b"GGUF"
VERSIONS = (2, 3)
DEFAULT_ALIGNMENT = 32

MIN_FILE_BYTES = 32
MAX_KEYS = 4096
MAX_KEY_BYTES = 1024
MAX_TENSORS = 65_536
MAX_TENSOR_NAME_BYTES = 63
MAX_DIMENSIONS = 4
MAX_STRING_BYTES = 32 * 2**20
MAX_ARRAY_LENGTH = 4 * 2**20
MAX_ALIGNMENT = 2**20
MAX_CHAT_TEMPLATE_BYTES = 2**20
MAX_BLOCKS = 4096
MAX_CONTEXT = 2**31 - 1
MAX_EMBEDDING = 2**20
MAX_FEED_FORWARD = 2**22
MAX_HEADS = 2**16

_KEPT_STRING_BYTES = 1024
_SCALARS: dict[int, struct.Struct] = {
    number: struct.Struct(f"<{code}")
    for number, code in zip((0, 1, 2, 3, 4, 5, 6, 7, 10, 11, 12), "BbHhIifBQqd", strict=True)
}
_STRING, _ARRAY = 8, 9

_Scalar = int | float | str


@dataclass(frozen=True, slots=True)
class GGUFHeader:
    """What a GGUF file says of itself, checked for sense but not for truth.

    `tensor_bytes` is the size of all weights, `kv_values` the number of values the KV cache holds for one token over
    all layers (0 where the architecture does not say). `feed_forward_length` is the widest block's, all experts that a
    token is sent to counted; 0 where the file is silent. `vocabulary` and `quantization` are None where it is, and
    `chat_template` where it is a base model.
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


def read_header(path: Path) -> GGUFHeader:
    """Read and check a model file's header, metadata and tensor table; the weights themselves are not read.

    Raises:
        NotFound: there is no such file.
        VerificationFailed: the file is not a whole GGUF model file that llama.cpp could load.

    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for ever
            raise VerificationFailed(f"{path} is not a regular file: name a .gguf file")
        with path.open("rb") as file:
            return _Parser(path, file, status.st_size).header()
    except FileNotFoundError as error:
        raise NotFound(f"there is no file {path}: check the path") from error
    except OSError as error:
        raise VerificationFailed(f"{path} cannot be read: {error.strerror or error}") from error


class _Parser(BoundedReader):
    """The header in the order of its bytes: preamble, metadata, tensor table; then what the metadata means."""

    def __init__(self, path: Path, file: BinaryIO, size: int) -> None:
        super().__init__(path, file, size)
        self._scalars: dict[str, _Scalar] = {}
        self._arrays: dict[str, int] = {}
        self._lists: dict[str, tuple[int, ...]] = {}
        self._template: str | None = None

    def header(self) -> GGUFHeader:
        version, tensors, keys = self._preamble()
        for _ in range(keys):
            self._key_value()
        architecture = self._text("general.architecture")
        if not architecture:
            self.refuse("general.architecture is missing, so it is not a language model")
        if (parts := self._scalars.get("split.count", 0)) not in (0, 1):
            self.refuse(f"it is one of {parts} parts", cure="merge them with llama-gguf-split first")
        tensor_bytes, data_offset = self._tensors(tensors)
        blocks = self._count(f"{architecture}.block_count", MAX_BLOCKS)
        embedding = self._count(f"{architecture}.embedding_length", MAX_EMBEDDING)
        file_type = self._scalars.get("general.file_type")
        return GGUFHeader(
            version=version,
            architecture=architecture,
            name=self._text("general.name"),
            licence=self._text("general.license"),
            context_length=self._count(f"{architecture}.context_length", MAX_CONTEXT),
            block_count=blocks,
            embedding_length=embedding,
            feed_forward_length=self._feed_forward(architecture),
            kv_values=self._kv_values(architecture, blocks, embedding),
            vocabulary=self._arrays.get("tokenizer.ggml.tokens"),
            quantization=FILE_TYPES.get(file_type) if isinstance(file_type, int) else None,
            chat_template=self._template,
            tensor_count=tensors,
            tensor_bytes=tensor_bytes,
            data_offset=data_offset,
        )

    # --- the three parts of a header ---

    def _preamble(self) -> tuple[int, int, int]:
        if self.size < MIN_FILE_BYTES:
            self.refuse(f"it has {self.size} bytes, too few for any model")
        if (magic := self.take(4)) != MAGIC:
            self.refuse(f"it begins with {magic!r}, not with {MAGIC!r}")
        version = self.u32()
        if version & 0xFFFF == 0:
            self.refuse("it is big-endian or has no version", cure="get a little-endian conversion of the model")
        if version not in VERSIONS:
            self.refuse(f"it is GGUF version {version} and only 2 and 3 are read", cure="convert the model again")
        tensors, keys = self.u64(), self.u64()
        if not 1 <= tensors <= MAX_TENSORS:
            self.refuse(f"it claims {tensors} tensors; 1 to {MAX_TENSORS} are possible")
        if keys > MAX_KEYS:
            self.refuse(f"it claims {keys} metadata keys; at most {MAX_KEYS} are possible")
        return version, tensors, keys

    def _key_value(self) -> None:
        key = self.string("a metadata key", MAX_KEY_BYTES)
        if not key:
            self.refuse("a metadata key is empty")
        if key in self._scalars or key in self._arrays:
            self.refuse(f"metadata key {key!r} appears twice")
        number = self.u32()
        if number == _ARRAY:
            self._arrays[key] = self._array(key)
        elif number == _STRING:
            self._scalars[key] = self._string_value(key)
        elif (scalar := _SCALARS.get(number)) is not None:
            self._scalars[key] = scalar.unpack(self.take(scalar.size))[0]
        else:
            self.refuse(f"metadata key {key!r} has unknown type {number}")

    def _tensors(self, count: int) -> tuple[int, int]:
        """Check the tensor table; return the bytes of all tensors and where their data begins."""
        names: set[str] = set()
        spans: list[tuple[int, int, str]] = []
        alignment = self._alignment()
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
        return sum(after - begin for begin, after, _ in spans), data_offset

    def _tensor_length(self, name: str) -> int:
        dimensions = self.u32()
        if not 1 <= dimensions <= MAX_DIMENSIONS:
            self.refuse(f"tensor {name!r} has {dimensions} dimensions; 1 to {MAX_DIMENSIONS} are possible")
        shape = [self.u64() for _ in range(dimensions)]
        number = self.u32()
        kind = TENSOR_TYPES.get(number)
        if kind is None:
            self.refuse(f"tensor {name!r} has unknown type {number}", cure="convert the model again")
        if 0 in shape or shape[0] % kind.block:
            self.refuse(f"tensor {name!r} has shape {shape}, which type {kind.name} cannot have")
        elements = 1
        for extent in shape:
            elements *= extent
            # Python does not overflow, but C does, and no file holds so much.
            if elements // kind.block * kind.size > self.size:
                self.refuse(f"tensor {name!r} of shape {shape} is larger than the file's {self.size} bytes")
        return elements // kind.block * kind.size

    # --- what the metadata means ---

    def _text(self, key: str) -> str | None:
        """Return a short text that is safe to print: a hostile name could steer the terminal."""
        value = self._scalars.get(key)
        if not isinstance(value, str) or not value:
            return None
        return "".join(letter if letter.isprintable() else "?" for letter in value)

    def _count(self, key: str, limit: int) -> int:
        value = self._scalars.get(key)
        if not isinstance(value, int) or not 1 <= value <= limit:
            self.refuse(f"{key} is {'missing' if value is None else repr(value)}; 1 to {limit} is possible")
        return value

    def _alignment(self) -> int:
        value = self._scalars.get("general.alignment", DEFAULT_ALIGNMENT)
        if not isinstance(value, int) or not 1 <= value <= MAX_ALIGNMENT or value & (value - 1):
            self.refuse(f"general.alignment is {value!r}, which is not a power of two up to {MAX_ALIGNMENT}")
        return value

    def _kv_values(self, architecture: str, blocks: int, embedding: int) -> int:
        """Add up (key length + value length) times KV heads over the layers; heads may differ by layer."""
        prefix = f"{architecture}.attention."
        heads = self._heads(prefix + "head_count", blocks)
        if not any(heads):
            return 0
        kv_heads = self._heads(prefix + "head_count_kv", blocks)
        if not any(kv_heads):
            kv_heads = heads
        head_length = embedding // max(heads)
        lengths = [self._scalars.get(prefix + part, head_length) for part in ("key_length", "value_length")]
        total = sum(length for length in lengths if isinstance(length, int) and 0 <= length <= MAX_EMBEDDING)
        return total * sum(kv_heads)

    def _feed_forward(self, architecture: str) -> int:
        """Find the widest feed-forward layer; it may differ by layer, and experts run side by side."""
        dense, expert, used = (
            max(self._lists.get(key) or (value if isinstance(value := self._scalars.get(key), int) else 0,))
            for key in (
                f"{architecture}.feed_forward_length",
                f"{architecture}.expert_feed_forward_length",
                f"{architecture}.expert_used_count",
            )
        )
        widths = (dense, expert * used)
        return max((width for width in widths if 0 < width <= MAX_FEED_FORWARD), default=0)

    def _heads(self, key: str, blocks: int) -> list[int]:
        value = self._scalars.get(key, 0)
        heads = self._lists.get(key) or [value if isinstance(value, int) else 0] * blocks
        if len(heads) > MAX_BLOCKS or not all(0 <= count <= MAX_HEADS for count in heads):
            self.refuse(f"{key} has a value outside of 0 to {MAX_HEADS}")
        return list(heads)

    # --- values of one type ---

    def _string_value(self, key: str) -> str:
        if key == "tokenizer.chat_template":
            self._template = self.string(key, MAX_CHAT_TEMPLATE_BYTES)
            return ""
        length = self.length(key, MAX_STRING_BYTES)
        if length > _KEPT_STRING_BYTES:
            self.skip(length)
            return ""
        return self.take(length).decode("utf-8", errors="replace")

    def _array(self, key: str) -> int:
        number, length = self.u32(), self.u64()
        if length > MAX_ARRAY_LENGTH:
            self.refuse(f"array {key!r} claims {length} values; at most {MAX_ARRAY_LENGTH} are possible")
        if number == _STRING:
            self.skip_strings(key, length, MAX_STRING_BYTES)
        elif number == _ARRAY:
            self.refuse(f"array {key!r} holds arrays, which llama.cpp does not read")
        elif (scalar := _SCALARS.get(number)) is None:
            self.refuse(f"array {key!r} holds values of unknown type {number}")
        elif length <= MAX_BLOCKS and scalar.format[-1] in "bBhHiIqQ":  # short enough to be a value per layer
            values = struct.unpack(f"<{length}{scalar.format[-1]}", self.take(length * scalar.size))
            if key.endswith((".head_count", ".head_count_kv", ".feed_forward_length")):
                self._lists[key] = values
        else:
            self.skip(length * scalar.size)
        return length
