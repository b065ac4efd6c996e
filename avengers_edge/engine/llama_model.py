"""llama.cpp as this process has it, with its log, and a model: weights and vocabulary.

A model owns native memory, so it is a context manager.
"""

from __future__ import annotations

import collections
import ctypes
import functools
import logging
import os
import platform
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import llama_cpp.llama_cpp as llama

from avengers_edge.engine.detokenizer import CLOSING, OPENING, THOUGHT_END
from avengers_edge.engine.protocol import LoadOptions
from avengers_edge.errors import BadRequest, EngineDied
from avengers_edge.records import Closing

logger = logging.getLogger("avengers_edge.llama")

_LEVELS = {1: logging.DEBUG, 2: logging.INFO, 3: logging.WARNING, 4: logging.ERROR}  # ggml.h; not llama_cpp/_logger.py
_BUFFER = re.compile(r"(\S+) +(model|KV|RS|compute|output) buffer size = +([\d.]+) MiB")
_OFFLOADED = re.compile(r"offloaded (\d+)/(\d+) layers")
_ALL_LAYERS = 999


class LlamaModel(Closing):
    """A loaded GGUF file: weights and vocabulary. `on_progress` is called now and then while it loads.

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
        # A recurrent state has no past to go back to, and a sliding window has dropped its own.
        self.supports_rollback = not (
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

    @functools.cached_property
    def thought_end(self) -> tuple[int, ...]:
        """The tokens that end a thought which has taken its budget."""
        return tuple(self.tokenize(THOUGHT_END, begins=False))

    def tokenize(self, prompt: str, *, begins: bool = True) -> list[int]:
        """Turn a rendered prompt into tokens; markers of the template become their special tokens.

        Where it `begins` a text, a model that wants its beginning marked gets that.

        Raises:
            BadRequest: the prompt is not valid Unicode.

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
        """Return whether the model ends its turn with this token."""
        return bool(llama.llama_vocab_is_eog(self.vocab, token))

    def _token_text(self, token: int) -> str:
        if token < 0:
            return ""
        return str(llama.llama_vocab_get_text(self.vocab, token), "utf-8", "replace")


def _repack_by_default() -> bool:
    # Measured on x86-64: repacked K-quants load six times slower, prefill 1.7 times slower and decode no faster. Arm
    # kernels are written for repacked weights, so there llama.cpp's own default stays.
    return platform.machine().lower() not in {"x86_64", "amd64"}


class NativeLog:
    """Sends llama.cpp's log to `logging`; remembers its last complaints, the only reason it gives, and what it took.

    llama.cpp has one log callback a process, so there is one of these; ctypes needs it kept alive.
    """

    def __init__(self) -> None:
        self.complaints: collections.deque[str] = collections.deque(maxlen=8)
        self.buffers: list[tuple[str, int]] = []
        self.offloaded = 0
        self._level = logging.DEBUG
        self.callback = llama.llama_log_callback(self._write)

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
        """Begin the record of another model."""
        self.complaints.clear()
        self.buffers.clear()
        self.offloaded = 0

    def reason(self) -> str:
        """Return llama.cpp's last warning or error, or that there was none."""
        return self.complaints[-1] if self.complaints else "llama.cpp gave no reason"


@functools.cache
def start_backend() -> NativeLog:
    """Initialise llama.cpp and take over its log, once a process."""
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
