"""A time limit that holds even in code that never lets go of the interpreter, as comparing deep values does."""

from __future__ import annotations

import contextlib
import faulthandler
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

TEMPLATE_SECONDS = 10.0
"""What a chat template may take; the models' own take a thousandth of a second."""

Deadline = Callable[[], AbstractContextManager[object]]


@contextlib.contextmanager
def template_deadline(seconds: float = TEMPLATE_SECONDS) -> Iterator[None]:
    """End this process, which must be a worker's, unless the block ends in time; `last_words` tells why it ended."""
    faulthandler.dump_traceback_later(seconds, exit=True, file=sys.stderr)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
