"""How much memory a model will take, told from its header before anything is loaded.

The terms are those that llama.cpp reports when it loads ("model buffer", "KV buffer", "compute buffer", "output
buffer"), with the batch sizes that the engine loads with; a native test compares the two. It is an estimate from above:
buffers are counted whole, though on a CPU only the pages that are used become real, and a sliding-window or recurrent
layer is counted like any other.
"""

from __future__ import annotations

from dataclasses import dataclass

from avengers_edge.errors import BadRequest
from avengers_edge.library.gguf import TENSOR_TYPES, GGUFHeader

BATCH_ROWS = 512
"""Tokens that the engine evaluates in one step at the most (llama.cpp's `n_ubatch`)."""

OUTPUT_ROWS = 64
"""Rows of logits that it asks of one step at the most (`n_outputs_max`), unless it runs more sequences."""

PROCESS_BYTES = 60_000_000
"""A Python process with llama.cpp in it, before it has loaded anything (measured: 40 to 60 MB)."""

_FLOAT = 4
_TOKEN_BYTES = 320  # a token's text, score and place in the index; measured 315 to 347 on Llama and Qwen vocabularies
_MASK_BYTES = 2 * BATCH_ROWS  # which rows may see a cell, as 16-bit floats
_BLOCK_BYTES = {kind.name.lower(): kind for kind in TENSOR_TYPES.values()}


@dataclass(frozen=True, slots=True)
class MemoryNeed:
    """What a model takes, in bytes; `compute` is what does not grow with the context, the process itself included.

    `layers` counts those that can be offloaded: the blocks and the output layer.
    """

    weights: int
    kv_per_cell: int
    compute: int
    layers: int

    def total(self, cells: int) -> int:
        """Add everything up for a KV cache of so many cells."""
        return self.weights + self.compute + (self.kv_per_cell + _MASK_BYTES) * cells


def estimate(header: GGUFHeader, kv_type: str = "f16", sequences: int = OUTPUT_ROWS) -> MemoryNeed:
    """Estimate a model's memory from its header; flash attention is taken for granted, as llama.cpp chooses it.

    `kv_type` is ggml's type of keys and values, `sequences` how many samples may run beside each other.

    Raises:
        BadRequest: a `kv_type` that ggml does not have.

    """
    kind = _BLOCK_BYTES.get(kv_type)
    if kind is None:
        raise BadRequest(f"kv_type is {kv_type!r}: use one like f16 or q8_0")
    outputs = max(OUTPUT_ROWS, sequences)
    vocabulary, embedding = header.vocabulary or 0, header.embedding_length
    feed_forward = header.feed_forward_length or 4 * embedding
    # A step's widest moment is a block's feed-forward (gate, up and their product beside the residual stream), or all
    # the logits, which are then copied to the output buffer.
    widest = max(BATCH_ROWS * (3 * feed_forward + 4 * embedding), outputs * (vocabulary + 4 * embedding))
    return MemoryNeed(
        weights=header.tensor_bytes,
        kv_per_cell=-(-header.kv_values * kind.size // kind.block),
        compute=_FLOAT * (widest + outputs * vocabulary) + _TOKEN_BYTES * vocabulary + PROCESS_BYTES,
        layers=header.block_count + 1,
    )
