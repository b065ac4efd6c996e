"""How many cores there are to compute on."""

from __future__ import annotations

import contextlib
import math
import os
import subprocess
import sys
from collections.abc import Collection, Iterator
from pathlib import Path, PurePosixPath

_ROOT = Path("/")
_FEW = 4
_SYSCTL_SECONDS = 5


def usable_cores(root: Path = _ROOT) -> int:
    """Count the cores that are worth a thread each.

    Those of an affinity mask or cpuset, each physical core once, and no more than a container's quota pays for.
    `root` is where the system's files are looked for.
    """
    cpus = _allowed_cpus()
    physical = mac_cores(_ask_mac()) if sys.platform == "darwin" else physical_cores(cpus, root)
    return choose_threads(len(cpus), physical, cpu_quota(root))


def choose_threads(logical: int, physical: int | None, quota: float | None) -> int:
    """Choose a number of threads.

    Two threads of one core share its arithmetic units and gain nothing from each other, but below four cores they hide
    what else the machine does. A thread beyond the quota only uses it up sooner: then all stand still together.
    """
    threads = max(physical or logical, min(_FEW, logical))
    return threads if quota is None else min(threads, max(1, math.ceil(quota)))


def physical_cores(cpus: Collection[int], root: Path = _ROOT) -> int | None:
    """Count the physical cores of some logical ones; None where the system does not say."""
    cores = set()
    for cpu in cpus:
        file = root / f"sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list"
        try:
            cores.add(file.read_text(encoding="ascii").strip())
        except (OSError, ValueError):
            return None
    return len(cores)


def cpu_quota(root: Path = _ROOT) -> float | None:
    """Return how many cores' worth of time the control groups give this process, version 1 or 2; None for no limit."""
    with contextlib.suppress(OSError, ValueError):
        own = (root / "proc/self/cgroup").read_text(encoding="utf-8")
        return min((quota for folder in _groups(own, root) if (quota := _quota_of(folder))), default=None)
    return None


def mac_cores(said: str) -> int | None:
    """Read what `sysctl -n` names of the performance cores, or of all where there is one kind only."""
    words = said.split()
    return int(words[0]) if words and words[0].isdecimal() else None


def _groups(own: str, root: Path) -> Iterator[Path]:
    """Find the folders of a process's CPU group and of all above it: each of them may set a limit."""
    for line in own.splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        mounts = [root / "sys/fs/cgroup" / mount for mount in (controllers, "cpu" if controllers else "unified")]
        parts = [part for part in PurePosixPath(path).parts if part not in ("/", "..")]
        for mount in mounts:
            yield from (mount.joinpath(*parts[:depth]) for depth in range(len(parts) + 1))


def _quota_of(folder: Path) -> float | None:
    with contextlib.suppress(OSError, ValueError):
        quota, period = (folder / "cpu.max").read_text(encoding="ascii").split()
        return None if quota == "max" else int(quota) / int(period)
    with contextlib.suppress(OSError, ValueError):
        quota, period = ((folder / f"cpu.cfs_{name}_us").read_text(encoding="ascii") for name in ("quota", "period"))
        return int(quota) / int(period) if int(quota) > 0 else None
    return None


def _allowed_cpus() -> Collection[int]:
    if hasattr(os, "sched_getaffinity"):  # Linux
        return os.sched_getaffinity(0)
    return range(os.cpu_count() or 1)


def _ask_mac() -> str:
    # An Intel Mac does not know the first name, and tells the second one all the same.
    command = ["/usr/sbin/sysctl", "-n", "hw.perflevel0.physicalcpu", "hw.physicalcpu"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=_SYSCTL_SECONDS, check=False).stdout
    except (OSError, subprocess.SubprocessError):
        return ""
