"""The drawings of a report, each a function of the findings that gives an SVG element."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from avengers_edge.calibration.findings import (
    Costs,
    Reliability,
    Role,
    Sensitivity,
    Standing,
)
from avengers_edge.calibration.report.canvas import (
    COLOURS,
    GRID,
    INK,
    MOST_DRAWN,
    PAPER,
    WIDTH,
    draw,
    mark_of,
    shortened,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_ROLE_COLOURS: dict[Role, str] = {
    "router": COLOURS[0],
    "learner": COLOURS[5],
    "reference": COLOURS[7],
    "oracle": COLOURS[1],
    "member": COLOURS[7],
}


def standing_bars(standings: Sequence[Standing]) -> str:
    """Draw macro accuracy with its interval, a bar for each way of choosing, of the members alone the best twelve."""
    alone = sorted((each for each in standings if each.role == "member"), key=lambda each: -each.macro.mean)
    standings = [*(each for each in standings if each.role != "member"), *alone[:MOST_DRAWN]]

    def paint(figure: Figure) -> None:
        axes = figure.add_subplot()
        places = np.arange(len(standings))[::-1]
        for place, each in zip(places, standings, strict=True):
            macro = each.macro
            axes.barh(
                place, macro.mean, 0.68, color=_ROLE_COLOURS[each.role], alpha=0.45 if each.role == "member" else 0.9
            )
            axes.plot([macro.low, macro.high], [place, place], color=INK, linewidth=1.2, solid_capstyle="butt")
            axes.text(macro.high + 1, place, f"{macro.mean:.1f}", va="center", fontsize=8)
        axes.set_yticks(places, [shortened(each.name) for each in standings])
        axes.set_ylim(-0.6, len(standings) - 0.4)
        axes.set_xlim(0, min(112, max(each.macro.high for each in standings) + 10))
        axes.set_xlabel("macro accuracy, %")
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x")
        axes.set_axisbelow(True)

    told = "; ".join(f"{each.name} {each.macro.mean:.1f}" for each in standings)
    return draw("standing", f"Bars of macro accuracy in percent: {told}.", WIDTH, 0.7 + 0.27 * len(standings), paint)


def gain_intervals(standings: Sequence[Standing]) -> str:
    """Draw how many points each way has over the best single member, with intervals and a line at 0."""

    def paint(figure: Figure) -> None:
        axes = figure.add_subplot()
        places = np.arange(len(standings))[::-1]
        axes.axvline(0, color=INK, linewidth=1)
        for place, each in zip(places, standings, strict=True):
            colour = _ROLE_COLOURS[each.role]
            axes.plot([each.gain.low, each.gain.high], [place, place], color=colour, linewidth=2.2)
            axes.plot(each.gain.mean, place, "o", color=colour, markersize=6)
        axes.set_yticks(places, [shortened(each.name) for each in standings])
        axes.set_ylim(-0.6, len(standings) - 0.4)
        axes.set_xlabel("points of macro accuracy over the best single member")
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x")
        axes.set_axisbelow(True)

    told = "; ".join(
        f"{each.name} {each.gain.mean:+.1f} ({each.gain.low:+.1f} to {each.gain.high:+.1f})" for each in standings
    )
    return draw("gain", f"Points over the best single member: {told}.", WIDTH, 0.8 + 0.3 * len(standings), paint)


def cost_curve(costs: Costs, members: Sequence[str]) -> str:
    """Draw accuracy against seconds: the router's curve over `prefer`, the members as points."""

    def paint(figure: Figure) -> None:
        axes = figure.add_subplot()
        axes.plot(
            [each.seconds for each in costs.router],
            [each.accuracy for each in costs.router],
            ".-",
            color=INK,
            linewidth=1.2,
            markersize=5,
            label="router, prefer 0 to 1",
        )
        for end, each in ((0, costs.router[0]), (1, costs.router[-1])):
            axes.annotate(str(end), (each.seconds, each.accuracy), (5, -10), textcoords="offset points", fontsize=8)
        for column, each in enumerate(costs.members):
            colour, marker = mark_of(column)
            axes.plot(each.seconds, each.accuracy, marker, color=colour, markersize=7, label=shortened(each.name))
        axes.set_xlim(left=0)
        axes.set_xlabel("mean seconds of an answer")
        axes.set_ylabel("macro accuracy, %")
        axes.grid()
        axes.set_axisbelow(True)
        figure.legend(loc="outside lower center", ncols=2, fontsize=8)

    told = "; ".join(f"{each.name} {each.accuracy:.1f} % in {each.seconds:.2g} s" for each in costs.members)
    fast, best = costs.router[0], costs.router[-1]
    alt = (
        f"Accuracy against seconds. Router: {fast.accuracy:.1f} % in {fast.seconds:.2g} s at prefer 0, "
        f"{best.accuracy:.1f} % in {best.seconds:.2g} s at prefer 1. Members: {told}."
    )
    return draw("costs", alt, WIDTH, 3.4 + 0.1 * len(members), paint)


def reliability_diagram(found: Reliability) -> str:
    """Draw how many percent of votes are right against the winner's share of them; on the diagonal is honest."""

    def paint(figure: Figure) -> None:
        top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
        top.plot([0, 100], [0, 100], "--", color=GRID, linewidth=1)
        top.plot(
            [each.agreement for each in found.bins],
            [each.right for each in found.bins],
            "o-",
            color=COLOURS[0],
            linewidth=1.6,
            markersize=6,
        )
        top.set_ylim(-2, 102)
        top.set_ylabel("right, %")
        bottom.bar(
            [(each.low + each.high) / 2 for each in found.bins],
            [each.votes for each in found.bins],
            8,
            color=COLOURS[7],
        )
        bottom.set_xlim(0, 102)
        bottom.set_xlabel("share of votes for the winning answer, %")
        bottom.set_ylabel("votes")
        for axes in (top, bottom):
            axes.grid(axis="y")
            axes.set_axisbelow(True)

    told = "; ".join(f"agreement {each.agreement:.0f}, right {each.right:.0f}" for each in found.bins)
    return draw("reliability", f"Reliability diagram in percent: {told}.", WIDTH, 4.0, paint)


def sensitivity_lines(found: Sensitivity) -> str:
    """Draw macro accuracy over one knob's values, a bar from the least to the most of the splits."""

    def paint(figure: Figure) -> None:
        axes = figure.add_subplot()
        places = np.arange(len(found.settings))
        axes.vlines(
            places,
            [each.least for each in found.settings],
            [each.most for each in found.settings],
            color=COLOURS[0],
            alpha=0.45,
            linewidth=3,
        )
        if found.knob not in ("method", "across"):  # nothing lies between two methods
            axes.plot(places, [each.mean for each in found.settings], color=COLOURS[0], linewidth=1.4)
        for place, each in zip(places, found.settings, strict=True):
            face = COLOURS[0] if each.usual else PAPER
            axes.plot(place, each.mean, "o", color=COLOURS[0], markerfacecolor=face, markersize=6)
        names = [each.value for each in found.settings]
        if found.knob == "method":
            axes.set_xticks(places, names, rotation=25, ha="right", rotation_mode="anchor")
        else:
            axes.set_xticks(places, names)
        axes.margins(x=0.08)
        axes.set_ylabel("macro accuracy, %")
        axes.grid(axis="y")
        axes.set_axisbelow(True)

    told = "; ".join(f"{each.value}: {each.mean:.1f}" for each in found.settings)
    return draw(f"knob-{found.knob}", f"Macro accuracy in percent by {found.knob}: {told}.", 3.5, 2.4, paint)
