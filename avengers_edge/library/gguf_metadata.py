"""The metadata of a GGUF header, read pair by pair: no read goes past a limit or the file's end."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO, NoReturn

from avengers_edge.errors import VerificationFailed

MAX_METADATA_BYTES = 64 * 2**20
"""Everything before the tensor data; the largest vocabularies in use need about 20 MiB."""

_READ_STEP = 4 * 2**20
_U32 = struct.Struct("<I")
_U64 = struct.Struct("<Q")


class BoundedReader:
    """Little-endian numbers, strings and bytes, taken in order from a file that is read ahead in steps.

    `size` is the file's length in bytes, `at` the place of the next byte. What would go past `size`,
    `MAX_METADATA_BYTES` or a caller's own limit is refused with `VerificationFailed` before it is read.
    """

    def __init__(self, path: Path, file: BinaryIO, size: int) -> None:
        self.size = size
        self.at = 0
        self._path = path
        self._file = file
        self._buffer = bytearray()

    def u32(self) -> int:
        """Read an unsigned number of 32 bits."""
        return int(_U32.unpack(self.take(4))[0])

    def u64(self) -> int:
        """Read an unsigned number of 64 bits."""
        return int(_U64.unpack(self.take(8))[0])

    def take(self, count: int) -> bytes:
        """Read `count` bytes."""
        begin = self.at
        self.skip(count)
        return bytes(self._buffer[begin : self.at])

    def skip(self, count: int) -> None:
        """Pass over `count` bytes."""
        self._reach(self.at + count)
        self.at += count

    def string(self, what: str, limit: int) -> str:
        """Read UTF-8 of at most `limit` bytes behind its length; `what` names it in a refusal."""
        length = self.length(what, limit)
        try:
            return self.take(length).decode("utf-8")
        except UnicodeDecodeError:
            self.refuse(f"{what} is not valid UTF-8")

    def length(self, what: str, limit: int) -> int:
        """Read the length of what follows, at most `limit` bytes."""
        if (length := self.u64()) > limit:
            self.refuse(f"{what} claims {length} bytes; at most {limit} are possible")
        return length

    def skip_strings(self, key: str, count: int, limit: int) -> None:
        """Pass over strings of at most `limit` bytes; a vocabulary has hundreds of thousands, so the loop is bare."""
        unpack = _U64.unpack_from
        at = self.at
        for _ in range(count):
            if at + 8 > len(self._buffer):
                self._reach(at + 8)
            length = unpack(self._buffer, at)[0]
            if length > limit:
                self.refuse(f"a string in {key!r} claims {length} bytes; at most {limit} are possible")
            at += 8 + length
        self._reach(at)
        self.at = at

    def refuse(self, found: str, remedy: str = "get the file again or choose another") -> NoReturn:
        """Raise `VerificationFailed` with the path, what was found and what mends it."""
        raise VerificationFailed(f"{self._path} is not a usable GGUF model: {found}; {remedy}")

    def _reach(self, end: int) -> None:
        """Make the buffer hold the file's first `end` bytes."""
        if end > self.size:
            self.refuse(f"its header goes on to byte {end} of {self.size}: the file is cut off or damaged")
        if end > MAX_METADATA_BYTES:
            self.refuse(f"its header is longer than {MAX_METADATA_BYTES} bytes")
        while len(self._buffer) < end:
            more = self._file.read(min(_READ_STEP, self.size - len(self._buffer)))
            if not more:
                self.refuse("it became shorter while it was read")
            self._buffer += more


DEFAULT_ALIGNMENT = 32
MAX_KEY_BYTES = 1024
MAX_STRING_BYTES = 32 * 2**20
MAX_ARRAY_LENGTH = 4 * 2**20
MAX_ALIGNMENT = 2**20
MAX_CHAT_TEMPLATE_BYTES = 2**20
MAX_BLOCKS = 4096
MAX_EMBEDDING = 2**20
MAX_FEED_FORWARD = 2**22
MAX_HEADS = 2**16

_KEPT_STRING_BYTES = 1024
_SCALARS: dict[int, struct.Struct] = {
    number: struct.Struct(f"<{code}")
    for number, code in zip((0, 1, 2, 3, 4, 5, 6, 7, 10, 11, 12), "BbHhIifBQqd", strict=True)
}
_STRING, _ARRAY = 8, 9

Scalar = int | float | str


class MetadataReader(BoundedReader):
    """Keeps short values and the lengths of arrays, and says what they mean."""

    def __init__(self, path: Path, file: BinaryIO, size: int) -> None:
        super().__init__(path, file, size)
        self.scalars: dict[str, Scalar] = {}
        self.arrays: dict[str, int] = {}
        self.template: str | None = None
        self._lists: dict[str, tuple[int, ...]] = {}

    def key_value(self) -> None:
        """Read the next pair."""
        key = self.string("a metadata key", MAX_KEY_BYTES)
        if not key:
            self.refuse("a metadata key is empty")
        if key in self.scalars or key in self.arrays:
            self.refuse(f"metadata key {key!r} appears twice")
        number = self.u32()
        if number == _ARRAY:
            self.arrays[key] = self._array(key)
        elif number == _STRING:
            self.scalars[key] = self._string_value(key)
        elif (scalar := _SCALARS.get(number)) is not None:
            self.scalars[key] = scalar.unpack(self.take(scalar.size))[0]
        else:
            self.refuse(f"metadata key {key!r} has unknown type {number}")

    def text(self, key: str) -> str | None:
        """Return a short text that is safe to print: a hostile name could steer the terminal."""
        value = self.scalars.get(key)
        if not isinstance(value, str) or not value:
            return None
        return "".join(letter if letter.isprintable() else "?" for letter in value)

    def count(self, key: str, limit: int) -> int:
        """Return a number of 1 to `limit`, or refuse the file."""
        value = self.scalars.get(key)
        if not isinstance(value, int) or not 1 <= value <= limit:
            self.refuse(f"{key} is {'missing' if value is None else repr(value)}; 1 to {limit} is possible")
        return value

    def alignment(self) -> int:
        """Return what the offsets of tensors are multiples of."""
        value = self.scalars.get("general.alignment", DEFAULT_ALIGNMENT)
        if not isinstance(value, int) or not 1 <= value <= MAX_ALIGNMENT or value & (value - 1):
            self.refuse(f"general.alignment is {value!r}, which is not a power of two up to {MAX_ALIGNMENT}")
        return value

    def kv_values(self, architecture: str, blocks: int, embedding: int) -> int:
        """Add up (key length + value length) times KV heads over the layers; heads may differ by layer."""
        prefix = f"{architecture}.attention."
        heads = self._heads(prefix + "head_count", blocks)
        if not any(heads):
            return 0
        kv_heads = self._heads(prefix + "head_count_kv", blocks)
        if not any(kv_heads):
            kv_heads = heads
        head_length = embedding // max(heads)
        lengths = [self.scalars.get(prefix + part, head_length) for part in ("key_length", "value_length")]
        total = sum(length for length in lengths if isinstance(length, int) and 0 <= length <= MAX_EMBEDDING)
        return total * sum(kv_heads)

    def feed_forward(self, architecture: str) -> int:
        """Find the widest feed-forward layer; it may differ by layer, and experts run side by side."""
        dense, expert, used = (
            max(self._lists.get(key) or (value if isinstance(value := self.scalars.get(key), int) else 0,))
            for key in (
                f"{architecture}.feed_forward_length",
                f"{architecture}.expert_feed_forward_length",
                f"{architecture}.expert_used_count",
            )
        )
        widths = (dense, expert * used)
        return max((width for width in widths if 0 < width <= MAX_FEED_FORWARD), default=0)

    def _heads(self, key: str, blocks: int) -> list[int]:
        value = self.scalars.get(key, 0)
        heads = self._lists.get(key) or [value if isinstance(value, int) else 0] * blocks
        if len(heads) > MAX_BLOCKS or not all(0 <= count <= MAX_HEADS for count in heads):
            self.refuse(f"{key} has a value outside of 0 to {MAX_HEADS}")
        return list(heads)

    # --- values of one type ---

    def _string_value(self, key: str) -> str:
        if key == "tokenizer.chat_template":
            self.template = self.string(key, MAX_CHAT_TEMPLATE_BYTES)
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
