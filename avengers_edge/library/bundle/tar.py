"""Tar headers in one spelling only, so that every byte of an archive follows from the names and sizes in it.

The format is GNU tar's, which every tar reads: long names stand in an entry of type `L` before their own, sizes of
8 GiB and more are binary. Owner, rights and time say nothing about a bundle and are the same for all entries.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

BLOCK = 512
END = bytes(2 * BLOCK)
"""What stands after the last entry."""

_MTIME = 315_532_800  # 1 January 1980, the first day that zip files know; tar takes an earlier one for a mistake
_LONG_LINK, _MAX_NAME = "././@LongLink", 100
_MAX_LONG_NAME, _MAX_SIZE = 4096, 2**60
_KINDS = {
    b"1": "a hard link",
    b"2": "a symbolic link",
    b"3": "a device",
    b"4": "a device",
    b"5": "a folder",
    b"6": "a pipe",
}
_REGULAR = b"0"


class DamagedHeader(Exception):
    """A header that is none: its checksum is wrong, or a field is nonsense."""


@dataclass(frozen=True, slots=True)
class Head:
    """What stands before the content of an entry: `raw` is all of it, `size` is the content's.

    `kind` is None for a regular file, or says in words what else it is.
    """

    raw: bytes
    path: str
    size: int
    kind: str | None


def padding(size: int) -> int:
    """Return how many zero bytes follow a content of this size."""
    return -size % BLOCK


def header(path: str, size: int) -> bytes:
    """Build all that stands before the content of a regular file."""
    name = path.encode("utf-8")
    if len(name) <= _MAX_NAME:
        return _header(name, size, _REGULAR)
    long = name + b"\0"
    head = _header(_LONG_LINK.encode(), len(long), b"L") + long + bytes(padding(len(long)))
    return head + _header(name[:_MAX_NAME], size, _REGULAR)


def entry_bytes(path: str, size: int) -> int:
    """Return how many bytes an entry takes, with its header and its padding."""
    return len(header(path, size)) + size + padding(size)


def read_head(read: Callable[[int], bytes]) -> Head | None:
    """Read what stands before a content; None where the archive's end begins.

    `read` gives exactly as many bytes as it is asked for.

    Raises:
        DamagedHeader: it is no header.

    """
    raw = read(BLOCK)
    if raw == bytes(BLOCK):
        return None
    name, size, kind = _parse(raw)
    if kind == b"L":
        if not 0 < size <= _MAX_LONG_NAME:
            raise DamagedHeader
        name = read(size + padding(size))
        last = read(BLOCK)
        raw += name + last
        name = name[: size - 1]
        _, size, kind = _parse(last)
    return Head(raw, name.decode("utf-8", "replace"), size, None if kind == _REGULAR else _KINDS.get(kind, "no file"))


def _header(name: bytes, size: int, kind: bytes) -> bytes:
    fields = [
        name.ljust(100, b"\0"),
        _octal(0o644, 8),
        _octal(0, 8),
        _octal(0, 8),
        _octal(size, 12) if size < 8**11 else b"\x80" + size.to_bytes(11, "big"),
        _octal(_MTIME, 12),
        b" " * 8,  # the checksum, counted as blanks
        kind,
        bytes(100),
        b"ustar  \0",
    ]
    head = b"".join(fields).ljust(BLOCK, b"\0")
    return head[:148] + b"%06o\0 " % sum(head) + head[156:]


def _octal(value: int, width: int) -> bytes:
    return b"%0*o\0" % (width - 1, value)


def _parse(raw: bytes) -> tuple[bytes, int, bytes]:
    """Take a header apart, whoever wrote it: name, size and type.

    Raises:
        DamagedHeader: its checksum or its size is wrong.

    """
    try:
        told = int(raw[148:156].strip(b"\0 "), 8)
        binary = raw[124] & 0x80
        size = int.from_bytes(raw[125:136], "big") if binary else int(raw[124:136].strip(b"\0 ") or b"0", 8)
    except ValueError as error:
        raise DamagedHeader from error
    if size > _MAX_SIZE or told != sum(raw[:148]) + 8 * ord(" ") + sum(raw[156:]) or size < 0:
        raise DamagedHeader
    name = raw[:100].split(b"\0", 1)[0]
    if raw[257:263] == b"ustar\0" and (prefix := raw[345:500].split(b"\0", 1)[0]):
        name = prefix + b"/" + name
    kind = raw[156:157]
    return name, size, _REGULAR if kind == b"\0" else kind
