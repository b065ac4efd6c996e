"""A model in a process of its own, so that nothing llama.cpp does can take this one down: `records.Engine` over pipes.

Three daemon threads a worker: one reads its frames and runs callbacks, one reads its complaints, one watches for
silence. The first alone decides that the worker is dead, and then fails whatever waits for it.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import functools
import io
import itertools
import logging
import operator
import os
import re
import signal
import subprocess
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, TimeoutError  # noqa: A004  # the builtin one, since Python 3.11
from pathlib import Path
from typing import IO, Any, cast

from avengers_edge.engine import wire, worker
from avengers_edge.engine.curve import StepCurve
from avengers_edge.engine.facts import EngineFacts
from avengers_edge.engine.options import LoadOptions
from avengers_edge.engine.ticket import Ticket
from avengers_edge.errors import BadRequest, EngineDied
from avengers_edge.records import Closing, Completion, Generation, OnFinish, OnToken, Request

logger = logging.getLogger("avengers_edge.llama")

_POLITE_SECONDS = 2.0
_GLANCE_SECONDS = 0.5
_TELLING = re.compile(r"GGML_ASSERT|GGML_ABORT|terminate called|bad_alloc|MemoryError|out of memory", re.IGNORECASE)
_COMPLAINING = re.compile(r"\berror\b|\w+Error:|failed|fatal", re.IGNORECASE)


@dataclasses.dataclass(slots=True, eq=False)
class _Call:
    """Something the worker was asked for."""

    future: Future[Any]
    on_finish: OnFinish | None = None
    on_token: OnToken | None = None
    parts: list[Completion] = dataclasses.field(default_factory=list)
    failure: BaseException | None = None


class WorkerEngine(Closing):
    """A `records.Engine` in a process of its own; `close` ends it, and so does the end of this process.

    Callbacks run on a thread of this object's. One that raises calls its request off, which then ends with that error.

    Args:
        path: the GGUF file.
        options: how it is loaded.
        curve: its step-time curve, where it was measured before.
        patience: seconds without a sign of life after which a worker that has something to do is killed.

    Raises:
        BadRequest: this program cannot start a Python interpreter.
        EngineDied: the process cannot be started, died, or says that the model cannot be loaded.
        AvengersError: whatever else loading it raises.

    """

    facts: EngineFacts

    def __init__(
        self,
        path: Path,
        options: LoadOptions,
        *,
        curve: StepCurve | None = None,
        patience: float = 120.0,
        _command: Sequence[str] | None = None,
    ) -> None:
        self._name = path.name
        self._patience = patience
        self._lock = threading.Lock()  # over the calls, the death and its reason; nothing is waited for under it
        self._calls: dict[int, _Call] = {}
        self._death: str | None = None
        self._why: str | None = None
        self._writing = threading.Lock()
        self._ids = itertools.count(1)
        self._heard = 0
        self._calling_back = False
        self._over = threading.Event()
        self._said: collections.deque[str] = collections.deque(maxlen=20)
        self._process = worker.start(self._name, _command)
        self.pid: int = self._process.pid
        self._threads = [
            threading.Thread(target=target, name=f"{self._name}: {name}", daemon=True)
            for target, name in ((self._read, "frames"), (self._drain, "complaints"), (self._watch, "watch"))
        ]
        try:
            for thread in self._threads:
                thread.start()
            self.facts = self._ask(lambda ident: wire.Open(ident, os.fspath(path.absolute()), options, curve))
        except BaseException:
            self._kill("was not waited for")
            self.close()
            raise

    @property
    def alive(self) -> bool:
        """Whether it can be asked; False from the moment its end is known."""
        return self._death is None and self._process.poll() is None

    def submit(self, request: Request, *, on_finish: OnFinish | None = None, on_token: OnToken | None = None) -> Ticket:
        """Hand a request in, from any thread.

        Raises:
            BadRequest: the request is too long to be passed on.
            EngineDied: the worker is dead.

        """
        ident = next(self._ids)
        ticket = Ticket(functools.partial(self._call_off, ident))
        call = _Call(ticket.future, on_finish, on_token)
        self._start(ident, call, wire.Submit(ident, request, on_finish is not None, on_token is not None))
        return ticket

    def generate(
        self,
        request: Request,
        *,
        on_finish: OnFinish | None = None,
        on_token: OnToken | None = None,
        cancel: threading.Event | None = None,
    ) -> Generation:
        """Sample one request; see `records.Engine`."""
        return self.submit(request, on_finish=on_finish, on_token=on_token).result(cancel)

    def count_tokens(self, request: Request) -> int:
        """Count the prompt's tokens as the model will see them."""
        return int(self._ask(lambda ident: wire.Count(ident, request)))

    def measure(self, budget: float) -> StepCurve:
        """Measure the step-time curve in about `budget` seconds."""
        curve: StepCurve = self._ask(lambda ident: wire.Measure(ident, float(budget)))
        return curve

    def save_state(self, path: Path) -> int:
        """Write the prefix kept last to a file; give its number of tokens, 0 for none."""
        return int(self._ask(lambda ident: wire.SaveState(ident, os.fspath(path.absolute()))))

    def load_state(self, path: Path) -> int:
        """Read a kept prefix from a file; give its number of tokens, 0 where it is of no use."""
        return int(self._ask(lambda ident: wire.LoadState(ident, os.fspath(path.absolute()))))

    def close(self) -> None:
        """End the process, whatever it does, and wait for that; a second call does nothing."""
        with self._lock:
            self._why = self._why or "was unloaded"
        try:
            if self._hang_up():  # which asks it to go
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(_POLITE_SECONDS)
        finally:
            self._process.kill()  # nothing happens where it went
            self._over.set()
            for thread in self._threads:
                if thread is not threading.current_thread() and thread.ident is not None:
                    thread.join(_POLITE_SECONDS)  # a callback may hang

    # --- asking --------------------------------------------------------------------------------

    def _ask(self, command: Callable[[int], wire.Command]) -> Any:  # noqa: ANN401  # each command has its own answer
        if threading.current_thread() is self._threads[0]:
            raise BadRequest("a callback cannot wait for the engine that calls it: ask from another thread")
        ident = next(self._ids)
        call = _Call(Future())
        self._start(ident, call, command(ident))
        while True:
            try:
                return call.future.result(timeout=_GLANCE_SECONDS)  # without an end, Windows could not interrupt it
            except TimeoutError:
                if call.future.done():
                    raise

    def _start(self, ident: int, call: _Call, command: wire.Command) -> None:
        line = wire.encode(command)
        with self._lock:
            if self._death is not None:
                raise EngineDied(self._death)
            self._calls[ident] = call
        self._write(line)

    def _call_off(self, ident: int) -> None:
        if ident in self._calls:
            self._write(wire.encode(wire.Cancel(ident)))

    def _write(self, line: bytes) -> None:
        left = memoryview(line)
        with self._writing:
            try:
                while left:
                    left = left[_pipe(self._process.stdin).write(left) :]
            except (OSError, ValueError):
                pass  # it is dead or being closed: whoever reads its frames will see, and fail the call
            except BaseException:  # Ctrl-C
                self._kill("was sent half a frame")
                raise

    def _hang_up(self) -> bool:
        if not self._writing.acquire(timeout=_GLANCE_SECONDS):
            return False
        try:
            with contextlib.suppress(OSError):
                _pipe(self._process.stdin).close()
        finally:
            self._writing.release()
        return True

    # --- hearing -------------------------------------------------------------------------------

    def _read(self) -> None:
        events = _pipe(self._process.stdout)
        with events:
            try:
                for line in wire.lines(events.read):
                    self._hear(line)
            except wire.BrokenFrame as error:
                logger.debug("%s", error)
                self._kill("sent what is no frame")
            except OSError as error:
                logger.debug("%s", error)
            finally:
                self._bury()

    def _hear(self, line: bytes) -> None:
        try:
            event = wire.decode(line)
        except wire.BrokenFrame:
            if self._heard:
                raise
            return  # its interpreter said something at its start
        self._heard += 1
        match event:
            case wire.Beat():
                pass
            case wire.Token(ident, index, piece):
                self._call_back(ident, self._call(ident).on_token, index, piece)
            case wire.Finish(ident, completion):
                needed = self._call_back(ident, self._call(ident).on_finish, completion)
                self._write(wire.encode(wire.Verdict(ident, needed)))
            case wire.Part(ident, completion):
                self._call(ident).parts.append(completion)
            case wire.Done(ident, generation):
                parts = tuple(self._call(ident).parts)
                self._settle(ident, dataclasses.replace(generation, completions=parts))
            case wire.Ready(ident, value) | wire.Measured(ident, value) | wire.Number(ident, value):
                self._settle(ident, value)
            case wire.Failed(ident):
                if event.fatal:  # nobody is to ask it again while it goes
                    self._death = event.message
                self._settle(ident, error=event.error())
            case _:
                raise wire.BrokenFrame(f"a {type(event).__name__} frame is not for the parent")

    def _call(self, ident: int) -> _Call:
        try:
            return self._calls[ident]
        except KeyError:
            raise wire.BrokenFrame(f"nothing waits for answer {ident}") from None

    def _call_back(self, ident: int, heard: Callable[..., int | None] | None, *what: object) -> int:
        call = self._call(ident)
        if heard is None or call.failure is not None:
            return 0
        self._calling_back = True
        try:
            needed = heard(*what)
            return operator.index(needed) if heard is call.on_finish else 0  # type: ignore[arg-type]
        except BaseException as error:  # it is the request's, never this thread's
            call.failure = error
            self._call_off(ident)
            return 0
        finally:
            self._calling_back = False
            self._heard += 1

    def _settle(self, ident: int, value: object = None, error: BaseException | None = None) -> None:
        call = self._call(ident)
        with self._lock:
            del self._calls[ident]
        _resolve(call, value, error)

    # --- its end -------------------------------------------------------------------------------

    def _kill(self, why: str) -> None:
        with self._lock:
            self._why = self._why or why
        self._process.kill()

    def _bury(self) -> None:
        """Find out how it died and tell everybody who waits; it closed its pipe, so it is dead or as good as dead."""
        try:
            self._process.wait(_POLITE_SECONDS)
        except subprocess.TimeoutExpired:
            self._kill("closed its pipe")
            self._process.wait()
        self._threads[1].join(_POLITE_SECONDS)  # for its last words
        how = self._why or _ending(self._process.returncode)
        reason = "" if self._why == "was unloaded" else _last_words(self._said)
        death = f"{self._name}: its worker process {how}{reason}; the next question starts it anew"
        with self._lock:
            self._death = self._death or death
            calls, self._calls = self._calls, {}
        self._over.set()
        self._hang_up()
        for call in calls.values():
            _resolve(call, error=EngineDied(death))

    def _watch(self) -> None:
        # Silence is counted in glances: when the machine or this process slept, the worker is not to blame.
        glance = min(self._patience / 8, 5.0)
        heard, silent = self._heard, 0.0
        while not self._over.wait(glance):
            excused = self._calling_back and not self._writing.locked()
            if heard != self._heard or excused or not self._calls:
                heard, silent = self._heard, 0.0
                continue
            silent += glance
            if silent >= self._patience:
                self._kill(f"did not answer for {self._patience:g} s and was killed")
                return

    def _drain(self) -> None:
        with io.BufferedReader(cast(io.RawIOBase, self._process.stderr)) as stream:
            for raw in iter(functools.partial(stream.readline, 8192), b""):
                text = raw.decode("utf-8", errors="replace")
                line = "".join(letter for letter in text if letter.isprintable()).strip()
                if line:
                    self._said.append(line)
                    logger.debug("%s", line)


def _resolve(call: _Call, value: object = None, error: BaseException | None = None) -> None:
    failure = call.failure if call.failure is not None else error
    if failure is not None:
        call.future.set_exception(failure)
    else:
        call.future.set_result(value)


def _pipe(stream: IO[bytes] | None) -> IO[bytes]:
    assert stream is not None  # all three are pipes
    return stream


def _ending(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code if code < 2**16 else hex(code)}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    if name == "SIGKILL":
        return "was killed (SIGKILL; the system does that when memory runs out)"
    return f"died of {name}"


def _last_words(said: Sequence[str]) -> str:
    for pattern in (_TELLING, _COMPLAINING):
        for line in reversed(said):
            if pattern.search(line):
                return f": {line[:200]}"
    return ""
