"""The installer that a bundle carries: a virtual environment, the wheels, then the product's own `bundle unpack`.

All of the archive is checked before anything of it runs. Each step may be done again, so a run that was interrupted is
mended by running it once more.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import NoReturn

from avengers_edge.errors import INTERRUPTED_EXIT_CODE, AvengersError, BadRequest, DoesNotFit, VerificationFailed
from avengers_edge.library.bundle.archive import Archive, Problem, check_archive, open_archive
from avengers_edge.library.bundle.ed25519 import read_public_key
from avengers_edge.library.bundle.manifest import ROLES, BundleFile, BundleManifest

_PRODUCT = "avengers-edge"
_DONE, _UNFINISHED = "bundle.sha256", "bundle.unfinished"
_QUIET_SECONDS = 10
_SPREAD = 5  # what an environment takes against its wheels: they are unpacked, and compiled to bytecode
_PIP = ("--no-index", "--no-cache-dir", "--only-binary=:all:", "--disable-pip-version-check", "--no-input", "--quiet")


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
        _say(f"{error.filename or 'the disk'}: {error.strerror or error}: mend it and run this again")
        return 1
    except KeyboardInterrupt:
        _say("interrupted: run it again, it goes on where it was")
        return INTERRUPTED_EXIT_CODE


def _options(words: list[str]) -> argparse.Namespace:
    parser = _Parser(
        prog="python3 NAME.install.py",
        description="Install Avengers Edge and a team of models from a bundle. Nothing is fetched from any network.",
    )
    parser.add_argument("archive", type=Path, metavar="NAME.tar.zst", help="the bundle")
    parser.add_argument("--venv", type=Path, required=True, metavar="DIR", help="virtual environment to install into")
    parser.add_argument("--home", type=Path, metavar="DIR", help="folder for the models (default: the product's own)")
    parser.add_argument("--key", type=Path, metavar="PUBLIC", help="Ed25519 public key in PEM that must have signed it")
    parser.add_argument("--replace", action="store_true", help="replace files of the same name that are different")
    return parser.parse_args(words)


def _install(archive: Path, venv: Path, home: Path | None, key: Path | None, *, replace: bool) -> int:
    done = venv / _DONE
    with open_archive(archive) as opened:
        manifest, digest = opened.front.manifest, opened.front.digest
        _say(f"checking {archive}: bundle {manifest.name} of {manifest.created}, manifest {digest[:16]}")
        opened.require_whole()
        if key is not None:
            opened.front.require_signature(read_public_key(_read_key(key), str(key)), str(archive))
            _say(f"its signature is that of {key}")
        wheels = [file for file in manifest.files if file.role == "wheel"]
        _check_python(manifest, wheels)
        _check_place(venv)
        there = _read_mark(done) == digest
        if not there:  # what is there already came out of it when it was right, and `bundle unpack` checks the rest
            _check_all(opened)
    python = _make_environment(venv, sum(file.bytes for file in wheels))
    if there:
        _say(f"the wheels are installed in {venv} already")
    else:
        done.unlink(missing_ok=True)
        folder = venv / "bundle-wheels"
        with open_archive(archive) as opened:
            if opened.front.digest != digest:
                raise VerificationFailed(f"{archive} was changed while it was read: copy it again")
            _extract(opened, wheels, folder)
        _say(f"installing {len(wheels)} wheels into {venv}")
        _forget_half(venv, wheels)
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


def _check_python(manifest: BundleManifest, wheels: list[BundleFile]) -> None:
    if not wheels:
        raise BadRequest(
            f"bundle {manifest.name} has no wheels: install the product first, then run `avengers bundle unpack`"
        )
    running = f"{sys.version_info[0]}.{sys.version_info[1]}"
    if manifest.python != running:
        raise BadRequest(
            f"the wheels are for Python {manifest.python} and this is {running}: run it with python{manifest.python}"
        )


def _check_place(venv: Path) -> None:
    """Refuse a folder that is somebody else's: neither an environment nor one that a run which was killed began."""
    ours = (venv / "pyvenv.cfg").is_file() or (venv / _UNFINISHED).is_file()
    if venv.exists() and not ours and (not venv.is_dir() or any(venv.iterdir())):
        raise BadRequest(f"{venv} is there and is no virtual environment: choose another --venv")


def _check_all(archive: Archive) -> None:
    """Read all of the archive, so that nothing of one that is not right is ever run."""
    total, said = archive.front.manifest.bytes, time.monotonic()

    def heard(done: int) -> None:
        nonlocal said
        if time.monotonic() - said > _QUIET_SECONDS:
            said = time.monotonic()
            _say(f"checked {done // 10**6} of {total // 10**6} MB")

    first, *further = check_archive(archive, heard) or (None,)
    if first is not None:
        more = f" (and {len(further)} more are not right)" if further else ""
        raise VerificationFailed(f"nothing was installed, for {first}{more}")


def _make_environment(venv: Path, wheel_bytes: int) -> Path:
    """Make the environment, or mend it; return its Python."""
    _say(f"making a virtual environment in {venv}")
    venv.mkdir(parents=True, exist_ok=True)
    if not (venv / "pyvenv.cfg").is_file():
        (venv / _UNFINISHED).touch()
    free, need = shutil.disk_usage(venv).free, _SPREAD * wheel_bytes
    if free < need and not (venv / _DONE).exists():
        raise DoesNotFit(f"{venv} needs about {need // 10**6} MB of disk and {free // 10**6} MB are free: free some")
    _run([sys.executable, "-m", "venv", "--without-pip", str(venv)], "making the environment")
    return venv.absolute() / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def _extract(archive: Archive, wheels: list[BundleFile], folder: Path) -> None:
    """Write the wheels into a folder, each under its name only once it is known to be right."""
    folder.mkdir(exist_ok=True)
    names = {file.path.split("/")[-1] for file in wheels}
    for path in folder.iterdir():  # of another bundle, or half written
        if path.name not in names:
            path.unlink()

    def refuse(problem: Problem) -> None:
        raise VerificationFailed(str(problem))

    for entry in archive.read_files(refuse):
        if ROLES.index(entry.file.role) > ROLES.index("wheel"):
            return
        path = folder / entry.file.path.split("/")[-1]
        if entry.file.role != "wheel" or _is_right(path, entry.file):
            continue
        part = path.with_name(path.name + ".part")
        with part.open("wb") as written:
            problem = entry.copy(written.write)
        if problem:
            refuse(problem)
        part.replace(path)


def _is_right(path: Path, file: BundleFile) -> bool:
    if not path.is_file() or path.stat().st_size != file.bytes:
        return False
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest() == file.sha256


def _forget_half(venv: Path, wheels: list[BundleFile]) -> None:
    """Delete what pip had half installed when it was killed, and would refuse to replace for want of a list of it."""
    names = {file.path.split("/")[-1].split("-")[0].lower() for file in wheels}
    for packages in (*venv.glob("lib/python3*/site-packages"), *venv.glob("Lib/site-packages")):
        for facts in packages.glob("*.dist-info"):
            if facts.name.split("-")[0].lower() in names and not (facts / "RECORD").is_file():
                shutil.rmtree(facts)


def _run_pip(python: Path, folder: Path, manifest: BundleManifest) -> None:
    carried = sorted(folder.glob("pip-*.whl"))
    if carried:
        pip = [str(python), str(carried[0] / "pip")]  # Python runs what lies in a zip file
    else:
        _run([str(python), "-m", "ensurepip", "--default-pip"], "bringing pip, which the bundle lacks")
        pip = [str(python), "-m", "pip"]
    extras = f"[{','.join(manifest.extras)}]" if manifest.extras else ""
    wanted = f"{_PRODUCT}{extras}=={manifest.product}"
    # What is there may be of the same version and of another bundle.
    command = [*pip, "install", *_PIP, "--force-reinstall", "--find-links", str(folder), wanted]
    _run(command, f"installing the wheels, which are for {', '.join(manifest.platforms)},")


def _run(command: list[str], purpose: str) -> None:
    """Run a command that must not see this user's settings of pip.

    Raises:
        AvengersError: it failed; the message has its last complaint.

    """
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


def _read_key(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BadRequest(f"the key {path} cannot be read: {error.strerror or error}") from error


def _read_mark(path: Path) -> str | None:
    with contextlib.suppress(OSError, UnicodeDecodeError):
        return path.read_text(encoding="ascii").strip()
    return None


def _say(line: str) -> None:
    sys.stderr.write("".join(letter if letter.isprintable() else "?" for letter in line) + "\n")
    sys.stderr.flush()
