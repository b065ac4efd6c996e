"""NumPy's arrays of plain objects, read without ever running what a pickle asks for.

BRAINTEASER is published so. NumPy itself would unpickle it, which lets a file run any code; here the names that such a
file needs stand for values of ours that do nothing, and any other name is refused.
"""

from __future__ import annotations

import pickle
import struct
from pathlib import Path
from typing import NoReturn

_MAGIC = b"\x93NUMPY"
_NAMES = frozenset({("numpy.core.multiarray", "_reconstruct"), ("numpy._core.multiarray", "_reconstruct")})
_LARGEST_FILE = 256 * 2**20


class _Refused(ValueError):
    """A name that the module does not know."""


class _Type:
    """Stands for `numpy.ndarray`, which a file names only to have one made."""


class _Described:
    """Stands for a `numpy.dtype`; whatever describes it is not needed."""

    def __init__(self, *_description: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass


class _Array:
    """Stands for an array, and keeps the objects in it."""

    def __init__(self, *_shape: object) -> None:
        self.objects: object = None

    def __setstate__(self, state: object) -> None:
        if isinstance(state, tuple) and state:
            self.objects = state[-1]  # version, shape, dtype, order, objects


class _Harmless(pickle.Unpickler):
    """Knows three names; see the module."""

    def find_class(self, module: str, name: str) -> type:
        """Give the stand-in of a name."""
        if (module, name) in _NAMES:
            return _Array
        if (module, name) == ("numpy", "ndarray"):
            return _Type
        if (module, name) == ("numpy", "dtype"):
            return _Described
        return self._refuse(f"{module}.{name}")

    def persistent_load(self, pid: object) -> NoReturn:
        """Refuse what lies outside the file."""
        self._refuse(f"the object {pid!r}")

    def _refuse(self, name: str) -> NoReturn:
        raise _Refused(f"it asks for {name}, which an array of plain objects does not need")


def objects_of(path: Path) -> list[object]:
    """Return the objects of a `.npy` file of one dimension.

    Raises:
        OSError: the file cannot be read.
        ValueError: it holds something else.

    """
    with path.open("rb") as file:
        if path.stat().st_size > _LARGEST_FILE:
            raise ValueError(f"it is larger than {_LARGEST_FILE} bytes")
        head = file.read(8)
        width = 2 if head[6:7] == b"\x01" else 4
        size = file.read(width)
        if head[:6] != _MAGIC or len(size) != width:
            raise ValueError("it is not a NumPy array")
        header = file.read(struct.unpack("<H" if width == 2 else "<I", size)[0])
        if b"'|O'" not in header:
            raise ValueError("it is an array of numbers or of text, not of objects: name the file with the questions")
        try:
            array = _Harmless(file).load()
        except _Refused:
            raise
        except Exception as error:  # a damaged pickle raises whatever its opcodes run into
            raise ValueError(f"its objects are damaged: {type(error).__name__}: {error}") from error
    if not isinstance(array, _Array) or not isinstance(array.objects, list):
        raise ValueError("it does not hold a list of objects")
    return array.objects
