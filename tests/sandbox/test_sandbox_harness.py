"""A candidate passes only if its tests ran to their end; and what a program's functions give can be compared."""

from __future__ import annotations

import pytest

from avengers_edge.errors import NoSandbox
from avengers_edge.sandbox.execution import Limits
from avengers_edge.sandbox.inside.canonical import canonical
from avengers_edge.sandbox.linux import Sandbox, passes

pytestmark = pytest.mark.rights

RIGHT = "def double(x):\n    return 2 * x\n"
TEST = "assert double(2) == 4\nassert double('a') == 'aa'\n"
CHECK = "def check(candidate):\n    assert candidate(2) == 4\n"


@pytest.fixture(scope="module")
def sandbox():
    try:
        return Sandbox.find()
    except NoSandbox as error:
        pytest.skip(str(error))


def test_the_right_code_passes(sandbox):
    assert passes(sandbox, RIGHT, test=TEST).passed
    assert passes(sandbox, "from __future__ import annotations\n" + RIGHT, setup="import math", test=TEST).passed
    assert passes(sandbox, "def double(x): return twice(x)", setup="def twice(x): return 2 * x", test=TEST).passed


@pytest.mark.parametrize(
    "cheat",
    [
        "",
        "def double(x): return x",
        "import sys\nsys.exit(0)",
        "raise SystemExit",
        "import os\nos._exit(0)",
        "def double(x):\n    import os; os._exit(0)",
        "def double(x): raise SystemExit(0)",
        "import builtins\nbuiltins.AssertionError = SystemExit\ndef double(x): return x",
        "import builtins\nbuiltins.compile = lambda *a, **k: 'pass'\ndef double(x): return x",
        "import builtins\nbuiltins.exec = lambda *a: None\ndef double(x): return x",
        "import os\nos.read = os.write = lambda *a: b''\ndef double(x): return x",
        "import os\n[os.close(fd) for fd in range(3, 20) if not os.system]\ndef double(x): return x",
        "import threading, os\nthreading.Timer(0.1, os._exit, [0]).start()\nwhile 1: 0",
        "import atexit, os\natexit.register(os._exit, 0)\ndef double(x): return x",
        "import sys\nsys.excepthook = lambda *a: sys.exit(0)\ndef double(x): return x",
        "double = '''",
        RIGHT + "\0",
        "while True: pass",
    ],
)
def test_what_leaves_before_the_tests_are_over_does_not_pass(sandbox, cheat):
    execution = passes(sandbox, cheat, test=TEST, limits=Limits(wall_seconds=3, cpu_seconds=3))
    assert not execution.passed
    assert execution.outcome in ("failed", "timeout", "killed")


def test_code_that_changes_pythons_builtins_does_not_pass(sandbox):
    changed = "import builtins\nbuiltins.abs = lambda x: 0\ndef near(x): return 9"
    assert not passes(sandbox, changed, test="assert abs(near(1) - 1) < 0.1").passed


def test_what_is_done_only_as_the_main_program_is_no_part_of_the_test(sandbox):
    assert passes(sandbox, RIGHT + "if __name__ == '__main__':\n    print(double(int(input())))", test=TEST).passed


@pytest.mark.parametrize("test", [CHECK, CHECK + "\ncheck(double)\n"])
def test_a_check_is_called_once_whoever_calls_it(sandbox, test):
    assert passes(sandbox, RIGHT, test=test, entry_point="double").passed
    assert not passes(sandbox, "def double(x): return x", test=test, entry_point="double").passed


def test_calls_are_compared_by_what_they_give(sandbox):
    calls = ["double(2)", "double([1])", "double(None)", "missing()", "1 +", "double({1})", "forever()"]
    program = RIGHT + "def forever():\n    while True: pass\n"
    assert sandbox.results(program, calls, call_seconds=0.2) == (
        "4",
        "[1, 1]",
        "raises TypeError",
        "raises NameError",
        "raises SyntaxError",
        "raises TypeError",
        None,
    )


def test_a_program_that_does_not_run_has_no_results(sandbox):
    assert sandbox.results("1 +", ["1"]) is None
    assert sandbox.results("raise ValueError", ["1"]) is None
    assert sandbox.results("import os; os._exit(0)", ["1"]) == (None,)


def test_calls_after_one_that_ends_the_process_have_no_result(sandbox):
    program = "import os\ndef leave(): os._exit(3)"
    assert sandbox.results(program, ["1", "leave()", "2"]) == ("1", None, None)


def test_what_a_program_prints_is_not_its_result(sandbox):
    assert sandbox.results("def f():\n    print('[0, \"2\"]')\n    return 1", ["f()"]) == ("1",)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (3.0, 3), (0.1 + 0.2, 0.3), ({3, 1, 2}, {2, 3, 1}), ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        (frozenset({1}), {1}), ((x for x in [1, 2]), map(int, [1, 2])), (object(), object()),
        (float("nan"), float("nan")), ([{"x": 1.0}], [{"x": 1}]),
    ],
)  # fmt: skip
def test_equal_values_are_written_alike(left, right):
    assert canonical(left) == canonical(right)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (1, True),
        ("1", 1),
        ([1], (1,)),
        ({}, set()),
        (None, "None"),
        (0.5, 0.25),
        ([1, 2], [2, 1]),
        (float("inf"), 10**400),
    ],
)
def test_different_values_are_written_differently(left, right):
    assert canonical(left) != canonical(right)


def test_a_value_that_contains_itself_can_be_written():
    loop = []
    loop.append(loop)
    assert canonical(loop).startswith("[[")


def test_a_program_is_compiled_without_our_own_future(sandbox):
    assert sandbox.run_python("def f(x: int): pass\nassert f.__annotations__ == {'x': int}").passed
