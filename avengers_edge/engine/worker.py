"""The child process that holds one model: `python -m avengers_edge.engine.worker`, started by `WorkerEngine`.

Three threads: this one obeys commands in their order, a listener reads them, and the engine's own thread samples. The
listener never waits for the other two, so a stop decision always arrives, and when the parent's pipe ends it ends the
process at once, whatever native code is running.
"""

from __future__ import annotations

import contextlib
import dataclasses
import faulthandler
import functools
import logging
import os
import queue
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path

from avengers_edge.engine import spawn, wire
from avengers_edge.engine.protocol import LoadOptions, ManagedEngine, RequestHandle
from avengers_edge.engine.step_cost import StepCurve
from avengers_edge.errors import AvengersError
from avengers_edge.records import Completion, Generation

_HEARTBEAT_SECONDS = 0.5
_PARENT_IS_DONE, _CANNOT_GO_ON = 0, 1

TEMPLATE_SECONDS, TEMPLATE_BYTES = 10.0, 2**30
"""What a chat template may take of time and memory; the models' own take a thousandth of a second."""

MakeEngine = Callable[[Path, LoadOptions, StepCurve | None, Callable[[], None]], ManagedEngine]


def make_llama(
    path: Path, options: LoadOptions, curve: StepCurve | None, on_heartbeat: Callable[[], None]
) -> ManagedEngine:
    """Load a model with llama.cpp."""
    from avengers_edge.engine.llama import LlamaEngine  # not before the listener runs: it takes a while

    return LlamaEngine(path, options, curve=curve, on_heartbeat=on_heartbeat, template_limits=template_limits)


@contextlib.contextmanager
def template_limits(seconds: float = TEMPLATE_SECONDS, size: int = TEMPLATE_BYTES) -> Iterator[None]:
    """Bound the time and, on Linux, the memory of foreign code on the engine's thread, which is all that runs then.

    Unless the block ends in time this process does; the parent's `StderrTail` knows why. Memory beyond `size` bytes is
    a `MemoryError` in the block.
    """
    faulthandler.dump_traceback_later(seconds, exit=True, file=sys.stderr)
    try:
        with _memory_limit(size):
            yield
    finally:
        faulthandler.cancel_dump_traceback_later()


@contextlib.contextmanager
def _memory_limit(size: int) -> Iterator[None]:
    statm = Path("/proc/self/statm")
    if sys.platform != "linux" or not statm.exists():
        yield
        return
    import resource

    taken = int(statm.read_text(encoding="ascii").split()[0]) * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    bounds = [bound for bound in (soft, hard, taken + size) if bound != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_AS, (min(bounds), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def main(make: MakeEngine = make_llama) -> None:
    """Serve on standard input and output, then end the process."""
    commands, events = _take_pipes()
    _stand_alone()
    try:
        serve(commands, events, make)
    except BaseException:
        traceback.print_exc()
        os._exit(_CANNOT_GO_ON)
    os._exit(_PARENT_IS_DONE)  # not in an orderly way: native threads may run, and what they hold goes with the process


def freeze_support() -> None:
    """Let a frozen program start its own worker processes: its main module calls this first.

    In such a process, the same program with two arguments of ours, this does the worker's work and does not return.
    """
    if not spawn.is_frozen():
        return
    spawn.supports_freezing.set()
    if len(sys.argv) != 3 or sys.argv[1] != spawn.FROZEN_ARGUMENT:
        return
    from avengers_edge.engine import devices  # named, so that whatever freezes the program takes it along

    {spawn.WORKER: main, spawn.DEVICES: devices.report_devices}[sys.argv[2]]()
    sys.exit()


def serve(commands: int, events: int, make: MakeEngine, leave: Callable[[int], object] = os._exit) -> None:
    """Obey the frames of one pipe and answer on another (file descriptors) until the first one ends; then `leave`."""
    server = _Server(events, leave)
    threading.Thread(target=server.listen, args=(commands,), name="listener", daemon=True).start()
    server.obey(make)


def _take_pipes() -> tuple[int, int]:
    # Native code that prints must not reach the frames, nor code that asks the user eat them.
    commands, events = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    os.write(events, b"\n")  # something may have been printed before
    return commands, events


def _stand_alone() -> None:
    # It ends quietly, wholly, before others when memory runs out, and not by the user's Ctrl-C.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.excepthook = _end_with_thread
    log = logging.getLogger("avengers_edge.llama")
    log.addHandler(logging.StreamHandler(sys.stderr))
    log.setLevel(logging.INFO)  # each graph that llama.cpp builds brings ten lines below that
    if sys.platform == "win32":
        import msvcrt

        # A crash would open a window and wait for a click.
        msvcrt.SetErrorMode(msvcrt.SEM_FAILCRITICALERRORS | msvcrt.SEM_NOGPFAULTERRORBOX)
        return
    import resource

    with contextlib.suppress(OSError, ValueError):
        # A core file has the size of the model, and the parent would wait for it. One byte rather than none: that
        # stops those that are piped to a program as well, core(5).
        resource.setrlimit(resource.RLIMIT_CORE, (1, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("300", encoding="ascii")  # it can be started anew, its parent not


def _end_with_thread(arguments: threading.ExceptHookArgs) -> None:
    traceback.print_exception(arguments.exc_type, arguments.exc_value, arguments.exc_traceback)
    os._exit(_CANNOT_GO_ON)  # what waited for that thread would wait forever


class _Server:
    def __init__(self, events: int, leave: Callable[[int], object]) -> None:
        self._events = events
        self._leave = leave
        self._writing = threading.Lock()
        self._commands: queue.SimpleQueue[wire.Frame | None] = queue.SimpleQueue()
        self._decisions: dict[int, queue.SimpleQueue[int]] = {}
        self._handles: dict[int, RequestHandle] = {}
        self._heartbeat_at = 0.0
        self._engine: ManagedEngine | None = None

    def listen(self, commands: int) -> None:
        """Read frames until the parent closes the pipe or dies, then end the process."""
        status = _PARENT_IS_DONE
        try:
            for line in wire.lines(functools.partial(os.read, commands)):
                frame = wire.decode(line)
                if isinstance(frame, wire.StopDecision):
                    self._decisions[frame.id].put(frame.needed)
                else:
                    self._commands.put(frame)
        except BaseException:
            status = _CANNOT_GO_ON
            traceback.print_exc()
        finally:
            self._leave(status)
            self._commands.put(None)  # where it returns, as in tests

    def obey(self, make: MakeEngine) -> None:
        """Load the model of the first frame and answer the others."""
        self.heartbeat()
        first = self._commands.get()
        if not isinstance(first, wire.Open):
            return
        try:
            engine = self._engine = make(Path(first.path), first.options, first.curve, self.heartbeat)
        except Exception as error:
            self._fail(first.id, error)
            return
        with contextlib.closing(engine):
            self._send(wire.Ready(first.id, engine.facts))
            while (command := self._commands.get()) is not None:
                self._do(engine, command)

    def _do(self, engine: ManagedEngine, command: wire.Frame) -> None:
        try:
            match command:
                case wire.Submit():
                    self._submit(engine, command)
                case wire.Cancel(ident):
                    if handle := self._handles.get(ident):
                        handle.cancel()
                case wire.Count(ident, request):
                    self._send(wire.Number(ident, engine.count_tokens(request)))
                case wire.Measure(ident, budget):
                    self._send(wire.Measured(ident, engine.measure(budget)))
                case wire.SaveState(ident, path):
                    self._send(wire.Number(ident, engine.save_state(Path(path))))
                case wire.LoadState(ident, path):
                    self._send(wire.Number(ident, engine.load_state(Path(path))))
                case _:
                    self._die(f"a {type(command).__name__} frame has no place here")
        except Exception as error:
            self._fail(command.id, error)  # type: ignore[union-attr]  # a heartbeat is refused above

    def _submit(self, engine: ManagedEngine, command: wire.Submit) -> None:
        ident = command.id
        decisions = self._decisions[ident] = queue.SimpleQueue()

        def on_finish(completion: Completion) -> int:
            self._send(wire.Finish(ident, completion))
            return decisions.get()

        def on_token(index: int, piece: str) -> None:
            self._send(wire.Token(ident, index, piece))

        handle = self._handles[ident] = engine.submit(
            command.request,
            on_finish=on_finish if command.wants_finish else None,
            on_token=on_token if command.wants_tokens else None,
        )
        handle.future.add_done_callback(functools.partial(self._end, ident))

    def _end(self, ident: int, future: Future[Generation]) -> None:
        self._handles.pop(ident, None)
        self._decisions.pop(ident, None)
        try:
            generation = future.result()
            for completion in generation.completions:
                self._send(wire.Part(ident, completion))
            self._send(wire.Done(ident, dataclasses.replace(generation, completions=())))
        except Exception as error:
            self._fail(ident, error)

    def _fail(self, ident: int, error: Exception) -> None:
        if isinstance(error, MemoryError):
            self._die("out of memory")  # nothing can be relied on from here
        if not isinstance(error, AvengersError):
            traceback.print_exception(error)
        fatal = self._engine is None or not self._engine.alive
        self._send(wire.Failed.of(ident, error, fatal=fatal))
        if fatal:
            self._commands.put(None)

    def _die(self, why: str) -> None:
        with contextlib.suppress(OSError):
            os.write(2, f"error: {why}\n".encode())
        self._leave(_CANNOT_GO_ON)

    def heartbeat(self) -> None:
        """Send a sign of progress, but not too often."""
        now = time.monotonic()
        if now - self._heartbeat_at >= _HEARTBEAT_SECONDS:
            self._heartbeat_at = now
            self._send(wire.Heartbeat())

    def _send(self, event: wire.Event) -> None:
        left = memoryview(wire.encode(event))
        with self._writing:
            try:
                while left:
                    left = left[os.write(self._events, left) :]
            except OSError:
                self._leave(_PARENT_IS_DONE)


if __name__ == "__main__":
    main()
