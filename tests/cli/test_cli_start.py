"""Laws of how the command starts and ends: interrupts, closed or full streams, words of another locale; of `doctor`."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
import threading
import types
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from gguf_files import tiny_model

from avengers_edge.cli.question_input import read_question
from avengers_edge.cli.root_command import cli
from avengers_edge.cli.terminal import on_terminal
from avengers_edge.engine import devices, memory
from avengers_edge.engine.model_pool import ModelPool
from avengers_edge.engine.protocol import EngineFacts
from avengers_edge.errors import BadRequest, EngineDied
from avengers_edge.history.conversation_store import FILE_NAME, ConversationStore
from avengers_edge.history.conversations import Turn

posix = pytest.mark.skipif(os.name == "nt", reason="signals and streams are others on Windows")
with_full_device = pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")


def avengers(*words, prelude="", **options):
    """Runs the entry point in a process of its own, with streams that are buffered as a user's are."""
    code = f"import sys; {prelude}\nfrom avengers_edge.__main__ import main; main()"
    command = [sys.executable, "-c", code, *words]
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    options = {"env": environ, "stderr": subprocess.PIPE, "check": False} | options
    return subprocess.run(command, text=True, encoding="utf-8", **options)


INTERRUPTED_IMPORT = """
import os, signal
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == {name!r}:
            try: os.kill(os.getpid(), signal.SIGINT); sum(range(1000))
            except KeyboardInterrupt: raise ImportError('initialization failed') from None
sys.meta_path.insert(0, Finder())
"""


@posix
@pytest.mark.parametrize("name", ["click", "avengers_edge.cli.root_command", "avengers_edge.runtime"])
def test_ctrl_c_in_an_import_that_swallows_it_is_130(name):
    done = avengers("route", "What is 2 + 2?", prelude=INTERRUPTED_IMPORT.format(name=name), stdin=subprocess.DEVNULL)
    assert (done.returncode, done.stderr) == (130, "avengers: interrupted\n")


INTERRUPTED_LOAD = """
import atexit, contextlib, os, signal, threading, time
from avengers_edge.engine.model_pool import ModelPool
def again():
    for _ in range(3):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.01)
def lease(self, model):
    threading.Timer(0.05, again).start()
    atexit.register(time.sleep, 1)
    time.sleep(60)
ModelPool.lease = lease
"""


@posix
def test_several_ctrl_c_while_a_model_loads_are_130_and_no_traceback():
    words = ("ask", "--model", "smollm2-135m-instruct", "What is 2 + 2?")
    done = avengers(*words, prelude=INTERRUPTED_LOAD, stdin=subprocess.DEVNULL)
    assert (done.returncode, "Traceback" in done.stderr) == (130, False), done.stderr


SLOW_LOAD = """
import sys, threading
from avengers_edge.engine.model_pool import ModelPool
def lease(self, model):
    print("loading", flush=True)
    threading.Event().wait(60)
ModelPool.lease = lease
from avengers_edge.__main__ import main
main()
"""


@posix
def test_ctrl_c_again_and_again_until_the_process_is_gone_is_130():
    command = [sys.executable, "-c", SLOW_LOAD, "ask", "--model", "smollm2-135m-instruct", "What is 2 + 2?"]
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, text=True, **streams) as process:
        assert process.stdout.readline() == "loading\n"
        while process.poll() is None:
            process.send_signal(signal.SIGINT)
            threading.Event().wait(0.001)
        assert (process.returncode, "Traceback" in process.stderr.read()) == (130, False)


def test_ctrl_c_that_ends_as_another_error_is_130_and_the_handler_is_the_old_one(monkeypatch):
    def swallow(self, model):
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        raise EngineDied("initialization failed")

    before = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(ModelPool, "lease", swallow)
    result = CliRunner().invoke(cli, ["ask", "--model", "smollm2-135m-instruct", "What is 2 + 2?"])
    assert (result.exit_code, result.stderr) == (130, "avengers: interrupted\n")
    assert signal.getsignal(signal.SIGINT) is before


def test_a_thread_can_run_a_command_too():
    results = []
    thread = threading.Thread(target=lambda: results.append(CliRunner().invoke(cli, ["--version"])))
    thread.start()
    thread.join()
    assert results[0].exit_code == 0


def test_closed_streams_are_no_terminal_and_hold_no_question(monkeypatch):
    monkeypatch.setattr(sys, "stdin", None)
    monkeypatch.setattr(sys, "stderr", None)
    assert not on_terminal()
    assert read_question("What is this?").text == "What is this?"
    with pytest.raises(BadRequest, match="there is no question"):
        read_question(None)
    with pytest.raises(BadRequest, match="closed"):
        read_question("-")


@posix
def test_closed_streams_leave_the_exit_code_as_it_is():
    close = "import os\nfor stream in (0, 2): os.close(stream)\nsys.stdin = sys.stderr = None"
    assert avengers("setup", prelude=close).returncode == 2
    assert avengers("ask", prelude=close).returncode == 2
    assert avengers("models", "show", "nobody", prelude=close).returncode == 3


@with_full_device
@pytest.mark.parametrize("words", [["--help"], ["--version"], ["models", "list"]])
def test_a_full_disk_under_standard_output_is_one_line(words):
    with Path("/dev/full").open("wb") as full:
        done = avengers(*words, stdout=full)
    assert done.returncode == 1
    assert done.stderr == "avengers: standard output cannot be written: no space left on device\n"


CLOSED_OUTPUT = "import os\nos.close(1)\nsys.stdout = None"  # as Python finds it after `>&-`
READ_ONLY_OUTPUT = "import os\nos.dup2(os.open(os.devnull, os.O_RDONLY), 1)"


@posix
@pytest.mark.parametrize("prelude", [CLOSED_OUTPUT, READ_ONLY_OUTPUT])
@pytest.mark.parametrize(
    "words", [["--help"], ["--version"], ["models", "list"], ["models", "list", "--json"], ["chats", "list", "--json"]]
)
def test_a_closed_standard_output_is_one_line(words, prelude):
    done = avengers(*words, prelude=prelude)
    assert (done.returncode, done.stderr) == (1, "avengers: standard output cannot be written: it is closed\n")


@posix
@pytest.mark.parametrize("prelude", [CLOSED_OUTPUT, READ_ONLY_OUTPUT])
def test_no_answer_is_computed_that_would_be_lost(prelude):
    """The model is not there, which would be found out next."""
    done = avengers("ask", "--model", "nobody", "Hi.", prelude=prelude, stdin=subprocess.DEVNULL)
    assert (done.returncode, done.stderr) == (1, "avengers: standard output cannot be written: it is closed\n")


@posix
def test_who_prints_nothing_needs_no_standard_output_and_its_files_get_no_words_of_others(home, tmp_path):
    with ConversationStore(home / FILE_NAME) as store:
        store.append(store.begin("starter"), Turn("user", "Which numbers are prime?"))
    out = str(tmp_path / "x.md")
    done = avengers("chats", "export", "1", "--out", out, prelude=CLOSED_OUTPUT)
    assert (done.returncode, done.stderr) == (0, f"{out} written\n")
    assert "prime" in Path(out).read_text(encoding="utf-8")


@with_full_device
def test_an_error_that_cannot_be_told_keeps_its_exit_code():
    full = "import os; os.dup2(os.open('/dev/full', os.O_WRONLY), 2)"
    assert avengers("models", "show", "nobody", prelude=full).returncode == 3


def test_no_error_steers_the_terminal_or_fills_it(monkeypatch):
    def die(self, model):
        raise EngineDied("first \x1b[2J\r\u202e\x9b " + "x" * 5000 + " last")

    monkeypatch.setattr(ModelPool, "lease", die)
    result = CliRunner().invoke(cli, ["ask", "--model", "smollm2-135m-instruct", "What is 2 + 2?"])
    assert result.exit_code == 7
    assert result.stderr.startswith("avengers: first ?[2J ?? xxx")
    assert result.stderr.endswith("xxx last\n")
    assert len(result.stderr) < 520


@posix
def test_a_question_is_utf8_whatever_the_locale():
    code = "import sys; from avengers_edge.cli import question_input as given; "
    code += "print(ascii(given.read_question(sys.argv[1]).text))"
    environ = os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    command = [sys.executable, "-c", code, "caf\u00e9".encode()]
    done = subprocess.run(command, env=environ, stdin=subprocess.DEVNULL, capture_output=True, check=True)
    assert done.stdout == b"'caf\\xe9'\n"


# --- doctor ---

FACTS = EngineFacts(
    name="tiny",
    n_ctx_train=128,
    cells=8192,
    layers=2,
    layers_offloaded=0,
    buffers=(("CPU_Mapped model", 64), ("CPU KV", 2_000_000)),
    gpu_offload=False,
    threads=2,
    features="CPU : AVX2 = 1",
)


@pytest.fixture
def examine(home, tmp_path, monkeypatch):
    """Runs `doctor --json` on a team of two tiny models with an engine that gives these facts; by finding."""
    (home / "teams").mkdir(parents=True)
    members = "".join(f'[[members]]\nmodel = "{name}"\n' for name in ("small", "large"))
    team = f'name = "tiny"\ndescription = "Two."\n{members}'
    (home / "teams" / "tiny.toml").write_text(team, encoding="utf-8")
    for salt, (name, size) in enumerate({"large": 999, "small": 64}.items()):
        (tmp_path / f"{name}.gguf").write_bytes(tiny_model(salt) + bytes(size))
        imported = CliRunner().invoke(cli, ["models", "import", str(tmp_path / f"{name}.gguf"), "--id", name])
        assert imported.exit_code == 0, imported.stderr
    monkeypatch.setattr(devices, "find_gpus", tuple)
    loaded, generated = [], []

    def run(facts=FACTS):
        def lease(self, model):
            loaded.append(model)
            return contextlib.nullcontext(types.SimpleNamespace(facts=facts, generate=generated.append))

        monkeypatch.setattr(ModelPool, "lease", lease)
        result = CliRunner().invoke(cli, ["doctor", "--team", "tiny", "--json"])
        report = json.loads(result.stdout)
        assert (result.exit_code == 0) == report["ok"], result.stderr
        return {finding["what"]: finding for finding in report["findings"]}, loaded

    return run


def test_doctor_loads_the_smallest_model_and_tells_what_llama_cpp_did(examine):
    findings, loaded = examine()
    assert loaded == ["small"]
    assert not [finding for finding in findings.values() if finding["remedy"] or finding["advice"]]
    assert findings["engine"]["found"] == (
        "small loaded in a process of its own: 0 of 2 layers on a device, 8192 tokens of context, 2 threads"
    )
    assert findings["buffers"]["found"] == "CPU_Mapped model 64 B, CPU KV 2.0 MB"
    assert findings["llama.cpp"]["found"] == "CPU : AVX2 = 1"
    assert findings["kv cache"]["found"] == "f16, 8192 tokens a model"
    assert findings["routing"]["found"] == "works, 2 members ranked on CPUExecutionProvider"
    assert (
        "needs 69.4 MB of memory: 64 B weights, 524 kB KV cache, 68.9 MB compute and process"
        in findings["large"]["found"]
    )


def test_doctor_tells_of_a_gpu_that_the_build_cannot_use_and_asking_works_all_the_same(examine, monkeypatch):
    monkeypatch.setattr(devices, "find_gpus", lambda: (devices.Gpu("NVIDIA", "NVIDIA H200"),))
    monkeypatch.setattr(devices, "gpu_backends", tuple)
    gpu = examine()[0]["gpu"]
    assert gpu["found"] == "NVIDIA H200; this build of llama.cpp uses the CPU only"
    assert gpu["remedy"] is None
    assert "-DGGML_CUDA=on" in gpu["advice"]


def test_doctor_tells_of_the_device_that_is_used_and_of_layers_that_are_not_there(examine, monkeypatch):
    device = devices.Device("CUDA0", "H200", "gpu", 139 * 10**9, 141 * 10**9)
    monkeypatch.setattr(devices, "find_gpus", lambda: (devices.Gpu("NVIDIA", "H200"),))
    monkeypatch.setattr(devices, "gpu_backends", lambda: ("cuda",))
    monkeypatch.setattr(devices, "find_devices", lambda backends=None: (device,))
    findings, _ = examine(dataclasses.replace(FACTS, gpu_offload=True))
    assert findings["gpu"]["found"] == "NVIDIA H200; llama.cpp uses CUDA0 (139 GB free); gpu_layers is all"
    assert findings["gpu"]["advice"] is None
    assert "no layer was offloaded" in findings["engine"]["advice"]
    findings, _ = examine(dataclasses.replace(FACTS, gpu_offload=True, layers_offloaded=3))
    assert findings["engine"]["advice"] is None


def test_doctor_tells_which_models_do_not_fit_and_what_would(examine, monkeypatch):
    monkeypatch.setattr(memory, "available_bytes", lambda: 65_000_000)
    findings, _ = examine()
    assert findings["memory"]["found"] == "65.0 MB free"
    assert "set `context = " in findings["large"]["remedy"]


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["run", "m"], ["chat", "--model", "m"]),
        (["run", "m", "Why?"], ["ask", "--model", "m", "Why?"]),
        (["run"], ["chat"]),
        (["run", "--help"], ["chat", "--help"]),
        (["pull", "a/b"], ["models", "pull", "a/b"]),
        (["--offline", "ls", "--json"], ["--offline", "models", "list", "--json"]),
        (["--home", "my models", "rm", "m"], ["--home", "my models", "models", "remove", "m"]),
        (["show", "m"], ["models", "show", "m"]),
        (["How many are 3 and 4?", "-n", "2"], ["ask", "How many are 3 and 4?", "-n", "2"]),
        (["ask", "pull"], ["ask", "pull"]),
    ],
)
def test_what_users_of_ollama_type_is_understood(words, meant, monkeypatch):
    heard = []
    monkeypatch.setattr("click.Group.parse_args", lambda self, ctx, args: heard.append(args) or [])
    cli.parse_args(click.Context(cli), words)
    assert heard == [meant]


def test_alone_on_a_terminal_it_shows_what_can_be_done_and_begins_with_what_is_missing(home, monkeypatch):
    monkeypatch.setattr("avengers_edge.cli.root_command.on_terminal", lambda: True)
    result = CliRunner().invoke(cli, [])
    assert "avengers chat" in result.stdout
    assert "Team starter is not set up yet." in result.stdout
    assert (result.exit_code, "--yes" in result.stderr) == (2, True)  # no terminal to ask on
    monkeypatch.setattr("avengers_edge.cli.root_command.on_terminal", lambda: False)
    assert CliRunner().invoke(cli, []).exit_code == 2
