"""A loaded model as `residency` counts it."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from avengers_edge.engine.managed import ManagedEngine
from avengers_edge.engine.memory import Placement

logger = logging.getLogger("avengers_edge.residency")


@dataclass(slots=True, eq=False)
class Resident:
    """A model in memory: where it lies, what it takes, who uses it.

    `unseen` are those of its bytes in main memory that the system still calls available.
    """

    model: str
    path: Path
    engine: ManagedEngine
    placement: Placement
    kv_bytes: int
    unseen: int
    used_at: float
    leases: int = 1


def close_engine(model: str, engine: ManagedEngine) -> None:
    """Free a model; one that cannot be closed must not keep the next one from loading."""
    try:
        engine.close()
    except Exception:
        logger.exception("%s could not be closed", model)
