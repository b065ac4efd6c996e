"""Laws of `models list`, `show` and `gc`: what they tell is so, and nothing that is needed is ever deleted."""

from __future__ import annotations

import json
import os
import re
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner
from gguf_files import BASICS, Tiny, string, tiny_model

from avengers_edge._util.files import write_text
from avengers_edge.cli.root_command import cli
from avengers_edge.config import shipped_dir
from avengers_edge.engine import memory
from avengers_edge.errors import AvengersError
from avengers_edge.library import leftovers
from avengers_edge.library.catalog import Catalog
from avengers_edge.library.gguf import quantization_in
from avengers_edge.library.importing import import_file
from avengers_edge.library.leftovers import find_leftovers
from avengers_edge.library.store import Store

TERMINAL = SimpleNamespace(isatty=lambda: True)


@pytest.fixture
def run():
    def invoke(*words, **options):
        return CliRunner().invoke(cli, list(map(str, words)), **options)

    return invoke


@pytest.fixture
def tiny(home, tmp_path):
    """A home with one imported model; gives its manifest."""
    (tmp_path / "tiny.gguf").write_bytes(tiny_model())
    return import_file(Store(home), tmp_path / "tiny.gguf", Catalog(home, shipped_dir()))


def row_of(run, name):
    return {row["id"]: row for row in json.loads(run("models", "list", "--json").stdout)}[name]


# --- list and show ---


def test_the_list_tells_what_a_model_needs_and_whether_that_is_there(run, tiny, monkeypatch):
    monkeypatch.setattr(memory, "available_bytes", lambda: 10**9)
    row = row_of(run, "tiny")
    assert (row["installed"], row["bytes"], row["quantization"]) == (True, len(tiny_model()), "Q4_K_M")
    assert (row["licence"], row["fits"], row["untouched"], row["parts"]) == ("mit", True, True, 1)
    assert row["memory_bytes"] > 60_000_000
    assert row["verified_at"].endswith("+00:00")
    monkeypatch.setattr(memory, "available_bytes", lambda: 10**6)
    assert row_of(run, "tiny")["fits"] is False
    monkeypatch.setattr(memory, "available_bytes", lambda: None)
    assert row_of(run, "tiny")["fits"] is None


def test_what_is_not_installed_tells_what_its_manifest_knows(run, home):
    row = row_of(run, "qwen2.5-coder-0.5b-instruct")
    assert (row["installed"], row["bytes"], row["quantization"]) == (False, 491400064, "Q4_K_M")
    assert (row["memory_bytes"], row["fits"], row["verified_at"]) == (None, None, None)


def test_the_list_for_people_has_a_head_and_a_line_for_each_model(run, tiny, home, monkeypatch):
    monkeypatch.setattr(memory, "available_bytes", lambda: 10**9)
    head, *lines = run("models", "list").stdout.splitlines()
    assert head.split() == ["model", "size", "quant", "memory", "fits", "licence", "verified"]
    (line,) = [line for line in lines if line.startswith("tiny ")]
    assert re.fullmatch(r"tiny +\d+ B +Q4_K_M +6\d\.\d MB  yes   mit +20\d\d-\d\d-\d\d", line)
    os.utime(Store(home).path_of(tiny), ns=(1, 1))
    assert "changed since" in run("models", "list").stdout


def test_a_damaged_file_is_a_problem_of_its_own_row(run, tiny, home):
    Store(home).path_of(tiny).write_bytes(b"GGUF")
    assert "too few for any model" in row_of(run, "tiny")["problem"]
    assert re.search(r"^tiny +problem  .*too few", run("models", "list").stdout, re.MULTILINE)
    said = run("models", "show", "tiny").stdout
    assert re.search(r"^installed +yes$", said, re.MULTILINE)
    assert re.search(r"^problem +/.*too few", said, re.MULTILINE)
    assert "None" not in said


def test_a_file_used_in_place_says_so(run, home, tmp_path):
    (tmp_path / "tiny.gguf").write_bytes(tiny_model())
    import_file(Store(home), tmp_path / "tiny.gguf", Catalog(home), link=True)
    assert row_of(run, "tiny")["link"] == str(tmp_path / "tiny.gguf")
    assert re.search(r"^tiny .*\d, in place$", run("models", "list").stdout, re.MULTILINE)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("qwen2.5-coder-0.5b-instruct-q4_k_m.gguf", "Q4_K_M"),
        ("SmolLM2-135M-Instruct.Q4_1.gguf", "Q4_1"),
        ("My Model (IQ4_XS).gguf", "IQ4_XS"),
        ("llama-f16-00001-of-00002.gguf", "F16"),
        ("q4.gguf", None),
    ],
)
def test_a_quantization_is_read_from_the_files_name(name, found):
    assert quantization_in(name) == found


def test_show_tells_the_templates_hash_and_that_it_is_pinned(run, tiny):
    row = json.loads(run("models", "show", "tiny", "--json").stdout)
    assert row["chat_template_sha256"] == tiny.chat_template_sha256
    assert row["chat_template_pinned"] is True
    said = run("models", "show", "tiny").stdout
    assert f"chat template sha256  {tiny.chat_template_sha256}" in said
    assert "problem" not in said


def test_show_prints_the_template_so_that_it_cannot_steer_the_terminal(run, home, tmp_path):
    template = "{{ messages }}\n\x1b[2J\u202e\ttabbed caf\u00e9"
    pairs = tuple(pair for pair in BASICS if b"chat_template" not in pair)
    (tmp_path / "odd.gguf").write_bytes(Tiny(pairs=(*pairs, string("tokenizer.chat_template", template))).build())
    (tmp_path / "base.gguf").write_bytes(Tiny(pairs=pairs).build())
    for name in ("odd", "base"):
        assert run("models", "import", tmp_path / f"{name}.gguf").exit_code == 0
    assert run("models", "show", "odd", "--template").stdout == "{{ messages }}\n\\x1b[2J\\u202e\ttabbed caf\u00e9\n"
    assert run("models", "show", "base", "--template").exit_code == 3
    assert run("models", "show", "qwen2.5-coder-0.5b-instruct", "--template").exit_code == 3
    assert run("models", "show", "odd", "--template", "--json").exit_code == 2


# --- gc ---


def leftover_paths(home):
    return {
        each.path.relative_to(home).as_posix() for each in find_leftovers(Store(home), Catalog(home, shipped_dir()))
    }


@pytest.fixture
def litter(home, tiny):
    """Puts everything into the home that can be left over; gives the paths."""
    old = home / "teams" / ".mine.toml-abcd1234"
    for path in (
        home / "partial" / "gone" / "a.part",
        home / "partial" / "_bundle" / "abc" / "x",
        home / "tuning" / "gone-123.json",
        home / "tuning" / "broken-123.json",
        home / "models" / "unknown" / "x.gguf",
        home / "models" / "tiny" / "other.gguf",
        old,
    ):
        write_text(path, "x")
    write_text(home / "tuning" / "gone-123.json", '{"model": "gone.gguf"}')
    write_text(home / "tuning" / "tiny-123.json", '{"model": "tiny.gguf"}')
    os.utime(old, (1, time.time() - 7200))
    return {
        "partial/gone",
        "partial/_bundle",
        "tuning/gone-123.json",
        "tuning/broken-123.json",
        "models/unknown/x.gguf",
        "models/tiny/other.gguf",
        "teams/.mine.toml-abcd1234",
    }


def test_gc_finds_what_nobody_needs_and_nothing_else(home, litter):
    assert leftover_paths(home) == litter


def test_gc_lists_with_dry_run_and_deletes_with_yes(run, home, litter, tiny):
    before = sorted(home.rglob("*"))
    dry = run("models", "gc", "--dry-run")
    assert (dry.exit_code, len(dry.stdout.splitlines()), dry.stderr) == (0, 7, "7 leftovers, 28 B\n"), dry.stdout
    assert sorted(home.rglob("*")) == before
    assert {
        Path(row["path"]).relative_to(home).as_posix()
        for row in json.loads(run("models", "gc", "--dry-run", "--json").stdout)
    } == litter
    done = run("models", "gc", "--yes")
    assert done.exit_code == 0, done.stderr
    assert done.stderr == "7 leftovers deleted, 28 B freed\n"
    assert leftover_paths(home) == set()
    assert not (home / "models" / "unknown").exists()
    assert Store(home).find(tiny).is_file()
    assert (home / "tuning" / "tiny-123.json").is_file()
    again = run("models", "gc")
    assert (again.exit_code, again.stderr) == (0, "there is nothing to delete\n")


def test_gc_asks_and_a_no_deletes_nothing(run, home, litter, monkeypatch):
    assert run("models", "gc").exit_code == 2
    monkeypatch.setattr("avengers_edge.cli.terminal.sys", SimpleNamespace(stdin=TERMINAL, stdout=None, stderr=None))
    refused = run("models", "gc", input="n\n")
    assert refused.exit_code == 1
    assert "nothing was deleted" in refused.stderr
    assert leftover_paths(home) == litter
    assert run("models", "gc", input="y\n").exit_code == 0
    assert leftover_paths(home) == set()


def test_what_is_being_worked_on_is_no_leftover(home, tiny):
    write_text(home / "partial" / "busy" / "a.part", "x")
    write_text(home / "models" / "busy" / "a.gguf", "x")
    with Store(home).lock("busy"):
        assert leftover_paths(home) == set()
    assert leftover_paths(home) == {"partial/busy", "models/busy/a.gguf"}


def test_what_another_process_began_to_work_on_meanwhile_is_not_deleted(home, litter):
    found = find_leftovers(Store(home), Catalog(home, shipped_dir()))
    (unfinished,) = [each for each in found if each.path.name == "gone"]
    with Store(home).lock("gone"), pytest.raises(AvengersError, match="is in use by another process"):
        leftovers.delete(unfinished, home)
    assert unfinished.path.is_dir()


def test_a_folder_whose_manifest_cannot_be_read_is_left_alone(home, tiny):
    write_text(home / "manifests" / "tiny.toml", "id = 3")
    write_text(home / "models" / "tiny" / "other.gguf", "x")
    assert leftover_paths(home) == set()


def test_a_fresh_temporary_file_may_be_anothers_work(home, tiny):
    write_text(home / "teams" / ".mine.toml-abcd1234", "x")
    assert leftover_paths(home) == set()


def test_a_linked_models_receipt_is_needed(home, tmp_path):
    (tmp_path / "tiny.gguf").write_bytes(tiny_model())
    import_file(Store(home), tmp_path / "tiny.gguf", Catalog(home), link=True)
    write_text(home / "tuning" / "tiny-1.json", '{"model": "tiny.gguf"}')
    assert leftover_paths(home) == set()


def test_a_leftover_that_is_gone_already_is_no_error(home, litter):
    for each in find_leftovers(Store(home), Catalog(home, shipped_dir())):
        if each.path.is_file():
            each.path.unlink()
            leftovers.delete(each, home)


def test_an_empty_home_has_no_leftovers(home):
    assert leftover_paths(home) == set()
