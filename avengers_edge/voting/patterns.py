"""Regular expressions that are compiled by their first search: compiled at import they cost each command 0.2 s."""

from __future__ import annotations

import re
from typing import cast


class _Uncompiled:
    """Becomes what it looks up: after the first use of a method, that of the compiled expression is found directly."""

    def __init__(self, source: str, flags: int) -> None:
        self._source, self._flags = source, flags

    def __getattr__(self, name: str) -> object:
        found = getattr(re.compile(self._source, self._flags), name)
        setattr(self, name, found)
        return found


def pattern(source: str, flags: int = 0) -> re.Pattern[str]:
    """Make an expression that is compiled when it is first used, and used as a compiled one."""
    return cast("re.Pattern[str]", _Uncompiled(source, flags))


def wording(*alternatives: str) -> re.Pattern[str]:
    """Make a pattern of alternatives, in either case, where `^` and `$` are the ends of a line."""
    return pattern("|".join(alternatives), re.IGNORECASE | re.MULTILINE)
