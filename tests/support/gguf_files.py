"""Tiny GGUF files, byte by byte, right or wrong as a test wishes."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Any

U32, STRING, ARRAY = 4, 8, 9


def text(value: str | bytes) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(data)) + data


def u32(key: str, value: int) -> bytes:
    return text(key) + struct.pack("<II", U32, value)


def string(key: str, value: str | bytes) -> bytes:
    return text(key) + struct.pack("<I", STRING) + text(value)


def array(key: str, kind: int, count: int, body: bytes = b"") -> bytes:
    return text(key) + struct.pack("<IIQ", ARRAY, kind, count) + body


def tensor(name: str, shape: tuple[int, ...] = (8,), kind: int = 0, offset: int = 0) -> bytes:
    return text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, offset)


BASICS = (
    string("general.architecture", "tiny"),
    string("general.name", "Tiny"),
    string("general.license", "mit"),
    u32("general.file_type", 15),
    u32("tiny.context_length", 128),
    u32("tiny.block_count", 2),
    u32("tiny.embedding_length", 16),
    u32("tiny.attention.head_count", 4),
    u32("tiny.attention.head_count_kv", 2),
    string("tokenizer.chat_template", "{{ messages }}"),
    array("tokenizer.ggml.tokens", STRING, 3, text("a") + text("b") + text("c")),
)


@dataclass
class Tiny:
    """A GGUF file of two small tensors; change a part and write it."""

    magic: bytes = b"GGUF"
    version: int = 3
    pairs: tuple[bytes, ...] = BASICS
    tensors: tuple[bytes, ...] = (tensor("first"), tensor("second", offset=32))
    data: bytes = bytes(range(64))
    claims: dict[str, Any] = field(default_factory=dict)

    def build(self) -> bytes:
        count = self.claims.get("tensors", len(self.tensors))
        keys = self.claims.get("keys", len(self.pairs))
        head = self.magic + struct.pack("<IQQ", self.version, count, keys)
        head += b"".join(self.pairs) + b"".join(self.tensors)
        return head + bytes(-len(head) % 32) + self.data


def tiny_model(salt: int = 0) -> bytes:
    """Build a whole valid model file; another salt makes other weights."""
    return Tiny(data=bytes((value + salt) % 256 for value in range(64))).build()
