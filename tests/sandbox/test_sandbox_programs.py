"""What a model's program printed, or why that is of no use: the same laws for each interpreter."""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from avengers_edge.cli.doctor_command import check_programs
from avengers_edge.errors import AvengersError, MissingExtra, NoSandbox
from avengers_edge.records import CancelToken
from avengers_edge.sandbox import programs
from avengers_edge.sandbox.execution import MIB
from avengers_edge.sandbox.linux import Sandbox
from avengers_edge.sandbox.programs import CPython, Monty, ProgramRun, ProgramRunner

pytestmark = pytest.mark.rights

PATIENT = dataclasses.replace(programs.LIMITS, wall_seconds=60.0, cpu_seconds=60.0)
"""For programs that end by themselves, on machines that are busy."""
HASTY = dataclasses.replace(programs.LIMITS, wall_seconds=1.0, cpu_seconds=1.0)
SMALL = dataclasses.replace(PATIENT, memory_bytes=128 * MIB)
TOO_MUCH_OUTPUT = "printed more than 64 KiB"

WORDS = (
    "print(1)",
    "x",
    "(",
    ")",
    "'",
    "\n",
    "\r",
    "\0",
    "\ud800",
    "é",
    ":",
    "  ",
    "1/0",
    "import sys",
    "raise ",
    "\\",
    "#",
)


@pytest.fixture(scope="module", params=["cpython", "monty"])
def make(request):
    """Makes the interpreter, with other limits if need be."""
    try:
        if request.param == "cpython":
            sandbox = Sandbox.find()
            return lambda limits: CPython(sandbox, limits)
        Monty.find()
        return Monty
    except AvengersError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def interpreter(make):
    return make(PATIENT)


@pytest.fixture(autouse=True)
def no_process_is_left():
    before = children()
    yield
    until = time.monotonic() + 5
    while children() - before and time.monotonic() < until:
        time.sleep(0.01)
    assert not children() - before


def children():
    """The processes whose parent this one is, those that ended and were not waited for too; none where /proc is not."""
    found = set()
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            after_name = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(after_name[1]) == os.getpid():
            found.add(entry.name)
    return found


def failure(interpreter, source):
    """Run a program that has to fail, and give the reason."""
    run = interpreter.run(source)
    assert run.printed is None
    assert run.reason and len(run.reason) <= 160
    assert run.reason.isprintable()
    return run.reason


class TestEveryInterpreter:
    @pytest.mark.parametrize(
        ("source", "printed"),
        [
            ("print(6 * 7)", "42\n"),
            ("print(1, 2, sep='-', end='')", "1-2"),
            ("a = 1\r\nif a:\r\n    print(a)\r\n", "1\n"),
            ("print(float('nan'), float('inf'), -float('inf'))", "nan inf -inf\n"),
            ("for i in range(1000): print(i)", "".join(f"{i}\n" for i in range(1000))),
            ("print('é', '好', '\\x00', '\\U0001f600')", "é 好 \x00 \U0001f600\n"),
            ("if __name__ == '__main__':\n    print('main')", "main\n"),
            ("import math\nfrom collections import Counter\nprint(math.comb(5, 2), Counter('aab')['a'])", "10 2\n"),
            ("import sys\nprint('kept')\nprint('dropped', file=sys.stderr)", "kept\n"),
            ("x = '" + "y" * MIB + "'\nprint(len(x))", f"{MIB}\n"),
            ("try:\n    1 / 0\nexcept ZeroDivisionError:\n    print('caught')", "caught\n"),
            ("print('before')\nraise SystemExit", "before\n"),
        ],
    )
    def test_what_a_program_prints_is_given_as_it_is(self, interpreter, source, printed):
        run = interpreter.run(source)
        assert (run.printed, run.reason) == (printed, None)

    @pytest.mark.parametrize("source", ["", "x = 1", "# print(1)", "print()", "print(' \\t\\n')", "'not printed'"])
    def test_a_program_that_prints_nothing_has_failed(self, interpreter, source):
        assert failure(interpreter, source) == "printed nothing"

    @pytest.mark.parametrize(
        ("source", "reason"),
        [
            ("print(1)\nprint(nothing)", "NameError: name 'nothing' is not defined"),
            ("print(1)\nraise ValueError('bad')", "ValueError: bad"),
            ("print(1)\nassert 1 == 2", "AssertionError"),
            ("def f():\n    return 1 / 0\nprint(1)\nf()", "ZeroDivisionError: division by zero"),
            ("def f(n):\n    return f(n + 1)\nf(0)", "RecursionError: maximum recursion depth exceeded"),
            ("import there_is_none", "ModuleNotFoundError: No module named 'there_is_none'"),
            ("import numpy", "ModuleNotFoundError: No module named 'numpy'"),
        ],
    )
    def test_an_exception_is_the_reason_whatever_was_printed_before(self, interpreter, source, reason):
        assert failure(interpreter, source) == reason

    @pytest.mark.parametrize(
        "source",
        ["def f(", "print(1", "  print(1)", "Here is the program:", "print(1)\0print(2)", "x = '\ud800'", "(" * 9999,
         "#include <stdio.h>\nint main() { return 0; }", "console.log(1);\nlet a = 1;"],
    )  # fmt: skip
    def test_what_is_no_python_has_a_reason(self, interpreter, source):
        assert failure(interpreter, source)

    @pytest.mark.parametrize(
        "leave",
        ["import sys; sys.exit(3)", "import sys; sys.exit('no solution')", "raise SystemExit(3)",
         "import os; os._exit(1)", "import os; os.abort()", "import ctypes; ctypes.string_at(0)"],
    )  # fmt: skip
    def test_who_leaves_with_anything_but_0_has_failed_even_after_printing(self, interpreter, leave):
        assert failure(interpreter, f"print(1, flush=True)\n{leave}")

    @pytest.mark.parametrize(
        "source",
        ["while True: pass", "print(1, flush=True)\nwhile True: pass", "import time\nwhile True: time.sleep(0.01)",
         "print(max(range(10**12)))", "x = 3 ** 10**8\nprint(x % 10)"],
    )  # fmt: skip
    def test_a_program_without_an_end_is_ended(self, make, source):
        start = time.monotonic()
        assert failure(make(HASTY), source) == "no end within 1 s"
        assert time.monotonic() - start < 10

    @pytest.mark.parametrize(
        "source",
        ["x = 'x' * 10**10", "x = [0] * 10**9", "x = [1]\nwhile True: x += x", "x = 1 << 10**11",
         "x = []\nwhile True: x.append('a' * 10**6 + str(len(x)))"],
    )  # fmt: skip
    def test_memory_is_bounded(self, make, source):
        reasons = "more than 128 MiB of memory", "OverflowError: too many digits in integer"
        assert failure(make(SMALL), source) in reasons

    @pytest.mark.parametrize(
        "source",
        ["print('x' * 10**8)", "for i in range(10**5): print(i)",
         "import sys\nfor i in range(10**5): print(i, file=sys.stderr)"],
    )  # fmt: skip
    def test_output_is_bounded(self, interpreter, source):
        assert failure(interpreter, source) == TOO_MUCH_OUTPUT

    def test_output_without_an_end_is_ended(self, make):
        assert failure(make(HASTY), "while True: print('x' * 999)") in (TOO_MUCH_OUTPUT, "no end within 1 s")

    def test_as_much_as_the_bound_can_be_printed(self, interpreter):
        assert interpreter.run("print('x' * 65535)").printed == "x" * 65535 + "\n"
        assert failure(interpreter, "print('x' * 65536)") == TOO_MUCH_OUTPUT

    @pytest.mark.parametrize(
        "source",
        [
            "import os\nwhile True: os.fork()",
            "import subprocess\nprint(subprocess.run(['ls'], capture_output=True).stdout)",
            "import socket\nprint(socket.create_connection(('127.0.0.1', 9)))",
            "import urllib.request\nprint(urllib.request.urlopen('http://127.0.0.1:9').read())",
            "print(input())",
            "import sys\nprint(sys.stdin.readline().strip() or 1 / 0)",
            "print(open('/etc/passwd').read())",
            "import os\nprint(os.listdir(os.path.expanduser('~root')))",
            "import os\nprint(os.environ['PATH'])",
            "import threading, time\nthreading.Thread(target=time.sleep, args=(99,)).start()\nprint(1)",
            "import asyncio, sys\nprint(asyncio.run(asyncio.open_connection('127.0.0.1', 9)))",
            "eval('1 +')",
        ],
    )
    def test_what_reaches_out_of_the_program_fails(self, make, source):
        failure(make(HASTY), source)

    def test_no_file_of_this_machine_is_read_or_written(self, interpreter, tmp_path):
        (tmp_path / "secret").write_text("hunter2")
        tmp_path.chmod(0o777)
        path = str(tmp_path / "secret")
        run = interpreter.run(f"try:\n    print(open({path!r}).read())\nexcept OSError:\n    print('refused')")
        assert run.printed == "refused\n"
        interpreter.run(f"open({path!r}, 'w').write('x')")
        interpreter.run(f"import os\nos.remove({path!r})")
        assert (tmp_path / "secret").read_text() == "hunter2"

    def test_half_a_character_is_never_given(self, interpreter):
        run = interpreter.run("print('a\\ud800')")
        (run.printed or run.reason or "").encode()

    def test_a_reason_is_one_short_line(self, interpreter):
        assert failure(interpreter, "raise ValueError('a\\nb\\x1b[31m' + 'c' * 10**4)").startswith("ValueError: a")
        assert failure(interpreter, "raise ValueError('\\u2028' * 200 + '\\x07')")

    def test_one_program_leaves_nothing_to_the_next(self, interpreter):
        interpreter.run("import math\nmath.pi = 3\nleft = 1\nprint(left)")
        assert interpreter.run("import math\nprint(round(math.pi, 2))").printed == "3.14\n"
        assert failure(interpreter, "print(left)") == "NameError: name 'left' is not defined"

    def test_several_threads_run_programs_at_a_time(self, interpreter):
        with ThreadPoolExecutor(4) as pool:
            runs = list(pool.map(lambda number: interpreter.run(f"print({number})"), range(12)))
        assert [run.printed for run in runs] == [f"{number}\n" for number in range(12)]

    def test_no_file_and_no_thread_stays(self, interpreter):
        def open_files():
            return len(list(Path("/proc/self/fd").glob("*")))

        interpreter.run("print(1)")
        before = open_files(), threading.active_count()
        for source in ("print(1)", "1 / 0", "print('x' * 10**8)", "x = 'x' * 10**10", "def f("):
            interpreter.run(source)
        assert (open_files(), threading.active_count()) == before

    @settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.lists(st.sampled_from(WORDS), max_size=8).map("".join))
    def test_whatever_the_source_one_of_output_and_reason_is_there(self, interpreter, source):
        run = interpreter.run(source)
        assert (run.printed is None) is (run.reason is not None)
        assert run.printed is None or run.printed.strip()
        assert run.reason is None or (run.reason.isprintable() and 0 < len(run.reason) <= 160)


def test_sympy_can_be_imported_where_it_is_installed():
    if importlib.util.find_spec("sympy") is None:
        pytest.skip("SymPy is not installed")
    try:
        python = CPython(Sandbox.find(), PATIENT)
    except NoSandbox as error:
        pytest.skip(str(error))
    run = python.run("from sympy import symbols, solve\nx = symbols('x')\nprint(solve(x**2 - 4, x))")
    assert (run.printed, run.reason) == ("[-2, 2]\n", None)
    assert "with SymPy" in python.describe()


def test_a_program_has_5_seconds_and_512_mib_and_prints_64_kib():
    limits = programs.LIMITS
    assert (limits.wall_seconds, limits.cpu_seconds) == (5, 5)
    assert (limits.memory_bytes, limits.output_bytes) == (512 * MIB, 64 * 1024)


# --- which interpreter ---


class Fake:
    def __init__(self, name):
        self.name = name

    def describe(self):
        return f"fake {self.name}"

    def run(self, source, cancel=None):
        return ProgramRun(f"{self.name}: {source}", None)


def finder(name, tried, *, error=None):
    def find():
        tried.append(name)
        if error is not None:
            raise error
        return Fake(name)

    return find


def test_the_first_interpreter_that_is_there_is_found_once_and_runs_all_programs():
    tried = []
    missing = finder("first", tried, error=NoSandbox("none"))
    runner = ProgramRunner([missing, finder("second", tried), finder("third", tried)])
    assert tried == []
    with ThreadPoolExecutor(4) as pool:
        runs = list(pool.map(runner.run, "abc"))
    runner.prepare()
    assert [run.printed for run in runs] == ["second: a", "second: b", "second: c"]
    assert runner.describe() == "fake second"
    assert tried == ["first", "second"]


def test_without_an_interpreter_the_reasons_of_all_are_said_in_one_line_and_it_is_looked_for_again():
    tried, errors = [], [NoSandbox("no namespaces: allow them"), MissingExtra("monty", "sandbox", "running")]
    runner = ProgramRunner([finder(str(error), tried, error=error) for error in errors])
    for use in (runner.prepare, runner.describe, lambda: runner.run("print(1)")):
        with pytest.raises(NoSandbox, match=r"^[^\n]*no namespaces: allow them; or: running needs monty: run [^\n]*$"):
            use()
    assert len(tried) == 6


def test_where_the_package_is_missing_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pydantic_monty", None)
    with pytest.raises(MissingExtra, match=r"needs pydantic-monty: run .*\[sandbox\]'"):
        Monty.find()


@pytest.mark.parametrize("platform", ["darwin", "win32"])
def test_where_there_is_no_linux_sandbox_monty_runs_programs(monkeypatch, platform):
    pytest.importorskip("pydantic_monty")
    runner = ProgramRunner()
    monkeypatch.setattr("avengers_edge.sandbox.linux.sys.platform", platform)
    runner.prepare()
    monkeypatch.undo()
    assert runner.run("print(1)") == ProgramRun("1\n", None)
    assert runner.describe().startswith("Monty 1.")


def test_a_worker_that_cannot_be_started_or_dies_is_a_reason(monkeypatch):
    pytest.importorskip("pydantic_monty")
    monkeypatch.setenv("MONTY_BIN", "/there/is/none")
    assert "failed to spawn" in failure(Monty(), "print(1)")
    with pytest.raises(NoSandbox, match="install pydantic-monty again"):
        Monty.find()
    monkeypatch.setenv("MONTY_BIN", sys.executable)
    assert "crashed" in failure(Monty(), "print(1)")


def test_a_sandbox_that_fails_while_it_is_used_is_a_reason():
    class Broken(Sandbox):
        def run_python(self, source, **options):
            raise NoSandbox("namespaces did not start in 5 s: try again")

    python = CPython(Broken.__new__(Broken))
    assert failure(python, "print(1)") == "namespaces did not start in 5 s: try again"


@pytest.mark.parametrize(
    ("stderr", "reason"),
    [
        ("", None),
        ("a warning\n", None),
        ("no solution found\n", None),
        ('Traceback:\n  File "a", line 1, in <module>\n    x\n    ^\nKeyError: 1\n', "KeyError: 1"),
        ('  File "a", line 1\n    f(\n     ^\nSyntaxError: bad\n', "SyntaxError: bad"),
        ('Traceback:\n  File "a"\nAssertionError\n', "AssertionError"),
        ('Traceback:\n  File "a"\na.b.C: one\ntwo: three\n', "a.b.C: one"),
        ('KeyError: 1\n\nDuring handling:\n\n  File "a"\nValueError: 2\n', "ValueError: 2"),
    ],
)  # fmt: skip
def test_a_traceback_is_read_for_its_exception(stderr, reason):
    assert programs._raised(stderr) == reason


def test_doctor_says_in_one_line_which_interpreter_runs_programs(monkeypatch):
    (finding,) = check_programs()
    try:
        described = ProgramRunner().describe()
    except NoSandbox as error:
        assert finding.advice == str(error)
    else:
        assert (finding.found, finding.advice) == (f"are run by {described}", None)

    def refuse(cls):
        raise NoSandbox("none here: install bubblewrap")

    monkeypatch.setattr(Sandbox, "find", classmethod(refuse))
    monkeypatch.setattr(Monty, "find", classmethod(refuse))
    monkeypatch.setattr(programs, "ProgramRunner", lambda: ProgramRunner([Monty.find]))
    (finding,) = check_programs()
    assert finding.remedy is None
    assert finding.found == "are not run: members that answer by one are passed over"
    assert finding.advice.endswith("none here: install bubblewrap")


def test_a_program_ends_when_it_is_cancelled():
    try:
        runner = CPython(Sandbox.find(), PATIENT)
    except AvengersError as error:
        pytest.skip(str(error))
    cancel = CancelToken()
    threading.Timer(0.5, cancel.set).start()
    assert runner.run("while True: pass", cancel).printed is None  # not after the minute that it has
    assert runner.run("print(1)", cancel).printed is None  # nor is it begun
