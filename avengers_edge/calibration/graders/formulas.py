"""Whether two formulas are equal: the cheap comparisons first, Math-Verify in a process of its own for what is left.

SymPy has no bounds: a tower of powers takes all memory, a nested fraction all day, and neither can be interrupted from
within. So the formulas are compared by a child (`algebra_child`) that gets a fixed time for each pair. A child that is
late or dies has not shown the two to be equal, and the next pair gets a new one.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import re
import subprocess
import threading
from collections.abc import Sequence
from queue import Empty, SimpleQueue
from typing import IO, Protocol

from avengers_edge.engine.spawn import python_command, start_worker
from avengers_edge.errors import AvengersError, BadRequest, MissingExtra
from avengers_edge.records import Closing
from avengers_edge.voting.keys import canonical_key, extract_answer
from avengers_edge.voting.markers import Marked, marked_answers, split_thoughts

CHILD = "avengers_edge.calibration.graders.algebra_child"

_NAME = "formula checker"
_START_SECONDS = 120.0


class Algebra(Closing):
    """Compares formulas by algebra; a context manager, used from any thread. It starts its child when first asked.

    Args:
        seconds: how long one comparison may take, on the wall clock.
        command: stands in for the child in tests.

    Raises:
        BadRequest: `seconds` is not positive.

    """

    def __init__(self, seconds: float = 10.0, *, command: Sequence[str] | None = None) -> None:
        if not seconds > 0:
            raise BadRequest(f"a comparison of formulas in {seconds} seconds was asked for: use more than 0")
        self._seconds = seconds
        self._command = command
        self._one_at_a_time = threading.Lock()
        self._child: _Child | None = None

    def __call__(self, gold: str, given: str) -> bool:
        """Tell whether two formulas are equal; False too where that took too long or killed the child.

        Raises:
            MissingExtra: Math-Verify is not installed.
            AvengersError: the child cannot be started.

        """
        with self._one_at_a_time:
            verdict = None
            try:
                self._child = self._child or self._started()
                verdict = self._child.ask({"gold": gold, "given": given, "seconds": self._seconds}, self._seconds)
            finally:
                if verdict is None:  # late, dead, or the caller was interrupted: it may still answer, to nobody
                    self._end()
            return verdict is not None and verdict.get("equal") is True

    def close(self) -> None:
        """End the child; it starts again when it is asked again."""
        with self._one_at_a_time:
            self._end()

    def _started(self) -> _Child:
        if self._command is None and importlib.util.find_spec("math_verify") is None:
            raise MissingExtra("math-verify", "calibrate", "grading formulas")
        child = _Child(self._command or python_command(CHILD))
        try:
            greeting = child.hear(_START_SECONDS)
        except BaseException:
            child.end()
            raise
        if greeting is None or greeting.get("ready") is not True:
            child.end()
            why = (greeting or {}).get("error") or "it said nothing"
            raise AvengersError(f"the {_NAME} cannot be started: {why}; install the extra `calibrate` anew")
        return child

    def _end(self) -> None:
        if self._child is not None:
            self._child.end()
            self._child = None


class _Child:
    """The process and the thread that reads its lines."""

    def __init__(self, command: Sequence[str]) -> None:
        self._process: subprocess.Popen[bytes] = start_worker(_NAME, command)
        self._lines: SimpleQueue[bytes] = SimpleQueue()
        self._reader = threading.Thread(target=self._read, name=_NAME, daemon=True)
        self._reader.start()

    def ask(self, question: dict[str, object], seconds: float) -> dict[str, object] | None:
        """Send a line and wait for the answer; None if it is late or there is none to come."""
        left = memoryview(json.dumps(question).encode() + b"\n")
        try:
            while left:
                left = left[_pipe(self._process.stdin).write(left) :]
        except OSError:
            return None
        return self.hear(seconds)

    def hear(self, seconds: float) -> dict[str, object] | None:
        try:
            said = json.loads(self._lines.get(timeout=seconds) or b"null")
        except (Empty, ValueError):
            return None
        return said if isinstance(said, dict) else None

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        self._reader.join()
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            with contextlib.suppress(OSError):
                _pipe(pipe).close()

    def _read(self) -> None:
        rest = b""
        while more := _pipe(self._process.stdout).read(65536):
            *lines, rest = (rest + more).split(b"\n")
            for line in lines:
                self._lines.put(line)
        self._lines.put(b"")


def _pipe(stream: IO[bytes] | None) -> IO[bytes]:
    assert stream is not None  # all three are pipes
    return stream


_INTEGER = re.compile(r"-?[0-9]+")
_LONGEST = 2000
_SIDE_BY_SIDE = 60
"""How far apart, in characters, two boxes may stand to be one answer in two parts."""


class Equal(Protocol):
    """Tells whether two formulas in LaTeX are equal. What cannot be decided in time is not."""

    def __call__(self, gold: str, given: str) -> bool:
        """Compare the formula wanted with the formula given."""
        ...


def is_formula(gold: str, text: str, truncated: bool, equal: Equal) -> bool:
    r"""Tell whether a text's answer is this formula.

    Where it is not and the answer stands in several boxes of one line, `\boxed{1}` and `\boxed{-2}`, all of them count
    together.
    """
    given = extract_answer(text, "expression", truncated=truncated)
    if given is not None and same_formula(gold, given, equal):
        return True
    joined = _boxes_in_a_row(text)
    return joined is not None and same_formula(gold, joined, equal)


def same_formula(gold: str, given: str, equal: Equal) -> bool:
    """Compare two formulas: equal keys are right, two different whole numbers wrong, and `equal` decides the rest."""
    wanted, said = canonical_key(gold, "expression"), canonical_key(given, "expression")
    if said is None or "\0" in given:
        return False
    if wanted == said:
        return True
    both_whole = wanted is not None and _INTEGER.fullmatch(wanted) and _INTEGER.fullmatch(said)
    if (both_whole and "%" not in gold + given) or len(given) > _LONGEST:
        return False
    return equal(gold, given)


def _boxes_in_a_row(text: str) -> str | None:
    said, _ = split_thoughts(text)
    markers = marked_answers(said)
    boxes = [marked for marked in markers if marked.form == "boxed"]
    if len(boxes) < 2 or markers[0] is not boxes[0]:
        return None
    row = [boxes[0]]
    for earlier in boxes[1:]:
        if not _side_by_side(said, earlier, row[0]):
            break
        row.insert(0, earlier)
    return ", ".join(marked.body for marked in row) if len(row) > 1 else None


def _side_by_side(text: str, left: Marked, right: Marked) -> bool:
    between = text[left.start + len(left.body) : right.start]
    return len(between) <= _SIDE_BY_SIDE and "\n" not in between
