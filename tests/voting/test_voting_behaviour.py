"""Code is compared by what it does: examples are read from the question, varied, and run by whoever judges."""

from __future__ import annotations

import ast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avengers_edge.errors import BadRequest, NoSandbox
from avengers_edge.voting.code_votes import CodeExecution, behaviour_key, examples_in, failures, varied
from avengers_edge.voting.source import code_key

DOUBLE = "Write a function that doubles.\nassert double(2) == 4\nassert double('a') == 'aa'"
RIGHT, ALSO_RIGHT = "def double(x): return 2 * x", "def double(y):\n    return y + y"
WRONG = "def double(x): return x ** 2 if x == 2 else 0"


class TrustingJudge:
    """Runs programs in this very process: they are the test's own."""

    def __init__(self, *, works=True):
        self.works, self.ran = works, []

    def prepare(self):
        if not self.works:
            raise NoSandbox("no sandbox here: install bubblewrap")

    def results(self, source, calls):
        self.ran.append(source)
        names = {}
        try:
            exec(source, names)
        except Exception:
            return None
        return [self._result(call, names) for call in calls]

    def passes(self, source, tests):
        try:
            exec(f"{source}\n{tests}", {})
        except Exception:
            return False
        return True

    @staticmethod
    def _result(call, names):
        try:
            return repr(eval(call, names))
        except Exception as error:
            return f"raises {type(error).__name__}"


# --- examples ---


@pytest.mark.parametrize(
    ("question", "entry", "calls", "checks"),
    [
        (DOUBLE, "double", ["double(2)", "double('a')"], ["double(2) == 4", "double('a') == 'aa'"]),
        ("```python\n  assert f([1,\n    2]) == [\n 3]\n```", "f", ["f([1, 2])"], ["f([1, 2]) == [3]"]),
        ("assert set(f(1)) == {1}\nassert f(2), 'message'", "f", ["f(1)", "f(2)"], ["set(f(1)) == {1}", "f(2)"]),
        ("assert abs(f(2) - 1.4) < 0.1", "f", ["f(2)"], ["abs(f(2) - 1.4) < 0.1"]),
        ("assert all(f(x) for x in (1, 2))", "f", ["f(x)"], ["all((f(x) for x in (1, 2)))"]),
        ('def f(x):\n    """Adds.\n    >>> f(1)\n    2\n    >>> f(2)\n    """', "f", ["f(1)", "f(2)"], ["f(1) == 2"]),
        ("def f(x):\n  >>> f(3.5)\n  0.5\n", "f", ["f(3.5)"], ["abs(f(3.5) - 0.5) < 1e-06"]),
        ("def g(): pass\ndef f(x):\n  '''f('a b') -> ['a', 'b']'''", "f", ["f('a b')"], []),
        ("def f(x):\n    f('a b') -> ['a', 'b']\n    ", "f", ["f('a b')"], ["f('a b') == ['a', 'b']"]),
        ("Write a function called `f`. f(1) returns 2 and f(2) should return 3.", "f", ["f(1)", "f(2)"],
         ["f(1) == 2", "f(2) == 3"]),
        ("the function f(x): `f([1, 2])` is `True`, f(0) == False.", "f", ["f([1, 2])", "f(0)"],
         ["f([1, 2]) == True", "f(0) == False"]),
        ("def f(s, n):\n    f('5 apples', 19) -> 19 - 5 - 6 = 8\n", "f", ["f('5 apples', 19)"], []),
        ("def f(x):\n    f(n) => n + 1, f(2) => 3\n", "f", ["f(2)"], ["f(2) == 3"]),
        ("def f(x):\n    f(')') # => None\n    f('(') == 1", "f", ["f(')')", "f('(')"], ["f('(') == 1"]),
    ],
)  # fmt: skip
def test_examples_are_read_where_they_are_clear(question, entry, calls, checks):
    found = examples_in(question)
    assert found is not None
    assert (found.entry, list(found.calls), list(found.checks)) == (entry, calls, checks)


@pytest.mark.parametrize(
    "question",
    [
        "Write a program that prints primes.",
        "Write a function f.",
        "def f(x):\n    '''Adds one.'''",
        "assert other.method(1) == 2",
        "assert f(helper(1)) == 2 and g(f(1))",
        "def f(x):\n  >>> g(1)\n  2",
        "",
    ],
)
def test_a_question_without_a_clear_call_has_no_examples(question):
    found = examples_in(question)
    assert found is None or found.calls == ()


@given(st.text(alphabet="assert f(1)=>'\"\n[]{},def:`#.", max_size=200))
def test_whatever_is_asked_examples_are_python(text):
    found = examples_in(text)
    if found is not None:
        for expression in (*found.calls, *found.checks, *varied(found.calls, 20)):
            ast.parse(expression, mode="eval")


# --- variations ---


def test_each_argument_is_varied_by_its_kind():
    assert varied(["f(3)"], 10) == ("f(4)", "f(2)", "f(0)", "f(-3)")
    assert varied(["f('ab')"], 10) == ("f('')", "f('ba')", "f('abab')", "f('a')")
    assert varied(["f([1, 2])"], 10) == ("f([])", "f([2, 1])", "f([1, 2, 1, 2])", "f([1])", "f([2, 3])")
    assert varied(["f([('a', 1), [2], None])"], 10)[4] == "f([('a', 1, 'a', 1), [2, 2], None])"
    assert varied(["f(x={1: 2}, y=True)"], 10) == ("f(x={}, y=True)", "f(x={1: 2}, y=False)")
    assert varied(["f(None)", "f(name)", "f(*[1])", "not a call"], 10) == ()


def test_calls_take_turns_and_nothing_comes_twice():
    assert varied(["f(1)", "f(2)"], 4) == ("f(3)", "f(0)", "f(-1)", "f(-2)")
    assert varied(["f(1, 'a')"], 3) == ("f(2, 'a')", "f(1, '')", "f(0, 'a')")


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner),
    max_leaves=6,
)


@given(st.lists(_VALUES, max_size=3), st.integers(0, 30))
def test_variations_are_other_calls_of_the_same_function(values, most):
    call = ast.unparse(ast.parse(f"f({', '.join(map(repr, values))})"))
    others = varied([call], most)
    assert len(others) == len(set(others)) <= most
    assert call not in others
    for other in others:
        node = ast.parse(other, mode="eval").body
        assert isinstance(node, ast.Call)
        assert len(node.args) == len(values)
    assert others == varied([call], most)


# --- keys ---


def key_of(source, question=DOUBLE, tests=None):
    return behaviour_key(source, examples_in(question), TrustingJudge(), tests)


def test_programs_that_do_the_same_have_the_same_key():
    assert key_of(RIGHT) == key_of(ALSO_RIGHT)
    assert failures(key_of(RIGHT)) == 0
    assert len(key_of(RIGHT)) == 16


def test_a_key_says_how_many_examples_do_not_hold():
    assert key_of(WRONG).startswith("fails-1-of-2-")
    assert failures(key_of(WRONG)) == 1
    assert failures(key_of("def double(x): pass")) == 2


def test_programs_that_differ_only_near_the_examples_have_different_keys():
    one = "def double(x): return 2 * x if x else None"
    assert failures(one_key := key_of(one)) == 0
    assert one_key != key_of(RIGHT)


@pytest.mark.parametrize("source", ["def double(", "raise ValueError", "def other(x): return 2 * x"])
def test_what_does_not_run_or_is_another_function_votes_for_nothing(source):
    assert key_of(source) is None
    assert key_of(source, tests="assert double(2) == 4") is None


def test_the_users_tests_decide_instead_of_the_questions_examples():
    squares = "def double(x): return x * x"
    assert failures(key_of(squares, tests="assert double(3) == 9")) == 0
    assert key_of(RIGHT, tests="assert double(3) == 9").startswith("fails-tests-")


def test_tests_without_examples_leave_the_text_as_the_key():
    assert behaviour_key(RIGHT, None, TrustingJudge(), "assert True") == code_key(RIGHT)
    assert behaviour_key(RIGHT, None, TrustingJudge(), "assert 0") == f"fails-tests-{code_key(RIGHT)}"


def test_calls_without_an_end_are_a_behaviour_but_not_all_of_them():
    class Endless(TrustingJudge):
        def __init__(self, ends):
            self.ends = ends

        def results(self, source, calls):
            return ["1" if self.ends else None, *[None] * (len(calls) - 1)]

    examples = examples_in("def f(x):\n  f(1)")
    assert behaviour_key(RIGHT, examples, Endless(ends=False)) is None
    assert behaviour_key(RIGHT, examples, Endless(ends=True)) is not None


# --- which programs are run ---


def test_a_program_that_is_there_twice_is_run_once():
    judge = TrustingJudge()
    keys = CodeExecution(DOUBLE, None, judge).keys([RIGHT, None, RIGHT, ALSO_RIGHT])
    assert keys[0] == keys[2] == keys[3] is not None
    assert keys[1] is None
    assert sorted(judge.ran) == sorted([RIGHT, ALSO_RIGHT])


@pytest.mark.parametrize(
    ("question", "judge", "why"),
    [
        ("Write a program that prints primes.", TrustingJudge(), "no example to run them on"),
        (DOUBLE, TrustingJudge(works=False), "no sandbox here: install bubblewrap"),
        (DOUBLE, None, "nothing to run code in"),
    ],
)
def test_code_that_cannot_be_run_is_compared_by_its_text_and_that_is_said(question, judge, why):
    execution = CodeExecution(question, None, judge)
    assert not execution.enabled
    assert why in execution.fallback
    assert execution.keys([RIGHT, None]) == [code_key(RIGHT), None]


def test_a_sandbox_that_is_lost_is_a_fallback_too():
    class Lost(TrustingJudge):
        def results(self, source, calls):
            raise NoSandbox("gone: look for it")

    execution = CodeExecution(DOUBLE, None, Lost())
    assert execution.enabled
    assert execution.keys([RIGHT]) == [code_key(RIGHT)]
    assert execution.fallback == "samples of code were compared by their text: gone: look for it"
    with pytest.raises(NoSandbox):
        CodeExecution(DOUBLE, "assert 1", Lost()).keys([RIGHT])


@pytest.mark.parametrize("judge", [TrustingJudge(works=False), None])
def test_tests_need_a_sandbox(judge):
    with pytest.raises(NoSandbox):
        CodeExecution(DOUBLE, "assert double(1) == 2", judge)


@pytest.mark.parametrize("tests", ["assert (", "assert 1\n  assert", "\0"])
def test_tests_that_are_no_python_are_refused(tests):
    with pytest.raises(BadRequest, match=r"the tests are no Python.*write asserts"):
        CodeExecution(DOUBLE, tests, TrustingJudge())
