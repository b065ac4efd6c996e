"""Laws of completion: names are found, words with a colon stay whole, and nothing that goes wrong is ever said."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest
from click.testing import CliRunner
from test_cli import run  # noqa: F401 - a fixture

from avengers_edge.cli import root_command
from avengers_edge.cli.completion import VARIABLE
from avengers_edge.cli.root_command import cli

MEMBERS = ["smollm2-135m-instruct:direct", "smollm2-135m-instruct:think"]


@pytest.fixture
def complete(run, monkeypatch):  # noqa: F811
    """Asks for what can follow a line, as bash does."""

    def ask(line):
        monkeypatch.setenv(VARIABLE, "bash_complete")
        monkeypatch.setenv("COMP_WORDS", line)
        result = CliRunner().invoke(cli, [])
        assert result.stderr == ""
        return [word.partition(",")[2] for word in result.stdout.splitlines() if word.startswith("plain,")]

    return ask


def test_commands_and_options_are_completed(complete):
    assert complete("avengers mod") == ["models"]
    assert complete("avengers models ve") == ["verify"]
    assert complete("avengers ask --early-stop ad") == ["adaptive"]


def test_teams_are_completed_wherever_one_is_named(complete):
    for line in (
        "ask --team ",
        "batch --team ",
        "route --team ",
        "doctor --team ",
        "setup ",
        "team show ",
        "bench --team ",
    ):
        assert {"solo", "pair", "starter"} <= set(complete(f"avengers {line}")), line
        assert complete(f"avengers {line}pa") == ["pair"], line


def test_members_of_the_named_team_and_models_are_completed(complete):
    assert complete("avengers ask --team pair --model smollm2-135m-instruct:") == MEMBERS
    assert complete("avengers ask --team solo --model smollm2-135m-instruct:d") == []
    assert "qwen2.5-coder-0.5b-instruct" in complete("avengers ask --model qwen2.5-coder-0.5b-in")


def test_models_are_completed_and_removing_knows_only_those_that_are_there(complete, home):
    assert "smollm2-135m-instruct" in complete("avengers models show ")
    assert complete("avengers models remove ") == []
    (home / "models" / "mine").mkdir(parents=True)
    assert complete("avengers models remove ") == ["mine"]


def test_the_home_that_the_line_names_is_looked_into(complete, tmp_path):
    (tmp_path / "other" / "models" / "there").mkdir(parents=True)
    assert complete(f"avengers --home {tmp_path / 'other'} models verify ") == ["there"]


@pytest.mark.parametrize(
    "line",
    [
        "avengers --home ~nosuchuser/x ask --team ",
        "avengers ask --team nobody --model ",
        "avengers ask 'an open quote",
        "avengers ask --nonsense ",
    ],
)
def test_a_line_that_makes_no_sense_completes_to_nothing_without_a_word(complete, line):
    assert complete(line) == []


def test_a_broken_home_is_no_reason_to_speak(complete, home):
    (home / "settings.toml").write_text("treads = 4", encoding="utf-8")
    (home / "teams" / "pair.toml").write_text("name = 3", encoding="utf-8")
    assert complete("avengers ask --team ") == []
    assert complete("avengers ask --team pair --model ") == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_has_its_script(run, shell):  # noqa: F811
    result = run("completion", shell)
    assert result.exit_code == 0
    assert f"{VARIABLE}={shell}_complete" in result.stdout
    assert result.stderr == ""


def test_a_shell_that_nobody_knows_is_a_usage_error_or_nothing(run, monkeypatch):  # noqa: F811
    assert run("completion", "csh").exit_code == 2
    monkeypatch.setenv(VARIABLE, "csh_complete")
    silent = run()
    assert (silent.stdout, silent.stderr) == ("", "")


def test_completing_loads_nothing_heavy():
    loaded = "print(*sys.modules, file=sys.__stderr__)"
    code = f"import sys\nfrom avengers_edge.cli.root_command import main\ntry: main()\nfinally: {loaded}"
    environ = os.environ | {VARIABLE: "bash_complete", "COMP_WORDS": "avengers ask --model qwen"}
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True)
    assert "plain,qwen2.5-coder-1.5b-instruct:brief" in done.stdout.splitlines()
    heavy = {
        "numpy",
        "onnxruntime",
        "llama_cpp",
        "tokenizers",
        "jinja2",
        "avengers_edge.runtime",
        "avengers_edge.engine",
    }
    assert heavy.isdisjoint(done.stderr.split())


BASH = """
eval "$({python} -m avengers_edge completion bash)"
avengers() {{ {python} -m avengers_edge; }}
export -f avengers
env() {{ local pair; for pair in "${{@:1:2}}"; do local -x "$pair"; done; "${{@:3}}"; }}
try() {{
    COMP_LINE="$1" COMP_POINT=${{#1}} COMP_WORDBREAKS="$2"
    _avengers_completion avengers
    echo "${{COMPREPLY[@]}}"
}}
try "avengers ask --model qwen2.5-coder-1.5b-instruct:" $' \\t\\n:'
try "avengers ask --model qwen2.5-coder-1.5b-instruct:" $' \\t\\n'
try "avengers doc" $' \\t\\n:'
"""


@pytest.mark.skipif(shutil.which("bash") is None or os.name == "nt", reason="no bash")
def test_bash_is_given_what_stands_behind_the_colon_and_the_whole_word_where_it_breaks_none(run):  # noqa: F811
    """The real script in a real bash; only `env` is replaced, so that the function `avengers` is found."""
    command = ["bash", "-c", BASH.format(python=sys.executable)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    broken, whole, doctor = done.stdout.splitlines()
    ways = ["brief", "direct", "letters", "program"]
    assert broken.split() == ways
    assert whole.split() == [f"qwen2.5-coder-1.5b-instruct:{way}" for way in ways]
    assert doctor == "doctor"


def test_the_list_of_commands_says_of_each_what_the_command_says():
    for name, (_, text) in root_command._COMMANDS.items():
        assert cli.get_command(None, name).get_short_help_str(200) == text
