"""A request's body: bounded in bytes, time and nesting, and a JSON object."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from starlette.requests import ClientDisconnect, Request

from avengers_edge.server.options import Limits
from avengers_edge.server.problems import Problem

_AT_ONCE = 64 * 1024
"""Bytes that are parsed before anybody could notice; larger bodies are parsed beside the event loop."""


async def read_object(request: Request, limits: Limits) -> dict[str, Any]:
    """Read the body as a JSON object.

    Raises:
        Problem: 415 for another content type, 413 for too many bytes, 408 for too slow ones, 400 for what is no object.

    """
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if kind != "application/json":  # what a page of another origin can send without asking is not this
        raise Problem(415, f"the content type is {kind[:60] or 'missing'}: send application/json", code="content_type")
    try:
        async with asyncio.timeout(limits.body_seconds):
            content = await _read(request, limits)
    except TimeoutError:
        complaint = f"the body did not come within {limits.body_seconds:g} s: send it faster"
        raise Problem(408, complaint, code="timeout", headers={"Connection": "close"}) from None
    except ClientDisconnect:
        raise Problem(499, "the client left before its request was complete", code="cancelled") from None
    if len(content) <= _AT_ONCE:
        return parse_object(content, limits.depth)
    return await asyncio.to_thread(parse_object, content, limits.depth)


async def _read(request: Request, limits: Limits) -> bytes:
    too_large = Problem(
        413, f"the body has more than {limits.body} bytes: send less", code="body_too_large",
        headers={"Connection": "close"},
    )  # fmt: skip
    said = request.headers.get("content-length", "0")
    if not said.isdecimal() or len(said) > 18 or int(said) > limits.body:
        raise too_large
    content = bytearray()
    async for chunk in request.stream():
        content += chunk
        if len(content) > limits.body:
            raise too_large
    return bytes(content)


def parse_object(content: bytes, depth: int) -> dict[str, Any]:
    """Parse JSON that is nested at most `depth` deep and is an object.

    Raises:
        Problem: 400.

    """

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is not JSON")

    try:
        values = json.loads(content.decode(), parse_constant=refuse)
    except UnicodeDecodeError:
        raise Problem(400, "the body is not UTF-8", code="invalid_json") from None
    except RecursionError:
        raise _too_deep(depth) from None
    except ValueError as error:  # also an integer of more digits than Python turns into a number
        reason = str(error) if "digits" not in str(error) else "a number has too many digits"
        raise Problem(400, f"the body is not valid JSON: {reason}", code="invalid_json") from None
    if not isinstance(values, dict):
        raise Problem(400, "the body is not a JSON object: send {…}", code="invalid_json")
    level: list[Any] = [values]
    for _ in range(depth):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return values
    raise _too_deep(depth)


def _too_deep(depth: int) -> Problem:
    return Problem(400, f"the body is nested more than {depth} deep", code="invalid_json")
