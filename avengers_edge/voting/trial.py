"""Code on trial: all samples of one question are run, where that can be done, once they have ended."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from avengers_edge.errors import BadRequest, NoSandbox
from avengers_edge.voting.behaviour import Judge, behaviour_key
from avengers_edge.voting.examples import examples_in
from avengers_edge.voting.source import code_key

_AT_A_TIME = 4
_BY_TEXT = "samples of code were compared by their text"


class Trial:
    """Compares programs by what they do; by their text where they cannot be run or there is nothing to run them on.

    Args:
        question: in which examples are looked for.
        tests: the user's own, which decide instead of the question's examples.
        judge: runs programs; None runs none.

    Raises:
        BadRequest: the tests are no Python.
        NoSandbox: there are tests, and programs cannot be run here.

    """

    def __init__(self, question: str, tests: str | None, judge: Judge | None) -> None:
        self._tests, self._judge = tests, judge
        if tests is not None:
            _check(tests)
        self._examples = examples_in(question if tests is None else f"{question}\n{tests}")
        self.fallback: str | None = None
        try:
            if judge is None:
                raise NoSandbox("there is nothing to run code in: give a judge")
            if self._examples is None and tests is None:
                self.fallback = f"{_BY_TEXT}: the question has no example to run them on"
            else:
                judge.prepare()
        except NoSandbox as error:
            self._go_without(error)

    @property
    def held(self) -> bool:
        """Whether programs are run."""
        return self.fallback is None

    def keys(self, sources: Sequence[str | None]) -> list[str | None]:
        """Make the key that each program votes for; None has none. What is there twice is run once.

        Raises:
            NoSandbox: there are tests, and programs can be run here no longer.

        """
        different = list(dict.fromkeys(source for source in sources if source is not None))
        if self.held:
            try:
                with ThreadPoolExecutor(_AT_A_TIME, thread_name_prefix="trial") as pool:
                    keys = dict(zip(different, pool.map(self._key, different), strict=True))
                return [None if source is None else keys[source] for source in sources]
            except NoSandbox as error:
                self._go_without(error)
        return [None if source is None else code_key(source) for source in sources]

    def _key(self, source: str) -> str | None:
        if self._judge is None:
            raise NoSandbox("there is nothing to run code in: give a judge")
        return behaviour_key(source, self._examples, self._judge, self._tests)

    def _go_without(self, error: NoSandbox) -> None:
        if self._tests is not None:
            raise error
        self.fallback = f"{_BY_TEXT}: {error}"


def _check(tests: str) -> None:
    try:
        ast.parse(tests)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = f" at line {error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
        raise BadRequest(f"the tests are no Python{line} ({error!s:.80}): write asserts") from error
