"""Load and unload a model many times in worker processes, and time how soon the end of one is reported.

    python benchmarks/soak_worker.py MODEL.gguf [--cycles 200]

Prints a plain table: this process's resident memory as the cycles go on, then for each way to die the seconds from the
blow to the error, and whether a fresh worker answers the next question. Needs a POSIX system, /proc for the memory and
Linux for the failed allocation; what a system cannot do is said so.
"""

from __future__ import annotations

import argparse
import gc
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from avengers_edge.engine.protocol import LoadOptions
from avengers_edge.engine.worker_engine import WorkerEngine
from avengers_edge.errors import EngineDied
from avengers_edge.records import Message, Request, SamplingParams

OPTIONS = LoadOptions(cells=4096)
HANG_PATIENCE = 10.0


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description="Soak the worker process.")
    parser.add_argument("model", type=Path)
    parser.add_argument("--cycles", type=int, default=200)
    arguments = parser.parse_args()
    soak(arguments.model, arguments.cycles)
    print()
    die(arguments.model)


def soak(model: Path, cycles: int) -> None:
    """Load, ask and unload; print the memory after the first cycle, every twentieth and the last."""
    print(f"{'cycles':>8} {'MiB resident':>13} {'of the start':>13}")
    begin = 0.0
    for cycle in range(1, cycles + 1):
        with WorkerEngine(model, OPTIONS) as engine:
            engine.generate(question(max_tokens=4))
        if cycle == 1 or cycle % 20 == 0 or cycle == cycles:
            gc.collect()
            now = resident_mib()
            begin = begin or now
            print(f"{cycle:>8} {now:>13.1f} {now / begin if begin else 1:>12.1%}", flush=True)


def die(model: Path) -> None:
    """End a worker in each way in the middle of an answer."""
    print(f"{'end':<20} {'s to report':>11} {'answers anew':>12}  reported")
    blows: dict[str, Callable[[WorkerEngine], object]] = {
        "SIGKILL": lambda engine: os.kill(engine.pid, signal.SIGKILL),
        "SIGSEGV": lambda engine: os.kill(engine.pid, signal.SIGSEGV),
        "SIGABRT": lambda engine: os.kill(engine.pid, signal.SIGABRT),
        "failed allocation": starve,
        f"hang, {HANG_PATIENCE:g} s": lambda engine: os.kill(engine.pid, signal.SIGSTOP),
    }
    for name, blow in blows.items():
        if blow is starve and not sys.platform.startswith("linux"):
            print(f"{name:<20} skipped: prlimit is Linux's")
            continue
        seconds, reported = time_report(model, blow, HANG_PATIENCE if name.startswith("hang") else 120.0)
        with WorkerEngine(model, OPTIONS) as fresh:
            answers = bool(fresh.generate(question(max_tokens=4)).completions)
        print(f"{name:<20} {seconds:>11.2f} {'yes' if answers else 'no':>12}  {reported}", flush=True)


def time_report(model: Path, blow: Callable[[WorkerEngine], object], patience: float) -> tuple[float, str]:
    """Strike at the tenth piece of text; give the seconds until the request fails, and what it says."""
    pieces, struck = 0, 0.0

    def on_token(_index: int, _piece: str) -> None:
        nonlocal pieces, struck
        pieces += 1
        if pieces == 10:
            struck = time.perf_counter()
            blow(engine)

    with WorkerEngine(model, OPTIONS, timeout=patience) as engine:
        try:
            engine.generate(question(max_tokens=500, n=4), on_token=on_token)
        except EngineDied as error:
            return time.perf_counter() - struck, str(error)
    return float("nan"), "nothing: the answer came"


def starve(engine: WorkerEngine) -> None:
    """Leave it no memory to take, then hand it what needs some."""
    import resource

    resource.prlimit(engine.pid, resource.RLIMIT_AS, (2**20, 2**20))
    engine.submit(question("word " * 2**23))


def question(text: str = "Write a long story about three cats.", *, max_tokens: int = 24, n: int = 1) -> Request:
    """Make a request."""
    return Request((Message("user", text),), SamplingParams(max_tokens=max_tokens), n=n)


def resident_mib() -> float:
    """Read this process's resident memory, 0 where the system does not tell."""
    status = Path("/proc/self/status")
    if not status.exists():
        return 0.0
    line = next(line for line in status.read_text(encoding="ascii").splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    main()
