"""Laws of question files: what is written is read back, and nothing is written by halves."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings

from avengers_edge.calibration.questions import CodeTests, Question, group_of, read_questions, write_questions
from avengers_edge.errors import AvengersError, NotFound, VerificationFailed
from avengers_edge.records import KINDS

# A lone surrogate is no text that a file could hold.
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
tests_of_code = st.builds(CodeTests, texts, texts, texts, texts)
metas = st.dictionaries(texts, st.none() | st.booleans() | st.integers() | texts | st.lists(texts), max_size=3)
questions = st.builds(
    Question,
    id=texts.filter(bool),
    dataset=texts.filter(bool),
    category=texts.filter(bool),
    question=texts.filter(str.strip),
    choices=st.none() | st.lists(texts, max_size=4).map(tuple),
    answer=texts.filter(bool),
    answer_type=st.sampled_from(KINDS),
    split=texts.filter(bool),
    tests=st.none() | tests_of_code,
    meta=metas.map(MappingProxyType),
)
PLAIN = Question("q/1", "own", "math", "1 + 1?", None, "2", "number", "train")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(asked=st.lists(questions, max_size=4), name=st.sampled_from(["q.jsonl", "q.jsonl.gz"]))
def test_what_is_written_is_read_back(asked: list[Question], name: str, tmp_path: Path) -> None:
    write_questions(tmp_path / name, asked)
    assert list(read_questions(tmp_path / name)) == asked


@pytest.mark.parametrize("name", ["q.jsonl", "q.jsonl.gz"])
def test_the_same_questions_make_the_same_bytes(name: str, tmp_path: Path) -> None:
    write_questions(tmp_path / "one" / name, [PLAIN])
    write_questions(tmp_path / "two" / name, iter([PLAIN]))
    assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_a_file_has_one_json_object_a_line_and_only_gz_is_packed(tmp_path: Path) -> None:
    write_questions(tmp_path / "q.jsonl", [PLAIN, PLAIN])
    write_questions(tmp_path / "q.jsonl.gz", [PLAIN, PLAIN])
    content = (tmp_path / "q.jsonl").read_bytes()
    assert gzip.decompress((tmp_path / "q.jsonl.gz").read_bytes()) == content
    rows = [json.loads(line) for line in content.splitlines()]
    assert rows[0] == rows[1]
    assert list(rows[0]) == [
        *("id", "dataset", "category", "question", "choices", "answer", "answer_type", "tests", "split")
    ]


def test_what_cannot_be_written_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "q.jsonl"
    write_questions(path, [PLAIN])
    odd = Question("q/2", "own", "math", "?", None, "2", "number", "train", meta={"thing": object()})
    with pytest.raises(AvengersError, match="cannot be written"):
        write_questions(path, [PLAIN, odd])
    assert list(read_questions(path)) == [PLAIN]
    assert [each.name for each in tmp_path.iterdir()] == ["q.jsonl"]


def test_a_folder_is_no_file_to_write(tmp_path: Path) -> None:
    (tmp_path / "q.jsonl").mkdir()
    with pytest.raises(AvengersError, match=r"q\.jsonl cannot be written"):
        write_questions(tmp_path / "q.jsonl", [PLAIN])


def row_with(**changed: Any) -> str:
    row = {"id": "q", "dataset": "own", "category": "math", "question": "1 + 1?", "choices": None, "answer": "2"}
    return json.dumps(row | {"answer_type": "number", "split": "train"} | changed)


def test_a_number_is_as_good_as_the_text_that_says_it(tmp_path: Path) -> None:
    (tmp_path / "q.jsonl").write_text(row_with(id=7, answer=2))
    (asked,) = read_questions(tmp_path / "q.jsonl")
    assert (asked.id, asked.answer) == ("7", "2")


def test_what_shares_a_rule_or_a_dialogue_shares_a_group() -> None:
    def group(**meta: Any) -> str | None:
        return group_of(replace(PLAIN, meta=meta))

    assert group(task="cipher", rule_id="1", idx="1") == group(task="cipher", rule_id="1", idx="2")
    assert group(task="cipher", rule_id="1") != group(task="logic", rule_id="1")
    assert group(dialogue_id=2, utterance_id=1) == group(dialogue_id=2, utterance_id=5)
    assert group(dialogue_id=2) not in (group(dialogue_id=3), None)
    assert group(subject="algebra") is None


BAD_LINES = [
    ("{", "not a question"),
    ("[]", "not a question"),
    ("[" * 100_000, "not a question"),
    ('{"id": "q"}', "missing required field `dataset`"),
    (row_with(category=""), "has an empty category"),
    (row_with(question=None), r"got `null` - at `\$\.question`"),
    (row_with(answer=True), r"got `bool` - at `\$\.answer`"),
    (row_with(answer_type="poem"), r"'poem' - at `\$\.answer_type`"),
    (row_with(choices="ABC"), r"got `str` - at `\$\.choices`"),
    (row_with(question="What is \ud800?"), "not a question: .*byte"),
    (row_with(tests='{"kind": "ruby"}'), r"'ruby' - at `\$\.kind`"),
    (row_with(tests={"kind": "python", "setup": 1}), r"`\$\.tests\.setup`|required field"),
]


@pytest.mark.parametrize(("line", "complaint"), BAD_LINES)
def test_a_line_that_is_no_question_is_named(line: str, complaint: str, tmp_path: Path) -> None:
    write_questions(tmp_path / "q.jsonl", [PLAIN])
    with (tmp_path / "q.jsonl").open("a", encoding="utf-8") as file:
        file.write(line + "\n")
    with pytest.raises(VerificationFailed, match=rf"line 2.*{complaint}"):
        list(read_questions(tmp_path / "q.jsonl"))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="nowhere"):
        list(read_questions(tmp_path / "nowhere.jsonl"))


def test_a_file_that_is_not_gzip_is_refused(tmp_path: Path) -> None:
    (tmp_path / "q.jsonl.gz").write_bytes(b"plain")
    with pytest.raises(VerificationFailed, match="cannot be read"):
        list(read_questions(tmp_path / "q.jsonl.gz"))
