"""Laws of unpacking: nothing is in place before all of it verified, nothing different is lost, any end is mended."""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest
from bundle_files import (
    TEAM,
    another_disk,
    archive_of,
    entry,
    fake_wheel,
    killed_at,
    large_model,
    listed,
    make_home,
    pack_small,
    relabelled,
    sha256,
    tree,
)
from gguf_files import BASICS, Tiny, tensor, tiny_model, u32

from avengers_edge._util.files import exclusive, write_text
from avengers_edge.config import shipped_dir
from avengers_edge.errors import AvengersError, BadRequest, DoesNotFit, NotFound, VerificationFailed
from avengers_edge.library import disk
from avengers_edge.library.bundle import unpack as unpacking
from avengers_edge.library.bundle.archive import open_archive
from avengers_edge.library.bundle.manifest import read_manifest
from avengers_edge.library.bundle.pack import PackOptions, pack
from avengers_edge.library.bundle.unpack import unpack
from avengers_edge.library.bundle.verify import check_home
from avengers_edge.library.catalog import Catalog
from avengers_edge.library.importing import import_file
from avengers_edge.library.manifests import ModelManifest, Part, PathSource
from avengers_edge.library.store import Store

posix = pytest.mark.skipif(os.name == "nt", reason="no fork")


@pytest.fixture
def archive(home, tmp_path):
    """A bundle of the team `small`, packed in another home."""
    make_home(tmp_path / "origin")
    return pack_small(tmp_path / "origin", tmp_path / "stick")


@pytest.fixture
def store(home):
    return Store(home)


def problems(home):
    return [(problem.path, problem.what) for problem in check_home(home)[1]]


def rewritten(archive: Path, bundle, contents: dict[str, bytes] | None = None) -> Path:
    """Write the archive again with another manifest and, by path, other contents."""
    with open_archive(archive, read_manifest) as opened:
        kept: dict[str, bytes] = {}
        for each in opened.members(lambda problem: pytest.fail(str(problem))):
            pieces: list[bytes] = []
            each.copy(pieces.append)
            kept[each.member.path] = b"".join(pieces)
    kept |= contents or {}
    order = [file["path"] for file in json.loads(bundle.payload)["files"]]
    entries = [entry(name, data) for name, data in bundle.entries()] + [entry(path, kept[path]) for path in order]
    archive.write_bytes(archive_of(entries))
    return archive


def bundle_in(archive):
    with open_archive(archive, read_manifest) as opened:
        return opened.envelope


def with_files(bundle, change):
    rows = json.loads(bundle.payload)["files"]
    return relabelled(bundle, files=change(rows))


# --- what it does ---


def test_what_was_packed_is_in_place_and_can_answer(archive, store, home, tmp_path):
    done = unpack(archive, store)
    assert (done.name, done.team, done.files, done.already) == ("small", "small", 5, 0)
    assert (home / "models" / "tiny" / "Tiny.gguf").read_bytes() == tiny_model()
    catalog = Catalog(home, shipped_dir())
    assert catalog.load_team("small").models == ("tiny",)
    receipt = store.receipt_of(catalog.load_model("tiny"))
    origin = Store(tmp_path / "origin").receipt_of(catalog.load_model("tiny"))
    assert (receipt.sha256, receipt.source, receipt.expected_from) == (origin.sha256, origin.source, "manifest")
    assert store.find(catalog.load_model("tiny"))
    names = sorted(tree(home))
    assert names == [
        "bundles/small.json",
        "bundles/small/bundle.json.sha256",
        "bundles/small/licences/models.txt",
        "bundles/small/sbom.cdx.json",
        "manifests/tiny.toml",
        "models/tiny/Tiny.gguf",
        "models/tiny/Tiny.gguf.receipt.json",
        "teams/small.toml",
    ]
    assert problems(home) == []


def test_unpacking_twice_changes_nothing(archive, store, home, monkeypatch):
    unpack(archive, store)
    before = tree(home)
    monkeypatch.setattr(unpacking, "_stage", lambda archive, todo, *_: pytest.fail("read again") if todo else None)
    assert unpack(archive, store).already == 5
    assert tree(home) == before


def test_a_model_that_is_there_already_is_not_unpacked_again(archive, store, home):
    unpack(archive, store)
    (home / "bundles" / "small.json").unlink()
    (home / "teams" / "small.toml").unlink()
    assert unpack(archive, store).already == 4
    assert problems(home) == []


def test_a_damaged_model_is_mended(archive, store, home):
    unpack(archive, store)
    (home / "models" / "tiny" / "Tiny.gguf").write_bytes(tiny_model(salt=3))
    assert problems(home) == [("models/tiny/Tiny.gguf", "bad")]
    assert unpack(archive, store).already == 4
    assert problems(home) == []


@pytest.mark.parametrize("name", ["teams/small.toml", "manifests/tiny.toml", "models/tiny/Tiny.gguf"])
def test_a_different_file_of_the_same_name_is_kept_unless_it_is_to_be_replaced(archive, store, home, name):
    write_text(home / name, "mine")
    before = tree(home)
    with pytest.raises(BadRequest, match=rf"{name}; --replace uses the bundle's"):
        unpack(archive, store)
    assert tree(home) == before
    unpack(archive, store, replace=True)
    assert problems(home) == []


def test_a_team_that_would_hide_one_that_ships_is_refused_unless_it_is_to_be_replaced(home, tmp_path, store):
    origin = tmp_path / "origin"
    make_home(origin)
    write_text(origin / "teams" / "starter.toml", TEAM.replace('"small"', '"starter"'))
    catalog, other = Catalog(origin, shipped_dir()), Store(origin)
    path = pack(PackOptions("starter", "starter", tmp_path / "stick", None), catalog, other).archive
    with pytest.raises(BadRequest, match=r"teams/starter.toml; --replace"):
        unpack(path, store)
    unpack(path, store, replace=True)
    assert Catalog(home, shipped_dir()).load_team("starter").models == ("tiny",)


WAYS = '[mine]\n[mine.instructions]\nnumber = "Count."\n'
THINK = '[think]\n[think.instructions]\nnumber = "Guess."\n'


@pytest.mark.parametrize("again", [False, True], ids=["at once", "after a run that was refused"])
def test_ways_of_asking_that_ship_are_not_changed_unless_they_are_to_be_replaced(home, tmp_path, store, again):
    origin = tmp_path / "origin"
    make_home(origin)
    write_text(origin / "teams" / "small.toml", TEAM + 'mode = "mine"\n')
    write_text(origin / "modes.toml", WAYS)
    ways = Catalog(home, shipped_dir()).modes()
    unpack(pack_small(origin, tmp_path / "added"), store)
    assert Catalog(home, shipped_dir()).modes().keys() == {*ways, "mine"}
    shutil.rmtree(home)
    write_text(origin / "modes.toml", WAYS + THINK)
    changed = pack_small(origin, tmp_path / "changed")
    for _ in range(2 if again else 1):
        with pytest.raises(BadRequest, match="changes ways of asking that ship, for all teams: think; --replace"):
            unpack(changed, store)
        assert not [name for name in tree(home) if not name.startswith("partial/")]
    assert not [name for name in tree(home) if name.endswith(".gguf")]  # it was refused before the models were read
    unpack(changed, store, replace=True)
    assert Catalog(home, shipped_dir()).modes()["think"].instructions == {"number": "Guess."}


def test_another_bundle_of_the_same_name_is_refused_unless_it_is_to_be_replaced(archive, store, home, tmp_path):
    unpack(archive, store)
    write_text(tmp_path / "origin" / "teams" / "small.toml", TEAM + "\n# newer\n")
    (home / "bundles" / "small" / "licences" / "old.txt").write_text("of the first bundle")
    newer = pack_small(tmp_path / "origin", tmp_path / "newer")
    with pytest.raises(BadRequest, match="bundles/small.json.*--replace"):
        unpack(newer, store)
    unpack(newer, store, replace=True)
    assert problems(home) == []
    assert "# newer" in (home / "teams" / "small.toml").read_text(encoding="utf-8")


def rot(path):
    """Flip a bit of a file as a disk does: neither its size nor its time tells."""
    status, data = path.stat(), bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_a_model_that_rotted_in_place_is_mended_without_replacing_anything_else(archive, store, home):
    unpack(archive, store)
    path = home / "models" / "tiny" / "Tiny.gguf"
    rot(path)
    [problem] = check_home(home)[1]
    assert (problem.path, problem.why.endswith("unpack the bundle again")) == ("models/tiny/Tiny.gguf", True)
    told = []
    assert unpack(archive, store, progress=told.append).already == 4
    assert path.read_bytes() == tiny_model()
    assert store.receipt_of(Catalog(home, shipped_dir()).load_model("tiny")).untouched(path)
    assert problems(home) == []
    assert {each.step for each in told} == {"checking what is there,", "unpacking"}


@pytest.mark.parametrize("place", ["teams/small.toml", "manifests/tiny.toml", "models/tiny/Tiny.gguf"])
def test_what_may_be_somebodys_work_is_kept_and_verify_names_the_option_that_mends_it(archive, store, home, place):
    unpack(archive, store)
    rot(home / place)
    (home / "models" / "tiny" / "Tiny.gguf.receipt.json").unlink()
    [problem] = check_home(home)[1]
    assert (problem.path, problem.why.endswith("unpack the bundle again, with --replace")) == (place, True)
    with pytest.raises(BadRequest, match=f"{place}; --replace"):
        unpack(archive, store)
    unpack(archive, store, replace=True)
    assert problems(home) == []


def test_a_bad_model_of_a_bundle_is_told_to_be_unpacked_again(archive, store, home):
    unpack(archive, store)
    rot(home / "models" / "tiny" / "Tiny.gguf")
    manifest = Catalog(home, shipped_dir()).load_model("tiny")
    with pytest.raises(VerificationFailed, match="pull tiny`, or unpack the bundle it came from again"):
        store.verify(manifest)
    (home / "bundles" / "small.json").unlink()
    with pytest.raises(VerificationFailed, match="pull tiny`$"):
        store.verify(manifest)


STAGED = ["models/tiny/Tiny.gguf", "teams/small.toml", "manifests/tiny.toml", "licences/models.txt"]


@pytest.mark.parametrize("place", STAGED)
def test_what_rotted_while_it_waited_is_read_again_before_a_receipt_is_written(
    archive, store, home, monkeypatch, place
):
    def stopped(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as stopping, pytest.raises(KeyboardInterrupt):
        stopping.setattr(unpacking, "_put_in_place", stopped)
        unpack(archive, store)
    [waiting] = (home / "partial" / "_bundle").glob(f"*/{place}")
    size = waiting.stat().st_size
    rot(waiting)
    read = []
    unpack(archive, store, progress=lambda told: read.append(told.done_bytes) if told.step == "unpacking" else None)
    assert read[-1] == size  # and what did not rot goes on where it was
    assert problems(home) == []


PARTS = tuple(f"Tiny-{number:05}-of-00002.gguf" for number in (1, 2))


@pytest.fixture
def split_archive(tmp_path):
    """A bundle of the team `small` whose model is in two files."""
    origin = tmp_path / "origin"
    write_text(origin / "teams" / "small.toml", TEAM)
    split = (u32("split.no", 0), u32("split.count", 2), u32("split.tensors.count", 3))
    later = (u32("split.no", 1), *split[1:])
    data = [
        Tiny(pairs=(*BASICS, *split)).build(),
        Tiny(pairs=later, tensors=(tensor("third"),), data=bytes(32)).build(),
    ]
    parts = (Part(PARTS[1], len(data[1]), sha256(data[1])),)
    source = (PathSource("/vendor"),)
    manifest = ModelManifest("tiny", PARTS[0], "MIT", 128, source, len(data[0]), sha256(data[0]), True, parts=parts)
    Catalog(origin).add_model(manifest)
    for name, content in zip(PARTS, data, strict=True):
        (origin / "models" / "tiny").mkdir(parents=True, exist_ok=True)
        (origin / "models" / "tiny" / name).write_bytes(content)
    Store(origin).verify(manifest)
    return pack_small(origin, tmp_path / "stick")


def test_a_model_in_several_files_is_carried_whole(split_archive, store, home):
    unpack(split_archive, store)
    manifest = Catalog(home).load_model("tiny")
    assert store.find(manifest).name == PARTS[0]
    assert [part.file for part in store.receipt_of(manifest).parts] == [PARTS[1]]
    assert problems(home) == []
    assert unpack(split_archive, store).already == 6
    (home / "models" / "tiny" / PARTS[1]).write_bytes(b"damaged")
    assert problems(home) == [(f"models/tiny/{PARTS[1]}", "bad")]
    assert unpack(split_archive, store).already == 4  # the parts go together
    assert problems(home) == []


def test_a_part_without_its_model_is_refused(split_archive, store, home):
    bundle = with_files(
        bundle_in(split_archive), lambda rows: [row for row in rows if not row["path"].endswith(PARTS[1])]
    )
    with pytest.raises(VerificationFailed, match="has other files than the manifest of tiny pins"):
        unpack(rewritten(split_archive, bundle), store)
    assert not (home / "models").exists()


def test_a_model_that_was_used_where_it_lay_is_carried_under_its_manifests_name(tmp_path, store, home):
    origin = tmp_path / "origin"
    catalog, other = make_home(origin)
    manifest = catalog.load_model("tiny")
    other.remove(manifest)
    vendor = tmp_path / "vendor" / "another name.gguf"
    vendor.parent.mkdir()
    vendor.write_bytes(tiny_model())
    import_file(other, vendor, catalog, model_id="tiny", link=True)
    unpack(pack_small(origin, tmp_path / "stick"), store)
    assert (home / "models" / "tiny" / "Tiny.gguf").read_bytes() == tiny_model()
    assert store.receipt_of(manifest).link is None


# --- what it refuses ---


def test_a_damaged_archive_puts_nothing_in_place_and_a_good_copy_goes_on(archive, store, home):
    right = archive.read_bytes()
    place = right.index(tiny_model()[-64:])
    archive.write_bytes(right[:place] + b"\xff" + right[place + 1 :])
    with pytest.raises(VerificationFailed, match=r"nothing was put in place, for models/tiny/Tiny.gguf is bad"):
        unpack(archive, store)
    assert all(name.startswith("partial/_bundle/") for name in tree(home))
    archive.write_bytes(right)
    unpack(archive, store)
    assert problems(home) == []
    assert not (home / "partial" / "_bundle").exists()


def test_a_flipped_byte_anywhere_puts_nothing_in_place(archive, store, home):
    right = archive.read_bytes()
    for place in [*range(12), *random.Random(3).sample(range(len(right)), 25)]:
        data = bytearray(right)
        data[place] ^= 4
        archive.write_bytes(bytes(data))
        with pytest.raises(VerificationFailed) as caught:
            unpack(archive, store)
        assert "\n" not in str(caught.value)
        assert not [name for name in tree(home) if not name.startswith("partial/")], place
        shutil.rmtree(home / "partial", ignore_errors=True)


def test_a_truncated_archive_is_refused_before_anything_is_written(archive, store, home):
    right = archive.read_bytes()
    for length in [0, 3, 6, 100, 2000, len(right) // 2, len(right) - 1]:
        archive.write_bytes(right[:length])
        with pytest.raises(VerificationFailed):
            unpack(archive, store)
        assert not home.exists()


def test_an_archive_that_grew_is_refused(archive, store, home):
    archive.write_bytes(archive.read_bytes() + b"x")
    with pytest.raises(VerificationFailed, match="copy it again"):
        unpack(archive, store)
    assert not home.exists()


def test_an_extra_or_hostile_entry_of_the_right_length_puts_nothing_in_place(archive, store, home):
    bundle = bundle_in(archive)
    file = bundle.manifest.files[-1]
    data = [entry(name, text) for name, text in bundle.entries()]
    room = bundle.archive_bytes() - sum(map(len, data)) - 1024
    for name in ("../../escape", "/tmp/escape", "partial/x", file.path):
        hostile = entry(name, bytes(room - 512))
        archive.write_bytes(archive_of([*data, hostile]))
        with pytest.raises(VerificationFailed, match="nothing was put in place"):
            unpack(archive, store)
        assert not [path for path in tree(home.parent) if "escape" in path]
        assert not [path for path in tree(home) if not path.startswith("partial/_bundle/")]


def test_a_manifest_that_promises_a_model_that_its_team_pins_otherwise_is_refused(archive, store, home):
    other = tiny_model(salt=9)
    bundle = with_files(
        bundle_in(archive), lambda rows: [*rows[:-1], rows[-1] | {"sha256": sha256(other), "bytes": len(other)}]
    )
    with pytest.raises(VerificationFailed, match="has other files than the manifest of tiny pins"):
        unpack(rewritten(archive, bundle, {"models/tiny/Tiny.gguf": other}), store)
    assert not (home / "models").exists()


LIES = {
    "a team that is not there": lambda value: value | {"team": "other"},
    "a team of other models": lambda value: value | {"files": [r for r in value["files"] if r["role"] != "model"]},
    "a team without its file": lambda value: value | {"files": [r for r in value["files"] if r["role"] != "team"]},
    "a model without manifest": lambda value: value | {"files": [r for r in value["files"] if r["role"] != "manifest"]},
    "another template": lambda value: receipt(value, chat_template_sha256="0" * 64),
    "no template": lambda value: receipt(value, chat_template_sha256=None),
    "an unknown authority": lambda value: receipt(value, expected_from="me"),
}


def receipt(value, **changes):
    *before, model = value["files"]
    return value | {"files": [*before, model | {"receipt": model["receipt"] | changes}]}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES.keys())
def test_a_manifest_that_makes_no_team_that_can_answer_is_refused(archive, store, home, lie):
    bundle = bundle_in(archive)
    lying = relabelled(bundle, **lie(json.loads(bundle.payload)))
    with pytest.raises(VerificationFailed) as caught:
        unpack(rewritten(archive, lying), store)
    assert "\n" not in str(caught.value)
    assert not [name for name in tree(home) if not name.startswith("partial/")]


def test_nothing_of_a_bundle_that_cannot_be_used_waits_for_a_next_run(archive, store, home):
    lying = relabelled(bundle_in(archive), team="other")
    with pytest.raises(VerificationFailed, match="team other"):
        unpack(rewritten(archive, lying), store)
    assert tree(home) == {}


def test_a_model_that_is_no_model_is_refused(archive, store, home):
    bad = b"GGUF" + bytes(100)
    bundle = with_files(
        bundle_in(archive), lambda rows: [*rows[:-1], rows[-1] | {"sha256": sha256(bad), "bytes": len(bad)}]
    )
    with pytest.raises(VerificationFailed):
        unpack(rewritten(archive, bundle, {"models/tiny/Tiny.gguf": bad}), store)
    assert not (home / "models").exists()


# --- signatures ---


@pytest.fixture
def keys(tmp_path):
    ed25519 = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.ed25519")
    serialization = pytest.importorskip("cryptography.hazmat.primitives.serialization")
    private = ed25519.Ed25519PrivateKey.generate()
    path = tmp_path / "key.pem"
    path.write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return path, private.public_key().public_bytes_raw()


def test_a_signed_bundle_is_unpacked_with_its_key_and_no_other(tmp_path, home, store, keys):
    private, public = keys
    make_home(tmp_path / "origin")
    path = pack_small(tmp_path / "origin", tmp_path / "stick", sign_key=private)
    other = bytes([public[0] ^ 1]) + public[1:]
    with pytest.raises(VerificationFailed, match="was not signed with the private half of this key"):
        unpack(path, store, key=other)
    assert not home.exists()
    unpack(path, store, key=public)
    assert len((home / "bundles" / "small" / "bundle.json.sig").read_bytes()) == 64
    assert check_home(home, public)[1] == ()
    assert check_home(home, other)[1][0].path == "bundles/small.json"


def test_an_unsigned_bundle_is_refused_where_a_key_is_given(archive, store, home, keys):
    with pytest.raises(VerificationFailed, match="is not signed"):
        unpack(archive, store, key=keys[1])
    assert not home.exists()
    unpack(archive, store)
    assert [problem.what for problem in check_home(home, keys[1])[1] if problem.path == "bundles/small.json"] == ["bad"]


# --- the disk ---


def test_a_disk_without_room_is_told_with_both_numbers_before_it_is_filled(archive, store, home, monkeypatch):
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda _: SimpleNamespace(free=5_000_000))
    with pytest.raises(DoesNotFit, match=r"unpacking small.tar needs 67\.1 MB .* 5\.0 MB are free") as caught:
        unpack(archive, store)
    assert caught.value.exit_code == 6
    assert tree(home) == {}


def test_a_disk_that_fills_up_puts_nothing_in_place_and_the_next_run_goes_on(archive, store, home, monkeypatch):
    real, synced = os.fsync, []

    def full(descriptor):
        synced.append(descriptor)
        if len(synced) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DoesNotFit, match="it goes on where it was"):
        unpack(archive, store)
    monkeypatch.setattr(os, "fsync", real)
    assert len([name for name in tree(home) if not name.endswith(".part")]) == 2
    assert not [name for name in tree(home) if not name.startswith("partial/_bundle/")]
    told = []
    unpack(archive, store, progress=told.append)
    assert told[-1].total_bytes == told[-1].done_bytes == sum(map(len, tree(home).values())) - unstaged(home)
    assert problems(home) == []


def unstaged(home):
    """Bytes of what the second run did not read: what the first one staged, and what is written beside."""
    first = ("bundles/small/sbom.cdx.json", "bundles/small/licences/models.txt")
    beside = ("bundles/small.json", "bundles/small/bundle.json.sha256", "models/tiny/Tiny.gguf.receipt.json")
    return sum(len(tree(home)[name]) for name in (*first, *beside))


@posix
@pytest.mark.rights
@pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="nothing is forbidden to root")
def test_a_home_that_cannot_be_written_is_named(archive, store, home):
    home.mkdir()
    home.chmod(0o500)
    with pytest.raises(AvengersError, match=r"home cannot be written .* AVENGERS_HOME"):
        unpack(archive, store)


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES])
def test_a_read_only_home_is_one_line(archive, store, home, monkeypatch, number):
    def refuse(*_, **__):
        raise OSError(number, os.strerror(number), str(home))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(AvengersError, match=r"home cannot be written .* AVENGERS_HOME"):
        unpack(archive, store)


def test_a_home_that_is_a_file_is_named(archive, store, home):
    home.touch()
    with pytest.raises(AvengersError, match="cannot be written"):
        unpack(archive, store)


def test_two_processes_do_not_unpack_at_once(archive, store, home):
    with (
        exclusive(home / "partial" / "_bundle.lock", ""),
        pytest.raises(AvengersError, match="another process is unpacking"),
    ):
        unpack(archive, store)


def test_what_is_not_there_is_told_so(store, tmp_path):
    with pytest.raises(NotFound):
        unpack(tmp_path / "none.tar", store)


def test_models_on_another_disk_are_copied_there_and_named_once_they_are_right(
    archive, store, home, tmp_path, monkeypatch
):
    disk = another_disk(monkeypatch, tmp_path / "disk")
    home.mkdir()
    (home / "models").symlink_to(disk)
    unpack(archive, store)
    assert problems(home) == []
    assert tree(disk)["tiny/Tiny.gguf"] == tiny_model()
    assert store.receipt_of(Catalog(home, shipped_dir()).load_model("tiny")).untouched(disk / "tiny" / "Tiny.gguf")
    assert not (home / "partial" / "_bundle").exists()


@pytest.fixture
def memory():
    """A folder on a disk that is another one than that of the tests' folders."""
    place = Path("/dev/shm")
    if not os.access(place, os.W_OK):
        pytest.skip("there is no second disk to write on")
    with tempfile.TemporaryDirectory(dir=place) as folder:
        yield Path(folder)


def test_models_on_a_real_second_disk_get_there_and_its_room_is_checked_before_anything_is_in_place(
    archive, store, home, memory, monkeypatch
):
    home.mkdir()
    if home.stat().st_dev == memory.stat().st_dev:
        pytest.skip("the tests' folders are on this disk too")
    (home / "models").symlink_to(memory)
    real = shutil.disk_usage
    little = lambda path: SimpleNamespace(free=10**6) if Path(path) == memory else real(path)  # noqa: E731
    with monkeypatch.context() as scant:
        scant.setattr(disk.shutil, "disk_usage", little)
        with pytest.raises(DoesNotFit, match=f"into {home / 'models'} needs .* 1.0 MB are free in {memory}"):
            unpack(archive, store)
    assert not [name for name in tree(home) if not name.startswith("partial/")]
    unpack(archive, store)
    assert problems(home) == []
    assert tree(memory)["tiny/Tiny.gguf"] == tiny_model()


@posix
def test_a_kill_at_any_moment_leaves_only_whole_files_and_the_next_run_ends_it(home, tmp_path):
    make_home(tmp_path / "origin", large_model(3 * 2**20))
    archive = pack_small(tmp_path / "origin", tmp_path / "stick")
    unpack(archive, Store(tmp_path / "whole"))
    right = {name: data for name, data in tree(tmp_path / "whole").items() if not name.endswith(".receipt.json")}
    calls = killed_at(0, lambda: unpack(archive, Store(home)))
    for part in random.Random(6).sample(range(1, calls), 20):
        shutil.rmtree(home)
        assert killed_at(part, lambda: unpack(archive, Store(home))) == 0
        there = tree(home) if home.exists() else {}
        in_place = {name: data for name, data in there.items() if not name.startswith("partial/")}
        assert all(data == right[name] for name, data in in_place.items() if name in right)
        assert all(name in right or name.endswith(".receipt.json") or "/." in name for name in in_place)
        unpack(archive, Store(home))
        assert problems(home) == []
        assert right.items() <= tree(home).items()


# --- an installed home ---


def test_a_home_without_bundles_is_told_so(home):
    with pytest.raises(NotFound, match="no bundle was unpacked into"):
        check_home(home)


def test_every_bad_missing_and_extra_file_of_a_home_is_named(archive, store, home):
    unpack(archive, store)
    (home / "models" / "tiny" / "Tiny.gguf").write_bytes(tiny_model(salt=1))
    (home / "teams" / "small.toml").unlink()
    (home / "manifests" / "tiny.toml").write_text("other", encoding="utf-8")
    for extra in ("models/other/x.gguf", "tables/x", "modes.toml", "bundles/small/x", "bundles/note"):
        write_text(home / extra, "x")
    write_text(home / "settings.toml", "")  # the user's own affair
    assert sorted(problems(home)) == [
        ("bundles/note", "extra"),
        ("bundles/small/x", "extra"),
        ("manifests/tiny.toml", "bad"),
        ("models/other/x.gguf", "extra"),
        ("models/tiny/Tiny.gguf", "bad"),
        ("modes.toml", "extra"),
        ("tables/x", "extra"),
        ("teams/small.toml", "missing"),
    ]


def test_what_cannot_be_read_in_a_home_is_bad_and_the_rest_is_looked_at(archive, store, home, monkeypatch):
    unpack(archive, store)
    write_text(home / "tables" / "x", "x")
    real, walk = Path.open, os.scandir

    def failing(path, *args, **options):
        if path.name in ("Tiny.gguf", "small.toml"):
            raise OSError(errno.EIO, "Input/output error", str(path))
        return real(path, *args, **options)

    def refusing(path):
        if str(path) == str(home / "bundles" / "small"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return walk(path)

    monkeypatch.setattr(Path, "open", failing)
    monkeypatch.setattr(os, "scandir", refusing)
    found = check_home(home)[1]
    assert [(each.path, each.what) for each in found] == [
        ("models/tiny/Tiny.gguf", "bad"),
        ("teams/small.toml", "bad"),
        ("bundles/small", "bad"),
        ("tables/x", "extra"),
    ]
    assert "cannot be read: Input/output error" in found[0].why


def test_a_model_of_the_right_size_and_time_but_other_bytes_is_bad(archive, store, home):
    unpack(archive, store)
    path = home / "models" / "tiny" / "Tiny.gguf"
    status = path.stat()
    path.write_bytes(tiny_model(salt=1))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert problems(home) == [("models/tiny/Tiny.gguf", "bad")]


@pytest.mark.parametrize(
    "change",
    [
        lambda path: path.write_bytes(path.read_bytes().replace(b"Z", b"z", 1)),
        lambda path: path.write_bytes(b"{}"),
        lambda path: path.rename(path.with_name("other.json")),
        lambda path: (path.with_suffix("") / "bundle.json.sha256").unlink(),
        lambda path: (path.with_suffix("") / "bundle.json.sig").write_bytes(b"x"),
        lambda path: (path.with_suffix("") / "bundle.json.sha256").write_bytes(bytes(2000)),
    ],
)
def test_a_manifest_in_the_home_that_was_changed_is_bad(archive, store, home, change):
    unpack(archive, store)
    change(home / "bundles" / "small.json")
    found = problems(home)
    assert [what for path, what in found if path.endswith(".json") and path.count("/") == 1] == ["bad"]


def test_a_home_of_two_bundles_is_checked_for_both(archive, store, home, tmp_path):
    unpack(archive, store)
    unpack(pack_small(tmp_path / "origin", tmp_path / "stick", name="second"), store)
    progress = []
    bundles, found = check_home(home, on_progress=lambda done, total: progress.append((done, total)))
    assert [bundle.manifest.name for bundle in bundles] == ["second", "small"]
    assert found == ()
    same = sum(file.bytes for file in bundles[0].manifest.files if file.role in ("model", "team", "manifest"))
    own = [file.bytes for bundle in bundles for file in bundle.manifest.files if file.role in ("sbom", "licence")]
    assert progress[-1] == (same + sum(own), same + sum(own))  # what is the same is checked once


def test_a_manifest_of_wheels_puts_none_of_them_into_the_home(archive, store, home, tmp_path):
    data = fake_wheel(tmp_path, "thing", "1", {}).read_bytes()
    row = listed("wheels/thing-1-py3-none-any.whl", data, "wheel")
    fields = {"path": row.path, "bytes": row.bytes, "sha256": row.sha256, "role": "wheel"}
    bundle = with_files(bundle_in(archive), lambda rows: [*rows[:3], fields, *rows[3:]])
    unpack(rewritten(archive, bundle, {row.path: data}), store)
    assert not [name for name in tree(home) if name.endswith(".whl")]
    assert problems(home) == []
