"""How this program starts a Python process of its own.

A frozen program (PyInstaller and its like) has no Python interpreter: it starts itself with two arguments of ours, and
`worker.freeze_support`, which its main module calls first, does there as they say.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from avengers_edge.errors import BadRequest, EngineDied

WORKER = "avengers_edge.engine.worker"
DEVICES = "avengers_edge.engine.devices"
"""The modules that a frozen program runs; nothing is run with it that a model wrote."""

FROZEN_ARGUMENT = "--avengers-process"
supports_freezing = threading.Event()  # a fact of this process: its main module calls `freeze_support`

_ROOT = Path(__file__).parents[2]  # where this package is imported from
_SPINS = "10000"
"""How long a thread of GNU OpenMP spins for the next piece of work before it sleeps. By default it hardly ever sleeps,
and beside any other load a step of 20 ms then takes 300 ms and more: the threads wait for each other's time slices."""


def is_frozen() -> bool:
    """Return whether `sys.executable` is this program itself."""
    return bool(getattr(sys, "frozen", False))


def python_command(module: str) -> list[str]:
    """Return the command that runs a module in a process of its own, with `environment`, or raise `BadRequest`."""
    if sys.executable and not is_frozen():
        return [sys.executable, "-P", "-m", module]  # -P: or a json.py in the user's folder is imported
    if sys.executable and supports_freezing.is_set() and module in (WORKER, DEVICES):
        return [sys.executable, FROZEN_ARGUMENT, module]
    raise BadRequest(
        "this program has no Python interpreter to start a worker with: call avengers_edge.freeze_support() first "
        "in its main module, or set `worker = false` in settings.toml"
    )


def environment() -> dict[str, str]:
    """Return the variables for such a process: what can be imported here, can be there."""
    # An empty entry is the current folder, which -P is to leave out.
    paths = dict.fromkeys(str(path) for path in [*sys.path, _ROOT] if path)
    return {
        "GOMP_SPINCOUNT": _SPINS,
        **os.environ,
        "PYTHONPATH": os.pathsep.join(paths),
        "GGML_NO_BACKTRACE": "1",  # or an abort starts a debugger, which takes its time
    }


def start_worker(name: str, command: Sequence[str] | None = None) -> subprocess.Popen[bytes]:
    """Start the worker of the model `name` with three pipes; `command` stands in for it in tests."""
    # In a group of its own: the terminal's Ctrl-C is for the parent alone.
    if sys.platform == "win32":
        group, flags = None, subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW
    else:
        group, flags = 0, 0
    try:
        return subprocess.Popen(
            command or python_command(WORKER),
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(),
            process_group=group,
            creationflags=flags,
        )
    except OSError as error:
        raise EngineDied(f"{name}: its worker process cannot be started: {error}") from error


def output_of(command: Sequence[str], seconds: float, env: Mapping[str, str] | None = None) -> str:
    """Return what a program prints, nothing where it fails or takes too long."""
    try:
        done = subprocess.run(
            command,
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="replace",
            timeout=seconds,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout if done.returncode == 0 else ""
