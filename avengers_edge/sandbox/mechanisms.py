"""The ways to shut a process in, best first: each is a command line around the same inner program."""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.machinery import PathFinder
from pathlib import Path

from avengers_edge.sandbox.execution import Limits
from avengers_edge.sandbox.inside import seccomp

_SYSTEM = (
    "/usr/lib",
    "/usr/lib32",
    "/usr/lib64",
    "/lib",
    "/lib64",
    "/nix/store",
    "/gnu/store",
    "/etc/ld.so.cache",
    "/usr/share/zoneinfo",
)


def interpreter() -> str:
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


def visible_paths() -> list[tuple[str, str]]:
    """List what to show, as pairs of the real path and the one that it is looked up by, outer folders first."""
    libraries = {
        str(Path(prefix) / folder)
        for prefix in (sys.base_prefix, sys.base_exec_prefix)
        for folder in ("lib", sys.platlibdir)
        if prefix != "/usr"
    }
    standard = sysconfig.get_path("platstdlib", vars={"platbase": sys.base_exec_prefix})
    wanted = {*_SYSTEM, *libraries, sysconfig.get_path("stdlib"), standard, interpreter()}
    wanted |= {os.path.realpath(path) for path in wanted}
    pairs: list[tuple[str, str]] = []
    for path in sorted(wanted):
        real = os.path.realpath(path)
        inside_another = any(
            path.startswith(f"{shown}/") and real == source + path[len(shown) :] for source, shown in pairs
        )
        if Path(real).exists() and not inside_another:
            pairs.append((real, path))
    return pairs


def package_root() -> Path:
    """Find the folder that this package is imported from."""
    return Path(__file__).parents[2]


SCRATCH = "/tmp"
_HOME_OF_OURS = "/avengers"
_HOME_OF_PACKAGES = "/packages"
_DEVICES = ("null", "zero", "full", "random", "urandom")
_START = """
import sys
for name in "avengers_edge", "avengers_edge.sandbox":  # bare, without what the packages import for others
    sys.modules[name] = package = type(sys)(name)
    package.__path__ = [sys.argv[1] + "/" + name.replace(".", "/")]
from avengers_edge.sandbox.inside.main import main
main()
"""


@dataclass(frozen=True, slots=True)
class Mechanism:
    """One way: its name in a job, what it is in words, and the program that has to be started first, if any."""

    name: str
    words: str
    wrapper: str | None = None

    def place_of(self, package: str, folder: str) -> str:
        """Return where a program finds an installed package: not by its own path where another can be given to it."""
        return folder if self.name == "landlock" else f"{_HOME_OF_PACKAGES}/{package}"

    def command(
        self, limits: Limits, paths: Sequence[tuple[str, str]], inner: Sequence[int], information: int
    ) -> list[str]:
        """Write the command line that shows these paths. `inner` is our process and the three files it hands down.

        What they are is said in `inside.main`. `information` is a file that bubblewrap tells the number of the first
        process to.
        """
        # As -I, but the environment, which is ours, decides the order of sets; compiled files are kept.
        python = [interpreter(), "-s", "-S", "-P", "-c", _START]
        numbers = [str(number) for number in inner]
        if self.wrapper is None:
            return [*python, str(package_root()), *numbers]
        words = [self.wrapper, "--unshare-all", "--unshare-user", "--die-with-parent", "--new-session"]
        words += ["--hostname", "sandbox", "--cap-drop", "ALL", "--info-fd", str(information)]
        for source, path in paths:
            words += ["--ro-bind", source, path]
        ours = package_root() / "avengers_edge" / "sandbox" / "inside"
        words += ["--ro-bind", str(ours), f"{_HOME_OF_OURS}/avengers_edge/sandbox/inside"]
        for device in _DEVICES:
            words += ["--dev-bind", f"/dev/{device}", f"/dev/{device}"]
        words += ["--size", str(limits.file_bytes), "--tmpfs", SCRATCH, "--chdir", SCRATCH, "--remount-ro", "/"]
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
