"""The installer of a bundle: a virtual environment, the wheels, then the product's own `bundle unpack`.

All of the archive is checked against its manifest before anything of it runs. Of the manifest the installer reads what
installing needs; `bundle unpack` reads it strictly afterwards. Each step may be done again, so a run that was
interrupted is completed by the next one.

It runs where nothing but Python is: this module and those it imports need nothing but the standard library.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from avengers_edge.errors import INTERRUPTED_EXIT_CODE, AvengersError, BadRequest, DoesNotFit, VerificationFailed
from avengers_edge.library.bundle.archive import (
    Archive,
    Problem,
    check_archive,
    open_archive,
    printable,
    require_format,
)
from avengers_edge.library.bundle.signature import load_public_key
from avengers_edge.library.names import is_plain

_PRODUCT = "avengers-edge"
_DONE, _UNFINISHED = "bundle.sha256", "bundle.unfinished"
_PROGRESS_SECONDS = 10
_EXPANSION = 5  # the size of an environment against that of its wheels: they are unpacked, and compiled to bytecode
_PIP = ("--no-index", "--no-cache-dir", "--only-binary=:all:", "--disable-pip-version-check", "--no-input", "--quiet")


@dataclass(frozen=True, slots=True)
class PlainFile:
    """A file of the manifest, as far as the installer needs it; its name is a plain one."""

    path: str
    bytes: int
    sha256: str
    role: str

    def __post_init__(self) -> None:
        texts = (self.path, self.sha256, self.role)
        if not all(isinstance(text, str) for text in texts) or type(self.bytes) is not int or self.bytes < 0:
            raise ValueError(f"a file of other types: {self}")
        if not is_plain(self.name, 255) or not re.fullmatch("[0-9a-f]{64}", self.sha256):
            raise ValueError(f"a file of no possible name or sha256: {self}")

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.split("/")[-1]


@dataclass(frozen=True, slots=True)
class PlainManifest:
    """The manifest, as far as the installer needs it."""

    name: str
    created: str
    product: str
    platforms: list[str]
    python: str
    extras: list[str]
    files: tuple[PlainFile, ...]

    @property
    def wheels(self) -> list[PlainFile]:
        """The wheels."""
        return [file for file in self.files if file.role == "wheel"]


def read_plain_manifest(data: bytes) -> PlainManifest:
    """Read what installing needs of a manifest; one that lacks it, or is of another format, is refused."""
    try:
        fields = json.loads(data)
        require_format(fields["kind"], fields["format"])
        files = tuple(PlainFile(row["path"], row["bytes"], row["sha256"], row["role"]) for row in fields["files"])
        texts = [fields[key] for key in ("name", "created", "product", "python")]
        lists = [fields[key] for key in ("platforms", "extras")]
        if not all(isinstance(each, list) for each in lists):
            raise ValueError("platforms and extras are no lists")
        if not all(isinstance(text, str) for text in (*texts, *lists[0], *lists[1])):
            raise ValueError("texts of other types")
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError, BadRequest) as error:
        raise VerificationFailed("its manifest is not that of a bundle, or damaged: copy the bundle again") from error
    name, created, product, python = texts
    return PlainManifest(name, created, product, lists[0], python, lists[1], files)


class _Parser(argparse.ArgumentParser):
    """A parser whose complaint is one line."""

    def error(self, message: str) -> NoReturn:
        raise BadRequest(f"{message} (see --help)")


def install_main(words: list[str]) -> int:
    """Run the installer with the words of a command line; return the exit code."""
    try:
        options = _options(words)
        return _install(options.archive, options.venv, options.home, options.key, replace=options.replace)
    except AvengersError as error:
        _say(str(error))
        return error.exit_code
    except OSError as error:
        _say(f"{error.filename or 'the disk'}: {error.strerror or error}: repair it and run this again")
        return 1
    except KeyboardInterrupt:
        _say("interrupted: run it again, it goes on where it was")
        return INTERRUPTED_EXIT_CODE


def _options(words: list[str]) -> argparse.Namespace:
    parser = _Parser(
        prog="python3 NAME.install.py",
        description="Install Avengers Edge and a team of models from a bundle. Nothing is fetched from any network.",
    )
    parser.add_argument("archive", type=Path, metavar="NAME.tar", help="the bundle")
    parser.add_argument("--venv", type=Path, required=True, metavar="DIR", help="virtual environment to install into")
    parser.add_argument("--home", type=Path, metavar="DIR", help="folder for the models (default: the product's own)")
    parser.add_argument("--key", type=Path, metavar="PUBLIC", help="Ed25519 public key in PEM that must have signed it")
    parser.add_argument("--replace", action="store_true", help="replace files of the same name that are different")
    return parser.parse_args(words)


def _install(archive: Path, venv: Path, home: Path | None, key: Path | None, *, replace: bool) -> int:
    done = venv / _DONE
    with open_archive(archive, read_plain_manifest) as opened:
        manifest, digest = opened.envelope.manifest, opened.envelope.digest
        _say(f"checking {archive}: bundle {manifest.name} of {manifest.created}, manifest {digest[:16]}")
        opened.require_whole()
        if key is not None:
            opened.envelope.require_signature(load_public_key(key), str(archive))
            _say(f"its signature is that of {key}")
        _check_python(manifest)
        _check_place(venv)
        installed = _read_mark(done) == digest
        if not installed:  # else it was right when it was installed, and `bundle unpack` checks the rest
            _check_all(opened)
    python = _make_environment(venv, sum(file.bytes for file in manifest.wheels))
    if installed:
        _say(f"the wheels are installed in {venv} already")
    else:
        done.unlink(missing_ok=True)
        folder = venv / "bundle-wheels"
        with open_archive(archive, read_plain_manifest) as opened:
            if opened.envelope.digest != digest:
                raise VerificationFailed(f"{archive} was changed while it was read: copy it again")
            _extract_wheels(opened, folder)
        _say(f"installing {len(manifest.wheels)} wheels into {venv}")
        _remove_half_installed(venv, manifest.wheels)
        _run_pip(python, folder, manifest)
        done.write_text(digest + "\n", encoding="ascii")
        (venv / _UNFINISHED).unlink(missing_ok=True)
        shutil.rmtree(folder)
    command = [str(python), "-I", "-m", "avengers_edge", *(["--home", str(home)] if home else [])]
    command += ["bundle", "unpack", str(archive), *(["--key", str(key)] if key else [])]
    code = subprocess.call(command + (["--replace"] if replace else []))
    if code == 0:
        _say(f"done: {python.with_name('avengers')} is ready")
    return code


def _check_python(manifest: PlainManifest) -> None:
    if not manifest.wheels:
        raise BadRequest(
            f"bundle {manifest.name} has no wheels: install the product first, then run `avengers bundle unpack`"
        )
    running = f"{sys.version_info[0]}.{sys.version_info[1]}"
    if manifest.python != running:
        raise BadRequest(
            f"the wheels are for Python {manifest.python} and this is {running}: run it with python{manifest.python}"
        )


def _check_place(venv: Path) -> None:
    """Refuse a folder that is neither a virtual environment nor one that a killed run began."""
    ours = (venv / "pyvenv.cfg").is_file() or (venv / _UNFINISHED).is_file()
    if venv.exists() and not ours and (not venv.is_dir() or any(venv.iterdir())):
        raise BadRequest(f"{venv} is there and is no virtual environment: choose another --venv")


def _check_all(archive: Archive[PlainManifest]) -> None:
    """Read all of the archive, so that nothing of one that is not right is ever run."""
    total, shown_at = sum(file.bytes for file in archive.envelope.manifest.files), time.monotonic()

    def on_progress(done: int) -> None:
        nonlocal shown_at
        if time.monotonic() - shown_at > _PROGRESS_SECONDS:
            shown_at = time.monotonic()
            _say(f"checked {done // 10**6} of {total // 10**6} MB")

    first, *further = check_archive(archive, on_progress) or (None,)
    if first is not None:
        more = f" (and {len(further)} more are not right)" if further else ""
        raise VerificationFailed(f"nothing was installed, for {first}{more}")


def _make_environment(venv: Path, wheel_bytes: int) -> Path:
    """Make the environment, or repair it; return its Python."""
    _say(f"making a virtual environment in {venv}")
    venv.mkdir(parents=True, exist_ok=True)
    if not (venv / "pyvenv.cfg").is_file():
        (venv / _UNFINISHED).touch()
    free, need = shutil.disk_usage(venv).free, _EXPANSION * wheel_bytes
    if free < need and not (venv / _DONE).exists():
        raise DoesNotFit(f"{venv} needs about {need // 10**6} MB of disk and {free // 10**6} MB are free: free some")
    _run([sys.executable, "-m", "venv", "--without-pip", str(venv)], "making the environment")
    return venv.absolute() / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def _extract_wheels(archive: Archive[PlainManifest], folder: Path) -> None:
    """Write the wheels into a folder, each under its name only once it is known to be right."""
    folder.mkdir(exist_ok=True)
    left = {file.path for file in archive.envelope.manifest.wheels}
    names = {file.name for file in archive.envelope.manifest.wheels}
    for path in folder.iterdir():  # of another bundle, or half written
        if path.name not in names:
            path.unlink()

    def refuse(problem: Problem) -> None:
        raise VerificationFailed(str(problem))

    for reader in archive.members(refuse):
        if reader.member.path in left:
            left.remove(reader.member.path)
            path = folder / reader.member.path.split("/")[-1]
            if not _is_right(path, reader.member.bytes, reader.member.sha256) and (problem := reader.save(path)):
                refuse(problem)
        if not left:  # the models, which follow, are `bundle unpack`'s
            return


def _is_right(path: Path, size: int, sha256: str) -> bool:
    if not path.is_file() or path.stat().st_size != size:
        return False
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest() == sha256


def _remove_half_installed(venv: Path, wheels: list[PlainFile]) -> None:
    """Delete what pip had half installed when it was killed, and would refuse to replace for want of a list of it."""
    names = {file.name.split("-")[0].lower() for file in wheels}
    for packages in (*venv.glob("lib/python3*/site-packages"), *venv.glob("Lib/site-packages")):
        for facts in packages.glob("*.dist-info"):
            if facts.name.split("-")[0].lower() in names and not (facts / "RECORD").is_file():
                shutil.rmtree(facts)


def _run_pip(python: Path, folder: Path, manifest: PlainManifest) -> None:
    carried = sorted(folder.glob("pip-*.whl"))
    if carried:
        pip = [str(python), str(carried[0] / "pip")]  # Python runs what lies in a zip file
    else:
        _run([str(python), "-m", "ensurepip", "--default-pip"], "bringing pip, which the bundle lacks")
        pip = [str(python), "-m", "pip"]
    extras = f"[{','.join(manifest.extras)}]" if manifest.extras else ""
    wanted = f"{_PRODUCT}{extras}=={manifest.product}"
    # What is installed may be of the same version and of another bundle.
    command = [*pip, "install", *_PIP, "--force-reinstall", "--find-links", str(folder), wanted]
    _run(command, f"installing the wheels, which are for {', '.join(manifest.platforms)},")


def _run(command: list[str], purpose: str) -> None:
    """Run a command that must not see this user's settings of pip; an error has its last complaint."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "PYTHON"))}
    environment |= {"PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "1", "PIP_ROOT_USER_ACTION": "ignore"}
    done = subprocess.run(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    if done.returncode != 0:
        lines = [line.strip() for line in done.stdout.decode("utf-8", "replace").splitlines() if line.strip()]
        errors = [line for line in lines if line.upper().startswith("ERROR")]
        reason = (errors or lines or ["it gave no reason"])[-1]
        raise AvengersError(f"{purpose} failed: {reason.removeprefix('ERROR: ')}")


def _read_mark(path: Path) -> str | None:
    with contextlib.suppress(OSError, UnicodeDecodeError):
        return path.read_text(encoding="ascii").strip()
    return None


def _say(line: str) -> None:
    sys.stderr.write(printable(line) + "\n")
    sys.stderr.flush()
