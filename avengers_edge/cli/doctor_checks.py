"""What `doctor` looks at: each check yields what it found, and what mends it."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.metadata
import platform
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from avengers_edge.cli.models import open_library
from avengers_edge.cli.session import Session
from avengers_edge.errors import AvengersError, NoSandbox
from avengers_edge.library.files import human_bytes

if TYPE_CHECKING:
    from avengers_edge.library.estimate import MemoryNeed

_PACKAGES = ("llama-cpp-python", "onnxruntime", "tokenizers", "numpy", "safetensors", "jinja2", "click")


@dataclasses.dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    `remedy` mends what keeps asking from working, None where all is well; `advice` would make it work better.
    """

    what: str
    found: str
    remedy: str | None = None
    advice: str | None = None


Check = Callable[[], Iterator[Finding]]


def checks(session: Session, team: str | None) -> list[Check]:
    """Line up all checks, cheap ones first."""
    return [
        check_python,
        check_code,
        lambda: check_home(session),
        lambda: check_team(session, team),
        lambda: check_routing(session, team),
        lambda: check_gpu(session),
        lambda: check_engine(session, team),
    ]


def attempt(check: Check) -> list[Finding]:
    """Run a check; what goes wrong in it is its finding."""
    findings = []
    try:
        for finding in check():
            findings.append(finding)  # noqa: PERF402 - what was found before the failure counts
    except AvengersError as error:
        findings.append(Finding("problem", type(error).__name__, str(error)))
    except (ImportError, OSError) as error:
        findings.append(Finding("problem", f"{type(error).__name__}: {error}", "install avengers-edge again"))
    return findings


def check_python() -> Iterator[Finding]:
    """Look at Python and the packages."""
    from avengers_edge.engine.cores import usable_cores

    yield Finding("python", f"{platform.python_version()} on {platform.system()} {platform.machine()}")
    yield Finding("cores", str(usable_cores()))
    for package in _PACKAGES:
        yield Finding(package, importlib.metadata.version(package))


def check_code() -> Iterator[Finding]:
    """Find out whether code that a model wrote can be run, and by what it is shut in."""
    from avengers_edge.sandbox.box import Sandbox

    try:
        yield Finding("code", f"can be run: {Sandbox.find().describe()}")
    except NoSandbox as error:
        yield Finding("code", "is not run, only compared by its text", advice=str(error))


def check_home(session: Session) -> Iterator[Finding]:
    """Look at the home folder: can it be written, is there room."""
    home = session.settings().home
    existing = next(folder for folder in (home, *home.parents) if folder.exists())
    remedy = None
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        remedy = f"cannot write there ({error.strerror}): choose another with --home or AVENGERS_HOME"
    yield Finding("home", str(home), remedy)
    yield Finding("free disk", human_bytes(shutil.disk_usage(existing).free))


def check_team(session: Session, team: str | None) -> Iterator[Finding]:
    """Look at the team's models, the memory each of them needs, and the team's table."""
    from avengers_edge.engine import hardware, memory

    catalog, store = open_library(session)
    settings = session.settings()
    chosen = catalog.load_team(team or settings.team)
    free = memory.available_bytes()
    device = hardware.device_memory() if settings.gpu_layers else None
    yield Finding("memory", "the system does not say" if free is None else f"{human_bytes(free)} free")
    for model in chosen.models:
        try:
            path = store.find(catalog.load_model(model))
            need = _need_of(session, path)
        except AvengersError as error:
            yield Finding(model, "not usable", str(error))
            continue
        host = memory.place(need, settings.context, settings.gpu_layers, device).host
        remedy = None
        if free is not None and host > free:
            remedy = str(memory.refusal(model, need, settings.context, host, free))
        total, kv_cache = need.total(settings.context), need.kv_per_cell * settings.context
        parts = (
            f"{human_bytes(need.weights)} weights, {human_bytes(kv_cache)} KV cache, "
            f"{human_bytes(total - need.weights - kv_cache)} compute and process"
        )
        yield Finding(
            model,
            f"verified, {human_bytes(path.stat().st_size)}; needs {human_bytes(total)} of memory: {parts}",
            remedy,
        )
    yield Finding("kv cache", f"{settings.kv_type}, {settings.context} tokens a model")
    if chosen.table is not None:
        yield Finding("table", str(catalog.find_table(chosen)))


def check_routing(session: Session, team: str | None) -> Iterator[Finding]:
    """Open the embedder, and the table with it."""
    from avengers_edge.runtime import Avengers

    settings = session.settings()
    with contextlib.closing(Avengers.open(settings, team)) as avengers:
        route = avengers.route("What is 2 + 2?")
    yield Finding("routing", f"works, {len(route.ranking)} members ranked by {settings.providers[0]}")


def check_gpu(session: Session) -> Iterator[Finding]:
    """Compare the GPUs that are there with those that this build of llama.cpp can use."""
    from avengers_edge.engine import hardware

    gpus, backends = hardware.find_gpus(), hardware.gpu_backends()
    devices = hardware.find_devices(backends)
    there = ", ".join(f"{gpu.vendor} {gpu.name.removeprefix(gpu.vendor).strip()}" for gpu in gpus) or "none found"
    if devices:
        seen = ", ".join(f"{device.name} ({human_bytes(device.free)} free)" for device in devices)
        layers = session.settings().gpu_layers
        used = f"llama.cpp uses {seen}; gpu_layers is {'all' if layers < 0 else layers}"
    else:
        used = "this build of llama.cpp uses the CPU only"
    advice = hardware.remedy(gpus, backends, devices, vulkan=hardware.has_vulkan())
    yield Finding("gpu", f"{there}; {used}", advice=advice)


def check_engine(session: Session, team: str | None) -> Iterator[Finding]:
    """Load the team's smallest model that is installed, and report what llama.cpp really did with it."""
    from avengers_edge.engine.residency import Residency

    catalog, store = open_library(session)
    settings = session.settings()
    paths: dict[str, Path] = {}
    for model in catalog.load_team(team or settings.team).models:
        with contextlib.suppress(AvengersError):
            paths[model] = store.find(catalog.load_model(model))
    if not paths:
        from avengers_edge.engine.backend import build_features

        yield Finding("llama.cpp", build_features())
        return
    smallest = min(paths, key=lambda model: paths[model].stat().st_size)
    with (
        Residency(paths.__getitem__, lambda path: _need_of(session, path), settings) as residency,
        residency.lease(smallest) as engine,
    ):
        facts = engine.facts
    yield Finding("llama.cpp", facts.features)
    where = "in a process of its own" if settings.worker else "in this process"
    missed = facts.gpu_offload and settings.gpu_layers != 0 and not facts.layers_offloaded
    yield Finding(
        "engine",
        f"{smallest} loaded {where}: {facts.layers_offloaded} of {facts.layers} layers on a device, "
        f"{facts.cells} tokens of context, {facts.threads} threads",
        advice="no layer was offloaded though the build can: look at the free memory of the GPU" if missed else None,
    )
    yield Finding("buffers", ", ".join(f"{what} {human_bytes(size)}" for what, size in facts.buffers))


def _need_of(session: Session, path: Path) -> MemoryNeed:
    from avengers_edge.engine.managed import load_options
    from avengers_edge.library.estimate import estimate
    from avengers_edge.library.gguf import read_header

    settings = session.settings()
    return estimate(read_header(path), settings.kv_type, load_options(settings, settings.gpu_layers).sequences)
