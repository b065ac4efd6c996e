r"""Laws of comparing formulas: what Math-Verify calls equal, in a process that no formula can hold up."""

from __future__ import annotations

import importlib.util
import sys
import threading
from collections.abc import Iterator

import pytest

from avengers_edge.calibration.graders import Grader, grade
from avengers_edge.calibration.graders.formulas import Algebra, same_formula
from avengers_edge.calibration.questions import Question
from avengers_edge.errors import AvengersError, BadRequest, MissingExtra

needs_math_verify = pytest.mark.skipif(
    importlib.util.find_spec("math_verify") is None, reason="Math-Verify is not installed"
)


def formula(answer: str) -> Question:
    return Question("q", "own", "maths", "What is it?", None, answer, "expression", "test")


class Recorder:
    """An algebra that calls everything equal and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []

    def __call__(self, gold: str, given: str) -> bool:
        self.asked.append((gold, given))
        return True


@pytest.mark.parametrize(
    ("gold", "given", "equal"),
    [
        ("\\frac{1}{2}", "0.5", True),
        ("\\frac12", "1/2", True),
        ("\\text{east}", "east", True),
        ("12", "13", False),
        ("12", "", False),
        ("12", "1\0002", False),
        ("12", "x" * 3000, False),
    ],
)
def test_what_can_be_compared_by_sight_needs_no_algebra(gold: str, given: str, equal: bool) -> None:
    recorder = Recorder()
    assert same_formula(gold, given, recorder) is equal
    assert not recorder.asked


def test_percentages_are_a_matter_for_algebra() -> None:
    recorder = Recorder()
    assert same_formula("100%", "1", recorder)
    assert recorder.asked == [("100%", "1")]


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("Answer: 1+x", ["1+x"]),
        ("$x$ is 3, so \\boxed{1+x}", ["1+x"]),
        ("Answer: 1+x\nNo.\nAnswer: 2+x", ["2+x"]),
        ("<think>Answer: 1+x</think> Answer: 2+x", ["2+x"]),
        ("I do not know.", []),
    ],
)
def test_the_last_formula_announced_is_compared(text: str, asked: list[str]) -> None:
    recorder = Recorder()
    with Grader(equal=recorder) as grader:
        assert grader.grade(formula("x+1"), text) is bool(asked)
    assert [given for _, given in recorder.asked] == asked


def test_boxes_side_by_side_are_one_answer() -> None:
    def by_sight(gold: str, given: str) -> bool:
        return gold == given

    with Grader(equal=by_sight) as grader:
        assert grader.grade(formula("1, y"), "So \\boxed{1} and \\boxed{y}.")
        assert not grader.grade(formula("1, y"), "So \\boxed{1}.\nOr rather \\boxed{y}.")
        assert not grader.grade(formula("1, y"), "So \\boxed{1} and \\boxed{y}. The answer is y.")


@pytest.fixture(scope="module")
def algebra() -> Iterator[Algebra]:
    with Algebra(60.0) as shared:
        yield shared


EQUAL = [
    ("\\frac{1}{2}", "\\frac{2}{4}"),
    ("x+1", "1+x"),
    ("(x+1)^2", "x^2 + 2x + 1"),
    ("3\\sqrt{13}", "\\sqrt{117}"),
    ("\\frac{\\sqrt{3}}{3}", "\\frac{1}{\\sqrt 3}"),
    ("\\cot x", "\\frac{\\cos x}{\\sin x}"),
    ("\\binom{2n}{n}", "\\frac{(2n)!}{(n!)^2}"),
    ("2^{k-n}", "\\frac{2^k}{2^n}"),
    ("\\frac{3}{2} + \\frac{3}{2} i", "\\frac{3+3i}{2}"),
    # intervals, sets, lists
    ("[0,1)", "\\left[ 0, 1 \\right)"),
    ("(-\\infty,2]\\cup[3,\\infty)", "[3,\\infty) \\cup (-\\infty, 2]"),
    ("x \\in [-2,7]", "-2 \\le x \\le 7"),
    ("\\{1,2,3\\}", "\\{3,1,2\\}"),
    ("1,-2", "-2 \\text{ and } 1"),
    ("3 \\pm 2 \\sqrt{2}", "3+2\\sqrt{2}, 3-2\\sqrt{2}"),
    # matrices
    ("\\begin{pmatrix} 1 & 2 \\\\ 3 & 4 \\end{pmatrix}", "\\begin{bmatrix}1&2\\\\3&4\\end{bmatrix}"),
    ("\\begin{pmatrix} 1/2 \\\\ 3 \\end{pmatrix}", "\\begin{pmatrix} 0.5 \\\\ 3 \\end{pmatrix}"),
    # equations and what they say of a variable
    ("x=5", "5"),
    ("y = 2x", "2x"),
    ("5x - 7y + 4 = 0", "5x - 7y = -4"),
    # words, units, degrees, money, percent
    ("\\text{(C)}", "C"),
    ("864 \\mbox{ inches}^2", "864"),
    ("\\frac{270}7\\text{ degrees}", "\\frac{270}{7}"),
    ("90^\\circ", "90°"),
    ("\\$18.90", "18.9"),
    ("10,\\!080", "10080"),
    ("62.5\\%", "0.625"),
    ("1\\frac{4}{5}", "\\frac{9}{5}"),
    ("\\frac{\\pi}{2}", "π/2"),
]
UNEQUAL = [
    ("\\frac{1}{2}", "\\frac{1}{3}"),
    ("x+1", "y+1"),
    ("2^{k-n}", "2^{k+n}"),
    ("6+9i", "6-9i"),
    ("[0,1)", "[0,1]"),
    ("\\{1,2\\}", "\\{1,2,3\\}"),
    ("1,-2", "1"),
    ("(1,2)", "(2,1)"),
    ("3 \\pm 2 \\sqrt{2}", "3+2\\sqrt{2}"),
    ("\\begin{pmatrix} 1 \\\\ 2 \\end{pmatrix}", "\\begin{pmatrix} 2 \\\\ 1 \\end{pmatrix}"),
    ("y=2x", "y=3x"),
    ("\\text{east}", "west"),
    ("\\pi", "3.14"),
    ("\\sqrt2", "1.41"),
    ("0", "\\frac{1}{0}"),
]


@needs_math_verify
@pytest.mark.parametrize(("gold", "given"), EQUAL)
def test_equal_formulas_are_equal_in_any_spelling(gold: str, given: str, algebra: Algebra) -> None:
    assert same_formula(gold, given, algebra)


@needs_math_verify
@pytest.mark.parametrize(("gold", "given"), UNEQUAL)
def test_other_formulas_are_not(gold: str, given: str, algebra: Algebra) -> None:
    assert not same_formula(gold, given, algebra)


@needs_math_verify
def test_junk_is_no_formula() -> None:
    with Algebra(2.0) as impatient:
        for junk in ("}" * 1900, "\\boxed{" * 100, "{" * 300, "\ud800", "\x01\n\n", "$$$"):
            assert not impatient("\\frac{\\pi}{7}", junk)


@needs_math_verify
def test_a_formula_without_end_is_wrong_and_the_next_is_graded_anew() -> None:
    with Algebra(1.0) as impatient:
        assert not impatient("\\frac{\\pi}{7}", "9^{9^{9^{9}}}")
    with Algebra(20.0) as patient:
        assert not patient("\\frac{\\pi}{7}", "10^{10^{10}}!")
        assert patient("x+1", "1+x")


@needs_math_verify
def test_one_algebra_serves_many_threads(algebra: Algebra) -> None:
    verdicts: dict[int, bool] = {}

    def ask(number: int) -> None:
        verdicts[number] = algebra(f"x+{number}", f"{number}+x" if number % 2 else f"{number}-x")

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert verdicts == {number: number % 2 == 1 for number in range(1, 9)}


@needs_math_verify
def test_a_one_off_grade_compares_formulas_too() -> None:
    assert grade(formula("(x+1)^2"), "Answer: $x^2+2x+1$")


CHILD = """
import json, sys, time
print(json.dumps({"ready": True}), flush=True)
for line in sys.stdin:
    given = json.loads(line)["given"]
    if given == "die":
        sys.exit(3)
    if given == "hang":
        time.sleep(600)
    print("no JSON" if given == "babble" else json.dumps({"equal": given == "same"}), flush=True)
"""


def child(source: str) -> list[str]:
    return [sys.executable, "-c", source]


@pytest.mark.parametrize("end", ["die", "hang", "babble"])
def test_a_child_that_does_not_answer_has_shown_nothing_and_is_replaced(end: str) -> None:
    with Algebra(30.0 if end != "hang" else 0.5, command=child(CHILD)) as algebra:
        assert not algebra("gold", end)
    with Algebra(30.0, command=child(CHILD)) as algebra:
        assert algebra("gold", "same")
        assert not algebra("gold", "die")
        assert algebra("gold", "same")
        assert not algebra("gold", "other")


def test_closed_it_starts_again_when_asked_again() -> None:
    algebra = Algebra(30.0, command=child(CHILD))
    assert algebra("gold", "same")
    algebra.close()
    algebra.close()
    assert algebra("gold", "same")
    algebra.close()


@pytest.mark.parametrize("source", ["", 'print(\'{"error": "no sympy"}\')', "print('hello')"])
def test_a_child_that_cannot_start_is_an_error_that_says_why(source: str) -> None:
    with (
        Algebra(command=child(source)) as algebra,
        pytest.raises(AvengersError, match="cannot be started: (it said nothing|no sympy)"),
    ):
        algebra("gold", "given")


def test_without_math_verify_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with Grader() as grader:
        assert grader.grade(formula("\\frac12"), "Answer: 0.5")
        with pytest.raises(MissingExtra, match="calibrate"):
            grader.grade(formula("x+1"), "Answer: $1+x$")


@pytest.mark.parametrize("seconds", [0, -1, float("nan")])
def test_a_comparison_needs_time(seconds: float) -> None:
    with pytest.raises(BadRequest, match="more than 0"):
        Algebra(seconds)
