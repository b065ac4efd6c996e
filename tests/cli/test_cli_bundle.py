"""Laws of `avengers bundle` on the command line: answers, exit codes, one line for each error."""

from __future__ import annotations

import hashlib
import json

import pytest
from bundle_files import fake_wheel, large_model, make_home
from click.testing import CliRunner

from avengers_edge.cli.root_command import cli
from avengers_edge.cli.terminal import StatusLine


@pytest.fixture
def run(home):
    """Runs a command in a home with the team `small`."""
    make_home(home)

    def invoke(*words, **options):
        return CliRunner().invoke(cli, list(map(str, words)), **options)

    return invoke


@pytest.fixture
def archive(run, tmp_path):
    done = run("bundle", "pack", "small", "--no-wheels", "--out", tmp_path / "stick")
    assert done.exit_code == 0, done.stderr
    return tmp_path / "stick" / "small.tar"


def fails(result, code):
    """The law of errors: one line on standard error, and nothing that looks like an answer."""
    assert result.exit_code == code, result.output
    *before, last = result.stderr.splitlines()
    assert last.startswith("avengers: ")
    assert not [line for line in before if line.startswith(("avengers: ", "Traceback"))]
    return last


def test_the_path_of_the_archive_is_the_answer(run, tmp_path):
    done = run("bundle", "pack", "small", "--no-wheels", "-o", tmp_path / "other.tar")
    assert done.stdout == f"{tmp_path / 'other.tar'}\n"
    assert "the sha256 of its manifest" in done.stderr
    script = hashlib.sha256((tmp_path / "other.install.py").read_bytes()).hexdigest()
    assert f"other.install.py: sha256 {script}, to be compared" in done.stderr
    assert (tmp_path / "other.install.py").is_file()
    assert run("bundle", "verify", tmp_path / "other.tar").stdout.startswith("other: ok, 6 files")


def test_packing_into_the_current_folder_and_the_team_in_use_are_the_defaults(run, tmp_path, monkeypatch, home):
    (home / "settings.toml").write_text('team = "small"\n')
    monkeypatch.chdir(tmp_path)
    done = run("bundle", "pack", "--no-wheels", "--name", "mine", "--json")
    told = json.loads(done.stdout)
    assert (told["archive"], told["team"], told["files"], told["signature"]) == ("mine.tar", "small", 6, "none")
    script = hashlib.sha256((tmp_path / "mine.install.py").read_bytes()).hexdigest()
    assert told["installer_sha256"] == script
    assert told["bytes"] == (tmp_path / "mine.tar").stat().st_size


def test_verifying_and_unpacking_tell_what_they_did(run, archive, tmp_path):
    told = json.loads(run("bundle", "verify", archive, "--json").stdout)
    assert (told["ok"], told["archive"], told["problems"]) == (True, str(archive), [])
    (bundle,) = told["bundles"]
    assert bundle["name"] == "small"
    new = ("--home", tmp_path / "new")
    done = run(*new, "bundle", "unpack", archive, "--json")
    told = json.loads(done.stdout)
    assert (told["files"], told["already"], told["home"]) == (5, 0, str(tmp_path / "new"))
    assert "5 of them were there before" in run(*new, "bundle", "unpack", archive).stderr
    told = json.loads(run(*new, "bundle", "verify", "--json").stdout)
    assert (told["ok"], told["bundles"][0]["manifest_sha256"]) == (True, bundle["manifest_sha256"])
    assert run(*new, "models", "verify").stdout == "tiny: ok\n"


def test_the_installer_beside_an_archive_is_checked_with_it(run, archive):
    script = archive.with_name("small.install.py")
    assert json.loads(run("bundle", "verify", archive, "--json").stdout)["installer"] == str(script)
    assert run("bundle", "verify", archive).stdout.splitlines()[1:] == ["small.install.py: ok, its own installer"]
    script.write_bytes(script.read_bytes() + b"# and more\n")
    done = run("bundle", "verify", archive)
    assert "1 file is bad, missing or extra: small.install.py" in fails(done, 4)
    assert done.stdout.startswith("small.install.py is bad: its sha256 begins with ")
    script.unlink()
    assert run("bundle", "verify", archive).stdout.splitlines()[1:] == ["there is no installer beside it"]
    assert json.loads(run("bundle", "verify", archive, "--json").stdout)["installer"] is None


@pytest.mark.parametrize(
    ("words", "extras"),
    [
        ((), ["chat", "serve", "calibrate"]),
        (("--extras", "none"), []),
        (("--extras", ""), []),
        (("--extras", "hub, chat"), ["hub", "chat"]),
    ],
)
def test_the_wheels_serve_all_that_users_need_unless_they_are_told_otherwise(run, tmp_path, monkeypatch, words, extras):
    gathered = []

    def gather(options, folder, heard):
        gathered.append(list(options.extras))
        return (fake_wheel(folder, "thing", "1", {}),)

    monkeypatch.setattr("avengers_edge.library.bundle.pack.gather_wheels", gather)
    done = run("bundle", "pack", "small", "-o", tmp_path / "stick", "--python-version", "3.12", "--json", *words)
    assert json.loads(done.stdout)["extras"] == extras
    told = run("bundle", "pack", "small", "-o", tmp_path / "stick", "--python-version", "3.12", *words).stderr
    assert f"and serve {', '.join(['ask', *extras])}\n" in told
    assert gathered == [extras, extras]
    archive = tmp_path / "stick" / "small.tar"
    assert json.loads(run("bundle", "verify", archive, "--json").stdout)["bundles"][0]["extras"] == extras


def test_every_problem_is_a_line_and_the_code_is_4(run, archive, tmp_path):
    data = bytearray(archive.read_bytes())
    for inside in (b"the tiny model, alone", b"GGUF"):
        data[data.rindex(inside) + 8] ^= 1
    archive.write_bytes(bytes(data))
    done = run("bundle", "verify", archive)
    lines = done.stdout.splitlines()
    assert len(lines) == 2
    assert all(" is bad: " in line for line in lines)
    assert "2 files are bad, missing or extra" in fails(done, 4)
    told = json.loads(run("bundle", "verify", archive, "--json").stdout)
    assert not told["ok"]
    assert [each["what"] for each in told["problems"]] == ["bad", "bad"]
    assert "nothing was put in place" in fails(run("--home", tmp_path / "new", "bundle", "unpack", archive), 4)


@pytest.mark.parametrize(
    "damage", [lambda data: b"x" + data[1:], lambda data: data[:100], lambda data: data[:2000] + b"~" + data[2001:]]
)
def test_an_archive_that_does_not_even_begin_right_is_an_object_too(run, archive, damage):
    archive.write_bytes(damage(archive.read_bytes()))
    done = run("bundle", "verify", archive, "--json")
    told = json.loads(done.stdout)
    assert (told["ok"], told["archive"], told["bundles"]) == (False, str(archive), [])
    assert [(each["path"], each["what"]) for each in told["problems"]] == [(str(archive), "bad")]
    assert done.exit_code == 4
    assert done.stderr == f"avengers: {told['problems'][0]['why']}\n"


def test_a_home_with_a_changed_file_is_code_4(run, archive, home):
    assert run("bundle", "unpack", archive).exit_code == 0
    (home / "teams" / "small.toml").write_text("x")
    done = run("bundle", "verify")
    assert done.stdout.startswith("teams/small.toml is bad: ")
    assert "1 file is bad" in fails(done, 4)


@pytest.mark.parametrize(
    ("words", "code", "complaint"),
    [
        (("pack", "nobody", "--no-wheels"), 3, "there is no team 'nobody'"),
        (("pack", "starter", "--no-wheels"), 3, "avengers setup starter"),
        (("pack", "small", "--no-wheels", "--name", "a b"), 2, "not a valid name of a bundle"),
        (("pack", "small", "--no-wheels", "--name", "x", "-o", "y.tar"), 2, "leave out --name"),
        (("pack", "small", "--no-wheels", "--name", "x.json"), 2, "leave out the .json"),
        (("pack", "small", "--no-wheels", "-o", "y.tar.zst"), 2, "end its name in .tar"),
        (("pack", "small", "--no-wheels", "--extras", "hub"), 2, "--no-wheels"),
        (("pack", "small", "--wheels", "nowhere"), 3, "no folder nowhere"),
        (("pack", "small", "--python-version", "3"), 2, "3.12"),
        (("pack", "small", "--no-wheels", "--sign-key", "none.pem"), 3, "there is no key none.pem"),
        (("verify",), 3, "no bundle was unpacked"),
        (("verify", "none.tar"), 3, "there is no file"),
        (("verify", "--key", "none.pub"), 3, "there is no key none.pub"),
        (("unpack", "none.tar"), 3, "there is no file"),
        (("unpack",), 2, "ARCHIVE"),
    ],
)
def test_what_cannot_be_done_is_one_line_with_its_code(run, tmp_path, monkeypatch, words, code, complaint):
    pytest.importorskip("cryptography")
    monkeypatch.chdir(tmp_path)
    assert complaint in fails(run("bundle", *words), code)
    assert not list(tmp_path.glob("*.tar"))


def test_signing_needs_an_extra_that_is_named(run, tmp_path, monkeypatch):
    from avengers_edge.library.bundle import pack

    monkeypatch.setattr(pack.importlib.util, "find_spec", lambda _: None)
    done = run("bundle", "pack", "small", "--no-wheels", "-o", tmp_path, "--sign-key", tmp_path / "key.pem")
    assert "[sign]'" in fails(done, 1)


@pytest.fixture
def keys(tmp_path):
    """Key files of every kind, as openssl writes them."""
    serialization = pytest.importorskip("cryptography.hazmat.primitives.serialization")
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519

    def save(name, key, password=None):
        hidden = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
        pem, kind = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
        (tmp_path / f"{name}.pem").write_bytes(key.private_bytes(pem, kind, hidden))
        public = key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo)
        (tmp_path / f"{name}.pub").write_bytes(public)

    save("right", ed25519.Ed25519PrivateKey.generate())
    save("other", ed25519.Ed25519PrivateKey.generate())
    save("hidden", ed25519.Ed25519PrivateKey.generate(), b"word")
    save("curve", ec.generate_private_key(ec.SECP256R1()))
    (tmp_path / "noise.pem").write_bytes(bytes(range(256)))
    return tmp_path


def test_a_signature_is_checked_with_the_key_that_is_given(run, keys):
    pack = ("bundle", "pack", "small", "--no-wheels", "-o", keys / "stick", "--sign-key")
    assert run(*pack, keys / "right.pem").exit_code == 0
    path = keys / "stick" / "small.tar"
    assert "signed: give --key" in run("bundle", "verify", path).stdout
    assert "that of the key" in run("bundle", "verify", path, "--key", keys / "right.pub").stdout
    told = json.loads(run("bundle", "verify", path, "--key", keys / "right.pub", "--json").stdout)
    assert told["bundles"][0]["signature"] == "valid"
    for words in (("verify", path), ("unpack", path)):
        assert "not signed with the private half" in fails(run("bundle", *words, "--key", keys / "other.pub"), 4)
        assert "give the public one" in fails(run("bundle", *words, "--key", keys / "right.pem"), 2)
        assert "another kind" in fails(run("bundle", *words, "--key", keys / "curve.pub"), 2)
    for name, complaint in (("hidden", "is encrypted"), ("curve", "another kind"), ("noise", "no private key")):
        assert complaint in fails(run(*pack, keys / f"{name}.pem"), 2)


def test_people_see_an_estimate_while_they_wait(home, tmp_path, monkeypatch):
    make_home(home, large_model(4 * 2**20))
    shown = []
    monkeypatch.setattr(StatusLine, "show", lambda self, text, **_: shown.append(text))
    for words in (("pack", "small", "--no-wheels", "-o", tmp_path), ("verify", tmp_path / "small.tar")):
        shown.clear()
        assert CliRunner().invoke(cli, ["bundle", *map(str, words)]).exit_code == 0
        assert any(" of 4." in text and "left" in text for text in shown), shown
