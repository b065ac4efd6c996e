"""A server of this home that runs: found by its run file, asked by the command line, and as good as none when stale."""

from __future__ import annotations

import contextlib
import json
import os
import threading

import msgspec
import pytest
from click.testing import CliRunner
from clients import listening
from server_fakes import SUM, Served

from avengers_edge import __version__
from avengers_edge.cli.root_command import cli
from avengers_edge.cli.running_server import RunFile, find_server, new_token, run_file
from avengers_edge.errors import AvengersError, BadRequest, EngineDied, NotFound
from avengers_edge.records import Ask, Finished, Routed, Token

TOKEN = new_token()


@contextlib.contextmanager
def serving(home, *texts):
    """A server that listens, with the run file of this home."""
    with listening(*texts, key=None, token=TOKEN) as served, run_file(home, TOKEN) as running:
        running.listens(served.url.removesuffix("/v1"))
        yield served


def test_the_events_of_a_run_are_those_of_the_team_itself(home):
    with serving(home, "Answer: 5") as served:
        server = find_server(home)
        events = list(server.run(SUM, Ask(seed=1, samples=3, early_stop="off")))
        assert isinstance(events[0], Routed)
        assert isinstance(events[-1], Finished)
        own = served.registry.default.answer(SUM, Ask(seed=1, samples=3, early_stop="off"))
        answer = events[-1].answer
        assert (answer.answer, answer.votes, answer.samples) == (own.answer, own.votes, own.samples)
        assert answer.route == own.route
        texts = [event.text for event in server.run("Tell me a tale") if isinstance(event, Token)]
        assert "".join(texts) == "Answer: 5"
        assert server.answer(SUM).answer == "5"


def test_errors_come_with_their_own_exit_codes(home):
    with serving(home):
        server = find_server(home)
        with pytest.raises(BadRequest, match="empty"):
            server.answer(" ")
        with pytest.raises(NotFound, match="no member"):
            server.answer(SUM, Ask(member="big:loud"))
        with pytest.raises(NotFound, match="nobody"):
            server.of_team("nobody").answer(SUM)


def test_ask_and_batch_use_a_server_that_runs(home, tmp_path):
    with serving(home, "Answer: 5"):
        result = CliRunner().invoke(cli, ["ask", SUM, "--json"])
        assert result.exit_code == 0, result.output
        assert json.loads(result.stdout)["answer"] == "5"
        questions, out = tmp_path / "q.jsonl", tmp_path / "a.jsonl"
        questions.write_text(json.dumps({"prompt": SUM}) + "\n")
        assert CliRunner().invoke(cli, ["batch", str(questions), "--out", str(out)]).exit_code == 0
        assert json.loads(out.read_text())["answer"] == "5"


def test_stop_ends_the_server(home):
    with serving(home) as served:
        result = CliRunner().invoke(cli, ["stop"])
        assert (result.exit_code, "stops" in result.stderr) == (0, True), result.output
        assert served.server.should_exit
    assert CliRunner().invoke(cli, ["stop"]).exit_code == 3


def test_whoever_has_not_the_token_is_refused():
    served = Served(token=TOKEN)
    for headers in ({}, {"x-avengers-token": "guess"}, {b"x-avengers-token": b"\xc3\xa9"}):
        for path in ("/api/run", "/api/stop"):
            answer = served("POST", path, {"question": SUM, "ask": {}}, headers=headers)
            assert answer.status_code == 403
    assert (
        Served()("POST", "/api/run", {"question": SUM, "ask": {}}, headers={"x-avengers-token": ""}).status_code == 403
    )


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        msgspec.json.encode(RunFile("http://127.0.0.1:1", 1, TOKEN, __version__)),
        msgspec.json.encode(RunFile("https://example.org", 1, TOKEN, __version__)),
        msgspec.json.encode(RunFile("http://127.0.0.1:1", 1, TOKEN, "0.0.1")),
        msgspec.json.encode(RunFile("http://127.0.0.1:x", 1, TOKEN, __version__)),
        b"x" * 100_000,
    ],
)
def test_a_stale_or_damaged_run_file_is_as_good_as_none(home, content):
    home.mkdir(parents=True, exist_ok=True)
    (home / "serve.json").write_bytes(content)
    assert find_server(home) is None


def test_the_run_file_is_its_users_alone_and_gone_with_the_server(home):
    with serving(home):
        path = home / "serve.json"
        if os.name == "posix":
            assert path.stat().st_mode & 0o077 == 0
        with run_file(home, "other") as second:  # a second server of this home leaves the first one's
            second.listens("http://127.0.0.1:1")
        assert find_server(home) is not None
    assert not path.exists()


def test_a_server_that_ends_in_the_midst_of_an_answer_is_an_error_with_its_exit_code(home):
    with serving(home, "Answer: 5") as served:
        served.engine.hold.clear()
        server, ended = find_server(home), threading.Event()

        def end():
            served.engine.began.wait(10)
            served.app.cancel_now = None
            for executor in (served.app.answers,):
                executor.cancel_all()
            ended.set()

        threading.Thread(target=end).start()
        with pytest.raises((EngineDied, AvengersError)):
            server.answer("Tell me a tale", Ask(samples=1))
        assert ended.wait(10)
        served.engine.hold.set()
