"""How many cores there are to compute on."""

from __future__ import annotations

import os


def usable_cores() -> int:
    """Count the cores this process may run on, which under `taskset` or a cpuset are fewer than the machine's."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
