"""What can be deleted from the home folder: unfinished downloads, measurements and files of models that are gone."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from avengers_edge._util.files import exclusive, read_small, reading
from avengers_edge.errors import AvengersError, NotFound
from avengers_edge.library.catalog import Catalog
from avengers_edge.library.disk import bytes_below, disk_errors
from avengers_edge.library.receipts import receipt_path
from avengers_edge.library.store import Store

_TEMPORARY = re.compile(r"\..+-[a-z0-9_]{8}")
"""What `files.write_whole` calls a file that it has not finished."""
_OLD_SECONDS = 3600
_MOST_TUNING_BYTES = 64 * 2**10


@dataclass(frozen=True, slots=True)
class Leftover:
    """A file or folder that can go, how many bytes that frees, and why it is not needed."""

    path: Path
    bytes: int
    why: str


def find_leftovers(store: Store, catalog: Catalog) -> tuple[Leftover, ...]:
    """Find what can go; what another process is just working on is not among it.

    Raises:
        AvengersError: the home folder cannot be read.

    """
    with reading(store.home):
        return (
            *_unfinished(store.home / "partial"),
            *_unknown(store, catalog),
            *_orphaned(store),
            *_temporary(store.home),
        )


def delete(leftover: Leftover, home: Path) -> None:
    """Delete one; it may be gone already.

    Raises:
        AvengersError: it cannot be deleted, or another process has begun to work on it.

    """
    path = leftover.path
    with contextlib.ExitStack() as held, disk_errors(home, f"deleting {path}"):
        folders = [path, *path.parents]
        model = next((each.name for each in folders if each.parent in (home / "partial", home / "models")), None)
        if model is not None:
            busy = f"{path} is in use by another process: wait for it to end"
            held.enter_context(exclusive(home / "partial" / f"{model}.lock", busy))
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # not empty: the rest is needed
            if path.parent.parent == home / "models":
                path.parent.rmdir()


def _unfinished(partial: Path) -> Iterator[Leftover]:
    for folder in sorted(partial.iterdir()) if partial.is_dir() else ():
        if folder.is_dir() and not _busy(folder.with_name(f"{folder.name}.lock")):
            why = "an unfinished download or import; it would be gone on with"
            if folder.name.startswith("_packing"):
                why = "the packing of a bundle was killed"
            elif folder.name.startswith("_"):
                why = "an unfinished unpacking of a bundle; it would be gone on with"
            yield Leftover(folder, bytes_below(folder), why)


def _busy(lock: Path) -> bool:
    if not lock.exists():  # looking must not make one
        return False
    try:
        with exclusive(lock, "it is in use"):
            return False
    except AvengersError:
        return True


def _unknown(store: Store, catalog: Catalog) -> Iterator[Leftover]:
    """Find files in the store that no manifest knows; where a manifest cannot be read, its folder stays as it is."""
    models = store.home / "models"
    for folder in sorted(models.iterdir()) if models.is_dir() else ():
        if not folder.is_dir() or _busy(store.home / "partial" / f"{folder.name}.lock"):
            continue
        known: set[str] = set()
        try:
            manifest = catalog.load_model(folder.name)
        except NotFound:
            pass
        except AvengersError:
            continue
        else:
            place = store.place_of(manifest)
            known = {place.name, receipt_path(place).name, *(part.file for part in manifest.parts)}
        for path in sorted(folder.iterdir()):
            if path.name not in known and _TEMPORARY.fullmatch(path.name) is None:
                size = bytes_below(path) if path.is_dir() else path.lstat().st_size
                yield Leftover(path, size, f"no manifest of {folder.name} knows it")


def _orphaned(store: Store) -> Iterator[Leftover]:
    """Find measurements of files that are not installed."""
    tuning = store.home / "tuning"
    names = {each.path.name for each in store.installed()}
    for path in sorted(tuning.glob("*.json")) if tuning.is_dir() else ():
        model = None
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError, RecursionError):
            model = json.loads(read_small(path, _MOST_TUNING_BYTES))["model"]
        if model not in names:
            yield Leftover(path, path.lstat().st_size, f"it measured {model or 'nothing'}, which is not installed")


def _temporary(home: Path) -> Iterator[Leftover]:
    """Find files that a write left behind when its process was killed."""
    folders = [home, *(home / name for name in ("manifests", "teams", "tables", "tuning"))]
    folders += (home / "models").glob("*")
    for folder in folders:
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            status = path.lstat()
            if _TEMPORARY.fullmatch(path.name) and path.is_file() and time.time() - status.st_mtime > _OLD_SECONDS:
                yield Leftover(path, status.st_size, "a write was killed before it was whole")
