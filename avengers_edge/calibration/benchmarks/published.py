"""Published files as rows: JSON, JSON lines, CSV and TSV, plain or gzipped, parquet, and NumPy's arrays of objects."""

from __future__ import annotations

import csv
import gzip
import importlib
import json
import pickle
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NoReturn

from numpy.lib import format as npy

from avengers_edge.errors import BadRequest, MissingExtra, NotFound

Located = tuple[str, Mapping[str, object]]
"""Where a row stands (file and line), and the row."""

_ENDINGS = (".jsonl", ".json", ".csv", ".tsv", ".parquet", ".npy")
_ROWS_AT_ONCE = 256
_LFS_POINTER = "version https://git-lfs"
_LARGEST_ARRAY = 256 * 2**20


def read_table(path: Path, under: str | None = None) -> Iterator[Located]:
    """Read a file row by row, by its ending; `under` is the name under which a JSON document keeps its list of rows.

    Raises:
        NotFound: there is no such file.
        BadRequest: it has another ending, or does not hold what its ending promises; the message names the line.
        MissingExtra: it is parquet and pyarrow is not installed.

    """
    ending = Path(path.name.removesuffix(".gz")).suffix.lower()
    if ending not in _ENDINGS:
        raise BadRequest(
            f"{path}: rows are read from {', '.join(_ENDINGS)} (.gz too), not from {ending or 'such a file'}"
        )
    if ending == ".parquet":
        yield from _read_parquet(path)
        return
    if ending == ".npy":
        yield from _objects(path, objects_of(path))
        return
    with _opened(path) as file:
        if ending == ".json":
            yield from _read_json(path, file.read(), under)
        elif ending == ".jsonl":
            yield from _read_lines(path, file)
        else:
            yield from _read_separated(path, file, "\t" if ending == ".tsv" else ",")


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
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise NotFound(f"there is no file {path}") from error
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise BadRequest(f"{path} cannot be read: {error}") from error


@contextmanager
def _opened(path: Path) -> Iterator[IO[str]]:
    opener: Any = gzip.open if path.suffix == ".gz" else open
    with _reading(path), opener(path, "rt", encoding="utf-8-sig", newline="") as file:
        if file.read(len(_LFS_POINTER)) == _LFS_POINTER:
            raise BadRequest(f"{path} only points into Git LFS: run git lfs pull, or download the file itself")
        file.seek(0)
        yield file


def _read_lines(path: Path, lines: Iterable[str]) -> Iterator[Located]:
    for number, line in enumerate(lines, 1):
        if line.strip():
            where = f"{path}, line {number}"
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise BadRequest(f"{where}: not JSON: {error}") from error
            yield _object(where, row)


def _read_json(path: Path, text: str, under: str | None) -> Iterator[Located]:
    """Read a list, or an object with a list in it; some publish JSON lines under this ending."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        lines = [line.lstrip() for line in text.splitlines() if line.strip()]
        if len(lines) < 2 or not all(line.startswith("{") for line in lines[:2]):
            raise BadRequest(f"{path} is not JSON: {error}") from error
        yield from _read_lines(path, text.splitlines())
        return
    if isinstance(document, dict):
        document = document.get(under, [document])
    if not isinstance(document, list):
        raise BadRequest(f"{path}: holds no list of rows")
    yield from _objects(path, document)


def _read_separated(path: Path, file: IO[str], delimiter: str) -> Iterator[Located]:
    table = csv.DictReader(file, delimiter=delimiter)
    try:
        for row in table:
            where = f"{path}, line {table.line_num}"
            if None in row:
                raise BadRequest(f"{where}: has more columns than the first line names")
            yield where, row
    except csv.Error as error:
        raise BadRequest(f"{path}, line {table.line_num}: {error}") from error


def _read_parquet(path: Path) -> Iterator[Located]:
    try:
        parquet = importlib.import_module("pyarrow.parquet")
    except ImportError as error:
        raise MissingExtra("pyarrow", "hub", "reading a parquet file") from error
    with _reading(path):  # pyarrow's own errors are OSError or ValueError
        batches = parquet.ParquetFile(path).iter_batches(batch_size=_ROWS_AT_ONCE)
        yield from _objects(path, (row for batch in batches for row in batch.to_pylist()))


def _objects(path: Path, rows: Iterable[object]) -> Iterator[Located]:
    for number, row in enumerate(rows, 1):
        yield _object(f"{path}, row {number}", row)


def _object(where: str, row: object) -> Located:
    if not isinstance(row, dict):
        raise BadRequest(f"{where}: is a {type(row).__name__}, not an object with fields")
    return where, row


# --- arrays of objects, which are pickles: nothing that one names is imported or called ---


class _RefusedNameError(ValueError):
    """A pickle names what an array of plain objects does not need."""


class _StandIn:
    """Stands for whatever of NumPy an array's pickle names, and keeps the last item of its state: the objects."""

    def __init__(self, *_arguments: object) -> None:
        self.objects: object = None

    def __setstate__(self, state: object) -> None:
        if isinstance(state, tuple) and state:
            self.objects = state[-1]  # of an array: version, shape, dtype, order, objects


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> type:
        if (module, name) in (("numpy", "ndarray"), ("numpy", "dtype")):
            return _StandIn
        if module in ("numpy.core.multiarray", "numpy._core.multiarray") and name == "_reconstruct":
            return _StandIn
        return self._refuse(f"{module}.{name}")

    def persistent_load(self, pid: object) -> NoReturn:
        self._refuse(f"the object {pid!r}")

    def _refuse(self, name: str) -> NoReturn:
        raise _RefusedNameError(f"it asks for {name}, which an array of plain objects does not need")


def objects_of(path: Path) -> list[object]:
    """Return the objects of a `.npy` file of one dimension.

    Raises:
        NotFound: there is no such file.
        BadRequest: it cannot be read, or holds something else.

    """
    with _reading(path), path.open("rb") as file:
        if path.stat().st_size > _LARGEST_ARRAY:
            raise ValueError(f"it is larger than {_LARGEST_ARRAY} bytes")
        try:
            old = npy.read_magic(file) == (1, 0)
            _, _, kind = npy.read_array_header_1_0(file) if old else npy.read_array_header_2_0(file)
        except ValueError as error:
            raise ValueError(f"it is not a NumPy array: {error}") from error
        if not kind.hasobject:
            raise ValueError("it is an array of numbers or of text, not of objects: name the file with the questions")
        try:
            array = _PlainUnpickler(file).load()
        except _RefusedNameError:
            raise
        except Exception as error:  # a damaged pickle raises whatever its opcodes run into
            raise ValueError(f"its objects are damaged: {type(error).__name__}: {error}") from error
        if not isinstance(array, _StandIn) or not isinstance(array.objects, list):
            raise ValueError("it does not hold a list of objects")
        return array.objects
