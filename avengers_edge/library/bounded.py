"""A cursor over a GGUF file's header: no read goes past a limit or the file's end."""

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

    def refuse(self, found: str, cure: str = "get the file again or choose another") -> NoReturn:
        """Raise `VerificationFailed` with the path, what was found and what mends it."""
        raise VerificationFailed(f"{self._path} is not a usable GGUF model: {found}; {cure}")

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
