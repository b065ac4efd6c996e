"""The global options of one call, and what commands open with them: settings, catalog, store, memory fit."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from avengers_edge.config import Settings, load_settings

if TYPE_CHECKING:
    from avengers_edge.engine.memory import DeviceMemory
    from avengers_edge.library.catalog import Catalog
    from avengers_edge.library.estimate import MemoryNeed
    from avengers_edge.library.store import Store


@dataclass(frozen=True, slots=True)
class Session:
    """The global options of one call. Settings are read by the commands that need them."""

    home: Path | None = None
    offline: bool = False

    def settings(self) -> Settings:
        """Combine the global options with the environment and the settings file."""
        return load_settings(self.home, offline=True if self.offline else None)

    def open_library(self) -> tuple[Catalog, Store]:
        """Open the catalog and the store of the home folder."""
        from avengers_edge.library.catalog import Catalog
        from avengers_edge.library.store import Store

        settings = self.settings()
        return Catalog.of(settings), Store(settings.home)


pass_session = click.make_pass_decorator(Session)


@dataclass(frozen=True, slots=True)
class Fit:
    """The memory that a model needs, in all and in main memory, and what is free there (None: unknown); in bytes."""

    quantization: str | None
    need: MemoryNeed
    total: int
    host: int
    free: int | None

    @property
    def fits(self) -> bool | None:
        """Whether it can be loaded now with the context of the settings; None where the system does not say."""
        return None if self.free is None else self.host <= self.free


class MachineMemory:
    """The memory of this machine, read once, against which models are measured."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    @functools.cached_property
    def free(self) -> int | None:
        """The free bytes of main memory; None where the system does not say."""
        from avengers_edge.engine import memory

        return memory.available_bytes()

    @functools.cached_property
    def device(self) -> DeviceMemory | None:
        """The memory of the devices that layers may go to."""
        from avengers_edge.engine import hardware

        return hardware.device_memory() if self._settings.gpu_layers else None

    def fit(self, path: Path) -> Fit:
        """Measure a model's file by its header.

        Raises:
            NotFound: the file, or a part of it, is not there.
            VerificationFailed: it is no whole model.

        """
        from avengers_edge.engine import memory
        from avengers_edge.engine.loader import load_options
        from avengers_edge.library.estimate import estimate
        from avengers_edge.library.gguf import read_header

        settings = self._settings
        sequences = load_options(settings, settings.gpu_layers).sequences
        header = read_header(path)
        need = estimate(header, settings.kv_type, sequences)
        host = memory.place(need, settings.cells, settings.gpu_layers, self.device).host
        return Fit(header.quantization, need, need.total(settings.cells), host, self.free)
