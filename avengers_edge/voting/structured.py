"""Answers in JSON, compared by their value: order of keys, white space and 5 or 5.0 do not count."""

from __future__ import annotations

import json


def json_key(text: str) -> str | None:
    """Make the key of an answer that is one JSON value; None where it is none, as one that was cut off."""
    try:
        value = json.loads(text, parse_float=_number, parse_constant=_refuse)
        return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    except (ValueError, RecursionError, OverflowError):
        return None


def _number(digits: str) -> int | float:
    value = float(digits)
    return int(value) if value.is_integer() else value


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
