"""What llama.cpp has once a process: its backend, its log, the facts of its build."""

from __future__ import annotations

import collections
import ctypes
import functools
import logging
from typing import Any

import llama_cpp.llama_cpp as llama

logger = logging.getLogger("avengers_edge.llama")
logger.addHandler(logging.NullHandler())  # or Python would print warnings that nobody asked for

_LEVELS = {1: logging.DEBUG, 2: logging.INFO, 3: logging.WARNING, 4: logging.ERROR}  # ggml.h; not llama_cpp/_logger.py


class NativeLog:
    """Sends llama.cpp's log to `logging` and remembers the last complaints, the only reason it ever gives.

    llama.cpp has one log callback a process, so there is one of these; ctypes needs it kept alive.
    """

    def __init__(self) -> None:
        self.complaints: collections.deque[str] = collections.deque(maxlen=8)
        self._level = logging.DEBUG
        self.callback = llama.llama_log_callback(self._write)

    def _write(self, level: int, text: bytes, _user_data: object) -> None:
        line = text.decode("utf-8", errors="replace").strip()
        self._level = _LEVELS.get(level, self._level)  # level 5 continues the last line
        if not line or set(line) <= {"."}:
            return
        if self._level >= logging.WARNING:
            self.complaints.append(line)
        logger.log(self._level, "%s", line)

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


def build_facts() -> dict[str, Any]:
    """Tell what this build of llama.cpp can do, for `doctor`."""
    start_backend()
    return {
        "gpu_offload": bool(llama.llama_supports_gpu_offload()),
        "features": llama.llama_print_system_info().decode("utf-8", errors="replace").strip(),
    }
