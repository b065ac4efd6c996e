"""The Linux sandbox: programs go in, what they did comes out."""

from __future__ import annotations

import ast
import contextlib
import json
import marshal
import os
import secrets
import subprocess
import sys
import warnings
from collections.abc import Mapping, Sequence

from avengers_edge.errors import NoSandbox
from avengers_edge.sandbox.execution import Execution, Limits, Watch
from avengers_edge.sandbox.mechanisms import SCRATCH, Mechanism, candidates, package_folders, visible_paths

_ENVIRONMENT = {"HOME": SCRATCH, "TMPDIR": SCRATCH, "LANG": "C.UTF-8", "PYTHONHASHSEED": "0", "PYTHONUTF8": "1"}
"""All that is in the environment. The order of a set is the same in each run, so that two programs can be compared."""

_CURE = "install bubblewrap (bwrap), or allow user namespaces"
_TRIAL = Limits(wall_seconds=30.0)


class Sandbox:
    """Runs model-written Python in a process of its own that is shut in; see `Limits` for what it may use.

    The program sees the Python installation (read-only), an empty folder that vanishes with it, and nothing else: no
    network, no other process, no privileges. It can be used from several threads at a time.
    """

    def __init__(self, mechanism: Mechanism) -> None:
        self._mechanism = mechanism

    @classmethod
    def find(cls) -> Sandbox:
        """Take the first mechanism that works on this machine; each is tried out.

        Raises:
            NoSandbox: none does; the message says how to get one.

        """
        if sys.platform != "linux":
            raise NoSandbox(
                f"model-written code is not run on {sys.platform}: use Linux, in a virtual machine if need be"
            )
        if getattr(sys, "frozen", False):  # `sys.executable` is then this program itself
            raise NoSandbox("model-written code is not run by a frozen program, which has no Python interpreter for it")
        reasons = []
        for mechanism in candidates():
            sandbox = cls(mechanism)
            try:
                trial = sandbox.run_python("import json, math", limits=_TRIAL)
            except NoSandbox as error:
                reasons.append(str(error))
            else:
                if trial.passed:
                    return sandbox
                reasons.append(f"{mechanism.name} runs no Python ({trial.stderr.strip().rpartition(chr(10))[2]})")
        why = "; ".join(reasons) or "the system calls of this processor are not known"
        raise NoSandbox(f"model-written code cannot be shut in here ({why}): {_CURE}")

    def describe(self) -> str:
        """Describe the confinement of programs in words."""
        return self._mechanism.words

    def run_python(
        self,
        source: str,
        *,
        stdin: str | None = None,
        limits: Limits | None = None,
        packages: Sequence[str] = (),
    ) -> Execution:
        """Run a program as `python program.py` would, and say what became of it.

        Args:
            source: the program.
            stdin: what it can read; nothing without it.
            limits: what it may use.
            packages: which installed packages it may import beside the standard library, where they are installed.

        Raises:
            NoSandbox: the process could not be started or shut in.

        """
        job = {"parts": [source], "name": "__main__"}
        return self._run(job, limits or Limits(), stdin, package_folders(packages))[0]

    def run_tested(self, parts: Sequence[str], *, limits: Limits | None = None) -> Execution:
        """Run the parts of a program one after the other in one module; it passes if the last one ran to its end.

        To leave early does not count, with whatever exit code: after the last part a random token is handed back, which
        cannot be guessed. A program that searches its own interpreter for it is beyond that, as it is beyond all tests
        in Python, where a value can claim to be equal to any other.

        Raises:
            NoSandbox: the process could not be started or shut in.

        """
        return self._run({"parts": list(parts), "tested": True}, limits or Limits())[0]

    def results(
        self, source: str, calls: Sequence[str], *, call_seconds: float = 1.0, limits: Limits | None = None
    ) -> tuple[str | None, ...] | None:
        """Run a program, then evaluate expressions in it; give what each gave, as `inside.canonical` writes values.

        What was raised is a result, too. None stands for a call that did not end in time; None for all of them says
        that the program itself did not run.

        Raises:
            NoSandbox: the process could not be started or shut in.

        """
        job = {"parts": [source], "calls": list(calls), "call_seconds": call_seconds}
        execution, report = self._run(job, limits or Limits())
        given: list[str | None] = [None] * len(calls)
        lines = report.splitlines()
        for line in lines:
            # The program could write here, too.
            with contextlib.suppress(ValueError, TypeError, IndexError, RecursionError):
                place, result = json.loads(line)
                given[place] = result if isinstance(result, str) else None
        return tuple(given) if lines or execution.passed else None

    def _run(
        self,
        job: Mapping[str, object],
        limits: Limits,
        stdin: str | None = None,
        packages: Mapping[str, str] | None = None,
    ) -> tuple[Execution, bytes]:
        token = secrets.token_hex(16).encode() if job.get("tested") else b""
        folders = packages or {}
        shown = {name: self._mechanism.place_of(name, folder) for name, folder in folders.items()}
        paths = [*visible_paths(), *((folders[name], place) for name, place in shown.items())]
        surroundings = {"packages": shown, "paths": paths, **self._surroundings(limits)}
        whole = {"name": "program", "tested": False, "calls": None, **job, **surroundings}
        with contextlib.ExitStack() as files:
            job_file = _file_of(marshal.dumps(whole), files)
            token_file = _file_of(token, files)
            given = subprocess.DEVNULL if stdin is None else _file_of(stdin.encode("utf-8", "replace"), files)
            report, information = _pipe(files), _pipe(files)
            inner = (os.getpid(), job_file, token_file, report[1])
            with contextlib.ExitStack() as handed_down:
                for _, written in (report, information):
                    handed_down.callback(os.close, written)
                try:
                    process = subprocess.Popen(
                        self._mechanism.command(limits, paths, inner, information[1]),
                        stdin=given,
                        stdout=subprocess.PIPE,
                        stderr=subprocess.PIPE,
                        bufsize=0,
                        env=_ENVIRONMENT,
                        cwd="/",
                        pass_fds=(*inner[1:], information[1]),
                        start_new_session=True,
                    )
                except OSError as error:
                    raise NoSandbox(f"{self._mechanism.name} cannot be started ({error}): {_CURE}") from error
            watch = Watch(process, report[0], information[0] if self._mechanism.wrapper else None, limits)
            try:
                watch.run()
            finally:
                watch.end()
            return watch.execution(token, self._mechanism.name), watch.report

    def _surroundings(self, limits: Limits) -> dict[str, object]:
        return {
            "mechanism": self._mechanism.name,
            "scratch": SCRATCH,
            "limits": {
                "cpu_seconds": limits.whole_cpu_seconds,
                "memory_bytes": limits.memory_bytes,
                "file_bytes": limits.file_bytes,
                "threads": limits.threads,
            },
        }


def _file_of(content: bytes, files: contextlib.ExitStack) -> int:
    """Write bytes to an open file in memory that can be read and no longer be changed."""
    import fcntl  # which only Unix has

    file = os.memfd_create("sandbox", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    files.callback(os.close, file)
    with os.fdopen(os.dup(file), "wb") as writer:
        writer.write(content)
    os.lseek(file, 0, os.SEEK_SET)
    seals = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL
    fcntl.fcntl(file, fcntl.F_ADD_SEALS, seals)
    return file


def _pipe(files: contextlib.ExitStack) -> tuple[int, int]:
    """Open a pipe, of which the reading end is closed in the end."""
    read, write = os.pipe()
    files.callback(os.close, read)
    return read, write


def passes(
    sandbox: Sandbox, candidate: str, *, setup: str = "", test: str, entry_point: str = "", limits: Limits | None = None
) -> Execution:
    """Run a candidate between its setup and its test; the outcome `passed` says that the test ran to its end.

    A test that only defines `check(candidate)`, as HumanEval's do, is called with the entry point. The three run in one
    module that is not `__main__`: what a candidate does only when it is the main program is no part of the test.

    Raises:
        NoSandbox: the process could not be started or shut in.

    """
    parts = [setup, candidate, test]
    if entry_point and _only_defines_check(test):
        parts.append(f"check({entry_point})")
    return sandbox.run_tested(parts, limits=limits)


def _only_defines_check(test: str) -> bool:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it is the data set's business how it escapes
            body = ast.parse(test).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    defined = any(isinstance(statement, ast.FunctionDef) and statement.name == "check" for statement in body)
    outside = [statement for statement in body if not isinstance(statement, ast.FunctionDef | ast.ClassDef)]
    called = any(
        isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "check"
        for statement in outside
        for node in ast.walk(statement)
    )
    return defined and not called
