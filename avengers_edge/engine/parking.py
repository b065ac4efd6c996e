"""Keeps the conversation of a model that is unloaded, so that it need not be evaluated again when the model returns.

    <home>/kv/<pid>-<random>-<model>.state     one model's KV state, readable by this user only

A file lives from a model's unloading to its return, at most as long as its process: what a killed process left is
removed when the next one starts. All of it is a convenience, so nothing that goes wrong here stops an answer.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import re
import secrets
import shutil
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from avengers_edge.records import Closing

logger = logging.getLogger("avengers_edge.residency")

_NAME = re.compile(r"(\d+)-[0-9a-f]{8}-.+\.state")
_OLDEST_SECONDS = 24 * 3600  # a container gives its processes the same few numbers again and again
_DISK_RESERVE = 512 * 2**20


class Keeping(Protocol):
    """An engine whose conversation can be written to a file and read again."""

    def save_state(self, path: Path) -> int:
        """Write the most recent conversation's KV cells; return how many tokens, 0 for none."""

    def load_state(self, path: Path) -> int:
        """Read them back; return how many tokens, 0 where the file does not fit."""


@dataclass(frozen=True, slots=True)
class _Parked:
    state: Path
    source: tuple[Path, int, int]


class Parking(Closing):
    """The saved conversations of one process's models; with `keep` False it saves none."""

    def __init__(self, folder: Path, *, keep: bool = True) -> None:
        self._folder, self._keeps = folder, keep
        self._parked: dict[str, _Parked] = {}
        self._lock = threading.Lock()
        self._closed = False
        sweep(folder)

    def park(self, model: str, path: Path, engine: Keeping, most_bytes: int) -> None:
        """Save a model's conversation if there is one and the disk has room for `most_bytes`."""
        if not self._keeps:
            return
        self._drop(model)
        state = self._folder / f"{os.getpid()}-{secrets.token_hex(4)}-{_safe(model)}.state"
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._folder.chmod(0o700)
            if shutil.disk_usage(self._folder).free < most_bytes + _DISK_RESERVE:
                logger.info("the conversation with %s is not kept: the disk is too full", model)
                return
            os.close(os.open(state, os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o600))
            if (tokens := engine.save_state(state)) > 0:
                state.chmod(0o600)
                self._keep(model, _Parked(state, _signature(path)))
                logger.info("kept %d tokens of the conversation with %s", tokens, model)
        except Exception as error:
            logger.warning("the conversation with %s is not kept: %s", model, error)
        finally:
            if model not in self._parked:
                _remove(state)

    def resume(self, model: str, path: Path, engine: Keeping) -> None:
        """Restore the conversation of a model, if it was saved and the model's file is still the same."""
        parked = self._parked.get(model)
        if parked is None:
            return
        try:
            if parked.source == _signature(path):
                logger.info("resumed %d tokens of the conversation with %s", engine.load_state(parked.state), model)
        except Exception as error:
            logger.warning("the conversation with %s is not resumed: %s", model, error)
        finally:
            self._drop(model)

    def close(self) -> None:
        """Remove every saved conversation; none is kept from here on."""
        with self._lock:
            self._closed = True
            left, self._parked = self._parked, {}
        for parked in left.values():
            _remove(parked.state)

    def _keep(self, model: str, parked: _Parked) -> None:
        with self._lock:
            if not self._closed:
                self._parked[model] = parked

    def _drop(self, model: str) -> None:
        with self._lock:
            parked = self._parked.pop(model, None)
        if parked:
            _remove(parked.state)


def sweep(folder: Path) -> None:
    """Remove what processes left that are gone."""
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            named = _NAME.fullmatch(path.name)
            if named is None:
                continue
            with contextlib.suppress(OSError):
                if not _lives(int(named[1])) or time.time() - path.stat().st_mtime > _OLDEST_SECONDS:
                    path.unlink()


def _lives(pid: int) -> bool:
    if os.name == "nt":
        return _lives_on_windows(pid)  # os.kill would end it there
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # it lives and is another user's
        return True
    return True


def _lives_on_windows(pid: int) -> bool:
    kernel: Any = getattr(ctypes, "windll").kernel32  # noqa: B009 - there is none elsewhere
    handle = kernel.OpenProcess(0x1000, False, pid)  # PROCESS_QUERY_LIMITED_INFORMATION
    if handle:
        kernel.CloseHandle(handle)
    return bool(handle)


def _signature(path: Path) -> tuple[Path, int, int]:
    status = path.stat()
    return path, status.st_size, status.st_mtime_ns


def _safe(model: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]", "_", model)[:100]


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)
