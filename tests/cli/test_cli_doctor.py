"""Laws of `doctor` and `--network`: what keeps asking from working is a remedy and exit code 1, all else is advice."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner
from gguf_files import tiny_model
from packaging.requirements import Requirement
from rooms import OPENS_SOCKETS, PACKAGE
from test_cli_start import FACTS, examine  # noqa: F401 - fixtures

from avengers_edge._util.files import write_text
from avengers_edge.cli import doctor_command
from avengers_edge.cli.doctor_command import Finding, attempt, broken_bound
from avengers_edge.cli.network_audit import REACHES_OUT, STARTS, find_places
from avengers_edge.cli.root_command import cli
from avengers_edge.cli.session import Session
from avengers_edge.errors import DoesNotFit
from avengers_edge.history.conversation_store import FILE_NAME, ConversationStore
from avengers_edge.history.conversations import Turn
from avengers_edge.library.catalog import Catalog
from avengers_edge.library.importing import import_file
from avengers_edge.library.store import Store

ROOT = Path(__file__).parents[2]
posix = pytest.mark.skipif(os.name == "nt", reason="rights are of another kind on Windows")


@pytest.fixture
def run():
    def invoke(*words):
        return CliRunner().invoke(cli, list(map(str, words)))

    return invoke


# --- versions ---


@pytest.mark.parametrize(
    ("requirement", "version", "bound"),
    [
        ("numpy<3,>=1.26", "2.1.0", None),
        ("numpy<3,>=1.26", "1.25.2", ">=1.26"),
        ("numpy<3,>=1.26", "3.0", "<3"),
        ("llama-cpp-python<0.3.37,>=0.3.36", "0.3.36", None),
        ("a-b[c] (!=1.5,==1.*,<=2,>1)", "1.5.0", "!=1.5"),
        ("a==1.2; python_version > '3'", "1.3", "==1.2"),
        ("a", "0", None),
    ],
)
def test_a_release_outside_of_what_was_tested_is_found(requirement, version, bound):
    assert broken_bound(Requirement(requirement), version) == bound


def test_templates_that_could_leave_their_sandbox_are_out_of_range():
    """CVE-2025-27516 of Jinja2 is mended by 3.1.6."""
    lines = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    (jinja2,) = (Requirement(line) for line in lines if line.lower().startswith("jinja2"))
    assert broken_bound(jinja2, "3.1.5") == ">=3.1.6"


def packages(monkeypatch, versions):
    real = importlib.metadata.version

    def version(package):
        found = versions.get(package, real(package) if package in doctor_command._PACKAGES else None)
        if found is None:
            raise importlib.metadata.PackageNotFoundError(package)
        return found

    monkeypatch.setattr(importlib.metadata, "version", version)
    monkeypatch.setattr(
        doctor_command,
        "_requirements",
        lambda: {each.name: each for each in map(Requirement, ("numpy<3,>=1.26", "jinja2<4,>=3.1.6"))},
    )
    return {finding.what: finding for finding in doctor_command.check_packages()}


def test_a_package_that_is_bad_or_missing_is_a_remedy_and_one_that_does_no_harm_here_is_told(monkeypatch):
    found = packages(monkeypatch, {"jinja2": "3.1.4", "numpy": "1.20", "diskcache": "5.6.3", "tokenizers": None})
    assert found["jinja2"].remedy == "it is not >=3.1.6, which was tested: pip install 'jinja2<4,>=3.1.6'"
    assert found["numpy"].remedy == "it is not >=1.26, which was tested: pip install 'numpy<3,>=1.26'"
    assert found["tokenizers"].found == "is not installed"
    assert (found["diskcache"].remedy, "CVE-2025-69872" in found["diskcache"].found) == (None, True)
    assert found["click"].remedy is None


def test_what_is_not_installed_cannot_be_bad(monkeypatch):
    assert "diskcache" not in packages(monkeypatch, {})


def test_a_requirement_is_known_by_its_package():
    assert doctor_command._requirements()["jinja2"].name == "jinja2"


@pytest.mark.native
def test_all_members_of_the_starter_team_are_counted_where_routing_is_checked():
    (found,) = doctor_command.check_routing(Session(), "starter")
    members = len(Catalog.of(Session().settings()).load_team("starter").members)
    assert found.found == f"works, {members} members ranked on CPUExecutionProvider"


# --- home and files ---


@posix
def test_a_home_that_everybody_may_change_is_told_with_the_cure(examine, home):  # noqa: F811
    assert examine()[0]["home"]["advice"] is None
    (home / "teams").chmod(0o777)
    advice = examine()[0]["home"]["advice"]
    assert advice == f"everybody may change {home / 'teams'}: chmod -R o-w '{home}'"
    assert "(drwx" in examine()[0]["home"]["found"]


def test_little_disk_is_told(examine, monkeypatch):  # noqa: F811
    assert examine()[0]["free disk"]["advice"] is None
    real = doctor_command.shutil.disk_usage
    monkeypatch.setattr(doctor_command.shutil, "disk_usage", lambda path: real(path)._replace(free=10**8))
    assert "free some" in examine()[0]["free disk"]["advice"]


def test_no_disk_at_all_needs_attention(examine, monkeypatch):  # noqa: F811
    real = doctor_command.shutil.disk_usage
    monkeypatch.setattr(doctor_command.shutil, "disk_usage", lambda path: real(path)._replace(free=0))
    found = examine()[0]["free disk"]
    assert (found["found"], found["advice"], "free some" in found["remedy"]) == ("0 B", None, True)


@pytest.mark.parametrize("content", [b"\xff", b"team = 1", b"nonsense"])
def test_settings_that_cannot_be_used_are_one_finding_of_their_name(run, home, content):
    home.mkdir()
    (home / "settings.toml").write_bytes(content)
    result = run("doctor", "--json")
    bad = [each for each in json.loads(result.stdout)["findings"] if each["remedy"]]
    assert [each["what"] for each in bad] == ["settings"]
    assert str(home / "settings.toml") in bad[0]["remedy"]
    assert result.stderr.endswith("checks need attention: settings\n")


def test_what_several_checks_stumble_over_is_said_once(run):
    findings = json.loads(run("doctor", "--team", "nobody", "--json").stdout)["findings"]
    assert sum("'nobody'" in (each["remedy"] or "") for each in findings) == 1


def test_conversations_that_are_sound_are_told_and_stay_as_they_are(examine, home):  # noqa: F811
    assert "conversations" not in examine()[0]
    assert not (home / FILE_NAME).exists()
    with ConversationStore(home / FILE_NAME) as store:
        store.append(store.begin("starter"), Turn("user", "Which numbers are prime?"))
    before = (home / FILE_NAME).read_bytes()
    assert examine()[0]["conversations"]["remedy"] is None
    assert (home / FILE_NAME).read_bytes() == before
    assert [each.name for each in home.glob(f"{FILE_NAME}*")] == [FILE_NAME]


def overwritten(path):
    path.write_bytes(b"\x85" * 40_000)


def torn(path):
    with ConversationStore(path) as store:
        for number in range(40):
            store.append(store.begin("starter"), Turn("user", f"Question {number} " * 100))
    content = bytearray(path.read_bytes())
    page = content.index(b"Question 30 " * 80) // 4096 * 4096
    content[page : page + 4096] = b"\xff" * 4096
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [overwritten, torn, Path.mkdir])
def test_damaged_conversations_are_one_finding_with_its_remedy(run, home, damage):
    home.mkdir()
    damage(home / FILE_NAME)
    findings = json.loads(run("doctor", "--json").stdout)["findings"]
    (told,) = [each for each in findings if each["what"] == "conversations"]
    assert "move the file aside" in told["remedy"]


def test_every_installed_file_tells_when_it_was_verified(examine, home, tmp_path):  # noqa: F811
    (tmp_path / "third.gguf").write_bytes(tiny_model(7))
    manifest = import_file(Store(home), tmp_path / "third.gguf", Catalog(home), link=True)
    write_text(home / "models" / "stray" / "x.gguf", "x")
    files = {what: each for what, each in examine()[0].items() if what.startswith("file of ")}
    assert set(files) == {"file of large", "file of small", "file of third", "file of stray"}
    assert re.fullmatch(r"verified 20\d\d-\d\d-\d\d", files["file of large"]["found"])
    assert files["file of third"]["found"].endswith(f"in place at {tmp_path / 'third.gguf'}")
    assert files["file of stray"]["found"] == "never verified"
    assert "avengers models gc" in files["file of stray"]["advice"]
    os.utime(tmp_path / "third.gguf", ns=(1, 1))
    touched = examine()[0]["file of third"]
    assert "changed since" in touched["found"]
    assert touched["advice"] == f"run `avengers models verify {manifest.id}`"
    (tmp_path / "third.gguf").unlink()
    assert "No such file" in examine()[0]["file of third"]["found"]


def test_doctor_lets_the_model_write_a_token(examine):  # noqa: F811
    assert examine()[0]["answering"]["found"] == "small wrote a token"


def test_a_check_that_fails_is_a_finding_with_its_remedy_and_keeps_what_it_found():
    def check():
        yield Finding("first", "well")
        raise DoesNotFit("9 GB and 4 GB: buy more")

    first, problem = attempt(check)
    assert (first.found, problem.what, problem.remedy) == ("well", "problem", "9 GB and 4 GB: buy more")


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (ImportError("no module"), "install avengers-edge again"),
        (OSError("libgomp.so.1: cannot open shared object file"), "install avengers-edge again"),
        (PermissionError(13, "Permission denied", "/srv/models"), "mend the rights of /srv/models, or the disk"),
        (OSError(5, "Input/output error", "/srv/models/x"), "mend the rights of /srv/models/x, or the disk"),
    ],
)
def test_what_the_system_refuses_is_mended_where_it_is_and_not_by_installing_again(error, remedy):
    def check():
        raise error
        yield

    (problem,) = attempt(check)
    assert problem.remedy.startswith(remedy)
    assert str(error) in problem.found


# --- network ---


def runs_programs(path):
    starts = r"^import subprocess$|^from subprocess |^ *import pydantic_monty$|click\.edit\("
    return re.search(starts, path.read_text(encoding="utf-8"), re.MULTILINE)


def test_what_can_reach_out_is_what_the_layers_say_and_each_place_is_explained(run):
    assert OPENS_SOCKETS | {"datasets"} == REACHES_OUT
    result = run("doctor", "--network", "--json")
    assert result.exit_code == 0, result.stderr
    report = json.loads(result.stdout)
    assert report["modules_read"] == len(list(PACKAGE.rglob("*.py")))
    places = {place["module"]: place for place in report["places"]}
    out = {module for module, place in places.items() if REACHES_OUT & set(place["uses"]) or "pip" in place["uses"]}
    assert {module for module in out if not module.startswith("library/")} == {
        "server/launcher.py",  # it listens
        "cli/running_server.py",  # on loopback only
    }
    opening = {module for module, place in places.items() if not STARTS.issuperset(place["uses"])}
    assert {module for module in opening if module.split("/")[0] not in ("library", "server")} <= {
        "cli/running_server.py",
        "cli/serve_command.py",
        "api/aio.py",
    }
    assert places["library/download.py"]["uses"] == ["http.client", "urllib.request"]
    assert places["library/hub.py"]["uses"] == ["datasets", "huggingface_hub"]
    assert places["library/pip.py"]["uses"] == ["pip", "subprocess"]
    started = {path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py") if runs_programs(path)}
    assert {module for module, place in places.items() if STARTS & set(place["uses"])} == started
    assert {
        "cli/chat/slash_commands.py",
        "cli/chat/terminal_prompt.py",
        "engine/spawn.py",
        "sandbox/linux.py",
    } <= started
    assert all(place["why"] and place["when"] for place in places.values())


def test_the_report_is_for_people_too(run):
    result = run("--offline", "doctor", "--network")
    assert result.exit_code == 0
    assert "library/download.py (http.client, urllib.request)" in result.stdout
    assert "Off line is set" in result.stdout
    assert "start programs, which could:" in result.stdout
    assert "/copy" in result.stdout
    assert "Ctrl-G" in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 120


@pytest.mark.parametrize(
    ("text", "uses"),
    [
        ("import socket", ("socket",)),
        ("def f():\n    from urllib import request", ("urllib.request",)),
        ("import urllib.request.x", ("urllib.request",)),
        ("from http.client import HTTPConnection as C", ("http.client",)),
        ("import subprocess\nrun(['python', '-m', 'pip'])", ("pip", "subprocess")),
        ("import os\nos.execvp('curl', [])", ("os.execvp",)),
        ("from os import system", ("os.system",)),
        ("import click\nclick.edit('x')", ("click.edit",)),
        ("from multiprocessing import Pool", ("multiprocessing",)),
        ("import sockets, urllib.parse, http\nx = 'pip'", ()),
    ],
)
def test_a_place_is_found_however_it_is_written(tmp_path, text, uses):
    (tmp_path / "module.py").write_text(text, encoding="utf-8")
    places, read = find_places(tmp_path)
    assert read == 1
    assert [place.uses for place in places] == ([uses] if uses else [])


def test_a_place_that_nobody_explained_is_a_failed_verification(run, monkeypatch, tmp_path):
    (tmp_path / "phone_home.py").write_text("import socket", encoding="utf-8")
    found = find_places(tmp_path)
    monkeypatch.setattr("avengers_edge.cli.network_audit.find_places", lambda: found)
    result = run("doctor", "--network")
    assert result.exit_code == 4
    assert "NOBODY EXPLAINED THIS" in result.stdout
    assert "phone_home.py could reach out" in result.stderr
