"""The words that all records share, and how one refuses what it cannot mean."""

from __future__ import annotations

from typing import Literal, get_args

from avengers_edge.errors import BadRequest

Kind = Literal["number", "choice", "label", "expression", "code", "text"]
"""What an answer is, and so how two of them are compared."""

Role = Literal["system", "user", "assistant"]
Speaker = Literal["system", "user", "assistant", "tool"]
"""Who a model can be told has spoken."""

FinishReason = Literal["stop", "length", "cancelled"]
EarlyStop = Literal["exact", "adaptive", "off"]

KINDS: tuple[Kind, ...] = get_args(Kind)
SEED_LIMIT = 2**32 - 1
"""Seeds are 32 bits wide; llama.cpp keeps the largest one for "pick at random"."""


MOST_SAMPLES = 1000


def require(holds: bool, complaint: str) -> None:
    """Refuse what does not hold.

    Raises:
        BadRequest: with that complaint.

    """
    if not holds:
        raise BadRequest(complaint)


def require_text(value: object, name: str) -> None:
    """Refuse what is no text, or one with half a character, which nothing could read."""
    if not isinstance(value, str):
        raise BadRequest(f"{name} is {value!r:.40}: use a text")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise BadRequest(f"{name} has a character at {error.start} that is not valid Unicode") from error


def require_whole(values: object, *names: str) -> None:
    """Refuse what is neither a whole number nor None; True and 1.0 are none to whoever counts tokens."""
    for name in names:
        value = getattr(values, name)
        require(value is None or type(value) is int, f"{name} is {value!r}: use a whole number")


def require_number(values: object, *names: str) -> None:
    """Refuse what is no number; True is none."""
    for name in names:
        value = getattr(values, name)
        require(type(value) in (int, float), f"{name} is {value!r}: use a number")
