"""Proof of silence: a bundle installed and used in a network namespace without any route, every socket looked at.

The namespace cannot reach anything, loopback included; that is the proof. What is recorded besides says who would have
tried: where there is strace, every process of every command, the installer's among them and code in C++ too, with each
address that it connects to, sends to or binds; and in any case every Python of the environment, by its audit hook.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys

import pytest
from random_gguf import tiny_gguf

from avengers_edge._util.files import write_text
from avengers_edge.config import shipped_dir
from avengers_edge.errors import AvengersError, OfflineRefused
from avengers_edge.library.bundle.pack import PackOptions, pack
from avengers_edge.library.bundle.wheels import USER_EXTRAS, WheelOptions
from avengers_edge.library.catalog import Catalog
from avengers_edge.library.importing import import_file
from avengers_edge.library.store import Store

pytestmark = pytest.mark.native

NAMESPACE = ("unshare", "--user", "--map-root-user", "--net")
TRACER = (
    "strace",
    "-f",
    "--seccomp-bpf",
    "-qq",
    "-e",
    "signal=none",
    "-e",
    "trace=connect,bind,sendto,sendmsg,sendmmsg",
    "-A",
    "-o",
)
INSIDE = re.compile(r"^\d+ .*sa_family=AF_(UNIX|NETLINK|UNSPEC)|^\d+ +(\w+\((?!.*sa_family=)|<\.\.\. )")
"""What strace says of sockets that do not lead to another machine, and of those whose address it told before."""
LOOPBACK = re.compile(r"""["'](127\.0\.0\.1|::1)["']""")
RECORDER = """
import os, sys
def note(event, arguments):
    if event in ("socket.connect", "socket.bind", "socket.sendto", "socket.sendmsg"):
        address = arguments[1]
    elif event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"):
        address = arguments[0]
    else:
        return
    if isinstance(address, (str, bytes)) and event.startswith(("socket.connect", "socket.bind", "socket.send")):
        return  # the path of a socket on this machine
    with open(os.environ["HEARD"], "a") as file:
        file.write(f"{event} {address!r} by {sys.argv[:4]}\\n")
sys.addaudithook(note)
"""
SERVED = """
import fcntl, http.client, json, re, signal, socket, struct, subprocess, sys
with socket.socket() as any_socket:  # SIOCSIFFLAGS, IFF_UP and IFF_RUNNING: this namespace's loopback, which is down
    fcntl.ioctl(any_socket, 0x8914, struct.pack("16sh22x", b"lo", 0x41))
words = [sys.argv[1], "serve", "--team", "small", "--port", "0"]
with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as server:
    port = next(found[1] for line in server.stderr if (found := re.match("serving http://127.0.0.1:([0-9]+)", line)))
    client = http.client.HTTPConnection("127.0.0.1", int(port), timeout=120)
    asked = {"model": "avengers", "messages": [{"role": "user", "content": "Hello?"}], "max_tokens": 8}
    client.request("POST", "/v1/chat/completions", json.dumps(asked), {"Content-Type": "application/json"})
    print(client.getresponse().read().decode())
    client.close()
    server.send_signal(signal.SIGINT)
    server.stderr.read()
"""
SMALL = """
name = "small"
description = "noise"
[defaults]
max_tokens = 16
[[members]]
model = "tiny"
"""
QUESTIONS = [
    {
        "id": f"sums/{n}",
        "dataset": "sums",
        "category": "math",
        "question": f"What is {n} + 2?",
        "choices": None,
        "answer": str(n + 2),
        "answer_type": "number",
        "tests": None,
        "split": "test",
    }
    for n in range(3)
]


def can_isolate():
    return shutil.which("unshare") is not None and subprocess.run([*NAMESPACE, "true"], check=False).returncode == 0


def can_trace():
    """Tell whether strace is there, knows what it is told here, and may look at other processes."""
    if shutil.which("strace") is None:
        return False
    return subprocess.run([*NAMESPACE, *TRACER, os.devnull, "true"], check=False, capture_output=True).returncode == 0


def outside(lines):
    """Leave out what stays on this machine."""
    return [line for line in lines if LOOPBACK.search(line) is None]


@pytest.fixture(scope="module")
def carried(tmp_path_factory):
    """A bundle of a tiny model with all wheels of this environment, packed on the machine that has a network."""
    if sys.platform != "linux" or not can_isolate():
        pytest.skip("no network namespaces for this user")
    folder = tmp_path_factory.mktemp("stick")
    home = folder / "home"
    write_text(home / "teams" / "small.toml", SMALL)
    catalog, store = Catalog(home, shipped_dir()), Store(home)
    import_file(store, tiny_gguf(folder / "tiny.gguf", "llama"), catalog, model_id="tiny")
    wanted = WheelOptions(USER_EXTRAS, offline=os.environ.get("AVENGERS_OFFLINE") == "1")
    try:
        return pack(PackOptions("small", "small", folder / "out", wanted), catalog, store)
    except AvengersError as error:
        if isinstance(error, OfflineRefused) or "cannot be reached" in str(error):
            pytest.skip(f"the wheels cannot be had here: {error}")
        raise


@pytest.fixture(scope="module")
def site(carried, tmp_path_factory):
    """The machine without a network: runs a command there, and records who opens which socket."""
    folder = tmp_path_factory.mktemp("site")
    venv, heard, trace = folder / "venv", folder / "heard", folder / "trace"
    tracer = (*TRACER, trace) if can_trace() else ()

    def run(*words, code=0, said=""):
        environ = {
            "PATH": "/usr/bin:/bin",
            "HOME": str(folder),
            "HEARD": str(heard),
            "AVENGERS_HOME": str(folder / "home"),
        }
        done = subprocess.run(
            [*map(str, (*NAMESPACE, *tracer, *words))],
            env=environ,
            cwd=folder,
            input=said,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, f"{words}: {done.stdout} {done.stderr}"
        return done

    def internet():
        """Give what was recorded of addresses of the internet's families since the last time, loopback's too."""
        lines = []
        for path in (heard, trace):
            if path.exists():
                lines += path.read_text(encoding="utf-8", errors="replace").splitlines()
                path.unlink()
        return [line for line in lines if INSIDE.search(line) is None]

    run.folder, run.internet, run.product = folder, internet, venv / "bin" / "avengers"
    run.recorders = [heard, trace] if tracer else [heard]
    shutil.copyfile(carried.archive, folder / carried.archive.name)
    shutil.copyfile(carried.installer, folder / carried.installer.name)
    installed = run(sys.executable, "-I", carried.installer.name, carried.archive.name, "--venv", venv)
    assert "done: " in installed.stderr
    assert outside(internet()) == []  # pip looks whether there is IPv6 by binding its loopback address
    (packages,) = (venv / "lib").glob("python3*/site-packages")
    (packages / "sitecustomize.py").write_text(RECORDER, encoding="utf-8")
    return run


def test_the_recorder_hears_who_opens_a_socket(site):
    try_it = "import socket; socket.socket().connect(('192.0.2.1', 80))"
    site(site.product.with_name("python"), "-c", try_it, code=1)
    for recorder in site.recorders:
        assert "192.0.2.1" in recorder.read_text(encoding="utf-8")
    assert len(site.internet()) == len(site.recorders)
    look_up = "import socket; socket.getaddrinfo('example.org', 80)"  # which is done in C
    site(site.product.with_name("python"), "-c", look_up, code=1)
    assert any("example.org" in line for line in site.internet())


def test_the_main_jobs_run_there_and_nothing_tries_to_reach_out(site):
    assert site(site.product, "setup", "small").stderr.startswith("tiny: already there")
    assert site(site.product, "bundle", "verify").stdout.startswith("small: ok")
    told = json.loads(
        site(site.product, "ask", "--model", "tiny", "--max-tokens", "8", "-n", "2", "--json", "Hello?").stdout
    )
    assert told["model"] == "tiny"
    assert len(told["samples"]) == 2
    route = json.loads(site(site.product, "route", "--team", "starter", "--json", "What is 2 + 2?").stdout)
    assert route["ranking"]
    lines = "".join(json.dumps(question) + "\n" for question in QUESTIONS)
    (site.folder / "questions.jsonl").write_text(lines, encoding="utf-8")
    words = ("--team", "small", "--questions", "questions.jsonl", "--out", "outcomes.jsonl")
    site(site.product, "calibrate", "measure", *words)
    assert (site.folder / "outcomes.jsonl").read_text(encoding="utf-8").startswith("{")
    site(site.product, "calibrate", "fit", "--outcomes", "outcomes.jsonl", "--out", "table.safetensors")
    assert (site.folder / "table.safetensors").is_file()
    chat = site(site.product, "chat", "--team", "small", "-n", "1", said="Hello?\n/exit\n")
    assert "1 sample" in chat.stdout + chat.stderr
    assert site.internet() == []


def test_the_server_opens_its_own_address_on_loopback_and_nothing_else(site):
    reply = json.loads(site(site.product.with_name("python"), "-I", "-c", SERVED, site.product).stdout)
    assert reply["usage"]["completion_tokens"] > 0
    heard = site.internet()
    assert any(line.startswith("socket.bind ('127.0.0.1', ") for line in heard)
    assert outside(heard) == []


def test_what_would_need_the_network_is_refused_in_one_line(site):
    done = site(site.product, "--offline", "models", "pull", "smollm2-135m-instruct", code=5)
    assert len(done.stderr.splitlines()) == 1
    assert site.internet() == []
