"""A model in a process of its own, so that nothing llama.cpp does can take this one down: `records.Engine` over pipes.

Three daemon threads a worker: one reads its frames and runs callbacks, one reads its standard error, one is the
watchdog. The first alone decides that the worker is dead, and then fails whatever waits for it.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import logging
import operator
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from avengers_edge.engine import wire
from avengers_edge.engine.protocol import LoadOptions, ManagedEngine, RequestHandle, refuse_waiting_on, wait_for
from avengers_edge.engine.step_cost import StepCurve
from avengers_edge.engine.worker_process import SHUTDOWN_SECONDS, Watchdog, WorkerProcess
from avengers_edge.errors import EngineDied
from avengers_edge.records import MOST_SAMPLES, CancelToken, Completion, OnFinish, OnToken, Request

logger = logging.getLogger("avengers_edge.llama")


@dataclasses.dataclass(slots=True, eq=False)
class _Call:
    future: Future[Any]
    on_finish: OnFinish | None = None
    on_token: OnToken | None = None
    parts: list[Completion] = dataclasses.field(default_factory=list)
    failure: BaseException | None = None

    def settle(self, value: object = None, error: BaseException | None = None) -> None:
        if (failure := self.failure or error) is not None:
            self.future.set_exception(failure)
        else:
            self.future.set_result(value)


class WorkerEngine(ManagedEngine):
    """A `records.Engine` in a process of its own; `close` ends it, and so does the end of this process.

    A callback that raises cancels its request, which then ends with that error.

    Args:
        path: the GGUF file.
        options: how it is loaded.
        curve: its step-time curve, where it was measured before.
        timeout: seconds without a frame after which the watchdog kills a worker that has something to do.
        stop: ends the process while it loads the model.

    Raises:
        BadRequest: this program cannot start a Python interpreter.
        EngineDied: the process cannot be started, died, or says that the model cannot be loaded.
        AvengersError: whatever else loading it raises.

    """

    def __init__(
        self,
        path: Path,
        options: LoadOptions,
        *,
        curve: StepCurve | None = None,
        timeout: float = 120.0,
        stop: CancelToken | None = None,
        _command: Sequence[str] | None = None,
    ) -> None:
        self._lock = threading.Lock()  # over the calls and the death; nothing is waited for under it
        self._calls: dict[int, _Call] = {}
        self._death: str | None = None
        self._ids = itertools.count(1)
        self._received = 0
        self._calling_back = False
        self._over = threading.Event()
        self._watchdog = Watchdog(timeout)
        self._name = path.name
        self._process = WorkerProcess(path.name, _command)
        self.pid: int = self._process.popen.pid
        roles = {"frames": self._read, "stderr": self._process.read_stderr, "watchdog": self._watch}
        self._threads = [
            threading.Thread(target=target, name=f"{path.name}: {role}", daemon=True) for role, target in roles.items()
        ]
        self.server = self._threads[0]
        try:
            for thread in self._threads:
                thread.start()
            with (stop or CancelToken()).calling(lambda: self._process.kill("was ended while it loaded")):
                self.facts = self._ask(lambda ident: wire.Open(ident, os.fspath(path.absolute()), options, curve))
        except BaseException:
            self._process.kill("was not waited for")
            self.close()
            raise

    @property
    def alive(self) -> bool:
        return self._death is None and self._process.running

    def submit(
        self, request: Request, *, on_finish: OnFinish | None = None, on_token: OnToken | None = None
    ) -> RequestHandle:
        ident = next(self._ids)
        handle = RequestHandle(functools.partial(self._cancel, ident), self.server)
        call = _Call(handle.future, on_finish, on_token)
        self._start(ident, call, wire.Submit(ident, request, on_finish is not None, on_token is not None))
        return handle

    def count_tokens(self, request: Request) -> int:
        return int(self._ask(lambda ident: wire.Count(ident, request)))

    def measure(self, budget: float) -> StepCurve:
        curve: StepCurve = self._ask(lambda ident: wire.Measure(ident, float(budget)))
        return curve

    def save_state(self, path: Path) -> int:
        return int(self._ask(lambda ident: wire.SaveState(ident, os.fspath(path.absolute()))))

    def load_state(self, path: Path) -> int:
        return int(self._ask(lambda ident: wire.LoadState(ident, os.fspath(path.absolute()))))

    def close(self) -> None:
        """End the process, whatever it does, and wait for that; a second call does nothing."""
        try:
            self._process.shutdown()
        finally:
            self._over.set()
            for thread in self._threads:
                if thread is not threading.current_thread() and thread.ident is not None:
                    thread.join(SHUTDOWN_SECONDS)  # a callback may hang, and what waits is told all the same
            self._fail_all(f"{self._name} was unloaded: ask again")

    # --- asking --------------------------------------------------------------------------------

    def _ask(self, command: Callable[[int], wire.Command]) -> Any:  # noqa: ANN401  # each command has its own answer
        refuse_waiting_on(self.server)
        ident = next(self._ids)
        call = _Call(Future())
        self._start(ident, call, command(ident))
        return wait_for(call.future)

    def _start(self, ident: int, call: _Call, command: wire.Command) -> None:
        line = wire.encode_strictly(command)
        with self._lock:
            if self._death is not None:
                raise EngineDied(self._death)
            self._calls[ident] = call
        self._process.send(line)

    def _cancel(self, ident: int) -> None:
        if ident in self._calls:
            self._process.send(wire.encode(wire.Cancel(ident)))

    # --- receiving -------------------------------------------------------------------------------

    def _read(self) -> None:
        try:
            for line in self._process.lines():
                self._receive(line)
        except wire.BrokenFrame as error:
            logger.debug("%s", error)
            self._process.kill("sent what is no frame")
        except OSError as error:
            logger.debug("%s", error)
        finally:
            self._fail_all(self._process.death())
            self._process.close_stdin()

    def _receive(self, line: bytes) -> None:
        try:
            event = wire.decode(line)
        except wire.BrokenFrame:
            if self._received:
                raise
            return  # its interpreter said something at its start
        self._received += 1
        match event:
            case wire.Heartbeat():
                pass
            case wire.Token(ident, index, piece):
                self._call_back(ident, self._call(ident).on_token, index, piece)
            case wire.Finish(ident, completion):
                needed = self._call_back(ident, self._call(ident).on_finish, completion)
                self._process.send(wire.encode(wire.StopDecision(ident, needed)))
            case wire.Part(ident, completion):
                self._call(ident).parts.append(completion)
            case wire.Done(ident, generation):
                parts = tuple(self._call(ident).parts)
                self._settle(ident, dataclasses.replace(generation, completions=parts))
            case wire.Ready(ident, value) | wire.Measured(ident, value) | wire.Number(ident, value):
                self._settle(ident, value)
            case wire.Failed(ident):
                if event.fatal:  # it is not asked again while it ends
                    self._death = event.message
                self._settle(ident, error=event.error())
            case _:
                raise wire.BrokenFrame(f"a {type(event).__name__} frame is not for the parent")

    def _call(self, ident: int) -> _Call:
        try:
            return self._calls[ident]
        except KeyError:
            raise wire.BrokenFrame(f"nothing waits for answer {ident}") from None

    def _call_back(self, ident: int, callback: Callable[..., int | None] | None, *what: object) -> int:
        call = self._call(ident)
        if callback is None or call.failure is not None:
            return 0
        self._calling_back = True
        try:
            needed = callback(*what)
            # As a plain int: True is one to Python, but not to the frames.
            return int(min(operator.index(needed), MOST_SAMPLES)) if callback is call.on_finish else 0  # type: ignore[arg-type]
        except BaseException as error:  # it is the request's, never this thread's
            call.failure = error
            self._cancel(ident)
            return 0
        finally:
            self._calling_back = False
            self._received += 1

    def _settle(self, ident: int, value: object = None, error: BaseException | None = None) -> None:
        call = self._call(ident)
        with self._lock:
            del self._calls[ident]
        call.settle(value, error)

    # --- its end -------------------------------------------------------------------------------

    def _fail_all(self, death: str) -> None:
        with self._lock:
            self._death = self._death or death
            calls, self._calls = self._calls, {}
        self._over.set()
        for call in calls.values():
            call.settle(error=EngineDied(death))

    @property
    def _excused(self) -> bool:
        """Whether no frame is due: nothing is asked, or the worker waits for a callback."""
        return not self._calls or (self._calling_back and not self._process.written_to)

    def _watch(self) -> None:
        while not self._over.wait(self._watchdog.poll_seconds):
            if self._watchdog.expired(self._received, excused=self._excused):
                self._process.kill(f"did not answer for {self._watchdog.timeout:g} s and was killed")
                return
