"""Laws of the wheels in a bundle and of its installer: pip is told what runs here, and nothing is fetched off line."""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import importlib.metadata
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import tomllib
import zipfile
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest
from bundle_files import EPOCH, fake_wheel, make_home, pack_small

import avengers_edge
from avengers_edge.errors import AvengersError, BadRequest, DoesNotFit, NotFound, OfflineRefused, VerificationFailed
from avengers_edge.library.bundle import wheels
from avengers_edge.library.bundle.pack import PackOptions, installer_script, pack
from avengers_edge.library.bundle.wheels import USER_EXTRAS, WheelOptions, gather_wheels, needed_names, rebuild_wheel

VERSION = avengers_edge.__version__
MAIN = "import json, os, sys\nopen(os.environ['HEARD'], 'w').write(json.dumps(sys.argv[1:]))\n"


def fill_shelf(folder):
    """Make the wheels of a product that notes what it is called with, and of the one thing that it needs."""
    metadata = "Provides-Extra: more\nRequires-Dist: helper>=1\nRequires-Dist: extra-helper; extra == 'more'\n"
    files = {"avengers_edge/__init__.py": "", "avengers_edge/__main__.py": MAIN}
    fake_wheel(folder, "avengers-edge", VERSION, files, metadata)
    fake_wheel(folder, "helper", "1.5", {"helper.py": ""})
    return folder


@pytest.fixture
def shelf(tmp_path):
    return fill_shelf(tmp_path / "shelf")


@pytest.fixture
def asked(monkeypatch):
    """What pip was asked; it brings nothing, and fails with the log that is put here."""
    calls = SimpleNamespace(words=[], environ=[], logs=[], constraints="")

    def run(words, folder, heard=lambda _: None, environ=os.environ):
        calls.words.append(list(words))
        calls.environ.append(dict(environ))
        if "-c" in words:
            calls.constraints = Path(words[words.index("-c") + 1]).read_text(encoding="utf-8")
        if not calls.logs:
            return None
        log = folder / "pip.log"
        log.write_text(calls.logs.pop(0), encoding="utf-8")
        return log

    monkeypatch.setattr(wheels, "run_pip", run)
    monkeypatch.setattr(wheels, "rebuild_wheel", lambda *_: None)  # which takes seconds, and has tests of its own
    return calls


def gather(tmp_path, **options):
    folder = tmp_path / "work"
    folder.mkdir(exist_ok=True)
    return [path.name for path in gather_wheels(WheelOptions(**options), folder)]


# --- what pip is told ---


def test_pip_makes_wheels_of_the_versions_that_run_here(tmp_path, shelf, asked):
    gather(tmp_path, folder=shelf)
    (words,) = asked.words
    assert words[:2] == ["wheel", "-w"]
    assert words[-1].startswith("avengers-edge @ file:")
    assert f"click=={importlib.metadata.version('click')}" in asked.constraints.split()
    assert "helper" not in asked.constraints
    assert not re.search("^avengers", asked.constraints, re.MULTILINE)
    assert "--no-index" not in words


def test_for_another_platform_pip_downloads_wheels_of_it_and_of_older_ones(tmp_path, shelf, asked):
    gather(tmp_path, folder=shelf, platforms=("manylinux_2_17_aarch64", "win_amd64"), python="3.13")
    (words,) = asked.words
    tags = [word for flag, word in itertools.pairwise(words) if flag == "--platform"]
    assert words[0] == "download"
    assert "--only-binary=:all:" in words
    assert words[words.index("--python-version") + 1] == "3.13"
    assert {"manylinux_2_17_aarch64", "manylinux2014_aarch64", "linux_aarch64", "win_amd64"} <= set(tags)
    assert "manylinux_2_28_aarch64" not in tags


def test_off_line_pip_sees_the_folder_and_no_setting_of_anybody(tmp_path, shelf, asked, monkeypatch):
    monkeypatch.setenv("PIP_FIND_LINKS", "somewhere")
    gather(tmp_path, folder=shelf, offline=True)
    (words,), (environ,) = asked.words, asked.environ
    assert "--no-index" in words
    assert words[words.index("--find-links") + 1] == str(shelf)
    assert [name for name in environ if name.startswith("PIP_")] == ["PIP_CONFIG_FILE"]
    assert environ["PIP_CONFIG_FILE"] == os.devnull


def test_extras_are_those_that_the_product_has(tmp_path, shelf, asked):
    gather(tmp_path, folder=shelf, extras=("more",))
    assert asked.words[0][-1].startswith("avengers-edge[more] @ file:")
    with pytest.raises(BadRequest, match="no extra 'most': use more"):
        gather(tmp_path / "again", folder=shelf, extras=("more", "most")) if (
            tmp_path / "again"
        ).mkdir() is None else None


@pytest.mark.parametrize(
    "options", [{"python": "3"}, {"python": "3.12.1"}, {"platforms": ("a b",)}, {"platforms": ("-x",)}]
)
def test_options_that_are_none_are_refused(options):
    with pytest.raises(BadRequest):
        WheelOptions(**options)


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(NotFound, match="there is no folder"):
        WheelOptions(folder=tmp_path / "none")


# --- what pip lacks ---

NONE = "ERROR: No matching distribution found for {}\n"


def test_all_that_has_no_wheel_there_is_named_in_one_line_with_the_cure(tmp_path, shelf, asked):
    names = [f"{name}=={importlib.metadata.version(name)}" for name in ("jinja2", "numpy")]
    asked.logs = ["ERROR: ResolutionImpossible: see elsewhere\n", *(NONE.format(name) for name in names)]
    with pytest.raises(
        NotFound, match=f"no wheel of {', '.join(names)} for win_amd64 and Python 3.13: build it .* --wheels"
    ):
        gather(tmp_path, folder=shelf, platforms=("win_amd64",), python="3.13")
    assert len(asked.words) == 4  # asked once more, until nothing lacks


def test_what_lacks_off_line_is_refused_as_off_line(tmp_path, shelf, asked):
    name = f"click=={importlib.metadata.version('click')}"
    asked.logs = ["ERROR: ResolutionImpossible: see elsewhere\n", NONE.format(name)]
    with pytest.raises(OfflineRefused, match=f"no wheel of {name} for .* in {shelf}"):
        gather(tmp_path, folder=shelf, offline=True)


def test_what_is_packed_by_default_are_extras_of_this_product():
    project = Path(__file__).parents[2] / "pyproject.toml"
    extras = tomllib.loads(project.read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    assert set(USER_EXTRAS) <= extras.keys()


def test_what_only_an_extra_needs_is_cured_by_packing_fewer_of_them_too(tmp_path, shelf, asked):
    name = f"click=={importlib.metadata.version('click')}"
    asked.logs = ["ERROR: ResolutionImpossible: see elsewhere\n", NONE.format(name)]
    with pytest.raises(OfflineRefused, match="put it there, pack fewer --extras than more or leave out --offline"):
        gather(tmp_path, folder=shelf, offline=True, extras=("more",))


@pytest.mark.parametrize(
    ("log", "kind", "words"),
    [
        (
            "WARNING: Retrying (x)\nERROR: No matching distribution found for click\n",
            AvengersError,
            "index cannot be reached",
        ),
        ("ERROR: [Errno 28] No space left on device\n", DoesNotFit, "more disk"),
        ("ERROR: compiler\n", AvengersError, "pip could not bring the wheels: compiler"),
    ],
)
def test_other_complaints_of_pip_are_one_line(tmp_path, shelf, asked, log, kind, words):
    asked.logs = [log]
    with pytest.raises(kind, match=words):
        gather(tmp_path, folder=shelf)


def test_what_is_needed_follows_the_installed_metadata():
    plain, more = needed_names("avengers-edge", ()), needed_names("avengers-edge", ("calibrate",))
    assert {"click", "numpy", "markupsafe"} <= set(plain) < set(more)
    assert "scikit-learn" in set(more) - set(plain)
    assert "avengers-edge" not in more
    assert needed_names("nobody-knows-this", ()) == ()


def test_what_another_machine_or_extra_needs_is_not_needed(monkeypatch):
    metadata = {
        "top": ["a[x]>=1", "b; sys_platform == 'nowhere'", "c; extra == 'more'", "d; extra == 'most'", "not a name ("],
        "a": ["e; extra == 'x'", "f; extra == 'y'", "Top"],
    }

    def requires(name):
        if name.lower() in ("top", "a", "b", "c", "d", "e", "f"):
            return metadata.get(name.lower(), [])
        raise importlib.metadata.PackageNotFoundError

    monkeypatch.setattr(wheels.importlib.metadata, "requires", requires)
    assert needed_names("top", ("more",)) == ("a", "c", "e")


# --- wheels made again ---


def test_a_wheel_made_again_installs_the_same_files(tmp_path):
    pip = importlib.metadata.distribution("pip")
    path = rebuild_wheel(pip, tmp_path)
    with zipfile.ZipFile(path) as wheel:
        assert wheel.testzip() is None
        names = wheel.namelist()
        for name in names:
            if not name.endswith("RECORD"):
                assert wheel.read(name) == Path(str(pip.locate_file(name))).read_bytes()
    assert path.name == f"pip-{pip.version}-py3-none-any.whl"
    assert "pip/__main__.py" in names
    assert not [
        name for name in names if name.startswith("..") or name.endswith((".pyc", "INSTALLER", "direct_url.json"))
    ]
    (tmp_path / "b").mkdir()
    assert rebuild_wheel(pip, tmp_path / "b").read_bytes() == path.read_bytes()


class Pretended(importlib.metadata.PathDistribution):
    """A distribution installed into a folder."""


def installed(tmp_path, tag="py3-none-any", record="thing.py,sha256=wrong,1\nthing-1.dist-info/RECORD,,\n"):
    info = tmp_path / "site" / "thing-1.dist-info"
    info.mkdir(parents=True)
    (info.parent / "thing.py").write_text("x")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: thing\nVersion: 1\n")
    (info / "WHEEL").write_text(f"Wheel-Version: 1.0\nTag: {tag}\n")
    (info / "RECORD").write_text(record)
    return Pretended(info)


def test_a_file_that_was_changed_since_it_was_installed_is_refused(tmp_path):
    with pytest.raises(VerificationFailed, match=r"thing.py was changed since"):
        rebuild_wheel(installed(tmp_path), tmp_path)


def test_what_was_compiled_is_not_made_again(tmp_path):
    with pytest.raises(BadRequest, match="--wheels DIR"):
        rebuild_wheel(installed(tmp_path, tag="cp311-cp311-linux_x86_64"), tmp_path)


# --- the installer ---


def test_the_installer_is_one_file_of_the_standard_library():
    script = installer_script()
    assert script == installer_script()
    nodes = list(ast.walk(ast.parse(script)))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in nodes if isinstance(node, ast.ImportFrom)}
    assert {name.split(".")[0] for name in names} <= sys.stdlib_module_names | {"__future__"}
    defined = Counter(
        name
        for node in ast.parse(script).body
        for name in (
            [node.name]
            if isinstance(node, ast.ClassDef | ast.FunctionDef)
            else [
                each.id
                for target in getattr(node, "targets", ())
                for each in ast.walk(target)
                if isinstance(each, ast.Name)
            ]
        )
    )
    assert [name for name, count in defined.items() if count > 1] == []


def test_the_installer_has_no_name_that_nothing_defines(tmp_path):
    path = tmp_path / "install.py"
    path.write_bytes(installer_script())
    done = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--isolated", "--select", "F82", "--no-cache", str(path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


@pytest.fixture(scope="module")
def installer(tmp_path_factory):
    path = tmp_path_factory.mktemp("installer") / "install.py"
    path.write_bytes(installer_script())

    def run(*words, **environ):
        command = [sys.executable, "-I", str(path), *map(str, words)]
        return subprocess.run(
            command, capture_output=True, text=True, check=False, cwd=path.parent, env={**os.environ, **environ}
        )

    run.script = path
    return run


@pytest.fixture(scope="module")
def carried_once(tmp_path_factory):
    """A bundle with the product that notes what it is called with; real pip gathers the wheels, off line."""
    folder = tmp_path_factory.mktemp("carried")
    catalog, store = make_home(folder / "home")
    wanted = WheelOptions(folder=fill_shelf(folder / "shelf"), offline=True)
    return pack(PackOptions("small", "small", folder / "stick", wanted), catalog, store, environ=EPOCH)


@pytest.fixture
def carried(carried_once, tmp_path):
    """The same, in a copy that may be damaged."""
    copy = tmp_path / "copy" / carried_once.archive.name
    copy.parent.mkdir()
    shutil.copyfile(carried_once.archive, copy)
    return dataclasses.replace(carried_once, archive=copy)


def one_line(done, code):
    *_, last = done.stderr.splitlines()
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return last


def test_the_installer_makes_an_environment_of_the_wheels_and_unpacks_with_it(carried, installer, tmp_path):
    paths = [file.path for file in carried.bundle.manifest.files if file.role == "wheel"]
    pip = f"wheels/pip-{importlib.metadata.version('pip')}-py3-none-any.whl"
    assert paths == [f"wheels/avengers_edge-{VERSION}-py3-none-any.whl", "wheels/helper-1.5-py3-none-any.whl", pip]
    venv, heard = tmp_path / "venv", tmp_path / "heard.json"
    words = (carried.archive, "--venv", venv, "--home", tmp_path / "new", "--replace")
    done = installer(*words, HEARD=str(heard), PIP_INDEX_URL="nowhere")
    assert one_line(done, 0).startswith("done: ")
    expected = ["--home", str(tmp_path / "new"), "bundle", "unpack", str(carried.archive), "--replace"]
    assert json.loads(heard.read_text()) == expected
    assert not (venv / "bundle-wheels").exists()
    # Again: nothing is installed twice.
    heard.unlink()
    again = installer(*words, HEARD=str(heard))
    assert "the wheels are installed" in again.stderr
    assert json.loads(heard.read_text()) == expected


@pytest.mark.skipif(os.name == "nt", reason="no process groups to kill")
def test_the_installer_goes_on_wherever_it_was_killed(carried, installer, tmp_path):
    venv, heard = tmp_path / "venv", tmp_path / "heard.json"
    words = [carried.archive, "--venv", venv, "--home", tmp_path / "new"]
    moments = [("making a virtual", 0.0), ("making a virtual", 0.1), ("installing", 0.2), ("installing", 1.0)]
    for line, delay in moments:
        with subprocess.Popen(
            [sys.executable, "-I", str(installer.script), *map(str, words)],
            stderr=subprocess.PIPE,
            start_new_session=True,
            env={**os.environ, "HEARD": str(heard)},
        ) as running:
            for said in running.stderr:
                if said.startswith(line.encode()):
                    break
            time.sleep(delay)
            with contextlib.suppress(ProcessLookupError):  # it has ended
                os.killpg(running.pid, signal.SIGKILL)
        assert running.returncode in (0, -signal.SIGKILL)
    assert one_line(installer(*words, HEARD=str(heard)), 0).startswith("done: ")
    python = venv / "bin" / "python"
    subprocess.run([python, "-I", "-c", "import helper, avengers_edge"], check=True)
    assert sorted(path.name for path in venv.iterdir() if path.name.startswith("bundle")) == ["bundle.sha256"]


def test_the_installer_takes_a_folder_that_it_began_and_a_package_that_pip_began(carried, installer, tmp_path):
    venv, heard = tmp_path / "venv", tmp_path / "heard.json"
    words = (carried.archive, "--venv", venv)
    (venv / "include").mkdir(parents=True)  # `python -m venv` was killed before it had written pyvenv.cfg
    assert "is no virtual environment" in one_line(installer(*words), 2)
    (venv / "bundle.unfinished").touch()
    assert one_line(installer(*words, HEARD=str(heard)), 0).startswith("done: ")
    (record,) = venv.rglob("helper-1.5.dist-info/RECORD")  # pip was killed before it had written it
    record.unlink()
    (venv / "bundle.sha256").unlink()
    (venv / "bundle-wheels").mkdir()
    (venv / "bundle-wheels" / "helper-1.5-py3-none-any.whl").write_bytes(b"half")
    (venv / "bundle-wheels" / "other.whl.part").write_bytes(b"half")
    assert one_line(installer(*words, HEARD=str(heard)), 0).startswith("done: ")
    assert record.is_file()


@pytest.mark.parametrize(
    ("inside", "complaint"),
    [(b"helper.py", "wheels/helper-1.5-py3-none-any.whl is bad"), (b"GGUF", "models/tiny/Tiny.gguf is bad")],
)
def test_the_installer_runs_nothing_of_an_archive_that_is_not_all_right(
    carried, installer, tmp_path, inside, complaint
):
    data = bytearray(carried.archive.read_bytes())
    data[data.rindex(inside) + 3] ^= 1
    carried.archive.write_bytes(bytes(data))
    last = one_line(installer(carried.archive, "--venv", tmp_path / "venv"), 4)
    assert f"nothing was installed, for {complaint}" in last
    assert not (tmp_path / "venv").exists()


@pytest.mark.parametrize(
    ("words", "code", "complaint"),
    [
        ((), 2, "--venv"),
        (("none.tar", "--venv", "v"), 3, "there is no file none.tar"),
        (("install.py", "--venv", "v"), 4, "is no bundle"),
        (("--unknown",), 2, "see --help"),
    ],
)
def test_the_installers_complaints_are_one_line(installer, words, code, complaint):
    done = installer(*words)
    assert complaint in one_line(done, code)
    assert len(done.stderr.splitlines()) == 1


def test_the_installer_tells_what_it_cannot_install(home, tmp_path, installer, carried):
    make_home(home)
    plain = pack_small(home, tmp_path / "plain")
    assert "has no wheels" in one_line(installer(plain, "--venv", tmp_path / "v"), 2)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    assert "is no virtual environment" in one_line(installer(carried.archive, "--venv", tmp_path / "full"), 2)
    key = tmp_path / "key.pub"
    key.write_text("no key")
    assert "no public key" in one_line(installer(carried.archive, "--venv", tmp_path / "v", "--key", key), 2)
    carried.archive.write_bytes(carried.archive.read_bytes()[:-1])
    assert "copy it again" in one_line(installer(carried.archive, "--venv", tmp_path / "v"), 4)
    assert not (tmp_path / "v").exists()


def test_the_installer_checks_the_signature_before_it_runs_anything(home, tmp_path, installer):
    ed25519 = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.ed25519")
    serialization = pytest.importorskip("cryptography.hazmat.primitives.serialization")
    private = ed25519.Ed25519PrivateKey.generate()
    pem = serialization.Encoding.PEM
    key, public = tmp_path / "key.pem", tmp_path / "key.pub"
    key.write_bytes(private.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    public.write_bytes(private.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo))
    make_home(home)
    signed = pack_small(home, tmp_path / "signed", sign_key=key)
    unsigned = pack_small(home, tmp_path / "unsigned")
    assert "is not signed" in one_line(installer(unsigned, "--venv", tmp_path / "v", "--key", public), 4)
    done = installer(signed, "--venv", tmp_path / "v", "--key", public)
    assert f"its signature is that of {public}" in done.stderr
    assert "has no wheels" in one_line(done, 2)
    assert not (tmp_path / "v").exists()


def test_wheels_for_another_python_are_told_before_an_environment_is_made(home, tmp_path, shelf, installer, asked):
    catalog, store = make_home(home)
    options = WheelOptions(folder=shelf, platforms=("any",), python="3.99")
    path = pack(PackOptions("small", "small", tmp_path / "stick", options), catalog, store).archive
    assert "for Python 3.99 and this is 3." in one_line(installer(path, "--venv", tmp_path / "v"), 2)
    assert not (tmp_path / "v").exists()
