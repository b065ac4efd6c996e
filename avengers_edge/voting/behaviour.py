"""Programs compared by what they do: on the question's own examples, and on calls that are near to them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Protocol

from avengers_edge.voting.examples import Examples
from avengers_edge.voting.source import code_key
from avengers_edge.voting.variations import varied

_MOST_VARIATIONS = 24
_FAILS = re.compile(r"fails-(?:tests|(\d+)-of-\d+)-")


class Judge(Protocol):
    """Runs programs where they can do no harm."""

    def prepare(self) -> None:
        """Find out whether programs can be run here; NoSandbox if not."""
        ...

    def results(self, source: str, calls: Sequence[str]) -> Sequence[str | None] | None:
        """Give what each call gives after the program ran, None for one without an end; None: it does not run."""
        ...

    def passes(self, candidate: str, test: str) -> bool:
        """Tell whether the tests hold after the program ran."""
        ...


def behaviour_key(source: str, examples: Examples | None, judge: Judge, tests: str | None = None) -> str | None:
    """Make the key that a program votes for: alike for programs that give the same; None for one that does not run.

    The key says so where the user's tests do not hold or, without tests, some of the question's own examples.
    """
    calls: tuple[str, ...] = ()
    checks: tuple[str, ...] = ()
    if examples is not None:
        calls = (*examples.calls, *varied(examples.calls, _MOST_VARIATIONS))
        checks = examples.checks if tests is None else ()
    results = judge.results(source, [*calls, *checks])
    runs = results is not None and (not calls or _runs(results[: len(calls)]))
    key = _hash(results[: len(calls)]) if results is not None and runs and calls else code_key(source)
    if tests is not None and judge.passes(source, tests):
        return key
    if results is None or not runs:
        return None
    if tests is not None:
        return f"fails-tests-{key}"
    failed = sum(result != "True" for result in results[len(calls) :])
    return f"fails-{failed}-of-{len(checks)}-{key}" if failed else key


def failures(key: str) -> int:
    """Rank a key: 0 where all holds that should, else more the more does not."""
    match = _FAILS.match(key)
    return 0 if match is None else int(match[1] or 1)


def _runs(results: Sequence[str | None]) -> bool:
    """Tell whether the function is there and ended at least once."""
    return any(result is not None and result != "raises NameError" for result in results)


def _hash(results: Sequence[str | None]) -> str:
    said = "\n".join("no end" if result is None else repr(result) for result in results)
    return hashlib.sha256(said.encode("utf-8", "replace")).hexdigest()[:16]
