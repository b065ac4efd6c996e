"""What `doctor` looks at that has to do with a team: its models, its table, and what llama.cpp makes of them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from avengers_edge._util.text import counted, human_bytes
from avengers_edge.cli.doctor_finding import Check, Finding
from avengers_edge.cli.doctor_system import (
    check_code,
    check_conversations,
    check_files,
    check_home,
    check_packages,
    check_programs,
    check_python,
    check_settings,
)
from avengers_edge.cli.fitting import Fitting
from avengers_edge.cli.library import open_library
from avengers_edge.cli.session import Session
from avengers_edge.errors import AvengersError
from avengers_edge.records import Message, Request, SamplingParams


def checks(session: Session, team: str | None) -> list[Check]:
    """Line up all checks, cheap ones first; without settings the others would only say once more why."""
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


def check_team(session: Session, team: str | None) -> Iterator[Finding]:
    """Look at the team's models, the memory each of them needs, and the team's table."""
    from avengers_edge.engine import memory

    catalog, store = open_library(session)
    settings = session.settings()
    chosen = catalog.load_team(team or settings.team)
    fitting = Fitting(settings)
    yield Finding("memory", "the system does not say" if fitting.free is None else f"{human_bytes(fitting.free)} free")
    for model in chosen.models:
        try:
            manifest = catalog.load_model(model)
            fit = fitting.fit(store.find(manifest))
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
    """Open the embedder, and the table with it."""
    from avengers_edge.runtime import Avengers

    settings = session.settings()
    with contextlib.closing(Avengers.open(settings, team)) as avengers:
        route = avengers.route("What is 2 + 2?")
    yield Finding("routing", f"works, {counted(len(route.ranking), 'member')} ranked by {settings.providers[0]}")


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
        from avengers_edge.engine.llama_model import build_features

        yield Finding("llama.cpp", build_features())
        return
    fitting = Fitting(settings)
    smallest = min(paths, key=lambda model: paths[model].stat().st_size)
    with (
        Residency(paths.__getitem__, lambda path: fitting.fit(path).need, settings) as residency,
        residency.lease(smallest) as engine,
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
