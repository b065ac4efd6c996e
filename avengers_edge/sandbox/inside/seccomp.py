"""A filter on the calls that the program can make of the kernel: one process, no sockets, no hands on others.

The filter is a program of classic BPF (struct sock_filter of linux/filter.h) that the kernel runs before each call.
What it forbids is listed by name; of the calls that came after Linux 5.0 it lets those through that it knows.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct

from avengers_edge.sandbox.inside import kernel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_MACHINES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}
"""By processor: AUDIT_ARCH and the column of the tables."""

_ABSENT = -1
_FORBIDDEN = {
    # another program, another process
    "execve": (59, 221), "execveat": (322, 281), "fork": (57, _ABSENT), "vfork": (58, _ABSENT),
    # hands on other processes
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "kcmp": (312, 272),
    "rt_sigqueueinfo": (129, 138), "rt_tgsigqueueinfo": (297, 240), "move_pages": (279, 239),
    "migrate_pages": (256, 238), "setpriority": (141, 140), "ioprio_set": (251, 30), "sched_setaffinity": (203, 122),
    "sched_setparam": (142, 118), "sched_setscheduler": (144, 119), "sched_setattr": (314, 274),
    # the outside
    "socket": (41, 198), "connect": (42, 203), "bind": (49, 200), "listen": (50, 201), "sendmsg": (46, 211),
    "sendmmsg": (307, 269),
    # other namespaces, other roots
    "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51), "unshare": (272, 97),
    "setns": (308, 268), "open_by_handle_at": (304, 265), "name_to_handle_at": (303, 264), "mknod": (133, _ABSENT),
    "mknodat": (259, 33),
    # memory that the limits do not count
    "memfd_create": (319, 279), "shmget": (29, 194), "msgget": (68, 186), "semget": (64, 190), "mq_open": (240, 180),
    # the attack surface of the kernel
    "bpf": (321, 280), "perf_event_open": (298, 241), "userfaultfd": (323, 282), "keyctl": (250, 219),
    "add_key": (248, 217), "request_key": (249, 218), "personality": (135, 92), "init_module": (175, 105),
    "finit_module": (313, 273), "delete_module": (176, 106), "kexec_load": (246, 104), "kexec_file_load": (320, 294),
    "reboot": (169, 142), "swapon": (167, 224), "swapoff": (168, 225), "sethostname": (170, 161),
    "setdomainname": (171, 162), "acct": (163, 89), "quotactl": (179, 60), "iopl": (172, _ABSENT),
    "ioperm": (173, _ABSENT), "settimeofday": (164, 170), "clock_settime": (227, 112), "clock_adjtime": (305, 266),
    "adjtimex": (159, 171), "syslog": (103, 116), "lookup_dcookie": (212, 18), "vhangup": (153, 58),
    "fanotify_init": (300, 262), "modify_ldt": (154, _ABSENT),
}  # fmt: skip
_CHANGES_FILES = {
    "truncate": (76, 45), "chmod": (90, _ABSENT), "fchmod": (91, 52), "fchmodat": (268, 53), "chown": (92, _ABSENT),
    "lchown": (94, _ABSENT), "fchown": (93, 55), "fchownat": (260, 54), "setxattr": (188, 5), "lsetxattr": (189, 6),
    "fsetxattr": (190, 7), "removexattr": (197, 14), "lremovexattr": (198, 15), "fremovexattr": (199, 16),
    "inotify_add_watch": (254, 27), "utime": (132, _ABSENT),
    "utimes": (235, _ABSENT), "utimensat": (280, 88), "futimesat": (261, _ABSENT),
}  # fmt: skip
"""What Landlock does not bar with a file that can be named."""

_CLONE, _SOCKETPAIR, _SENDTO, _PRCTL = (56, 220), (53, 199), (44, 206), (157, 167)
_PRLIMIT = (302, 261)
_SIGNALS = {"kill": (62, 129), "tkill": (200, 130), "tgkill": (234, 131)}
_SAME_THREAD, _UNIX, _DEATH_SIGNAL = 0x10000, 1, 1

_FIRST_NEW = 424
_NEW = {
    "close_range": 436, "openat2": 437, "faccessat2": 439, "epoll_pwait2": 441, "futex_waitv": 449, "fchmodat2": 452,
    "map_shadow_stack": 453, "futex_wake": 454, "futex_wait": 455, "futex_requeue": 456,
}  # fmt: skip
"""From here on the numbers are those of all processors. Without clone3 the C library takes clone, which can be read."""
_FIRST_FOREIGN = 0x40000000
"""The numbers of x32, a second table of the same calls."""

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _MACHINE = 0, 4
_ALLOW, _KILL, _ERROR = 0x7FFF0000, 0x80000000, 0x00050000
_MODE_FILTER, _SET_SECCOMP = 2, 22


def supported() -> bool:
    """Return whether the calls of this processor are known."""
    return os.uname().machine in _MACHINES and struct.calcsize("P") == 8


def restrict(*, files_unchanged: bool) -> None:
    """Filter the calls of this process, for good; with `files_unchanged` also those that change a file's attributes."""
    program = b"".join(_program(os.getpid(), files_unchanged=files_unchanged))

    class _Program(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))

    given = _Program(len(program) // 8, program)
    kernel.call("prctl", _SET_SECCOMP, _MODE_FILTER, ctypes.byref(given), 0, 0)


def _program(own_pid: int, *, files_unchanged: bool) -> Iterator[bytes]:
    machine, column = _MACHINES[os.uname().machine]
    yield _op(_LOAD, _MACHINE)
    yield _op(_EQUAL, machine, skip_if=1)
    yield _op(_RETURN, _KILL)
    yield _op(_LOAD, _NUMBER)
    yield _op(_AT_LEAST, _FIRST_FOREIGN, skip_unless=1)
    yield _op(_RETURN, _KILL)
    forbidden = {**_FORBIDDEN, **_CHANGES_FILES} if files_unchanged else _FORBIDDEN
    for numbers in forbidden.values():
        if numbers[column] != _ABSENT:
            yield from _forbid(numbers[column], errno.EPERM)
    yield from _ask(_CLONE[column], 0, _ANY_BIT, _SAME_THREAD, errno.EAGAIN)
    yield from _ask(_SOCKETPAIR[column], 0, _EQUAL, _UNIX, errno.EPERM)
    yield from _ask(_SENDTO[column], 5, _EQUAL, 0, errno.EPERM)  # one end of a pair to the other, and to no address
    yield from _ask(_PRLIMIT[column], 0, _EQUAL, 0, errno.EPERM)
    yield from _ask(_PRCTL[column], 0, _EQUAL, _DEATH_SIGNAL, errno.EPERM, but_not=True)
    for numbers in _SIGNALS.values():
        yield from _ask(numbers[column], 0, _EQUAL, own_pid, errno.EPERM)
    for number in _NEW.values():
        if not (files_unchanged and number == _NEW["fchmodat2"]):
            yield _op(_EQUAL, number, skip_unless=1)
            yield _op(_RETURN, _ALLOW)
    yield _op(_AT_LEAST, _FIRST_NEW, skip_unless=1)
    yield _op(_RETURN, _ERROR | errno.ENOSYS)
    yield _op(_RETURN, _ALLOW)


def _forbid(number: int, code: int) -> Iterator[bytes]:
    yield _op(_EQUAL, number, skip_unless=1)
    yield _op(_RETURN, _ERROR | code)


def _ask(number: int, argument: int, test: int, value: int, code: int, *, but_not: bool = False) -> Iterator[bytes]:
    """Allow a call by the lower half of one argument: if the test holds, or, `but_not`, if it does not."""
    yield _op(_EQUAL, number, skip_unless=4)
    yield _op(_LOAD, 16 + 8 * argument)
    yield _op(test, value, skip_unless=int(not but_not), skip_if=int(but_not))
    yield _op(_RETURN, _ALLOW)
    yield _op(_RETURN, _ERROR | code)


def _op(code: int, value: int, *, skip_if: int = 0, skip_unless: int = 0) -> bytes:
    return struct.pack("=HBBI", code, skip_if, skip_unless, value)
