"""Laws of the GGUF preflight: what is whole is read, everything else is refused with one line and exit code 4."""

from __future__ import annotations

import dataclasses
import os
import struct
import tempfile
from pathlib import Path

import pytest
from gguf_files import ARRAY, BASICS, STRING, U32, Tiny, array, string, tensor, text, tiny_model, u32
from hypothesis import example, given
from hypothesis import strategies as st

from avengers_edge.config import KV_TYPES
from avengers_edge.errors import BadRequest, NotFound, VerificationFailed
from avengers_edge.library import estimate as estimates
from avengers_edge.library import gguf, gguf_metadata
from avengers_edge.library.estimate import estimate
from avengers_edge.library.gguf import TENSOR_TYPES, read_header

VALID = tiny_model()


def header_of(data: bytes) -> gguf.GGUFHeader:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.gguf"
        path.write_bytes(data)
        return read_header(path)


def refusal(data: bytes) -> str:
    with pytest.raises(VerificationFailed) as caught:
        header_of(data)
    message = str(caught.value)
    assert "\n" not in message
    assert "model.gguf" in message
    return message


def with_pair(*pairs: bytes) -> bytes:
    return Tiny(pairs=(*BASICS, *pairs)).build()


def without(key: str) -> tuple[bytes, ...]:
    return tuple(pair for pair in BASICS if not pair.startswith(text(key)))


def test_a_whole_file_tells_what_it_is() -> None:
    header = header_of(VALID)
    assert (header.version, header.architecture, header.name, header.licence) == (3, "tiny", "Tiny", "mit")
    assert (header.context_length, header.block_count, header.embedding_length) == (128, 2, 16)
    assert (header.vocabulary, header.quantization, header.chat_template) == (3, "Q4_K_M", "{{ messages }}")
    assert (header.tensor_count, header.tensor_bytes) == (2, 64)
    assert header.data_offset + 64 == len(VALID)


def test_version_2_is_read_like_version_3() -> None:
    assert header_of(Tiny(version=2).build()).version == 2


@pytest.mark.parametrize(("kv_type", "size"), [("f16", 64), ("f32", 128), ("q8_0", 34), ("q4_0", 18)])
def test_keys_and_values_take_what_their_type_takes_with_its_scales(kv_type: str, size: int) -> None:
    """2 layers x 2 KV heads x (4 + 4) values are 32, one block of the quantised types."""
    need = estimate(header_of(VALID), kv_type)
    assert (need.weights, need.kv_per_cell, need.layers) == (64, size, 3)
    mask = 2 * estimates.BATCH_ROWS
    assert need.total(100) - need.total(0) == 100 * (size + mask)
    assert need.total(0) == need.weights + need.compute


def test_every_kv_type_of_the_settings_has_a_size() -> None:
    assert all(estimate(header_of(VALID), kv_type).kv_per_cell > 0 for kv_type in KV_TYPES)
    with pytest.raises(BadRequest, match="kv_type is 'Q8_0'"):
        estimate(header_of(VALID), "Q8_0")


def test_compute_grows_with_the_widest_layer_or_the_vocabulary() -> None:
    """512 rows of three feed-forwards and four embeddings (16), or 64 rows of logits (3 here)."""
    rest = estimates.PROCESS_BYTES + 3 * (4 * estimates.OUTPUT_ROWS + 320)
    wide = header_of(with_pair(u32("tiny.feed_forward_length", 40)))
    assert estimate(wide).compute == rest + 4 * 512 * (3 * 40 + 4 * 16)
    assert estimate(header_of(VALID)).compute == rest + 4 * 512 * (3 * 64 + 4 * 16), "four embeddings where unsaid"
    wordy = dataclasses.replace(wide, vocabulary=1000_000)
    assert estimate(wordy).compute == estimates.PROCESS_BYTES + 1000_000 * (320 + 2 * 4 * 64) + 4 * 64 * 4 * 16


@pytest.mark.parametrize(
    ("pairs", "width"),
    [
        ((), 0),
        ((u32("tiny.feed_forward_length", 40),), 40),
        ((array("tiny.feed_forward_length", U32, 2, struct.pack("<II", 30, 50)),), 50),
        ((u32("tiny.expert_feed_forward_length", 20), u32("tiny.expert_used_count", 4)), 80),
        ((u32("tiny.feed_forward_length", 2**31),), 0),
        ((string("tiny.feed_forward_length", "wide"),), 0),
    ],
)
def test_the_widest_feed_forward_layer_is_found_and_nonsense_is_none(pairs: tuple[bytes, ...], width: int) -> None:
    assert header_of(with_pair(*pairs)).feed_forward_length == width


@pytest.mark.native
def test_the_estimate_is_what_llama_cpp_takes_and_hardly_more(small_engine, model_home) -> None:
    path = next(model_home.glob("models/smollm2-135m-instruct/*.gguf"))
    header, buffers = read_header(path), small_engine.facts.buffers
    need = estimate(header)
    cells = small_engine.facts.cells
    assert sum(size for what, size in buffers if "KV" in what) == pytest.approx(need.kv_per_cell * cells, rel=0.01)
    assert sum(size for what, size in buffers if "model" in what) == pytest.approx(need.weights, rel=0.01)
    taken = sum(size for _, size in buffers)
    vocabulary_and_process = 320 * header.vocabulary + estimates.PROCESS_BYTES
    assert need.total(cells) - vocabulary_and_process == pytest.approx(taken, rel=0.02)


def test_kv_heads_may_differ_by_layer() -> None:
    pairs = (
        *without("tiny.attention.head_count_kv"),
        array("tiny.attention.head_count_kv", U32, 2, struct.pack("<II", 1, 4)),
    )
    assert header_of(Tiny(pairs=pairs).build()).kv_values == (1 + 4) * 8


def test_stated_key_and_value_lengths_win_over_the_embedding() -> None:
    data = with_pair(u32("tiny.attention.key_length", 10), u32("tiny.attention.value_length", 6))
    assert header_of(data).kv_values == 2 * 2 * 16


def test_a_file_without_a_chat_template_is_a_base_model() -> None:
    assert header_of(Tiny(pairs=without("tokenizer.chat_template")).build()).chat_template is None


def test_a_name_that_could_steer_the_terminal_is_made_harmless() -> None:
    pairs = (*without("general.name"), string("general.name", "\x1b[2Jx"))
    assert header_of(Tiny(pairs=pairs).build()).name == "?[2Jx"


def test_tensors_may_lie_in_any_order() -> None:
    swapped = (tensor("first", offset=32), tensor("second", offset=0))
    assert header_of(Tiny(tensors=swapped).build()).tensor_bytes == 64


@pytest.mark.parametrize("data", [b"", b"GGUF", b"This is a text about models.\n" * 50, b"\0" * 100])
def test_what_is_no_gguf_is_refused(data: bytes) -> None:
    refusal(data)


@pytest.mark.parametrize("part", range(10))
def test_a_file_cut_off_anywhere_is_refused(part: int) -> None:
    refusal(VALID[: len(VALID) * part // 10])


def test_a_file_without_its_last_byte_is_refused() -> None:
    assert "cut off" in refusal(VALID[:-1])


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (Tiny(magic=b"FUGG").build(), "begins with b'FUGG'"),
        (Tiny(version=1).build(), "version 1"),
        (Tiny(version=4).build(), "version 4"),
        (Tiny(version=3 << 24).build(), "big-endian"),
        (Tiny(claims={"tensors": 2**60}).build(), "tensors"),
        (Tiny(claims={"tensors": 0}).build(), "0 tensors"),
        (Tiny(claims={"keys": 2**60}).build(), "metadata keys"),
        (Tiny(claims={"keys": gguf.MAX_KEYS}).build(), "model.gguf"),
        (with_pair(struct.pack("<Q", 2**63) + b"key"), "claims"),
        (with_pair(text("k") + struct.pack("<IQ", STRING, 2**62)), "claims"),
        (with_pair(text("k") + struct.pack("<IQ", STRING, 2**24)), "cut off"),
        (with_pair(array("k", U32, 2**62)), "claims"),
        (with_pair(array("k", U32, 2**22)), "cut off"),
        (with_pair(array("k", STRING, 2**22)), "a string in"),
        (with_pair(array("k", STRING, 1, struct.pack("<Q", 2**40))), "claims"),
        (with_pair(array("k", ARRAY, 1, struct.pack("<IQ", ARRAY, 1) * 1000)), "holds arrays"),
        (with_pair(array("k", 77, 1)), "unknown type 77"),
        (with_pair(text("k") + struct.pack("<I", 13)), "unknown type 13"),
        (with_pair(u32("", 1)), "empty"),
        (with_pair(u32("twice", 1), u32("twice", 2)), "twice"),
        (with_pair(u32("twice", 1), array("twice", U32, 0)), "twice"),
        (with_pair(u32("\N{LATIN SMALL LETTER A}" * 2000, 1)), "claims 2000 bytes"),
        (with_pair(text(b"\xff\xfe") + struct.pack("<II", U32, 1)), "UTF-8"),
        (with_pair(u32("general.alignment", 0)), "alignment"),
        (with_pair(u32("general.alignment", 24)), "alignment"),
        (with_pair(u32("general.alignment", 2**31)), "alignment"),
        (with_pair(string("general.alignment", "32")), "alignment"),
        (with_pair(u32("split.count", 3)), "parts"),
        (Tiny(pairs=without("general.architecture")).build(), "architecture"),
        (Tiny(pairs=without("tiny.context_length")).build(), "context_length"),
        (Tiny(pairs=(*without("tiny.block_count"), u32("tiny.block_count", 2**31))).build(), "block_count"),
        (
            Tiny(
                pairs=(*without("tokenizer.chat_template"), string("tokenizer.chat_template", "x" * (2**20 + 1)))
            ).build(),
            "chat_template",
        ),
        (Tiny(tensors=(tensor("same"), tensor("same", offset=32))).build(), "twice"),
        (Tiny(tensors=(tensor("x" * 64),)).build(), "tensor name"),
        (Tiny(tensors=(tensor("a", shape=()),)).build(), "0 dimensions"),
        (Tiny(tensors=(tensor("a", shape=(1, 1, 1, 1, 1)),)).build(), "5 dimensions"),
        (Tiny(tensors=(tensor("a", shape=(2**32, 2**32)),)).build(), "larger than"),
        (Tiny(tensors=(tensor("a", shape=(2**63, 2, 2, 2)),)).build(), "larger than"),
        (Tiny(tensors=(tensor("a", shape=(0, 8)),)).build(), "shape"),
        (Tiny(tensors=(tensor("a", shape=(33,), kind=2),)).build(), "shape"),
        (Tiny(tensors=(tensor("a", kind=4),)).build(), "unknown type 4"),
        (Tiny(tensors=(tensor("a", kind=9999),)).build(), "unknown type 9999"),
        (Tiny(tensors=(tensor("a", offset=2**63),)).build(), "cut off"),
        (Tiny(tensors=(tensor("a", offset=8),)).build(), "multiple"),
        (Tiny(tensors=(tensor("a", shape=(16,)), tensor("b", offset=32))).build(), "overlaps"),
        (Tiny(tensors=(tensor("a"), tensor("b"))).build(), "overlaps"),
    ],
)
def test_each_lie_is_found_and_named(data: bytes, found: str) -> None:
    assert found in refusal(data)


def test_metadata_without_end_is_refused_by_its_total(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gguf_metadata, "MAX_METADATA_BYTES", 4096)
    assert "longer than 4096" in refusal(with_pair(array("k", STRING, 1000, text("") * 1000)))


def test_no_more_than_the_header_is_read(tmp_path: Path) -> None:
    """A sparse file of 8 GiB is read as fast as its header."""
    path = tmp_path / "big.gguf"
    with path.open("wb") as file:
        file.write(VALID)
        file.truncate(8 * 2**30)
    assert read_header(path).tensor_count == 2


def test_a_missing_file_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        read_header(tmp_path / "none.gguf")


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(VerificationFailed):
        read_header(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.gguf")
    with pytest.raises(VerificationFailed):
        read_header(tmp_path / "pipe.gguf")


@given(
    changes=st.lists(st.tuples(st.integers(0, len(VALID) - 1), st.integers(0, 255)), max_size=8),
    length=st.integers(0, len(VALID)),
    inserted=st.tuples(st.integers(0, len(VALID)), st.binary(max_size=16)),
)
@example(changes=[], length=len(VALID), inserted=(0, b""))
def test_damage_is_refused_or_harmless_and_never_anything_else(
    changes: list[tuple[int, int]], length: int, inserted: tuple[int, bytes]
) -> None:
    data = bytearray(VALID)
    for at, value in changes:
        data[at] = value
    at, more = inserted
    data[at:at] = more
    try:
        header_of(bytes(data[: length + len(more)]))
    except VerificationFailed as error:
        assert "\n" not in str(error)


@pytest.mark.native
def test_the_type_table_is_llama_cpps_own() -> None:
    import ctypes

    llama_cpp = pytest.importorskip("llama_cpp")
    library = next((Path(llama_cpp.__file__).parent / "lib").glob("*ggml-base*"))
    ggml = ctypes.CDLL(str(library))
    ggml.ggml_type_size.restype = ctypes.c_size_t
    ggml.ggml_blck_size.restype = ctypes.c_int64
    ggml.ggml_type_name.restype = ctypes.c_char_p
    theirs = {
        number: (ggml.ggml_type_name(number).decode().lower(), ggml.ggml_blck_size(number), ggml.ggml_type_size(number))
        for number in range(llama_cpp.GGML_TYPE_COUNT)
        if ggml.ggml_blck_size(number)
    }
    assert theirs == {number: (each.name.lower(), each.block, each.size) for number, each in TENSOR_TYPES.items()}
