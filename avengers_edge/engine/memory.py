"""How much memory there is, what of a model goes where, and the words of a refusal."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from avengers_edge.engine.spawn import output_of
from avengers_edge.errors import DoesNotFit

LEAST_CELLS = 256
"""The smallest context that a model is loaded with."""

_MEMINFO = Path("/proc/meminfo")
_CGROUPS = Path("/sys/fs/cgroup")
_OWN_CGROUP = Path("/proc/self/cgroup")
_VM_STAT_SECONDS = 5
_DEVICE_RESERVE = 256 * 2**20  # what a device's driver and its scratch take beside the buffers


class Need(Protocol):
    """What a model takes, in bytes, as `library.estimate` tells from a file's header.

    `compute` does not grow with the context, `layers` can be offloaded, `total` is all with so many cells.
    """

    @property
    def weights(self) -> int: ...
    @property
    def kv_per_cell(self) -> int: ...
    @property
    def compute(self) -> int: ...
    @property
    def layers(self) -> int: ...
    def total(self, cells: int) -> int: ...


@dataclass(frozen=True, slots=True)
class DeviceMemory:
    """The free bytes of all devices that llama.cpp uses together; `unified` where what is put there counts in both."""

    free: int
    unified: bool = False


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a model goes: layers on devices (-1: all of them), and the bytes it takes there and in main memory."""

    gpu_layers: int
    host: int
    device: int


def available_bytes() -> int | None:
    """Return how much memory this machine or container has left without swapping; None where it does not say."""
    limits = [_system_bytes(), _cgroup_bytes()]
    return min((limit for limit in limits if limit is not None), default=None)


def largest_context(need: Need, available: int) -> int:
    """Return how many cells fit, in whole steps of `LEAST_CELLS`; 0 where not even one step does."""
    fixed = need.total(0)
    cells = max(0, available - fixed) // max(1, need.total(1) - fixed)
    return cells // LEAST_CELLS * LEAST_CELLS


def layers_that_fit(need: Need, cells: int, free: int) -> int:
    """Return how many layers a device with so many free bytes can take, all layers taken for equally large."""
    spread = need.weights + need.kv_per_cell * cells
    room = free - _DEVICE_RESERVE - need.compute
    return max(0, min(need.layers, room * need.layers // max(1, spread)))


def place(need: Need, cells: int, wanted: int, device: DeviceMemory | None) -> Placement:
    """Choose the layers to offload: as many as `wanted` (-1: all) and as fit, beside a KV cache of `cells` tokens."""
    total = need.total(cells)
    if wanted == 0 or device is None:
        return Placement(wanted, total, 0)
    layers = min(layers_that_fit(need, cells, device.free), need.layers if wanted < 0 else wanted)
    share = (need.weights + need.kv_per_cell * cells) * layers // max(1, need.layers)
    host = total if device.unified else total - share
    return Placement(-1 if layers == need.layers else layers, host, share + need.compute if layers else 0)


def refusal(model: str, need: Need, cells: int, host: int, free: int, holders: Iterable[str] = ()) -> DoesNotFit:
    """Return why a model is not loaded: both numbers, what stands in the way, and what would fit.

    `host` bytes of main memory are needed and `free` could be had; `holders` are resident models that cannot be evicted
    and whose memory would have been enough.
    """
    numbers = (
        f"{model} needs about {host / 1e9:.2f} GB of memory for a context of {cells} tokens and "
        f"{free / 1e9:.2f} GB can be had"
    )
    if names := ", ".join(holders):
        return DoesNotFit(f"{numbers}; {names} cannot be unloaded: ask again when it is done, or unpin it")
    on_device = need.total(cells) - host
    if fitting := largest_context(need, free + on_device):
        fitting = min(fitting, cells)
        return DoesNotFit(
            f"{numbers}: set `context = {fitting}` or less in settings.toml (or `--context` of `avengers serve`), or "
            "ask a smaller model"
        )
    weights = free + on_device - (need.total(LEAST_CELLS) - need.weights)
    if weights > 0:
        share = weights / need.weights
        return DoesNotFit(
            f"{numbers}, too few for any context: use a file of at most {weights / 1e9:.2f} GB "
            f"({share:.0%} of this one, so a smaller quantization or model)"
        )
    return DoesNotFit(f"{numbers}, too few for any file of this kind: close other programs")


# --- what the system says ---


def _system_bytes() -> int | None:
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in _MEMINFO.read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    if sys.platform == "win32":
        return _windows_bytes()
    elif sys.platform == "darwin":  # noqa: RET505 - mypy reads platforms only so
        return parse_vm_stat(output_of(["/usr/bin/vm_stat"], _VM_STAT_SECONDS))
    else:
        with contextlib.suppress(AttributeError, OSError, ValueError):
            return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        return None


def parse_vm_stat(text: str) -> int | None:
    """Read what macOS can hand out: free, inactive and speculative pages."""
    size = re.search(r"page size of (\d+) bytes", text)
    pages = re.findall(r"^Pages (?:free|inactive|speculative):\s+(\d+)\.", text, re.MULTILINE)
    return int(size[1]) * sum(map(int, pages)) if size and pages else None


def _windows_bytes() -> int | None:
    import ctypes

    class Status(ctypes.Structure):
        """MEMORYSTATUSEX."""

        _fields_ = (
            ("length", ctypes.c_uint32),
            ("load", ctypes.c_uint32),
            ("total", ctypes.c_uint64),
            ("available", ctypes.c_uint64),
            ("others", ctypes.c_uint64 * 5),
        )

    status = Status(length=ctypes.sizeof(Status))
    windll: Any = getattr(ctypes, "windll")  # noqa: B009 - there is none elsewhere
    return int(status.available) if windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status)) else None


def _cgroup_bytes() -> int | None:
    """Read what this process's control group (version 2) leaves; pages of files that were read can be had."""
    with contextlib.suppress(OSError, ValueError, TypeError):
        own = re.search("^0::/(.*)$", _OWN_CGROUP.read_text(encoding="utf-8"), re.MULTILINE)
        limit, used, details = (
            (_CGROUPS / own[1] / f"memory.{name}").read_text(encoding="ascii")  # type: ignore[index]
            for name in ("max", "current", "stat")
        )
        given_back = sum(map(int, re.findall(r"^(?:in)?active_file (\d+)$", details, re.MULTILINE)))
        return max(0, int(limit) - int(used) + given_back)  # or it is "max"
    return None
