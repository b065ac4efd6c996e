"""What `doctor` looks at whatever the team: Python, packages, the sandbox, the home folder, the files in it."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from avengers_edge._util.text import human_bytes
from avengers_edge.cli.doctor_finding import Finding
from avengers_edge.cli.known_bad import KNOWN_BAD, outside
from avengers_edge.cli.library import open_library
from avengers_edge.cli.session import Session
from avengers_edge.errors import AvengersError, NoSandbox
from avengers_edge.library.disk import DISK_MARGIN_BYTES

_PRODUCT = "avengers-edge"
_PACKAGES = ("llama-cpp-python", "onnxruntime", "tokenizers", "numpy", "safetensors", "jinja2", "click")
_LITTLE_DISK = 2**30
_STORE_TIMEOUT_SECONDS = 1.0


def check_python() -> Iterator[Finding]:
    """Look at Python and the processor."""
    from avengers_edge.engine.cores import usable_cores

    yield Finding("python", f"{platform.python_version()} on {platform.system()} {platform.machine()}")
    yield Finding("cores", f"{usable_cores()} usable of {os.cpu_count() or '?'}")


def check_packages() -> Iterator[Finding]:
    """Look at the packages: are they what this product asks for, and is one of them known to be bad."""
    wanted = _requirements()
    for package in dict.fromkeys((*_PACKAGES, *(bad.package for bad in KNOWN_BAD))):
        try:
            version = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            if package in _PACKAGES:
                yield Finding(package, "is not installed", f"pip install {_PRODUCT}")
            continue
        bound = outside(wanted[package], version) if package in wanted else None
        remedy = f"it is not {bound}, which was tested: pip install '{wanted[package]}'" if bound else None
        found = version
        for bad in KNOWN_BAD:
            if bad.package == package and bad.meets(version):
                words = f"{bad.reason}: {bad.remedy}"
                remedy, found = (words, found) if bad.blocks else (remedy, f"{found}; {words}")
        yield Finding(package, found, remedy)


def _requirements() -> dict[str, str]:
    """Read what this product asks for, by package; nothing where it is run without being installed."""
    try:
        lines = importlib.metadata.requires(_PRODUCT) or []
    except importlib.metadata.PackageNotFoundError:
        return {}
    plain = [line.partition(";")[0].strip() for line in lines if "extra ==" not in line]
    return {line.split("<")[0].split(">")[0].split("=")[0].strip().lower(): line for line in plain}


def check_code() -> Iterator[Finding]:
    """Find out whether code that a model wrote can be run, and by what it is shut in."""
    from avengers_edge.sandbox.linux import Sandbox

    try:
        yield Finding("code", f"can be run: {Sandbox.find().describe()}")
    except NoSandbox as error:
        yield Finding("code", "is not run, only compared by its text", advice=str(error))


def check_programs() -> Iterator[Finding]:
    """Find out what runs the programs of members that answer by a program."""
    from avengers_edge.sandbox.programs import ProgramRunner

    try:
        yield Finding("programs", f"are run by {ProgramRunner().describe()}")
    except NoSandbox as error:
        yield Finding("programs", "are not run: members that answer by one are passed over", advice=str(error))


def check_settings(session: Session) -> Iterator[Finding]:
    """Look whether the settings can be read; nothing to say where they can."""
    try:
        session.settings()
    except AvengersError as error:
        yield Finding("settings", "cannot be used", str(error))


def check_conversations(session: Session) -> Iterator[Finding]:
    """Look whether the conversations that are kept can be read; without any there is nothing to say."""
    from avengers_edge.history.conversation_store import FILE_NAME, ConversationStore

    path = session.settings().home / FILE_NAME
    try:
        if path.exists():
            with ConversationStore(path, timeout=_STORE_TIMEOUT_SECONDS) as store:
                store.check()
            yield Finding("conversations", "can be read")
    except AvengersError as error:
        yield Finding("conversations", "cannot be used", str(error))


def check_home(session: Session) -> Iterator[Finding]:
    """Look at the home folder: who may write there, can this user, is there room."""
    home = session.settings().home
    existing = next(folder for folder in (home, *home.parents) if folder.exists())
    remedy = None
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        remedy = f"cannot write there ({error.strerror}): choose another with --home or AVENGERS_HOME"
    open_to_all = _writable_by_others(home) if home.exists() else []
    advice = f"everybody may change {open_to_all[0]}: chmod -R o-w '{home}'" if open_to_all else None
    rights = stat.filemode(home.stat().st_mode) if home.exists() else "not made yet"
    yield Finding("home", f"{home} ({rights})", remedy, advice)
    free = shutil.disk_usage(existing).free
    little = f"free some: models need gigabytes, and {human_bytes(DISK_MARGIN_BYTES)} stay free of downloads"
    none, few = free < DISK_MARGIN_BYTES, free < _LITTLE_DISK
    yield Finding("free disk", human_bytes(free), little if none else None, little if few and not none else None)


def _writable_by_others(home: Path) -> list[Path]:
    """Find what decides which models answer and can be changed by users who are neither owner nor group."""
    if sys.platform == "win32":  # its rights are of another kind
        return []
    watched = [home, *home.glob("*"), *home.glob("teams/*"), *home.glob("tables/*"), *home.glob("manifests/*")]
    watched += home.glob("models/*/*")
    return [path for path in watched if not path.is_symlink() and path.stat().st_mode & stat.S_IWOTH]


def check_files(session: Session) -> Iterator[Finding]:
    """Look at every installed model file: when it was verified, and whether it was touched since; nothing is hashed."""
    catalog, store = open_library(session)
    known = set(catalog.list_models())
    for each in store.installed():
        verify = f"avengers models verify {each.model}"
        if each.receipt is None:
            state, advice = "never verified", f"run `{verify}`"
        else:
            state, advice = f"verified {each.receipt.verified_at[:10]}", None
            try:
                if not each.receipt.untouched(each.path):
                    state, advice = f"{state}, changed since", f"run `{verify}`"
            except OSError as error:
                state, advice = f"{state}, and now {error.strerror}", f"run `{verify}`"
        if each.model not in known:
            advice = "no manifest knows it: `avengers models gc` deletes it"
        where = f" in place at {each.path}" if each.receipt and each.receipt.link else ""
        yield Finding(f"file of {each.model}", f"{state}{where}", advice=advice)
