"""Files written whole: whose rights they get, and what a kill leaves."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from avengers_edge.files import write_whole
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
