"""Outcomes that a reader can compute by hand: two directions of questions, and who is right in which."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from avengers_edge.calibration.outcomes import OutcomeRow, Vectors


def unit(degrees: Sequence[float]) -> Vectors:
    angles = [math.radians(each) for each in degrees]
    return np.array([[math.cos(each), math.sin(each)] for each in angles], dtype=np.float32)


def two_directions(each: int = 20, *, east: tuple[float, float] = (1, 0), north: tuple[float, float] = (0, 1)):
    """Questions of data set `east` around 0 degrees and of `north` around 90, with the scores of a and b there."""
    spread = np.linspace(-5, 5, each)
    vectors = unit([*spread, *(90 + spread)])
    rows = [
        OutcomeRow(
            f"{name}/{place}",
            name,
            "made",
            {"a": float(a), "b": float(b)},
            prompt=f"{name} question {place}",
            seconds={"a": 4.0, "b": 1.0},
            answers={"a": (("x", a), ("x", a), ("y", 1 - a)), "b": (("x", b), ("x", b), ("x", b))},
        )
        for name, (a, b) in (("east", east), ("north", north))
        for place in range(each)
    ]
    return vectors, rows
