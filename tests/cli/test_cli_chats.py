"""`chats`: what is kept is listed, found, printed, carried away and back, deleted; piped it is plain."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from avengers_edge._util.text import columns
from avengers_edge.cli import chats_command as chats_module
from avengers_edge.cli import terminal
from avengers_edge.cli.root_command import cli
from avengers_edge.history.conversation_store import FILE_NAME, ConversationStore
from avengers_edge.history.conversations import Facts, Turn


@pytest.fixture
def run(home):
    def invoke(*words, **options):
        return CliRunner().invoke(cli, ["chats", *map(str, words)], **options)

    return invoke


@pytest.fixture
def two(home):
    """Two conversations, the second one with an escape sequence in it."""
    with ConversationStore(home / FILE_NAME) as store:
        store.append(store.begin("starter"), Turn("user", "Which numbers are prime?"))
        store.append(1, Turn("assistant", "2, 3, 5", Facts("m:think", (("5", 3),), 4, 1.5)))
        store.append(store.begin("starter"), Turn("user", "Paint it \x1b[31mred\x1b[0m"))
        yield store


def one_line(result, code):
    assert (result.exit_code, result.stdout) == (code, "")
    assert result.stderr.count("\n") == 1
    return result.stderr


def test_a_home_without_conversations_has_none_and_stays_as_it_is(run, home):
    result = run("list")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "avengers chat" in result.stderr
    assert json.loads(run("list", "--json").stdout) == []
    assert json.loads(run("search", "x", "--json").stdout) == []
    assert not home.exists()


def test_the_newest_comes_first_and_what_is_left_out_is_said(run, two):
    rows = run("list").stdout.splitlines()
    assert [row.split()[0] for row in rows] == ["2", "1"]
    assert rows[1].endswith("  2 turns  Which numbers are prime?")
    assert rows[0].endswith("   1 turn  Paint it [31mred [0m")
    result = run("list", "--limit", 1)
    assert len(result.stdout.splitlines()) == 1
    assert "1 more: avengers chats list --offset 1" in result.stderr
    (row,) = json.loads(run("list", "--json", "--offset", 1).stdout)
    assert (row["id"], row["title"], row["turns"], row["team"]) == (1, "Which numbers are prime?", 2, "starter")


@pytest.mark.parametrize("words", [["list"], ["list", "--json"], ["search", "i"], ["search", "i", "--json"]])
def test_a_limit_that_leaves_something_out_is_said_and_only_then(run, two, words):
    whole, cut = run(*words, "--limit", 2), run(*words, "--limit", 1)
    assert (whole.exit_code, whole.stderr) == (0, "")
    assert cut.stderr.count("\n") == 1
    assert "more" in cut.stderr
    ids = [row.get("conversation", row)["id"] for row in json.loads(cut.stdout)] if "--json" in words else None
    assert ids in (None, [2])
    assert "more" in run(*words, "--limit", 0).stderr


def test_a_search_prints_where_it_was_said(run, two):
    result = run("search", "numbers", "pri")
    assert result.exit_code == 0
    assert result.stdout.splitlines()[1].strip() == "Which numbers are prime?"
    (hit,) = json.loads(run("search", "3, 5", "--json").stdout)
    assert (hit["conversation"]["id"], hit["role"], hit["snippet"]) == (1, "assistant", "2, 3, 5")
    assert "no conversation has all of these words" in one_line(run("search", "elephants"), 0)


def test_show_and_export_print_what_was_said_byte_for_byte(run, two):
    assert "## Answer\n\n2, 3, 5\n\n*m:think · 3 of 3 votes · 4 samples · 1.5 s*" in run("show", 1).stdout
    assert "\x1b[31mred\x1b[0m" in run("show", 2).stdout  # piped: no business of ours
    assert run("export", 1).stdout == run("show", 1).stdout
    assert run("export", 1, "--format", "json").stdout == run("show", 1, "--json").stdout
    assert json.loads(run("show", 2, "--json").stdout)["turns"][0]["content"] == "Paint it \x1b[31mred\x1b[0m"


def test_on_a_terminal_nothing_that_was_said_steers_it_and_lines_end_at_its_edge(run, two, monkeypatch):
    for module in (chats_module, terminal):
        monkeypatch.setattr(module, "on_standard_output", lambda: True)
    monkeypatch.setattr(chats_module, "columns", lambda: 40)
    assert "\x1b" not in run("show", 2).stdout
    two.rename(1, "素" * 30)
    for width in (20, 40, 200):
        monkeypatch.setattr(chats_module, "columns", lambda width=width: width)
        assert all(0 < columns(row) <= width for row in run("list").stdout.splitlines())


def test_what_is_exported_is_imported_under_a_new_id(run, two, tmp_path):
    for name, begins in (("a.json", "{"), ("a.md", "# "), ("a.txt", "# ")):
        assert run("export", 1, "--out", tmp_path / name).exit_code == 0
        assert (tmp_path / name).read_text(encoding="utf-8").startswith(begins)
    result = run("import", tmp_path / "a.json", "--json")
    assert json.loads(result.stdout) == [3]
    assert two.read(3).turns == two.read(1).turns
    assert "a.md: this is no exported conversation" in one_line(run("import", tmp_path / "a.md"), 4)
    assert "there is no file" in one_line(run("import", tmp_path / "b.json"), 3)
    assert "cannot be written" in one_line(run("export", 1, "--out", tmp_path / "a.md" / "b"), 1)


def test_an_export_to_a_dash_is_printed_and_no_folder_is_made_for_it(run, two, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run("export", 1, "--out", "-").stdout == run("export", 1).stdout != ""
    assert not (tmp_path / "-").exists()
    assert f"no folder {tmp_path / 'gone'} " in one_line(run("export", 1, "--out", tmp_path / "gone" / "x.md"), 3)
    assert not (tmp_path / "gone").exists()


def test_delete_and_rename_do_and_name_what_is_not_there(run, two):
    assert run("rename", 1, "prime", "numbers").exit_code == 0
    assert two.read(1).title == "prime numbers"
    for words in (("show", 9), ("export", 9), ("delete", 1, 9), ("rename", 9, "x")):
        assert "there is no conversation 9: see `avengers chats list`" in one_line(run(*words), 3)
    assert "63 bits" in one_line(run("show", 2**64), 2)
    assert run("delete", 1, 2).exit_code == 0
    assert two.count() == 0
    assert "delete [OPTIONS] ID...\n" in run("delete", "--help").stdout


def test_a_damaged_file_is_refused_in_one_line_that_says_what_to_do(run, home):
    home.mkdir()
    file = home / FILE_NAME
    file.write_bytes(b"not a database" * 1000)
    for words in (("list",), ("search", "x"), ("show", 1), ("delete", 1)):
        said = one_line(run(*words), 4)
        assert f"the conversations in {file} are damaged (file is not a database): move the file aside" in said
        assert said.endswith("`sqlite3 FILE .dump` prints what can be read of it\n")
    file.rename(home / "aside")
    assert run("list").exit_code == 0
