"""Zstandard frames of raw blocks (RFC 8878): any zstd tool opens them, and Python needs none.

Model files and wheels are dense already, so nothing is compressed. A frame has one spelling only: no dictionary, no
content size, no checksum (the manifest has better ones), every block 128 KiB but the last. So the place of each byte
in the file is known, and a changed bit is never taken for another way of writing the same.
"""

from __future__ import annotations

from typing import BinaryIO

from avengers_edge.errors import VerificationFailed

BLOCK_BYTES = 2**17
_MAGIC = b"\x28\xb5\x2f\xfd"
_FRAME = _MAGIC + b"\x00\x38"  # descriptor: nothing optional; window: 2 ** (10 + 0x38 // 8) bytes, one block
_HEAD_BYTES = 3
_RAW, _BLOCK_KINDS = 0, ("raw", "repeated", "compressed", "reserved")


def packed_bytes(size: int) -> int:
    """Return how long the frame of so many bytes is."""
    return len(_FRAME) + max(1, -(-size // BLOCK_BYTES)) * _HEAD_BYTES + size


def _head(size: int, last: bool) -> bytes:
    return (size << 3 | _RAW << 1 | last).to_bytes(_HEAD_BYTES, "little")


class RawWriter:
    """Writes bytes to a file as one frame; `close` ends the frame and leaves the file open."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._pending = bytearray()
        file.write(_FRAME)

    def write(self, data: bytes) -> None:
        """Append bytes."""
        rest = memoryview(data)
        if self._pending:
            room = BLOCK_BYTES - len(self._pending)
            self._pending += rest[:room]
            rest = rest[room:]
        # A full block waits until more comes: only the last one may be marked so, and it must not be empty.
        while rest:
            if self._pending:
                self._block(self._pending, last=False)
                self._pending.clear()
            if len(rest) <= BLOCK_BYTES:
                self._pending += rest
                return
            self._block(rest[:BLOCK_BYTES], last=False)
            rest = rest[BLOCK_BYTES:]

    def close(self) -> None:
        """Write what is left, and the end of the frame."""
        self._block(self._pending, last=True)
        self._pending.clear()

    def _block(self, data: bytearray | memoryview, last: bool) -> None:
        self._file.write(_head(len(data), last))
        self._file.write(data)


class RawReader:
    """Reads a frame that `RawWriter` wrote, from a file that can be sought in."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._at = 0
        self._left = 0  # of the block that is being read
        self._last = False
        self._end = file.seek(0, 2)
        file.seek(0)
        magic = file.read(len(_FRAME))
        if magic[: len(_MAGIC)] != _MAGIC[: len(magic)]:
            raise VerificationFailed("it is no bundle, for it does not begin like zstd: check its name")
        if len(magic) < len(_FRAME):
            raise VerificationFailed(f"it was cut off after {len(magic)} bytes: copy it again")
        if magic != _FRAME:
            raise VerificationFailed(f"its zstd header is damaged, or other than `bundle pack` writes it: {_CURE}")

    def tell(self) -> int:
        """Return how many bytes were read or passed over."""
        return self._at

    def read(self, size: int) -> bytes:
        """Read exactly so many bytes.

        Raises:
            VerificationFailed: the frame ends before, or is damaged.

        """
        pieces = []
        while size:
            piece = self._some(size)
            if not piece:
                raise VerificationFailed(f"it ends too early, after {self._file.tell()} bytes: copy it again")
            pieces.append(piece)
            size -= len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def seek(self, at: int) -> None:
        """Go to a place further on, without looking at what lies between.

        Raises:
            VerificationFailed: the frame ends before it.

        """
        if at < self._at:
            raise ValueError(f"cannot go back from {self._at} to {at}")
        if at - self._at <= self._left:  # in the same block
            self._file.seek(at - self._at, 1)
            self._left -= at - self._at
            self._at = at
            return
        if at >= self._end:
            raise VerificationFailed(f"it ends too early, after {self._end} bytes: copy it again")
        block, inside = divmod(at, BLOCK_BYTES)
        if inside == 0:  # read the block before up to its end: there may be no next one
            block, inside = block - 1, BLOCK_BYTES
        self._file.seek(len(_FRAME) + block * (_HEAD_BYTES + BLOCK_BYTES))
        self._at, self._left = block * BLOCK_BYTES, 0
        self._next_block()
        if inside > self._left:
            raise VerificationFailed(f"it ends too early, before byte {self._file.tell() + inside}: copy it again")
        self._file.seek(inside, 1)
        self._at, self._left = at, self._left - inside

    def finish(self) -> None:
        """Check that the frame ends here, and the file with it.

        Raises:
            VerificationFailed: more follows.

        """
        if not self._last and not self._left:
            self._next_block()
        if self._left or not self._last or self._file.read(1):
            raise VerificationFailed("more follows after its end: copy it again, or pack it again")

    def _some(self, size: int) -> bytes:
        if not self._left:
            if self._last:
                return b""
            self._next_block()
        data = self._file.read(min(size, self._left))
        self._at += len(data)
        self._left -= len(data)
        return data

    def _next_block(self) -> None:
        place = self._file.tell()
        head = self._file.read(_HEAD_BYTES)
        if len(head) < _HEAD_BYTES:
            raise VerificationFailed(f"it was cut off after {place + len(head)} bytes: copy it again")
        value = int.from_bytes(head, "little")
        size, kind, last = value >> 3, value >> 1 & 3, bool(value & 1)
        if kind != _RAW:
            raise VerificationFailed(f"it has a {_BLOCK_KINDS[kind]} block at byte {place}: {_CURE}")
        if size > BLOCK_BYTES or (size < BLOCK_BYTES and not last):
            raise VerificationFailed(f"its zstd block at byte {place} is damaged: copy it again")
        self._left, self._last = size, last


_CURE = (
    "use it as it was packed and copy it again; where it was compressed once more, `zstd -d` and `tar -x` open it, but "
    "only `bundle pack` makes a bundle of it again"
)
