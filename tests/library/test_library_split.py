"""Laws of models in several files and of files used where they lie: all is verified, nothing is ours to delete."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import struct
from pathlib import Path

import pytest
from click.testing import CliRunner
from gguf_files import BASICS, Tiny, string, tensor, text, tiny_model, u32
from hypothesis import given
from hypothesis import strategies as st
from random_gguf import tiny_gguf

from avengers_edge.cli.root_command import cli
from avengers_edge.config import Settings
from avengers_edge.engine.llama import LlamaEngine
from avengers_edge.engine.protocol import LoadOptions
from avengers_edge.errors import AvengersError, BadRequest, NotFound, VerificationFailed
from avengers_edge.library.catalog import Catalog
from avengers_edge.library.gguf import read_header
from avengers_edge.library.gguf_metadata import MetadataReader
from avengers_edge.library.importing import import_file
from avengers_edge.library.manifests import (
    HubSource,
    ModelManifest,
    Part,
    PathSource,
    UrlSource,
    read_manifest,
    source_of_part,
    write_manifest,
)
from avengers_edge.library.names import is_later_part, part_names, whole_name
from avengers_edge.library.pull import pull
from avengers_edge.library.receipts import receipt_path
from avengers_edge.library.store import Store
from avengers_edge.records import Message, Request, SamplingParams

NAMES = tuple(f"big-{number:05}-of-00003.gguf" for number in (1, 2, 3))


def split_pairs(number: int, count: int, tensors: int) -> tuple[bytes, ...]:
    """Say which part a file is, in the types that llama.cpp wants: 16 bits, 16 bits, 32 bits with a sign."""
    return (
        text("split.no") + struct.pack("<IH", 2, number - 1),
        text("split.count") + struct.pack("<IH", 2, count),
        text("split.tensors.count") + struct.pack("<Ii", 5, tensors),
    )


def part(number: int, count: int = 3, total: int = 4, **changes: object) -> bytes:
    """Build a part: the first has the metadata and two tensors, the others have one tensor each."""
    split = split_pairs(number, count, total)
    tensors = (tensor("first"), tensor("second", offset=32)) if number == 1 else (tensor(f"more {number}"),)
    data = bytes(range(64 if number == 1 else 32))
    return dataclasses.replace(
        Tiny(pairs=(*BASICS, *split) if number == 1 else split, tensors=tensors, data=data), **changes
    ).build()


@pytest.fixture
def big(tmp_path: Path) -> Path:
    """A model in three parts; gives the first."""
    folder = tmp_path / "vendor"
    folder.mkdir()
    for number, name in enumerate(NAMES, start=1):
        (folder / name).write_bytes(part(number))
    return folder / NAMES[0]


@pytest.fixture
def shelf(home: Path) -> Store:
    return Store(home)


@pytest.fixture
def catalog(home: Path) -> Catalog:
    return Catalog(home)


# --- names ---


@given(st.integers(1, 99), st.text(alphabet="ab-.0", min_size=1, max_size=8))
def test_the_first_part_names_all_parts_in_order(count: int, stem: str) -> None:
    names = part_names(f"{stem}-00001-of-{count:05}.gguf")
    assert len(set(names)) == len(names) == count
    assert [is_later_part(name) for name in names] == [False, *([True] * (count - 1))]
    assert {whole_name(name) for name in names} == {f"{stem}.gguf"}


@pytest.mark.parametrize(
    "name", ["a.gguf", "a-00002-of-00003.gguf", "a-1-of-3.gguf", "a-00001-of-00000.gguf", "-00001-of-00002.gguf"]
)
def test_what_is_no_first_part_is_a_file_of_its_own(name: str) -> None:
    assert part_names(name) == (name,)


# --- headers ---


def test_the_header_of_a_model_in_parts_counts_the_tensors_of_all(big: Path) -> None:
    header = read_header(big)
    assert (header.parts, header.tensor_count, header.tensor_bytes, header.architecture) == (3, 4, 128, "tiny")


def test_a_first_part_may_have_no_tensors(big: Path) -> None:
    big.write_bytes(part(1, total=2, tensors=(), data=b""))
    assert read_header(big).tensor_count == 2


def test_missing_parts_are_named(big: Path) -> None:
    for name in NAMES[1:]:
        big.with_name(name).unlink()
    with pytest.raises(NotFound, match=f"is one of 3 parts, and {NAMES[1]}, {NAMES[2]} cannot be found beside it"):
        read_header(big)


@pytest.mark.parametrize(
    ("number", "data", "said"),
    [
        (1, part(1, total=9), "have 4 tensors, not 9"),
        (1, part(1, count=2), "NAME-00001-of-00002.gguf"),
        (2, part(3), "says that it is part 3 of 3"),
        (2, part(2, count=4), "says that it is part 2 of 4"),
        (2, part(2, tensors=(tensor("first"),)), "have a tensor twice"),
        (3, part(3)[:-1], "cut off"),
        (3, b"GGUF", "too few"),
        (3, tiny_model(), "says that it is part 1 of 1"),
    ],
)
def test_parts_that_do_not_belong_together_are_refused(big: Path, number: int, data: bytes, said: str) -> None:
    big.with_name(NAMES[number - 1]).write_bytes(data)
    with pytest.raises(VerificationFailed, match=said):
        read_header(big)


def test_a_part_that_is_not_the_first_is_refused_with_the_word_to_name_the_first(big: Path) -> None:
    with pytest.raises(VerificationFailed, match="it is part 2 of 3; name the first part"):
        read_header(big.with_name(NAMES[1]))


@pytest.mark.parametrize("value", [u32("split.count", 2**31), string("split.count", "three")])
def test_a_count_that_makes_no_sense_is_refused(tmp_path: Path, value: bytes) -> None:
    (tmp_path / "a.gguf").write_bytes(dataclasses.replace(Tiny(), pairs=(*BASICS, value)).build())
    with pytest.raises(VerificationFailed, match="split.count"):
        read_header(tmp_path / "a.gguf")


# --- in the store ---


def test_an_imported_model_in_parts_is_whole_in_the_store_and_each_part_is_pinned(big, shelf, catalog) -> None:
    manifest = import_file(shelf, big, catalog)
    assert (manifest.id, manifest.file, [each.file for each in manifest.parts]) == ("big", NAMES[0], list(NAMES[1:]))
    for each in manifest.parts:
        assert each.sha256 == hashlib.sha256(big.with_name(each.file).read_bytes()).hexdigest()
    assert shelf.find(manifest) == shelf.home / "models" / "big" / NAMES[0]
    assert [path.read_bytes() for path in shelf.files_of(manifest)] == [part(number) for number in (1, 2, 3)]
    assert shelf.size_of(manifest) == manifest.total_bytes == sum(len(part(number)) for number in (1, 2, 3))
    assert catalog.load_model("big") == manifest
    assert [(each.model, each.path.name) for each in shelf.installed()] == [("big", NAMES[0])]
    receipt = json.loads(receipt_path(shelf.place_of(manifest)).read_text(encoding="utf-8"))
    assert [each["sha256"] for each in receipt["parts"]] == [each.sha256 for each in manifest.parts]


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_changed_byte_in_any_part_is_refused(big, shelf, catalog, number: int) -> None:
    manifest = import_file(shelf, big, catalog)
    path = shelf.files_of(manifest)[number]
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    with pytest.raises(VerificationFailed, match=f"{NAMES[number]} is damaged"):
        shelf.find(manifest)


def test_a_model_that_lost_a_part_counts_as_not_installed(big, shelf, catalog) -> None:
    manifest = import_file(shelf, big, catalog)
    shelf.files_of(manifest)[2].unlink()
    assert shelf.size_of(manifest) is None
    with pytest.raises(NotFound, match="avengers models pull big"):
        shelf.find(manifest)


def test_removing_a_model_in_parts_removes_all_of_them(big, shelf, catalog) -> None:
    manifest = import_file(shelf, big, catalog)
    assert shelf.remove(manifest) > manifest.total_bytes
    assert not (shelf.home / "models" / "big").exists()
    assert all(big.with_name(name).is_file() for name in NAMES)


@given(st.lists(st.sampled_from(["a", "b"]), min_size=1, max_size=3))
def test_a_manifest_with_parts_is_read_as_it_was_written(tmp_path_factory, names: list[str]) -> None:
    file = f"x-00001-of-{len(names) + 1:05}.gguf"
    parts = tuple(Part(name, 7, "ab" * 32) for name in part_names(file)[1:])
    manifest = ModelManifest(
        "x", file, "MIT", 128, (UrlSource("https://example.org/x"),), 3, "cd" * 32, True, None, parts
    )
    path = tmp_path_factory.mktemp("manifest") / "x.toml"
    write_manifest(path, manifest)
    assert read_manifest(path) == manifest


def test_parts_that_are_not_those_of_the_first_file_are_refused() -> None:
    with pytest.raises(BadRequest, match="are not the further parts of x-00001-of-00002.gguf"):
        ModelManifest("x", "x-00001-of-00002.gguf", "MIT", 1, (), 3, "cd" * 32, parts=(Part("y.gguf", 1, "ab" * 32),))


# --- pulling ---


def test_a_model_in_parts_is_pulled_part_by_part_and_goes_on_where_it_was(big, shelf, catalog, tmp_path, home) -> None:
    manifest = import_file(Store(tmp_path / "other"), big, Catalog(tmp_path / "other"))
    last = big.with_name(NAMES[2])
    kept = last.read_bytes()
    last.unlink()
    with pytest.raises(AvengersError, match=NAMES[2]):
        pull(manifest, shelf)
    assert {path.name for path in (home / "partial" / "big" / "parts").iterdir()} == set(NAMES[:2])
    big.unlink()  # what was fetched is not fetched again
    last.write_bytes(kept)
    assert pull(manifest, shelf).read_bytes() == part(1)
    assert shelf.find(manifest).is_file()
    assert not (home / "partial" / "big").exists()


@pytest.mark.parametrize(
    ("source", "place"),
    [
        (HubSource("o/r", NAMES[0], "main"), HubSource("o/r", NAMES[1], "main")),
        (UrlSource(f"https://example.org/a/{NAMES[0]}?x=1"), UrlSource(f"https://example.org/a/{NAMES[1]}?x=1")),
        (PathSource(f"/srv/{NAMES[0]}"), PathSource(str(Path("/srv") / NAMES[1]))),
    ],
)
def test_the_other_parts_lie_beside_the_first(source, place) -> None:
    assert source_of_part(source, NAMES[1]) == place


# --- used in place ---


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "vendor.gguf"
    path.write_bytes(tiny_model())
    return path


def test_a_linked_file_is_used_where_it_lies_and_nothing_is_copied(file, shelf, catalog, home) -> None:
    manifest = import_file(shelf, file, catalog, link=True)
    assert shelf.find(manifest) == file
    assert [path.name for path in (home / "models" / "vendor").iterdir()] == ["vendor.gguf.receipt.json"]
    receipt = shelf.receipt_of(manifest)
    assert (receipt.link, receipt.bytes, receipt.sha256) == (str(file), len(tiny_model()), manifest.sha256)
    assert receipt.mtime_ns == file.stat().st_mtime_ns
    assert [(each.model, each.path) for each in shelf.installed()] == [("vendor", file)]


@pytest.mark.parametrize("data", [tiny_model(1), tiny_model()[:-1], b""])
def test_a_linked_file_that_changed_is_refused_with_the_way_out(file, shelf, catalog, data: bytes) -> None:
    manifest = import_file(shelf, file, catalog, link=True)
    file.write_bytes(data)
    with pytest.raises(VerificationFailed, match="avengers models remove vendor` and import the new one"):
        shelf.find(manifest)


def test_a_linked_file_that_was_only_touched_is_hashed_again_and_goes_on_being_linked(file, shelf, catalog) -> None:
    manifest = import_file(shelf, file, catalog, link=True)
    os.utime(file, ns=(1, 1))
    assert shelf.find(manifest) == file
    assert (shelf.receipt_of(manifest).link, shelf.receipt_of(manifest).mtime_ns) == (str(file), 1)


def test_a_linked_file_that_is_gone_says_which_one(file, shelf, catalog) -> None:
    manifest = import_file(shelf, file, catalog, link=True)
    file.unlink()
    assert shelf.size_of(manifest) is None
    with pytest.raises(NotFound, match=f"{file} is gone: put the old file back"):
        shelf.find(manifest)


def test_removing_a_linked_model_leaves_the_users_file_alone(file, shelf, catalog, home) -> None:
    manifest = import_file(shelf, file, catalog, link=True)
    shelf.remove(manifest)
    assert file.read_bytes() == tiny_model()
    assert not (home / "models" / "vendor").exists()


def test_a_linked_model_whose_file_is_gone_can_still_be_removed(file, shelf, catalog, home) -> None:
    manifest = import_file(shelf, file, catalog, link=True)
    file.unlink()
    shelf.remove(manifest)
    assert not (home / "models" / "vendor").exists()


def test_parts_can_be_linked_too_and_each_is_watched(big, shelf, catalog) -> None:
    manifest = import_file(shelf, big, catalog, link=True)
    assert shelf.find(manifest) == big
    big.with_name(NAMES[2]).write_bytes(part(3, data=bytes(32)))
    with pytest.raises(VerificationFailed, match=NAMES[2]):
        shelf.find(manifest)


def test_a_model_is_either_copied_or_linked(file, shelf, catalog) -> None:
    manifest = import_file(shelf, file, catalog)
    with pytest.raises(BadRequest, match="avengers models remove vendor` first"):
        import_file(shelf, file, catalog, link=True)
    with pytest.raises(BadRequest, match="lies in the store itself"):
        import_file(shelf, shelf.find(manifest), catalog, link=True, model_id="other")
    assert import_file(shelf, file, catalog, model_id="vendor") == manifest


def test_a_link_gives_way_to_a_copy(file, shelf, catalog) -> None:
    import_file(shelf, file, catalog, link=True)
    manifest = import_file(shelf, file, catalog)
    file.unlink()
    assert shelf.find(manifest) == shelf.place_of(manifest)
    assert shelf.receipt_of(manifest).link is None


def test_the_commands_know_links(file, home) -> None:
    def run(*words):
        return CliRunner().invoke(cli, list(map(str, words)))

    assert run("models", "import", "--link", file).exit_code == 0
    assert json.loads(run("models", "show", "vendor", "--json").stdout)["path"] == str(file)
    assert run("models", "verify").stdout == "vendor: ok\n"
    file.write_bytes(tiny_model(1))
    assert run("models", "verify").exit_code == 4
    assert run("models", "remove", "vendor").exit_code == 0
    assert file.is_file()
    assert Catalog.of(Settings(home=home)).list_models() == Catalog.of(Settings(home=home / "none")).list_models()


# --- llama.cpp ---


def split_file(whole: Path, folder: Path, first: int) -> Path:
    """Split a model file in two as gguf-split does: the metadata and `first` tensors, then the other tensors."""
    with whole.open("rb") as file:
        reader = MetadataReader(whole, file, whole.stat().st_size)
        reader.take(8)
        tensors, keys = reader.u64(), reader.u64()
        for _ in range(keys):
            reader.key_value()
        pairs, infos = (24, reader.at), []
        for _ in range(tensors):
            name = reader.string("a name", 64)
            shape = tuple(reader.u64() for _ in range(reader.u32()))
            infos.append((name, shape, reader.u32(), reader.u64()))
    content = whole.read_bytes()
    start = -(-reader.at // 32) * 32
    ends = [*(offset for *_, offset in infos[1:]), len(content) - start]
    for number, part in enumerate((slice(0, first), slice(first, None)), start=1):
        mine, begin = infos[part], infos[part][0][3]
        split = split_pairs(number, 2, tensors)
        table = tuple(tensor(name, shape, kind, offset - begin) for name, shape, kind, offset in mine)
        raw = (content[slice(*pairs)],) if number == 1 else ()
        claims = {"keys": keys + 3 if number == 1 else 3}
        data = content[start + begin : start + ends[part][-1]]
        built = Tiny(pairs=(*raw, *split), tensors=table, data=data, claims=claims).build()
        (folder / f"m-{number:05}-of-00002.gguf").write_bytes(built)
    return folder / "m-00001-of-00002.gguf"


@pytest.mark.native
def test_llama_cpp_says_the_same_whether_a_model_is_split_or_linked_or_whole(tmp_path, shelf, catalog) -> None:
    whole = tiny_gguf(tmp_path / "m.gguf", "llama")
    first = split_file(whole, tmp_path, 5)
    assert dataclasses.replace(read_header(first), parts=1, data_offset=0) == dataclasses.replace(
        read_header(whole), data_offset=0
    )
    copied = import_file(shelf, first, catalog)
    linked = import_file(shelf, first, catalog, link=True, model_id="linked")
    request = Request((Message("user", "Hi"),), SamplingParams(temperature=0.0, max_tokens=9))
    said = []
    for path in (whole, shelf.find(copied), shelf.find(linked)):
        with LlamaEngine(path, LoadOptions(cells=512)) as engine:
            said.append(engine.generate(request).completions[0].text)
    assert said[0]
    assert len(set(said)) == 1
