"""Ed25519 signatures checked in plain Python (RFC 8032): a machine that gets a bundle has no package for it yet.

Checking handles nothing secret, so it need not take constant time. Signing does: `pack` leaves it to `cryptography`.

The installer of a bundle contains this module, so it needs nothing but the standard library.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from pathlib import Path

from avengers_edge.errors import BadRequest, NotFound

_MAX_KEY_BYTES = 64 * 2**10

_P = 2**255 - 19
_ORDER = 2**252 + 27742317777372353535851937790883648493
_D = -121665 * pow(121666, _P - 2, _P) % _P
_ROOT = pow(2, (_P - 1) // 4, _P)  # a square root of -1
_SPKI = bytes.fromhex("302a300506032b6570032100")  # what RFC 8410 puts before the 32 bytes of a public key
_Point = tuple[int, int, int, int]
"""X, Y, Z, T with x = X/Z, y = Y/Z and xy = T/Z."""

_NEUTRAL: _Point = (0, 1, 1, 0)


def read_key_file(path: Path) -> bytes:
    """Return the content of a PEM file."""
    try:
        if path.exists() and not path.is_file():  # to open a pipe would wait for ever
            raise BadRequest(f"the key {path} is not a regular file: name a PEM file")
        with path.open("rb") as file:
            data = file.read(_MAX_KEY_BYTES + 1)
    except FileNotFoundError as error:
        raise NotFound(f"there is no key {path}: name a PEM file") from error
    except OSError as error:
        raise BadRequest(f"the key {path} cannot be read: {error.strerror or error}; name a PEM file") from error
    if len(data) > _MAX_KEY_BYTES:
        raise BadRequest(f"{path} is longer than any key: name a PEM file")
    return data


def load_public_key(path: Path) -> bytes:
    """Return the 32 bytes of the Ed25519 public key in a PEM file.

    Raises:
        NotFound: there is no such file.
        BadRequest: it holds no such key.

    """
    return read_public_key(read_key_file(path), str(path))


def read_public_key(pem: bytes, where: str) -> bytes:
    """Return the 32 bytes of an Ed25519 public key in PEM; `where` names it in a refusal."""
    if b"PRIVATE KEY" in pem:
        raise BadRequest(
            f"{where} is a private key: give the public one (`openssl pkey -in KEY -pubout`), keep this one"
        )
    lines = [line.strip() for line in pem.strip().splitlines()]
    if len(lines) < 3 or (lines[0], lines[-1]) != (b"-----BEGIN PUBLIC KEY-----", b"-----END PUBLIC KEY-----"):
        raise BadRequest(f"{where} is no public key in PEM: it must begin with -----BEGIN PUBLIC KEY-----")
    try:
        data = base64.b64decode(b"".join(lines[1:-1]), validate=True)
    except binascii.Error as error:
        raise BadRequest(f"{where} is a damaged PEM file: fetch it again") from error
    if len(data) != len(_SPKI) + 32 or not data.startswith(_SPKI):
        raise BadRequest(f"{where} is a key of another kind: use an Ed25519 public key")
    return data[len(_SPKI) :]


def is_signed(key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether `signature` (64 bytes) of `message` was made with the private half of `key` (32 bytes)."""
    if len(signature) != 64:
        return False
    public, commitment = _decode(key), _decode(signature[:32])
    scalar = int.from_bytes(signature[32:], "little")
    if public is None or commitment is None or scalar >= _ORDER:
        return False
    challenge = int.from_bytes(hashlib.sha512(signature[:32] + key + message).digest(), "little") % _ORDER
    return _same(_times(scalar, _BASE), _add(commitment, _times(challenge, public)))


def _decode(data: bytes) -> _Point | None:
    """Read a point; None where it is not on the curve or not in its only spelling."""
    value = int.from_bytes(data, "little")
    y, odd = value & (2**255 - 1), value >> 255
    if y >= _P:
        return None
    square = (y * y - 1) * pow(_D * y * y + 1, _P - 2, _P) % _P
    x = pow(square, (_P + 3) // 8, _P)
    if (x * x - square) % _P:
        x = x * _ROOT % _P
    if (x * x - square) % _P or (x == 0 and odd):
        return None
    if x & 1 != odd:
        x = _P - x
    return x, y, 1, x * y % _P


def _add(first: _Point, second: _Point) -> _Point:
    x1, y1, z1, t1 = first
    x2, y2, z2, t2 = second
    a, b = (y1 - x1) * (y2 - x2) % _P, (y1 + x1) * (y2 + x2) % _P
    c, d = 2 * t1 * t2 * _D % _P, 2 * z1 * z2 % _P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % _P, g * h % _P, f * g % _P, e * h % _P


def _times(scalar: int, point: _Point) -> _Point:
    total = _NEUTRAL
    while scalar:
        if scalar & 1:
            total = _add(total, point)
        point = _add(point, point)
        scalar >>= 1
    return total


def _same(first: _Point, second: _Point) -> bool:
    return (first[0] * second[2] - second[0] * first[2]) % _P == (first[1] * second[2] - second[1] * first[2]) % _P == 0


_base_y = (4 * pow(5, _P - 2, _P) % _P).to_bytes(32, "little")
_base = _decode(_base_y)
assert _base is not None
_BASE: _Point = _base
