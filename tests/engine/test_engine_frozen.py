"""A frozen program is its own worker, and nothing is run with `sys.executable` that is no Python."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from avengers_edge.engine import hardware, spawn, worker
from avengers_edge.errors import BadRequest, NoSandbox
from avengers_edge.sandbox.linux import Sandbox

PROGRAM = """#!{python}
import sys

sys.path[:0] = {paths!r}
sys.frozen, sys.executable = True, {program!r}
print(*sys.argv[1:], file=open({log!r}, "a"))

from avengers_edge import freeze_support
from avengers_edge.engine import worker
from worker_child import ScriptedEngine

serve = worker.main
worker.main = lambda: serve(ScriptedEngine)
freeze_support()

from pathlib import Path

from avengers_edge.engine.protocol import LoadOptions
from avengers_edge.engine.worker_engine import WorkerEngine
from avengers_edge.records import Message, Request

with WorkerEngine(Path("model.gguf"), LoadOptions()) as engine:
    print(engine.generate(Request((Message("user", "said in a worker"),))).completions[0].text)
"""


@pytest.fixture
def is_frozen(monkeypatch):
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    monkeypatch.setattr(spawn, "supports_freezing", threading.Event())


@pytest.mark.skipif(os.name != "posix", reason="a script that is a program is POSIX's")
def test_a_frozen_program_answers_in_a_worker_that_is_the_program_itself(tmp_path):
    program, log = tmp_path / "program", tmp_path / "log"
    facts = {"python": sys.executable, "program": str(program), "log": str(log)}
    paths = [str(Path(__file__).parents[1] / "support"), str(Path(spawn.__file__).parents[2])]
    program.write_text(PROGRAM.format(**facts, paths=paths), encoding="utf-8")
    program.chmod(0o755)
    done = subprocess.run([program, "its", "arguments"], capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout == "said in a worker\n", done.stderr
    assert log.read_text(encoding="utf-8").splitlines() == [
        "its arguments",
        "--avengers-process avengers_edge.engine.worker",
    ]


def test_without_its_first_line_a_frozen_program_is_not_started_again_and_again(is_frozen):
    with pytest.raises(BadRequest, match="freeze_support"):
        spawn.python_command(spawn.WORKER)
    assert hardware.find_devices(["cuda"]) == ()


def test_a_frozen_program_runs_our_modules_and_no_others(is_frozen):
    worker.freeze_support()
    for module in (worker.__name__, hardware.__name__):
        assert spawn.python_command(module) == [sys.executable, "--avengers-process", module]
    with pytest.raises(BadRequest):
        spawn.python_command("avengers_edge.calibration.graders.algebra_child")


def test_a_program_that_is_not_frozen_heeds_no_such_arguments(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["program", "--avengers-process", worker.__name__])
    monkeypatch.setattr(worker, "main", lambda: pytest.fail("it became a worker"))
    worker.freeze_support()


def test_the_processes_devices_are_reported_by_the_program_itself(is_frozen, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["program", "--avengers-process", hardware.__name__])
    reported = []
    monkeypatch.setattr(hardware, "report_devices", lambda: reported.append(True))
    with pytest.raises(SystemExit) as end:
        worker.freeze_support()
    assert (reported, end.value.code) == ([True], None)


def test_a_frozen_program_runs_no_code_that_a_model_wrote(is_frozen):
    with pytest.raises(NoSandbox):
        Sandbox.find()
