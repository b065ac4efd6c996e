"""Findings as HTML tables; every text that comes from a file is escaped here."""

from __future__ import annotations

import html
from collections.abc import Collection, Sequence

from avengers_edge.calibration.findings import (
    ClusterShape,
    Costs,
    Interval,
    Reliability,
    Sensitivity,
    Standing,
    Study,
)


def table(
    caption: str, heads: Sequence[str], rows: Sequence[Sequence[str]], best: Sequence[Collection[int]] = ()
) -> str:
    """Write a table that scrolls in itself where it is too wide; the first cell of a row heads it.

    `best` names the columns of each row that are set in bold.
    """
    bold = list(best) or [()] * len(rows)
    head = "".join(f'<th scope="col">{html.escape(text)}</th>' for text in heads)
    lines = []
    for row, strong in zip(rows, bold, strict=True):
        cells = "".join(
            f"<td{' class=best' if place in strong else ''}>{html.escape(text)}</td>"
            for place, text in enumerate(row[1:], 1)
        )
        lines.append(f'<tr><th scope="row">{html.escape(row[0])}</th>{cells}</tr>')
    name = html.escape(caption)
    return (
        f'<div class="wide" tabindex="0" role="region" aria-label="{name}"><table><caption>{name}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table></div>"
    )


def standings(study: Study) -> str:
    """Write what each way of choosing scored, with intervals, and on each split."""
    heads = ["", "macro %", "95 % interval", "micro %", "over best single", "95 % interval", "by split"]
    rows = [
        [
            each.name,
            f"{each.macro.mean:.2f}",
            _bounds(each.macro),
            f"{each.micro.mean:.2f}",
            f"{each.gain.mean:+.2f}",
            _bounds(each.gain),
            " · ".join(f"{value:.1f}" for value in each.by_seed),
        ]
        for each in study.standings
    ]
    return table("Accuracy on the questions that were not fitted", heads, rows)


def by_dataset(study: Study, shown: Sequence[Standing]) -> str:
    """Write accuracy on each data set; the best of what is no oracle is bold."""
    fair = [place for place, each in enumerate(shown, 1) if each.role != "oracle"]
    rows, best = [], []
    for name, count in study.datasets.items():
        values = [each.datasets.get(name) for each in shown]
        rows.append([name, f"{count:,}", *("" if value is None else f"{value:.1f}" for value in values)])
        best.append([1 + place for place in _best_of([values[place - 1] or 0.0 for place in fair], fair)])
    heads = ["data set", "questions", *(each.name for each in shown)]
    return table("Accuracy by data set, %; bold is the best of what knows no answers", heads, rows, best)


def clusters(shapes: Sequence[ClusterShape], members: Sequence[str]) -> str:
    """Write what lies in each cluster and how each member does there."""
    rows, best = [], []
    for each in shapes:
        holds = ", ".join(f"{name} {share:.0f} %" for name, share in each.datasets)
        rows.append([str(each.number), f"{each.questions:,}", *(f"{value:.1f}" for value in each.accuracy), holds])
        best.append(_best_of(each.accuracy, range(2, 2 + len(members))))
    heads = ["cluster", "questions", *members, "most frequent data sets"]
    return table("Accuracy by cluster, %; bold is the best of a row", heads, rows, best)


def costs(found: Costs) -> str:
    """Write accuracy and seconds of the router at each `prefer`, then of the members."""
    rows = [[f"router, prefer {each.name}", f"{each.accuracy:.2f}", f"{each.seconds:.2f}"] for each in found.router]
    rows += [[each.name, f"{each.accuracy:.2f}", f"{each.seconds:.2f}"] for each in found.members]
    return table("Accuracy and time", ["", "macro %", "mean seconds"], rows)


def agreement(found: Reliability) -> str:
    """Write the bins of the reliability diagram."""
    rows = [
        [f"{each.low:.0f} to {each.high:.0f} %", f"{each.votes:,}", f"{each.agreement:.1f}", f"{each.right:.1f}"]
        for each in found.bins
    ]
    return table("Votes by agreement", ["share of votes", "votes", "mean agreement %", "right %"], rows)


def knobs(found: Sequence[Sensitivity]) -> str:
    """Write macro accuracy at each value of each knob."""
    rows = [
        [
            f"{each.knob} {setting.value}{' (usual)' if setting.usual else ''}",
            f"{setting.mean:.2f}",
            f"{setting.least:.2f}",
            f"{setting.most:.2f}",
        ]
        for each in found
        for setting in each.settings
    ]
    return table("Macro accuracy of the router by setting, %", ["", "mean", "least", "most"], rows)


def _best_of(values: Sequence[float], places: Sequence[int]) -> list[int]:
    """Give the places of the values that look as large as the largest."""
    return [place for value, place in zip(values, places, strict=True) if f"{value:.1f}" == f"{max(values):.1f}"]


def _bounds(interval: Interval) -> str:
    return f"{interval.low:.1f} to {interval.high:.1f}"
