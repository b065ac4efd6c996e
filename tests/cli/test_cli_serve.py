"""Laws of `avengers serve` before it listens: what it refuses, whom it warns, where its key comes from."""

from __future__ import annotations

import os
import sys

import pytest
from click.testing import CliRunner

import avengers_edge.server.launcher as launcher
from avengers_edge.cli.root_command import cli
from avengers_edge.config import load_settings
from avengers_edge.errors import NotFound
from avengers_edge.server.model_registry import ModelRegistry
from avengers_edge.server.problems import Problem

KEY = "a-key-of-more-than-16-letters"


@pytest.fixture
def serve(monkeypatch):
    """The command with its last step left out; it gives the options it would have listened with."""
    listened = []
    monkeypatch.setattr(launcher, "serve", lambda app, options, started: listened.append(options))

    def invoke(*words, code=0, env=None):
        listened.clear()
        done = CliRunner().invoke(cli, ["serve", *map(str, words)], env=env)
        assert done.exit_code == code, done.stderr
        assert (len(listened) == 1) == (code == 0)
        return (listened or [None])[0], done.stderr

    return invoke


def test_by_itself_it_listens_to_this_machine_only_and_asks_for_no_key(serve):
    options, said = serve()
    assert (options.host, options.port, options.api_key) == ("127.0.0.1", 8765, None)
    assert "TLS" not in said


def test_slots_and_context_are_for_this_server_alone(serve, monkeypatch):
    opened = []
    real = ModelRegistry.open
    monkeypatch.setattr(ModelRegistry, "open", lambda settings, team: opened.append(settings) or real(settings, team))
    serve()
    serve("--slots", 4, "--context", 4096)
    serve("--slots", 4)
    serve("--slots", 32)
    settings = [(each.slots, each.context) for each in opened]
    assert settings == [(0, 8192), (4, 4096), (4, 8192), (32, 32_768)]
    assert "use 8192 tokens or more" in serve("--slots", 32, "--context", 4096, code=2)[1]
    assert "3 slots of 1280 tokens each" in serve("--slots", 3, "--context", 4000)[1]
    assert "slots is 1" in serve("--slots", 1, code=2)[1]


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.5", "edge.lan"])
def test_others_are_let_in_only_with_a_key_and_warned_without_tls(serve, host):
    _, said = serve("--host", host, code=2)
    assert "AVENGERS_API_KEY" in said
    options, said = serve("--host", host, env={"AVENGERS_API_KEY": KEY})
    assert options.api_key == KEY
    assert "without TLS" in said


def test_the_key_is_read_from_a_file_before_the_environment(serve, tmp_path):
    file = tmp_path / "key"
    file.write_text(f"{KEY}\n")
    file.chmod(0o600)
    options, said = serve("--api-key-file", file, env={"AVENGERS_API_KEY": "another-key-of-16-letters"})
    assert options.api_key == KEY
    assert "chmod" not in said


@pytest.mark.skipif(os.name != "posix", reason="file modes of POSIX")
def test_a_key_that_everybody_can_read_is_warned_of(serve, tmp_path):
    file = tmp_path / "key"
    file.write_text(KEY)
    file.chmod(0o644)
    assert "chmod 600" in serve("--api-key-file", file)[1]


@pytest.mark.parametrize("content", [b"", b"\n", b"two words of a key file", b"short", b"\xff" * 20])
def test_a_file_that_holds_no_key_is_refused_and_never_quoted(serve, tmp_path, content):
    file = tmp_path / "key"
    file.write_bytes(content)
    _, said = serve("--api-key-file", file, code=2)
    assert "short" not in said.replace("shorter", "") and "two words" not in said


@pytest.mark.parametrize("said", [f" {KEY}", f"{KEY}\n", f"\t{KEY}\r\n"])
def test_white_space_around_the_key_of_the_environment_is_not_part_of_it(serve, said):
    assert serve(env={"AVENGERS_API_KEY": said})[0].api_key == KEY


@pytest.mark.parametrize("said", [" \n", f"{KEY}\n{KEY}", f"{KEY} x", f"{KEY}\u00e9"])
def test_a_variable_that_holds_no_key_is_refused_by_its_name_and_never_quoted(serve, said):
    _, complaint = serve(env={"AVENGERS_API_KEY": said}, code=2)
    assert "AVENGERS_API_KEY" in complaint and KEY not in complaint


def test_a_file_that_is_not_there_is_3(serve, tmp_path):
    serve("--api-key-file", tmp_path / "none", code=3)
    serve("--tls-cert", tmp_path / "none", "--tls-key", tmp_path / "none", code=3)
    serve("--team", "nobody", code=3)


@pytest.mark.parametrize(
    "words",
    [("--port", "70000"), ("--max-queue", "-1"), ("--allow-origin", "*"), ("--max-seconds", "0"), ("--width", 0)],
)
def test_values_that_cannot_be_used_are_2(serve, words):
    serve(*words, code=2)


def test_what_is_said_reaches_the_server(serve):
    options, _ = serve("--port", 0, "--max-queue", 3, "--max-seconds", 9, "--allow-host", "a.lan", "--log-prompts")
    limits = options.limits
    assert (options.port, limits.queue, limits.seconds, options.hosts) == (0, 3, 9, ("a.lan",))
    assert options.log_prompts


def test_without_the_extra_the_line_names_it(serve, monkeypatch):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    _, said = serve(code=1)
    assert "[serve]'`" in said


# --- the registry of a real home folder ------------------------------------------------------------------------------


def test_an_empty_home_lists_no_name_and_tells_what_to_install():
    with ModelRegistry.open(load_settings()) as registry:
        assert registry.names() == []
        assert set(registry.missing()) == set(registry.default.team.models)
        with pytest.raises(Problem, match="avengers setup starter"):
            registry.resolve("somebody")
        assert registry.resident() == ()
        member = registry.default.team.members[0]
        assert registry.resolve(member.name).member == member
        with pytest.raises(NotFound, match="avengers"), registry.lease(member.model):
            pass


def test_models_that_are_not_installed_are_told_before_anything_is_asked(serve):
    _, said = serve()
    assert "warning: team starter lacks qwen2.5-coder-1.5b-instruct" in said
    assert "avengers setup starter" in said


def test_teams_share_what_is_loaded_and_are_opened_once():
    with ModelRegistry.open(load_settings()) as registry:
        other = registry.resolve("avengers/open-7b").avengers
        assert other is registry.resolve("avengers", "open-7b").avengers
        assert other is not registry.default
        with pytest.raises(Problem, match="there is no model"):
            registry.resolve("avengers/nobody")


@pytest.mark.parametrize("option", ["--max-seconds", "--drain"])
@pytest.mark.parametrize("value", ["nan", "inf", "-1"])
def test_a_time_that_is_none_is_a_usage_error(serve, option, value):
    _, said = serve(option, value, code=2)
    assert option.removeprefix("--max-").removeprefix("--") in said
