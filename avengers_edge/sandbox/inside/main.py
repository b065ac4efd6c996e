"""The first process of the sandbox: read the job, lock the door, run the program."""

from __future__ import annotations

import contextlib
import marshal
import os
import resource
import signal
import sys

from avengers_edge.sandbox.inside import kernel, program, seccomp

TYPE_CHECKING = False
if TYPE_CHECKING:  # imports are a good part of the time that a run takes
    from typing import Any, NoReturn


def main() -> NoReturn:
    """Run the job that `argv` names: the folder of this package, this process's parent, and three open files.

    The files are the job (marshalled), the token that is handed back when tests ran to their end, and the report.
    """
    parent, job_file, token, report = (int(word) for word in sys.argv[2:6])
    with os.fdopen(job_file, "rb") as file:
        job = marshal.load(file)
    del sys.argv[1:]
    _close_all_but(token, report)
    os.environ.pop("PWD", None)  # bubblewrap's
    mechanism = job["mechanism"]
    if mechanism != "bubblewrap":  # which has done all this
        kernel.die_with_parent()
        if os.getppid() != parent:
            sys.exit("the process that wanted this is gone")
        if mechanism == "namespaces":
            kernel.leave_namespaces()
        _fork_and_wait()
    if job["calls"] is not None:
        import avengers_edge.sandbox.inside.canonical  # noqa: F401 - which cannot be reached later
    _confine(job)
    os.write(report, program.READY)
    program.run(job, token, report)


def _close_all_but(*kept: int) -> None:
    """Close what was handed down but for these and the three streams: the program is not to speak for others."""
    low = 3
    for number in (*sorted(kept), os.sysconf("SC_OPEN_MAX")):
        if low < number:  # an empty range that ends at 0 would be taken for all there are
            os.closerange(low, number)
        low = number + 1


def _fork_and_wait() -> None:
    """Return in a child; meanwhile wait for it here, end it on SIGTERM, and end as it did."""
    awaited = {signal.SIGTERM, signal.SIGCHLD}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, awaited)
    child = os.fork()
    if child == 0:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return
    while True:
        if signal.sigwait(awaited) == signal.SIGTERM:
            os.kill(child, signal.SIGKILL)
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            code = os.waitstatus_to_exitcode(status)
            os._exit(code if code >= 0 else 128 - code)


def _confine(job: dict[str, Any]) -> None:
    """Take away what the program is not to have, in the order in which each step is still allowed."""
    mechanism, limits = job["mechanism"], job["limits"]
    threads = limits["threads"]
    if mechanism == "namespaces":
        kernel.build_root(job["paths"], job["scratch"], limits["file_bytes"])
    elif mechanism == "landlock":
        if os.geteuid() == 0:
            kernel.become_nobody()
        threads += _running(os.getuid())  # the limit is on all that a user runs outside a namespace
        kernel.give_up_privileges()  # without which a process may not restrict itself
        kernel.only_read(path for path, _ in job["paths"])
        os.chdir("/")
    if mechanism != "bubblewrap":
        kernel.die_with_parent()  # a change of the user resets it
    for kind, most in (
        (resource.RLIMIT_AS, limits["memory_bytes"]),
        (resource.RLIMIT_CPU, limits["cpu_seconds"]),
        (resource.RLIMIT_FSIZE, limits["file_bytes"]),
        (resource.RLIMIT_NPROC, threads),
        (resource.RLIMIT_NOFILE, 64),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(kind)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (most, most))
    kernel.give_up_privileges()
    seccomp.restrict(files_unchanged=mechanism == "landlock")


def _running(user: int) -> int:
    """Count a user's threads."""
    count = 0
    with os.scandir("/proc") as entries:
        for entry in entries:
            with contextlib.suppress(OSError):  # it has ended
                if entry.name.isdigit() and entry.stat().st_uid == user:
                    with os.scandir(f"{entry.path}/task") as threads:
                        count += sum(1 for _ in threads)
    return count
