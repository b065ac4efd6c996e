"""Laws of the built-in question set as a whole: the same everywhere, well formed, and readable by voting."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import subprocess
import sys
from collections import Counter
from functools import cache
from pathlib import Path

import pytest
from builtin_sets import drafts_of, seeds
from hypothesis import given, settings
from hypothesis import strategies as st

from avengers_edge.calibration.builtin import BUILTIN_DATASETS, builtin_questions, parse_builtin
from avengers_edge.calibration.builtin.drafts import Draft, choice, shown
from avengers_edge.calibration.builtin.draw import Draw
from avengers_edge.calibration.builtin.families import FAMILIES
from avengers_edge.calibration.graders import Grader
from avengers_edge.calibration.questions import Question, read_questions, write_questions
from avengers_edge.errors import BadRequest
from avengers_edge.voting.keys import answer_key, canonical_key
from avengers_edge.voting.kinds import find_choices

KNOWLEDGE = ("geography", "history", "science", "biology_medicine", "technology", "language_arts", "everyday")
LARGEST = 2**32 - 1


@cache
def the_set(seed: int) -> tuple[Question, ...]:
    return builtin_questions(seed)


@pytest.fixture(params=[0, 2_024, LARGEST])
def questions(request) -> tuple[Question, ...]:
    """The whole set under one of three seeds; what is quick to make is tested under many, data set by data set."""
    return the_set(request.param)


# --- what a seed promises


def test_seed_0_has_these_questions_on_every_platform_and_python() -> None:
    """Outcomes are kept by question id, so what an id means must not change without somebody's notice."""
    rows = [dataclasses.astuple(dataclasses.replace(each, meta={})) for each in the_set(0)]
    digest = hashlib.sha256(json.dumps(rows, ensure_ascii=False).encode()).hexdigest()
    assert digest == "2ffea1feef5a949abab3a8a5f18a805accce7f1a3f9ab3f11d162f1e35af6f80"


@pytest.mark.parametrize("count", [1, 7])
def test_a_question_does_not_depend_on_how_many_are_asked(count: int) -> None:
    kept = [question for question in the_set(0) if int(question.id.rpartition("/")[2]) < count]
    assert list(builtin_questions(0, count)) == kept


@settings(max_examples=15)
@given(seed=seeds, family=st.sampled_from(FAMILIES))
def test_the_same_seed_asks_the_same_questions(seed: int, family) -> None:
    assert drafts_of(family.name, seed, 5) == drafts_of(family.name, seed, 3) + drafts_of(family.name, seed, 5)[3:]


def test_another_seed_asks_other_questions() -> None:
    one, two = (the_set(seed) for seed in (0, 2_024))
    assert {question.id for question in one}.isdisjoint(question.id for question in two)
    same = Counter(question.dataset for question in one if question.question in {other.question for other in two})
    # A small world, such as the weekdays or a few letters, repeats itself now and then.
    assert all(count <= 10 for count in same.values()), same


def test_general_knowledge_is_known_to_the_last_item_and_in_another_order_under_another_seed() -> None:
    one, two = (drafts_of("geography", seed, 1000) for seed in (1, 2))
    stems = [[draft.question.partition("\n")[0] for draft in drafts] for drafts in (one, two)]
    assert stems[0] != stems[1]
    assert sorted(stems[0]) == sorted(stems[1])


def test_a_data_set_that_has_fewer_gives_all_it_has() -> None:
    assert 50 < len(drafts_of("geography", 0, 1000)) == len(drafts_of("geography", 0, 2000)) < 1000
    assert len(drafts_of("emotion", 0, 100)) == 100


@pytest.mark.parametrize(("seed", "count"), [(-1, 1), (2**32, 1), (True, 1), (1.0, 1), (0, 0), (0, -3), (0, True)])
def test_a_seed_or_number_that_means_nothing_is_refused(seed: int, count: int) -> None:
    with pytest.raises(BadRequest, match="use a whole number"):
        builtin_questions(seed, count)


# --- the set


def test_the_data_sets_come_in_order_with_fifty_questions_each(questions: tuple[Question, ...]) -> None:
    counts = Counter(question.dataset for question in questions)
    assert tuple(counts) == BUILTIN_DATASETS
    assert set(counts.values()) == {50}
    assert len(BUILTIN_DATASETS) == len(set(BUILTIN_DATASETS)) >= 20


def test_every_category_is_there_and_knowledge_has_three_hundred_items(questions: tuple[Question, ...]) -> None:
    categories = Counter(question.category for question in questions)
    assert set(categories) == {"math", "code", "logic", "knowledge", "affective"}
    assert sum(len(drafts_of(name, 0, 1000)) for name in KNOWLEDGE) >= 300


def test_ids_say_data_set_seed_and_place() -> None:
    questions = builtin_questions(7, 3)
    assert len({question.id for question in questions}) == len(questions)
    for place, question in enumerate(questions):
        assert question.id == f"{question.dataset}/7/{place % 3}"
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


def test_the_set_is_written_and_read_back(questions: tuple[Question, ...], tmp_path: Path) -> None:
    write_questions(tmp_path / "own.jsonl.gz", questions)
    assert tuple(read_questions(tmp_path / "own.jsonl.gz")) == questions


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
def test_each_letter_is_right_once_in_four_questions_of_general_knowledge(name: str) -> None:
    letters = [draft.answer for draft in drafts_of(name, 5, 1000)]
    for start in range(0, len(letters) - 3, 4):
        assert sorted(str(letter) for letter in letters[start : start + 4]) == ["A", "B", "C", "D"]


def test_the_right_option_is_not_given_away_by_its_length() -> None:
    drafts = [draft for name in KNOWLEDGE for draft in drafts_of(name, 0, 1000)]
    longest = 0
    for draft in drafts:
        options = sorted(draft.choices or (), key=len)
        right = (draft.choices or ())["ABCD".index(str(draft.answer))]
        longest += right == options[-1] and len(options[-1]) > len(options[-2])
    assert longest / len(drafts) < 0.3


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_no_letter_or_label_is_mostly_right(family) -> None:
    drafts = [draft for draft in drafts_of(family.name, 3, 300) if draft.choices]
    by_choices: dict[object, Counter[str]] = {}
    for draft in drafts:
        options = tuple(sorted(draft.choices)) if draft.kind == "label" else draft.kind
        by_choices.setdefault(options, Counter())[str(draft.answer)] += 1
    for counts in by_choices.values():
        if counts.total() >= 40:
            assert max(counts.values()) <= 0.7 * counts.total(), (family.name, counts)


# --- parts


def test_draws_are_pinned() -> None:
    draw = Draw("a name")
    assert [draw.whole(1, 100) for _ in range(5)] == [3, 20, 71, 63, 4]
    assert Draw("a name").shuffled("abcdef") == list("debcfa")
    assert Draw("a name").different(1, 9, 4) == [1, 3, 7, 2]


@given(least=st.integers(-50, 50), size=st.integers(0, 50), name=st.text(max_size=5))
def test_draws_stay_in_their_range(least: int, size: int, name: str) -> None:
    draw = Draw(name)
    assert all(least <= draw.whole(least, least + size) <= least + size for _ in range(20))
    different = draw.different(least, least + size, size + 1)
    assert sorted(different) == list(range(least, least + size + 1))
    assert draw.pick(different) in different
    assert not draw.chance(0)
    assert draw.chance(1)


@given(value=st.fractions(max_denominator=5000))
def test_a_number_is_shown_exactly(value) -> None:
    written = shown(value)
    assert canonical_key(written, "number") == canonical_key(f"{value.numerator}/{value.denominator}", "number")
    assert ("/" in written) == (10**20 % value.denominator != 0)


def test_a_draft_with_two_equal_options_or_a_foreign_answer_is_refused() -> None:
    with pytest.raises(BadRequest, match="occurs twice"):
        choice("Which?", ["a", "b", "a"], "b")
    with pytest.raises(BadRequest, match="not among"):
        Draft("Yes or no?", "maybe", "label", ("yes", "no"))
    with pytest.raises(BadRequest, match="not among"):
        Draft("Which?", "C", "choice", ("a", "b"))


# --- names on the command line


@pytest.mark.parametrize(
    ("name", "seed"),
    [("builtin", 0), ("builtin:0", 0), ("builtin:17", 17), (f"builtin:{LARGEST}", LARGEST)]
    + [(other, None) for other in ("", "builtin.jsonl", "own/builtin", "Builtin", "builtins", "builtin_dates")],
)
def test_builtin_and_its_seed_are_read_from_a_name(name: str, seed: int | None) -> None:
    assert parse_builtin(name) == seed


@pytest.mark.parametrize("seed", ["", "x", "-1", "1.5", " 1", "1\n", "٣", str(2**32), "9" * 5000])
def test_a_name_with_a_bad_seed_is_refused(seed: str) -> None:
    with pytest.raises(BadRequest, match="no usable seed"):
        parse_builtin(f"builtin:{seed}")


def test_making_questions_loads_nothing_heavy() -> None:
    code = (
        "import sys; from avengers_edge.calibration.builtin import builtin_questions as b; b(0, 2); print(*sys.modules)"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert {"numpy", "sklearn", "onnxruntime", "llama_cpp", "click", "datasets"}.isdisjoint(loaded)
