"""The `calibrate` commands on the shipped embedder and hand-written outcomes; no language model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from safetensors import numpy as tensors

from avengers_edge.cli.root_command import cli

pytest.importorskip("sklearn")

SUMS = [f"What is {n} + {n + 3}?" for n in range(12)]
THINGS = ("cat", "dog", "ring", "job", "bet", "hat") * 2
MOODS = [f"How does person {n} feel after losing a {thing}?" for n, thing in enumerate(THINGS)]


def run(*words: Any) -> Result:
    return CliRunner().invoke(cli, [str(word) for word in words])


def outcomes(path: Path, texts: bool = True) -> Path:
    rows = [
        {"id": f"{dataset}/{n}", "dataset": dataset, "category": "c", "prompt": prompt, "scores": scores}
        for dataset, prompts, scores in (("sums", SUMS, {"a": 1, "b": 0}), ("moods", MOODS, {"a": 0, "b": 1}))
        for n, prompt in enumerate(prompts)
    ]
    for row in rows:
        if not texts:
            del row["prompt"]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_fit_then_evaluate_finds_who_is_good_at_what(tmp_path: Path) -> None:
    file, table = outcomes(tmp_path / "o.jsonl"), tmp_path / "t.safetensors"
    fitted = run("calibrate", "fit", "--outcomes", file, "--out", table, "--smoothing", 1, "--json")
    assert fitted.exit_code == 0, fitted.output
    facts = json.loads(fitted.stdout)
    assert facts["members"] == {"a": 50.0, "b": 50.0}
    assert (facts["n"], facts["clusters"]) == (24, 2)
    judged = run("calibrate", "evaluate", "--table", table, "--outcomes", file, "--json")
    assert judged.exit_code == 0, judged.output
    found = json.loads(judged.stdout)
    assert found["macro"] == {
        "router": 100.0,
        "random": 50.0,
        "best_single": 50.0,
        "dataset_oracle": 100.0,
        "query_oracle": 100.0,
    }
    assert found["best_single_member"] == "a"
    assert "macro" in run("calibrate", "evaluate", "--table", table, "--outcomes", file).stdout


def test_fit_learns_from_votes_whether_they_pay(tmp_path: Path) -> None:
    greedy, votes, table = tmp_path / "greedy.jsonl", tmp_path / "votes.jsonl", tmp_path / "t.safetensors"
    rows = [json.loads(line) for line in outcomes(greedy).read_text(encoding="utf-8").splitlines()]
    for row in rows:
        row["kind"] = "number" if row["dataset"] == "sums" else "label"
        if row["id"] in ("sums/1", "sums/2", "sums/3"):
            row["scores"] = {"a": 0, "b": 0}
    greedy.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    answers = [["8", 0], *[["7", 1]] * 7]
    sums = [{**row, "scores": {"a": 0.875}, "answers": {"a": answers}} for row in rows[:12]]
    votes.write_text("".join(json.dumps(row) + "\n" for row in sums), encoding="utf-8")
    words = ["calibrate", "fit", "--outcomes", greedy, "--votes", votes, "--out", table, "--smoothing", 0.1]
    fitted = run(*words, "--json")
    assert fitted.exit_code == 0, fitted.output
    assert json.loads(fitted.stdout)["samples"] == [1, 1]  # twelve questions are too few for any budget
    said = run(*words).stdout
    assert "a vote pays in 0 of 2 clusters; elsewhere no gain over the greedy answer was measured" in said
    refused = run("calibrate", "fit", "--outcomes", votes, "--votes", votes, "--out", table, "--members", "a")
    assert (refused.exit_code, "without and with --samples 8" in refused.stderr) == (2, True)


def test_several_files_follow_one_option(tmp_path: Path) -> None:
    lines = outcomes(tmp_path / "o.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    for name, part in (("1.jsonl", lines[:12]), ("2.jsonl", lines[12:])):
        (tmp_path / name).write_text("".join(part), encoding="utf-8")
    for words in (["--outcomes", "1.jsonl", "2.jsonl"], ["--outcomes", "1.jsonl", "--outcomes", "2.jsonl"]):
        paths = [tmp_path / word if word.endswith("jsonl") else word for word in words]
        result = run("calibrate", "fit", *paths, "--out", tmp_path / "t.safetensors", "--json")
        assert json.loads(result.stdout)["n"] == 24


def test_a_table_of_a_handful_of_questions_is_called_a_guess(tmp_path: Path) -> None:
    result = run("calibrate", "fit", "--outcomes", outcomes(tmp_path / "o.jsonl"), "--out", tmp_path / "t.safetensors")
    assert result.stderr == "24 questions say little about a member: measure some hundred before you rely on it\n"


def test_prompts_come_from_question_files_where_outcomes_have_none(tmp_path: Path) -> None:
    file = outcomes(tmp_path / "o.jsonl", texts=False)
    questions = tmp_path / "q.jsonl"
    rows = [
        {"id": f"{dataset}/{n}", "dataset": dataset, "category": "c", "question": prompt}
        | {"choices": None, "answer": "1", "answer_type": "number", "split": "train"}
        for dataset, prompts in (("sums", SUMS), ("moods", MOODS))
        for n, prompt in enumerate(prompts)
    ]
    questions.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    twice = tmp_path / "twice.jsonl"
    twice.write_text(json.dumps(rows[0] | {"question": "Another one?"}) + "\n", encoding="utf-8")
    out = tmp_path / "t.safetensors"
    both = run("calibrate", "fit", "--outcomes", file, "--questions", questions, "--questions", twice, "--out", out)
    assert (both.exit_code, "is another question than before" in both.stderr) == (2, True)
    without = run("calibrate", "fit", "--outcomes", file, "--out", out)
    assert (without.exit_code, "--questions" in without.stderr) == (2, True)
    assert run("calibrate", "fit", "--outcomes", file, "--questions", questions, "--out", out).exit_code == 0


def test_a_member_is_added_without_moving_a_centroid(tmp_path: Path) -> None:
    file, table = outcomes(tmp_path / "o.jsonl"), tmp_path / "t.safetensors"
    run("calibrate", "fit", "--outcomes", file, "--out", table, "--members", "a")
    before = tensors.load_file(table)["centroids"]
    added = run("calibrate", "fit", "--outcomes", file, "--members", "b", "--add-to", table, "--out", table, "--json")
    facts = json.loads(added.stdout)
    assert (facts["members"], facts["n"]) == ({"a": 50.0, "b": 50.0}, 24)
    assert tensors.load_file(table)["centroids"].tobytes() == before.tobytes()


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--clusters", "25"], 2, "25 clusters were asked of 24 questions"),
        (["--clusters", "0"], 2, "0 clusters"),
        (["--members", "a,z"], 3, "'z'"),
        (["--members", "a,a"], 2, "each once"),
        (["--team-size", "3"], 2, "a team of 3"),
        (["--smoothing", "-1"], 2, "smoothing is -1"),
        (["--method", "magic"], 2, "magic"),
        (["--add-to", "nowhere.safetensors"], 3, "nowhere.safetensors"),
        (["--add-to", "x", "--clusters", "3"], 2, "leave out --clusters"),
        (["--add-to", "x", "--method", "kmeans"], 2, "leave out --method"),
        (["--add-to", "x", "--smoothing", "5"], 2, "leave out --smoothing"),
        (["stray"], 2, "stray"),
    ],
)
def test_what_cannot_be_fitted_is_one_line_and_leaves_no_table(
    tmp_path: Path, words: list[str], code: int, said: str
) -> None:
    out = tmp_path / "t.safetensors"
    result = run("calibrate", "fit", "--outcomes", outcomes(tmp_path / "o.jsonl"), "--out", out, *words)
    assert result.exit_code == code, result.output
    assert said in result.stderr
    assert not out.exists()


def test_a_table_goes_into_no_folder_that_is_not_there(tmp_path: Path) -> None:
    out = tmp_path / "gone" / "t.safetensors"
    result = run("calibrate", "fit", "--outcomes", outcomes(tmp_path / "o.jsonl"), "--out", out)
    assert (result.exit_code, "no folder" in result.stderr) == (3, True)
    assert not out.parent.exists()


def test_a_damaged_outcome_file_ends_with_code_4(tmp_path: Path) -> None:
    file = outcomes(tmp_path / "o.jsonl")
    file.write_text(file.read_text(encoding="utf-8")[:-30], encoding="utf-8")
    result = run("calibrate", "fit", "--outcomes", file, "--out", tmp_path / "t.safetensors")
    assert (result.exit_code, result.stderr.count("\n")) == (4, 1)
    assert "line 24 is cut off" in result.stderr


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--questions", "nowhere.jsonl"], 3, "nowhere.jsonl"),
        (["--questions", "builtin:x"], 2, "builtin:x"),
        (["--questions", "builtin", "--datasets", "poems"], 3, "'poems'"),
        (["--questions", "builtin", "--limit", "0"], 2, "limit is 0"),
        (["--questions", "builtin", "--limit", "1", "--samples", "0"], 2, "samples is 0"),
        (["--questions", "builtin", "--limit", "1", "--members", "nobody"], 3, "'nobody'"),
        (["--questions", "builtin", "--limit", "1", "--team", "nobody"], 3, "nobody"),
        (["--questions", "builtin", "--limit", "1"], 3, "avengers"),
    ],
)
def test_what_cannot_be_measured_is_one_line(tmp_path: Path, words: list[str], code: int, said: str) -> None:
    result = run("calibrate", "measure", "--out", tmp_path / "o.jsonl", *words)
    assert result.exit_code == code, result.output
    assert said in result.stderr
