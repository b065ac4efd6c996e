"""Tiny models of random weights that llama.cpp loads, in architectures whose memory works differently."""

from __future__ import annotations

import sys
from pathlib import Path

ARCHITECTURES = ("llama", "gemma3", "mamba")
"""Plain attention, sliding-window attention, recurrence."""

_BENCHMARKS = str(Path(__file__).resolve().parents[2] / "benchmarks")


def tiny_gguf(path: Path, arch: str, seed: int = 0) -> Path:
    """Write a model of under 1 MB. Greedily it says printable ASCII, never ends by itself, and depends on every token.

    `arch` is one of ARCHITECTURES, or "tiny" for quantized weights in the tensor types of Q4_K_M.
    """
    sys.path.insert(0, _BENCHMARKS)
    try:
        from write_random_gguf import write_gguf
    finally:
        sys.path.remove(_BENCHMARKS)
    write_gguf(path, arch, seed)
    return path
