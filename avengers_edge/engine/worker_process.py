"""A worker process as its parent holds it: lines to it and from it, its standard error, a watchdog, its end."""

from __future__ import annotations

import collections
import contextlib
import io
import logging
import re
import signal
import subprocess
import threading
from collections.abc import Iterator, Sequence
from typing import IO, cast

from avengers_edge.engine import wire
from avengers_edge.engine.spawn import start_worker

logger = logging.getLogger("avengers_edge.llama")

SHUTDOWN_SECONDS = 2.0
_CLOSING_SECONDS = 0.5
_UNLOADED = "was unloaded"

_TELLING = re.compile(r"GGML_ASSERT|GGML_ABORT|terminate called|bad_alloc|MemoryError|out of memory", re.IGNORECASE)
_COMPLAINING = re.compile(r"\berror\b|\w+Error:|failed|fatal", re.IGNORECASE)
_TOO_LATE = re.compile(r"Timeout \([0-9:.]+\)!")  # what faulthandler says at `worker.template_limits`
_LINES, _LONGEST_LINE, _LONGEST_REASON = 20, 8192, 200

_POLLS = 8
_LONGEST_POLL = 5.0


class WorkerProcess:
    """A process that was just started; see `spawn.start_worker`. Its methods may be called from any thread.

    `lines` and `read_stderr` have to be read, each on a thread of its own, or it stands still.
    """

    def __init__(self, name: str, command: Sequence[str] | None = None) -> None:
        self._name = name
        self._writing = threading.Lock()
        self._reasons: list[str] = []  # what this side did to it
        self._stderr = StderrTail()
        self.popen = start_worker(name, command)

    @property
    def running(self) -> bool:
        return self.popen.poll() is None

    @property
    def written_to(self) -> bool:
        """Whether a line is being sent, which takes until the process reads it."""
        return self._writing.locked()

    def send(self, line: bytes) -> None:
        """Send a whole line; nothing happens where the process is gone."""
        left = memoryview(line)
        with self._writing:
            try:
                while left:
                    left = left[_pipe(self.popen.stdin).write(left) :]
            except (OSError, ValueError):
                pass  # it is dead or being closed: the reader of its lines will see
            except BaseException:  # Ctrl-C
                self.kill("was sent half a frame")
                raise

    def lines(self) -> Iterator[bytes]:
        with _pipe(self.popen.stdout) as stream:
            yield from wire.lines(stream.read)

    def read_stderr(self) -> None:
        self._stderr.read(_pipe(self.popen.stderr))

    def kill(self, why: str) -> None:
        """End it at once; `why` becomes the reason of its death unless there is one already."""
        self._reasons.append(why)
        self.popen.kill()

    def shutdown(self) -> None:
        """Ask it to go, and kill it where it does not."""
        self._reasons.append(_UNLOADED)
        try:
            if self.close_stdin():  # which asks it
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self.popen.wait(SHUTDOWN_SECONDS)
        finally:
            self.popen.kill()  # nothing happens where it went

    def close_stdin(self) -> bool:
        """Close the pipe to it; False where a line is still being sent."""
        if not self._writing.acquire(timeout=_CLOSING_SECONDS):
            return False
        try:
            with contextlib.suppress(OSError):
                _pipe(self.popen.stdin).close()
        finally:
            self._writing.release()
        return True

    def death(self) -> str:
        """Wait for its end and return how it died. It closed its pipe, so it is dead or as good as dead."""
        try:
            self.popen.wait(SHUTDOWN_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill("closed its pipe")
            self.popen.wait()
        self._stderr.ended.wait(SHUTDOWN_SECONDS)
        how = self._reasons[0] if self._reasons else ending(self.popen.returncode)
        reason = "" if how == _UNLOADED else self._stderr.reason()
        return f"{self._name}: its worker process {how}{reason}; the next question starts it anew"


class StderrTail:
    """The end of a process's standard error, which tells why it ended; all of it goes to the log."""

    def __init__(self) -> None:
        self._lines: collections.deque[str] = collections.deque(maxlen=_LINES)
        self._too_late = False
        self.ended = threading.Event()

    def read(self, stream: IO[bytes]) -> None:
        """Read an unbuffered stream to its end, close it and set `ended`."""
        try:
            with io.BufferedReader(cast(io.RawIOBase, stream)) as reader:
                while raw := reader.readline(_LONGEST_LINE):
                    self._take(raw.decode("utf-8", errors="replace"))
        finally:
            self.ended.set()

    def reason(self) -> str:
        """Return the last line that has a reason, as `": reason"`, or nothing."""
        if self._too_late:
            return ": its chat template takes too long, so take another model"
        lines = tuple(self._lines)[::-1]
        found = (line for pattern in (_TELLING, _COMPLAINING) for line in lines if pattern.search(line))
        return next((f": {line[:_LONGEST_REASON]}" for line in found), "")

    def _take(self, text: str) -> None:
        line = "".join(letter for letter in text if letter.isprintable()).strip()
        if line:
            self._lines.append(line)
            self._too_late = self._too_late or _TOO_LATE.fullmatch(line) is not None
            logger.debug("%s", line)


class Watchdog:
    """Counts how long a worker has owed a frame: in polls, not on a clock, since the machine may have slept."""

    def __init__(self, timeout: float) -> None:
        self.timeout = timeout
        self._received, self._seconds = -1, 0.0

    @property
    def poll_seconds(self) -> float:
        return min(self.timeout / _POLLS, _LONGEST_POLL)

    def expired(self, received: int, *, excused: bool) -> bool:
        """Poll: whether none came for `timeout` seconds; `received` counts them, and when `excused` none is due."""
        if excused or received != self._received:
            self._received, self._seconds = received, 0.0
        else:
            self._seconds += self.poll_seconds
        return self._seconds >= self.timeout


def ending(code: int) -> str:
    """Describe a process's exit status, as `subprocess` has it."""
    if code >= 0:
        return f"ended with exit code {code if code < 2**16 else hex(code)}"
    name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
    if name == "SIGKILL":
        return "was killed (SIGKILL; the system does that when memory runs out)"
    return f"died of {name}"


def _pipe(stream: IO[bytes] | None) -> IO[bytes]:
    assert stream is not None  # all three are pipes
    return stream
