"""llama.cpp handles: model, context, sampler chains. Each owns native memory, so each is a context manager."""

from __future__ import annotations

import ctypes
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import llama_cpp.llama_cpp as llama

from avengers_edge.engine.backend import start_backend
from avengers_edge.engine.cores import usable_cores
from avengers_edge.engine.interrupts import interrupt_after
from avengers_edge.errors import BadRequest, EngineDied
from avengers_edge.records import Closing, SamplingParams

_ALL_LAYERS = 999
_MOST_SEQUENCES = 256  # LLAMA_MAX_SEQ


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """How a model is loaded. Fields as in `config.Settings`; `cells` is the size of the KV cache in tokens.

    `sequences` bounds how many samples and prompts are held at once. In a `unified` cache they all share the cells,
    which is right for samples of one prompt; else each has `cells / sequences` of its own, which is faster for many
    different prompts because none attends over the others' cells.
    """

    cells: int = 8192
    sequences: int = 32
    unified: bool = True
    threads: int | None = None
    gpu_layers: int = -1
    repack: bool | None = None

    def __post_init__(self) -> None:
        if not 2 <= self.sequences <= _MOST_SEQUENCES:  # a prompt and a sample of it
            raise BadRequest(f"sequences is {self.sequences}: use 2 to {_MOST_SEQUENCES}")
        if self.cells < 256:
            raise BadRequest(f"context is {self.cells} cells: use 256 or more")
        if self.threads is not None and self.threads < 1:
            raise BadRequest(f"threads is {self.threads}: use 1 or more")


def _repack_by_default() -> bool:
    # Measured on x86-64: repacked K-quants load six times slower, prefill 1.7 times slower and decode no faster. Arm
    # kernels are written for repacked weights, so there llama.cpp's own default stays.
    return platform.machine().lower() not in {"x86_64", "amd64"}


class LlamaModel(Closing):
    """A loaded GGUF file: weights and vocabulary.

    Raises:
        EngineDied: llama.cpp refuses the file or runs out of memory.

    """

    def __init__(self, path: Path, options: LoadOptions) -> None:
        log = start_backend()
        params = llama.llama_model_default_params()
        gpu = llama.llama_supports_gpu_offload()
        params.n_gpu_layers = (_ALL_LAYERS if options.gpu_layers < 0 else options.gpu_layers) if gpu else 0
        params.use_extra_bufts = _repack_by_default() if options.repack is None else options.repack
        log.complaints.clear()
        self.name = path.name
        self.handle: Any = None
        try:
            with interrupt_after():
                self.handle = llama.llama_model_load_from_file(os.fsencode(path), params)
        except BaseException:
            self.close()
            raise
        if not self.handle:
            raise EngineDied(f"llama.cpp cannot load {path.name}: {log.reason()}; try `avengers models verify`")
        self.vocab = llama.llama_model_get_vocab(self.handle)
        self.n_ctx_train = int(llama.llama_model_n_ctx_train(self.handle))

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


class SamplerChain(Closing):
    """One sequence's own way from a context's logits to a token, with its own random state."""

    def __init__(self, context: LlamaContext, sampling: SamplingParams, seed: int) -> None:
        self._context = context
        self._chain = llama.llama_sampler_chain_init(llama.llama_sampler_chain_default_params())
        if sampling.temperature == 0:
            self._add(llama.llama_sampler_init_greedy())
            return
        if sampling.top_k > 0:
            self._add(llama.llama_sampler_init_top_k(sampling.top_k))
        if sampling.top_p < 1:
            self._add(llama.llama_sampler_init_top_p(sampling.top_p, 1))
        if sampling.min_p > 0:
            self._add(llama.llama_sampler_init_min_p(sampling.min_p, 1))
        self._add(llama.llama_sampler_init_temp(sampling.temperature))
        self._add(llama.llama_sampler_init_dist(seed))

    def _add(self, sampler: object) -> None:
        llama.llama_sampler_chain_add(self._chain, sampler)  # the chain owns it from here

    def sample(self, row: int) -> int:
        """Draw a token from logits row `row` of the last decode."""
        self._context.require_open()
        return int(llama.llama_sampler_sample(self._chain, self._context.handle, row))

    def close(self) -> None:
        """Free the chain; a second call does nothing."""
        if self._chain:
            llama.llama_sampler_free(self._chain)
            self._chain = None


@dataclass(frozen=True, slots=True)
class Row:
    """One token to evaluate: at `position` of `sequence`; `logits` asks for the distribution of what follows."""

    token: int
    position: int
    sequence: int
    logits: bool = True


class LlamaContext(Closing):
    """A unified KV cache that all sequences share, and the step that fills it.

    Raises:
        EngineDied: the cache or the compute buffers cannot be had.

    """

    def __init__(self, model: LlamaModel, options: LoadOptions) -> None:
        log = start_backend()
        threads = options.threads or usable_cores()
        params = llama.llama_context_default_params()
        params.n_ctx = options.cells
        params.n_batch = params.n_ubatch = min(512, options.cells)
        params.n_seq_max = options.sequences
        params.kv_unified = options.unified
        params.flash_attn_type = llama.LLAMA_FLASH_ATTN_TYPE_AUTO
        params.n_threads = params.n_threads_batch = threads
        log.complaints.clear()
        self.handle: Any = None
        self._batch: Any = None
        try:
            with interrupt_after():
                self.handle = llama.llama_init_from_model(model.handle, params)
        except BaseException:
            self.close()
            raise
        if not self.handle:
            raise EngineDied(
                f"llama.cpp cannot make a context of {options.cells} tokens for {model.name}: {log.reason()}; "
                "set a smaller `context` in settings.toml"
            )
        self.cells = int(llama.llama_n_ctx(self.handle))
        self.cells_per_sequence = int(llama.llama_n_ctx_seq(self.handle))
        self.sequences = options.sequences
        self.batch_size = int(params.n_batch)
        self._memory = llama.llama_get_memory(self.handle)
        self._batch = llama.llama_batch_init(self.batch_size, 0, 1)

    def close(self) -> None:
        """Free the cache; a second call does nothing."""
        if self._batch is not None:
            llama.llama_batch_free(self._batch)
            self._batch = None
        if self.handle:
            llama.llama_free(self.handle)
            self.handle = self._memory = None

    def require_open(self) -> None:
        """Refuse to go on with a freed context.

        Raises:
            EngineDied: the context was closed.

        """
        # A pointer that was freed would take the process down.
        if not self.handle:
            raise EngineDied("the context was closed while it was in use: load the model again")

    def decode(self, rows: Sequence[Row]) -> None:
        """Evaluate at most `batch_size` tokens in one step.

        Raises:
            EngineDied: llama.cpp reports anything but success.

        """
        self.require_open()
        if len(rows) > self.batch_size:
            raise EngineDied(f"{len(rows)} tokens were to be evaluated in one step, which takes {self.batch_size}")
        batch = self._batch
        batch.n_tokens = len(rows)
        for i, row in enumerate(rows):
            batch.token[i] = row.token
            batch.pos[i] = row.position
            batch.n_seq_id[i] = 1
            batch.seq_id[i][0] = row.sequence
            batch.logits[i] = row.logits
        with interrupt_after():
            code = llama.llama_decode(self.handle, batch)
        if code != 0:
            raise EngineDied(
                f"llama.cpp failed to evaluate {len(rows)} tokens (code {code}): {start_backend().reason()}"
            )

    def sampler(self, sampling: SamplingParams, seed: int) -> SamplerChain:
        """Make a chain that draws from this context's logits."""
        return SamplerChain(self, sampling, seed)

    def share(self, source: int, target: int) -> None:
        """Give sequence `target` all cells of `source`; in a unified cache nothing is copied."""
        self.require_open()
        llama.llama_memory_seq_cp(self._memory, source, target, -1, -1)

    def release(self, sequence: int) -> None:
        """Drop a sequence; cells that no other one shares are free at once."""
        self.require_open()
        llama.llama_memory_seq_rm(self._memory, sequence, -1, -1)

    def clear(self) -> None:
        """Drop every sequence; a closed context has none."""
        if self.handle:
            llama.llama_memory_clear(self._memory, False)
