"""Confinement by the Linux kernel: namespaces, mounts, capabilities and Landlock, called through the C library."""
# ruff: noqa: PTH102, PTH103, PTH106, PTH112, PTH120, PTH123
# pathlib costs a tenth of the time that a run takes.

from __future__ import annotations

import contextlib
import ctypes
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_NEW_NAMESPACES = 0x20000 | 0x02000000 | 0x04000000 | 0x08000000 | 0x20000000 | 0x40000000
"""CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWPID and NEWNET: mounts, cgroups, names, IPC, processes, network."""
_NEW_USER = 0x10000000
_NOBODY = 65534

_DEATH_SIGNAL, _NO_NEW_PRIVILEGES = 1, 38
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
_MOUNT_SETATTR = 442
_READ_ONLY, _NO_SETUID, _NO_DEVICES, _NO_EXECUTION = 1, 2, 4, 8
_BIND, _RECURSIVE, _PRIVATE = 0x1000, 0x4000, 0x40000
_DETACH = 2
_HERE, _RECURSIVELY = -100, 0x8000
_CAPABILITIES_V3 = 0x20080522

_OLD = "/.old"
_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = (ctypes.c_long(number) for number in (444, 445, 446))
_VERSION = 1
_BENEATH = 1
_READ_FILE, _READ_FOLDER = 4, 8
_RIGHTS = {1: 0x1FFF, 2: 0x3FFF, 3: 0x7FFF, 4: 0x7FFF, 5: 0xFFFF}
"""All file system rights that a version of Landlock knows, of which none is given but reading."""


def call(name: str, *arguments: object, what: str | None = None) -> int:
    """Call a function of the C library; an OSError names `what` failed, or else the function."""
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


def become_nobody() -> None:
    """Become the user nobody, who owns nothing; only root can."""
    os.setgroups([])
    os.setresgid(_NOBODY, _NOBODY, _NOBODY)
    os.setresuid(_NOBODY, _NOBODY, _NOBODY)


def leave_namespaces() -> None:
    """Leave the namespaces that this process shares with others; its next child is the first process of its own."""
    user, group = os.geteuid(), os.getegid()
    if user == 0:
        call("unshare", _NEW_NAMESPACES)
        return
    call("unshare", _NEW_NAMESPACES | _NEW_USER)
    for name, content in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(content)


def build_root(paths: Sequence[tuple[str, str]], scratch: str, scratch_bytes: int) -> None:
    """Build a root from the given paths, all read-only, and one empty folder in memory; then forget the old root.

    Args:
        paths: what to show, as pairs of the real path and where to show it.
        scratch: the folder that can be written to, where the process then stands.
        scratch_bytes: how much fits into it.

    """
    # What is mounted from now on stays out of the namespace that this one was copied from.
    call("mount", b"none", b"/", None, ctypes.c_ulong(_RECURSIVE | _PRIVATE), None)
    _mount_memory("/tmp", "size=1m,nr_inodes=4k,mode=755")
    os.mkdir(f"/tmp{_OLD}")
    number = ctypes.c_long(_PIVOT_ROOT[os.uname().machine])
    call("syscall", number, b"/tmp", os.fsencode(f"/tmp{_OLD}"), what="pivot_root")
    os.chdir("/")
    for source, path in paths:
        _show(source, path)
        _seal_mount(path, below=True)
    for device in _DEVICES:
        _show(device, device)
    os.makedirs(scratch, exist_ok=True)
    _mount_memory(scratch, f"size={scratch_bytes},nr_inodes=1k,mode=1777")
    call("umount2", os.fsencode(_OLD), _DETACH)
    os.rmdir(_OLD)
    _seal_mount("/", below=False)
    os.chdir(scratch)
    call("sethostname", b"sandbox", 7)
    if os.geteuid() == 0:
        become_nobody()
        with contextlib.suppress(OSError):  # where it is forbidden, its threads are counted with all of nobody's
            call("unshare", _NEW_USER)


def _show(source: str, path: str) -> None:
    """Show a file or folder of the old root at a path as well, with all that is mounted below it."""
    source = _OLD + source
    if os.path.isdir(source):
        os.makedirs(path, exist_ok=True)
    else:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY))
    call("mount", os.fsencode(source), os.fsencode(path), None, ctypes.c_ulong(_BIND | _RECURSIVE), None)


def _mount_memory(path: str, options: str) -> None:
    """Mount a file system that lives in memory and ends with its last process; no programs or devices on it."""
    flags = ctypes.c_ulong(_NO_SETUID | _NO_DEVICES | _NO_EXECUTION)
    call("mount", b"none", os.fsencode(path), b"tmpfs", flags, options.encode())


def _seal_mount(path: str, *, below: bool) -> None:
    """Make what is mounted at a path read-only, without set-user-id programs or devices, and what is below it too."""
    attributes = (ctypes.c_uint64 * 4)(_READ_ONLY | _NO_SETUID | _NO_DEVICES, 0, 0, 0)
    number, size = ctypes.c_long(_MOUNT_SETATTR), ctypes.c_size_t(32)
    flags = ctypes.c_uint(_RECURSIVELY if below else 0)
    call("syscall", number, _HERE, os.fsencode(path), flags, attributes, size, what="mount_setattr")


def only_read(paths: Iterable[str]) -> None:
    """Forbid this process, for good, to open anything but what is below these paths, and to write anything at all."""
    version = call("syscall", _CREATE_RULESET, None, ctypes.c_size_t(0), _VERSION, what="landlock")
    handled = ctypes.c_uint64(_RIGHTS[min(version, max(_RIGHTS))])
    rules = call("syscall", _CREATE_RULESET, ctypes.byref(handled), ctypes.c_size_t(8), 0, what="landlock")
    for path in paths:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
        right = _READ_FILE | _READ_FOLDER if os.path.isdir(path) else _READ_FILE
        rule = right.to_bytes(8, "little") + place.to_bytes(4, "little")
        call("syscall", _ADD_RULE, rules, _BENEATH, rule, 0, what="landlock rule")
        os.close(place)
    call("syscall", _RESTRICT_SELF, rules, 0, what="landlock")
    os.close(rules)
