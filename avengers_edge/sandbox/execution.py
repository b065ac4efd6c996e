"""One run of a program: its limits, its outcome, and the process that is watched until it ends."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from avengers_edge.errors import NoSandbox
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


class Watchdog:
    """Ends a process that exceeds its limits, and all that it started.

    Args:
        process: what was started; its time counts from now.
        outputs: the reading ends of the pipes of its standard output, its errors and the inner program's report.
        information: where bubblewrap says which process is the first of its own; None without bubblewrap.
        limits: what it may use.

    """

    def __init__(
        self, process: subprocess.Popen[bytes], outputs: Sequence[int], information: int | None, limits: Limits
    ) -> None:
        self._process, self._information, self._limits = process, information, limits
        self._start = time.monotonic()
        self._outputs = {file: bytearray() for file in outputs}
        self._stdout, self._stderr, self._report = self._outputs.values()
        self._cut: Outcome | None = None
        self._seconds = 0.0

    def run(self) -> None:
        """Read until everything is closed, which is when no process is left, or until a limit is exceeded."""
        deadline = self._start + self._limits.wall_seconds
        with selectors.DefaultSelector() as selector:
            for file in self._outputs:
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
                    self._outputs[key.fd].extend(piece)
                printed = len(self._stdout) + len(self._stderr)
                if printed > self._limits.output_bytes or len(self._report) > _LONGEST_REPORT:
                    self._cut = "output"
                    return

    def stop(self) -> None:
        """Ask the process to end before its time, from any thread; `run` then returns."""
        self._ask_to_end()

    def end(self) -> None:
        """End the process if it still runs, and all that it started with it; wait until they are gone."""
        if self._process.poll() is None:
            self._ask_to_end()
            try:
                self._process.wait(_KILL_AFTER_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._seconds = time.monotonic() - self._start

    def result(self, token: bytes, mechanism: str) -> tuple[Execution, bytes]:
        """Return the outcome and what was reported; with a token, nothing passes without it.

        Raises:
            NoSandbox: the program was not begun, because it could not be shut in.

        """
        most = self._limits.output_bytes
        stdout, stderr = (output[:most].decode("utf-8", "replace") for output in (self._stdout, self._stderr))
        if not self._report.startswith(READY):
            if self._cut == "timeout":
                raise NoSandbox(f"{mechanism} did not start in {self._limits.wall_seconds} s: try again")
            lines = stderr.strip().splitlines() or [f"it ended with {self._process.returncode}"]
            raise NoSandbox(f"{mechanism} does not work here: {lines[-1]}")
        code = self._process.returncode
        code = 128 - code if code < 0 else code
        execution = Execution(self._outcome(code, token), code, stdout, stderr, self._seconds)
        return execution, bytes(self._report[len(READY) :])

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
