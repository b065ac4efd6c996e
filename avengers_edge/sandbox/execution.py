"""One run of a program: its limits, its outcome, and the process that is watched until it ends."""

from __future__ import annotations

import contextlib
import json
import math
import os
import selectors
import signal
import subprocess
import time
from dataclasses import dataclass
from typing import Literal

from avengers_edge.errors import NoSandbox
from avengers_edge.records.basics import require, require_number, require_whole
from avengers_edge.sandbox.inside.program import OUT_OF_MEMORY, READY

MIB = 2**20

Outcome = Literal["passed", "failed", "timeout", "memory", "output", "killed"]


@dataclass(frozen=True, slots=True)
class Limits:
    """What one run may use. It is one process; `threads` are its own, and it can start no other process.

    `memory_bytes` bounds its address space, `file_bytes` all that it keeps in its folder (which lives in memory, too),
    `output_bytes` what it prints, both streams together. Seconds of the processor are counted in whole ones.
    """

    wall_seconds: float = 10.0
    cpu_seconds: float = 10.0
    memory_bytes: int = 512 * MIB
    file_bytes: int = 16 * MIB
    threads: int = 32
    output_bytes: int = MIB

    def __post_init__(self) -> None:
        require_number(self, "wall_seconds", "cpu_seconds")
        require_whole(self, "memory_bytes", "file_bytes", "threads", "output_bytes")
        for name in ("wall_seconds", "cpu_seconds"):
            value = getattr(self, name)
            require(0 < value <= 3600, f"{name} is {value}: use more than 0 and at most 3600")
        for name, least, most in (
            ("memory_bytes", 64 * MIB, 2**40),
            ("file_bytes", 4096, 2**40),
            ("threads", 1, 1024),
            ("output_bytes", 1, 2**30),
        ):
            value = getattr(self, name)
            require(least <= value <= most, f"{name} is {value}: use {least} to {most}")

    @property
    def whole_cpu_seconds(self) -> int:
        """The processor's seconds as the kernel counts them."""
        return math.ceil(self.cpu_seconds)


@dataclass(frozen=True, slots=True)
class Execution:
    """What became of a program. A failure is a finding, not an error.

    `outcome` says why it ended: `passed` is an exit with 0 (where there are tests: after the last of them), `failed`
    any other exit, `timeout`, `memory` and `output` a limit that bit, `killed` a signal. `exit_code` is 128 and the
    signal where there was one. Bytes that are no UTF-8 are replaced in `stdout` and `stderr`.
    """

    outcome: Outcome
    exit_code: int
    stdout: str
    stderr: str
    seconds: float

    @property
    def passed(self) -> bool:
        """Whether it did what was asked."""
        return self.outcome == "passed"


_PIECE = 65536
_LONGEST_REPORT = 2**22
_KILL_AFTER_SECONDS = 5.0


class Watch:
    """Watches one process.

    Args:
        process: what was started, with pipes for its output.
        report: where the inner program says what it did.
        information: where bubblewrap says which process is the first of its own; None without bubblewrap.
        limits: what it may use; time counts from now.

    """

    def __init__(self, process: subprocess.Popen[bytes], report: int, information: int | None, limits: Limits) -> None:
        if process.stdout is None or process.stderr is None:
            raise ValueError("the process has no pipes")
        self._process, self._information, self._limits = process, information, limits
        self._start = time.monotonic()
        self._outputs = {process.stdout.fileno(): bytearray(), process.stderr.fileno(): bytearray()}
        self._report_file, self._report = report, bytearray()
        self._cut: Outcome | None = None
        self._seconds = 0.0

    def run(self) -> None:
        """Read until everything is closed, which is when no process is left, or until a limit is exceeded."""
        deadline = self._start + self._limits.wall_seconds
        with selectors.DefaultSelector() as selector:
            for file in (*self._outputs, self._report_file):
                selector.register(file, selectors.EVENT_READ)
            while selector.get_map():
                ready = selector.select(max(0.0, deadline - time.monotonic()))
                if not ready:
                    self._cut = "timeout"
                    return
                for key, _ in ready:
                    piece = os.read(key.fd, _PIECE)
                    if not piece:
                        selector.unregister(key.fd)
                    self._outputs.get(key.fd, self._report).extend(piece)
                if sum(map(len, self._outputs.values())) > self._limits.output_bytes or self._report_is_too_long():
                    self._cut = "output"
                    return

    def end(self) -> None:
        """End the process if it still runs, and all that it started with it; wait until they are gone."""
        process = self._process
        deadline = time.monotonic() + _KILL_AFTER_SECONDS
        asked = False
        while process.poll() is None:
            if not asked:
                self._ask_to_end()
                asked = True
            elif time.monotonic() > deadline:
                process.kill()
            time.sleep(0.002)
        self._seconds = time.monotonic() - self._start
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()

    def execution(self, token: bytes, mechanism: str) -> Execution:
        """Return the outcome; with a token, nothing passes without it.

        Raises:
            NoSandbox: the program was not begun, because it could not be shut in.

        """
        stdout, stderr = (
            bytes(output[: self._limits.output_bytes]).decode("utf-8", "replace") for output in self._outputs.values()
        )
        if not self._report.startswith(READY):
            if self._cut == "timeout":
                raise NoSandbox(
                    f"{mechanism} did not start in {self._limits.wall_seconds} s: try again, or allow more time"
                )
            lines = stderr.strip().splitlines() or [f"it ended with {self._process.returncode}"]
            raise NoSandbox(f"{mechanism} does not work here: {lines[-1]}")
        code = self._process.returncode
        code = 128 - code if code < 0 else code
        return Execution(self._outcome(code, token), code, stdout, stderr, self._seconds)

    @property
    def report(self) -> bytes:
        """What the inner program reported after it had begun."""
        return bytes(self._report[len(READY) :])

    def _outcome(self, code: int, token: bytes) -> Outcome:
        if self._cut is not None:
            return self._cut
        if self._report.endswith(OUT_OF_MEMORY):
            return "memory"
        if code == 128 + signal.SIGKILL and self._seconds >= self._limits.cpu_seconds:
            return "timeout"  # only the kernel's count of the processor's time kills after that
        if 128 < code < 128 + signal.NSIG:
            return "killed"
        return "passed" if code == 0 and self._report == READY + token else "failed"

    def _report_is_too_long(self) -> bool:
        return len(self._report) > _LONGEST_REPORT

    def _ask_to_end(self) -> None:
        """Kill the first process inside, with which all others die; what waits for it outside then ends by itself."""
        first = self._first_process()
        with contextlib.suppress(ProcessLookupError):
            if first is None:
                self._process.send_signal(signal.SIGTERM)
            else:
                os.kill(first, signal.SIGKILL)

    def _first_process(self) -> int | None:
        """Read what bubblewrap said first; our own outer process says nothing, and kills the inner one itself."""
        if self._information is None:
            return None
        os.set_blocking(self._information, False)
        with contextlib.suppress(BlockingIOError, ValueError, KeyError, TypeError):
            said = os.read(self._information, _PIECE).decode("ascii", "replace")
            return int(json.JSONDecoder().raw_decode(said)[0]["child-pid"])
        return None
