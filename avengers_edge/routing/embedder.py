"""Texts in, unit vectors out: the shipped sentence embedder on ONNX Runtime.

A folder holds `model.onnx` and `tokenizer.json`, and `embedder.json` says what they are (`EmbedderSpec`).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

# ONNX Runtime reports home from its native code. Its own switch comes too late, the first event is recorded at import;
# this variable stops the events, the files they are queued in and the upload.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import msgspec
import numpy as np
import onnxruntime
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer

from avengers_edge.errors import AvengersError, BadRequest, NotFound, VerificationFailed
from avengers_edge.records import Closing
from avengers_edge.routing.features import CHARACTERS_READ

SPEC_FILE, MODEL_FILE, TOKENIZER_FILE = "embedder.json", "model.onnx", "tokenizer.json"
BATCH_SIZE = 16
_ERRORS_ONLY = 3


class EmbedderSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The content of `embedder.json`: what the files are, how to use them, what they were made of and with."""

    format: Literal[1]
    name: str
    dimension: Annotated[int, msgspec.Meta(ge=1, le=8192)]
    max_tokens: Annotated[int, msgspec.Meta(ge=3, le=8192)]
    pooling: Literal["mean"]
    fingerprint: str
    onnx_sha256: str
    tokenizer_sha256: str
    weights_sha256: str
    tools: dict[str, str]

    def __post_init__(self) -> None:
        facts = (self.onnx_sha256, self.tokenizer_sha256, self.pooling, self.max_tokens)
        if self.fingerprint != fingerprint_of(*facts):
            raise ValueError("the fingerprint does not follow from the other fields")


def fingerprint_of(onnx_sha256: str, tokenizer_sha256: str, pooling: str, max_tokens: int) -> str:
    """Name everything that a vector depends on: hex SHA-256 over four `key value` lines, in this order."""
    lines = f"model {onnx_sha256}\ntokenizer {tokenizer_sha256}\npooling {pooling}\nmax_tokens {max_tokens}\n"
    return hashlib.sha256(lines.encode()).hexdigest()


class OnnxEmbedder(Closing):
    """A sentence embedder: tokens, transformer, mean over the tokens, length 1.

    A text longer than `spec.max_tokens` tokens (256 for the shipped all-MiniLM-L6-v2, its two markers included) or
    `CHARACTERS_READ` characters is embedded by its beginning: the vector steers the routing, it is not the prompt.
    Weights are int8 and activations float32, so that a text has the same vector alone, in any batch and on any
    machine, to about 1e-6. Calls from several threads are safe.

    Args:
        folder: holds `model.onnx`, `tokenizer.json` and `embedder.json`.
        providers: ONNX Runtime execution providers in order of preference.
        threads: for one operator.
        few: only a few texts are to be embedded: the graph is run as it is, which takes twice as long a text and saves
            the 45 ms in which ONNX Runtime rewrites it.

    Raises:
        NotFound: a file is not there.
        VerificationFailed: a file is not the one that `embedder.json` describes.
        BadRequest: a provider that this ONNX Runtime does not have.

    """

    def __init__(
        self,
        folder: Path,
        providers: Sequence[str] = ("CPUExecutionProvider",),
        threads: int = 1,
        *,
        few: bool = False,
    ) -> None:
        self.spec = _read_spec(folder)
        model = _verify(folder / MODEL_FILE, self.spec.onnx_sha256)
        vocabulary = _verify(folder / TOKENIZER_FILE, self.spec.tokenizer_sha256)
        self._session: onnxruntime.InferenceSession | None = _open_session(model, providers, threads, few)
        self._inputs = [node.name for node in self._session.get_inputs()]
        self._tokenizer = Tokenizer.from_buffer(vocabulary)
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(self.spec.max_tokens)

    @property
    def fingerprint(self) -> str:
        """Identifies weights, vocabulary and pooling; see `fingerprint_of`."""
        return self.spec.fingerprint

    @property
    def dimension(self) -> int:
        """The length D of a vector."""
        return self.spec.dimension

    @property
    def name(self) -> str:
        """What the model is called."""
        return self.spec.name

    @property
    def most_tokens(self) -> int:
        """How many tokens of a text the model can see, its two markers included."""
        return self.spec.max_tokens

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Count each text's tokens, those beyond `most_tokens` too, within its first `CHARACTERS_READ` characters."""
        encodings = [self._tokenizer.encode(_readable(text)) for text in texts]
        return [len(each) + sum(part.special_tokens_mask.count(0) for part in each.overflowing) for each in encodings]

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed into shape (len(texts), D) in the order given, rows of length 1; an empty text has a vector too."""
        if isinstance(texts, str):
            raise BadRequest("embed takes a list of texts, not one text")
        encodings = [self._tokenizer.encode(_readable(text)) for text in texts]
        vectors = np.empty((len(encodings), self.spec.dimension), dtype=np.float32)
        by_length = sorted(
            range(len(encodings)), key=lambda place: len(encodings[place])
        )  # little of a batch is padding
        for start in range(0, len(by_length), BATCH_SIZE):
            batch = by_length[start : start + BATCH_SIZE]
            vectors[batch] = self._embed_batch([encodings[place] for place in batch])
        return vectors

    def _embed_batch(self, encodings: Sequence[Encoding]) -> NDArray[np.float32]:
        if self._session is None:
            raise AvengersError("the embedder is closed: open a new one")
        ids = np.zeros((len(encodings), max(len(encoding) for encoding in encodings)), dtype=np.int64)
        mask = np.zeros_like(ids)
        for row, encoding in enumerate(encodings):
            ids[row, : len(encoding)] = encoding.ids
            mask[row, : len(encoding)] = 1
        feeds = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        states = self._session.run(None, {name: feeds[name] for name in self._inputs})[0]
        return pool(np.asarray(states), mask)

    def close(self) -> None:
        """Free the model; closing twice is harmless."""
        self._session = None


def pool(states: NDArray[np.float32], mask: NDArray[np.int64]) -> NDArray[np.float32]:
    """Average token states (B, T, D) where mask (B, T) is 1 and scale to length 1, giving (B, D)."""
    weight = mask[..., None].astype(np.float32)
    mean = (states * weight).sum(axis=1) / weight.sum(axis=1)
    unit: NDArray[np.float32] = mean / np.linalg.norm(mean, axis=1, keepdims=True)
    return unit


def _readable(text: str) -> str:
    # A lone surrogate is no character and the tokenizer refuses it: it is read as "?".
    return text[:CHARACTERS_READ].encode("utf-8", "replace").decode("utf-8")


def _read_spec(folder: Path) -> EmbedderSpec:
    path = folder / SPEC_FILE
    try:
        return msgspec.json.decode(_read(path), type=EmbedderSpec)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise VerificationFailed(f"{path}: {error}: install the package again") from error


def _verify(path: Path, sha256: str) -> bytes:
    content = _read(path)
    if (found := hashlib.sha256(content).hexdigest()) != sha256:
        raise VerificationFailed(
            f"{path} has sha256 {found[:12]}…, {SPEC_FILE} says {sha256[:12]}…: install the package again"
        )
    return content


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise NotFound(f"embedder file {path} cannot be read ({error.strerror}): install the package again") from error


def _open_session(model: bytes, providers: Sequence[str], threads: int, few: bool) -> onnxruntime.InferenceSession:
    available = onnxruntime.get_available_providers()
    missing = [name for name in providers if name not in available]
    if missing or not providers:
        named = missing[0] if missing else "none"
        raise BadRequest(f"execution provider {named!r} is not in this onnxruntime: use {', '.join(available)}")
    onnxruntime.disable_telemetry_events()
    onnxruntime.set_default_logger_severity(_ERRORS_ONLY)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    if few:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    # Idle workers would otherwise burn the cores that llama.cpp is about to use.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = onnxruntime.InferenceSession(model, options, providers=list(providers))
    except Exception as error:  # ONNX Runtime's own types share no base class
        raise AvengersError(f"ONNX Runtime cannot load {MODEL_FILE}: {str(error).partition(chr(10))[0]}") from error
    if not set(providers) & set(session.get_providers()):
        raise AvengersError(f"execution provider {providers[0]} did not start: use CPUExecutionProvider")
    return session
