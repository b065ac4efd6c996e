"""What llama.cpp has once a process: its backend, its log, the facts of its build."""

from __future__ import annotations

import collections
import ctypes
import functools
import logging
import re

import llama_cpp.llama_cpp as llama

logger = logging.getLogger("avengers_edge.llama")

_LEVELS = {1: logging.DEBUG, 2: logging.INFO, 3: logging.WARNING, 4: logging.ERROR}  # ggml.h; not llama_cpp/_logger.py
_BUFFER = re.compile(r"(\S+) +(model|KV|RS|compute|output) buffer size = +([\d.]+) MiB")
_OFFLOADED = re.compile(r"offloaded (\d+)/(\d+) layers")


class NativeLog:
    """Sends llama.cpp's log to `logging`; remembers its last complaints, the only reason it gives, and what it took.

    llama.cpp has one log callback a process, so there is one of these; ctypes needs it kept alive.
    """

    def __init__(self) -> None:
        self.complaints: collections.deque[str] = collections.deque(maxlen=8)
        self.buffers: list[tuple[str, int]] = []
        self.offloaded = 0
        self._level = logging.DEBUG
        self.callback = llama.llama_log_callback(self._write)

    def _write(self, level: int, text: bytes, _user_data: object) -> None:
        self._level = _LEVELS.get(level, self._level)  # level 5 continues the last line
        if self._level < logging.INFO and not logger.isEnabledFor(self._level):
            return  # a context makes thousands of these
        line = text.decode("utf-8", errors="replace").strip()
        if not line or set(line) <= {"."}:
            return
        if self._level >= logging.WARNING:
            self.complaints.append(line)
        if found := _BUFFER.search(line):
            self.buffers.append((f"{found[1]} {found[2]}", round(float(found[3]) * 2**20)))
        if found := _OFFLOADED.search(line):
            self.offloaded = int(found[1])
        logger.log(self._level, "%s", line)

    def forget(self) -> None:
        """Begin the record of another model."""
        self.complaints.clear()
        self.buffers.clear()
        self.offloaded = 0

    def reason(self) -> str:
        """Give llama.cpp's last complaint, or say that there was none."""
        return self.complaints[-1] if self.complaints else "llama.cpp gave no reason"


@functools.cache
def start_backend() -> NativeLog:
    """Initialise llama.cpp and take over its log, once a process."""
    log = NativeLog()
    llama.llama_log_set(log.callback, ctypes.c_void_p(0))
    llama.llama_backend_init()
    return log


def can_offload() -> bool:
    """Tell whether this build of llama.cpp can compute on a device other than the CPU."""
    start_backend()
    return bool(llama.llama_supports_gpu_offload())


def build_features() -> str:
    """Tell what this build of llama.cpp was compiled with, in its own words."""
    start_backend()
    return str(llama.llama_print_system_info(), "utf-8", "replace").strip()
