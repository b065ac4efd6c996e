"""The Linux sandbox: programs go in, what they did comes out.

There are three ways to shut a process in, best first: bubblewrap, namespaces of our own, Landlock. Each is a command
line around the same inner program (`inside.main`), which restricts itself further.
"""

from __future__ import annotations

import ast
import contextlib
import json
import marshal
import math
import os
import secrets
import shutil
import subprocess
import sys
import sysconfig
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.machinery import PathFinder
from pathlib import Path

from avengers_edge.errors import NoSandbox
from avengers_edge.records import CancelToken
from avengers_edge.sandbox.execution import Execution, Limits, Watchdog
from avengers_edge.sandbox.inside import seccomp

_SCRATCH = "/tmp"
_ENVIRONMENT = {"HOME": _SCRATCH, "TMPDIR": _SCRATCH, "LANG": "C.UTF-8", "PYTHONHASHSEED": "0", "PYTHONUTF8": "1"}
"""All that is in the environment. The order of a set is the same in each run, so that two programs can be compared."""

_SYSTEM = (
    *("/usr/lib", "/usr/lib32", "/usr/lib64", "/lib", "/lib64", "/nix/store", "/gnu/store"),
    *("/etc/ld.so.cache", "/usr/share/zoneinfo"),
)
_ROOT = str(Path(__file__).parents[2])
_HOME_OF_OURS, _HOME_OF_PACKAGES = "/avengers", "/packages"
_DEVICES = ("null", "zero", "full", "random", "urandom")
_START = """
import sys
for name in "avengers_edge", "avengers_edge.sandbox":  # bare, without what the packages import for others
    sys.modules[name] = package = type(sys)(name)
    package.__path__ = [sys.argv[1] + "/" + name.replace(".", "/")]
from avengers_edge.sandbox.inside.main import main
main()
"""

_REMEDY = "install bubblewrap (bwrap), or allow user namespaces"
_TRIAL = Limits(wall_seconds=30.0)


def _interpreter() -> str:
    """Find the real interpreter, behind the links of a virtual environment."""
    return os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable)


def package_folders(names: Iterable[str]) -> dict[str, str]:
    """Find the folders of installed packages, by name, without importing them; what is not installed is left out."""
    found = {name: PathFinder.find_spec(name) for name in names}
    return {
        name: os.path.realpath(Path(spec.origin).parent)
        for name, spec in found.items()
        if spec is not None and spec.origin and spec.submodule_search_locations
    }


def _visible_paths() -> list[tuple[str, str]]:
    """List what to show, as pairs of the real path and the one that it is looked up by, outer folders first."""
    prefixes = {sys.base_prefix, sys.base_exec_prefix} - {"/usr"}
    libraries = {str(Path(prefix) / folder) for prefix in prefixes for folder in ("lib", sys.platlibdir)}
    standard = sysconfig.get_path("platstdlib", vars={"platbase": sys.base_exec_prefix})
    wanted = {*_SYSTEM, *libraries, sysconfig.get_path("stdlib"), standard, _interpreter()}
    wanted |= {os.path.realpath(path) for path in wanted}
    pairs: list[tuple[str, str]] = []
    for path in sorted(wanted):
        real = os.path.realpath(path)
        shown = any(path.startswith(f"{at}/") and real == source + path[len(at) :] for source, at in pairs)
        if Path(real).exists() and not shown:
            pairs.append((real, path))
    return pairs


@dataclass(frozen=True, slots=True)
class Mechanism:
    """One way: its name in a job, what it is in words, and the program that has to be started first, if any."""

    name: str
    words: str
    wrapper: str | None = None

    def command(
        self, limits: Limits, paths: Sequence[tuple[str, str]], inner: Sequence[int], information: int
    ) -> list[str]:
        """Write the command line that shows these paths.

        Args:
            limits: what the program may use.
            paths: what to show, as pairs of the real path and where to show it.
            inner: our process and the three files that it hands down (see `inside.main`).
            information: a file that bubblewrap tells the number of the first process to.

        """
        # As -I, but the environment, which is ours, decides the order of sets; compiled files are kept.
        python = [_interpreter(), "-s", "-S", "-P", "-c", _START]
        numbers = [str(number) for number in inner]
        if self.wrapper is None:
            return [*python, _ROOT, *numbers]
        words = [self.wrapper, "--unshare-all", "--unshare-user", "--die-with-parent", "--new-session"]
        words += ["--hostname", "sandbox", "--cap-drop", "ALL", "--info-fd", str(information)]
        for source, path in paths:
            words += ["--ro-bind", source, path]
        words += ["--ro-bind", f"{_ROOT}/avengers_edge/sandbox/inside", f"{_HOME_OF_OURS}/avengers_edge/sandbox/inside"]
        for device in _DEVICES:
            words += ["--dev-bind", f"/dev/{device}", f"/dev/{device}"]
        words += ["--size", str(limits.file_bytes), "--tmpfs", _SCRATCH, "--chdir", _SCRATCH, "--remount-ro", "/"]
        return [*words, "--", *python, _HOME_OF_OURS, *numbers]


def candidates() -> list[Mechanism]:
    """List what may work here, best first.

    Bubblewrap keeps the outer user, which is too much for root: in our own namespaces the program runs as nobody.
    """
    if sys.platform != "linux" or not seccomp.supported():
        return []
    ours = Mechanism("namespaces", "Linux namespaces and a seccomp filter")
    landlock = Mechanism("landlock", "Landlock and a seccomp filter; programs can write no file")
    found = None if os.geteuid() == 0 else shutil.which("bwrap")
    if found is None:
        return [ours, landlock]
    return [Mechanism("bubblewrap", f"bubblewrap ({found}) and a seccomp filter", found), ours, landlock]


class Sandbox:
    """Runs model-written Python in a process of its own that is shut in; see `Limits` for what it may use.

    The program sees the Python installation (read-only), an empty folder that vanishes with it, and nothing else: no
    network, no other process, no privileges. It can be used from several threads at a time. Each run raises `NoSandbox`
    where the process could not be started or shut in.
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
            raise NoSandbox(f"model-written code is not run on {sys.platform}: use Linux, as in a virtual machine")
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
        raise NoSandbox(f"model-written code cannot be shut in here ({why}): {_REMEDY}")

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
        cancel: CancelToken | None = None,
    ) -> Execution:
        """Run a program as `python program.py` would; return what became of it.

        Args:
            source: the program.
            stdin: what it can read; nothing without it.
            limits: what it may use.
            cancel: ends the program before its time.
            packages: which installed packages it may import beside the standard library, where they are installed.

        """
        job = {"parts": [source], "name": "__main__"}
        return self._run(job, limits, stdin, packages, cancel)[0]

    def run_tested(self, parts: Sequence[str], *, limits: Limits | None = None) -> Execution:
        """Run the parts of a program one after the other in one module; it passes if the last one ran to its end.

        To leave early does not count, with whatever exit code: after the last part a random token is handed back, which
        cannot be guessed. A program that searches its own interpreter for it is beyond that, as it is beyond all tests
        in Python, where a value can claim to be equal to any other.
        """
        return self._run({"parts": list(parts), "tested": True}, limits)[0]

    def results(
        self, source: str, calls: Sequence[str], *, call_seconds: float = 1.0, limits: Limits | None = None
    ) -> tuple[str | None, ...] | None:
        """Run a program, then evaluate expressions in it; return what each gave, as `inside.canonical` writes values.

        What was raised is a result, too. None stands for a call that did not end in time; None for all of them says
        that the program itself did not run.
        """
        job = {"parts": [source], "calls": list(calls), "call_seconds": call_seconds}
        execution, report = self._run(job, limits)
        given: list[str | None] = [None] * len(calls)
        lines = report.splitlines()
        for line in lines:  # the program could write some, too
            with contextlib.suppress(ValueError, TypeError, IndexError, RecursionError):
                place, result = json.loads(line)
                given[place] = result if isinstance(result, str) else None
        return tuple(given) if lines or execution.passed else None

    def _run(
        self,
        job: Mapping[str, object],
        limits: Limits | None,
        stdin: str | None = None,
        packages: Sequence[str] = (),
        cancel: CancelToken | None = None,
    ) -> tuple[Execution, bytes]:
        limits = limits or Limits()
        token = secrets.token_hex(16).encode() if job.get("tested") else b""
        folders = package_folders(packages)
        # A package is not found by its own path where it can be shown by another.
        moved = self._mechanism.name != "landlock"
        shown = {name: f"{_HOME_OF_PACKAGES}/{name}" if moved else folder for name, folder in folders.items()}
        paths = [*_visible_paths(), *((folders[name], place) for name, place in shown.items())]
        whole = {
            **{"name": "program", "tested": False, "calls": None, **job},
            **{"mechanism": self._mechanism.name, "scratch": _SCRATCH, "packages": shown, "paths": paths},
            "limits": {
                "cpu_seconds": math.ceil(limits.cpu_seconds),
                "memory_bytes": limits.memory_bytes,
                "file_bytes": limits.file_bytes,
                "threads": limits.threads,
            },
        }
        with contextlib.ExitStack() as files:
            job_file = _file_of(marshal.dumps(whole), files)
            token_file = _file_of(token, files)
            given = subprocess.DEVNULL if stdin is None else _file_of(stdin.encode("utf-8", "replace"), files)
            with contextlib.ExitStack() as handed_down:
                pipes = [_pipe(files, handed_down) for _ in range(4)]
                stdout, stderr, report, information = (written for _, written in pipes)
                inner = (os.getpid(), job_file, token_file, report)
                try:
                    process = subprocess.Popen(
                        self._mechanism.command(limits, paths, inner, information),
                        stdin=given,
                        stdout=stdout,
                        stderr=stderr,
                        env=_ENVIRONMENT,
                        cwd="/",
                        pass_fds=(*inner[1:], information),
                        start_new_session=True,
                    )
                except OSError as error:
                    raise NoSandbox(f"{self._mechanism.name} cannot be started ({error}): {_REMEDY}") from error
            *outputs, told = (read for read, _ in pipes)
            watchdog = Watchdog(process, outputs, told if self._mechanism.wrapper else None, limits)
            try:
                with (cancel or CancelToken()).calling(watchdog.stop):
                    watchdog.run()
            finally:
                watchdog.end()
            return watchdog.result(token, self._mechanism.name)


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


def _pipe(reading: contextlib.ExitStack, writing: contextlib.ExitStack) -> tuple[int, int]:
    """Open a pipe, of which each end is closed in the end."""
    read, write = os.pipe()
    reading.callback(os.close, read)
    writing.callback(os.close, write)
    return read, write


def passes(
    sandbox: Sandbox, candidate: str, *, setup: str = "", test: str, entry_point: str = "", limits: Limits | None = None
) -> Execution:
    """Run a candidate between its setup and its test; the outcome `passed` says that the test ran to its end.

    A test that only defines `check(candidate)`, as HumanEval's do, is called with the entry point. The three run in one
    module that is not `__main__`: what a candidate does only when it is the main program is no part of the test.
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
    outside = [statement for statement in body if not isinstance(statement, ast.FunctionDef | ast.ClassDef)]
    calls = [node for statement in outside for node in ast.walk(statement) if isinstance(node, ast.Call)]
    defined = any(isinstance(statement, ast.FunctionDef) and statement.name == "check" for statement in body)
    return defined and not any(isinstance(call.func, ast.Name) and call.func.id == "check" for call in calls)
