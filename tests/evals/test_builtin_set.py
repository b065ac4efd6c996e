"""Laws of the built-in questions as a whole: always the same, well formed, and readable by graders and voting."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from builtin_sets import OTHER_SEED, questions_of, the_set

from avengers_edge.calibration.graders import Grader
from avengers_edge.calibration.pipeline import load_outcomes, load_questions
from avengers_edge.calibration.questions import Question, builtin_questions, read_questions
from avengers_edge.config import shipped_dir
from avengers_edge.errors import BadRequest
from avengers_edge.voting.keys import answer_key, canonical_key
from avengers_edge.voting.kinds import find_choices

SCRIPT = Path(__file__).parents[2] / "evals" / "write_builtin_questions.py"
DATASETS = (
    *("arithmetic", "word_problems", "equations", "rates", "units", "sequences", "counting", "programs", "tracing"),
    *("knights", "boolean", "syllogisms", "ordering", "tracking", "sorting", "letters", "dates", "tables"),
    *("geography", "history", "science", "biology_medicine", "technology", "language_arts", "everyday"),
    *("sentiment", "emotion"),
)
KNOWLEDGE = DATASETS[18:25]


@pytest.fixture(params=[0, OTHER_SEED], ids=["shipped", "drawn"])
def questions(request) -> tuple[Question, ...]:
    return the_set(request.param)


def write(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, SCRIPT, *map(str, words)], capture_output=True, text=True)


# --- the file


def test_the_built_in_questions_are_these() -> None:
    """Outcomes are kept by question id, so what an id means must not change without somebody's notice."""
    rows = [dataclasses.astuple(dataclasses.replace(each, meta={})) for each in builtin_questions()]
    digest = hashlib.sha256(json.dumps(rows, ensure_ascii=False).encode()).hexdigest()
    assert digest == "2ffea1feef5a949abab3a8a5f18a805accce7f1a3f9ab3f11d162f1e35af6f80"


def test_the_script_writes_the_file_that_ships(tmp_path: Path) -> None:
    """Packed bytes may differ from one zlib to the next; what is packed may not."""
    made = tmp_path / "new" / "again.jsonl.gz"
    done = write("--out", made)
    assert (done.returncode, done.stdout.count("1350 questions")) == (0, 1), done.stderr
    shipped = shipped_dir() / "questions" / "builtin.jsonl.gz"
    assert gzip.decompress(made.read_bytes()) == gzip.decompress(shipped.read_bytes())


def test_the_script_draws_other_questions_into_another_file_only(tmp_path: Path) -> None:
    assert write("--seed", OTHER_SEED, "--out", tmp_path / "others.jsonl").returncode == 0
    assert tuple(read_questions(tmp_path / "others.jsonl")) == the_set(OTHER_SEED)
    refused = write("--seed", OTHER_SEED)
    assert (refused.returncode, "--out" in refused.stderr) == (2, True)


def test_another_seed_asks_other_questions() -> None:
    one, two = the_set(0), the_set(OTHER_SEED)
    assert {question.id for question in one}.isdisjoint(question.id for question in two)
    known = {question.question for question in two}
    same = Counter(question.dataset for question in one if question.question in known)
    # A small world, such as the weekdays or a few letters, repeats itself now and then.
    assert all(count <= 10 for count in same.values()), same


# --- its name on the command line


@pytest.mark.parametrize("name", ["builtin", "builtin:0"])
def test_builtin_names_the_questions_that_ship(name: str) -> None:
    loaded = load_questions([name])
    assert {question.id: question for question in loaded} == {question.id: question for question in the_set(0)}
    assert [question.dataset for question in loaded[:27]] == sorted(f"builtin_{each}" for each in DATASETS)


@pytest.mark.parametrize("seed", ["", "1", "x", "-1", "00", " 0", "0\n", "\N{ARABIC-INDIC DIGIT ZERO}", "0:0"])
def test_a_seed_that_does_not_ship_is_refused(seed: str) -> None:
    for read in (lambda names: load_questions(names), lambda names: load_outcomes((), None, names)):
        with pytest.raises(BadRequest, match=r"the built-in questions have seed 0 only: write builtin, or") as refused:
            read([f"builtin:{seed}"])
        assert repr(f"builtin:{seed}") in str(refused.value)


@pytest.mark.parametrize("name", ["own/builtin", "Builtin", "builtins", "builtin_dates", "builtin.jsonl"])
def test_what_only_looks_like_the_name_is_a_file(name: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own").mkdir()
    row = {"id": "a", "dataset": "own", "category": "c", "question": "1+1?", "choices": None, "answer": "2"}
    (tmp_path / name).write_text(json.dumps({**row, "answer_type": "number", "split": "train"}), encoding="utf-8")
    assert [question.dataset for question in load_questions([name])] == ["own"]


# --- the questions


def test_the_data_sets_come_in_order_with_fifty_questions_each(questions: tuple[Question, ...]) -> None:
    assert [question.dataset for question in questions] == [f"builtin_{name}" for name in DATASETS for _ in range(50)]
    assert {question.category for question in questions} == {"math", "code", "logic", "knowledge", "affective"}
    assert {question.answer_type for question in questions} == {
        *("number", "expression", "choice", "label", "text", "code")
    }


@pytest.mark.parametrize("seed", [0, OTHER_SEED])
def test_ids_say_data_set_seed_and_place(seed: int) -> None:
    for place, question in enumerate(the_set(seed)):
        assert question.id == f"{question.dataset}/{seed}/{place % 50}"
        assert question.split == "train"


def test_no_question_is_asked_twice_and_all_are_clean_text(questions: tuple[Question, ...]) -> None:
    assert len({question.question for question in questions}) == len(questions)
    for question in questions:
        assert 15 <= len(question.question) <= 1500, question
        assert question.question == question.question.strip()
        assert not re.search(r"[ \t]\n|\n\n\n|\t", question.question), question
        assert question.question.isascii(), question
        outside_code = re.sub(r"```.*?```", "", question.question, flags=re.DOTALL)
        assert not re.search(r"\S  |\bNAME\b|\{|\}| [.,](?!\.\.)|\$", outside_code), question


# --- answers


def other_than(question: Question) -> str:
    """An answer of the same kind that is wrong."""
    gold = str(question.answer)
    if question.answer_type == "choice":
        return "B" if gold == "A" else "A"
    if question.answer_type == "label":
        return next(each for each in question.choices or () if each != gold)
    if question.dataset == "builtin_knights":
        return gold.replace("knave", "?").replace("knight", "knave").replace("?", "knight")
    return f"7{gold}" if question.answer_type == "expression" else f"{gold}1"


def spelled(question: Question) -> str:
    """The gold answer as a model would end its text."""
    assert question.answer is not None
    if question.dataset == "builtin_knights":
        return "So this is how it is.\n" + question.answer.replace(", ", "\n")
    return f"This took some thought.\n\nAnswer: {question.answer}"


def test_the_gold_answer_is_right_and_another_one_is_wrong(questions: tuple[Question, ...]) -> None:
    with Grader(equal=lambda *_: False) as grader:  # formulas must be equal by sight
        for question in questions:
            if question.answer_type == "code":
                continue
            assert grader.grade(question, spelled(question)), question
            assert not grader.grade(question, spelled(dataclasses.replace(question, answer=other_than(question)))), (
                question
            )


def test_a_text_in_quotes_is_the_text(questions: tuple[Question, ...]) -> None:
    asked = next(each for each in questions if each.answer_type == "text" and each.dataset != "builtin_knights")
    with Grader() as grader:
        for said in (
            f'Answer: "{asked.answer}"',
            f"**Answer:** “{asked.answer}”.",
            f'It is this one:\n"{asked.answer}"',
        ):
            assert grader.grade(asked, said), said


def test_voting_reads_the_gold_answers_key_back(questions: tuple[Question, ...]) -> None:
    for question in questions:
        if question.answer_type in ("number", "choice", "label", "expression"):
            assert question.answer is not None
            key = canonical_key(question.answer, question.answer_type)
            assert key is not None
            said = f"Answer: {question.answer}"
            assert answer_key(said, question.answer_type, choices=question.choices) == key, question


def test_options_stand_in_the_question_and_differ(questions: tuple[Question, ...]) -> None:
    for question in questions:
        if question.answer_type == "choice":
            assert find_choices(question.question) == question.choices
            assert question.choices is not None
            assert question.answer is not None
            assert "ABCDEFGH".index(question.answer) < len(question.choices)
        elif question.answer_type == "label":
            assert find_choices(question.question) == question.choices
            assert question.answer in (question.choices or ())
        else:
            assert question.choices is None
        folded = [each.casefold() for each in question.choices or ()]
        assert len(set(folded)) == len(folded), question


@pytest.mark.parametrize("name", KNOWLEDGE)
def test_general_knowledge_has_four_options_of_which_each_letter_is_right_once_in_four(name: str) -> None:
    questions = questions_of(name)
    assert all(len(question.choices or ()) == 4 for question in questions)
    letters = [str(question.answer) for question in questions]
    for start in (place for first in (0, 50) for place in range(first, first + 48, 4)):
        assert sorted(letters[start : start + 4]) == ["A", "B", "C", "D"]


def test_the_right_option_is_not_given_away_by_its_length() -> None:
    questions = [question for name in KNOWLEDGE for question in questions_of(name)]
    longest = 0
    for question in questions:
        options = sorted(question.choices or (), key=len)
        right = (question.choices or ())["ABCD".index(str(question.answer))]
        longest += right == options[-1] and len(options[-1]) > len(options[-2])
    assert longest / len(questions) < 0.3


@pytest.mark.parametrize("name", DATASETS)
def test_no_letter_or_label_is_mostly_right(name: str) -> None:
    by_choices: dict[object, Counter[str]] = {}
    for question in questions_of(name):
        if question.choices:
            options = tuple(sorted(question.choices)) if question.answer_type == "label" else question.answer_type
            by_choices.setdefault(options, Counter())[str(question.answer)] += 1
    for counts in by_choices.values():
        if counts.total() >= 40:
            assert max(counts.values()) <= 0.7 * counts.total(), counts
