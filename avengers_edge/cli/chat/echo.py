"""The terminal's echo, switched off while an answer is drawn: keys typed meanwhile would move what is redrawn.

They are not lost: the next prompt reads them.
"""

from __future__ import annotations

import contextlib
import sys


class Echo:
    """The echo of standard input, where that is a POSIX terminal; elsewhere nothing is done."""

    def __init__(self) -> None:
        self._before: list[int | list[bytes | int]] | None = None

    def off(self) -> None:
        """Show no keys."""
        if sys.platform == "win32" or self._before is not None:
            return
        import termios

        # A stream of another kind has no descriptor, a closed terminal no attributes.
        with contextlib.suppress(OSError, ValueError, AttributeError, termios.error):
            before = termios.tcgetattr(sys.stdin.fileno())
            silent = [*before]
            silent[3] = before[3] & ~(termios.ECHO | termios.ECHONL)
            termios.tcsetattr(sys.stdin.fileno(), termios.TCSANOW, silent)
            self._before = before

    def on(self) -> None:
        """Show keys again."""
        before, self._before = self._before, None
        if sys.platform == "win32" or before is None:
            return
        import termios

        with contextlib.suppress(OSError, ValueError, AttributeError, termios.error):
            termios.tcsetattr(sys.stdin.fileno(), termios.TCSANOW, before)
