"""What of this machine a Python program needs to see: the interpreter, its library, and the system's libraries."""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Iterable
from importlib.machinery import PathFinder
from pathlib import Path

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
