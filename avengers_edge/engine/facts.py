"""What llama.cpp really did with a model: the proof that `doctor` shows."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EngineFacts:
    """A loaded model as llama.cpp reports it.

    `buffers` are its own log lines of memory taken, as (what, bytes): `("CPU_Mapped model", 485_000_000)`,
    `("CUDA0 KV", …)`. `cells` are those that one sequence can have. `layers_offloaded` of `layers` are on a device.
    `features` is what the build can do.
    """

    name: str
    n_ctx_train: int
    cells: int
    layers: int
    layers_offloaded: int
    buffers: tuple[tuple[str, int], ...]
    gpu_offload: bool
    threads: int
    features: str
