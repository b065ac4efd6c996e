"""Outcomes that a reader can compute by hand: two directions of questions, and who is right in which."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from avengers_edge.calibration.outcomes import OutcomeRow, Vectors


def unit(degrees: Sequence[float]) -> Vectors:
    angles = [math.radians(each) for each in degrees]
    return np.array([[math.cos(each), math.sin(each)] for each in angles], dtype=np.float32)


def two_directions(
    each: int = 40, *, east: tuple[float, float] = (1, 0), west: tuple[float, float] = (0, 1)
) -> tuple[Vectors, list[OutcomeRow]]:
    """Questions of data set `east` around 0 degrees and of `west` around 180, with the scores of a and b there.

    Directions repeat, so that what is judged does not lie farther out than what was fitted.
    """
    spread = [(-60, -30, 0, 30, 60)[place % 5] for place in range(each)]
    vectors = unit([*spread, *(180 + angle for angle in spread)])
    rows = [
        OutcomeRow(
            f"{name}/{place}",
            name,
            "made",
            {"a": float(a), "b": float(b)},
            prompt=f"{name}ern matter {place}",
            seconds={"a": 4.0, "b": 1.0},
            answers={"a": (("x", a), ("x", a), ("y", 1 - a)), "b": (("x", b), ("x", b), ("x", b))},
        )
        for name, (a, b) in (("east", east), ("west", west))
        for place in range(each)
    ]
    return vectors, rows
