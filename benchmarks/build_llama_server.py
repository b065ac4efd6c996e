#!/usr/bin/env python3
"""Build `llama-server` from the very llama.cpp source that the installed llama-cpp-python was built from.

    python benchmarks/build_llama_server.py [--into DIR] [--jobs N]

pip downloads the source package of the installed version; its `vendor/llama.cpp` is configured as that package's own
build does it (release, shared libraries, the machine's own instructions, what CMAKE_ARGS says), with the server added
and everything that would download or needs a further library left out. The program's path is printed. A second run
prints it at once. Nothing of it belongs into the repository; by default it lives in the user's cache folder.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import shlex
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import TextIO

import platformdirs

PACKAGE = "llama-cpp-python"
SOURCE = "vendor/llama.cpp"
OPTIONS = {
    # As the wheel's own build sets or leaves them.
    "CMAKE_BUILD_TYPE": "Release",
    "BUILD_SHARED_LIBS": "ON",
    "LLAMA_CURL": "OFF",
    # The server, and nothing that reaches for the network or for libraries that may not be there.
    "LLAMA_BUILD_COMMON": "ON",
    "LLAMA_BUILD_TOOLS": "ON",
    "LLAMA_BUILD_SERVER": "ON",
    "LLAMA_BUILD_APP": "OFF",
    "LLAMA_BUILD_EXAMPLES": "OFF",
    "LLAMA_BUILD_TESTS": "OFF",
    "LLAMA_BUILD_UI": "OFF",
    "LLAMA_USE_PREBUILT_UI": "OFF",
    "LLAMA_OPENSSL": "OFF",
}


def main() -> None:
    """Parse the command line, build what is not there yet and print the program's path."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--into", type=Path, help="folder for source and build; default: the user's cache folder")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="compilers at once; default: all cores")
    args = parser.parse_args()
    version = importlib.metadata.version(PACKAGE)
    cache = Path(platformdirs.user_cache_dir("avengers-edge", appauthor=False))
    into = (args.into or cache / f"llama-server-{version}").resolve()
    print(build(version, into, args.jobs))


def build(version: str, into: Path, jobs: int) -> Path:
    """Build in folder `into`, unless that is done with the same options; return the program's path."""
    program = into / "build" / "bin" / ("llama-server.exe" if os.name == "nt" else "llama-server")
    stamp = into / "built.json"
    extra = shlex.split(os.environ.get("CMAKE_ARGS", ""))
    state = json.dumps({"version": version, "options": OPTIONS, "extra": extra}, sort_keys=True)
    if program.is_file() and stamp.is_file() and stamp.read_text(encoding="utf-8") == state:
        return program
    stamp.unlink(missing_ok=True)
    into.mkdir(parents=True, exist_ok=True)
    source = unpack(download(version, into), into / f"source-{version}")
    cmake, ninja = find_tools(into / "tools")
    flags = [f"-D{name}={value}" for name, value in OPTIONS.items()]
    flags += ["-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={ninja}", *extra]
    log(f"configuring and compiling with {jobs} jobs, about 6 minutes on two cores; output in {into / 'build.log'}")
    with (into / "build.log").open("w", encoding="utf-8") as record:
        run([cmake, "-S", str(source), "-B", str(into / "build"), *flags], record)
        run([cmake, "--build", str(into / "build"), "--target", "llama-server", "--parallel", str(jobs)], record)
    stamp.write_text(state, encoding="utf-8")
    return program


def download(version: str, into: Path) -> Path:
    """Have pip fetch the source package, unless it is there."""
    found = sorted(into.glob(f"llama_cpp_python-{version}.tar.gz"))
    if found:
        return found[0]
    log(f"downloading the source package of {PACKAGE} {version}")
    with tempfile.TemporaryDirectory(dir=into) as folder:
        command = [sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--quiet"]
        run([*command, "--no-binary", ":all:", "--no-deps", "--dest", folder, f"{PACKAGE}=={version}"])
        (package,) = Path(folder).glob("*.tar.gz")
        return Path(shutil.move(package, into / package.name))


def unpack(package: Path, source: Path) -> Path:
    """Unpack llama.cpp alone, whole or not at all; tar's "data" filter refuses paths and links that lead outside."""
    if source.is_dir():
        return source
    log(f"unpacking {package.name}")
    root = f"{package.name.removesuffix('.tar.gz')}/{SOURCE}"
    with tempfile.TemporaryDirectory(dir=source.parent) as folder, tarfile.open(package) as archive:
        members = [member for member in archive.getmembers() if member.name.startswith(root + "/")]
        if not members:
            sys.exit(f"{package.name} has no {SOURCE}: delete it and run this again")
        archive.extractall(folder, members, filter="data")
        (Path(folder) / root).rename(source)
    return source


def find_tools(folder: Path) -> tuple[str, str]:
    """Find CMake and Ninja on the path, or install both with pip into an environment of their own."""
    cmake, ninja = shutil.which("cmake"), shutil.which("ninja")
    if cmake and ninja:
        return cmake, ninja
    programs = folder / ("Scripts" if os.name == "nt" else "bin")
    if not (cmake := shutil.which("cmake", path=str(programs))):
        log("installing cmake and ninja")
        run([sys.executable, "-m", "venv", str(folder)])
        pip = [str(programs / "python"), "-m", "pip", "install", "--disable-pip-version-check", "--quiet"]
        run([*pip, "cmake", "ninja"])
        cmake = shutil.which("cmake", path=str(programs))
    ninja = shutil.which("ninja", path=str(programs))
    if not (cmake and ninja):
        sys.exit(f"no cmake and ninja in {programs}: install both and run this again")
    return cmake, ninja


def run(command: list[str], record: TextIO = sys.stderr) -> None:
    """Run a command with its output in `record`, or end with one line that says what failed."""
    done = subprocess.run(command, stdout=record, stderr=subprocess.STDOUT, check=False)
    if done.returncode != 0:
        sys.exit(f"{Path(command[0]).name} ended with exit code {done.returncode}; its output: {record.name}")


def log(text: str) -> None:
    """Say what is being done."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
