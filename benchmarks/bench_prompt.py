#!/usr/bin/env python3
"""Seconds from starting `avengers chat` to its first prompt, on a terminal of its own; POSIX only.

    python benchmarks/bench_prompt.py [ROUNDS]

The home folder is empty, and what answers is opened after the prompt stands, as it is for users.
"""

from __future__ import annotations

import os
import pty
import select
import signal
import statistics
import sys
import tempfile
import time

ROUNDS = 15
_CURSOR_ASKED, _CURSOR_ANSWER = b"\x1b[6n", b"\x1b[1;1R"
_HEADER = b"/help"


def main() -> None:
    """Measure, and print the median with its range, on the wall and in processor time."""
    rounds = int(sys.argv[1]) if sys.argv[1:] else ROUNDS
    with tempfile.TemporaryDirectory() as home:
        took = [first_prompt(home) for _ in range(rounds)]
    for name, seconds in zip(("wall", "processor"), zip(*took, strict=True), strict=True):
        print(f"{name:<10} {statistics.median(seconds):.2f} s  ({min(seconds):.2f} to {max(seconds):.2f})")


def first_prompt(home: str) -> tuple[float, float]:
    """Start a chat, wait for its prompt, kill it; give seconds on the wall and of the processor."""
    begin = time.perf_counter()
    child, terminal = pty.fork()
    if child == 0:
        os.environ.update(AVENGERS_HOME=home, TERM="xterm")
        os.execv(sys.executable, [sys.executable, "-m", "avengers_edge", "chat"])
    shown = b""
    while b">" not in shown.partition(_HEADER)[2]:
        if not select.select([terminal], [], [], 60)[0]:
            raise SystemExit(f"no prompt after a minute: {shown!r}")
        said = os.read(terminal, 65536)
        if _CURSOR_ASKED in said:
            os.write(terminal, _CURSOR_ANSWER)
        shown += said
    wall = time.perf_counter() - begin
    os.kill(child, signal.SIGKILL)
    _, _, usage = os.wait4(child, 0)
    os.close(terminal)
    return wall, usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main()
