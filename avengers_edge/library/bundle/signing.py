"""Signatures made: the one thing about a bundle that needs `cryptography`, on the machine that packs."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from avengers_edge.errors import BadRequest, MissingExtra, NotFound
from avengers_edge.library.bundle.ed25519 import read_public_key
from avengers_edge.library.files import read_small

_MAX_KEY_BYTES = 64 * 2**10


class Signer:
    """Signs with the Ed25519 private key in a PEM file, which is read when the signer is made.

    Raises:
        MissingExtra: `cryptography` is not installed.
        NotFound: there is no such file.
        BadRequest: it holds no such key.

    """

    def __init__(self, path: Path) -> None:
        if importlib.util.find_spec("cryptography") is None:
            raise MissingExtra("cryptography", "sign", "signing a bundle")
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        try:
            key = load_pem_private_key(_read_key(path), password=None)
        except TypeError as error:
            raise BadRequest(
                f"the key {path} is encrypted: decrypt it with `openssl pkey` for the time of signing"
            ) from error
        except (ValueError, UnsupportedAlgorithm) as error:
            raise BadRequest(
                f"{path} is no private key in PEM: make one with `openssl genpkey -algorithm ed25519`"
            ) from error
        if not isinstance(key, Ed25519PrivateKey):
            raise BadRequest(f"{path} is a key of another kind: make one with `openssl genpkey -algorithm ed25519`")
        self._key = key

    def sign(self, message: bytes) -> bytes:
        """Return the signature of a message, 64 bytes."""
        return self._key.sign(message)


def load_public_key(path: Path) -> bytes:
    """Read an Ed25519 public key from a PEM file.

    Raises:
        NotFound: there is no such file.
        BadRequest: it holds no such key.

    """
    return read_public_key(_read_key(path), str(path))


def _read_key(path: Path) -> bytes:
    try:
        return read_small(path, _MAX_KEY_BYTES)
    except FileNotFoundError as error:
        raise NotFound(f"there is no key {path}: name a PEM file") from error
    except (OSError, ValueError) as error:
        raise BadRequest(f"the key {path} cannot be read: {error}; name a PEM file") from error
