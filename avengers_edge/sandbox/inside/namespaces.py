"""A place of our own by Linux namespaces: nothing in it but what was put there, and nobody else to be seen."""
# ruff: noqa: PTH102, PTH103, PTH106, PTH112, PTH120, PTH123
# pathlib costs a tenth of the time that a run takes.

from __future__ import annotations

import contextlib
import os

from avengers_edge.sandbox.inside import kernel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

NOBODY = 65534
_OLD = "/.old"
_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")


def leave() -> None:
    """Leave the namespaces that this process shares with others; its next child is the first process of its own.

    Raises:
        OSError: the system does not allow it.

    """
    user, group = os.geteuid(), os.getegid()
    if user == 0:
        kernel.call("unshare", kernel.NEW_NAMESPACES)
        return
    kernel.call("unshare", kernel.NEW_NAMESPACES | kernel.NEW_USER)
    for name, content in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(content)


def settle(paths: Sequence[tuple[str, str]], scratch: str, scratch_bytes: int) -> None:
    """Build a root from the given paths, all read-only, and one empty folder in memory; then forget the old root.

    Args:
        paths: what to show, as pairs of the real path and where to show it.
        scratch: the folder that can be written to, where the process then stands.
        scratch_bytes: how much fits into it.

    Raises:
        OSError: the system does not allow it.

    """
    kernel.keep_mounts_private()
    kernel.mount_memory("/tmp", "size=1m,nr_inodes=4k,mode=755")
    os.mkdir(f"/tmp{_OLD}")
    kernel.change_root("/tmp", f"/tmp{_OLD}")
    os.chdir("/")
    for source, path in paths:
        _show(source, path)
        kernel.seal_mount(path, below=True)
    for device in _DEVICES:
        _show(device, device)
    os.makedirs(scratch, exist_ok=True)
    kernel.mount_memory(scratch, f"size={scratch_bytes},nr_inodes=1k,mode=1777")
    kernel.detach(_OLD)
    os.rmdir(_OLD)
    kernel.seal_mount("/", below=False)
    os.chdir(scratch)
    kernel.call("sethostname", b"sandbox", 7)
    if os.geteuid() == 0:
        _become_nobody()


def _show(source: str, path: str) -> None:
    source = _OLD + source
    if os.path.isdir(source):
        os.makedirs(path, exist_ok=True)
    else:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY))
    kernel.mount_bound(source, path)


def _become_nobody() -> None:
    """Be somebody who owns nothing, in a user namespace of his own, where his threads are counted apart."""
    become_nobody()
    with contextlib.suppress(OSError):  # where these are forbidden, his threads are counted with all of his
        kernel.call("unshare", kernel.NEW_USER)


def become_nobody() -> None:
    """Be somebody who owns nothing; only root can."""
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)
