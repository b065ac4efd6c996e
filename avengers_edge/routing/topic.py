"""What a turn of a chat is about."""

from __future__ import annotations

from collections.abc import Sequence

from avengers_edge.records import Message

_CHARACTERS = 800  # about 200 tokens of the embedder's 256


def topic(question: str, history: Sequence[Message]) -> str:
    """Say what a turn is about: "and in miles?" is about what was asked before.

    It is the user's turns in their order, as many of the latest as fit into what the embedder reads.
    """
    said = [question]
    for message in reversed(history):
        if message.role == "user":
            if sum(map(len, said)) + len(message.content) > _CHARACTERS:
                break
            said.append(message.content)
    return "\n".join(reversed(said))
