"""How much memory a model may take."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from avengers_edge.errors import DoesNotFit

_MEMINFO = Path("/proc/meminfo")


def available_bytes() -> int | None:
    """Tell how much memory can be had without swapping; None where the system does not say."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in _MEMINFO.read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    with contextlib.suppress(AttributeError, OSError, ValueError):
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return None


def require_memory(model: str, need: int) -> None:
    """Refuse a model that needs more memory than there is, before the machine swaps or kills.

    Raises:
        DoesNotFit: the message has both numbers.

    """
    available = available_bytes()
    if available is not None and need > available:
        raise DoesNotFit(
            f"{model} needs about {need / 1e9:.1f} GB of memory and {available / 1e9:.1f} GB are free: "
            "close something, set a smaller `context` in settings.toml, or ask a smaller model with --model"
        )
