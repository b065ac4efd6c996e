"""A loaded model as `residency` keeps it, and how llama.cpp makes one."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from avengers_edge.config import Settings
from avengers_edge.engine import hardware
from avengers_edge.engine.curve import StepCurve
from avengers_edge.engine.facts import EngineFacts
from avengers_edge.engine.options import LoadOptions
from avengers_edge.engine.ticket import Ticket
from avengers_edge.records import Engine, OnFinish, OnToken, Recall, Request


class ManagedEngine(Engine, Protocol):
    """A loaded model that can be watched, put aside and closed; in this process or in one of its own."""

    @property
    def alive(self) -> bool:
        """Whether it can still answer; a dead engine is loaded anew."""

    @property
    def facts(self) -> EngineFacts:
        """What llama.cpp really did with the model."""

    def submit(self, request: Request, *, on_finish: OnFinish | None = None, on_token: OnToken | None = None) -> Ticket:
        """Hand a request in without waiting for its end."""

    def count_tokens(self, request: Request) -> int:
        """Count the tokens of a request's prompt."""

    def measure(self, budget: float) -> StepCurve:
        """Measure the step-time curve in about so many seconds, and go by it."""

    def save_state(self, path: Path) -> int:
        """Write the most recent conversation's KV cells; return how many tokens, 0 for none."""

    def load_state(self, path: Path) -> int:
        """Read them back; return how many tokens, 0 where the file does not fit."""

    def close(self) -> None:
        """Free its memory; a second call does nothing."""


_WIDE = 128
"""Samples beside each other on a GPU, whose steps hardly take longer by their rows; a CPU's optimum is far below."""

OpenEngine = Callable[[str, Path, int], ManagedEngine]
"""Loads a model: its name, its file, and how many layers go to a device (-1: all)."""


def load_options(settings: Settings, gpu_layers: int) -> LoadOptions:
    """Say how a model is loaded of which so many layers may go to a device (-1: all)."""
    options = LoadOptions(
        cells=settings.part,
        threads=settings.threads,
        gpu_layers=gpu_layers,
        repack=settings.repack,
        kv_type=settings.kv_type,
    )
    if settings.slots:
        return dataclasses.replace(options, sequences=settings.slots, split=True)
    on_device = gpu_layers != 0 and hardware.gpu_backends()
    return dataclasses.replace(options, sequences=_WIDE) if on_device else options


def llama_opener(settings: Settings, stop: Recall | None = None) -> OpenEngine:
    """Make what loads a model with llama.cpp, in a process of its own unless the settings say otherwise.

    `stop` gives up a load under way: such a process is ended, whatever it does, and then `EngineDied` is raised.
    """
    stopped = stop or Recall()

    def open_engine(_model: str, path: Path, gpu_layers: int) -> ManagedEngine:
        from avengers_edge.engine.tuning import measure_first, tuned

        wanted = load_options(settings, gpu_layers)
        options, curve = tuned(path, wanted, settings)
        engine = _open(path, options, curve, settings, stopped)
        if curve is None:
            try:
                with stopped.calling(engine.close):
                    measure_first(engine, path, wanted, settings)
            except BaseException:
                engine.close()
                raise
        return engine

    return open_engine


def _open(path: Path, options: LoadOptions, curve: StepCurve | None, settings: Settings, stop: Recall) -> ManagedEngine:
    if settings.worker:
        from avengers_edge.engine.process import WorkerEngine

        return WorkerEngine(path, options, curve=curve, patience=settings.patience, stop=stop)
    from avengers_edge.engine.llama import LlamaEngine

    return LlamaEngine(path, options, curve=curve)
