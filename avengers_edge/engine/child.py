"""A worker process as its parent holds it: the lines sent to it and read from it, and its end."""

from __future__ import annotations

import contextlib
import subprocess
import threading
from collections.abc import Iterator, Sequence
from typing import IO

from avengers_edge.engine import codec
from avengers_edge.engine.last_words import LastWords, ending
from avengers_edge.engine.spawn import start_worker

_POLITE_SECONDS = 2.0
_CLOSING_SECONDS = 0.5
_UNLOADED = "was unloaded"


class Child:
    """A process that was just started; see `spawn.start_worker`. Its methods may be called from any thread.

    Somebody has to read `lines` and somebody else to `listen`, each on a thread of its own, or it stands still.
    """

    def __init__(self, name: str, command: Sequence[str] | None = None) -> None:
        self._name = name
        self._writing = threading.Lock()
        self._deciding = threading.Lock()
        self._why: str | None = None  # what this side did to it
        self._said = LastWords()
        self.process = start_worker(name, command)

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self.process.poll() is None

    @property
    def written_to(self) -> bool:
        """Whether somebody is sending a line, and waits for as long as the process does not read it."""
        return self._writing.locked()

    def send(self, line: bytes) -> None:
        """Send a whole line; nothing happens where nobody is to read it."""
        left = memoryview(line)
        with self._writing:
            try:
                while left:
                    left = left[_pipe(self.process.stdin).write(left) :]
            except (OSError, ValueError):
                pass  # it is dead or being closed: whoever reads its lines will see
            except BaseException:  # Ctrl-C
                self.kill("was sent half a frame")
                raise

    def lines(self) -> Iterator[bytes]:
        """Read what it sends until it closes its pipe.

        Raises:
            BrokenFrame: a line is too long.
            OSError: the pipe cannot be read.

        """
        with _pipe(self.process.stdout) as stream:
            yield from codec.lines(stream.read)

    def listen(self) -> None:
        """Hear its complaints until it closes that pipe."""
        self._said.listen(_pipe(self.process.stderr))

    def kill(self, why: str) -> None:
        """End it at once; `why` becomes the reason of its death unless there is one already."""
        self._decide(why)
        self.process.kill()

    def dismiss(self) -> None:
        """Ask it to go, and kill it where it does not."""
        self._decide(_UNLOADED)
        try:
            if self.hang_up():  # which asks it
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self.process.wait(_POLITE_SECONDS)
        finally:
            self.process.kill()  # nothing happens where it went

    def hang_up(self) -> bool:
        """Close the pipe to it; False where somebody is still writing."""
        if not self._writing.acquire(timeout=_CLOSING_SECONDS):
            return False
        try:
            with contextlib.suppress(OSError):
                _pipe(self.process.stdin).close()
        finally:
            self._writing.release()
        return True

    def bury(self) -> str:
        """Say how it died. It closed its pipe, so it is dead or as good as dead."""
        try:
            self.process.wait(_POLITE_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill("closed its pipe")
            self.process.wait()
        self._said.ended.wait(_POLITE_SECONDS)
        how = self._why or ending(self.process.returncode)
        reason = "" if self._why == _UNLOADED else self._said.reason()
        return f"{self._name}: its worker process {how}{reason}; the next question starts it anew"

    def _decide(self, why: str) -> None:
        with self._deciding:
            self._why = self._why or why


def _pipe(stream: IO[bytes] | None) -> IO[bytes]:
    assert stream is not None  # all three are pipes
    return stream
