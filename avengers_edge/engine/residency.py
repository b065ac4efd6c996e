"""Which models are in memory: one at a time, the last one asked for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from avengers_edge.config import Settings
from avengers_edge.engine.memory import require_memory
from avengers_edge.records import Engine


class Residency:
    """Loads models on demand; another model's turn frees the one before.

    `path_of` finds a model's verified file, `need_of` estimates the bytes of memory that a file takes with the
    settings' context. llama.cpp is imported when the first model is loaded, not before.
    """

    def __init__(self, path_of: Callable[[str], Path], need_of: Callable[[Path], int], settings: Settings) -> None:
        self._path_of, self._need_of, self._settings = path_of, need_of, settings
        self._resident: tuple[str, Engine] | None = None
        self._free: Callable[[], None] = lambda: None

    def engine_for(self, model: str) -> Engine:
        """Give the loaded model, loading it first if need be.

        Raises:
            NotFound: the model is not installed.
            VerificationFailed: its file is not what was verified.
            DoesNotFit: it needs more memory than there is.
            EngineDied: llama.cpp cannot load it.

        """
        if self._resident and self._resident[0] == model:
            return self._resident[1]
        path = self._path_of(model)
        self.close()
        require_memory(model, self._need_of(path))
        from avengers_edge.engine.llama import LlamaEngine
        from avengers_edge.engine.native import LoadOptions

        settings = self._settings
        options = LoadOptions(
            cells=settings.context, threads=settings.threads, gpu_layers=settings.gpu_layers, repack=settings.repack
        )
        engine = LlamaEngine(path, options)
        self._resident, self._free = (model, engine), engine.close
        return engine

    def close(self) -> None:
        """Free the loaded model, if any."""
        self._free()
        self._resident, self._free = None, lambda: None
