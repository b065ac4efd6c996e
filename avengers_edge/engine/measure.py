"""How long a step takes by its number of rows, measured on the model as it is loaded."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from avengers_edge.engine.cells import Context
from avengers_edge.engine.curve import StepCurve

_SAMPLES = (1, 2, 4, 6, 8, 10, 12, 16, 20, 24, 32, 48, 63, 96, 128, 192, 255)
_PROMPT_ROWS = 256  # more than any step of samples has
_CONTEXT = 64  # tokens before each row, as an early sample has
_REPEATS = 3
_LEAST = 16  # samples; beyond, the curve goes on as it went


def measure_steps(
    context: Context, *, budget: float, on_beat: Callable[[], None] = lambda: None, token: int = 0
) -> StepCurve:
    """Time steps of one row a sample, and one of prompt tokens only. The cache has to be empty, and is so afterwards.

    Narrow ones are timed in any case, wide ones and all of them again while `budget` seconds last; the quickest time
    counts, since whatever else the machine does only ever adds.

    Raises:
        EngineDied: llama.cpp failed.

    """
    end = time.monotonic() + budget
    most = min(context.outputs, context.sequences - 1, context.cells - _CONTEXT)
    widths = [rows for rows in _SAMPLES if rows <= most]
    prompt_rows = min(_PROMPT_ROWS, context.batch_size, context.cells - _CONTEXT, context.longest)
    best: dict[int, float] = {}

    def timed(sequences: Sequence[int], first: int, *, wanted: bool) -> None:
        count = len(sequences)
        positions = [first] * count if wanted else list(range(first, first + count))
        begin = time.perf_counter()
        context.decode([token] * count, positions, list(sequences), [wanted] * count)
        seconds = max(round(time.perf_counter() - begin, 6), 1e-6)  # as it is kept, so that every plan is the same
        best[count] = min(seconds, best.get(count, seconds))
        on_beat()

    def step(rows: int) -> None:
        samples = range(1, rows + 1)
        for sample in samples:
            context.share(0, sample, _CONTEXT)
        at = _CONTEXT
        if context.split:  # the cells are copied by the first step that reads them
            context.decode([token] * rows, [at] * rows, list(samples), [False] * rows)
            at += 1
        timed(samples, at, wanted=True)
        for sample in samples:
            context.release(sample)

    def prompt() -> None:
        timed([1] * prompt_rows, 0, wanted=False)
        context.release(1)

    context.clear()
    try:
        timed([0] * _CONTEXT, 0, wanted=False)
        step(1)  # warms up
        best.clear()
        for repeat in range(_REPEATS):
            for rows in widths:
                if rows <= _LEAST or time.monotonic() < end:
                    step(rows)
            if not repeat or time.monotonic() < end:
                prompt()
            if time.monotonic() >= end:
                break
    finally:
        context.clear()
    return StepCurve(tuple(sorted(best.items())))
