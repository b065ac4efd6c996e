"""A frozen program (PyInstaller and its like) as its own worker: it has no Python interpreter to start one with."""

from __future__ import annotations

import sys
import threading

_MARK = "--avengers-process"
_MODULES = ("avengers_edge.engine.worker", "avengers_edge.engine.hardware")
_supported = threading.Event()  # a fact of this process, whatever is open in it: started again, it does what it is told


def is_frozen() -> bool:
    """Tell whether `sys.executable` is this program itself."""
    return bool(getattr(sys, "frozen", False))


def freeze_support() -> None:
    """Let a frozen program start its own worker processes: its main module calls this first.

    A worker is the same program with two arguments of ours. There this does the worker's work and does not return;
    everywhere else it does nothing.
    """
    if not is_frozen():
        return
    _supported.set()
    if len(sys.argv) != 3 or sys.argv[1] != _MARK:
        return
    from avengers_edge.engine import hardware, worker  # named, so that whatever freezes the program takes them along

    {worker.__name__: worker.main, hardware.__name__: hardware.report_devices}[sys.argv[2]]()
    sys.exit()


def frozen_command(module: str) -> list[str] | None:
    """Give the command that has this frozen program run a module instead; None where it would not heed it."""
    return [sys.executable, _MARK, module] if _supported.is_set() and module in _MODULES else None
