"""Bars on the file system for a process that stays where it is (Linux Landlock, kernel 5.13)."""

from __future__ import annotations

import ctypes
import os

from avengers_edge.sandbox.inside import kernel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = (ctypes.c_long(number) for number in (444, 445, 446))
_VERSION = 1
_BENEATH = 1
_READ_FILE, _READ_FOLDER = 4, 8
_RIGHTS = {1: 0x1FFF, 2: 0x3FFF, 3: 0x7FFF, 4: 0x7FFF, 5: 0xFFFF}
"""All file system rights that a version of the interface knows, of which none is given but reading."""


def only_read(paths: Iterable[str]) -> None:
    """Forbid this process, for good, to open anything but what is below these paths, and to write anything at all.

    Raises:
        OSError: the kernel has no Landlock.

    """
    version = kernel.call("syscall", _CREATE_RULESET, None, ctypes.c_size_t(0), _VERSION, what="landlock")
    handled = ctypes.c_uint64(_RIGHTS[min(version, max(_RIGHTS))])
    rules = kernel.call("syscall", _CREATE_RULESET, ctypes.byref(handled), ctypes.c_size_t(8), 0, what="landlock")
    for path in paths:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
        right = _READ_FILE | _READ_FOLDER if os.path.isdir(path) else _READ_FILE  # noqa: PTH112
        rule = right.to_bytes(8, "little") + place.to_bytes(4, "little")
        kernel.call("syscall", _ADD_RULE, rules, _BENEATH, rule, 0, what="landlock rule")
        os.close(place)
    kernel.call("syscall", _RESTRICT_SELF, rules, 0, what="landlock")
    os.close(rules)
