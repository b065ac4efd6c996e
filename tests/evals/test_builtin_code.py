"""Laws of the built-in programming tasks: references pass, the nearly right fails, traces are what Python prints."""

from __future__ import annotations

import ast
import contextlib
import io
import re
from collections.abc import Callable

import pytest
from builtin_sets import only, questions_of

from avengers_edge.calibration.questions import CodeTests, Question
from avengers_edge.voting.kinds import infer_kind
from avengers_edge.voting.source import code_in


def code_tests(item: Question) -> CodeTests:
    assert item.tests is not None
    return item.tests


def passes(item: Question, candidate: str) -> bool:
    """Run the tests as the harness would; the code is our own, so it may run here."""
    try:
        exec(f"{code_tests(item).setup}\n{candidate}\n{code_tests(item).test}", {})
    except Exception:
        return False
    return True


def asserts_of(item: Question) -> list[str]:
    return code_tests(item).test.splitlines()


def test_there_are_thirty_functions_and_more() -> None:
    assert len({code_tests(item).entry_point for item in questions_of("programs")}) >= 30


def test_the_reference_passes_its_tests_and_is_read_as_code_from_a_reply() -> None:
    for item in questions_of("programs"):
        assert (item.answer, item.answer_type) == (None, "code")
        assert infer_kind(item.question) == "code", item
        code = code_in(f"Here it is.\n\n```python\n{code_tests(item).reference}```\n")
        assert code is not None
        assert passes(item, code), item


def test_two_calls_are_shown_and_at_least_five_more_are_hidden() -> None:
    for item in questions_of("programs"):
        asserts = asserts_of(item)
        assert asserts[:2] == re.findall(r"^assert .+$", item.question, re.MULTILINE)
        assert len(asserts) == len(set(asserts)) >= 7, item
        assert f"`{code_tests(item).entry_point}(" in item.question
        assert not any("$" in part for part in (item.question, code_tests(item).reference))


def test_no_task_is_solved_by_a_constant_or_by_an_argument() -> None:
    for item in questions_of("programs"):
        results = {test.rpartition(" == ")[2] for test in asserts_of(item)}
        assert len(results) > 1
        for result in (*results, "args[0]", "args[-1]"):
            assert not passes(item, f"def {code_tests(item).entry_point}(*args):\n    return {result}"), item


def test_arguments_are_left_as_they_were() -> None:
    """A reference that changed its arguments would make tests that depend on it."""
    for item in questions_of("programs"):
        space: dict[str, Callable[..., object]] = {}
        exec(code_tests(item).reference, space)
        for test in asserts_of(item):
            written = only(re.findall(r"^assert \w+\((.*)\) == ", test))
            arguments = ast.literal_eval(f"({written},)")
            space[code_tests(item).entry_point](*arguments)
            assert repr(arguments) == repr(ast.literal_eval(f"({written},)")), item


NEARLY = {
    "is_prime": "def is_prime(n):\n    return n % 2 == 1 or n == 2",
    "is_balanced": "def is_balanced(text):\n    return text.count('(') == text.count(')')",
    "run_lengths": "def run_lengths(t):\n    return ''.join(c + str(t.count(c)) for c in dict.fromkeys(t))",
    "to_roman": "def to_roman(n):\n    return 'C' * (n // 100) + 'X' * (n // 10 % 10) + 'I' * (n % 10)",
    "has_pair": "def has_pair(v, t):\n    return any(t - x in v for x in v)",
    "change": "def change(amount):\n    return amount",
}


@pytest.mark.parametrize("name", NEARLY)
def test_what_is_nearly_right_fails(name: str) -> None:
    items = [item for item in questions_of("programs") if code_tests(item).entry_point == name]
    assert items
    assert not any(passes(item, NEARLY[name]) for item in items)


def test_traced_programs_print_the_answer() -> None:
    for item in questions_of("tracing"):
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(only(re.findall(r"```python\n(.*?)\n```", item.question, re.DOTALL)), {})
        assert printed.getvalue() == f"{item.answer}\n", item
