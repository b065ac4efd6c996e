"""What this machine makes of a model: step times, the better load options, and a voted answer against one-by-one calls.

The load options and the step-time curve are kept in the home folder, and every later answer goes by them.
"""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from avengers_edge.config import Settings
from avengers_edge.engine.loader import choose_repack, keep, load_options
from avengers_edge.engine.step_cost import StepCurve
from avengers_edge.engine.worker_engine import WorkerEngine
from avengers_edge.library.catalog import Catalog
from avengers_edge.library.store import Store
from avengers_edge.records import Ask, Token
from avengers_edge.runtime import Avengers

MEASURE_SECONDS = 6.0
QUESTIONS = (
    "A baker fills 7 trays with 12 rolls each and sells 59 rolls. How many rolls are left?",
    "Mira reads 18 pages a day for 5 days and 24 pages a day for 3 days. How many pages is that?",
    "A tank of 240 litres loses 6 litres an hour for 9 hours, then 40 litres are added. How many litres are in it?",
)
"""Three sums of our own; what is compared is time, not knowledge."""

OnPhase = Callable[[str], None]


@dataclasses.dataclass(frozen=True, slots=True)
class Spread:
    """A median with the least and the greatest of what was measured."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: list[float]) -> Spread:
        """Sum up at least one value."""
        return cls(statistics.median(values), min(values), max(values))


@dataclasses.dataclass(frozen=True, slots=True)
class Report:
    """What `avengers bench` prints. Seconds, but for the curve's points, which are (rows of a step, seconds)."""

    model: str
    member: str
    repack: bool
    repack_tried: tuple[bool, ...]
    curve: StepCurve
    first_token: Spread
    samples: int
    voted: Spread
    one_by_one: Spread
    ratio: Spread

    def as_dict(self) -> dict[str, Any]:
        """Turn the report into plain values."""
        values = dataclasses.asdict(self)
        values["tokens_per_second_by_width"] = {
            str(rows): round(rows / seconds, 2) for rows, seconds in self.curve.points[:-1]
        }
        return values


def tune(path: Path, settings: Settings, on_phase: OnPhase) -> tuple[bool, tuple[bool, ...], StepCurve]:
    """Measure a model with its weights repacked and not, keep what is better; say which that is and what worked.

    Each way is tried in a worker process, because repacking crashes llama.cpp on some machines.

    Raises:
        EngineDied: the model cannot be loaded either way.

    """
    options = load_options(settings, settings.gpu_layers)

    def measured(repack: bool) -> tuple[float, StepCurve]:
        on_phase(f"measuring steps, weight repacking {'on' if repack else 'off'}")
        begin = time.perf_counter()
        chosen = dataclasses.replace(options, repack=repack)
        with WorkerEngine(path, chosen, timeout=settings.patience) as engine:
            loaded = time.perf_counter() - begin
            return loaded, engine.measure(MEASURE_SECONDS)

    if settings.repack is None:
        repack, curves = choose_repack(measured)
    else:
        repack = settings.repack
        curves = {repack: measured(repack)[1]}
    keep(path, options, settings, curves[repack], repack)
    return repack, tuple(curves), curves[repack]


def bench(settings: Settings, team: str | None, model: str | None, samples: int, on_phase: OnPhase) -> Report:
    """Measure a model of a team (its first member's by default), the vote and the calls in turn.

    Raises:
        NotFound: no such team or model.
        EngineDied: llama.cpp cannot run it.

    """
    catalog, store = Catalog.of(settings), Store(settings.home)
    chosen = catalog.load_team(team or settings.team)
    model = model or chosen.members[0].model
    member = next((each.name for each in chosen.members if each.model == model), model)
    repack, tried, curve = tune(store.find(catalog.load_model(model)), settings, on_phase)
    first, voted, single, ratios = [], [], [], []
    with Avengers.open(settings, team) as avengers:
        on_phase("loading the model")
        avengers.answer("What is 1 + 1?", Ask(samples=1, member=member, max_tokens=8, kind="number", seed=0))
        for seed, question in enumerate(QUESTIONS, 1):
            on_phase(f"question {seed} of {len(QUESTIONS)}: a vote of {samples}")
            voted.append(_timed(avengers, question, Ask(samples=samples, member=member, kind="number", seed=seed))[0])
            calls = []
            for call in range(samples):
                on_phase(f"question {seed} of {len(QUESTIONS)}: call {call + 1} of {samples}, one by one")
                ask = Ask(samples=1, member=member, kind="number", seed=1000 * seed + call)
                seconds, until_first = _timed(avengers, question, ask)
                calls.append(seconds)
                first.append(until_first)
            single.append(sum(calls))
            ratios.append(single[-1] / voted[-1])
    return Report(
        model=model,
        member=member,
        repack=repack,
        repack_tried=tried,
        curve=curve,
        first_token=Spread.of(first),
        samples=samples,
        voted=Spread.of(voted),
        one_by_one=Spread.of(single),
        ratio=Spread.of(ratios),
    )


def _timed(avengers: Avengers, question: str, ask: Ask) -> tuple[float, float]:
    """Give the seconds to the answer and to the first piece of text."""
    begin = time.perf_counter()
    pieces = [time.perf_counter() - begin for event in avengers.run(question, ask) if isinstance(event, Token)]
    seconds = time.perf_counter() - begin
    return seconds, pieces[0] if pieces else seconds
