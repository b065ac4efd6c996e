#!/usr/bin/env python3
"""Write a GGUF model of random weights: real in shape and speed, meaningless in what it says.

    python benchmarks/write_random_gguf.py FILE --shape 7b

    7b      Qwen2.5-7B's shape in the tensor types of Q4_K_M, 4.7 GB; written in pieces, never whole in memory
    tiny    the same, two small layers
    llama, gemma3, mamba
            under 1 MB each, 32-bit floats: plain attention, sliding-window attention, recurrence

Everything inside is made here: weights from a seed, a byte-level vocabulary, a chat template. Every token of the output
layer that is neither printable ASCII nor a made-up word has logit 0, so a greedy text is ASCII and does not end early.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice, product
from pathlib import Path

import numpy as np
from gguf_writer import Metadata, Tensor, write_file

_CONTROLS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
_TEMPLATE = (
    "{%- for message in messages -%}{{ '<|im_start|>' ~ message['role'] ~ '\\n' ~ message['content'] ~ '<|im_end|>\\n'"
    " }}{%- endfor -%}{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\\n' }}{%- endif -%}"
)


@dataclass(frozen=True, slots=True)
class Shape:
    """A transformer's extents. `vocabulary` 0 is as many tokens as there are bytes and markers."""

    layers: int
    width: int
    heads: int
    kv_heads: int
    inner: int
    vocabulary: int = 0
    context: int = 4096

    @property
    def head(self) -> int:
        """The width of one attention head."""
        return self.width // self.heads


SHAPES = {
    "7b": ("qwen2", Shape(28, 3584, 28, 4, 18944, vocabulary=152064, context=32768)),
    "tiny": ("qwen2", Shape(2, 256, 4, 2, 512)),
    "llama": ("llama", Shape(2, 64, 4, 2, 96)),
    "gemma3": ("gemma3", Shape(6, 64, 4, 2, 96)),  # the sixth layer attends to everything
    "mamba": ("mamba", Shape(2, 64, 0, 0, 0)),
}
SLIDING_WINDOW = 16
"""Tokens that the window layers of gemma3 look back over."""


def main() -> None:
    """Parse the command line and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--shape", choices=SHAPES, default="7b")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    write_gguf(args.file, args.shape, args.seed)
    print(f"{args.file}: {args.file.stat().st_size / 1e9:.3f} GB")


def write_gguf(path: Path, shape: str, seed: int = 0) -> None:
    """Write the model of a named shape."""
    architecture, extents = SHAPES[shape]
    vocabulary = make_vocabulary(extents.vocabulary)
    silent = np.array([not token.isascii() or token in _CONTROLS for token in vocabulary])
    tensors = list(list_tensors(architecture, extents, len(vocabulary)))
    write_file(path, describe(architecture, extents, vocabulary), tensors, seed, {"output.weight": silent})


# --- vocabulary --------------------------------------------------------------------------------


def make_vocabulary(size: int) -> list[str]:
    """List the tokens: the 256 bytes as GPT-2 writes them, the markers, then made-up words up to `size`."""
    words = map("".join, product("abcdefghijklmnopqrstuvwxyz", repeat=4))
    tokens = [_byte_letter(byte) for byte in range(256)] + list(_CONTROLS)
    return tokens + list(islice(words, max(0, size - len(tokens))))


def _byte_letter(byte: int) -> str:
    """Give the printable letter that stands for a byte: itself, or one from 256 on in order."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    if byte in plain:
        return chr(byte)
    return chr(256 + byte - sum(other < byte for other in plain))


# --- what is in a model ------------------------------------------------------------------------


def describe(architecture: str, shape: Shape, vocabulary: Sequence[str]) -> Metadata:
    """Make the metadata that llama.cpp needs."""
    name = architecture
    found = {
        "general.architecture": name,
        "general.name": "Random weights",
        "general.file_type": 15 if name == "qwen2" else 0,
        f"{name}.context_length": shape.context,
        f"{name}.block_count": shape.layers,
        f"{name}.embedding_length": shape.width,
        f"{name}.feed_forward_length": shape.inner,
        f"{name}.attention.head_count": shape.heads,
        f"{name}.attention.layer_norm_rms_epsilon": 1e-6,
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "gpt-2",
        "tokenizer.ggml.tokens": vocabulary,
        "tokenizer.ggml.token_type": [3 if token in _CONTROLS else 1 for token in vocabulary],
        "tokenizer.ggml.merges": ["\u0100 \u0100"],  # there has to be one: two zero bytes
        "tokenizer.ggml.bos_token_id": vocabulary.index("<|endoftext|>"),
        "tokenizer.ggml.eos_token_id": vocabulary.index("<|im_end|>"),
        "tokenizer.ggml.add_bos_token": False,
        "tokenizer.chat_template": _TEMPLATE,
    }
    if name == "mamba":
        extents = {"conv_kernel": 4, "inner_size": 2 * shape.width, "state_size": 16, "time_step_rank": 4}
        return found | {f"mamba.ssm.{key}": value for key, value in extents.items()}
    found |= {
        f"{name}.attention.head_count_kv": shape.kv_heads,
        f"{name}.attention.key_length": shape.head,
        f"{name}.attention.value_length": shape.head,
        f"{name}.rope.freq_base": 10000.0,
    }
    return found | ({"gemma3.attention.sliding_window": SLIDING_WINDOW} if name == "gemma3" else {})


def list_tensors(architecture: str, shape: Shape, vocabulary: int) -> Iterator[Tensor]:
    """List a model's tensors in file order."""
    # The weights are such that what is said depends on more than the last token: embeddings are small beside what the
    # layers add, attention is sharp, and a state fades slowly.
    quantized = architecture == "qwen2"
    size = 0.5 / math.sqrt(shape.width) if architecture == "gemma3" else 0.5  # gemma3 scales its embeddings up
    yield Tensor("token_embd.weight", (shape.width, vocabulary), "Q4_K" if quantized else "F32", spread=size)
    for layer in range(shape.layers):
        tensors = _mamba_layer(shape) if architecture == "mamba" else _attention_layer(architecture, shape, layer)
        for tensor in tensors:
            yield replace(tensor, name=f"blk.{layer}.{tensor.name}")
    yield _norm("output_norm", shape.width)
    yield _linear("output", shape.width, vocabulary, "Q6_K" if quantized else "F32", spread=4.0)


def _attention_layer(architecture: str, shape: Shape, layer: int) -> Iterator[Tensor]:
    width, kv_width = shape.width, shape.kv_heads * shape.head
    usual, finer = ("Q4_K", _finer_type(layer, shape.layers)) if architecture == "qwen2" else ("F32", "F32")
    yield _norm("attn_norm", width)
    yield _linear("attn_q", width, width, usual, spread=1.4)
    yield _linear("attn_k", width, kv_width, usual, spread=1.4)
    yield _linear("attn_v", width, kv_width, finer)
    yield _linear("attn_output", width, width, usual, spread=2)
    yield _norm("ffn_norm", width)
    yield _linear("ffn_gate", width, shape.inner, usual)
    yield _linear("ffn_up", width, shape.inner, usual)
    yield _linear("ffn_down", shape.inner, width, finer)
    if architecture == "qwen2":
        for name, size in (("q", width), ("k", kv_width), ("v", kv_width)):
            yield Tensor(f"attn_{name}.bias", (size,), "F32", fill=0)
    if architecture == "gemma3":
        yield from (_norm("post_attention_norm", width), _norm("post_ffw_norm", width))
        yield from (_norm("attn_q_norm", shape.head, 1.4), _norm("attn_k_norm", shape.head, 1.4))


def _mamba_layer(shape: Shape) -> Iterator[Tensor]:
    width, inner, state, rank, kernel = shape.width, 2 * shape.width, 16, 4, 4
    yield _norm("attn_norm", width)
    yield _linear("ssm_in", width, 2 * inner, "F32")
    yield _linear("ssm_conv1d", kernel, inner, "F32")
    yield Tensor("ssm_conv1d.bias", (inner,), "F32", fill=0)
    yield _linear("ssm_x", inner, rank + 2 * state, "F32")
    yield _linear("ssm_dt", rank, inner, "F32")
    yield Tensor("ssm_dt.bias", (inner,), "F32", fill=-5)
    yield Tensor("ssm_a", (state, inner), "F32", fill=-1)
    yield Tensor("ssm_d", (inner,), "F32", fill=0)
    yield _linear("ssm_out", inner, width, "F32", spread=16)


def _linear(name: str, inputs: int, outputs: int, type_: str, spread: float = 1.0) -> Tensor:
    """Describe a matrix that keeps the size of what it is given (times `spread`)."""
    return Tensor(f"{name}.weight", (inputs, outputs), type_, spread=spread / math.sqrt(inputs))


def _norm(name: str, width: int, scale: float = 1) -> Tensor:
    return Tensor(f"{name}.weight", (width,), "F32", fill=scale)


def _finer_type(layer: int, layers: int) -> str:
    """Choose as llama.cpp's Q4_K_M does: Q6_K in the first and last eighth, and in every third layer between."""
    eighth = layers // 8
    return "Q6_K" if layer < eighth or layer >= 7 * layers // 8 or (layer - eighth) % 3 == 2 else "Q4_K"


if __name__ == "__main__":
    main()
