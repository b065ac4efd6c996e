"""The process that compares formulas: JSON lines in, JSON lines out; see `algebra`."""

from __future__ import annotations

import contextlib
import faulthandler
import json
import logging
import os
import re
import sys
from types import ModuleType
from typing import IO

_MOST_MEMORY = 2 << 30
_ELEMENT_OF = re.compile(r"^\s*[a-zA-Z]\s*(?:\\in(?![a-z])|∈)\s*")
_IMAGINARY = re.compile(r"(?<=[0-9})])i(?![a-zA-Z])")
_GRACE = 5.0
"""Seconds beyond its time after which it ends itself, in case the parent that should have ended it is gone."""


def main() -> None:
    """Answer until standard input ends."""
    # What libraries print must not stand between the answers, nor fill a pipe that nobody reads.
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    with open(os.devnull, "wb", buffering=0) as nowhere:  # noqa: PTH123 - the device has no Path
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
        _limit_memory()
        logging.disable(logging.CRITICAL)
        try:
            import math_verify
        except ImportError as error:
            _say(answers, {"error": str(error)})
            return
        _say(answers, {"ready": True})
        for line in sys.stdin.buffer:
            question = json.loads(line)
            # A thread in C, because one long multiplication holds the interpreter's lock for hours.
            faulthandler.dump_traceback_later(question["seconds"] + _GRACE, exit=True, file=nowhere)
            equal = _equal(math_verify, question["gold"], question["given"])
            faulthandler.cancel_dump_traceback_later()
            _say(answers, {"equal": equal})


def _equal(math_verify: ModuleType, gold: str, given: str) -> bool:
    formula = [math_verify.LatexExtractionConfig(boxed_match_priority=0)]
    try:
        wanted, said = (
            math_verify.parse(_in_a_box(latex), extraction_config=formula, parsing_timeout=None)
            for latex in (gold, given)
        )
        return bool(math_verify.verify(wanted, said, timeout_seconds=None, allow_set_relation_comp=True))
    except (Exception, MemoryError, RecursionError):
        return False


def _in_a_box(latex: str) -> str:
    """Write a formula where Math-Verify looks for one, so that it reads `3i` and `x \\in [0, 1]` as we do."""
    latex = _IMAGINARY.sub(" i", _ELEMENT_OF.sub("", latex.replace("$", "")))
    return "\\boxed{" + latex + "}"


def _limit_memory() -> None:
    try:
        import resource  # there is none on Windows
    except ImportError:
        return
    with contextlib.suppress(ValueError, OSError):  # macOS does not know this limit
        resource.setrlimit(resource.RLIMIT_AS, (_MOST_MEMORY, _MOST_MEMORY))


def _say(stream: IO[bytes], what: dict[str, object]) -> None:
    stream.write(json.dumps(what).encode() + b"\n")


if __name__ == "__main__":
    main()
