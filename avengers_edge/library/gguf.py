"""GGUF preflight: read a model file's header without trusting one byte of it.

A file is refused here, in plain Python, before llama.cpp's C++ parser sees it. Every length is compared with a limit
and with what remains of the file before it is followed, arrays are walked and not kept, and no more than
`MAX_METADATA_BYTES` are ever read, so that a hostile header costs a bounded time and memory.

The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import stat
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NoReturn

from avengers_edge.errors import NotFound, VerificationFailed
from avengers_edge.library.ggml import FILE_TYPES, TENSOR_TYPES

MAGIC = b"GGUF"
VERSIONS = (2, 3)
DEFAULT_ALIGNMENT = 32

MIN_FILE_BYTES = 32
MAX_METADATA_BYTES = 64 * 2**20
"""Everything before the tensor data; the largest vocabularies in use need about 20 MiB."""
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
MAX_HEADS = 2**16

KV_ELEMENT_BYTES = 2
"""The KV cache holds 16-bit floats."""

_KEPT_STRING_BYTES = 1024
_READ_STEP = 4 * 2**20
_U32 = struct.Struct("<I")
_U64 = struct.Struct("<Q")
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
    all layers (0 where the architecture does not say). `vocabulary` and `quantization` are None where the file is
    silent, `chat_template` where it is a base model.
    """

    version: int
    architecture: str
    name: str | None
    licence: str | None
    context_length: int
    block_count: int
    embedding_length: int
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


def estimate_memory_bytes(header: GGUFHeader, context: int) -> int:
    """Estimate what a loaded model takes: its weights and the KV cache of `context` tokens.

    An estimate from below: compute buffers, repacked weights and the runtime itself come on top.
    """
    return header.tensor_bytes + header.kv_values * KV_ELEMENT_BYTES * context


class _Parser:
    """A cursor over the header that reads ahead in steps and never past its limits."""

    def __init__(self, path: Path, file: BinaryIO, size: int) -> None:
        self._path = path
        self._file = file
        self._size = size
        self._buffer = bytearray()
        self._at = 0
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
            self._refuse("general.architecture is missing, so it is not a language model")
        if (parts := self._scalars.get("split.count", 0)) not in (0, 1):
            self._refuse(f"it is one of {parts} parts", cure="merge them with llama-gguf-split first")
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
        if self._size < MIN_FILE_BYTES:
            self._refuse(f"it has {self._size} bytes, too few for any model")
        if (magic := self._take(4)) != MAGIC:
            self._refuse(f"it begins with {magic!r}, not with {MAGIC!r}")
        version = self._u32()
        if version & 0xFFFF == 0:
            self._refuse("it is big-endian or has no version", cure="get a little-endian conversion of the model")
        if version not in VERSIONS:
            self._refuse(f"it is GGUF version {version} and only 2 and 3 are read", cure="convert the model again")
        tensors, keys = self._u64(), self._u64()
        if not 1 <= tensors <= MAX_TENSORS:
            self._refuse(f"it claims {tensors} tensors; 1 to {MAX_TENSORS} are possible")
        if keys > MAX_KEYS:
            self._refuse(f"it claims {keys} metadata keys; at most {MAX_KEYS} are possible")
        return version, tensors, keys

    def _key_value(self) -> None:
        key = self._string("a metadata key", MAX_KEY_BYTES)
        if not key:
            self._refuse("a metadata key is empty")
        if key in self._scalars or key in self._arrays:
            self._refuse(f"metadata key {key!r} appears twice")
        number = self._u32()
        if number == _ARRAY:
            self._arrays[key] = self._array(key)
        elif number == _STRING:
            self._scalars[key] = self._string_value(key)
        elif (scalar := _SCALARS.get(number)) is not None:
            self._scalars[key] = scalar.unpack(self._take(scalar.size))[0]
        else:
            self._refuse(f"metadata key {key!r} has unknown type {number}")

    def _tensors(self, count: int) -> tuple[int, int]:
        """Check the tensor table; return the bytes of all tensors and where their data begins."""
        names: set[str] = set()
        spans: list[tuple[int, int, str]] = []
        alignment = self._alignment()
        for _ in range(count):
            name = self._string("a tensor name", MAX_TENSOR_NAME_BYTES)
            if name in names:
                self._refuse(f"tensor {name!r} appears twice")
            names.add(name)
            length = self._tensor_length(name)
            offset = self._u64()
            if offset % alignment:
                self._refuse(f"tensor {name!r} is at {offset}, which is not a multiple of {alignment}")
            spans.append((offset, offset + length, name))
        data_offset = -(-self._at // alignment) * alignment
        end = 0
        for begin, after, name in sorted(spans):
            if begin < end:
                self._refuse(f"tensor {name!r} overlaps another")
            if data_offset + after > self._size:
                self._refuse(f"tensor {name!r} ends at byte {data_offset + after} of {self._size}: the file is cut off")
            end = after
        return sum(after - begin for begin, after, _ in spans), data_offset

    def _tensor_length(self, name: str) -> int:
        dimensions = self._u32()
        if not 1 <= dimensions <= MAX_DIMENSIONS:
            self._refuse(f"tensor {name!r} has {dimensions} dimensions; 1 to {MAX_DIMENSIONS} are possible")
        shape = [self._u64() for _ in range(dimensions)]
        number = self._u32()
        kind = TENSOR_TYPES.get(number)
        if kind is None:
            self._refuse(f"tensor {name!r} has unknown type {number}", cure="convert the model again")
        if 0 in shape or shape[0] % kind.block:
            self._refuse(f"tensor {name!r} has shape {shape}, which type {kind.name} cannot have")
        elements = 1
        for extent in shape:
            elements *= extent
            # Python does not overflow, but C does, and no file holds so much.
            if elements // kind.block * kind.size > self._size:
                self._refuse(f"tensor {name!r} of shape {shape} is larger than the file's {self._size} bytes")
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
            self._refuse(f"{key} is {'missing' if value is None else repr(value)}; 1 to {limit} is possible")
        return value

    def _alignment(self) -> int:
        value = self._scalars.get("general.alignment", DEFAULT_ALIGNMENT)
        if not isinstance(value, int) or not 1 <= value <= MAX_ALIGNMENT or value & (value - 1):
            self._refuse(f"general.alignment is {value!r}, which is not a power of two up to {MAX_ALIGNMENT}")
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

    def _heads(self, key: str, blocks: int) -> list[int]:
        value = self._scalars.get(key, 0)
        heads = self._lists.get(key) or [value if isinstance(value, int) else 0] * blocks
        if len(heads) > MAX_BLOCKS or not all(0 <= count <= MAX_HEADS for count in heads):
            self._refuse(f"{key} has a value outside of 0 to {MAX_HEADS}")
        return list(heads)

    # --- values of one type ---

    def _string_value(self, key: str) -> str:
        if key == "tokenizer.chat_template":
            self._template = self._string(key, MAX_CHAT_TEMPLATE_BYTES)
            return ""
        length = self._length(key, MAX_STRING_BYTES)
        if length > _KEPT_STRING_BYTES:
            self._skip(length)
            return ""
        return self._take(length).decode("utf-8", errors="replace")

    def _array(self, key: str) -> int:
        number, length = self._u32(), self._u64()
        if length > MAX_ARRAY_LENGTH:
            self._refuse(f"array {key!r} claims {length} values; at most {MAX_ARRAY_LENGTH} are possible")
        if number == _STRING:
            self._skip_strings(key, length)
        elif number == _ARRAY:
            self._refuse(f"array {key!r} holds arrays, which llama.cpp does not read")
        elif (scalar := _SCALARS.get(number)) is None:
            self._refuse(f"array {key!r} holds values of unknown type {number}")
        elif length <= MAX_BLOCKS and scalar.format[-1] in "bBhHiIqQ":  # short enough to be a value per layer
            values = struct.unpack(f"<{length}{scalar.format[-1]}", self._take(length * scalar.size))
            if key.endswith((".head_count", ".head_count_kv")):
                self._lists[key] = values
        else:
            self._skip(length * scalar.size)
        return length

    def _skip_strings(self, key: str, count: int) -> None:
        """Walk over strings; a vocabulary has hundreds of thousands, so the loop is kept bare."""
        unpack = _U64.unpack_from
        at = self._at
        for _ in range(count):
            if at + 8 > len(self._buffer):
                self._reach(at + 8)
            length = unpack(self._buffer, at)[0]
            if length > MAX_STRING_BYTES:
                self._refuse(f"a string in {key!r} claims {length} bytes; at most {MAX_STRING_BYTES} are possible")
            at += 8 + length
        self._reach(at)
        self._at = at

    def _string(self, what: str, limit: int) -> str:
        length = self._length(what, limit)
        try:
            return self._take(length).decode("utf-8")
        except UnicodeDecodeError:
            self._refuse(f"{what} is not valid UTF-8")

    def _length(self, what: str, limit: int) -> int:
        if (length := self._u64()) > limit:
            self._refuse(f"{what} claims {length} bytes; at most {limit} are possible")
        return length

    # --- bytes ---

    def _u32(self) -> int:
        return int(_U32.unpack(self._take(4))[0])

    def _u64(self) -> int:
        return int(_U64.unpack(self._take(8))[0])

    def _take(self, count: int) -> bytes:
        begin = self._at
        self._skip(count)
        return bytes(self._buffer[begin : self._at])

    def _skip(self, count: int) -> None:
        self._reach(self._at + count)
        self._at += count

    def _reach(self, end: int) -> None:
        """Make the buffer hold the file's first `end` bytes."""
        if end > self._size:
            self._refuse(f"its header goes on to byte {end} of {self._size}: the file is cut off or damaged")
        if end > MAX_METADATA_BYTES:
            self._refuse(f"its header is longer than {MAX_METADATA_BYTES} bytes")
        while len(self._buffer) < end:
            more = self._file.read(min(_READ_STEP, self._size - len(self._buffer)))
            if not more:
                self._refuse("it became shorter while it was read")
            self._buffer += more

    def _refuse(self, found: str, cure: str = "get the file again or choose another") -> NoReturn:
        raise VerificationFailed(f"{self._path} is not a usable GGUF model: {found}; {cure}")
