"""What applications build on does not change unseen: every public name and signature is listed here."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
import subprocess
import sys
from pathlib import Path
from types import FunctionType

import pytest

import avengers_edge
from avengers_edge import AsyncAvengers, Avengers, Pending

NAMES = {
    "faces": {"Avengers", "AsyncAvengers", "Pending"},
    "asking": {"Ask", "EarlyStop", "Kind", "Message", "Settings", "load_settings"},
    "events": {"Event", "OnEvent", "Routed", "Loading", "Token", "Progress", "Finished"},
    "answers": {"Answer", "Ranked", "Route", "Sample", "Timings", "Usage", "Vote"},
    "errors": {
        "AvengersError",
        "BadRequest",
        "Cancelled",
        "ContextFull",
        "DoesNotFit",
        "EngineDied",
        "MissingExtra",
        "NoSandbox",
        "NotFound",
        "OfflineRefused",
        "VerificationFailed",
    },
    "functions": {"Tool", "ToolCall", "Tools", "read_calls"},
    "packaging": {"freeze_support"},
}
HOME, SETTINGS = "home: 'str | os.PathLike[str] | None' = None", "settings: 'Settings | None' = None"
OPEN = f"(team: 'str | None' = None, *, {HOME}, {SETTINGS}) -> 'Self'"
ASKED = "self, question: 'str', ask: 'Ask | None' = None, *"
ON_EVENT, CANCEL = "on_event: 'OnEvent | None' = None", "cancel: 'threading.Event | None' = None"
VECTORS = "(self, texts: 'Sequence[str]') -> 'NDArray[np.float32]'"
ROUTE = "(self, question: 'str', *, prefer: 'float' = 1.0) -> 'Route'"
SIGNATURES = {
    Avengers: {
        "open": OPEN,
        "answer": f"({ASKED}, {ON_EVENT}, {CANCEL}) -> 'Answer'",
        "stream": f"({ASKED}, {CANCEL}) -> 'Generator[Event, None, None]'",
        "submit": f"({ASKED}, {ON_EVENT}, {CANCEL}) -> 'Pending[Answer]'",
        "route": ROUTE,
        "embed": VECTORS,
        "warm": "(self) -> 'Pending[None]'",
        "close": "(self) -> 'None'",
    },
    AsyncAvengers: {
        "open": OPEN,
        "answer": f"({ASKED}, {CANCEL}) -> 'Answer'",
        "stream": f"({ASKED}, {CANCEL}) -> 'AsyncGenerator[Event, None]'",
        "route": ROUTE,
        "embed": VECTORS,
        "warm": "(self) -> 'None'",
        "close": "(self) -> 'None'",
    },
    Pending: {"cancel": "(self) -> 'bool'", "result": "(self, timeout: 'float | None' = None) -> '_T'"},
}
FIELDS = {
    "Routed": ["route"],
    "Loading": ["model"],
    "Token": ["text", "sample", "voted"],
    "Progress": ["finished", "samples", "leader", "member"],
    "Finished": ["answer"],
}


def listed():
    return set().union(*NAMES.values())


def test_the_public_names_are_these():
    assert set(avengers_edge.__all__) == listed()
    assert listed() <= set(dir(avengers_edge))


@pytest.mark.parametrize("kind", SIGNATURES, ids=lambda kind: kind.__name__)
def test_the_methods_and_their_signatures_are_these(kind):
    found = {
        name: str(inspect.signature(getattr(kind, name)))
        for base in kind.__mro__
        if base.__module__.startswith("avengers_edge.api")
        for name, value in vars(base).items()
        if not name.startswith("_") and isinstance(value, FunctionType | classmethod)
    }
    assert found == SIGNATURES[kind]


def test_the_events_are_frozen_and_have_these_fields():
    for name, fields in FIELDS.items():
        event = getattr(avengers_edge, name)
        assert [field.name for field in dataclasses.fields(event)] == fields
        assert event.__dataclass_params__.frozen
    assert set(avengers_edge.Event.__args__) == {getattr(avengers_edge, name) for name in FIELDS}


def test_a_type_checker_sees_what_is_loaded_when_it_is_used():
    (block,) = [
        node
        for node in ast.parse(Path(avengers_edge.__file__).read_text(encoding="utf-8")).body
        if isinstance(node, ast.If)
    ]
    seen = {alias.name: node.module for node in block.body for alias in node.names}
    assert set(seen) == listed()
    for name, module in seen.items():
        assert getattr(avengers_edge, name) is getattr(importlib.import_module(module), name)


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'Avenger'"):
        avengers_edge.Avenger  # noqa: B018


@pytest.mark.parametrize(
    ("name", "forbidden"),
    [
        ("AvengersError", {"numpy", "onnxruntime", "llama_cpp", "asyncio"}),
        ("Settings", {"numpy", "onnxruntime", "llama_cpp", "asyncio"}),
        ("freeze_support", {"numpy", "onnxruntime", "llama_cpp", "asyncio", "avengers_edge.runtime"}),
        ("Avengers", {"llama_cpp", "sklearn", "starlette", "uvicorn", "click", "socket"}),
    ],
)
def test_a_name_loads_no_more_than_it_needs(name, forbidden):
    code = f"import sys; from avengers_edge import {name}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert forbidden.isdisjoint(loaded)


def test_every_public_thing_explains_itself():
    for name in listed() - {"Event", "OnEvent", "Kind", "EarlyStop"}:
        assert getattr(avengers_edge, name).__doc__
