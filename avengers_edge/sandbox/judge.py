"""The sandbox as an election needs it: found when the first program comes, and brief."""

from __future__ import annotations

from collections.abc import Sequence

from avengers_edge.records import Once
from avengers_edge.sandbox.box import Sandbox
from avengers_edge.sandbox.harness import passes
from avengers_edge.sandbox.limits import Limits

_LIMITS = Limits(wall_seconds=6.0, cpu_seconds=6.0)
_CALL_SECONDS = 0.5


class SandboxJudge:
    """Runs programs in the first sandbox that works; can be used from several threads."""

    def __init__(self) -> None:
        self._sandbox = Once(lambda: Sandbox.find())

    def prepare(self) -> None:
        """Find the sandbox, once.

        Raises:
            NoSandbox: this machine has none; the message says how to get one.

        """
        self._sandbox.get()

    def results(self, source: str, calls: Sequence[str]) -> Sequence[str | None] | None:
        """Run a program, then the calls; see `Sandbox.results`.

        Raises:
            NoSandbox: it cannot be run here.

        """
        return self._sandbox.get().results(source, calls, call_seconds=_CALL_SECONDS, limits=_LIMITS)

    def passes(self, candidate: str, test: str, *, setup: str = "", entry_point: str = "") -> bool:
        """Run a program, then tests; see `harness.passes`.

        Raises:
            NoSandbox: it cannot be run here.

        """
        return passes(self._sandbox.get(), candidate, setup=setup, test=test, entry_point=entry_point).passed
