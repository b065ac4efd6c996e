"""Files written whole: whose rights they get, what a kill leaves, and that links, pipes and devices stay."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from avengers_edge._util.files import check_folder, write_named, write_whole
from avengers_edge.errors import BadRequest, NotFound
from avengers_edge.library.leftovers import _TEMPORARY

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has other rights")


@contextlib.contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_a_new_file_has_the_rights_that_the_umask_leaves(tmp_path: Path, mask: int, mode: int) -> None:
    with umask(mask):
        write_whole(tmp_path / "file", b"x")
    assert mode_of(tmp_path / "file") == mode


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o644, 0o444])
@pytest.mark.parametrize("mask", [0o022, 0o077])
def test_what_is_replaced_keeps_its_rights(tmp_path: Path, mode: int, mask: int) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    path.chmod(mode)
    with umask(mask):
        write_whole(path, b"new")
    assert (path.read_bytes(), mode_of(path)) == (b"new", mode)


def test_rights_that_are_named_win(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with umask(0):
        for mode in (0o600, 0o644):
            write_whole(path, b"x", mode)
            assert mode_of(path) == mode


def test_what_is_private_is_so_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, int]] = []
    monkeypatch.setattr(os, "fsync", lambda _: seen.extend((each.name, mode_of(each)) for each in tmp_path.iterdir()))
    with umask(0):
        write_whole(tmp_path / "file", b"x", 0o600)
    ((name, mode),) = seen
    assert mode == 0o600
    assert _TEMPORARY.fullmatch(name)  # so a kill leaves what `models gc` knows


@pytest.mark.parametrize("there", [True, False])
def test_of_a_link_the_file_is_written_that_it_leads_to_also_one_that_is_not_there_yet(
    tmp_path: Path, there: bool
) -> None:
    far, near, nearest = tmp_path / "far" / "file", tmp_path / "near", tmp_path / "nearest"
    far.parent.mkdir()
    if there:
        far.write_bytes(b"old")
        far.chmod(0o640)
    near.symlink_to("far/file")
    nearest.symlink_to(near)
    write_whole(nearest, b"new")
    assert nearest.is_symlink()
    assert near.is_symlink()
    assert (far.read_bytes(), far.is_symlink()) == (b"new", False)
    assert not there or mode_of(far) == 0o640
    assert sorted(each.name for each in tmp_path.rglob("*")) == ["far", "file", "near", "nearest"]


def test_a_link_to_itself_is_refused_by_the_system_and_stays(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(OSError, match="symbolic links"):
        write_named(tmp_path / "loop", b"new")
    assert (tmp_path / "loop").is_symlink()


@pytest.mark.parametrize("linked", [True, False])
def test_a_pipe_gets_the_bytes_and_stays_a_pipe(tmp_path: Path, linked: bool) -> None:
    pipe, path = tmp_path / "pipe", tmp_path / ("link" if linked else "pipe")
    os.mkfifo(pipe)
    if linked:
        path.symlink_to(pipe)
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()), daemon=True)
    reader.start()
    writer = threading.Thread(target=write_named, args=(path, b"new"), daemon=True)
    writer.start()
    for each in (writer, reader):
        each.join(20)
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert read == [b"new"]


def test_a_device_stays_a_device(tmp_path: Path) -> None:
    device = tmp_path / "null"
    try:
        os.mknod(device, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
        device.read_bytes()
    except OSError:
        pytest.skip("no device can be made and opened here")
    write_named(device, b"new")
    assert stat.S_ISCHR(device.lstat().st_mode)
    assert list(tmp_path.iterdir()) == [device]


def test_what_takes_no_bytes_is_refused_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # a socket's name is short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
        with pytest.raises(BadRequest, match="socket is neither a file nor a pipe"):
            write_named(Path("socket"), b"new")
    assert stat.S_ISSOCK(Path("socket").stat().st_mode)


def test_standard_output_by_its_name_keeps_what_its_file_holds(tmp_path: Path) -> None:
    """The link has the part of /dev/stdout, which no test may touch."""
    log, link = tmp_path / "log", tmp_path / "stdout"
    log.write_bytes(b"old ")
    link.symlink_to(log)
    code = "import sys, pathlib, avengers_edge._util.files as f; f.write_named(pathlib.Path(sys.argv[1]), b'new')"
    with log.open("ab") as output:
        subprocess.run([sys.executable, "-c", code, str(link)], stdout=output, check=True)
    assert log.read_bytes() == b"old new"


def test_a_folder_that_a_user_names_is_there_or_refused_also_behind_a_link(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("nowhere/file")
    for path in (tmp_path / "nowhere" / "file", tmp_path / "link"):
        with pytest.raises(NotFound, match=f"no folder {tmp_path}/nowhere to write"):
            check_folder(path)
    assert not (tmp_path / "nowhere").exists()
    check_folder(tmp_path / "file")
