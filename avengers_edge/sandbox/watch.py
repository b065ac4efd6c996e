"""A process while it runs: its output is read, its limits of time and output are kept, and it is seen to its end."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import time

from avengers_edge.errors import NoSandbox
from avengers_edge.sandbox.inside.program import OUT_OF_MEMORY, READY
from avengers_edge.sandbox.limits import Execution, Limits, Outcome

_PIECE = 65536
_LONGEST_REPORT = 2**22
_PATIENCE_SECONDS = 5.0


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
        """Read until everything is closed, which is when nobody is left, or until a limit bites."""
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
                if sum(map(len, self._outputs.values())) > self._limits.output_bytes or self._talks_too_much():
                    self._cut = "output"
                    return

    def end(self) -> None:
        """End the process if it still runs, and all that it started with it; wait until they are gone."""
        process = self._process
        deadline = time.monotonic() + _PATIENCE_SECONDS
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

    def finding(self, token: bytes, mechanism: str) -> Execution:
        """Say what became of it; with a token, nothing passes without it.

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

    def _talks_too_much(self) -> bool:
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
