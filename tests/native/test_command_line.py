"""The command line on a real model, in real processes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys

import pytest

pytestmark = pytest.mark.native

MODEL = "smollm2-135m-instruct"
QUESTION = "How many legs do 3 cats have?"


@pytest.fixture
def run(model_home):
    environ = os.environ | {"AVENGERS_HOME": str(model_home)}

    def invoke(*words, code=0, before=(), **options):
        command = [*before, sys.executable, "-m", "avengers_edge", *map(str, words)]
        done = subprocess.run(
            command, capture_output=True, check=False, env=environ, stdin=subprocess.DEVNULL, **options
        )
        assert done.returncode == code, done.stderr.decode()
        if code:
            assert done.stdout == b""
            assert done.stderr.count(b"\n") == 1, done.stderr.decode()
        return done.stdout.decode(), done.stderr.decode()

    return invoke


def ask(run, *words, **options):
    fixed = ("ask", "--json", "--model", MODEL, "-n", 4, "--seed", 1, "--max-tokens", 40)
    return json.loads(run(*fixed, *words, **options)[0])


def test_an_answer_is_one_object_whose_votes_add_up(run):
    answer = ask(run, QUESTION)
    voted = [sample for sample in answer["samples"] if sample["key"] is not None]
    assert sum(vote["count"] for vote in answer["votes"]) == len(voted)
    assert answer["text"] in [sample["text"] for sample in answer["samples"]]
    assert answer["samples_used"] == sum(s["finish_reason"] != "cancelled" for s in answer["samples"])
    assert answer["usage"]["completion_tokens"] == sum(sample["tokens"] for sample in answer["samples"])


def test_the_same_seed_gives_the_same_answer_in_another_process(run):
    first, second = ask(run, QUESTION), ask(run, QUESTION)
    assert first | {"timings_ms": None} == second | {"timings_ms": None}


@pytest.mark.skipif(shutil.which("unshare") is None, reason="unshare is not there")
def test_without_any_network_the_answer_is_the_same(run):
    namespace = ["unshare", "--net", "--map-root-user"]
    if subprocess.run([*namespace, "true"], check=False, capture_output=True).returncode != 0:
        pytest.skip("this machine does not let us make a network namespace")
    first, second = ask(run, QUESTION), ask(run, QUESTION, before=namespace)
    assert first | {"timings_ms": None} == second | {"timings_ms": None}


def test_the_answer_path_makes_no_socket(model_home):
    code = (
        "import socket, sys\n"
        "def refuse(*_): sys.exit('a socket was made')\n"
        "socket.socket.__init__ = refuse\n"
        "from avengers_edge.cli.root_command import cli\n"
        f"cli.main(['ask', '--model', {MODEL!r}, '-n', '2', '--max-tokens', '8', 'How many are 2 and 2?'])\n"
    )
    environ = os.environ | {"AVENGERS_HOME": str(model_home)}
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()


def test_onnx_runtime_records_nothing_to_report_home(tmp_path):
    """Its telemetry is native code: no Python socket would show it, but the files it queues its events in do."""
    code = (
        "from avengers_edge.config import shipped_dir\n"
        "from avengers_edge.routing.embedder import OnnxEmbedder\n"
        "with OnnxEmbedder(shipped_dir() / 'embedder') as embedder: embedder.embed(['hello'])\n"
    )
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "ORT_"))}
    environ = kept | {"HOME": str(tmp_path), "USERPROFILE": str(tmp_path), "LOCALAPPDATA": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code], env=environ, check=True, stderr=subprocess.PIPE)
    assert list(tmp_path.rglob("*")) == []


def test_llama_cpp_writes_nothing_on_the_terminal(run):
    _, said = run("ask", "--model", MODEL, "--max-tokens", 8, "-n", 1, "--raw", QUESTION)
    assert said == ""


def test_routing_loads_neither_llama_cpp_nor_a_model(model_home):
    code = (
        "import sys\n"
        "from avengers_edge.cli.root_command import cli\n"
        f"try: cli.main(['route', '--json', {QUESTION!r}])\n"
        "except SystemExit as end: print(end.code, 'llama_cpp' in sys.modules, file=sys.stderr)\n"
    )
    environ = os.environ | {"AVENGERS_HOME": str(model_home)}
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=False)
    assert done.stderr.split() == ["0", "False"]
    assert set(json.loads(done.stdout)) == {"cluster", "similarity", "ranking", "margin", "fallback"}


def test_a_prompt_longer_than_the_context_is_refused_with_both_numbers(run):
    _, said = run("ask", "--model", MODEL, "many words " * 8000, code=6)
    assert "16" in said and "prompt tokens" in said


def test_ctrl_c_ends_sampling_with_130_and_one_line(model_home):
    command = [sys.executable, "-m", "avengers_edge", "-v", "ask", "--model", MODEL, "-n", "16", "--max-tokens", "2000",
               "--early-stop", "off", "--kind", "number", "Write a very long story."]  # fmt: skip
    environ = os.environ | {"AVENGERS_HOME": str(model_home)}
    process = subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    for line in process.stderr:  # -v lets llama.cpp's log tell when the context is there
        if "graph" in line:
            break
    process.send_signal(signal.SIGINT)
    out, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert out == ""
    assert said.splitlines()[-1] == "avengers: interrupted"


def test_a_real_model_cut_short_is_refused_and_the_whole_one_verifies(run, model_home, tmp_path):
    (whole,) = (model_home / "models" / MODEL).glob("*.gguf")
    cut = tmp_path / "cut.gguf"
    with whole.open("rb") as source:
        cut.write_bytes(source.read(20_000_000))
    home = ("--home", tmp_path / "home")
    run(*home, "models", "import", cut, code=4)
    assert run("models", "verify", MODEL)[0] == f"{MODEL}: ok\n"
    assert not list((tmp_path / "home").rglob("*.gguf"))
