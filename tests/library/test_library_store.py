"""Laws of the store: only verified bytes are handed out, and nothing of the store is lost or half written."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest
from bundle_files import another_disk
from gguf_files import tiny_model

from avengers_edge._util import files as locks
from avengers_edge._util.files import exclusive, write_text
from avengers_edge._util.text import counted, human_bytes
from avengers_edge.errors import AvengersError, BadRequest, DoesNotFit, NotFound, VerificationFailed
from avengers_edge.library import disk, importing
from avengers_edge.library.catalog import Catalog
from avengers_edge.library.disk import disk_errors, move
from avengers_edge.library.importing import import_file
from avengers_edge.library.manifests import HubSource, ModelManifest, PathSource, UrlSource
from avengers_edge.library.receipts import Expected, receipt_path
from avengers_edge.library.store import Store

DATA = tiny_model()
SHA = hashlib.sha256(DATA).hexdigest()
TEMPLATE_SHA = hashlib.sha256(b"{{ messages }}").hexdigest()


def manifest_of(sha256: str | None = SHA, template: str | None = TEMPLATE_SHA) -> ModelManifest:
    source = PathSource("somewhere.gguf") if sha256 else HubSource("owner/tiny", "Tiny.gguf")
    return ModelManifest("tiny", "Tiny.gguf", "MIT", 128, (source,), len(DATA), sha256, True, template)


MANIFEST = manifest_of()


@pytest.fixture
def shelf(tmp_path: Path) -> Store:
    """A store with the tiny model in it."""
    shelf = Store(tmp_path / "home")
    download = tmp_path / "download.part"
    download.write_bytes(DATA)
    shelf.adopt(download, MANIFEST, Expected(SHA, "manifest", "a test"))
    return shelf


def hashed(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Remember which files are hashed."""
    seen: list[Path] = []
    real = disk.sha256_of
    monkeypatch.setattr(
        "avengers_edge.library.receipts.sha256_of", lambda path, heard: (seen.append(path), real(path, heard))[1]
    )
    return seen


def damage(path: Path) -> None:
    """Change one byte of the weights, as a bad disk would, size kept."""
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def test_an_adopted_file_keeps_its_name_and_bytes_and_has_a_receipt(shelf: Store) -> None:
    path = shelf.find(MANIFEST)
    assert path == shelf.home / "models" / "tiny" / "Tiny.gguf"
    assert path.read_bytes() == DATA
    receipt = json.loads(receipt_path(path).read_text(encoding="utf-8"))
    assert receipt["sha256"] == SHA
    assert (receipt["model"], receipt["file"], receipt["bytes"]) == ("tiny", "Tiny.gguf", len(DATA))
    assert (receipt["expected_from"], receipt["source"]) == ("manifest", "a test")
    assert receipt["chat_template_sha256"] == TEMPLATE_SHA
    assert receipt["verified_at"].endswith("+00:00")


def test_an_untouched_file_is_not_hashed_again(shelf: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = hashed(monkeypatch)
    shelf.find(MANIFEST)
    assert seen == []


def test_a_touched_file_is_hashed_once_and_its_receipt_heals(shelf: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    os.utime(shelf.path_of(MANIFEST), ns=(1, 1))
    seen = hashed(monkeypatch)
    shelf.find(MANIFEST)
    shelf.find(MANIFEST)
    assert len(seen) == 1


def test_a_changed_byte_is_refused(shelf: Store) -> None:
    damage(shelf.path_of(MANIFEST))
    with pytest.raises(VerificationFailed, match="avengers models pull tiny"):
        shelf.find(MANIFEST)


def test_verify_finds_a_changed_byte_even_under_the_old_time(shelf: Store) -> None:
    path = shelf.path_of(MANIFEST)
    before = path.stat()
    damage(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(VerificationFailed):
        shelf.verify(MANIFEST)


def test_verify_tells_what_it_found(shelf: Store) -> None:
    heard: list[int] = []
    verified = shelf.verify(MANIFEST, heard.append)
    assert (verified.receipt.sha256, verified.header.architecture) == (SHA, "tiny")
    assert heard[-1] == len(DATA)


@pytest.mark.parametrize("receipt", ["", "{}", "[1]", "null", '{"model": 3}', "\0", "[" * 1000, "[" * 100_000])
def test_a_damaged_receipt_counts_as_none(shelf: Store, receipt: str) -> None:
    receipt_path(shelf.path_of(MANIFEST)).write_text(receipt, encoding="utf-8")
    assert shelf.receipt_of(MANIFEST) is None
    assert shelf.find(MANIFEST).is_file()
    assert shelf.receipt_of(MANIFEST) is not None


def test_without_pin_and_receipt_nothing_vouches_for_a_file(shelf: Store) -> None:
    unpinned = manifest_of(sha256=None)
    assert shelf.find(unpinned).is_file()
    receipt_path(shelf.path_of(unpinned)).unlink()
    with pytest.raises(VerificationFailed, match="avengers models pull tiny"):
        shelf.find(unpinned)


def test_a_receipt_locks_what_the_manifest_does_not_pin(shelf: Store) -> None:
    unpinned = manifest_of(sha256=None)
    damage(shelf.path_of(unpinned))
    with pytest.raises(VerificationFailed):
        shelf.find(unpinned)


def test_a_manifest_that_now_pins_another_file_is_obeyed(shelf: Store) -> None:
    with pytest.raises(VerificationFailed):
        shelf.find(manifest_of(sha256="ab" * 32))


def test_a_manifest_that_now_pins_another_template_is_obeyed_without_being_asked_to_verify(shelf: Store) -> None:
    with pytest.raises(VerificationFailed, match="chat template"):
        shelf.find(manifest_of(template="ab" * 32))
    assert shelf.find(manifest_of(template=None)).is_file()


def test_another_chat_template_than_the_pinned_is_refused(shelf: Store) -> None:
    with pytest.raises(VerificationFailed, match="chat template"):
        shelf.verify(manifest_of(template="ab" * 32))


def test_a_file_that_is_no_model_is_not_adopted(tmp_path: Path) -> None:
    file = tmp_path / "x.part"
    file.write_bytes(b"text" * 20)
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    shelf = Store(tmp_path / "home")
    with pytest.raises(VerificationFailed):
        shelf.adopt(file, manifest_of(sha256), Expected(sha256, "manifest", "a test"))
    assert not shelf.path_of(MANIFEST).exists()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_receipt_that_is_a_pipe_is_not_waited_for(shelf: Store) -> None:
    receipt_path(shelf.path_of(MANIFEST)).unlink()
    os.mkfifo(receipt_path(shelf.path_of(MANIFEST)))
    assert shelf.receipt_of(MANIFEST) is None


@pytest.mark.parametrize("broken", ["stat", "open", "iterdir"])
def test_a_file_or_folder_that_cannot_be_read_is_one_line(
    shelf: Store, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    def refuse(path: Path, *_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    if broken == "iterdir":
        asks = [shelf.installed]
    else:
        os.utime(shelf.path_of(MANIFEST), (1, 1))
        asks = [lambda: shelf.find(MANIFEST), lambda: shelf.verify(MANIFEST)]
    if broken == "stat":
        asks += [shelf.installed, lambda: shelf.size_of(MANIFEST), lambda: shelf.remove(MANIFEST)]
    monkeypatch.setattr(Path, broken, refuse)
    for ask in asks:
        with pytest.raises(AvengersError, match="cannot be read: Permission denied"):
            ask()


def test_what_is_not_installed_is_not_found(tmp_path: Path) -> None:
    shelf = Store(tmp_path / "home")
    for act in (shelf.find, shelf.verify, shelf.remove):
        with pytest.raises(NotFound):
            act(MANIFEST)
    with pytest.raises(NotFound, match="avengers models pull tiny"):
        shelf.find(MANIFEST)
    assert shelf.installed() == ()
    assert not shelf.home.exists()


def test_installed_lists_files_with_and_without_receipt(shelf: Store) -> None:
    (first,) = shelf.installed()
    assert (first.model, first.bytes) == ("tiny", len(DATA))
    assert first.receipt is not None
    receipt_path(first.path).unlink()
    assert shelf.installed()[0].receipt is None


def test_remove_leaves_nothing_of_the_model(shelf: Store) -> None:
    partial = shelf.partial_of("tiny")
    partial.mkdir(parents=True)
    (partial / "Tiny.gguf.part").write_bytes(b"12345")
    assert shelf.remove(MANIFEST) > len(DATA) + 5
    assert not shelf.path_of(MANIFEST).parent.exists()
    assert not partial.exists()
    with pytest.raises(NotFound):
        shelf.remove(MANIFEST)


def test_remove_spares_what_is_not_the_models(shelf: Store) -> None:
    note = shelf.path_of(MANIFEST).parent / "note.txt"
    note.touch()
    shelf.remove(MANIFEST)
    assert note.exists()


# --- import ---


def catalog_of(tmp_path: Path, *manifests: ModelManifest) -> Catalog:
    catalog = Catalog(tmp_path / "shipped")
    for manifest in manifests:
        catalog.add_model(manifest)
    return Catalog(tmp_path / "home", tmp_path / "shipped")


def vendor_file(tmp_path: Path, name: str = "My Model (Q4_K_M).gguf", data: bytes = DATA) -> Path:
    path = tmp_path / name
    path.write_bytes(data)
    return path


def test_an_imported_file_becomes_a_model_with_a_manifest(tmp_path: Path) -> None:
    shelf, catalog = Store(tmp_path / "home"), catalog_of(tmp_path)
    path = vendor_file(tmp_path)
    manifest = import_file(shelf, path, catalog)
    assert (manifest.id, manifest.file, manifest.licence) == ("my-model-q4_k_m", "My Model (Q4_K_M).gguf", "mit")
    assert (manifest.sha256, manifest.bytes, manifest.context_length) == (SHA, len(DATA), 128)
    assert catalog.load_model("my-model-q4_k_m") == manifest
    assert shelf.find(manifest).read_bytes() == path.read_bytes()
    receipt = shelf.receipt_of(manifest)
    assert receipt is not None
    assert receipt.expected_from == "import"
    assert [each.suffix for each in (tmp_path / "home" / "partial").iterdir()] == [".lock"]


def test_importing_twice_is_harmless(tmp_path: Path) -> None:
    shelf, catalog = Store(tmp_path / "home"), catalog_of(tmp_path)
    path = vendor_file(tmp_path)
    assert import_file(shelf, path, catalog) == import_file(shelf, path, catalog)


def test_a_file_that_a_manifest_pins_is_installed_as_that_model(tmp_path: Path) -> None:
    shelf, catalog = Store(tmp_path / "home"), catalog_of(tmp_path, MANIFEST)
    assert import_file(shelf, vendor_file(tmp_path), catalog) == MANIFEST
    assert shelf.find(MANIFEST).name == "Tiny.gguf"
    assert not (tmp_path / "home" / "manifests").exists()


def test_an_import_as_a_model_without_pin_locks_its_hash(tmp_path: Path) -> None:
    unpinned = manifest_of(sha256=None)
    shelf, catalog = Store(tmp_path / "home"), catalog_of(tmp_path, unpinned)
    assert import_file(shelf, vendor_file(tmp_path), catalog, model_id="tiny") == unpinned
    assert shelf.find(unpinned).is_file()


def test_an_import_never_takes_the_id_of_another_file(tmp_path: Path) -> None:
    shelf, catalog = Store(tmp_path / "home"), catalog_of(tmp_path, MANIFEST)
    with pytest.raises(BadRequest, match="--id"):
        import_file(shelf, vendor_file(tmp_path, data=tiny_model(1)), catalog, model_id="tiny")
    assert shelf.installed() == ()


def test_another_quantization_of_a_model_has_it_in_its_id_and_a_third_file_is_refused(tmp_path: Path) -> None:
    shelf, catalog = Store(tmp_path / "home"), catalog_of(tmp_path, MANIFEST)
    first = import_file(shelf, vendor_file(tmp_path, "tiny.gguf", tiny_model(1)), catalog)
    assert first.id == "tiny-q4_k_m"
    assert import_file(shelf, tmp_path / "tiny.gguf", catalog) == first
    with pytest.raises(BadRequest, match="--id"):
        import_file(shelf, vendor_file(tmp_path, "tiny.gguf", tiny_model(2)), catalog)


def test_an_import_is_forgotten_with_its_manifest_and_the_id_is_free_again(tmp_path: Path) -> None:
    shelf, catalog = Store(tmp_path / "home"), catalog_of(tmp_path)
    first = import_file(shelf, vendor_file(tmp_path), catalog, model_id="mine")
    newer = vendor_file(tmp_path, "newer.gguf", tiny_model(1))
    with pytest.raises(BadRequest, match="avengers models remove mine"):
        import_file(shelf, newer, catalog, model_id="mine")
    shelf.remove(first)
    assert catalog.forget_model(first)
    assert not catalog.forget_model(first)
    assert catalog.list_models() == ()
    second = import_file(shelf, newer, catalog, model_id="mine")
    assert shelf.find(second).read_bytes() == tiny_model(1)


def test_only_an_import_in_the_users_own_folder_is_forgotten(tmp_path: Path) -> None:
    catalog = catalog_of(tmp_path, MANIFEST)
    assert not catalog.forget_model(MANIFEST)  # it ships
    by_hand = msgspec.structs.replace(
        MANIFEST, id="mine", sources=(*MANIFEST.sources, UrlSource("https://example.org/x"))
    )
    catalog.add_model(by_hand)
    assert not catalog.forget_model(by_hand)  # it names a place to pull from
    assert catalog.list_models() == ("mine", "tiny")


@pytest.mark.parametrize("model_id", ["../up", "Up", "a/b", "con"])
def test_an_import_refuses_an_id_that_is_no_plain_name(tmp_path: Path, model_id: str) -> None:
    with pytest.raises(BadRequest):
        import_file(Store(tmp_path / "home"), vendor_file(tmp_path), catalog_of(tmp_path), model_id=model_id)


def test_an_import_of_no_model_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(VerificationFailed):
        import_file(Store(tmp_path / "home"), vendor_file(tmp_path, data=DATA[:-1]), catalog_of(tmp_path))
    with pytest.raises(NotFound):
        import_file(Store(tmp_path / "home"), tmp_path / "none.gguf", catalog_of(tmp_path))
    assert not (tmp_path / "home").exists()


def test_a_failed_import_leaves_no_manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = importing._copy_hashing

    def changed(path: Path, copy: Path) -> str:
        path.write_bytes(b"changed since its header was read")
        return real(path, copy)

    monkeypatch.setattr(importing, "_copy_hashing", changed)
    with pytest.raises(VerificationFailed):
        import_file(Store(tmp_path / "home"), vendor_file(tmp_path), catalog_of(tmp_path))
    assert catalog_of(tmp_path).list_models() == ()


def test_an_import_that_does_not_fit_says_both_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda _: SimpleNamespace(free=5_000_000))
    with pytest.raises(DoesNotFit, match=r"67\.1 MB .* 5\.0 MB"):
        import_file(Store(tmp_path / "home"), vendor_file(tmp_path), catalog_of(tmp_path))


def test_an_import_that_fills_the_disk_leaves_no_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, copy: Path) -> str:
        copy.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(importing, "_copy_hashing", full)
    with pytest.raises(DoesNotFit):
        import_file(Store(tmp_path / "home"), vendor_file(tmp_path), catalog_of(tmp_path))
    assert [each.suffix for each in (tmp_path / "home" / "partial").iterdir()] == [".lock"]


# --- the disk ---


def test_a_model_moves_to_another_disk_by_a_copy_that_is_hashed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = another_disk(monkeypatch, tmp_path / "disk")
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "models").symlink_to(disk)
    store = Store(tmp_path / "home")
    manifest = import_file(store, vendor_file(tmp_path), catalog_of(tmp_path))
    path = store.find(manifest)
    assert path.read_bytes() == DATA
    assert path.resolve().parents[1] == disk
    assert [each.suffix for each in (tmp_path / "home" / "partial").iterdir()] == [".lock"]


def test_a_copy_with_other_bytes_is_never_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = another_disk(monkeypatch, tmp_path / "disk") / "file"
    (tmp_path / "file").write_bytes(b"other")
    with pytest.raises(VerificationFailed, match="was changed on its way"):
        move(tmp_path / "file", target, hashlib.sha256(b"right").hexdigest())
    assert list(target.parent.iterdir()) == []
    assert (tmp_path / "file").read_bytes() == b"other"


def test_a_home_that_is_a_file_is_named_with_the_cure(tmp_path: Path) -> None:
    (tmp_path / "home").touch()
    with pytest.raises(AvengersError, match=r"home cannot be written .* AVENGERS_HOME") as caught:
        import_file(Store(tmp_path / "home"), vendor_file(tmp_path), catalog_of(tmp_path))
    assert caught.value.exit_code == 1


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM, errno.EROFS])
def test_a_home_without_rights_is_named_with_the_cure(tmp_path: Path, number: int) -> None:
    with pytest.raises(AvengersError, match="AVENGERS_HOME"), disk_errors(tmp_path, "testing"):
        raise OSError(number, "no")


def test_a_disk_with_room_but_not_for_new_files_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda _: SimpleNamespace(free=10**9))
    with pytest.raises(DoesNotFit, match=r"1\.0 GB free but no room for new files"), disk_errors(tmp_path, "x", 10**8):
        raise OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(DoesNotFit, match=r"2\.0 GB of disk and 1\.0 GB are"), disk_errors(tmp_path, "x", 2 * 10**9):
        raise OSError(errno.ENOSPC, "No space left on device")


def test_any_other_disk_trouble_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(AvengersError, match="testing failed"), disk_errors(tmp_path, "testing"):
        raise OSError(errno.EIO, "Input/output error", "some file")


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file.json"
    write_text(path, "old")

    def fail(_: int) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="full"):
        write_text(path, "new")
    assert path.read_text(encoding="utf-8") == "old"
    assert list(tmp_path.iterdir()) == [path]


_HOLD = """
import sys
from pathlib import Path
from avengers_edge._util.files import exclusive
with exclusive(Path(sys.argv[1]), "busy"):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_lock_is_seen_by_other_processes_and_ends_with_its_holder(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    holder = subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(disk.__file__).parents[2])},
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline().strip() == b"held"
        with pytest.raises(AvengersError, match="busy"), exclusive(path, "busy"):
            pass
        holder.kill()
    with exclusive(path, "busy"):
        pass


def test_a_lock_on_a_file_that_its_holder_deleted_is_no_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, real = tmp_path / "x.lock", locks._lock
    late = [path]

    def lock(descriptor: int) -> None:
        while late:  # the last holder ends between our opening of the file and our locking it
            late.pop().unlink()
        real(descriptor)

    monkeypatch.setattr(locks, "_lock", lock)
    with exclusive(path, "busy", tidy=True):
        with pytest.raises(AvengersError, match="busy"), exclusive(path, "busy", tidy=True):
            pass
        assert path.exists()
    assert not path.exists()


def test_a_disk_that_knows_no_locks_is_not_taken_for_a_busy_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(locks, "_lock", refuse)
    with pytest.raises(OSError, match="No locks available"), exclusive(tmp_path / "x.lock", "busy"):
        pass


@pytest.mark.parametrize(
    ("count", "said"), [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (98_362_432, "98.4 MB"), (10**15, "1000 TB")]
)
def test_sizes_are_written_for_people(count: int, said: str) -> None:
    assert human_bytes(count) == said


def test_one_is_singular_and_none_is_not() -> None:
    assert [counted(count, "member") for count in range(3)] == ["0 members", "1 member", "2 members"]


def test_a_folder_that_goes_while_its_bytes_are_added_up_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "kept").write_bytes(b"12345")
    for name in ("scratch", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_bytes(b"1")
    scan = os.scandir

    def scandir(path: str | int) -> object:
        if not isinstance(path, int) and Path(path).name == "scratch":
            monkeypatch.undo()
            shutil.rmtree(path)  # pip has just done with it
        return scan(path)

    monkeypatch.setattr(os, "scandir", scandir)
    assert disk.bytes_below(tmp_path) == 6
