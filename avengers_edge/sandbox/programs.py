"""Programs whose output is an answer, run by the first interpreter there is: CPython in the Linux sandbox, or Monty.

Monty (pydantic-monty on the package index) is an interpreter in Rust for a part of Python, without files, network or
processes. It runs each program in a worker process of its own, on Linux, macOS and Windows alike.
"""

from __future__ import annotations

import platform
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from avengers_edge.errors import AvengersError, MissingExtra, NoSandbox
from avengers_edge.records import CancelToken, Lazy
from avengers_edge.sandbox.execution import MIB, Execution, Limits
from avengers_edge.sandbox.linux import Sandbox, package_folders, passes

if TYPE_CHECKING:
    import pydantic_monty

PACKAGES = ("sympy", "mpmath")
"""What CPython lets a program import beside the standard library, where it is installed; nothing else is shown."""

LIMITS = Limits(wall_seconds=5.0, cpu_seconds=5.0, memory_bytes=512 * MIB, output_bytes=64 * 1024)
"""What one program may use, whichever interpreter runs it."""

_CODE_LIMITS = Limits(wall_seconds=6.0, cpu_seconds=6.0)
_CALL_SECONDS = 0.5
_GRACE_SECONDS = 1.0
_LONGEST_REASON = 160
_EXCEPTION = re.compile(r"[^\W\d][\w.]*:|[A-Z]\w*$")
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029]+")


@dataclass(frozen=True, slots=True)
class ProgramRun:
    """What became of one program.

    `printed` is all that it wrote to its standard output, None where it failed: it raised, was ended by a limit, exited
    with anything but 0, or printed nothing. `reason` says why in a few words of one line, and is None where it did not.
    """

    printed: str | None
    reason: str | None


class Interpreter(Protocol):
    """Runs programs within limits, where they can do no harm; used from any thread."""

    def describe(self) -> str:
        """Describe the interpreter and its confinement in words."""

    def run(self, source: str, cancel: CancelToken | None = None) -> ProgramRun:
        """Run one program to its end, or to the limit that ends it; whatever it does is a finding, not an error."""


class CPython:
    """The Python that runs this product, in the sandbox that Linux has."""

    def __init__(self, sandbox: Sandbox, limits: Limits = LIMITS, packages: Sequence[str] = PACKAGES) -> None:
        self._sandbox, self._limits, self._packages = sandbox, limits, tuple(packages)

    @classmethod
    def find(cls) -> CPython:
        """Take the first sandbox that works; `NoSandbox` where this machine has none."""
        return cls(Sandbox.find())

    def describe(self) -> str:
        """Describe the interpreter and its confinement in words."""
        sympy = "with SymPy" if "sympy" in package_folders(self._packages) else "without SymPy, which is not installed"
        return f"CPython {platform.python_version()}, {sympy}, in {self._sandbox.describe()}"

    def run(self, source: str, cancel: CancelToken | None = None) -> ProgramRun:
        """Run one program to its end, or to the limit that ends it."""
        try:
            execution = self._sandbox.run_python(source, limits=self._limits, packages=self._packages, cancel=cancel)
        except NoSandbox as error:  # which worked before: the machine is short of something
            return _failed(str(error))
        return _ended(execution.stdout) if execution.passed else _failed(self._why(execution))

    def _why(self, execution: Execution) -> str:
        outcome = execution.outcome
        if outcome == "timeout" or outcome == "memory" or outcome == "output":
            return _beyond(outcome, self._limits)
        if outcome == "killed":
            return f"killed by signal {execution.exit_code - 128}"
        return _raised(execution.stderr) or f"exit code {execution.exit_code}"


class Monty:
    """The interpreter of the package pydantic-monty."""

    def __init__(self, limits: Limits = LIMITS) -> None:
        self._limits = limits

    @classmethod
    def find(cls) -> Monty:
        """Try it out; `MissingExtra` where the package is not installed, `NoSandbox` where it does not work."""
        try:
            import pydantic_monty  # noqa: F401
        except ImportError as error:
            raise MissingExtra("pydantic-monty", "sandbox", "running programs without the Linux sandbox") from error
        monty = cls()
        trial = monty.run("print(1)")
        if trial.printed != "1\n":
            raise NoSandbox(f"Monty does not work here ({trial.reason}): install pydantic-monty again")
        return monty

    def describe(self) -> str:
        """Describe the interpreter and its confinement in words."""
        from pydantic_monty import __version__

        return f"Monty {__version__}, for a part of Python and without SymPy, in a worker process"

    def run(self, source: str, cancel: CancelToken | None = None) -> ProgramRun:  # noqa: ARG002 - 5 s at the most
        """Run one program to its end, or to the limit that ends it, in a worker process that ends with it."""
        import pydantic_monty

        limits, length = self._limits, 0
        printed: list[str] = []

        def keep(stream: str, text: str) -> None:
            nonlocal length
            length += len(text.encode("utf-8", "replace"))
            if length > limits.output_bytes:
                printed.clear()
                raise OverflowError("it printed too much")  # which ends the program
            if stream == "stdout":
                printed.append(text)

        try:
            with (
                # The worker keeps to its limits itself. Where it does not look at the clock for long, it is killed.
                pydantic_monty.Monty(max_processes=1, request_timeout=limits.wall_seconds + _GRACE_SECONDS) as workers,
                workers.checkout(
                    limits={"max_feed_duration_secs": limits.wall_seconds, "max_memory": limits.memory_bytes},
                    assert_message_annotations=False,
                    os_policy={"sleep": "zero"},  # time that is slept away does not count as execution
                ) as session,
            ):
                session.feed_run(source, print_callback=keep)
        except pydantic_monty.MontyError as error:
            reason = _beyond("output", limits) if length > limits.output_bytes else self._why(error)
            if reason is not None:
                return _failed(reason)
        except (OSError, RuntimeError) as error:  # no worker can be started
            return _failed(f"{type(error).__name__}: {error}")
        return _ended("".join(printed))

    def _why(self, error: pydantic_monty.MontyError) -> str | None:
        """Return why a program failed; None for one that left with the exit code 0."""
        import pydantic_monty

        if isinstance(error, pydantic_monty.MontyCrashedError):
            return _beyond("timeout", self._limits) if error.timed_out else f"its interpreter crashed: {error}"
        raised = error.exception()
        if isinstance(raised, SystemExit):
            return "exit code 1" if raised.code else None
        if isinstance(raised, MemoryError):
            return _beyond("memory", self._limits)
        if isinstance(raised, TimeoutError) and str(raised).startswith("feed time limit"):
            return _beyond("timeout", self._limits)
        if isinstance(error, pydantic_monty.MontySyntaxError | pydantic_monty.MontyRuntimeError):
            return error.display("type-msg")
        return str(error)


class ProgramRunner:
    """Runs model-written programs by the first interpreter that is to be had, found when it is first needed.

    It can be used from several threads at a time. Where there is none, each method raises `NoSandbox`, whose message
    says how to get one.

    Args:
        finders: what finds an interpreter and tries it out, best first; each raises where there is none.

    """

    def __init__(self, finders: Sequence[Callable[[], Interpreter]] = (CPython.find, Monty.find)) -> None:
        self._interpreter = Lazy(lambda: _first(finders))

    def prepare(self) -> None:
        """Find the interpreter, once."""
        self._interpreter.get()

    def describe(self) -> str:
        """Describe the interpreter of this machine and its confinement in words."""
        return self._interpreter.get().describe()

    def run(self, source: str, cancel: CancelToken | None = None) -> ProgramRun:
        """Run a program without input, network or files, within 5 seconds and 512 MiB."""
        return self._interpreter.get().run(source, cancel)


class SandboxJudge:
    """Runs code and its tests in the first sandbox that works; can be used from several threads.

    Where this machine has none, each method raises `NoSandbox`, whose message says how to get one.
    """

    def __init__(self) -> None:
        self._sandbox = Lazy(lambda: Sandbox.find())

    def prepare(self) -> None:
        """Find the sandbox, once."""
        self._sandbox.get()

    def results(self, source: str, calls: Sequence[str]) -> Sequence[str | None] | None:
        """Run a program, then the calls; see `Sandbox.results`."""
        return self._sandbox.get().results(source, calls, call_seconds=_CALL_SECONDS, limits=_CODE_LIMITS)

    def passes(self, candidate: str, test: str, *, setup: str = "", entry_point: str = "") -> bool:
        """Run a program, then tests; see `linux.passes`."""
        return passes(self._sandbox.get(), candidate, setup=setup, test=test, entry_point=entry_point).passed


def _first(finders: Sequence[Callable[[], Interpreter]]) -> Interpreter:
    reasons = []
    for find in finders:
        try:
            return find()
        except AvengersError as error:
            reasons.append(str(error))
    raise NoSandbox(f"model-written programs cannot be run here: {'; or: '.join(reasons)}")


def _ended(printed: str) -> ProgramRun:
    if not printed.strip():
        return _failed("printed nothing")
    return ProgramRun(printed, None)


def _failed(reason: str) -> ProgramRun:
    line = _UNPRINTABLE.sub(" ", reason).strip()
    shown = line if len(line) <= _LONGEST_REASON else f"{line[: _LONGEST_REASON - 1]}…"
    return ProgramRun(None, shown or "it failed")


def _beyond(outcome: Literal["timeout", "memory", "output"], limits: Limits) -> str:
    """Name the limit that a program exceeded."""
    if outcome == "timeout":
        return f"no end within {limits.wall_seconds:g} s"
    if outcome == "memory":
        return f"more than {limits.memory_bytes // MIB} MiB of memory"
    return f"printed more than {limits.output_bytes // 1024} KiB"


def _raised(stderr: str) -> str | None:
    """Find the exception in what a program left: the first such line after the last frame of a traceback."""
    last = f"\n{stderr}".rpartition('\n  File "')[2]
    return next((line for line in last.split("\n") if _EXCEPTION.match(line)), None)
