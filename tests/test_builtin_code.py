"""Laws of the built-in programming tasks: references pass, the nearly right fails, traces are what Python prints."""

from __future__ import annotations

import ast
import contextlib
import io
import re
from collections.abc import Callable

import pytest
from builtin_sets import drafts_of, only, seeds
from hypothesis import given, settings

from avengers_edge.calibration.builtin.drafts import Draft
from avengers_edge.calibration.builtin.draw import Draw
from avengers_edge.calibration.builtin.programs import Program
from avengers_edge.calibration.builtin.programs_lists import LIST_PROGRAMS
from avengers_edge.calibration.builtin.programs_numbers import NUMBER_PROGRAMS
from avengers_edge.calibration.builtin.programs_texts import TEXT_PROGRAMS
from avengers_edge.voting.kinds import infer_kind
from avengers_edge.voting.source import code_in

PROGRAMS = (*LIST_PROGRAMS, *TEXT_PROGRAMS, *NUMBER_PROGRAMS)
every_program = pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.call)


def passes(draft: Draft, candidate: str) -> bool:
    """Run the tests as the harness would; the code is our own, so it may run here."""
    assert draft.tests is not None
    try:
        exec(f"{draft.tests.setup}\n{candidate}\n{draft.tests.test}", {})
    except Exception:
        return False
    return True


def asserts_of(draft: Draft) -> list[str]:
    assert draft.tests is not None
    return draft.tests.test.splitlines()


def test_there_are_thirty_tasks_and_more_with_names_of_their_own() -> None:
    assert len({program.call for program in PROGRAMS}) == len(PROGRAMS) >= 30


@every_program
@settings(max_examples=6)
@given(seed=seeds)
def test_the_reference_passes_its_tests(program: Program, seed: int) -> None:
    draft = program(Draw(str(seed)))
    assert draft.tests is not None
    assert draft.answer is None
    assert draft.kind == "code"
    assert passes(draft, draft.tests.reference)
    assert len(draft.tests.reference) > len(f"def {program.call}:\n")


@every_program
def test_two_calls_are_shown_and_at_least_five_more_are_hidden(program: Program) -> None:
    draft = program(Draw("shown"))
    shown = re.findall(r"^assert .+$", draft.question, re.MULTILINE)
    assert asserts_of(draft)[:2] == shown
    assert len(asserts_of(draft)) == len(set(asserts_of(draft))) >= 7
    assert draft.tests is not None
    assert f"`{draft.tests.entry_point}(" in draft.question
    assert not any("$" in part for part in (draft.question, draft.tests.reference))


@every_program
def test_no_task_is_solved_by_a_constant_or_by_an_argument(program: Program) -> None:
    draft = program(Draw("constant"))
    assert draft.tests is not None
    name = draft.tests.entry_point
    results = {test.rpartition(" == ")[2] for test in asserts_of(draft)}
    assert len(results) > 1
    for result in (*results, "args[0]", "args[-1]"):
        assert not passes(draft, f"def {name}(*args):\n    return {result}")


@every_program
def test_arguments_are_left_as_they_were(program: Program) -> None:
    """A reference that changed its arguments would make tests that depend on it."""
    draft = program(Draw("kept"))
    assert draft.tests is not None
    space: dict[str, Callable[..., object]] = {}
    exec(draft.tests.reference, space)
    for test in asserts_of(draft):
        written = only(re.findall(r"^assert \w+\((.*)\) == ", test))
        arguments = ast.literal_eval(f"({written},)")
        space[draft.tests.entry_point](*arguments)
        assert repr(arguments) == repr(ast.literal_eval(f"({written},)"))


@settings(max_examples=5)
@given(seed=seeds)
def test_a_reply_with_the_reference_in_a_fence_is_read_as_code(seed: int) -> None:
    for draft in drafts_of("programs", seed, 8):
        assert draft.tests is not None
        reply = f"Here it is.\n\n```python\n{draft.tests.reference}```\n"
        code = code_in(reply)
        assert code is not None
        assert passes(draft, code)
        assert infer_kind(draft.question) == "code"


NEARLY = [
    ("is_prime(n)", "def is_prime(n):\n    return n % 2 == 1 or n == 2"),
    ("is_balanced(text)", "def is_balanced(text):\n    return text.count('(') == text.count(')')"),
    ("run_lengths(text)", "def run_lengths(t):\n    return ''.join(c + str(t.count(c)) for c in dict.fromkeys(t))"),
    ("to_roman(n)", "def to_roman(n):\n    return 'C' * (n // 100) + 'X' * (n // 10 % 10) + 'I' * (n % 10)"),
    ("has_pair(values, total)", "def has_pair(v, t):\n    return any(t - x in v for x in v)"),
    ("change(amount)", "def change(amount):\n    return amount"),
]


@pytest.mark.parametrize(("call", "wrong"), NEARLY, ids=[call for call, _ in NEARLY])
def test_what_is_nearly_right_fails(call: str, wrong: str) -> None:
    program = next(program for program in PROGRAMS if program.call == call)
    assert not passes(program(Draw("nearly")), wrong)


@settings(max_examples=15)
@given(seed=seeds)
def test_traced_programs_print_the_answer(seed: int) -> None:
    for draft in drafts_of("tracing", seed, 13):
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(only(re.findall(r"```python\n(.*?)\n```", draft.question, re.DOTALL)), {})
        assert printed.getvalue() == f"{draft.answer}\n", draft
