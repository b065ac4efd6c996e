"""The models in memory: as many as fit, the least recently used one leaves first, and its conversation is parked.

    <home>/kv/<pid>-<random>-<model>.state     one model's KV state, readable by this user only

A file lives from a model's unloading to its return, at most as long as its process: what a killed process left is
removed when the next one starts. It is a convenience, so nothing that goes wrong with it stops an answer.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import logging
import math
import os
import re
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from avengers_edge.config import Settings
from avengers_edge.engine import devices
from avengers_edge.engine.loader import OpenEngine, llama_opener
from avengers_edge.engine.memory import DeviceMemory, Need, Placement, available_bytes, place, refusal
from avengers_edge.engine.protocol import ManagedEngine
from avengers_edge.errors import Cancelled, DoesNotFit, EngineDied
from avengers_edge.records import CancelToken, Closing

logger = logging.getLogger("avengers_edge.residency")

_NAME = re.compile(r"(\d+)-[0-9a-f]{8}-.+\.state")
_OLDEST_SECONDS = 24 * 3600  # a container gives its processes the same few numbers again and again
_DISK_RESERVE = 512 * 2**20


class Parking(Closing):
    """The saved conversations of one process's models; with `keep` False it saves none."""

    def __init__(self, folder: Path, *, keep: bool = True) -> None:
        self._folder, self._keeps = folder, keep
        self._parked: dict[str, tuple[Path, object]] = {}  # where the state is, and of which file of the model
        self._lock = threading.Lock()
        self._closed = False
        sweep(folder)

    def park(self, model: str, path: Path, engine: ManagedEngine, most_bytes: int) -> None:
        """Save a model's conversation if there is one and the disk has room for `most_bytes`."""
        if not self._keeps:
            return
        self._drop(model)
        safe = re.sub(r"[^A-Za-z0-9._-]", "_", model)[:100]
        state = self._folder / f"{os.getpid()}-{secrets.token_hex(4)}-{safe}.state"
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._folder.chmod(0o700)
            if shutil.disk_usage(self._folder).free < most_bytes + _DISK_RESERVE:
                logger.info("the conversation with %s is not kept: the disk is too full", model)
                return
            os.close(os.open(state, os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o600))
            if (tokens := engine.save_state(state)) > 0:
                state.chmod(0o600)
                with self._lock:
                    if not self._closed:
                        self._parked[model] = state, _signature(path)
                logger.info("kept %d tokens of the conversation with %s", tokens, model)
        except Exception as error:
            logger.warning("the conversation with %s is not kept: %s", model, error)
        finally:
            if model not in self._parked:
                _remove(state)

    def resume(self, model: str, path: Path, engine: ManagedEngine) -> None:
        """Restore the conversation of a model, if it was saved and the model's file is still the same."""
        parked = self._parked.get(model)
        if parked is None:
            return
        try:
            state, source = parked
            if source == _signature(path):
                logger.info("resumed %d tokens of the conversation with %s", engine.load_state(state), model)
        except Exception as error:
            logger.warning("the conversation with %s is not resumed: %s", model, error)
        finally:
            self._drop(model)

    def close(self) -> None:
        """Remove every saved conversation; none is kept from here on."""
        with self._lock:
            self._closed = True
            left, self._parked = self._parked, {}
        for state, _ in left.values():
            _remove(state)

    def _drop(self, model: str) -> None:
        with self._lock:
            parked = self._parked.pop(model, None)
        if parked:
            _remove(parked[0])


def sweep(folder: Path) -> None:
    """Remove what processes left that are gone."""
    for path in folder.glob("*.state"):
        if named := _NAME.fullmatch(path.name):
            with contextlib.suppress(OSError):
                if not _lives(int(named[1])) or time.time() - path.stat().st_mtime > _OLDEST_SECONDS:
                    path.unlink()


def _lives(pid: int) -> bool:
    if os.name == "nt":  # os.kill would end it there
        kernel: Any = getattr(ctypes, "windll").kernel32  # noqa: B009 - there is none elsewhere
        handle = kernel.OpenProcess(0x1000, False, pid)  # PROCESS_QUERY_LIMITED_INFORMATION
        return bool(handle and kernel.CloseHandle(handle))
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # another user's
        return True
    return True


def _signature(path: Path) -> object:
    status = path.stat()
    return path, status.st_size, status.st_mtime_ns


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)


_LONGEST_WAIT = 3600.0  # Windows cannot wait for more than 49 days at once


@dataclass(slots=True, eq=False)
class _Resident:
    """A model in memory; `unseen` are those of its bytes there that the system still calls available."""

    model: str
    path: Path
    engine: ManagedEngine
    placement: Placement
    kv_bytes: int
    unseen: int
    used_at: float
    leases: int = 1

    def close(self) -> None:
        try:
            self.engine.close()
        except Exception:  # it must not keep the next one from loading
            logger.exception("%s could not be closed", self.model)


class ModelPool(Closing):
    """Loads models on demand and keeps them while there is memory.

    A model is loaded if what it needs is free, or becomes free when idle models leave, the least recently used one
    first; nothing leaves when even that would not be enough. A model that is answering or pinned never leaves. Weights
    are mapped files, which the system goes on calling available, so each model's `unseen` bytes are subtracted.

    Args:
        path_of: finds a model's verified file.
        need_of: estimates what a file takes when loaded, `library.estimate` with the settings' KV type.
        settings: context, layers, what is pinned, how long an idle model stays.
        open_engine: loads a model; None loads it with llama.cpp as the settings say.
        available: free bytes of main memory, None where the system does not say: then one model is kept at a time.
        device_memory: what the devices that the build uses have free, None where there is none.
        clock: seconds that only grow.

    """

    def __init__(
        self,
        path_of: Callable[[str], Path],
        need_of: Callable[[Path], Need],
        settings: Settings,
        open_engine: OpenEngine | None = None,
        *,
        available: Callable[[], int | None] = available_bytes,
        device_memory: Callable[[], DeviceMemory | None] = devices.device_memory,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path_of, self._need_of, self._settings = path_of, need_of, settings
        self._stopped = CancelToken()
        self._open_engine = open_engine or llama_opener(settings, self._stopped)
        self._available, self._device_memory, self._clock = available, device_memory, clock
        self._parking = Parking(settings.home / "kv", keep=settings.park)
        self._residents: dict[str, _Resident] = {}
        self._changed = threading.Condition()  # guards the residents; never held while a model is loaded or closed
        self._moving = threading.Lock()  # one model is loaded or closed at a time; taken before the other
        self._watch: threading.Thread | None = None
        self._closed = False

    @property
    def resident(self) -> tuple[str, ...]:
        """The loaded models, the least recently used one first."""
        with self._changed:
            return tuple(held.model for held in self._by_age() if held.engine.alive)

    @contextlib.contextmanager
    def lease(self, model: str) -> Iterator[ManagedEngine]:
        """Lend a loaded model for as long as the block runs, loading it first if need be.

        Raises:
            NotFound, VerificationFailed: whatever `path_of` raises.
            DoesNotFit: it needs more memory than can be had.
            EngineDied: llama.cpp cannot load it, or this was closed.
            Cancelled: loading was stopped before it was loaded.

        """
        held = self._take(model)
        try:
            if self._moving.acquire(blocking=False):
                try:
                    self._close_expired()
                finally:
                    self._moving.release()
            yield held.engine
        finally:
            self._give_back(held)

    def stop_loading(self) -> None:
        """Abandon the load under way (without a worker it is freed later), and begin no other; what is loaded stays."""
        self._stopped.set()

    def close(self) -> None:
        """Free all models, those that are answering too."""
        self.stop_loading()
        with self._changed:
            self._closed = True
            leaving, self._residents = list(self._residents.values()), {}
            self._changed.notify_all()
        for held in leaving:
            held.close()
        self._parking.close()

    # --- leases ---

    def _take(self, model: str) -> _Resident:
        held = self._find(model)
        if held is None:
            with self._moving:
                held = self._find(model)  # another thread may have loaded it while this one waited
                if held is None:
                    self._close_expired()
                    held = self._load(model)
        return held

    def _find(self, model: str) -> _Resident | None:
        with self._changed:
            if self._closed:
                raise EngineDied(f"{model} was asked for after its models were closed: open them again")
            held = self._residents.get(model)
            if held is None or not held.engine.alive:
                return None
            held.leases, held.used_at = held.leases + 1, self._clock()
            return held

    def _give_back(self, held: _Resident) -> None:
        with self._changed:
            held.leases -= 1
            held.used_at = self._clock()
            if self._watch is None and self._settings.keep_alive >= 0 and not self._closed:
                watch = threading.Thread(target=self._watch_idle, name="avengers-keep-alive", daemon=True)
                with contextlib.suppress(RuntimeError):  # no thread can be had: leases close what is overdue
                    watch.start()
                    self._watch = watch
            self._changed.notify_all()

    # --- loading ---

    def _load(self, model: str) -> _Resident:
        path = self._path_of(model)
        self._unload(lambda: [held for held in self._residents.values() if not held.engine.alive])
        need = self._need_of(path)
        placement = self._make_room(model, need)
        before = self._available()
        engine = self._open(model, path, placement.gpu_layers)
        kv_bytes = need.kv_per_cell * self._settings.cells
        held = _Resident(model, path, engine, placement, kv_bytes, placement.host, self._clock())
        try:
            after = self._available()
            if before is not None and after is not None:
                held.unseen = max(0, placement.host - max(0, before - after))
            self._parking.resume(model, path, engine)
            if not engine.alive:
                raise EngineDied(f"{model} died while it was loaded: ask again")
            with self._changed:
                if self._closed:
                    raise EngineDied(f"{model} was loaded after its models were closed: open them again")
                self._residents[model] = held
        except BaseException:
            held.close()
            raise
        return held

    def _open(self, model: str, path: Path, gpu_layers: int) -> ManagedEngine:
        why = f"{model} is not loaded, because all models are being closed"
        if self._stopped.is_set():
            raise Cancelled(why)
        try:
            return self._open_engine(model, path, gpu_layers)
        except EngineDied as error:
            if self._stopped.is_set():
                raise Cancelled(why) from error
            raise

    def _make_room(self, model: str, need: Need) -> Placement:
        """Evict what has to leave, and no more; return where the model goes, or refuse it before any leaves."""
        free, device = self._free(), self._free_device()
        with self._changed:
            idle = self._idle()
        placement = self._place(need, device, idle)
        if free is not None and placement.host > (reach := free + sum(held.placement.host for held in idle)):
            raise self._refusal(model, need, placement.host, reach)
        layers = need.layers if self._settings.gpu_layers < 0 else min(self._settings.gpu_layers, need.layers)
        while True:
            placement = self._place(need, device)
            short = free is None or placement.host > free
            on_device = not short and 0 <= placement.gpu_layers < layers
            if not (short or on_device) or not self._evict_oldest(on_device=on_device):
                break
            free, device = self._free(), self._free_device()
        if free is not None and placement.host > free:
            raise self._refusal(model, need, placement.host, free)
        return placement

    def _place(self, need: Need, device: DeviceMemory | None, leaving: Sequence[_Resident] = ()) -> Placement:
        if device is not None:
            device = dataclasses.replace(device, free=device.free + sum(held.placement.device for held in leaving))
        return place(need, self._settings.cells, self._settings.gpu_layers, device)

    def _free(self) -> int | None:
        free = self._available()
        with self._changed:
            return None if free is None else max(0, free - sum(held.unseen for held in self._residents.values()))

    def _free_device(self) -> DeviceMemory | None:
        return self._device_memory() if self._settings.gpu_layers != 0 else None

    def _refusal(self, model: str, need: Need, host: int, free: int) -> DoesNotFit:
        with self._changed:
            idle = self._idle()
            staying = [held for held in self._by_age() if held not in idle]
            enough = host <= free + sum(held.placement.host for held in staying)
            names = [f"{held.model} ({'answering' if held.leases else 'pinned'})" for held in staying]
        return refusal(model, need, self._settings.cells, host, free, names if enough else ())

    # --- leaving ---

    def _by_age(self) -> list[_Resident]:
        return sorted(self._residents.values(), key=lambda held: held.used_at)

    def _idle(self) -> list[_Resident]:
        return [held for held in self._by_age() if not held.leases and held.model not in self._settings.pin]

    def _evict_oldest(self, *, on_device: bool) -> bool:
        """Close the least recently used idle model, `on_device` one that has layers there; False for none."""
        return self._unload(lambda: [held for held in self._idle() if held.placement.device or not on_device][:1])

    def _close_expired(self) -> None:
        self._unload(lambda: [held for held in self._idle() if self._due(held) <= self._clock()])

    def _unload(self, choose: Callable[[], list[_Resident]]) -> bool:
        """Close those that are chosen, and park their conversations; False for none."""
        with self._changed:
            leaving = choose()
            for held in leaving:
                del self._residents[held.model]
        for held in leaving:
            try:
                if held.engine.alive:
                    self._parking.park(held.model, held.path, held.engine, held.kv_bytes)
            finally:
                held.close()
            logger.info("unloaded %s", held.model)
        return bool(leaving)

    def _due(self, held: _Resident) -> float:
        return held.used_at + self._settings.keep_alive if self._settings.keep_alive >= 0 else math.inf

    def _watch_idle(self) -> None:
        while True:
            with self._changed:
                while not self._closed:
                    left = min(map(self._due, self._idle()), default=math.inf) - self._clock()
                    if left <= 0:
                        break
                    self._changed.wait(min(left, _LONGEST_WAIT))
                if self._closed:
                    return
            with self._moving:
                self._close_expired()
