"""The command `calibrate report`: what it prints, what it writes, and that it refuses early and in one line."""

from __future__ import annotations

import contextlib
import json
import sys

import pytest
from click.testing import CliRunner
from fakes import WordLengthEmbedder

from avengers_edge.calibration.outcomes import OutcomeRow, write_outcomes
from avengers_edge.cli.calibrate_command import report
from avengers_edge.cli.session import Session
from avengers_edge.errors import BadRequest, MissingExtra, NotFound

pytest.importorskip("sklearn")
pytest.importorskip("matplotlib")

SHORT, LONG = "a be sea", "numbers alphabet questions"


@pytest.fixture
def outcomes(tmp_path, monkeypatch):
    """Two files: short words, which a answers, and long words, which b answers; c is always wrong."""

    @contextlib.contextmanager
    def opened(_settings):
        yield WordLengthEmbedder()

    monkeypatch.setattr("avengers_edge.opening.open_shipped_embedder", opened)
    files = []
    for dataset, words, a in (("short", SHORT, 1.0), ("long", LONG, 0.0)):
        scores = {"a": a, "b": 1 - a, "c": 0.0}
        rows = [OutcomeRow(f"{dataset}/{at}", dataset, "made", scores, prompt=f"{words} {at:05}") for at in range(20)]
        files.append(tmp_path / f"{dataset}.jsonl")
        write_outcomes(files[-1], rows)
    return files


def run(*words):
    return CliRunner().invoke(report, [*map(str, words)], obj=Session(), catch_exceptions=False)


def test_it_writes_the_page_and_prints_the_comparison_and_the_verdict(outcomes, tmp_path):
    out = tmp_path / "page.html"
    result = run("--outcomes", *outcomes, "--quick", "--out", out)
    assert result.exit_code == 0
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert "router 100.0 100.0 to 100.0 +50.0 +50.0 to +50.0" in lines
    assert "Routing pays here" in result.stdout
    assert lines[-1] == f"{out} shows the rest."
    assert out.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert SHORT not in out.read_text(encoding="utf-8")


def test_json_is_the_study_and_nothing_else(outcomes, tmp_path):
    out = tmp_path / "page.html"
    result = run("--outcomes", *outcomes, "--quick", "--seeds", 1, "--members", "b, a", "--out", out, "--json")
    found = json.loads(result.stdout)
    assert (found["out"], found["members"], found["seeds"], found["questions"]) == (str(out), ["b", "a"], [0], 40)
    assert {each["name"]: each["macro"]["mean"] for each in found["standings"]}["router"] == 100
    assert (found["costs"], found["reliability"]) == (None, None)


def test_prompts_are_shown_when_asked_for(outcomes, tmp_path):
    out = tmp_path / "page.html"
    run("--outcomes", *outcomes, "--quick", "--seeds", 1, "--out", out, "--examples", 1)
    assert SHORT in out.read_text(encoding="utf-8")


def test_rows_without_prompts_take_them_from_question_files(outcomes, tmp_path):
    bare, questions, out = tmp_path / "bare.jsonl", tmp_path / "questions.jsonl", tmp_path / "page.html"
    lines = [json.loads(line) for path in outcomes for line in path.read_text().splitlines()]
    asked = [
        {"id": line["id"], "dataset": line["dataset"], "category": "made", "question": line.pop("prompt")}
        | {"choices": None, "answer": "1", "answer_type": "number", "tests": None, "split": "test"}
        for line in lines
    ]
    for path, values in ((bare, lines), (questions, asked)):
        path.write_text("".join(json.dumps(value) + "\n" for value in values))
    with pytest.raises(BadRequest, match="--questions"):
        run("--outcomes", bare, "--out", out)
    run("--outcomes", bare, "--questions", questions, "--quick", "--seeds", 1, "--out", out)
    assert out.exists()


def test_a_member_that_nobody_measured_is_refused(outcomes):
    with pytest.raises(NotFound, match="nobody"):
        run("--outcomes", *outcomes, "--members", "a,nobody")


def test_a_folder_that_is_not_there_is_refused_before_anything_is_read(tmp_path):
    with pytest.raises(NotFound, match="no folder"):
        run("--outcomes", tmp_path / "missing.jsonl", "--out", tmp_path / "gone" / "page.html")
    assert not (tmp_path / "gone").exists()


def test_no_split_at_all_is_a_matter_of_usage(outcomes):
    assert run("--outcomes", *outcomes, "--seeds", 0).exit_code == 2


def test_without_matplotlib_it_refuses_before_it_reads_anything(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtra, match=r"\[calibrate\]"):
        run("--outcomes", tmp_path / "missing.jsonl")
