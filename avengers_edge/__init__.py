"""Avengers Edge: a team of small local models that routes, samples and votes.

    with Avengers.open() as team:
        print(team.answer("How many minutes are 3 hours and 20 minutes?").answer)

Importing this package loads nothing heavy: each of these names is loaded when it is first used. `docs/python.md`
shows them at work; see `avengers_edge.runtime` for the main path.
"""

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from avengers_edge.api.aio import AsyncAvengers
    from avengers_edge.api.embedded import OnEvent, Pending
    from avengers_edge.api.sync import Avengers
    from avengers_edge.config import Settings, load_settings
    from avengers_edge.engine.worker import freeze_support
    from avengers_edge.errors import (
        AvengersError,
        BadRequest,
        Cancelled,
        ContextFull,
        DoesNotFit,
        EngineDied,
        MissingExtra,
        NoSandbox,
        NotFound,
        OfflineRefused,
        VerificationFailed,
    )
    from avengers_edge.records import (
        Answer,
        Ask,
        EarlyStop,
        Event,
        Finished,
        Kind,
        Loading,
        Message,
        Progress,
        Ranked,
        Route,
        Routed,
        Sample,
        Timings,
        Token,
        Tool,
        ToolCall,
        Tools,
        Usage,
        Vote,
    )
    from avengers_edge.voting.calls import read_calls

logging.getLogger(__name__).addHandler(logging.NullHandler())  # a library is silent until it is listened to

__version__ = "0.1.0"

__all__ = [
    "Answer",
    "Ask",
    "AsyncAvengers",
    "Avengers",
    "AvengersError",
    "BadRequest",
    "Cancelled",
    "ContextFull",
    "DoesNotFit",
    "EarlyStop",
    "EngineDied",
    "Event",
    "Finished",
    "Kind",
    "Loading",
    "Message",
    "MissingExtra",
    "NoSandbox",
    "NotFound",
    "OfflineRefused",
    "OnEvent",
    "Pending",
    "Progress",
    "Ranked",
    "Route",
    "Routed",
    "Sample",
    "Settings",
    "Timings",
    "Token",
    "Tool",
    "ToolCall",
    "Tools",
    "Usage",
    "VerificationFailed",
    "Vote",
    "freeze_support",
    "load_settings",
    "read_calls",
]

_MODULES = {
    "api.aio": ("AsyncAvengers",),
    "api.embedded": ("OnEvent", "Pending"),
    "api.sync": ("Avengers",),
    "config": ("Settings", "load_settings"),
    "engine.worker": ("freeze_support",),
    "records": (
        *("Answer", "Ask", "EarlyStop", "Event", "Finished", "Kind", "Loading", "Message", "Progress"),
        *("Ranked", "Route", "Routed", "Sample", "Timings", "Token"),
        *("Tool", "ToolCall", "Tools", "Usage", "Vote"),
    ),
    "voting.calls": ("read_calls",),
}


def __getattr__(name: str) -> object:
    """Load a public name when it is first used (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    place = next((module for module, names in _MODULES.items() if name in names), "errors")
    value: object = getattr(importlib.import_module(f"{__name__}.{place}"), name)
    globals()[name] = value  # the next time this function is not asked
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
