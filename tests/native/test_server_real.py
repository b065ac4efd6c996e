"""A real server process on a real model: clients beside each other, those that leave, deaths, slow ones, the end."""

from __future__ import annotations

import concurrent.futures
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time

import httpx
import pytest
from homes import linked_home

pytestmark = [pytest.mark.native, pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")]

MODEL = "smollm2-135m-instruct"
CHAT = "/v1/chat/completions"
LONG = 120  # seconds a test waits for what must come


class Running:
    """A server process, and what it said."""

    def __init__(self, home, *words):
        command = [sys.executable, "-m", "avengers_edge", "--home", str(home), "serve", "--port", "0", *words]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.said, self.address = [], None
        self._started = threading.Event()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        assert self._started.wait(LONG), "".join(self.said)
        assert self.address, "".join(self.said)
        self.port = int(self.address.rsplit(":", 1)[1])
        self.client = httpx.Client(base_url=self.address, timeout=LONG)

    def _read(self):
        for line in self.process.stderr:
            self.said.append(line)
            if found := re.match(r"serving (http://\S+)", line):
                self.address = found[1]
                self._started.set()
        self._started.set()

    def chat(self, text="Write a story about three cats.", **fields):
        return self.client.post(CHAT, json=self.body(text, **fields))

    def body(self, text="Write a story about three cats.", **fields):
        return {"model": MODEL, "messages": [{"role": "user", "content": text}], "max_tokens": 16, **fields}

    def metric(self, name):
        (value,) = re.findall(rf"^avengers_{re.escape(name)} (\S+)$", self.client.get("/metrics").text, re.MULTILINE)
        return int(value)

    def workers(self):
        listed = subprocess.run(["ps", "-o", "pid=", "--ppid", str(self.process.pid)], capture_output=True, text=True)
        return [int(pid) for pid in listed.stdout.split()]

    def end(self):
        self.client.close()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._reader.join()
        self.process.stderr.close()
        self.process.stdout.close()


@pytest.fixture(scope="module")
def home(model_home, tmp_path_factory):
    """A home of its own: `ask` of another test would have its questions answered by a server of a shared one."""
    return linked_home(model_home, tmp_path_factory.mktemp("server") / "home")


@pytest.fixture(scope="module")
def server(home):
    running = Running(home, "--max-body", "100000")
    yield running
    running.end()


def comes(what):
    return any(what() or time.sleep(0.05) for _ in range(LONG * 20))


def test_clients_beside_each_other_get_what_they_get_alone(server):
    def ask(place):
        # What is written is bound letter by letter: beside others a step's sums may round otherwise.
        told = f"Story {place} has {place * place} cats."
        answer = server.chat(
            "Tell me a story. " * place, grammar=f'root ::= "{told}"', seed=place, max_tokens=32
        ).json()
        assert answer["choices"][0]["message"]["content"] == told
        return answer["usage"]["prompt_tokens"], answer["usage"]["completion_tokens"]

    places = range(1, 17)
    alone = [ask(place) for place in places]
    assert len({prompt for prompt, _ in alone}) == len(places)
    with concurrent.futures.ThreadPoolExecutor(8) as threads:
        assert [prompt for prompt, _ in threads.map(ask, places)] == [prompt for prompt, _ in alone]


def test_a_vote_is_held_and_streamed(server):
    body = server.body("How many are 2 and 3?", stream=True, avengers={"samples": 4, "kind": "number"})
    body["stream_options"] = {"include_usage": True}
    with server.client.stream("POST", CHAT, json=body) as answer:
        lines = [line for line in answer.iter_lines() if line]
    assert lines[0].startswith(": voting 0 of 4")
    assert lines[-1] == "data: [DONE]"
    assert json.loads(lines[-2][6:])["usage"]["completion_tokens"] > 0
    assert json.loads(lines[-3][6:])["avengers"]["samples_requested"] == 4


def test_clients_that_leave_leave_nothing_behind(server):
    long = server.body(max_tokens=2000)
    for _ in range(3):
        with server.client.stream("POST", CHAT, json=long | {"stream": True}) as answer:
            next(answer.iter_lines())
    with pytest.raises(httpx.ReadTimeout):
        server.client.post(CHAT, json=long, timeout=0.5)
    assert comes(lambda: server.metric("running") == 0)
    assert server.chat().status_code == 200


def test_a_worker_that_is_killed_fails_its_stream_and_the_next_request_is_answered(server):
    server.chat()
    with server.client.stream("POST", CHAT, json=server.body(max_tokens=2000, stream=True)) as answer:
        lines = answer.iter_lines()
        next(line for line in lines if line.startswith("data"))
        for pid in server.workers():
            os.kill(pid, signal.SIGKILL)
        last = [line for line in lines if line][-1]
    assert json.loads(last[6:])["error"]["code"] == "engine_died"
    assert server.chat().status_code == 200


def test_a_prompt_past_the_context_is_400_and_tells_both_numbers(server):
    answer = server.chat("word " * 12_000)
    assert answer.status_code == 400
    assert "tokens" in answer.json()["error"]["message"]


def test_a_large_body_is_413_and_is_not_kept(server):
    answer = server.client.post(CHAT, content=b"x" * 10_000_000, headers={"content-type": "application/json"})
    assert answer.status_code == 413


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nX: " + b"x" * 100_000 + b"\r\n\r\n", 431),
    ],
    ids=["no HTTP", "large headers"],
)
def test_what_is_no_modest_http_is_refused(server, sent, status):
    with socket.create_connection(("127.0.0.1", server.port), timeout=LONG) as connection:
        connection.sendall(sent)
        got = b""
        while chunk := connection.recv(65536):
            got += chunk
    head, _, body = got.partition(b"\r\n\r\n")
    assert int(head.split()[1]) == status
    assert status == 400 or json.loads(body)["error"]["code"] == "headers_too_large"


def test_headers_that_do_not_come_hold_up_nobody_else(server):
    with socket.create_connection(("127.0.0.1", server.port), timeout=LONG) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: loc")
        assert server.client.get("/v1/models").status_code == 200


def test_nothing_of_what_was_asked_is_in_the_log(server):
    said = "".join(server.said)
    assert "POST /v1/chat/completions 200" in said
    assert "cats" not in said and "Traceback" not in said


def test_sigterm_lets_a_stream_end_and_the_process_ends_with_0(home):
    running = Running(home, "--drain", str(LONG))
    try:
        with running.client.stream("POST", CHAT, json=running.body(max_tokens=48, stream=True)) as answer:
            lines = answer.iter_lines()
            next(line for line in lines if line.startswith("data"))
            running.process.send_signal(signal.SIGTERM)
            rest = [line for line in lines if line]
        assert rest[-1] == "data: [DONE]"
        assert running.process.wait(LONG) == 0
        assert running.workers() == []
    finally:
        running.end()


def test_what_does_not_end_in_time_is_told_so_at_the_end(home):
    running = Running(home, "--drain", "0.2")
    try:
        body = running.body(max_tokens=4000, stream=True, stop=["nothing will ever say this"])
        with running.client.stream("POST", CHAT, json=body) as answer:
            lines = answer.iter_lines()
            next(lines)
            running.process.send_signal(signal.SIGTERM)
            rest = [line for line in lines if line]
        assert rest[-1] == "data: [DONE]" or json.loads(rest[-1][6:])["error"]["code"] == "shutting_down"
        assert running.process.wait(LONG) == 0
    finally:
        running.end()


def test_a_port_that_is_taken_is_one_line(server, home):
    command = [sys.executable, "-m", "avengers_edge", "--home", str(home), "serve", "--port", str(server.port)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LONG)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("avengers: cannot listen on 127.0.0.1")
