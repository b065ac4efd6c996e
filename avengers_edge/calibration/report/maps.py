"""Drawings of where the questions lie, and of who is good where."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from avengers_edge.calibration.findings import ClusterShape, QuestionMap
from avengers_edge.calibration.report.canvas import (
    COLOURS,
    GRID,
    MOST_DRAWN,
    PAPER,
    WIDTH,
    draw,
    mark_of,
    shortened,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def cluster_map(drawn: QuestionMap, shapes: Sequence[ClusterShape]) -> str:
    """Draw the questions, coloured and numbered by cluster."""
    points, clusters = np.array(drawn.points), np.array(drawn.clusters)

    def paint(figure: Figure) -> None:
        axes = _plane(figure)
        for shape in shapes:
            inside = points[clusters == shape.number]
            if len(inside):
                colour = COLOURS[(shape.number - 1) % len(COLOURS)]
                axes.plot(*inside.T, "o", color=colour, markersize=2.6, markeredgewidth=0, alpha=0.7)
        for shape in shapes:
            inside = points[clusters == shape.number]
            if len(inside):
                x, y = np.median(inside, axis=0)
                box = {"boxstyle": "round,pad=0.18", "facecolor": PAPER, "edgecolor": GRID, "alpha": 0.85}
                axes.text(x, y, str(shape.number), ha="center", va="center", fontsize=8, fontweight="bold", bbox=box)

    named = "; ".join(f"{shape.number}, mostly {shape.datasets[0][0]}" for shape in shapes)
    return draw("clusters", f"Map of {len(points)} questions by cluster: {named}.", WIDTH, 4.2, paint)


def pick_map(drawn: QuestionMap, members: Sequence[str]) -> str:
    """Draw the questions, coloured by the member that the router picks; the rarely picked share a colour."""
    points, picks = np.array(drawn.points), np.array(drawn.picks)
    counts = {member: int((picks == member).sum()) for member in members}
    often = sorted((member for member in members if counts[member]), key=lambda member: -counts[member])
    named = often if len(often) <= len(COLOURS) else often[: len(COLOURS) - 1]

    def paint(figure: Figure) -> None:
        axes = _plane(figure)
        for place, member in enumerate([*named, None]):
            inside = points[picks == member] if member else points[~np.isin(picks, named)]
            if len(inside):
                colour, marker = mark_of(place)
                (dots,) = axes.plot(*inside.T, marker, color=colour, markersize=2.8, markeredgewidth=0, alpha=0.7)
                dots.set_label(f"{shortened(member or 'others')} ({100 * len(inside) / len(points):.0f} %)")
        figure.legend(loc="outside lower center", ncols=2, fontsize=8, markerscale=2.4, handletextpad=0.2)

    shares = "; ".join(f"{member} {100 * float(np.mean(picks == member)):.0f} %" for member in often)
    return draw("picks", f"Map of {len(points)} questions by the member picked: {shares}.", WIDTH, 4.7, paint)


def cluster_heat(shapes: Sequence[ClusterShape], members: Sequence[str]) -> str:
    """Draw each member's accuracy in each cluster, of the twelve best members; the best of a row has a frame."""
    cells = np.array([shape.accuracy for shape in shapes])
    best = np.sort(np.argsort(-cells.mean(axis=0), kind="stable")[:MOST_DRAWN])
    cells, members = cells[:, best], [members[column] for column in best]

    def paint(figure: Figure) -> None:
        from matplotlib import colormaps
        from matplotlib.patches import Rectangle

        axes = figure.add_subplot()
        axes.pcolormesh(cells, cmap="cividis", vmin=0, vmax=100, edgecolors="none")
        for (row, column), value in np.ndenumerate(cells):
            dark = np.dot(colormaps["cividis"](value / 100)[:3], (0.299, 0.587, 0.114)) < 0.5
            colour = "#ffffff" if dark else "#000000"
            axes.text(column + 0.5, row + 0.5, f"{value:.0f}", ha="center", va="center", fontsize=8, color=colour)
            if value == cells[row].max():
                axes.add_patch(
                    Rectangle((column + 0.06, row + 0.06), 0.88, 0.88, fill=False, edgecolor="#ffb000", linewidth=1.6)
                )
        names = [shortened(member) for member in members]
        axes.set_xticks(np.arange(len(names)) + 0.5, names, rotation=38, ha="left", rotation_mode="anchor", fontsize=8)
        axes.set_yticks(
            np.arange(len(shapes)) + 0.5,
            [f"{each.number} {shortened(each.datasets[0][0])}" for each in shapes],
            fontsize=8,
        )
        axes.xaxis.tick_top()
        axes.invert_yaxis()
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)

    alt = f"Heat map of accuracy, {len(shapes)} clusters by {len(members)} members; the table below has its numbers."
    return draw("heat", alt, WIDTH, 1.3 + 0.26 * len(shapes), paint)


def _plane(figure: Figure) -> Axes:
    axes = figure.add_subplot()
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    axes.margins(0.02)
    return axes
