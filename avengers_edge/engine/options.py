"""How a model is to be loaded; known without importing llama.cpp."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from avengers_edge.errors import BadRequest

KV_TYPES = ("f16", "f32", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0")
_MOST_SEQUENCES = 256  # LLAMA_MAX_SEQ


@dataclasses.dataclass(frozen=True, slots=True)
class LoadOptions:
    """How a model is loaded. Fields as in `config.Settings`; `cells` is the size of the KV cache in tokens.

    `sequences` bounds how many samples, prompts and kept prefixes are held at once; all share the cells of one unified
    cache. `gpu_layers` -1 offloads all layers where the build can. `repack` None leaves weight repacking to what is
    measured, or to the engine. `kv_type` is the ggml type of keys and values.
    """

    cells: int = 8192
    sequences: int = 64
    threads: int | None = None
    gpu_layers: int = -1
    repack: bool | None = None
    kv_type: str = "f16"

    def __post_init__(self) -> None:
        if not 2 <= self.sequences <= _MOST_SEQUENCES:  # a prompt and a sample of it
            raise BadRequest(f"sequences is {self.sequences}: use 2 to {_MOST_SEQUENCES}")
        if self.cells < 256:
            raise BadRequest(f"context is {self.cells} cells: use 256 or more")
        if self.threads is not None and self.threads < 1:
            raise BadRequest(f"threads is {self.threads}: use 1 or more")
        if self.kv_type not in KV_TYPES:
            raise BadRequest(f"kv_type is {self.kv_type!r}: use one of {', '.join(KV_TYPES)}")

    def as_dict(self) -> dict[str, Any]:
        """Turn the options into plain values."""
        return dataclasses.asdict(self)

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> LoadOptions:
        """Make options of plain values.

        Raises:
            TypeError: a name that is no option.

        """
        return cls(**values)
