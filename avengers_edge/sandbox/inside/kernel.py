"""The calls of the Linux kernel that Python has no words for."""

from __future__ import annotations

import ctypes
import os

NEW_NAMESPACES = 0x20000 | 0x02000000 | 0x04000000 | 0x08000000 | 0x20000000 | 0x40000000
"""CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWPID and NEWNET: mounts, cgroups, names, IPC, processes, network."""
NEW_USER = 0x10000000

_DEATH_SIGNAL, _NO_NEW_PRIVILEGES = 1, 38
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
_MOUNT_SETATTR = 442
_READ_ONLY, _NO_SETUID, _NO_DEVICES, _NO_EXECUTION = 1, 2, 4, 8
_BIND, _RECURSIVE, _PRIVATE = 0x1000, 0x4000, 0x40000
_HERE, _RECURSIVELY = -100, 0x8000
_CAPABILITIES_V3 = 0x20080522


def call(name: str, *arguments: object, what: str | None = None) -> int:
    """Call a function of the C library.

    Raises:
        OSError: it failed; the error says `what`, or else the function's name.

    """
    library = ctypes.CDLL(None, use_errno=True)
    result = int(getattr(library, name)(*arguments))
    if result == -1:
        code = ctypes.get_errno()
        raise OSError(code, f"{what or name}: {os.strerror(code)}")
    return result


def die_with_parent() -> None:
    """Have this process killed when the one that started it ends."""
    call("prctl", _DEATH_SIGNAL, 9, 0, 0, 0)


def give_up_privileges() -> None:
    """Drop all capabilities, for good: no program that is started can give new ones."""
    header = (ctypes.c_uint32 * 2)(_CAPABILITIES_V3, 0)
    call("capset", header, (ctypes.c_uint32 * 6)())
    call("prctl", _NO_NEW_PRIVILEGES, 1, 0, 0, 0)


def keep_mounts_private() -> None:
    """Keep what is mounted from now on out of the namespace this one was copied from."""
    call("mount", b"none", b"/", None, ctypes.c_ulong(_RECURSIVE | _PRIVATE), None)


def mount_memory(path: str, options: str) -> None:
    """Mount a file system that lives in memory and ends with its last process; no programs or devices on it."""
    flags = ctypes.c_ulong(_NO_SETUID | _NO_DEVICES | _NO_EXECUTION)
    call("mount", b"none", os.fsencode(path), b"tmpfs", flags, options.encode())


def mount_bound(source: str, path: str) -> None:
    """Show a file or folder at another place as well, with all that is mounted below it."""
    call("mount", os.fsencode(source), os.fsencode(path), None, ctypes.c_ulong(_BIND | _RECURSIVE), None)


def seal_mount(path: str, *, below: bool) -> None:
    """Make what is mounted at a path read-only, without set-user-id programs or devices, and what is below it too."""
    attributes = (ctypes.c_uint64 * 4)(_READ_ONLY | _NO_SETUID | _NO_DEVICES, 0, 0, 0)
    flags = ctypes.c_uint(_RECURSIVELY if below else 0)
    call(
        "syscall",
        ctypes.c_long(_MOUNT_SETATTR),
        _HERE,
        os.fsencode(path),
        flags,
        attributes,
        ctypes.c_size_t(32),
        what="mount_setattr",
    )


def change_root(new: str, old: str) -> None:
    """Make a mount the root of all paths, with the former root at `old`, below it."""
    number = ctypes.c_long(_PIVOT_ROOT[os.uname().machine])
    call("syscall", number, os.fsencode(new), os.fsencode(old), what="pivot_root")


def detach(path: str) -> None:
    """Take a mount away, and all that is below it."""
    call("umount2", os.fsencode(path), 2)
