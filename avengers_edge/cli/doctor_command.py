"""`doctor`: whether asking will work on this machine, and what mends it where it will not."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import platform
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from avengers_edge._util.text import counted, human_bytes
from avengers_edge.cli.completion import complete_teams
from avengers_edge.cli.session import MachineMemory, Session, pass_session
from avengers_edge.cli.shared_options import json_option
from avengers_edge.errors import AvengersError, NoSandbox, VerificationFailed
from avengers_edge.records import Message, Request, SamplingParams

if TYPE_CHECKING:
    from packaging.requirements import Requirement

_PRODUCT = "avengers-edge"
_PACKAGES = ("llama-cpp-python", "onnxruntime", "tokenizers", "numpy", "safetensors", "jinja2", "click")
_LITTLE_DISK = 2**30
_STORE_TIMEOUT_SECONDS = 1.0


@dataclasses.dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check.

    `remedy` mends what keeps asking from working, None where all is well; `advice` would make it work better.
    """

    what: str
    found: str
    remedy: str | None = None
    advice: str | None = None


Check = Callable[[], Iterator[Finding]]
_DISKCACHE = (
    "unpickles the files of its cache (CVE-2025-69872), of which none is ever opened here; llama-cpp-python imports "
    "it, so tell a scanner that complains that it is not reached"
)


@click.command()
@click.option("--team", shell_complete=complete_teams, help="Team to check (default: the one in use).")
@click.option("--network", is_flag=True, help="List only the modules that can open a socket or start a program.")
@json_option
@pass_session
def doctor(session: Session, team: str | None, network: bool, as_json: bool) -> None:
    """Check this machine and installation.

    The exit code is 0 only when asking will work.

    \b
      avengers doctor --team starter
      avengers doctor --network
    """
    if network:
        _show_network(session, as_json)
        return
    found = (finding for check in _checks(session, team) for finding in attempt(check))
    findings = list(dict.fromkeys(found))  # several checks can fail alike
    bad = [finding for finding in findings if finding.remedy]
    if as_json:
        click.echo(json.dumps({"ok": not bad, "findings": [dataclasses.asdict(each) for each in findings]}))
    else:
        for each in findings:
            click.echo(f"{'!!' if each.remedy else 'ok'}  {each.what}: {each.found}")
            for line in filter(None, (each.remedy, each.advice)):
                click.echo(f"    {line}")
    if bad:
        raise AvengersError(f"{len(bad)} of {len(findings)} checks need attention: {', '.join(e.what for e in bad)}")


def _show_network(session: Session, as_json: bool) -> None:
    from avengers_edge.cli.network_audit import find_places, report_lines

    places, read = find_places()
    offline = session.settings().offline
    unexplained = [place.module for place in places if place.why is None]
    if as_json:
        rows = [dataclasses.asdict(place) for place in places]
        click.echo(json.dumps({"ok": not unexplained, "offline": offline, "modules_read": read, "places": rows}))
    else:
        click.echo("\n".join(report_lines(places, read, offline)))
    if unexplained:
        raise VerificationFailed(f"{', '.join(unexplained)} could reach out and should not: install it again")


def _checks(session: Session, team: str | None) -> list[Check]:
    """List all checks, cheap ones first; without settings the others would only repeat that failure."""
    first: list[Check] = [check_python, check_packages, check_code, check_programs]
    if any(check_settings(session)):
        return [*first, lambda: check_settings(session)]
    return [
        *first,
        lambda: check_home(session),
        lambda: check_conversations(session),
        lambda: check_team(session, team),
        lambda: check_files(session),
        lambda: check_routing(session, team),
        lambda: check_gpu(session),
        lambda: check_engine(session, team),
    ]


def attempt(check: Check) -> list[Finding]:
    """Run a check; its failure is a finding too."""
    findings = []
    try:
        for finding in check():
            findings.append(finding)  # noqa: PERF402 - those before the failure count
    except AvengersError as error:
        findings.append(Finding("problem", type(error).__name__, str(error)))
    except (ImportError, OSError) as error:
        if isinstance(error, ImportError) or error.errno is None:  # a library that is there and cannot be loaded
            remedy = "install avengers-edge again"
        else:
            remedy = f"mend the rights of {error.filename or 'the home folder'}, or the disk that it is on"
        findings.append(Finding("problem", f"{type(error).__name__}: {error}", remedy))
    return findings


def check_python() -> Iterator[Finding]:
    """Report Python and the processor."""
    from avengers_edge.engine.devices import usable_cores

    yield Finding("python", f"{platform.python_version()} on {platform.system()} {platform.machine()}")
    yield Finding("cores", f"{usable_cores()} usable of {os.cpu_count() or '?'}")


def check_packages() -> Iterator[Finding]:
    """Check that the installed packages are in the ranges that were tested."""
    import importlib.metadata

    wanted = _requirements()
    for package in (*_PACKAGES, "diskcache"):
        try:
            version = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            if package in _PACKAGES:
                yield Finding(package, "is not installed", f"pip install {_PRODUCT}")
            continue
        bound = broken_bound(wanted[package], version) if package in wanted else None
        remedy = f"it is not {bound}, which was tested: pip install '{wanted[package]}'" if bound else None
        yield Finding(package, f"{version}; it {_DISKCACHE}" if package == "diskcache" else version, remedy)


def _requirements() -> dict[str, Requirement]:
    """Read the requirements of this product by package; none where it runs without being installed."""
    import importlib.metadata

    from packaging.requirements import Requirement

    try:
        requirements = map(Requirement, importlib.metadata.requires(_PRODUCT) or [])
    except importlib.metadata.PackageNotFoundError:
        return {}
    return {
        each.name.lower(): each for each in requirements if each.marker is None or each.marker.evaluate({"extra": ""})
    }


def broken_bound(requirement: Requirement, version: str) -> str | None:
    """Return the bound of a requirement, such as `<3` of `numpy<3,>=1.26`, that a release breaks; None for none."""
    bounds = sorted(requirement.specifier, key=str)
    return next((str(bound) for bound in bounds if not bound.contains(version, prereleases=True)), None)


def check_code() -> Iterator[Finding]:
    """Check whether code of models can be run, and name its sandbox."""
    from avengers_edge.sandbox.linux import Sandbox

    try:
        yield Finding("code", f"can be run: {Sandbox.find().describe()}")
    except NoSandbox as error:
        yield Finding("code", "is not run, only compared by its text", advice=str(error))


def check_programs() -> Iterator[Finding]:
    """Check what runs the programs of members that answer by a program."""
    from avengers_edge.sandbox.programs import ProgramRunner

    try:
        yield Finding("programs", f"are run by {ProgramRunner().describe()}")
    except NoSandbox as error:
        yield Finding("programs", "are not run: members that answer by one are passed over", advice=str(error))


def check_settings(session: Session) -> Iterator[Finding]:
    """Check that the settings can be read; no finding where they can."""
    try:
        session.settings()
    except AvengersError as error:
        yield Finding("settings", "cannot be used", str(error))


def check_conversations(session: Session) -> Iterator[Finding]:
    """Check that the stored conversations can be read; no finding where there are none."""
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
    """Check the rights of the home folder, that this user can write there, and the free disk."""
    from avengers_edge.library.disk import DISK_MARGIN_BYTES

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
    """Find files that decide which models answer and can be changed by users who are neither owner nor group."""
    if sys.platform == "win32":  # its rights are of another kind
        return []
    watched = [home, *home.glob("*"), *home.glob("teams/*"), *home.glob("tables/*"), *home.glob("manifests/*")]
    watched += home.glob("models/*/*")
    return [path for path in watched if not path.is_symlink() and path.stat().st_mode & stat.S_IWOTH]


def check_files(session: Session) -> Iterator[Finding]:
    """Check when each installed model file was verified, and whether it changed since; nothing is hashed."""
    catalog, store = session.open_library()
    known = set(catalog.list_models())
    for each in store.installed():
        verify = f"run `avengers models verify {each.model}`"
        if each.receipt is None:
            state, advice = "never verified", verify
        else:
            state, advice = f"verified {each.receipt.verified_at[:10]}", None
            try:
                if not each.receipt.untouched(each.path):
                    state, advice = f"{state}, changed since", verify
            except OSError as error:
                state, advice = f"{state}, and now {error.strerror}", verify
        if each.model not in known:
            advice = "no manifest knows it: `avengers models gc` deletes it"
        where = f" in place at {each.path}" if each.receipt and each.receipt.link else ""
        yield Finding(f"file of {each.model}", f"{state}{where}", advice=advice)


def check_team(session: Session, team: str | None) -> Iterator[Finding]:
    """Check the team's models, the memory that each of them needs, and the team's table."""
    from avengers_edge.engine import memory

    catalog, store = session.open_library()
    settings = session.settings()
    chosen = catalog.load_team(team or settings.team)
    machine = MachineMemory(settings)
    yield Finding("memory", "the system does not say" if machine.free is None else f"{human_bytes(machine.free)} free")
    for model in chosen.models:
        try:
            manifest = catalog.load_model(model)
            fit = machine.fit(store.find(manifest))
        except AvengersError as error:
            yield Finding(model, "not usable", str(error))
            continue
        remedy = None
        if fit.fits is False:
            remedy = str(memory.refusal(model, fit.need, settings.cells, fit.host, fit.free or 0))
        kv_cache = fit.need.kv_per_cell * settings.cells
        parts = (
            f"{human_bytes(fit.need.weights)} weights, {human_bytes(kv_cache)} KV cache, "
            f"{human_bytes(fit.total - fit.need.weights - kv_cache)} compute and process"
        )
        size = human_bytes(store.size_of(manifest) or 0)
        yield Finding(model, f"verified, {size}; needs {human_bytes(fit.total)} of memory: {parts}", remedy)
    yield Finding("kv cache", f"{settings.kv_type}, {settings.context} tokens a model")
    if chosen.table is not None:
        yield Finding("table", str(catalog.find_table(chosen)))


def check_routing(session: Session, team: str | None) -> Iterator[Finding]:
    """Route a question that can be put to every way of asking, with the embedder and the table."""
    from avengers_edge.runtime import Avengers

    settings = session.settings()
    with contextlib.closing(Avengers.open(settings, team)) as avengers:
        ranked = len(avengers.route("What is 2 + 2?\nA) 3\nB) 4").ranking)
        members = counted(len(avengers.team.members), "member")
    some = "" if members == counted(ranked, "member") else f"{ranked} of "
    yield Finding("routing", f"works, {some}{members} ranked on {settings.providers[0]}")


def check_gpu(session: Session) -> Iterator[Finding]:
    """Compare the GPUs of this machine with those that this build of llama.cpp can use."""
    from avengers_edge.engine import devices

    gpus, backends = devices.find_gpus(), devices.gpu_backends()
    found = devices.find_devices(backends)
    there = ", ".join(f"{gpu.vendor} {gpu.name.removeprefix(gpu.vendor).strip()}" for gpu in gpus) or "none found"
    if found:
        seen = ", ".join(f"{device.name} ({human_bytes(device.free)} free)" for device in found)
        layers = session.settings().gpu_layers
        used = f"llama.cpp uses {seen}; gpu_layers is {'all' if layers < 0 else layers}"
    else:
        used = "this build of llama.cpp uses the CPU only"
    advice = devices.remedy(gpus, backends, found, vulkan=devices.has_vulkan())
    yield Finding("gpu", f"{there}; {used}", advice=advice)


def check_engine(session: Session, team: str | None) -> Iterator[Finding]:
    """Load the smallest installed model of the team, generate a token, and report how llama.cpp loaded it."""
    from avengers_edge.engine.model_pool import ModelPool

    catalog, store = session.open_library()
    settings = session.settings()
    paths: dict[str, Path] = {}
    for model in catalog.load_team(team or settings.team).models:
        with contextlib.suppress(AvengersError):
            paths[model] = store.find(catalog.load_model(model))
    if not paths:
        from avengers_edge.engine.llama_context import build_features

        yield Finding("llama.cpp", build_features())
        return
    machine = MachineMemory(settings)
    smallest = min(paths, key=lambda model: paths[model].stat().st_size)
    with (
        ModelPool(paths.__getitem__, lambda path: machine.fit(path).need, settings) as model_pool,
        model_pool.lease(smallest) as engine,
    ):
        facts = engine.facts
        request = Request((Message("user", "Say yes."),), SamplingParams(temperature=0.0, max_tokens=1))
        engine.generate(request)
    yield Finding("llama.cpp", facts.features)
    where = "in a process of its own" if settings.worker else "in this process"
    missed = facts.gpu_offload and settings.gpu_layers != 0 and not facts.layers_offloaded
    yield Finding(
        "engine",
        f"{smallest} loaded {where}: {facts.layers_offloaded} of {facts.layers} layers on a device, "
        f"{facts.cells} tokens of context, {facts.threads} threads",
        advice="no layer was offloaded though the build can: look at the free memory of the GPU" if missed else None,
    )
    yield Finding("answering", f"{smallest} wrote a token")
    yield Finding("buffers", ", ".join(f"{what} {human_bytes(size)}" for what, size in facts.buffers))
