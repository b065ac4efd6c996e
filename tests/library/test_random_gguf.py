"""Laws of the model files that are made of random weights."""

from __future__ import annotations

import numpy as np
import pytest
from random_gguf import ARCHITECTURES, tiny_gguf

from avengers_edge.engine.chat_template import ChatTemplate
from avengers_edge.library.gguf import read_header
from avengers_edge.records import Message

SHAPES = (*ARCHITECTURES, "tiny")


@pytest.mark.parametrize("arch", SHAPES)
def test_the_file_is_small_and_passes_the_preflight(tmp_path, arch):
    path = tiny_gguf(tmp_path / "model.gguf", arch)
    header = read_header(path)
    assert path.stat().st_size < 1_000_000
    assert header.architecture == {"tiny": "qwen2"}.get(arch, arch)
    assert header.quantization == ("Q4_K_M" if arch == "tiny" else "F32")
    assert header.vocabulary == 259


def test_equal_seeds_give_equal_files_and_other_seeds_do_not(tmp_path):
    first, second, third = (tiny_gguf(tmp_path / f"{i}.gguf", "llama", seed) for i, seed in enumerate((1, 1, 2)))
    assert first.read_bytes() == second.read_bytes() != third.read_bytes()


def test_a_file_that_cannot_be_finished_leaves_nothing_behind(tmp_path, monkeypatch):
    tiny_gguf(tmp_path / "whole.gguf", "llama")  # imports what is broken next
    monkeypatch.setattr("gguf_writer._header", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        tiny_gguf(tmp_path / "model.gguf", "llama")
    assert [path.name for path in tmp_path.glob("*.gguf*")] == ["whole.gguf"]


def test_the_chat_template_inside_is_one(tmp_path):
    header = read_header(tiny_gguf(tmp_path / "model.gguf", "mamba"))
    template = ChatTemplate(header.chat_template, bos="", eos="")
    turns = (Message("user", "a"), Message("assistant", "b"), Message("user", "c"))
    first, whole = template.render(turns[:1]), template.render(turns)
    assert whole.startswith(first + "b")  # a second turn continues the first one's text
    assert whole.endswith("<|im_start|>assistant\n")


def test_the_values_of_quantized_blocks_have_mean_0_and_the_spread_asked_for(tmp_path):
    tiny_gguf(tmp_path / "model.gguf", "tiny")  # puts the writer within reach
    from gguf_writer import Tensor, make_rows

    rng = np.random.default_rng(0)
    fine = make_rows(Tensor("fine", (256, 512), "Q6_K", spread=0.5), 512, rng)
    coarse = make_rows(Tensor("coarse", (256, 512), "Q4_K", spread=0.5), 512, rng)
    for values in (read_q6_k(fine), read_q4_k(coarse)):
        assert values.shape == (512, 256)
        assert abs(values.mean()) < 0.05
        assert 0.4 < values.std() < 0.6


def read_q6_k(blocks):
    """Values of Q6_K blocks, without the order inside a block: low nibbles, high pairs, 8-bit scales, a half."""
    low, high = blocks[:, :128], blocks[:, 128:192]
    scales, half = blocks[:, 192:208].view(np.int8), blocks[:, 208:].copy().view(np.float16)
    nibbles = np.concatenate([low & 15, low >> 4], axis=1)
    pairs = np.concatenate([high >> shift & 3 for shift in (0, 2, 4, 6)], axis=1)
    return half.astype(float) * np.repeat(scales, 16, axis=1) * ((nibbles | pairs << 4).astype(int) - 32)


def read_q4_k(blocks):
    """Values of Q4_K blocks, without the order inside a block: two halves, 6-bit scales and minima, nibbles."""
    halves = blocks[:, :4].copy().view(np.float16).astype(float)
    packed, nibbles = blocks[:, 4:16], np.concatenate([blocks[:, 16:] & 15, blocks[:, 16:] >> 4], axis=1)
    scales = np.concatenate([packed[:, :4] & 63, packed[:, 8:] & 15 | packed[:, :4] >> 6 << 4], axis=1)
    minima = np.concatenate([packed[:, 4:8] & 63, packed[:, 8:] >> 4 | packed[:, 4:8] >> 6 << 4], axis=1)
    return halves[:, :1] * np.repeat(scales, 32, axis=1) * nibbles - halves[:, 1:] * np.repeat(minima, 32, axis=1)
