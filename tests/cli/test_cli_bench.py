"""The command `bench`: what it prints of a measurement, and that what fails is one line."""

from __future__ import annotations

import dataclasses
import json

import pytest
from click.testing import CliRunner

from avengers_edge.calibration.bench import Report, Spread
from avengers_edge.cli.root_command import cli
from avengers_edge.engine.step_cost import StepCurve
from avengers_edge.errors import EngineDied

REPORT = Report(
    model="some-model",
    member="some-model:think",
    repack=False,
    repack_tried=(False, True),
    curve=StepCurve(((1, 0.02), (16, 0.0625), (256, 0.8))),
    first_token=Spread(0.5, 0.25, 1.0),
    samples=10,
    voted=Spread(4.0, 3.0, 6.0),
    one_by_one=Spread(16.0, 15.0, 18.0),
    ratio=Spread(4.0, 3.0, 5.0),
)


@pytest.fixture
def run(monkeypatch):
    """Runs `bench` with a measurement that is done already; gives its result and what was asked for."""

    def invoke(*words, report=REPORT):
        asked = []

        def measured(settings, team, model, samples, on_phase):
            asked.append((settings, team, model, samples))
            on_phase("measuring")
            if isinstance(report, Exception):
                raise report
            return report

        monkeypatch.setattr("avengers_edge.calibration.bench.bench", measured)
        return CliRunner().invoke(cli, ["bench", *words]), asked

    return invoke


def test_the_table_has_a_line_for_each_width_and_each_time(run):
    result, _ = run()
    assert result.exit_code == 0, result.output
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert lines == [
        "some-model:think",
        "weight repacking: off (the quicker of both)",
        "",
        "samples ms a step tokens/s",
        "1 20.0 50.0",
        "16 62.5 256.0",
        "prompt 800.0 320.0",
        "",
        "first token 0.50 s (0.25 to 1.00)",
        "vote of 10 4.00 s (3.00 to 6.00)",
        "10 calls one by one 16.00 s (15.00 to 18.00)",
        "the vote is 4.00 times as fast (3.00 to 5.00)",
    ]
    assert result.stderr == ""


def test_the_columns_stand_under_each_other(run):
    lines = run()[0].stdout.splitlines()
    head = lines.index("samples  ms a step  tokens/s")
    width = len(lines[head])
    assert [line[:width].rstrip() == line[:width] for line in lines[head : head + 4]] == [True] * 4
    times = [line for line in lines if " s (" in line]
    assert len({line.index(line.split()[-5]) for line in times}) == 1


def test_json_is_one_object_with_all_that_was_measured(run):
    result, _ = run("--json")
    assert result.exit_code == 0
    assert result.stdout.count("\n") == 1
    values = json.loads(result.stdout)
    assert values["member"] == "some-model:think"
    assert values["repack"] is False
    assert values["repack_tried"] == [False, True]
    assert values["curve"] == {"points": [[1, 0.02], [16, 0.0625], [256, 0.8]]}
    assert values["tokens_per_second_by_width"] == {"1": 50.0, "16": 256.0}
    assert values["ratio"] == {"median": 4.0, "least": 3.0, "most": 5.0}


def test_what_is_not_said_is_left_to_the_settings(run, home):
    ((settings, team, model, samples),) = run()[1]
    assert (settings.home, team, model, samples) == (home, None, None, 10)


def test_model_team_and_samples_are_passed_on(run):
    ((_, team, model, samples),) = run("some-model", "--team", "mine", "-n", "4")[1]
    assert (team, model, samples) == ("mine", "some-model", 4)


def test_one_way_of_repacking_is_not_called_a_choice(run):
    only = dataclasses.replace(REPORT, repack=True, repack_tried=(True,))
    line = run(report=only)[0].stdout.splitlines()[1]
    assert line.startswith("weight repacking: on (")
    assert "both" not in line


@pytest.mark.parametrize("words", [["-n", "0"], ["-n", "1001"], ["-n", "ten"], ["--fast"], ["a", "b"]])
def test_bad_words_are_refused_in_one_line_before_anything_is_measured(run, words):
    result, asked = run(*words)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("avengers: ")
    assert result.stderr.count("\n") == 1
    assert asked == []


def test_an_engine_that_dies_is_one_line_and_its_exit_code(run):
    result, _ = run(report=EngineDied("llama.cpp cannot load some-model.gguf"))
    assert (result.exit_code, result.stdout) == (7, "")
    assert result.stderr == "avengers: llama.cpp cannot load some-model.gguf\n"


def test_a_model_that_is_not_there_is_one_line_and_its_exit_code(home):
    result = CliRunner().invoke(cli, ["bench", "no-such-model"])
    assert (result.exit_code, result.stdout) == (3, "")
    assert result.stderr.count("\n") == 1
    assert "no-such-model" in result.stderr
