"""Outcome files: what is written is read back, lines of one question are joined, and every defect is one line."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avengers_edge.calibration.outcomes import OutcomeRow, read_outcomes, with_prompts, write_outcomes
from avengers_edge.errors import AvengersError, BadRequest, NotFound, VerificationFailed

ROW: dict[str, Any] = {"id": "s/1", "dataset": "s", "category": "math", "prompt": "1+1?", "scores": {"a": 1, "b": 0.5}}


def write(path: Path, *rows: Any) -> Path:
    path.write_text("".join(row if isinstance(row, str) else json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_a_row_is_read_as_it_stands(tmp_path: Path) -> None:
    (row,) = read_outcomes([write(tmp_path / "o.jsonl", {**ROW, "split": "ignored"})])
    assert (row.id, row.dataset, row.category, row.prompt) == ("s/1", "s", "math", "1+1?")
    assert row.scores == {"a": 1.0, "b": 0.5}


def test_what_is_written_is_read_back_packed_or_not(tmp_path: Path) -> None:
    row = OutcomeRow(
        "x/1",
        "x",
        "logic",
        {"a": 0.5},
        {"a": 1.5},
        {"a": 20.0},
        "number",
        "how many?",
        "x/rule 3",
        {"a": (("4", 1.0), (None, 0.0))},
        {"a": ("four", "hm")},
    )
    for name in ("o.jsonl", "o.jsonl.gz"):
        write_outcomes(tmp_path / name, [row])
        assert read_outcomes([tmp_path / name]) == (row,)


@given(st.dictionaries(st.text(min_size=1), st.floats(0, 1), min_size=1), st.text(min_size=1))
def test_any_scores_survive_the_file(tmp_path_factory: pytest.TempPathFactory, scores: Any, prompt: str) -> None:
    path = tmp_path_factory.mktemp("o") / "o.jsonl"
    row = OutcomeRow("i", "d", "c", scores, prompt=prompt)
    write_outcomes(path, [row])
    assert read_outcomes([path]) == (row,)


def test_the_lines_of_a_question_are_joined(tmp_path: Path) -> None:
    first = write(tmp_path / "1.jsonl", {**ROW, "scores": {"a": 1}, "tokens": {"a": 3}})
    second = write(tmp_path / "2.jsonl", {**ROW, "scores": {"b": 0}, "tokens": {"b": 4}})
    (row,) = read_outcomes([first, second])
    assert (row.scores, row.tokens) == ({"a": 1.0, "b": 0.0}, {"a": 3.0, "b": 4.0})


def test_members_choose_scores_and_their_order(tmp_path: Path) -> None:
    (row,) = read_outcomes([write(tmp_path / "o.jsonl", ROW)], ["b"])
    assert row.scores == {"b": 0.5}


def test_questions_of_one_rule_are_one_group(tmp_path: Path) -> None:
    path = write(tmp_path / "o.jsonl", {**ROW, "rule_id": "7"}, {**ROW, "id": "s/2", "prompt": "2?", "rule_id": "7"})
    assert {row.group for row in read_outcomes([path])} == {"s/rule 7"}


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"scores": {"a": 1.5}}, "a has score 1.5, use 0 to 1"),
        ({"scores": {"a": float("nan")}}, "malformed"),
        ({"scores": {"a": True}}, "got `bool` - at `$.scores[...]`"),
        ({"scores": {"a": "1"}}, "got `str` - at `$.scores[...]`"),
        ({"scores": {"": 1}}, "`key` in `$.scores`"),
        ({"scores": {}}, "`$.scores`"),
        ({"scores": None}, "got `null` - at `$.scores`"),
        ({"scores": [1]}, "got `array` - at `$.scores`"),
        ({"id": 7}, "got `int` - at `$.id`"),
        ({"dataset": ""}, "`$.dataset`"),
        ({"prompt": 1}, "got `int` - at `$.prompt`"),
        ({"prompt": "\ud800"}, "malformed"),
        ({"kind": "poem"}, "'poem' - at `$.kind`"),
        ({"tokens": {"a": -1}}, "a took -1"),
        ({"seconds": {"a": float("inf")}}, "malformed"),
        ({"seconds": {"a": 10**400}}, "out of range - at `$.seconds[...]`"),
        ({"answers": {"a": [["x", 2]]}}, "`$.answers[...][0][1]`"),
        ({"answers": {"a": [[1, 1]]}}, "got `int` - at `$.answers[...][0][0]`"),
        ({"agreement": {"a": 2}}, "`$.agreement[...]`"),
    ],
)
def test_a_line_that_is_no_outcome_is_named(tmp_path: Path, change: Any, complaint: str) -> None:
    path = write(tmp_path / "o.jsonl", ROW, {**ROW, "id": "s/2", **change})
    with pytest.raises(VerificationFailed) as caught:
        read_outcomes([path])
    assert f"{path}, line 2" in str(caught.value)
    assert complaint in str(caught.value)


@pytest.mark.parametrize("text", ['{"id": "x', "[" * 100_000])
def test_a_last_line_that_is_cut_off_says_how_to_mend_it(tmp_path: Path, text: str) -> None:
    path = write(tmp_path / "o.jsonl", ROW, text)
    with pytest.raises(VerificationFailed, match=r"line 2 is cut off: run the same `avengers calibrate measure` again"):
        read_outcomes([path])


def test_a_whole_last_line_without_its_end_is_no_line_that_was_cut_off(tmp_path: Path) -> None:
    with pytest.raises(VerificationFailed, match=r"line 1: .*`\$\.id`"):
        read_outcomes([write(tmp_path / "o.jsonl", json.dumps({**ROW, "id": 7}))])


@pytest.mark.parametrize("content", [b"\xff\xfe\n", gzip.compress(b"{}", mtime=0)[:10], b"not json\n", b"[]\n"])
def test_bytes_that_are_no_outcomes_are_refused(tmp_path: Path, content: bytes) -> None:
    for name in ("o.jsonl", "o.jsonl.gz"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(VerificationFailed, match=name):
            read_outcomes([tmp_path / name])


def test_a_file_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no outcome file"):
        read_outcomes([tmp_path / "none.jsonl"])


def test_an_empty_file_says_how_to_measure(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="calibrate measure"):
        read_outcomes([write(tmp_path / "o.jsonl")])


def test_two_scores_of_one_answer_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "o.jsonl", ROW, {**ROW, "scores": {"a": 0}})
    with pytest.raises(VerificationFailed, match=r"line 2: a has score 0 on a question that .*line 1 gives 1"):
        read_outcomes([path])


def test_one_prompt_under_two_ids_must_not_disagree(tmp_path: Path) -> None:
    path = write(tmp_path / "o.jsonl", ROW, {**ROW, "id": "s/2", "scores": {"a": 0, "b": 0.5}})
    with pytest.raises(VerificationFailed, match="line 2: a has score 0"):
        read_outcomes([path])


def test_nor_where_the_prompt_comes_from_a_question_file(tmp_path: Path) -> None:
    bare = {name: value for name, value in ROW.items() if name != "prompt"}
    path = write(tmp_path / "o.jsonl", bare, {**bare, "id": "s/2", "scores": {"a": 0, "b": 0.5}})
    with pytest.raises(VerificationFailed, match="line 2: a has score 0"):
        read_outcomes([path], prompts={ROW["id"]: "1+1?", "s/2": "1+1?"})


def test_two_questions_under_one_id_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "o.jsonl", ROW, {**ROW, "prompt": "2+2?"})
    with pytest.raises(VerificationFailed, match="another question"):
        read_outcomes([path])


def test_a_missing_model_is_named_with_its_line(tmp_path: Path) -> None:
    path = write(tmp_path / "o.jsonl", ROW, {**ROW, "id": "s/2", "prompt": "2?", "scores": {"a": 0}})
    with pytest.raises(BadRequest, match=r"line 2: there is no score of b: .*--members a"):
        read_outcomes([path])
    with pytest.raises(BadRequest, match="line 2: there is no score of b"):
        read_outcomes([path], ["a", "b"])
    assert len(read_outcomes([path], ["a"])) == 2


def test_votes_need_not_be_measured_of_every_member(tmp_path: Path) -> None:
    path = write(tmp_path / "o.jsonl", ROW, {**ROW, "id": "s/2", "prompt": "2+2?", "scores": {"b": 1}})
    assert [dict(row.scores) for row in read_outcomes([path], partly=True)] == [{"a": 1, "b": 0.5}, {"b": 1}]


def test_models_without_a_common_question_cannot_be_compared(tmp_path: Path) -> None:
    other = {**ROW, "id": "s/2", "prompt": "2?", "scores": {"c": 0}}
    with pytest.raises(BadRequest, match=r"o\.jsonl.*no model has a score on every question"):
        read_outcomes([write(tmp_path / "o.jsonl", ROW, other)])


def test_an_unknown_model_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"o\.jsonl: no outcome has a score of 'z': use a, b"):
        read_outcomes([write(tmp_path / "o.jsonl", ROW)], ["z"])


def test_rows_without_a_prompt_get_it_by_id() -> None:
    row = OutcomeRow("i", "d", "c", {"a": 1})
    (found,) = with_prompts([row], {"i": "why?"})
    assert found.prompt == "why?"
    with pytest.raises(BadRequest, match="--questions"):
        with_prompts([row], {})


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(AvengersError, match="cannot be written"):
        write_outcomes(tmp_path / "file" / "o.jsonl", [OutcomeRow("i", "d", "c", {"a": 1})])
