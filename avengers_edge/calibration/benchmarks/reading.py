"""Published files as rows: JSON, JSON lines, CSV and TSV, plain or gzipped, parquet, and NumPy's arrays of objects."""

from __future__ import annotations

import csv
import gzip
import importlib
import json
import pickle
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import IO, NoReturn

from avengers_edge.errors import BadRequest, MissingExtra, NotFound

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


Located = tuple[str, Mapping[str, object]]
"""Where a row stands (file and line), and the row."""

_ROWS_AT_ONCE = 256
_LFS_POINTER = "version https://git-lfs"


def read_table(path: Path, under: str | None = None) -> Iterator[Located]:
    """Read a file row by row, by its ending.

    Args:
        path: the file.
        under: the name under which a JSON document keeps its list of rows.

    Raises:
        NotFound: there is no such file.
        BadRequest: it has another ending, or does not hold what its ending promises; the message names the line.
        MissingExtra: it is parquet and pyarrow is not installed.

    """
    ending = Path(path.name.removesuffix(".gz")).suffix.lower()
    if ending not in _READERS:
        raise BadRequest(
            f"{path}: rows are read from {', '.join(_READERS)} (.gz too), not from {ending or 'such a file'}"
        )
    if ending == ".json":
        return _read_json(path, under)
    return _READERS[ending](path)


def text_lines(path: Path) -> Iterator[str]:
    """Read a file of UTF-8 text line by line, blank ones left out.

    Raises:
        NotFound: there is no such file.
        BadRequest: it cannot be read.

    """
    with _opened(path) as lines:
        for line in lines:
            if line.strip():
                yield line.rstrip("\r\n")


@contextmanager
def _opened(path: Path) -> Iterator[IO[str]]:
    """Open text, and put what goes wrong on the way into our words."""
    try:
        with (
            gzip.open(path, "rt", encoding="utf-8-sig", newline="")
            if path.suffix == ".gz"
            else path.open(encoding="utf-8-sig", newline="")
        ) as file:
            if file.read(len(_LFS_POINTER)) == _LFS_POINTER:
                raise BadRequest(f"{path} only points into Git LFS: run git lfs pull, or download the file itself")
            file.seek(0)
            yield file
    except FileNotFoundError as error:
        raise NotFound(f"there is no file {path}") from error
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise BadRequest(f"{path} cannot be read: {error}") from error


def _read_lines(path: Path) -> Iterator[Located]:
    with _opened(path) as lines:
        yield from _json_lines(path, lines)


def _json_lines(path: Path, lines: Iterable[str]) -> Iterator[Located]:
    for number, line in enumerate(lines, 1):
        if line.strip():
            where = f"{path}, line {number}"
            yield _an_object(where, _parsed(where, line))


def _read_json(path: Path, under: str | None) -> Iterator[Located]:
    """Read a list, or an object with a list in it; some publish JSON lines under this ending."""
    with _opened(path) as file:
        text = file.read()
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        lines = [line for line in text.splitlines() if line.strip()]
        if len(lines) < 2 or not all(line.lstrip().startswith("{") for line in lines[:2]):
            raise BadRequest(f"{path} is not JSON: {error}") from error
        yield from _json_lines(path, text.splitlines())
        return
    if isinstance(document, dict):
        single = under is None or under not in document
        document = [document] if single else document[under]
    if not isinstance(document, list):
        raise BadRequest(f"{path}: holds no list of rows")
    for number, row in enumerate(document, 1):
        yield _an_object(f"{path}, row {number}", row)


def _read_separated(delimiter: str, path: Path) -> Iterator[Located]:
    with _opened(path) as file:
        table = csv.DictReader(file, delimiter=delimiter, restkey="")
        try:
            for row in table:
                where = f"{path}, line {table.line_num}"
                if "" in row and isinstance(row[""], list):
                    raise BadRequest(f"{where}: has more columns than the first line names")
                yield where, {name: value for name, value in row.items() if name is not None}
        except csv.Error as error:
            raise BadRequest(f"{path}, line {table.line_num}: {error}") from error


def _read_parquet(path: Path) -> Iterator[Located]:
    try:
        parquet = importlib.import_module("pyarrow.parquet")
    except ImportError as error:
        raise MissingExtra("pyarrow", "hub", "reading a parquet file") from error
    if not path.is_file():
        raise NotFound(f"there is no file {path}")
    number = 0
    try:
        for batch in parquet.ParquetFile(path).iter_batches(batch_size=_ROWS_AT_ONCE):
            for row in batch.to_pylist():
                number += 1
                yield f"{path}, row {number}", row
    except (OSError, ValueError) as error:  # pyarrow's own errors are either
        raise BadRequest(f"{path} cannot be read: {error}") from error


def _read_array(path: Path) -> Iterator[Located]:
    try:
        objects = objects_of(path)
    except FileNotFoundError as error:
        raise NotFound(f"there is no file {path}") from error
    except (OSError, ValueError) as error:
        raise BadRequest(f"{path} cannot be read: {error}") from error
    for number, row in enumerate(objects, 1):
        yield _an_object(f"{path}, row {number}", row)


def _parsed(where: str, line: str) -> object:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"{where}: not JSON: {error}") from error


def _an_object(where: str, row: object) -> Located:
    if not isinstance(row, dict):
        raise BadRequest(f"{where}: is a {type(row).__name__}, not an object with fields")
    return where, row


_READERS: Mapping[str, Callable[[Path], Iterator[Located]]] = MappingProxyType(
    {
        ".jsonl": _read_lines,
        ".json": partial(_read_json, under=None),
        ".csv": partial(_read_separated, ","),
        ".tsv": partial(_read_separated, "\t"),
        ".parquet": _read_parquet,
        ".npy": _read_array,
    }
)
