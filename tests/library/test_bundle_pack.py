"""Laws of packing: what goes in, byte for byte; nothing has its final name before it is whole."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import random
import shutil
import tarfile
from types import SimpleNamespace

import msgspec
import pytest
from bundle_files import TEAM, fake_wheel, killed_at, large_model, make_home, pack_small, sha256, tree
from gguf_files import tiny_model

from avengers_edge._util.files import exclusive, write_text
from avengers_edge.config import shipped_dir
from avengers_edge.errors import AvengersError, BadRequest, DoesNotFit, NotFound, VerificationFailed
from avengers_edge.library.bundle import pack as packing
from avengers_edge.library.bundle.archive import check_archive, open_archive
from avengers_edge.library.bundle.contents import build_sbom, find_models, find_wheels, licence_items
from avengers_edge.library.bundle.manifest import read_manifest
from avengers_edge.library.bundle.pack import installer_script
from avengers_edge.library.bundle.wheels import WheelOptions
from avengers_edge.library.leftovers import find_leftovers

posix = pytest.mark.skipif(os.name == "nt", reason="no fork")


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def problems_of(path):
    with open_archive(path, read_manifest) as archive:
        archive.require_whole()
        return check_archive(archive)


def contents_of(path):
    """Read an archive with Python's own tar, as an auditor would."""
    with tarfile.open(path) as opened:
        return {member.name: opened.extractfile(member).read() for member in opened}


def test_a_bundle_has_the_team_byte_for_byte_and_is_right(home, tmp_path):
    make_home(home)
    path = pack_small(home, tmp_path / "out")
    assert problems_of(path) == ()
    contents = contents_of(path)
    assert list(contents)[:2] == ["bundle.json", "bundle.json.sha256"]
    assert contents["models/tiny/Tiny.gguf"] == tiny_model()
    assert contents["teams/small.toml"] == TEAM.encode()
    assert contents["manifests/tiny.toml"] == (home / "manifests" / "tiny.toml").read_bytes()
    assert contents["install.py"] == (tmp_path / "out" / "small.install.py").read_bytes() == installer_script()
    told = json.loads(contents["bundle.json"])
    assert {row["path"]: row["sha256"] for row in told["files"]} == {
        name: sha256(data) for name, data in contents.items() if not name.startswith("bundle.json")
    }
    assert contents["bundle.json.sha256"] == f"{sha256(contents['bundle.json'])}  bundle.json\n".encode()
    assert told["files"][-1]["receipt"]["expected_from"] == "manifest"
    assert names(tmp_path / "out") == ["small.install.py", "small.tar"]


def test_what_ships_is_not_packed_beside_the_wheel_but_what_the_user_changed_is(home, tmp_path):
    catalog, _ = make_home(home)
    team = catalog.load_team("starter")
    assert packing.user_items(team, home) == []
    paths = ["teams/starter.toml", "tables/starter.safetensors", "modes.toml", f"manifests/{team.models[0]}.toml"]
    for path in paths:
        (home / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(shipped_dir() / path, home / path)
    assert sorted(item.file.path for item in packing.user_items(team, home)) == sorted(paths)


def test_the_same_files_give_the_same_bytes(home, tmp_path):
    make_home(home)
    first = pack_small(home, tmp_path / "a")
    second = pack_small(home, tmp_path / "b")
    assert first.read_bytes() == second.read_bytes()


def test_the_clock_goes_into_the_moment_of_making_only(home, tmp_path):
    catalog, store = make_home(home)
    options = packing.PackOptions("small", "small", tmp_path, None)
    manifest = packing.pack(options, catalog, store, environ={}).bundle.manifest
    assert manifest.created > "2026-01-01T00:00:00Z"
    with pytest.raises(BadRequest, match="SOURCE_DATE_EPOCH is 'soon'"):
        packing.pack(options, catalog, store, environ={"SOURCE_DATE_EPOCH": "soon"})


def test_a_team_that_is_not_set_up_names_all_that_lacks(home, tmp_path):
    make_home(home)
    write_text(home / "teams" / "small.toml", TEAM + '[[members]]\nmodel = "gemma-3-270m"\n')
    with pytest.raises(NotFound, match="lacks gemma-3-270m: run `avengers setup small`"):
        pack_small(home, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_model_that_is_damaged_is_not_packed(home, tmp_path):
    make_home(home)
    path = home / "models" / "tiny" / "Tiny.gguf"
    path.write_bytes(tiny_model(salt=1))
    with pytest.raises(VerificationFailed):
        pack_small(home, tmp_path / "out")


@pytest.mark.parametrize("change", [lambda data: data[:-1], lambda data: data + b"x", lambda data: data[:-1] + b"\xff"])
def test_a_file_that_changes_while_it_is_packed_ends_it(home, tmp_path, monkeypatch, change):
    make_home(home)
    path = home / "models" / "tiny" / "Tiny.gguf"
    real = packing.write_archive

    def late(file, bundle, contents, on_progress):
        path.write_bytes(change(path.read_bytes()))
        real(file, bundle, contents, on_progress)

    monkeypatch.setattr(packing, "write_archive", late)
    with pytest.raises(VerificationFailed, match=r"models/tiny/Tiny.gguf changed while it was packed"):
        pack_small(home, tmp_path / "out")
    assert names(tmp_path / "out") == []


def test_a_disk_without_room_is_told_before_it_is_filled(home, tmp_path, monkeypatch):
    make_home(home)
    monkeypatch.setattr(packing.shutil, "disk_usage", lambda _: SimpleNamespace(free=5_000_000))
    with pytest.raises(DoesNotFit, match=r"needs 67\.\d MB .* 5\.0 MB are free .* --out"):
        pack_small(home, tmp_path / "out")
    assert names(tmp_path / "out") == []


def test_a_disk_that_fills_up_leaves_nothing(home, tmp_path, monkeypatch):
    make_home(home)

    def full(file, *_):
        file.write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(packing, "write_archive", full)
    with pytest.raises(DoesNotFit, match="--out"):
        pack_small(home, tmp_path / "out")
    assert names(tmp_path / "out") == []


def test_a_folder_that_cannot_be_written_is_named(home, tmp_path):
    make_home(home)
    (tmp_path / "file").touch()
    with pytest.raises(AvengersError, match=r"file.*--out") as caught:
        pack_small(home, tmp_path / "file")
    assert caught.value.exit_code == 1


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES])
def test_a_read_only_target_is_one_line(home, tmp_path, monkeypatch, number):
    make_home(home)

    def refuse(*_, **__):
        raise OSError(number, os.strerror(number), str(tmp_path / "out"))

    monkeypatch.setattr(packing.Path, "mkdir", refuse)
    with pytest.raises(
        AvengersError,
        match=rf"out cannot be written \({os.strerror(number)}\): correct its rights or choose another with --out",
    ):
        pack_small(home, tmp_path / "out")


def test_two_processes_do_not_pack_the_same_bundle(home, tmp_path):
    make_home(home)
    with (
        exclusive(tmp_path / "out" / ".small.lock", ""),
        pytest.raises(AvengersError, match="another process is packing"),
    ):
        pack_small(home, tmp_path / "out")


def test_wheels_are_gathered_in_the_home_or_the_temporary_folder_and_never_beside_the_archive(
    home, tmp_path, monkeypatch
):
    """A stick may be mounted so that no program on it runs, and its file system may know no links."""
    catalog, store = make_home(home)
    seen, options = [], packing.PackOptions("small", "small", tmp_path / "out", WheelOptions())

    def gather(wanted, folder, heard):
        assert names(tmp_path / "out")[:2] == [".small.lock", ".small.packing"]
        assert list((tmp_path / "out" / ".small.packing").iterdir()) == []
        seen.append((folder, names(folder)))
        return (fake_wheel(folder, "thing", "1", {}),)

    monkeypatch.setattr(packing, "gather_wheels", gather)
    packed = packing.pack(options, catalog, store)
    assert "wheels/thing-1-py3-none-any.whl" in [file.path for file in packed.bundle.manifest.files]
    ((place, before),) = seen
    assert place.parent == home / "partial"
    assert before == []
    assert names(home / "partial") == [f"{place.name}.lock"]
    (place / "half").mkdir(parents=True)  # a run was killed
    assert [each.why for each in find_leftovers(store, catalog)] == ["the packing of a bundle was killed"]
    packing.pack(options, catalog, store)
    assert seen[1] == (place, [])
    shutil.rmtree(home / "partial")
    (home / "partial").touch()  # so that no folder can be made there
    packing.pack(options, catalog, store)
    assert not seen[2][0].is_relative_to(home)
    assert not seen[2][0].exists()
    assert names(tmp_path / "out") == ["small.install.py", "small.tar"]


def test_ctrl_c_leaves_nothing(home, tmp_path):
    catalog, store = make_home(home)

    def interrupt(progress):
        raise KeyboardInterrupt

    options = packing.PackOptions("small", "small", tmp_path / "out", None)
    with pytest.raises(KeyboardInterrupt):
        packing.pack(options, catalog, store, progress=interrupt)
    assert names(tmp_path / "out") == []


@posix
def test_a_kill_at_any_moment_leaves_no_archive_that_is_not_whole_and_the_next_run_mends_it(home, tmp_path):
    make_home(home, large_model(3 * 2**20))
    out = tmp_path / "out"
    expected = pack_small(home, tmp_path / "whole").read_bytes()
    calls = killed_at(0, lambda: pack_small(home, out))
    for part in random.Random(5).sample(range(1, calls), 20):
        shutil.rmtree(out)
        out.mkdir()
        assert killed_at(part, lambda: pack_small(home, out)) == 0
        for path in out.glob("small.*"):
            assert path.read_bytes() == (tmp_path / "whole" / path.name).read_bytes()
        assert pack_small(home, out).read_bytes() == expected
        assert names(out) == ["small.install.py", "small.tar"]


# --- what explains it ---


def test_the_sbom_names_models_and_wheels_with_hash_and_licence(home, tmp_path):
    catalog, store = make_home(home)
    models = find_models(catalog.load_team("small"), catalog, store)
    spdx = "License-Expression: MIT OR Apache-2.0\nLicense-File: LICENSE\n"
    wheels = find_wheels(
        [
            fake_wheel(tmp_path, "some.thing", "1.0", {"some_thing-1.0.dist-info/licenses/LICENSE": "text"}, spdx),
            fake_wheel(
                tmp_path, "old", "2", {}, "License: UNKNOWN\nClassifier: License :: OSI Approved :: MIT License\n"
            ),
            fake_wheel(tmp_path, "plain", "3", {}, "License: BSD-3-Clause\n"),
            fake_wheel(tmp_path, "none", "4", {}),
        ]
    )
    told = json.loads(build_sbom("small", "2026-01-01T00:00:00Z", models, wheels))
    assert (told["bomFormat"], told["specVersion"], told["version"]) == ("CycloneDX", "1.6", 1)
    model, *libraries = told["components"]
    assert (model["type"], model["name"]) == ("machine-learning-model", "tiny")
    assert model["hashes"] == [{"alg": "SHA-256", "content": sha256(tiny_model())}]
    assert model["licenses"] == [{"license": {"id": "MIT"}}]
    assert [each["purl"] for each in libraries] == [
        "pkg:pypi/some-thing@1.0",
        "pkg:pypi/old@2",
        "pkg:pypi/plain@3",
        "pkg:pypi/none@4",
    ]
    assert [each["licenses"] for each in libraries] == [
        [{"expression": "MIT OR Apache-2.0"}],
        [{"license": {"name": "MIT License"}}],
        [{"license": {"id": "BSD-3-Clause"}}],
        [{"license": {"name": "unknown"}}],
    ]
    refs = [each["bom-ref"] for each in told["components"]]
    assert told["dependencies"] == [{"ref": "bundle:small", "dependsOn": refs}]
    assert len(set(refs)) == len(refs)
    again = build_sbom("small", "2026-01-01T00:00:00Z", models, wheels)
    assert json.loads(again) == told
    assert (
        json.loads(build_sbom("other", "2026-01-01T00:00:00Z", models, wheels))["serialNumber"] != told["serialNumber"]
    )


def test_the_sbom_names_the_embedder_in_the_products_wheel(tmp_path):
    told = (shipped_dir() / "embedder" / "embedder.json").read_text(encoding="utf-8")
    wheel = fake_wheel(tmp_path, "avengers-edge", "0.1.0", {"avengers_edge/models/embedder/embedder.json": told})
    _, embedder = json.loads(build_sbom("small", "now", (), find_wheels([wheel])))["components"]
    assert embedder["type"] == "machine-learning-model"
    onnx = (shipped_dir() / "embedder" / "model.onnx").read_bytes()
    assert embedder["hashes"][0]["content"] == sha256(onnx)


@pytest.mark.parametrize(
    ("text", "described"),
    [
        ("apache-2.0", {"license": {"id": "Apache-2.0"}}),
        ("MIT OR Apache-2.0", {"expression": "MIT OR Apache-2.0"}),
        ("Apache-2.0 WITH LLVM-exception", {"expression": "Apache-2.0 WITH LLVM-exception"}),
        ("Apache-2.0+", {"expression": "Apache-2.0+"}),
        ("(MIT)", {"expression": "(MIT)"}),
        ("LicenseRef-Gemma", {"expression": "LicenseRef-Gemma"}),
        ("gemma", {"license": {"name": "gemma"}}),
        ("MIT OR", {"license": {"name": "MIT OR"}}),
    ],
)
def test_a_licence_is_an_spdx_id_an_spdx_expression_or_a_name(home, tmp_path, text, described):
    catalog, store = make_home(home)
    (model,) = find_models(catalog.load_team("small"), catalog, store)
    packed = dataclasses.replace(model, manifest=msgspec.structs.replace(model.manifest, licence=text))
    assert json.loads(build_sbom("small", "now", (packed,), ()))["components"][0]["licenses"] == [described]


def test_the_texts_of_all_licences_are_packed_under_plain_names(home, tmp_path):
    catalog, store = make_home(home)
    models = find_models(catalog.load_team("small"), catalog, store)
    members = {
        "thing-1.dist-info/licenses/LICENSE": "first",
        "thing-1.dist-info/licenses/a b/../NOTICE?": "second",
        "thing-1.dist-info/COPYING": "third",
        "thing-1.dist-info/top_level.txt": "no licence",
        "thing/LICENSE": "code",
    }
    items = licence_items(models, find_wheels([fake_wheel(tmp_path, "thing", "1", members)]))
    texts = {item.file.path: item.content for item in items}
    assert b"tiny: MIT (Tiny.gguf)" in texts.pop("licences/models.txt")
    assert texts == {
        "licences/thing-1/LICENSE": b"first",
        "licences/thing-1/a_b/__/NOTICE_": b"second",
        "licences/thing-1/COPYING": b"third",
    }


def test_a_wheel_may_tell_its_licence_in_any_letters(tmp_path):
    wheels = find_wheels(
        [
            fake_wheel(tmp_path, "worded", "1", {}, "License: © Zoë, MIT\n"),
            fake_wheel(tmp_path, "long", "1", {}, "License: Copyright © 2004 Zoë\n        All rights\n"),
        ]
    )
    assert [each.facts.licence for each in wheels] == ["© Zoë, MIT", "Copyright © 2004 Zoë"]


def test_what_is_no_wheel_is_refused(tmp_path):
    (tmp_path / "x-1-py3-none-any.whl").write_bytes(b"no zip")
    with pytest.raises(VerificationFailed, match="is no wheel"):
        find_wheels([tmp_path / "x-1-py3-none-any.whl"])


def test_packing_changes_nothing_in_the_home(home, tmp_path):
    make_home(home)
    before = tree(home)
    pack_small(home, tmp_path / "out")
    assert tree(home) == before
