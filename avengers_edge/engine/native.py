"""llama.cpp handles: a model and a context. Each owns native memory, so each is a context manager."""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import struct
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import llama_cpp.llama_cpp as llama
import numpy as np

from avengers_edge.engine.backend import build_features, can_offload, start_backend
from avengers_edge.engine.cells import Logits
from avengers_edge.engine.cores import usable_cores
from avengers_edge.engine.facts import EngineFacts
from avengers_edge.engine.options import LoadOptions
from avengers_edge.errors import BadRequest, EngineDied
from avengers_edge.records import Closing

MOST_OUTPUTS = 64
"""Rows of one step whose logits can be read, unless more sequences are asked for; the compute buffer grows by a
vocabulary of floats with each."""

_ALL_LAYERS = 999
_GGML_TYPES = {"f32": 0, "f16": 1, "q4_0": 2, "q4_1": 3, "q5_0": 6, "q5_1": 7, "q8_0": 8, "bf16": 30}  # ggml.h
_STATE = "<8sIQ64s"  # magic, tokens, bytes of cells, BLAKE2b of both
_MAGIC = b"AEKV\0\0\0\1"
_LARGEST_STATE = 2**36
_MOST_ROWS = 512


def _repack_by_default() -> bool:
    # Measured on x86-64: repacked K-quants load six times slower, prefill 1.7 times slower and decode no faster. Arm
    # kernels are written for repacked weights, so there llama.cpp's own default stays.
    return platform.machine().lower() not in {"x86_64", "amd64"}


class LlamaModel(Closing):
    """A loaded GGUF file: weights and vocabulary. `on_progress` hears now and then while it loads.

    Raises:
        EngineDied: llama.cpp refuses the file or runs out of memory.

    """

    def __init__(self, path: Path, options: LoadOptions, on_progress: Callable[[], None] | None = None) -> None:
        log = start_backend()
        params = llama.llama_model_default_params()
        params.n_gpu_layers = (_ALL_LAYERS if options.gpu_layers < 0 else options.gpu_layers) if can_offload() else 0
        params.use_extra_bufts = _repack_by_default() if options.repack is None else options.repack

        def loading(_share: float, _user_data: object) -> bool:
            if on_progress:
                on_progress()
            return True

        params.progress_callback = callback = llama.llama_progress_callback(loading)
        log.forget()
        self.name = path.name
        self.handle: Any = llama.llama_model_load_from_file(os.fsencode(path), params)
        del callback  # it had to live until here
        if not self.handle:
            raise EngineDied(f"llama.cpp cannot load {path.name}: {log.reason()}; try `avengers models verify`")
        self.vocab = llama.llama_model_get_vocab(self.handle)
        self.vocabulary = int(llama.llama_vocab_n_tokens(self.vocab))
        self.n_ctx_train = int(llama.llama_model_n_ctx_train(self.handle))
        self.layers = int(llama.llama_model_n_layer(self.handle))
        # A recurrent state has no past to go back to, and a sliding window has dropped its own.
        self.rewinds = not (
            llama.llama_model_is_recurrent(self.handle)
            or llama.llama_model_is_hybrid(self.handle)
            or llama.llama_model_n_swa(self.handle) > 0
        )

    def close(self) -> None:
        """Free the weights; a second call does nothing."""
        if self.handle:
            llama.llama_model_free(self.handle)
            self.handle = None

    @property
    def chat_template(self) -> str | None:
        """The template inside the file, or None."""
        raw = llama.llama_model_chat_template(self.handle, None)
        return str(raw, "utf-8", "replace") if raw else None

    @property
    def bos(self) -> str:
        """The text of the beginning-of-sequence token."""
        return self._token_text(llama.llama_vocab_bos(self.vocab))

    @property
    def eos(self) -> str:
        """The text of the end-of-sequence token."""
        return self._token_text(llama.llama_vocab_eos(self.vocab))

    def tokenize(self, prompt: str) -> list[int]:
        """Turn a rendered prompt into tokens; markers of the template become their special tokens.

        Raises:
            BadRequest: the prompt is not valid Unicode.

        """
        try:
            raw = prompt.encode("utf-8")
        except UnicodeEncodeError as error:
            raise BadRequest(f"the prompt has a character that is not valid Unicode at {error.start}") from error
        # Templates write the beginning-of-sequence token themselves; adding it again would double it.
        add_bos = bool(llama.llama_vocab_get_add_bos(self.vocab)) and not prompt.startswith(self.bos or "\0")
        room = len(raw) + 2
        tokens = (llama.llama_token * room)()
        count = llama.llama_tokenize(self.vocab, raw, len(raw), tokens, room, add_bos, True)
        if count < 0:
            raise EngineDied(f"{self.name} cannot tokenize a prompt of {len(raw)} bytes")
        return list(tokens[:count])

    def piece(self, token: int) -> bytes:
        """Give a token's bytes; control tokens have none."""
        size = 64
        while True:
            buffer = ctypes.create_string_buffer(size)
            length = llama.llama_token_to_piece(self.vocab, token, buffer, size, 0, False)
            if length >= 0:
                return buffer.raw[:length]
            size = -length

    def ends_generation(self, token: int) -> bool:
        """Tell whether the model ends its turn with this token."""
        return bool(llama.llama_vocab_is_eog(self.vocab, token))

    def _token_text(self, token: int) -> str:
        if token < 0:
            return ""
        return str(llama.llama_vocab_get_text(self.vocab, token), "utf-8", "replace")


class _StepBatch:
    """A `llama_batch` over arrays of our own, so that a step is filled by slices; one sequence a row."""

    def __init__(self, rows: int) -> None:
        self._columns = [np.zeros(rows, np.int32) for _ in range(3)]
        self._wanted = np.zeros(rows, np.int8)
        self._ones = np.ones(rows, np.int32)
        base = self._columns[2].ctypes.data
        sequence = ctypes.POINTER(llama.llama_seq_id)
        self._pointers = (sequence * rows)(*(ctypes.cast(base + 4 * row, sequence) for row in range(rows)))
        self.handle = llama.llama_batch()
        self.handle.token = self._columns[0].ctypes.data_as(ctypes.POINTER(llama.llama_token))
        self.handle.pos = self._columns[1].ctypes.data_as(ctypes.POINTER(llama.llama_pos))
        self.handle.n_seq_id = self._ones.ctypes.data_as(ctypes.POINTER(ctypes.c_int32))
        self.handle.seq_id = ctypes.cast(self._pointers, ctypes.POINTER(sequence))
        self.handle.logits = self._wanted.ctypes.data_as(ctypes.POINTER(ctypes.c_int8))

    def fill(self, columns: Sequence[Sequence[int]], wanted: Sequence[bool]) -> None:
        count = len(wanted)
        for own, given in zip(self._columns, columns, strict=True):
            own[:count] = given
        self._wanted[:count] = wanted
        self.handle.n_tokens = count


class LlamaContext(Closing):
    """A unified KV cache that all sequences share, and the step that fills it.

    Raises:
        EngineDied: the cache or the compute buffers cannot be had.

    """

    def __init__(self, model: LlamaModel, options: LoadOptions) -> None:
        log = start_backend()
        self.threads = options.threads or usable_cores()
        params = llama.llama_context_default_params()
        params.n_ctx = options.cells
        params.n_batch = params.n_ubatch = min(_MOST_ROWS, options.cells)
        params.n_seq_max = options.sequences
        params.n_outputs_max = min(max(MOST_OUTPUTS, options.sequences), params.n_batch)
        params.kv_unified = True
        params.flash_attn_type = llama.LLAMA_FLASH_ATTN_TYPE_AUTO
        params.type_k = params.type_v = _GGML_TYPES[options.kv_type]
        params.n_threads = params.n_threads_batch = self.threads
        self._model = model
        self.handle: Any = llama.llama_init_from_model(model.handle, params)
        if not self.handle:
            raise EngineDied(
                f"llama.cpp cannot make a context of {options.cells} tokens with {options.kv_type} cells for "
                f"{model.name}: {log.reason()}; set a smaller `context` or another `kv_type` in settings.toml"
            )
        self.cells = int(llama.llama_n_ctx(self.handle))
        self.sequences = options.sequences
        self.batch_size = int(params.n_batch)
        self.outputs = int(params.n_outputs_max)
        self._memory = llama.llama_get_memory(self.handle)
        self.seconds = 0.0  # spent in llama.cpp
        self._batch = _StepBatch(self.batch_size)
        self.facts = EngineFacts(
            name=model.name,
            n_ctx_train=model.n_ctx_train,
            cells=self.cells,
            layers=model.layers + 1,  # llama.cpp counts the output layer too
            layers_offloaded=log.offloaded,
            buffers=tuple(log.buffers),
            gpu_offload=can_offload(),
            threads=self.threads,
            features=build_features(),
        )

    def close(self) -> None:
        """Free the cache; a second call does nothing."""
        if self.handle:
            llama.llama_free(self.handle)
            self.handle = self._memory = None

    def decode(
        self, tokens: Sequence[int], positions: Sequence[int], sequences: Sequence[int], wanted: Sequence[bool]
    ) -> Logits:
        """Evaluate one token a row, at most `batch_size`, in one step.

        Returns:
            The logits of what follows each row that is `wanted`, in order: shape (wanted rows, vocabulary). It is
            llama.cpp's own buffer, good until the next step.

        Raises:
            EngineDied: llama.cpp reports anything but success.

        """
        self._batch.fill((tokens, positions, sequences), wanted)
        begin = time.perf_counter()
        code = llama.llama_decode(self.handle, self._batch.handle)
        self.seconds += time.perf_counter() - begin
        if code != 0:
            raise EngineDied(
                f"llama.cpp failed to evaluate {len(tokens)} tokens (code {code}): {start_backend().reason()}"
            )
        shape = (sum(wanted), self._model.vocabulary)
        if not shape[0]:
            return np.empty(shape, np.float32)
        logits = np.ctypeslib.as_array(llama.llama_get_logits(self.handle), shape)
        logits.flags.writeable = False
        return logits

    def share(self, source: int, target: int, tokens: int) -> None:
        """Give sequence `target` the first `tokens` cells of `source`; in a unified cache nothing is copied.

        Of a model that does not rewind, that has to be all of them.
        """
        llama.llama_memory_seq_cp(self._memory, source, target, -1, tokens if self._model.rewinds else -1)

    def truncate(self, sequence: int, tokens: int) -> None:
        """Drop all cells of a sequence but the first `tokens`; only of a model that rewinds."""
        llama.llama_memory_seq_rm(self._memory, sequence, tokens, -1)

    def release(self, sequence: int) -> None:
        """Drop a sequence; cells that no other one shares are free at once."""
        llama.llama_memory_seq_rm(self._memory, sequence, -1, -1)

    def clear(self) -> None:
        """Drop every sequence, so that the next run finds the cache as the first did."""
        llama.llama_memory_clear(self._memory, False)

    def save(self, path: Path, sequence: int, tokens: Sequence[int]) -> None:
        """Write a sequence's tokens and cells to a file, with a digest: llama.cpp aborts on a state that was cut.

        Raises:
            EngineDied: llama.cpp does not give them out.
            OSError: the file cannot be written.

        """
        size = llama.llama_state_seq_get_size(self.handle, sequence)
        cells = (ctypes.c_uint8 * size)()
        if not size or llama.llama_state_seq_get_data(self.handle, cells, size, sequence) != size:
            raise EngineDied(f"llama.cpp does not give out the state of {len(tokens)} tokens")
        held = np.array(tokens, np.int32).tobytes()
        digest = hashlib.blake2b(held)
        digest.update(cells)
        with path.open("wb") as file:
            file.write(struct.pack(_STATE, _MAGIC, len(tokens), size, digest.digest()))
            file.write(held)
            file.write(cells)

    def restore(self, path: Path, sequence: int) -> list[int]:
        """Read a sequence back; give its tokens, none where the file is damaged or of another model or cache."""
        try:
            with path.open("rb") as file:
                magic, count, size, digest = struct.unpack(_STATE, file.read(struct.calcsize(_STATE)))
                if magic != _MAGIC or 4 * count + size > _LARGEST_STATE or count > self.cells:
                    return []
                content = file.read(4 * count + size + 1)
        except (OSError, struct.error):
            return []
        if len(content) != 4 * count + size or hashlib.blake2b(content).digest() != digest:
            return []
        cells = (ctypes.c_uint8 * size).from_buffer_copy(content, 4 * count)
        if llama.llama_state_seq_set_data(self.handle, cells, size, sequence) != size:
            self.release(sequence)
            return []
        return [int(token) for token in np.frombuffer(content, np.int32, count)]
