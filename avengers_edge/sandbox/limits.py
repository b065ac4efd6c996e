"""How much a program may use, and what became of it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from avengers_edge.records.basics import require, require_number, require_whole

MIB = 2**20

Outcome = Literal["passed", "failed", "timeout", "memory", "output", "killed"]


@dataclass(frozen=True, slots=True)
class Limits:
    """What one run may use. It is one process; `threads` are its own, and it can start no other process.

    `memory_bytes` bounds its address space, `file_bytes` all that it keeps in its folder (which lives in memory, too),
    `output_bytes` what it prints, both streams together. Seconds of the processor are counted in whole ones.
    """

    wall_seconds: float = 10.0
    cpu_seconds: float = 10.0
    memory_bytes: int = 512 * MIB
    file_bytes: int = 16 * MIB
    threads: int = 32
    output_bytes: int = MIB

    def __post_init__(self) -> None:
        require_number(self, "wall_seconds", "cpu_seconds")
        require_whole(self, "memory_bytes", "file_bytes", "threads", "output_bytes")
        for name in ("wall_seconds", "cpu_seconds"):
            value = getattr(self, name)
            require(0 < value <= 3600, f"{name} is {value}: use more than 0 and at most 3600")
        for name, least, most in (
            ("memory_bytes", 64 * MIB, 2**40),
            ("file_bytes", 4096, 2**40),
            ("threads", 1, 1024),
            ("output_bytes", 1, 2**30),
        ):
            value = getattr(self, name)
            require(least <= value <= most, f"{name} is {value}: use {least} to {most}")

    @property
    def whole_cpu_seconds(self) -> int:
        """The processor's seconds as the kernel counts them."""
        return math.ceil(self.cpu_seconds)


@dataclass(frozen=True, slots=True)
class Execution:
    """What became of a program. A failure is a finding, not an error.

    `outcome` says why it ended: `passed` is an exit with 0 (where there are tests: after the last of them), `failed`
    any other exit, `timeout`, `memory` and `output` a limit that bit, `killed` a signal. `exit_code` is 128 and the
    signal where there was one. Bytes that are no UTF-8 are replaced in `stdout` and `stderr`.
    """

    outcome: Outcome
    exit_code: int
    stdout: str
    stderr: str
    seconds: float

    @property
    def passed(self) -> bool:
        """Whether it did what was asked."""
        return self.outcome == "passed"
