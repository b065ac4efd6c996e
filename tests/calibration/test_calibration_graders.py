"""Laws of grading: what counts as right, by answer type and by benchmark."""

from __future__ import annotations

import sys

import pytest

from avengers_edge.calibration.graders import Grader, grade
from avengers_edge.calibration.questions import CodeTests, Question
from avengers_edge.errors import BadRequest, NoSandbox
from avengers_edge.records import Kind


def question(
    answer: str | None, kind: Kind, *, dataset: str = "own", choices: tuple[str, ...] | None = None
) -> Question:
    return Question("q1", dataset, "own", "What is it?", choices, answer, kind, "test")


def forbidden(gold: str, given: str) -> bool:
    raise AssertionError(f"algebra was asked whether {given} is {gold}")


def never(gold: str, given: str) -> bool:
    return False


PLANETS = ("Mars", "Venus", "Saturn")

BY_TYPE: list[tuple[Question, str, bool]] = [
    (question("12", "number"), "Three times four.\nAnswer: 12.0 apples", True),
    (question("12", "number"), "Answer: 12\nNo, wait.\nAnswer: 13", False),
    (question("0.75", "number"), "\\boxed{\\frac{3}{4}}", True),
    (question("12", "number"), "I cannot tell.", False),
    (question("B", "choice", choices=PLANETS), "Answer: (b) Venus", True),
    (question("B", "choice", choices=PLANETS), "Answer: Venus", True),
    (question("B", "choice", choices=PLANETS), "Answer: C", False),
    (question("B", "choice", choices=PLANETS), "Answer: B and C", False),
    (question("valid", "label", choices=("valid", "invalid")), "The argument is Valid.", True),
    (question("valid", "label", choices=("valid", "invalid")), "The argument is invalid.", False),
    (question("\\frac{\\pi}{2}", "expression"), "Answer: π/2", True),
    (question("\\frac{\\pi}{2}", "expression"), "Answer: π/3", False),
    (question("left up", "text"), "Answer: **Left Up**.", True),
    (question("left up", "text"), "First we turn.\nleft up", True),
    (question("left up", "text"), "left up\nFirst we turn.", False),
    (question("left up", "text"), "Answer: left up\nNo.\nAnswer: right", False),
    (question("left up", "text"), "Answer: right\nNo.\nAnswer: left up", True),
    (question("left up", "text"), "", False),
]
BRACKETS: list[tuple[Question, str, bool]] = [
    (question("[[4;7 1]]", "text", dataset="korbench"), "[[ 4; 7 1 ]]", True),
    (question("[[4;7 1]]", "text", dataset="korbench"), "I say [[9]], or better [[4;71]], and stop there.", True),
    (question("[[4;7 1]]", "text", dataset="korbench"), "I say [[4;71]], or better [[9]].", False),
    (question("4;7 1", "text", dataset="korbench"), "Answer: [[4;7 1]]", True),
]


@pytest.mark.parametrize(("asked", "text", "right"), [*BY_TYPE, *BRACKETS])
def test_the_last_answer_given_counts_in_any_spelling_of_its_type(asked: Question, text: str, right: bool) -> None:
    with Grader(equal=never) as grader:
        assert grader.grade(asked, text) is right


@pytest.mark.parametrize("kind", ["number", "text"])
def test_a_truncated_text_is_right_only_by_a_complete_marker(kind: Kind) -> None:
    assert not grade(question("12", kind), "So it is\n12", truncated=True)
    assert not grade(question("12", kind), "Answer: 12", truncated=True)
    assert grade(question("12", kind), "Answer: 12\nBecause", truncated=True)


@pytest.mark.parametrize("kind", ["number", "text"])
def test_what_was_only_thought_is_not_said(kind: Kind) -> None:
    assert not grade(question("12", kind), "<think>Answer: 12</think>\nAnswer: 13")
    assert grade(question("12", kind), "<think>Answer: 13</think>\nAnswer: 12")


FINQA = [
    # within one percent, and no more
    ("200", "Answer: 201.9", True),
    ("200", "Answer: 202.1", False),
    ("-200", "Answer: -199", True),
    ("-200", "Answer: 200", False),
    ("0", "Answer: 0", True),
    ("0", "Answer: 0.001", False),
    ("0.3333", "Answer: 1/3", True),
    # a share as a percentage and the other way round
    ("0.25", "Answer: 25%", True),
    ("25", "Answer: 0.25", True),
    ("25", "Answer: 2.5", False),
    # the unit of the table, said or undone
    ("2.5", "Answer: $2.5 million", True),
    ("2500", "Answer: 2.5 million", True),
    ("2500000", "Answer: 2.5 million", True),
    ("2.5", "Answer: 2.5 thousand", True),
    ("2.5", "Answer: 2.5 Billion", True),
    ("2.5", "Answer: 3.5 million", False),
    ("2.5", "Answer: 2500", False),
    # no number at all
    ("3", "Answer: 3/0", False),
    ("3", "Answer: 3:00", False),
    ("3", "Answer: 3\\sqrt{2}", False),
    ("3", "Nothing.", False),
    ("3", "Answer: " + "9" * 5000, False),
]


@pytest.mark.parametrize(("gold", "text", "right"), FINQA)
def test_finqa_is_right_within_one_percent_in_any_unit_of_a_table(gold: str, text: str, right: bool) -> None:
    assert grade(question(gold, "number", dataset="finqa"), text) is right


def test_finqa_asks_for_yes_or_no_too() -> None:
    asked = question("yes", "label", dataset="finqa", choices=("yes", "no"))
    assert grade(asked, "Answer: Yes")
    assert not grade(asked, "Answer: no")


KNIGHTS = "(1) Ann is a knight\n(2) Bob is a knave"
ISLANDERS = [
    ("Ann is a knight and Bob is a knave.", True),
    ("**Ann** is a **knight**\n**Bob** is a **knave**", True),
    ("Ann is a knight and Bob is a knight.", False),
    ("Ann is a knight.", False),
    ("Say Ann is a knave. That fails, so Ann is a knight, and Bob is a knave.", True),
    ("Ann is a knight, Bob is a knave. No: Ann is a knave.", False),
    ("Ann is a knight, Bob is a knave, Cleo is a knave.", True),
    ("<think>Ann is a knight, Bob is a knave.</think>I do not know.", False),
    ("", False),
    # in other words
    ("Ann: Knight\nBob: Knave", True),
    ("| Ann | knight |\n| Bob | knave |", True),
    ("Knights: Ann\nKnaves: Bob", True),
    ("\\boxed{\\text{Ann is a knight, Bob is a knave}}", True),
    ("Ann and Bob are knaves.", False),
    # what the answer says counts, whatever was considered after it
    ("Answer: Ann is a knight, Bob is a knave.", True),
    ("Ann is a knave, Bob is a knave.\nAnswer: Ann is a knight, Bob is a knave", True),
    ("Ann is a knight, Bob is a knave.\nAnswer: Ann is a knave, Bob is a knave", False),
]


@pytest.mark.parametrize(("text", "right"), ISLANDERS)
def test_everyone_on_the_island_must_be_right_as_last_said(text: str, right: bool) -> None:
    assert grade(question(KNIGHTS, "text", dataset="kandk"), text) is right


def test_a_name_within_another_is_not_that_name() -> None:
    asked = question("Jack is a knave, Jackson is a knight, Ann is a knight", "text", dataset="kandk")
    assert grade(asked, "Jack is a knave. Jackson and Ann are knights.")
    assert not grade(asked, "Jackson is a knave, Jack is a knight, Ann is a knight")


def test_islanders_of_a_truncated_text_are_not_yet_said() -> None:
    asked = question(KNIGHTS, "text", dataset="kandk")
    assert not grade(asked, "Ann is a knight and Bob is a knave.", truncated=True)


def test_what_cannot_be_judged_is_refused() -> None:
    with pytest.raises(BadRequest, match="no tests"):
        grade(question(None, "code"), "```python\nx = 1\n```")
    with Grader(equal=forbidden) as grader, pytest.raises(BadRequest, match="no tests"):
        grader.grade(question("x = 1", "code"), "")


TESTED = CodeTests("double", "import math", "assert double(2) == 4")
ASKED = Question("q1", "own", "code", "Double it.", None, None, "code", "test", TESTED)
FUNCTION = "def double(x):\n    return x * 2"
USAGE = "def show():\n    print(double(3))"
PROGRAMS = [
    (f"```python\n{FUNCTION}\n```", FUNCTION),
    (f"```python\n{FUNCTION}\n```\nTry it:\n```python\n{USAGE}\n```", FUNCTION),
    (f"<think>```python\n{USAGE}\n```</think>\n{FUNCTION}", FUNCTION),
    (f"```python\n{USAGE}\n```", USAGE),
    ("I cannot.", None),
]


@pytest.mark.parametrize(("text", "program"), PROGRAMS)
@pytest.mark.parametrize("works", [True, False])
def test_code_is_right_if_its_tests_hold(text: str, program: str | None, works: bool) -> None:
    ran: list[tuple[str, str, str, str]] = []

    def run(candidate: str, *, setup: str, test: str, entry_point: str) -> bool:
        ran.append((candidate, setup, test, entry_point))
        return works

    with Grader(run=run) as grader:
        assert grader.grade(ASKED, text) is (works and program is not None)
    assert ran == ([] if program is None else [(program, TESTED.setup, TESTED.test, "double")])


def test_code_that_was_cut_off_is_wrong() -> None:
    with Grader(run=lambda candidate, *, setup, test, entry_point: True) as grader:
        assert not grader.grade(ASKED, f"```python\n{FUNCTION}", truncated=True)


@pytest.mark.skipif(sys.platform != "linux", reason="the sandbox is for Linux")
def test_code_is_run_in_the_sandbox() -> None:
    try:
        right = grade(ASKED, f"```python\n{FUNCTION}\n```")
    except NoSandbox as error:
        pytest.skip(str(error))
    assert right
    assert not grade(ASKED, "```python\ndef double(x):\n    return x + 3\n```")
