"""llama.cpp as this process has it: a model (weights, vocabulary) and a context (the KV cache and its steps)."""

from __future__ import annotations

import collections
import ctypes
import functools
import hashlib
import logging
import os
import platform
import re
import struct
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import llama_cpp.llama_cpp as llama
import numpy as np
from numpy.typing import NDArray

from avengers_edge.engine.detokenizer import CLOSING, OPENING, THOUGHT_END
from avengers_edge.engine.devices import usable_cores
from avengers_edge.engine.protocol import EngineFacts, LoadOptions
from avengers_edge.engine.step_cost import StepCurve
from avengers_edge.errors import BadRequest, EngineDied
from avengers_edge.records import Closing

Logits = NDArray[np.float32]
logger = logging.getLogger("avengers_edge.llama")

_LEVELS = {1: logging.DEBUG, 2: logging.INFO, 3: logging.WARNING, 4: logging.ERROR}  # ggml.h; not llama_cpp/_logger.py
_BUFFER = re.compile(r"(\S+) +(model|KV|RS|compute|output) buffer size = +([\d.]+) MiB")
_OFFLOADED = re.compile(r"offloaded (\d+)/(\d+) layers")
_ALL_LAYERS = 999
_REPACKS = platform.machine().lower() not in {"x86_64", "amd64"}
"""Measured on x86-64: repacked K-quants load six times slower, prefill 1.7 times slower and decode no faster. Arm
kernels are written for repacked weights, so there llama.cpp's own default stays."""


class LlamaModel(Closing):
    """A loaded GGUF file: weights and vocabulary. `on_progress` is called now and then while it loads."""

    def __init__(self, path: Path, options: LoadOptions, on_progress: Callable[[], None] | None = None) -> None:
        log = start_backend()
        params = llama.llama_model_default_params()
        params.n_gpu_layers = (_ALL_LAYERS if options.gpu_layers < 0 else options.gpu_layers) if can_offload() else 0
        params.use_extra_bufts = _REPACKS if options.repack is None else options.repack

        def loading(_share: float, _user_data: object) -> bool:
            if on_progress:
                on_progress()
            return True

        params.progress_callback = callback = llama.llama_progress_callback(loading)
        log.reset()
        self.name = path.name
        self.handle: Any = llama.llama_model_load_from_file(os.fsencode(path), params)
        del callback  # it had to live until here
        if not self.handle:
            raise EngineDied(f"llama.cpp cannot load {path.name}: {log.reason()}; try `avengers models verify`")
        self.vocab = llama.llama_model_get_vocab(self.handle)
        self.vocabulary = int(llama.llama_vocab_n_tokens(self.vocab))
        self.n_ctx_train = int(llama.llama_model_n_ctx_train(self.handle))
        self.layers = int(llama.llama_model_n_layer(self.handle))
        template = llama.llama_model_chat_template(self.handle, None)
        self.chat_template = str(template, "utf-8", "replace") if template else None
        self.bos = self._token_text(llama.llama_vocab_bos(self.vocab))
        self.eos = self._token_text(llama.llama_vocab_eos(self.vocab))
        # A recurrent state has no past to go back to, and a sliding window has dropped its own.
        self.supports_rollback = not (
            llama.llama_model_is_recurrent(self.handle)
            or llama.llama_model_is_hybrid(self.handle)
            or llama.llama_model_n_swa(self.handle) > 0
        )

    def close(self) -> None:
        if self.handle:
            llama.llama_model_free(self.handle)
            self.handle = None

    @functools.cached_property
    def thought_end(self) -> tuple[int, ...]:
        return tuple(self.tokenize(THOUGHT_END, begins=False))

    def tokenize(self, prompt: str, *, begins: bool = True) -> list[int]:
        """Turn a rendered prompt into tokens; markers of the template become their special tokens.

        Where it `begins` a text, a model that wants its beginning marked gets that.
        """
        try:
            raw = prompt.encode("utf-8")
        except UnicodeEncodeError as error:
            raise BadRequest(f"the prompt has a character that is not valid Unicode at {error.start}") from error
        # Templates write the beginning-of-sequence token themselves; adding it again would double it.
        add_bos = begins and llama.llama_vocab_get_add_bos(self.vocab) and not prompt.startswith(self.bos or "\0")
        room = len(raw) + 2
        tokens = (llama.llama_token * room)()
        count = llama.llama_tokenize(self.vocab, raw, len(raw), tokens, room, bool(add_bos), True)
        if count < 0:
            raise EngineDied(f"{self.name} cannot tokenize a prompt of {len(raw)} bytes")
        return list(tokens[:count])

    @functools.cached_property
    def _tags(self) -> dict[int, bytes]:
        """The tokens that begin and end a thought, where these are single tokens."""
        tags = {tag: self.tokenize(tag, begins=False) for tag in (OPENING, CLOSING)}
        return {tokens[0]: tag.encode() for tag, tokens in tags.items() if len(tokens) == 1}

    def piece(self, token: int) -> bytes:
        """Return a token's bytes; control tokens have none, but for those that tell a thought from an answer."""
        if token in self._tags:
            return self._tags[token]
        size = 64
        while True:
            buffer = ctypes.create_string_buffer(size)
            length = llama.llama_token_to_piece(self.vocab, token, buffer, size, 0, False)
            if length >= 0:
                return buffer.raw[:length]
            size = -length

    def ends_generation(self, token: int) -> bool:
        return bool(llama.llama_vocab_is_eog(self.vocab, token))

    def _token_text(self, token: int) -> str:
        if token < 0:
            return ""
        return str(llama.llama_vocab_get_text(self.vocab, token), "utf-8", "replace")


class NativeLog:
    """Sends llama.cpp's log to `logging`; remembers its last complaints, the only reason it gives, and what it took."""

    def __init__(self) -> None:
        self.complaints: collections.deque[str] = collections.deque(maxlen=8)
        self.buffers: list[tuple[str, int]] = []
        self.offloaded = 0
        self._level = logging.DEBUG
        self.callback = llama.llama_log_callback(self._write)  # ctypes needs it kept alive

    def _write(self, level: int, text: bytes, _user_data: object) -> None:
        self._level = _LEVELS.get(level, self._level)  # level 5 continues the last line
        if self._level < logging.INFO and not logger.isEnabledFor(self._level):
            return  # a context makes thousands of these
        line = text.decode("utf-8", errors="replace").strip()
        if not line or set(line) <= {"."}:
            return
        if self._level >= logging.WARNING:
            self.complaints.append(line)
        if found := _BUFFER.search(line):
            self.buffers.append((f"{found[1]} {found[2]}", round(float(found[3]) * 2**20)))
        if found := _OFFLOADED.search(line):
            self.offloaded = int(found[1])
        logger.log(self._level, "%s", line)

    def reset(self) -> None:
        self.complaints.clear()
        self.buffers.clear()
        self.offloaded = 0

    def reason(self) -> str:
        """Return llama.cpp's last warning or error, or that there was none."""
        return self.complaints[-1] if self.complaints else "llama.cpp gave no reason"


@functools.cache
def start_backend() -> NativeLog:
    """Initialise llama.cpp and take over its log, of which a process has one."""
    log = NativeLog()
    llama.llama_log_set(log.callback, ctypes.c_void_p(0))
    llama.llama_backend_init()
    return log


def can_offload() -> bool:
    """Return whether this build of llama.cpp can compute on a device other than the CPU."""
    start_backend()
    return bool(llama.llama_supports_gpu_offload())


def build_features() -> str:
    """Return what this build of llama.cpp was compiled with, in its own words."""
    start_backend()
    return str(llama.llama_print_system_info(), "utf-8", "replace").strip()


MOST_OUTPUTS = 64
"""Rows of one step whose logits can be read, unless more sequences are asked for; the compute buffer grows by a
vocabulary of floats with each."""

_GGML_TYPES = {"f32": 0, "f16": 1, "q4_0": 2, "q4_1": 3, "q5_0": 6, "q5_1": 7, "q8_0": 8, "bf16": 30}  # ggml.h
_STATE = "<8sIQ64s"  # magic, tokens, bytes of cells, BLAKE2b of both
_MAGIC = b"AEKV"  # and in how many streams the cache lies, since one of as many alone can read it
_LARGEST_STATE = 2**36
_MOST_ROWS = 512
_TILE = 64
"""Rows from which llama.cpp's CPU attention goes by tiles (`GGML_FA_TILE_Q`): each costs as if all its rows attended to
every cell that one of them attends to. Samples of many prompts do not share cells, and go without."""


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
    """A KV cache and the step that fills it: a unified one that all sequences share, or one in parts.

    In a unified cache the same cells serve every sample of a prompt, and each sample's attention passes over the cells
    of all others. In a split one (llama.cpp's streams) a sample's attention reads its own cells only, prompts are
    copied, and one step decodes together what lies in neighbouring sequences.
    """

    def __init__(self, model: LlamaModel, options: LoadOptions) -> None:
        log = start_backend()
        self.threads = options.threads or usable_cores()
        params = llama.llama_context_default_params()
        params.n_ctx = options.cells * (options.sequences if options.split else 1)
        params.n_batch = params.n_ubatch = min(_MOST_ROWS, params.n_ctx)
        params.n_seq_max = options.sequences
        params.n_outputs_max = min(max(MOST_OUTPUTS, options.sequences), params.n_batch)
        params.kv_unified = not options.split
        params.flash_attn_type = llama.LLAMA_FLASH_ATTN_TYPE_AUTO
        params.type_k = params.type_v = _GGML_TYPES[options.kv_type]
        params.n_threads = params.n_threads_batch = self.threads
        self._model, self.split = model, options.split
        self.handle: Any = llama.llama_init_from_model(model.handle, params)
        if not self.handle:
            raise EngineDied(
                f"llama.cpp cannot make a context of {params.n_ctx} tokens with {options.kv_type} cells for "
                f"{model.name}: {log.reason()}; set a smaller `context` or another `kv_type` in settings.toml"
            )
        self.cells, self.longest = int(llama.llama_n_ctx(self.handle)), int(llama.llama_n_ctx_seq(self.handle))
        self.sequences = options.sequences
        self.batch_size = int(params.n_batch)
        self.outputs = int(params.n_outputs_max)
        self._memory = llama.llama_get_memory(self.handle)
        self.seconds = 0.0  # spent in llama.cpp
        self._batch = _StepBatch(self.batch_size)
        self._magic = _MAGIC + (options.sequences if options.split else 1).to_bytes(4, "big")
        self._apart = not options.split and not log.offloaded
        self.facts = EngineFacts(
            name=model.name,
            n_ctx_train=model.n_ctx_train,
            cells=self.longest,
            layers=model.layers + 1,  # llama.cpp counts the output layer too
            layers_offloaded=log.offloaded,
            buffers=tuple(log.buffers),
            gpu_offload=can_offload(),
            threads=self.threads,
            features=build_features(),
        )

    def close(self) -> None:
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

        """
        columns, rows, count = (tokens, positions, sequences), range(len(wanted)), sum(wanted)
        parts: list[Sequence[int]] = [rows]
        if self._apart and len(wanted) >= _TILE:
            parts = [[row for row in rows if not wanted[row]], [row for row in rows if wanted[row]]]
        for part in filter(None, parts):
            self._evaluate([[column[row] for row in part] for column in columns], [wanted[row] for row in part])
        shape = (count, self._model.vocabulary)
        if not count:
            return np.empty(shape, np.float32)
        logits = np.ctypeslib.as_array(llama.llama_get_logits(self.handle), shape)
        logits.flags.writeable = False
        return logits

    def _evaluate(self, columns: Sequence[Sequence[int]], wanted: Sequence[bool]) -> None:
        self._batch.fill(columns, wanted)
        begin = time.perf_counter()
        code = llama.llama_decode(self.handle, self._batch.handle)
        self.seconds += time.perf_counter() - begin
        if code != 0:
            raise EngineDied(
                f"llama.cpp failed to evaluate {len(wanted)} tokens (code {code}): {start_backend().reason()}"
            )

    def copy_prefix(self, source: int, target: int, tokens: int) -> None:
        """Share the first `tokens` cells of `source` with `target`; in a unified cache nothing is copied.

        Without rollback that has to be all of them. A split cache copies whole sequences only.
        """
        whole = self.split or not self._model.supports_rollback
        llama.llama_memory_seq_cp(self._memory, source, target, -1, -1 if whole else tokens)
        if self.split and self._model.supports_rollback:
            self.rollback(target, tokens)

    def rollback(self, sequence: int, tokens: int) -> None:
        """Drop all cells of a sequence but the first `tokens`; only where the model supports it."""
        llama.llama_memory_seq_rm(self._memory, sequence, tokens, -1)

    def release(self, sequence: int) -> None:
        """Drop a sequence; cells that no other one shares are free at once."""
        llama.llama_memory_seq_rm(self._memory, sequence, -1, -1)

    def clear(self) -> None:
        """Drop every sequence, so that the next run finds the cache as the first did."""
        llama.llama_memory_clear(self._memory, False)

    def save(self, path: Path, sequence: int, tokens: Sequence[int]) -> None:
        """Write a sequence's tokens and cells to a file, with a digest: llama.cpp aborts on a state that was cut."""
        size = llama.llama_state_seq_get_size(self.handle, sequence)
        cells = (ctypes.c_uint8 * size)()
        if not size or llama.llama_state_seq_get_data(self.handle, cells, size, sequence) != size:
            raise EngineDied(f"llama.cpp does not give out the state of {len(tokens)} tokens")
        held = np.array(tokens, np.int32).tobytes()
        digest = hashlib.blake2b(held)
        digest.update(cells)
        with path.open("wb") as file:
            file.write(struct.pack(_STATE, self._magic, len(tokens), size, digest.digest()))
            file.write(held)
            file.write(cells)

    def restore(self, path: Path, sequence: int) -> list[int]:
        """Read a sequence back; give its tokens, none where the file is damaged or of another model or cache."""
        try:
            with path.open("rb") as file:
                magic, count, size, digest = struct.unpack(_STATE, file.read(struct.calcsize(_STATE)))
                if magic != self._magic or 4 * count + size > _LARGEST_STATE or count > self.longest:
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


_SAMPLES = (1, 2, 4, 6, 8, 10, 12, 16, 20, 24, 32, 48, 63, 96, 128, 192, 255)
_PROMPT_ROWS = 256  # more than any step of samples has
_CONTEXT = 64  # tokens before each row, as an early sample has
_REPEATS = 3
_LEAST = 16  # samples; beyond, the curve goes on as it went


def measure_steps(
    context: LlamaContext, *, budget: float, on_heartbeat: Callable[[], None] = lambda: None, token: int = 0
) -> StepCurve:
    """Time steps of one row a sample, and one of prompt tokens only. The cache has to be empty, and is so afterwards.

    Narrow ones are timed in any case, wide ones and all of them again while `budget` seconds last; the quickest time
    counts, since whatever else the machine does only ever adds.
    """
    end = time.monotonic() + budget
    most = min(context.outputs, context.sequences - 1, context.cells - _CONTEXT)
    widths = [rows for rows in _SAMPLES if rows <= most]
    prompt_rows = min(_PROMPT_ROWS, context.batch_size, context.cells - _CONTEXT, context.longest)
    best: dict[int, float] = {}

    def timed(sequences: Sequence[int], first: int, *, wanted: bool) -> None:
        count = len(sequences)
        positions = [first] * count if wanted else list(range(first, first + count))
        begin = time.perf_counter()
        context.decode([token] * count, positions, list(sequences), [wanted] * count)
        seconds = max(round(time.perf_counter() - begin, 6), 1e-6)  # as it is kept, so that every plan is the same
        best[count] = min(seconds, best.get(count, seconds))
        on_heartbeat()

    def step(rows: int) -> None:
        samples = range(1, rows + 1)
        for sample in samples:
            context.copy_prefix(0, sample, _CONTEXT)
        at = _CONTEXT
        if context.split:  # the cells are copied by the first step that reads them
            context.decode([token] * rows, [at] * rows, list(samples), [False] * rows)
            at += 1
        timed(samples, at, wanted=True)
        for sample in samples:
            context.release(sample)

    def prompt() -> None:
        timed([1] * prompt_rows, 0, wanted=False)
        context.release(1)

    context.clear()
    try:
        timed([0] * _CONTEXT, 0, wanted=False)
        step(1)  # warms up
        best.clear()
        for repeat in range(_REPEATS):
            for rows in widths:
                if rows <= _LEAST or time.monotonic() < end:
                    step(rows)
            if not repeat or time.monotonic() < end:
                prompt()
            if time.monotonic() >= end:
                break
    finally:
        context.clear()
    return StepCurve(tuple(sorted(best.items())))
