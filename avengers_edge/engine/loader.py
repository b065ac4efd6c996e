"""How llama.cpp loads a model here: by the settings, and by what was measured of it on this machine.

    <home>/tuning/<model>-<key>.json     step-time curve and load options of one model, build, device and thread count

It is measured at the first use of a model, in seconds, and by `avengers bench`, which also tries the load options. As
long as it stays the same seed gives the same text.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import msgspec

from avengers_edge._util.files import write_whole
from avengers_edge.config import Settings
from avengers_edge.engine import devices
from avengers_edge.engine.devices import usable_cores
from avengers_edge.engine.protocol import LoadOptions, ManagedEngine
from avengers_edge.engine.step_cost import StepCurve
from avengers_edge.errors import AvengersError, BadRequest
from avengers_edge.records import CancelToken

logger = logging.getLogger("avengers_edge.tuning")

_MOST_BYTES = 64 * 1024
FIRST_USE_SECONDS = 2.0
_PROMPT, _TOKENS, _WIDTH = 200, 150, 10  # a voted answer to a word problem, for weighing load options
_WIDE = 128
"""Samples beside each other on a GPU, whose steps hardly take longer by their rows; a CPU's optimum is far below."""

OpenEngine = Callable[[str, Path, int], ManagedEngine]
"""Loads a model: its name, its file, and how many layers go to a device (-1: all)."""


def load_options(settings: Settings, gpu_layers: int) -> LoadOptions:
    """Return how a model is loaded of which `gpu_layers` may go to a device (-1: all)."""
    options = LoadOptions(
        cells=settings.part,
        threads=settings.threads,
        gpu_layers=gpu_layers,
        repack=settings.repack,
        kv_type=settings.kv_type,
    )
    if settings.slots:
        return dataclasses.replace(options, sequences=settings.slots, split=True)
    on_device = gpu_layers != 0 and devices.gpu_backends()
    return dataclasses.replace(options, sequences=_WIDE) if on_device else options


def llama_opener(settings: Settings, stop: CancelToken | None = None) -> OpenEngine:
    """Return what loads a model with llama.cpp, in a process of its own unless the settings say otherwise.

    `stop` gives up a load under way: such a process is ended, whatever it does, and then `EngineDied` is raised.
    """
    stopped = stop or CancelToken()

    def open_engine(_model: str, path: Path, gpu_layers: int) -> ManagedEngine:
        wanted = load_options(settings, gpu_layers)
        options, curve = tuned(path, wanted, settings)
        engine: ManagedEngine
        if settings.worker:
            from avengers_edge.engine.worker_engine import WorkerEngine

            engine = WorkerEngine(path, options, curve=curve, timeout=settings.patience, stop=stopped)
        else:
            from avengers_edge.engine.llama import LlamaEngine

            engine = LlamaEngine(path, options, curve=curve)
        if curve is None:
            try:
                with stopped.calling(engine.close):
                    measure_first(engine, path, wanted, settings)
            except BaseException:
                engine.close()
                raise
        return engine

    return open_engine


def tuned(path: Path, options: LoadOptions, settings: Settings) -> tuple[LoadOptions, StepCurve | None]:
    """Complete load options by what was measured; the curve is None where nothing was yet."""
    known = _read(_file_of(path, options, settings))
    if known is None:
        return options, None
    curve, repack = known
    return dataclasses.replace(options, repack=repack if options.repack is None else options.repack), curve


def measure_first(engine: ManagedEngine, path: Path, options: LoadOptions, settings: Settings) -> StepCurve:
    """Measure a model that was just loaded for the first time, and keep the curve."""
    logger.info("measuring %s on this machine, once", path.name)
    curve = engine.measure(FIRST_USE_SECONDS)
    keep(path, options, settings, curve, options.repack)
    return curve


def keep(path: Path, options: LoadOptions, settings: Settings, curve: StepCurve, repack: bool | None) -> None:
    """Write a measurement to the home folder, with whether to repack weights; where that fails it is only lost."""
    values = {
        "format": 1,
        "model": path.name,
        "build": _build(),
        "threads": options.threads or usable_cores(),
        "repack": repack,
        "seconds_by_rows": [list(point) for point in curve.points],
    }
    try:
        write_whole(_file_of(path, options, settings), json.dumps(values, indent=1).encode())
    except OSError as error:
        logger.warning("the measurement of %s cannot be kept: %s", path.name, error)


def choose_repack(measured: Callable[[bool], tuple[float, StepCurve]]) -> tuple[bool, dict[bool, StepCurve]]:
    """Try weight repacking off and on; choose what answers a question sooner, and give the curves.

    `measured` loads the model so and gives the seconds of loading, and the curve. Where it fails, as repacking does on
    some machines, the other way is chosen; where both fail, that is raised.
    """
    cost: dict[bool, float] = {}
    curves: dict[bool, StepCurve] = {}
    for repack in (False, True):
        try:
            load, curve = measured(repack)
        except AvengersError:
            if repack and not cost:
                raise
            continue
        prompt_rows, prompt_seconds = curve.points[-1]
        curves[repack] = curve
        cost[repack] = load + _PROMPT * prompt_seconds / prompt_rows + _TOKENS * curve.seconds(_WIDTH)
    return min(cost, key=cost.__getitem__), curves


def _file_of(path: Path, options: LoadOptions, settings: Settings) -> Path:
    # Whatever changes the curve or the plan; a file of the same name and size is the same model.
    facts = (
        path.name,
        path.stat().st_size if path.exists() else 0,
        _build(),
        options.threads or usable_cores(),
        options.gpu_layers,
        options.kv_type,
        options.sequences,
        options.split,
        options.repack,
    )
    key = hashlib.blake2b(repr(facts).encode(), digest_size=6).hexdigest()
    return settings.home / "tuning" / f"{path.stem}-{key}.json"


def _build() -> str:
    """Return the build of llama.cpp without loading it: its version, and when its library was made."""
    import importlib.metadata  # slow to import, and routing imports this module

    folder = devices.library_folder()
    made = max((int(file.stat().st_mtime) for file in folder.glob("*llama*")), default=0) if folder else 0
    return f"{importlib.metadata.version('llama-cpp-python')} {platform.machine()} {made}"


class _Kept(msgspec.Struct):
    format: Literal[1]
    repack: bool | None
    seconds_by_rows: tuple[tuple[int, float], ...]


def _read(file: Path) -> tuple[StepCurve, bool | None] | None:
    try:
        if not file.is_file():  # a pipe would never end
            return None
        with file.open("rb") as opened:
            kept = msgspec.json.decode(opened.read(_MOST_BYTES), type=_Kept)
        return StepCurve(kept.seconds_by_rows), kept.repack
    except (OSError, ValueError, RecursionError, BadRequest):
        return None  # what cannot be read is measured again
