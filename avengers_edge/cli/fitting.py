"""Does a model fit this machine: what its file needs, and what there is."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from avengers_edge.config import Settings

if TYPE_CHECKING:
    from avengers_edge.engine.memory import DeviceMemory
    from avengers_edge.library.estimate import MemoryNeed


@dataclass(frozen=True, slots=True)
class Fit:
    """What a model needs in bytes, how much of that in main memory, and what is free there; None: nobody says."""

    quantization: str | None
    need: MemoryNeed
    total: int
    host: int
    free: int | None

    @property
    def fits(self) -> bool | None:
        """Whether it can be loaded now with the context that is set; None where the system does not say."""
        return None if self.free is None else self.host <= self.free


class Fitting:
    """Measures models against this machine, which is looked at once."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    @functools.cached_property
    def free(self) -> int | None:
        """The free bytes of main memory; None where the system does not say."""
        from avengers_edge.engine import memory

        return memory.available_bytes()

    @functools.cached_property
    def device(self) -> DeviceMemory | None:
        """What the devices have that layers may go to."""
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
