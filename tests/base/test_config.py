"""Laws of settings: arguments win over the environment, the environment over the file; nothing unknown passes."""

from __future__ import annotations

import dataclasses
import os
import re
from pathlib import Path

import pytest

from avengers_edge import config
from avengers_edge.config import Settings, load_settings, shipped_dir
from avengers_edge.engine import protocol
from avengers_edge.errors import BadRequest


@pytest.fixture
def settings_file(home):
    home.mkdir()
    return home / "settings.toml"


def test_without_anything_said_the_defaults_hold(home):
    assert load_settings() == Settings(home=home)


def test_the_home_folder_is_a_platform_one_where_nothing_is_said(tmp_path, monkeypatch):
    assert load_settings(environ={}).home.name == "avengers-edge"


def test_an_argument_wins_over_the_environment_and_that_over_the_file(settings_file, home):
    settings_file.write_text("offline = true", encoding="utf-8")
    environ = {"AVENGERS_HOME": str(home)}
    assert load_settings(environ=environ).offline is True
    assert load_settings(environ=environ | {"AVENGERS_OFFLINE": "0"}).offline is False
    assert load_settings(offline=True, environ=environ | {"AVENGERS_OFFLINE": "0"}).offline is True


def test_every_setting_can_be_set_in_the_file(settings_file, home):
    settings_file.write_text(
        'team = "mine"\noffline = true\nthreads = 3\ngpu_layers = 5\ncontext = 4096\nrepack = true\n'
        'kv_type = "q8_0"\nworker = false\npatience = 9\nkeep_alive = -1\npin = ["x"]\n'
        'park = false\nproviders = ["A", "B"]\n',
        encoding="utf-8",
    )
    assert load_settings() == Settings(
        home=home,
        team="mine",
        offline=True,
        threads=3,
        gpu_layers=5,
        context=4096,
        repack=True,
        kv_type="q8_0",
        worker=False,
        patience=9,
        keep_alive=-1,
        pin=("x",),
        park=False,
        providers=("A", "B"),
    )


def test_the_documentation_has_every_setting_and_its_defaults_can_be_written_into_the_file(settings_file, home):
    home_field, *fields = dataclasses.fields(Settings)
    assert home_field.name == "home" and all(field.metadata["help"].endswith(".") for field in fields)
    page = (Path(__file__).parents[2] / "docs" / "settings.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` .*?\| (?:`(.+?)`|not set) \|", page, re.MULTILINE)
    assert sorted(name for name, _ in rows) == sorted(field.name for field in fields)
    written = [f"{name} = {default}" for name, default in rows if default]
    written.remove("slots = 0")  # which only the command line and Python set
    settings_file.write_text("\n".join(written), encoding="utf-8")
    assert load_settings() == Settings(home=home)


def test_a_wrong_type_in_the_settings_file_is_refused_with_file_and_field(settings_file):
    settings_file.write_text("context = 'large'", encoding="utf-8")
    with pytest.raises(BadRequest, match=r"settings\.toml: context is 'large', .* wrong type: expected `int`"):
        load_settings()
    settings_file.write_text("slots = 2", encoding="utf-8")
    with pytest.raises(BadRequest, match="unknown key 'slots': use one of offline, team, threads"):
        load_settings()


@pytest.mark.parametrize(
    "text",
    ["tream = 'x'", "threads = 'four'", "threads = true", "threads = 0", "context = 1", "providers = [1]",
     "providers = []", "offline = 1", "= broken", "home = '/elsewhere'", "threads = 1025", "context = 2147483648",
     "gpu_layers = -2", "gpu_layers = 100001", f"threads = {'9' * 4000}", f"threads = {'9' * 5000}",
     "kv_type = 'F16'", "kv_type = 8", "kv_type = ''", "worker = 1", "patience = 0", "patience = 86401", "pin = 'x'",
     "pin = ['']", "pin = [2]", "keep_alive = -2", "keep_alive = true", "keep_alive = 0.5", "keep_alive = 31536001",
     "park = 'no'",
     "threads" + ".a" * 2000 + " = 1", f"{'a' * 5000} = 1", "#" * 20_000],
)  # fmt: skip
def test_a_wrong_settings_file_is_refused_in_one_line(settings_file, text):
    settings_file.write_text(text, encoding="utf-8")
    with pytest.raises(BadRequest) as refused:
        load_settings()
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 1000


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_settings_file_that_is_a_pipe_is_refused_unread(settings_file):
    os.mkfifo(settings_file)
    with pytest.raises(BadRequest, match="not a regular file"):
        load_settings()


def test_a_settings_file_that_is_no_text_is_refused(settings_file):
    settings_file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BadRequest, match="cannot be read"):
        load_settings()


def test_a_settings_file_nested_too_deep_is_refused(settings_file):
    settings_file.write_text("a = " + "[" * 10_000, encoding="utf-8")
    with pytest.raises(BadRequest, match="not valid TOML"):
        load_settings()


def test_a_home_folder_begins_with_a_user_or_not_at_all(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert load_settings(Path("~/mine")).home == tmp_path / "mine"
    with pytest.raises(BadRequest, match="the home folder is '~nosuchuser.x': there is no such user"):
        load_settings(Path("~nosuchuser/x"))
    with pytest.raises(BadRequest, match="AVENGERS_HOME is '~nosuchuser/x': there is no such user"):
        load_settings(environ={"AVENGERS_HOME": "~nosuchuser/x"})


def test_without_any_home_folder_the_way_to_name_one_is_told(monkeypatch):
    def nobody(*_, **__):
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr("platformdirs.user_data_dir", nobody)
    with pytest.raises(BadRequest, match="--home or AVENGERS_HOME"):
        load_settings(environ={})


def test_a_relative_home_in_a_folder_that_is_gone_is_refused(monkeypatch):
    def gone():
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr(os, "getcwd", gone)
    with pytest.raises(BadRequest, match="the current folder is gone"):
        load_settings(Path("here"))


@pytest.mark.parametrize(
    ("slots", "context", "part", "cells"),
    [(0, 999, 999, 999), (32, 32_768, 1024, 32_768), (3, 1000, 256, 768), (256, 2**16, 256, 2**16)],
)
def test_slots_part_the_context_in_steps_of_what_llama_cpp_gives(tmp_path, slots, context, part, cells):
    settings = Settings(home=tmp_path, slots=slots, context=context)
    assert (settings.part, settings.cells) == (part, cells)


@pytest.mark.parametrize(
    ("slots", "context", "said"),
    [(1, 8192, "slots is 1: use 2"), (-1, 8192, "0 to 256"), (257, 2**20, "0 to 256"), (33, 8192, "use 8448")],
)
def test_slots_that_cannot_be_are_refused(tmp_path, slots, context, said):
    with pytest.raises(BadRequest, match=said):
        Settings(home=tmp_path, slots=slots, context=context)


def test_an_unclear_word_for_offline_is_refused():
    with pytest.raises(BadRequest, match="AVENGERS_OFFLINE is 'perhaps'"):
        load_settings(environ={"AVENGERS_OFFLINE": "perhaps"})


def test_the_data_folder_has_what_ships():
    assert {"embedder", "manifests", "teams", "modes.toml"} <= {path.name for path in shipped_dir().iterdir()}


def test_the_engine_knows_the_same_kv_types():
    assert protocol.KV_TYPES == config.KV_TYPES
