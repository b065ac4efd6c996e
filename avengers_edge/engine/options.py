"""How a model is to be loaded; known without importing llama.cpp."""

from __future__ import annotations

import dataclasses

from avengers_edge.config import KV_TYPES
from avengers_edge.errors import BadRequest

_MOST_SEQUENCES = 256  # LLAMA_MAX_SEQ


@dataclasses.dataclass(frozen=True, slots=True)
class LoadOptions:
    """How a model is loaded. Fields as in `config.Settings`; `cells` is the size of the KV cache in tokens.

    `sequences` bounds how many samples, prompts and kept prefixes are held at once; all share the cells of one unified
    cache, or with `split` have as many each. `gpu_layers` -1 offloads all layers where the build can. `repack` None
    leaves weight repacking to what is measured, or to the engine. `kv_type` is the ggml type of keys and values.
    """

    cells: int = 8192
    sequences: int = 64
    threads: int | None = None
    gpu_layers: int = -1
    repack: bool | None = None
    kv_type: str = "f16"
    split: bool = False

    def __post_init__(self) -> None:
        if not 2 <= self.sequences <= _MOST_SEQUENCES:  # a prompt and a sample of it
            raise BadRequest(f"sequences is {self.sequences}: use 2 to {_MOST_SEQUENCES}")
        least = 256 if self.split else max(256, 2 * self.sequences)
        if self.cells < least:
            raise BadRequest(f"context is {self.cells} cells for {self.sequences} sequences: use {least} or more")
        if self.threads is not None and self.threads < 1:
            raise BadRequest(f"threads is {self.threads}: use 1 or more")
        if self.kv_type not in KV_TYPES:
            raise BadRequest(f"kv_type is {self.kv_type!r}: use one of {', '.join(KV_TYPES)}")
