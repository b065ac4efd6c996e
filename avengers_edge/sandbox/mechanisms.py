"""The ways to shut a process in, best first: each is a command line around the same inner program."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from avengers_edge.sandbox.inside import seccomp
from avengers_edge.sandbox.installation import interpreter, package_root, visible_paths
from avengers_edge.sandbox.limits import Limits

SCRATCH = "/tmp"
_HOME_OF_OURS = "/avengers"
_DEVICES = ("null", "zero", "full", "random", "urandom")
_START = "import sys; sys.path.insert(0, sys.argv[1]); from avengers_edge.sandbox.inside.main import main; main()"


@dataclass(frozen=True, slots=True)
class Mechanism:
    """One way: its name in a job, what it is in words, and the program that has to be started first, if any."""

    name: str
    words: str
    wrapper: str | None = None

    def command(self, limits: Limits, inner: Sequence[int], information: int) -> list[str]:
        """Write the command line. `inner` is our process and the three files it hands down; see `inside.main`.

        `information` is a file that bubblewrap tells the number of the first process to.
        """
        # The environment decides the order of sets, so that -I, which would ignore it, is spelt out as -E is not.
        python = [interpreter(), "-s", "-S", "-P", "-B", "-c", _START]
        numbers = [str(number) for number in inner]
        if self.wrapper is None:
            return [*python, str(package_root()), *numbers]
        words = [self.wrapper, "--unshare-all", "--unshare-user", "--die-with-parent", "--new-session"]
        words += ["--hostname", "sandbox", "--cap-drop", "ALL", "--info-fd", str(information)]
        for source, path in visible_paths():
            words += ["--ro-bind", source, path]
        package = package_root() / "avengers_edge"
        for name in ("__init__.py", "sandbox"):
            words += ["--ro-bind", str(package / name), f"{_HOME_OF_OURS}/avengers_edge/{name}"]
        for device in _DEVICES:
            words += ["--dev-bind", f"/dev/{device}", f"/dev/{device}"]
        words += ["--size", str(limits.file_bytes), "--tmpfs", SCRATCH, "--chdir", SCRATCH, "--remount-ro", "/"]
        return [*words, "--", *python, _HOME_OF_OURS, *numbers]


def candidates() -> list[Mechanism]:
    """List what may work here, best first.

    Bubblewrap leaves the outer user as he is, so for root, who owns too much, our own namespaces come first: there the
    program is nobody.
    """
    if sys.platform != "linux" or not seccomp.supported():
        return []
    ours = Mechanism("namespaces", "Linux namespaces and a seccomp filter")
    found = shutil.which("bwrap")
    bubblewrap = [Mechanism("bubblewrap", f"bubblewrap ({found}) and a seccomp filter", found)] if found else []
    landlock = Mechanism("landlock", "Landlock and a seccomp filter; programs can write no file and start no thread")
    ordered = [ours, *bubblewrap] if os.geteuid() == 0 else [*bubblewrap, ours]
    return [*ordered, landlock]
