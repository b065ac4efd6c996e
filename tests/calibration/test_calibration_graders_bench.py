"""Laws of the benchmarks' own rules: BIG-Bench Hard and Extra Hard, KOR-Bench, SuperGPQA."""

from __future__ import annotations

from types import MappingProxyType

import pytest

from avengers_edge.calibration.graders import Grader
from avengers_edge.calibration.questions import Question
from avengers_edge.records import Kind

OPTIONS = ("a red hat", "a blue hat", "a hat")


def asked(
    answer: str, kind: Kind = "text", *, dataset: str, choices: tuple[str, ...] | None = None, **meta: str
) -> Question:
    return Question("q", dataset, "own", "Which?", choices, answer, kind, "test", meta=MappingProxyType(meta))


def same_without_spaces(gold: str, given: str) -> bool:
    """An algebra that a reader can do: spaces do not count, and `a+b` is `b+a`."""
    return sorted(gold.replace(" ", "")) == sorted(given.replace(" ", ""))


def right(question: Question, text: str, *, truncated: bool = False) -> bool:
    with Grader(equal=same_without_spaces) as grader:
        return grader.grade(question, text, truncated=truncated)


SORTED = asked("ant bee cow", dataset="bbh", task="word_sorting")
SORTINGS = [
    ("Answer: ant bee cow", True),
    ("Answer: Ant, Bee, Cow.", True),
    ("\\boxed{\\text{ant bee cow}}", True),
    ("Sorted:\n1. ant\n2. bee\n3. cow", True),
    ("Answer:\n- ant\n- bee\n- cow\n", True),
    ("ant bee cow", True),
    ("Answer: ant cow bee", False),
    ("Answer: ant bee", False),
    ("Answer: ant bee cow dog", False),
    ("So we have ant bee cow", False),
    ("", False),
]


@pytest.mark.parametrize(("text", "is_right"), SORTINGS)
def test_sorted_words_count_in_their_order_whatever_stands_between(text: str, is_right: bool) -> None:
    assert right(SORTED, text) is is_right


CLOSED = asked("] } )", dataset="bbh", task="dyck_languages")
CLOSINGS = [
    ("Answer: ] } )", True),
    ("Answer: ]})", True),
    ("So the answer is ] } ).", True),
    ("The stack is [ { (.\n\n**Answer:** `] } )`", True),
    ("Answer:\n] } )", True),
    ("] } )", True),
    ("$\\boxed{] \\} )}$", True),
    ("$$\\boxed{\\text{] } )}}$$", True),
    ("Answer: \\(] \\rbrace )\\)", True),
    ("It is [[ ] } ) ]].", True),
    ("Answer: ] )", False),
    ("Answer: ) } ]", False),
    ("Answer: ] } )\nNo.\nAnswer: ] }", False),
    ("", False),
]


@pytest.mark.parametrize(("text", "is_right"), CLOSINGS)
def test_closing_brackets_count_and_nothing_between_them(text: str, is_right: bool) -> None:
    assert right(CLOSED, text) is is_right


def test_other_tasks_of_big_bench_go_by_their_type() -> None:
    assert right(asked("-3", "number", dataset="bbh", task="multistep_arithmetic_two"), "Answer: -3")
    assert right(asked("Yes", "label", dataset="bbh", choices=("Yes", "No")), "Answer: yes.")
    assert right(asked("left up", dataset="bbh", task="walks"), "Answer: Left up")


def kor(answer: str, task: str, rule: str = "1", idx: str = "1", kind: Kind = "text") -> Question:
    return asked(answer, kind, dataset="korbench", task=task, rule_id=rule, idx=idx)


KOR = [
    # ciphers: every letter and sign, but for spaces and quotes
    (kor("A*B#*", "cipher"), "[[A*B#*]]", True),
    (kor("A*B#*", "cipher"), "**Answer:** A*B#*", True),
    (kor("A*B#*", "cipher"), '[["A* B#*"]]', True),
    (kor("A*B#*", "cipher"), "[[AB#]]", False),
    (kor("AB", "cipher"), "[[ab]]", False),
    (kor("AB", "cipher"), "[[CD]], no: [[AB]]. Written as [[]] asks.", True),
    (kor("AB", "cipher"), "<think>[[AB]]</think>[[CD]]", False),
    # logic: parts in order, brackets and periods aside
    (kor("[A];[B]", "logic", "8"), "[[A];[B]]", True),
    (kor("[A];[B]", "logic", "8"), "[[[A];[B]]]", True),
    (kor("[A];[B]", "logic", "8"), "[[B];[A]]", False),
    (kor("Some S are P.", "logic", "9"), "[[Some S are P]]", True),
    (kor("[I,O];[+,-];[-,+]", "logic", "5"), "[[I,O];[-,+];[+,-]]", True),
    (kor("[I,O];[+,-];[-,+]", "logic", "6"), "[[I,O];[-,+];[+,-]]", False),
    # operations: sets, matrices, bounds, several roots, formulas
    (kor("{1,2,3}", "operation", "18"), "[[{3, 1, 2}]]", True),
    (kor("{1,2,3}", "operation", "18"), "[[\\{3,1,2\\}]]", True),
    (kor("{1,2,3}", "operation", "18"), "[[{1,2}]]", False),
    (kor("((1,2),(3,4))", "operation", "23"), "[[((1, 2), (3, 4))]]", True),
    (kor("((1,2),(3,4))", "operation", "23"), "[[1,2],[3,4]]", True),
    (kor("((1,2),(3,4))", "operation", "23"), "[[((1,3),(2,4))]]", False),
    (kor("{x|x≤0 or x≥1}", "operation", "18", "178"), "[[{x|x≥1 or x≤0}]]", True),
    (kor("{x|x≤0 or x≥1}", "operation", "18", "178"), "[[x \\le 0 or x \\geq 1]]", True),
    (kor("{x|x≤0 or x≥1}", "operation", "18", "178"), "[[{x|x≤1 or x≥0}]]", False),
    (kor("3or4", "operation", "4", "36"), "[[4 or 3]]", True),
    (kor("3or4", "operation", "4", "36"), "[[3]]", False),
    (kor("5/2", "operation", "10", "92"), "[[\\frac{5}{2}]]", True),
    (kor("5/2", "operation", "10", "92"), "[[$5/2$]]", True),
    (kor("5/2", "operation", "10", "92"), "[[2.5]]", False),  # "Decimals are not allowed", says the question
    (kor("X≥6", "operation", "6", "57"), "[[X \\geq 6]]", True),
    (kor("7", "operation", "1", "3", "number"), "[[7]]", True),
    (kor("7", "operation", "1", "3", "number"), "[[8]]", False),
    (kor("x+e", "operation", "17", "170"), "[[e + x]]", True),
    (kor("x+e", "operation", "17", "171"), "[[e + x]]", False),
    (kor("b-aor-a-c", "operation", "2", "18"), "[[x = -c-a or b-a]]", True),
    (kor("b-aor-a-c", "operation", "2", "18"), "[[b-a or b-a]]", False),
    # puzzles, rule by rule
    (kor("sun set", "puzzle", "1"), "[[Sun Set]]", True),
    (kor("sun set", "puzzle", "1"), "[[set sun]]", False),
    (kor("pre,re", "puzzle", "2"), "[[re-]]", True),
    (kor("pre,re", "puzzle", "2"), "[[r]]", False),
    (kor("act cat", "puzzle", "3"), "[[cat, act]]", True),
    (kor("act cat", "puzzle", "3"), "[[cat]]", False),
    (kor("act cat", "puzzle", "4"), "[[Cat]]", True),
    (kor("act cat", "puzzle", "4"), "[[]] [[at]]", False),
    (kor("A=1,B=2", "puzzle", "5"), "[[B=2, A=1]]", True),
    (kor("A=1,B=2", "puzzle", "5"), "[[A=2,B=1]]", False),
    (kor("6+2*3-2=10", "puzzle", "9"), "[[6 + 2 × 3 − 2 = 10]]", True),  # noqa: RUF001
    (kor("6+2*3-2=10", "puzzle", "9"), "[[6-2*3+2=10]]", False),
    (kor("1-1=0", "puzzle", "9"), "[[2-1=0]]", False),
    (kor("1-1=0", "puzzle", "9"), "[[print(1)-1=0]]", False),
    (kor("(3+1)*3*2", "puzzle", "10"), "[[2 * 3 * (1 + 3)]]", True),
    (kor("(3+1)*3*2\n3*(1+3)*2", "puzzle", "10"), "[[(3+1) \\times 3 \\times 2 = 24]]", True),
    (kor("(3+1)*3*2", "puzzle", "10"), "[[3+1*3*2]]", False),
    (kor("(3+1)*3*2", "puzzle", "10"), "[[4*6]]", False),
    (kor("8/(3-8/3)", "puzzle", "10"), "[[8/(3-8/3)]]", True),
    (kor("8/(3-8/3)", "puzzle", "10"), "[[8/(3-3)/8]]", False),
    (kor("→ 1,↓ 2", "puzzle", "18"), "[[→ 1\n↓ 2]]", True),
    (kor("→ 1,↓ 2", "puzzle", "18"), "[[↓ 1\n→ 2]]", False),
    (kor("A(1,5)\nB(2,2)", "puzzle", "19"), "[[A (1, 5)\nB (2, 2)]]", True),
    (kor("A(1,5)\nB(2,2)", "puzzle", "19"), "[[A(1,5)\nB(2,3)]]", False),
    # without the facts, spaces alone do not count
    (asked("X Y", dataset="korbench"), "[[XY]]", True),
]


def test_kor_bench_compares_as_each_of_its_rules_says() -> None:
    for question, text, is_right in KOR:
        assert right(question, text) is is_right


def test_a_counterfactual_choice_is_the_letter_in_double_brackets() -> None:
    question = asked("B", "choice", dataset="korbench", choices=OPTIONS, task="counterfactual")
    assert right(question, "Not [[A]] but [[B. a blue hat]]. Really, the answer is not A.")
    assert right(question, "Answer: B")
    assert not right(question, "Answer: B, or rather [[C]]")
    assert not right(question, "")


SUPER = asked("B", "choice", dataset="supergpqa", choices=("red hat", "blue hat", "hat"))
ANNOUNCEMENTS = [
    ("The answer is B.", True),
    ("The correct answer is (B)", True),
    ("Answer: $\\boxed{B}$.", True),
    ("**Answer: B**", True),
    ("(B).", True),
    ("The answer is A.\nAnswer: B", True),  # the last line first
    ("Answer: A\nI hope so; the answer is B.", True),
    ("The answer is A. The answer is B.", False),  # in one line, the first
    ("The answer is: blue hat", True),
    ("The answer is: hat", False),
    ("Answer: C", False),
    ("It may be any of them.", False),
    ("<think>The answer is B.</think>", False),
]


@pytest.mark.parametrize(("text", "is_right"), ANNOUNCEMENTS)
def test_supergpqa_reads_the_announcement_it_publishes(text: str, is_right: bool) -> None:
    assert right(SUPER, text) is is_right


EXTRA_HARD = [
    ("(A)", "The answer is: (a)", True),
    ("(A)", "The answer is: A", True),
    ("a", "The final answer is (A).", True),
    ("5", "The answer is 5.0", True),
    ("the dog's bone", "The answer is: The dogs bone", True),
    ("1, 2, 3", "The answer is: [1,2,3]", True),
    ("why", "The answer is Why?", True),
    ("unknown", "The answer is: $\\boxed{\\text{unknown}}$", True),
    ("unknown", "The answer is: **unknown**\nThat was hard.", True),
    ("unknown", "Answer: unknown", True),
    ("unknown", "The answer is known. No, the answer is unknown.", True),
    ("unknown", "The answer is unknown or known", False),
    ("(A)", "The answer is: (B)", False),
    ("5", "The answer is 5 apples", False),
    ("unknown", "", False),
]


@pytest.mark.parametrize(("gold", "text", "is_right"), EXTRA_HARD)
def test_big_bench_extra_hard_forgives_what_it_says_it_does(gold: str, text: str, is_right: bool) -> None:
    assert right(asked(gold, dataset="bbeh"), text) is is_right


def test_no_rule_takes_an_answer_that_was_cut_off() -> None:
    for question, text in [
        (SORTED, "ant bee cow"),
        (CLOSED, "] } )"),
        (SUPER, "The answer is B"),
        (asked("unknown", dataset="bbeh"), "The answer is: unknown"),
        (kor("AB", "cipher"), "Answer: AB"),
    ]:
        assert right(question, text)
        assert not right(question, text, truncated=True)


SIZE = 20_000
HOSTILE = [
    "[" * SIZE,
    "[[" * SIZE + "]]" * SIZE,
    "]" * SIZE,
    "\\boxed{" * SIZE,
    "{" * SIZE + "}" * SIZE,
    "\0" * SIZE,
    "[[\0]]",
    "Answer: \ud800",
    "Answer:" + " " * SIZE,
    "the answerx" + " " * SIZE,
    "Ann " * SIZE,
    "Ann, " * SIZE,
    "[[" + "(" * 5000 + "]]",
    "[[9**9**9**9=1]]",
    "[[" + "or" * 5000 + "]]",
    "<think>" * SIZE,
]
RULES = [
    *(
        SORTED,
        CLOSED,
        SUPER,
        asked("Ann is a knight, Bob is a knave", dataset="kandk"),
        asked("unknown", dataset="bbeh"),
    ),
    *(kor("1-1=0", "puzzle", rule) for rule in ("1", "2", "3", "4", "5", "9", "10", "18", "19")),
    *(
        kor("x+e", "operation", rule, idx)
        for rule, idx in (("17", "170"), ("18", "1"), ("18", "178"), ("23", "1"), ("1", "1"))
    ),
    *(kor("[A];[B]", "logic", rule) for rule in ("5", "6")),
]


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: repr(text[:12]))
def test_a_hostile_text_is_wrong_and_nothing_worse(text: str) -> None:
    for question in RULES:
        assert not right(question, text)
