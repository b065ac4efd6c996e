"""The command line: answers on standard output, everything else on standard error, one line and the right exit code."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys

import pytest
from click.testing import CliRunner
from fakes import QueuedEngine

from avengers_edge import __version__
from avengers_edge.cli.root_command import cli
from avengers_edge.engine.model_pool import ModelPool
from avengers_edge.errors import DoesNotFit, EngineDied

TEAM = """
name = "solo"
description = "one member, no table"
[defaults]
samples = 5
[[members]]
model = "smollm2-135m-instruct"
mode = "think"
"""
PAIR = (
    TEAM.replace('"solo"', '"pair"')
    + """
[[members]]
model = "smollm2-135m-instruct"
mode = "direct"
"""
)
SUM = "How many apples are 2 and 3 apples?"


@pytest.fixture
def run(home):
    """Runs a command in this process, with the teams `solo` and `pair`."""
    (home / "teams").mkdir(parents=True)
    (home / "teams" / "solo.toml").write_text(TEAM, encoding="utf-8")
    (home / "teams" / "pair.toml").write_text(PAIR, encoding="utf-8")

    def invoke(*words, **options):
        return CliRunner().invoke(cli, list(map(str, words)), **options)

    return invoke


@pytest.fixture
def answers(monkeypatch):
    """Lets the engine give these texts."""

    def give(*texts, **options):
        engine = QueuedEngine(texts, **options)
        monkeypatch.setattr(ModelPool, "lease", lambda self, model: contextlib.nullcontext(engine))
        return engine

    return give


def one_line(result, code):
    """The law of errors: nothing on standard output, one line on standard error, the exit code of the type."""
    assert result.exit_code == code, result.output
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1, result.stderr
    assert result.stderr.startswith("avengers: ")
    return result.stderr


def test_the_version_is_the_packages(run):
    assert run("--version").stdout.strip() == f"avengers, version {__version__}"


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["ask"],
        ["route"],
        ["setup"],
        ["models"],
        ["team"],
        ["doctor"],
        ["bench"],
        ["models", "pull"],
        ["team", "show"],
    ],
)
def test_every_command_explains_itself(run, words):
    result = run(*words, "--help")
    assert result.exit_code == 0
    assert "Usage: " in result.stdout


def test_ask_prints_the_answer_and_keeps_the_rest_off_standard_output(run, answers):
    answers(*["2 + 3 = 5.\nAnswer: 5"] * 5)
    result = run("ask", "--team", "solo", SUM)
    assert result.exit_code == 0, result.stderr
    assert result.stdout == "2 + 3 = 5.\nAnswer: 5\n\n=> 5\n"
    assert result.stderr.startswith(
        "smollm2-135m-instruct:think · 3 of 3 votes · 3 of 5 samples · 9 tokens, 6 saved · "
    )


def test_the_line_under_an_answer_tells_the_tokens_saved(run, answers):
    answers(*["Answer: 5"] * 3, width=5)
    said = run("ask", "--team", "solo", SUM).stderr
    assert said.startswith("smollm2-135m-instruct:think · 3 of 3 votes · 3 of 5 samples · 11 tokens, 4 saved · ")


def test_a_switch_is_told_with_both_members(run, answers):
    answers("Answer: 6", "Answer: 5", "Answer: 6", "Answer: 7", "no idea", *["Answer: 5"] * 4)
    result = run("ask", "--team", "pair", "--explain", "--seed", 1, "--switch-below", 0.8, SUM)
    think, direct = "smollm2-135m-instruct:think", "smollm2-135m-instruct:direct"
    assert result.stdout == "Answer: 5\n\n=> 5\n"
    told = result.stderr.replace("\n  smollm2", " smollm2")  # a long line is wrapped
    assert f"\nswitched: 2 of 5 samples of {think} agreed, so {direct} voted too\nvotes:\n" in told
    assert f"\n{think}, {direct} · 5 of 8 votes · 9 of 10 samples · 27 tokens, 3 saved · " in result.stderr


def test_two_ways_of_one_model_vote_together_and_stop_where_they_agree(run, answers):
    engine = answers("Answer: 5", "Answer: 5")
    result = run("ask", "--team", "pair", "--explain", "--seed", 1, SUM)
    assert result.stdout == "Answer: 5\n\n=> 5\n"
    assert "two ways of asking one model voted" in result.stderr
    assert [request.sampling.temperature for request in engine.requests] == [0, 0]


def test_the_second_member_is_asked_below_the_share_that_the_option_says(run, answers):
    engine = answers(*[f"Answer: {number}" for number in range(15)])
    run("ask", "--team", "pair", "--switch-below", 0, SUM)
    run("ask", "--team", "pair", "--switch-below", 1, SUM)
    assert [request.n for request in engine.requests] == [5, 5, 5]


def test_sampling_options_reach_the_engine(run, answers, tmp_path):
    engine = answers(*["Answer: 5"] * 10)
    grammar, schema = tmp_path / "digit.gbnf", tmp_path / "schema.json"
    grammar.write_bytes("\ufeffroot ::= [0-9] # caf\u00e9".encode())
    schema.write_text("{}", encoding="utf-8")
    words = (
        "--top-k",
        5,
        "--min-p",
        0.1,
        "--repeat-penalty",
        1.5,
        "--frequency-penalty",
        0.5,
        "--presence-penalty",
        -1,
    )
    run("ask", "--team", "solo", *words, "--stop", "END", "--stop", "\n\n", "--grammar", grammar, SUM)
    sampling = engine.requests[0].sampling
    assert (sampling.top_k, sampling.min_p, sampling.repeat_penalty) == (5, 0.1, 1.5)
    assert (sampling.frequency_penalty, sampling.presence_penalty, sampling.stop) == (0.5, -1.0, ("END", "\n\n"))
    assert sampling.grammar == "root ::= [0-9] # caf\u00e9"
    run("ask", "--team", "solo", "--schema", schema, SUM)
    assert (engine.requests[1].sampling.schema, engine.requests[1].n) == ("{}", 1)


def test_a_grammar_file_that_cannot_be_used_is_one_line(run, answers, tmp_path):
    answers()
    binary = tmp_path / "binary.gbnf"
    binary.write_bytes(b"root\xff")
    assert "not UTF-8 at byte 4" in one_line(run("ask", "--team", "solo", "--grammar", binary, SUM), 2)
    assert "there is no file" in one_line(run("ask", "--team", "solo", "--schema", tmp_path / "gone.json", SUM), 3)
    assert "cannot be read" in one_line(run("ask", "--team", "solo", "--schema", tmp_path, SUM), 2)
    binary.write_bytes(b"#" * (2**20 + 1))
    assert "longer than 1048576 bytes" in one_line(run("ask", "--team", "solo", "--grammar", binary, SUM), 2)


def test_raw_prints_the_bare_answer(run, answers):
    answers(*["Answer: 5"] * 5)
    result = run("ask", "--team", "solo", "--raw", SUM)
    assert (result.stdout, result.stderr) == ("5\n", "")


def test_json_is_one_object_with_the_fields_of_the_contract(run, answers):
    answers("Answer: 5", "Answer: 6", "no idea", "Answer: 5", "Answer: 5")
    values = json.loads(run("ask", "--team", "solo", "--json", "--early-stop", "off", "--seed", 1, SUM).stdout)
    assert (values["answer"], values["kind"], values["agreement"]) == ("5", "number", 0.75)
    assert values["votes"] == [{"key": "5", "count": 3, "weight": 3.0}, {"key": "6", "count": 1, "weight": 1.0}]
    assert values["usage"] == {"prompt_tokens": 5, "completion_tokens": 15, "cached_tokens": 2, "saved_tokens": 0}
    assert sum(vote["count"] for vote in values["votes"]) == sum(s["key"] is not None for s in values["samples"])


def test_explain_shows_ranking_and_votes_on_standard_error(run, answers):
    answers(*["Answer: 5"] * 5)
    result = run("ask", "--team", "solo", "--explain", "--raw", SUM)
    assert result.stdout == "5\n"
    assert "smollm2-135m-instruct:think" in result.stderr
    assert "  5  ############         3\n" in result.stderr


def test_the_question_can_come_from_standard_input(run, answers):
    engine = answers(*["Answer: 5"] * 10)
    run("ask", "--team", "solo", input=SUM + "\n")
    run("ask", "--team", "solo", "-", input=SUM + "\n")
    assert [request.messages[0].content.split("\n")[0] for request in engine.requests] == [SUM, SUM]


ECHO = """
import sys
from avengers_edge.cli.question_input import read_question
sys.stdout.buffer.write(read_question(sys.argv[1]).text.encode())
"""


def question_of(prompt, **stdin):
    """Reads the question in a real process, because only a real pipe is a pipe."""
    command = [sys.executable, "-c", ECHO, prompt]
    return subprocess.run(command, capture_output=True, check=True, **stdin).stdout.decode()


def test_prompt_and_pipe_are_joined(tmp_path):
    assert question_of("What is this?", input=b"A caf\xc3\xa9.\n") == "What is this?\n\nA café."
    (tmp_path / "code.py").write_bytes(b"pass\n")
    with (tmp_path / "code.py").open("rb") as file:
        assert question_of("What is this?", stdin=file) == "What is this?\n\npass"


def test_an_empty_pipe_or_the_null_device_adds_nothing():
    assert question_of("What is this?", input=b"") == "What is this?"
    assert question_of("What is this?", stdin=subprocess.DEVNULL) == "What is this?"


def test_bytes_that_are_no_text_are_refused_beside_a_prompt_too():
    command = [sys.executable, "-m", "avengers_edge", "ask", "--model", "nobody", "What is this?"]
    done = subprocess.run(command, input=b"\xff\xfe", capture_output=True, check=False)
    assert done.returncode == 2
    assert b"not UTF-8 at byte 0" in done.stderr


@pytest.mark.parametrize("prompt", ["", "  ", "\n"])
def test_an_empty_question_is_a_usage_error(run, prompt):
    assert "the question is empty" in one_line(run("ask", "--team", "solo", prompt), 2)
    assert "the question is empty" in one_line(run("ask", "--team", "solo", input=prompt), 2)


def test_bytes_that_are_no_text_are_refused(run):
    assert "not UTF-8 at byte 3" in one_line(run("ask", "--team", "solo", input=b"abc\xff"), 2)
    assert "not UTF-8 at byte 0" in one_line(run("route", "--team", "solo", input=b"\xe9"), 2)


def test_endless_input_is_refused(run, monkeypatch):
    monkeypatch.setattr("avengers_edge.cli.question_input._LONGEST_INPUT", 10)
    assert "longer than 10 bytes" in one_line(run("ask", "--team", "solo", input="a" * 11), 2)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["ask", "--team", "avenger", SUM], 3, "there is no team 'avenger'"),
        (["route", "--team", "starterr", SUM], 3, "did you mean 'starter'?"),
        (["team", "show", "nobody"], 3, "there is no team 'nobody'"),
        (["models", "show", "nobody"], 3, "there is no model 'nobody'"),
        (["models", "pull", "nobody"], 3, "there is no model 'nobody'"),
        (["models", "verify", "smollm2-135m-instruct"], 3, "avengers models pull smollm2-135m-instruct"),
        (["models", "remove", "smollm2-135m-instruct"], 3, "not installed"),
        (["models", "import", "missing.gguf"], 3, "missing.gguf"),
        (["ask", "--team", "solo", SUM], 3, "avengers models pull smollm2-135m-instruct"),
        (["ask", "--model", "nobody", SUM], 3, "there is no model 'nobody'"),
        (["ask", "--team", "solo", "--model", "smollm2-135m-instruct:dream", SUM], 3, "has no member"),
        (["--offline", "setup", "solo"], 5, "needs the network"),
        (["--offline", "models", "pull", "smollm2-135m-instruct"], 5, "needs the network"),
        (["setup", "solo"], 2, "say --yes"),
        (["--home", "~nosuchuser/x", "models", "list"], 2, "there is no such user"),
        (["ask", "-n", "many", SUM], 2, "neither a number nor auto"),
        (["ask", "-n", "0", SUM], 2, "samples is 0"),
        (["ask", "--prefer", "2", SUM], 2, "prefer is 2"),
        (["route", "--prefer", "nan", SUM], 2, "prefer is nan"),
        (["ask", "--team", "solo", "--temperature", "-1", SUM], 2, "temperature is -1"),
        (["ask", "--team", "solo", "--temperature", "nan", SUM], 2, "temperature is nan"),
        (["ask", "--team", "solo", "--top-p", "0", SUM], 2, "top_p is 0"),
        (["ask", "--team", "solo", "--seed", "-1", SUM], 2, "seed is -1"),
        (["ask", "--team", "solo", "--top-k", "-1", SUM], 2, "top_k is -1"),
        (["ask", "--team", "solo", "--min-p", "nan", SUM], 2, "min_p is nan"),
        (["ask", "--team", "solo", "--repeat-penalty", "0", SUM], 2, "repeat_penalty is 0"),
        (["ask", "--team", "solo", "--presence-penalty", "9", SUM], 2, "presence_penalty is 9"),
        (["ask", "--team", "solo", "--stop", "", SUM], 2, "a stop string is empty"),
        (["ask", "--team", "solo", "--stop", "caf\udcff", SUM], 2, "a stop string is not UTF-8"),
        (["ask", "--team", "solo", "--system", "caf\udcff", SUM], 2, "the system prompt is not UTF-8"),
        (["ask", "--switch-below", "1.5", SUM], 2, "switch_below is 1.5"),
        (["ask", "--switch-below", "often", SUM], 2, "--switch-below"),
        (["ask", "--max-tokens", "0", SUM], 2, "--max-tokens"),
        (["ask", "--kind", "riddle", SUM], 2, "--kind"),
        (["ask", "--sing", SUM], 2, "--sing"),
        (["sing"], 2, "there is no command 'sing'"),
        (["cjat"], 2, "did you mean 'chat'?"),
        ([], 2, "name a subcommand (see `cli --help`)"),
        (["models"], 2, "name a subcommand (see `cli models --help`)"),
        (["--home", "", "models", "list"], 2, "--home is empty"),
        (["models", "import", "tiny.gguf", "--id", ""], 2, "--id is empty"),
        (["ask", "-n", "1", "caf\udcff"], 2, "not UTF-8"),
        (["models", "show", "a" * 5000], 3, "`avengers models list` shows all"),
    ],
)
def test_what_cannot_be_done_is_one_line_with_the_right_exit_code(run, answers, words, code, said):
    if code == 2:
        answers()
    assert said in one_line(run(*words), code)


def test_a_file_that_is_no_model_is_refused_and_the_store_stays_as_it_was(run, tmp_path, home):
    text = tmp_path / "notes.gguf"
    text.write_text("not a model at all " * 100, encoding="utf-8")
    one_line(run("models", "import", text), 4)
    assert run("models", "verify", "--json").stdout == "[]\n"
    assert not [path for path in (home / "models").rglob("*") if path.is_file()]


def test_a_pull_that_cannot_begin_does_not_say_that_it_pulls(run, monkeypatch):
    def refuse(*_, **__):
        raise DoesNotFit("it needs 2.0 MB, 1.0 MB are free")

    monkeypatch.setattr("avengers_edge.library.pull.pull", refuse)
    assert "1.0 MB are free" in one_line(run("models", "pull", "smollm2-135m-instruct"), 6)


def test_an_engine_that_dies_is_exit_code_seven(run, monkeypatch):
    def die(self, model):
        raise EngineDied("llama.cpp cannot load it: out of memory")

    monkeypatch.setattr(ModelPool, "lease", die)
    assert "out of memory" in one_line(run("ask", "--team", "solo", SUM), 7)


def test_a_bug_of_ours_is_one_line_and_with_v_a_traceback(run, monkeypatch):
    def fail(self, model):
        raise ZeroDivisionError("oh no")

    monkeypatch.setattr(ModelPool, "lease", fail)
    assert "unexpected ZeroDivisionError: oh no" in one_line(run("ask", "--team", "solo", SUM), 1)
    command = [sys.executable, "-m", "avengers_edge", "-v", "team", "show", "nobody"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert "Traceback" in done.stderr


def test_ctrl_c_is_exit_code_130(run, monkeypatch):
    def interrupt(self, model):
        raise KeyboardInterrupt

    monkeypatch.setattr(ModelPool, "lease", interrupt)
    assert one_line(run("ask", "--team", "solo", SUM), 130) == "avengers: interrupted\n"


def test_a_settings_file_with_a_typo_is_a_usage_error(run, home):
    (home / "settings.toml").write_text("treads = 4", encoding="utf-8")
    assert "unknown key 'treads'" in one_line(run("ask", "--team", "solo", SUM), 2)


@pytest.mark.skipif(os.name == "nt", reason="folders are not made read-only like this on Windows")
def test_a_home_that_cannot_be_written_is_one_line(run, tmp_path):
    """A file where the folder should be: not even root can write into it."""
    blocked = tmp_path / "file"
    blocked.write_text("", encoding="utf-8")
    result = run("--home", blocked / "home", "setup", "starter", "--yes")
    assert result.exit_code == 1
    assert "AVENGERS_HOME" in result.stderr.splitlines()[-1]


def test_lists_are_data_with_json(run):
    models = json.loads(run("models", "list", "--json").stdout)
    assert {"id", "installed", "bytes", "file", "licence", "checked"} <= set(models[0])
    teams = json.loads(run("team", "list", "--json").stdout)
    assert {"solo", "starter", "open-7b"} <= {team["name"] for team in teams}
    assert json.loads(run("models", "show", "smollm2-135m-instruct", "--json").stdout)["installed"] is False
    assert json.loads(run("team", "show", "solo", "--json").stdout)["missing"] == ["smollm2-135m-instruct"]


def test_doctor_fails_with_the_remedy_while_the_team_is_not_there(run):
    result = run("doctor", "--team", "solo", "--json")
    assert result.exit_code == 1
    report = json.loads(result.stdout)
    assert report["ok"] is False
    assert any("avengers models pull" in (finding["remedy"] or "") for finding in report["findings"])


@pytest.mark.skipif(os.name == "nt", reason="a pipe nobody reads fails in another way on Windows")
@pytest.mark.parametrize("words", [["models", "list"], ["--help"]])
def test_a_reader_that_goes_away_is_no_disaster(home, words):
    """The reader has gone before the first word, so every write fails, however much a pipe could hold."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        command = [sys.executable, "-m", "avengers_edge", *words]
        done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (1, "")
