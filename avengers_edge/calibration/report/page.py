"""The page: what was found, in words first, then drawings, each with the table of its numbers."""

from __future__ import annotations

import html
from pathlib import Path

from avengers_edge._util.files import write_named
from avengers_edge.calibration.findings import Standing, Study
from avengers_edge.calibration.report import figures, maps, tables
from avengers_edge.calibration.report.canvas import MOST_DRAWN
from avengers_edge.calibration.report.style import STYLE
from avengers_edge.errors import AvengersError

_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
"""A browser that reads this loads nothing from anywhere, whatever a name in an outcome file holds."""

KNOBS = {
    "clusters": "Number of clusters K",
    "method": "Method of clustering",
    "across": "Clusters across the borders of data sets, or not",
    "top_k": "Nearest clusters averaged (top_k)",
    "beta": "How fast a cluster's weight falls with distance (beta)",
    "smoothing": "Smoothing, in answers added to each cell",
}


def write_report(study: Study, path: Path) -> None:
    """Write the page whole.

    Raises:
        MissingExtra: matplotlib is not installed.
        AvengersError: the file cannot be written.

    """
    content = page(study).encode()
    try:
        write_named(path, content)
    except OSError as error:
        raise AvengersError(f"{path} cannot be written ({error.strerror}): choose another place with --out") from error


def page(study: Study) -> str:
    """Write the findings as one HTML document that needs no other file; the same findings give the same text.

    Raises:
        MissingExtra: matplotlib is not installed.

    """
    sections = [
        _head(study),
        _standing(study),
        _by_dataset(study),
        _map(study),
        _clusters(study),
        _costs(study),
        _reliability(study),
        _sensitivity(study),
        _method(study),
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        f"<title>Avengers Edge: calibration report</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(sections)
        + "\n</main>\n</body>\n</html>\n"
    )


def verdict(study: Study) -> str:
    """Say in plain words whether routing pays on these questions."""
    router, single = study.standing("router"), study.standing("best single")
    gain = router.gain
    names = " or ".join(dict.fromkeys(study.best_single))
    if (gain.low, gain.high) == (0, 0):
        said = "It asks that member every time, or one that is just as good: there is nothing to route here."
    elif gain.low > 0:
        said = "Routing pays here: the whole interval lies above 0."
    elif gain.high < 0:
        said = "Routing loses here: ask the best single member alone, or measure more questions."
    else:
        said = "Whether routing pays here is not settled: the interval holds 0. More questions would tell."
    return (
        f"On questions that it was not fitted on, the router is right on {router.macro.mean:.1f} % (macro), the best "
        f"single member ({names}) on {single.macro.mean:.1f} %: {gain.mean:+.1f} points, 95 % interval {gain.low:+.1f} "
        f"to {gain.high:+.1f}. {said}"
    )


def _head(study: Study) -> str:
    router, oracle = study.standing("router"), study.standing("query oracle")
    tiles = (
        (
            f"{study.questions:,}",
            f"questions in {len(study.datasets)} data set{'s' if len(study.datasets) > 1 else ''}",
        ),
        (f"{len(study.members)}", "members"),
        (f"{router.macro.mean:.1f} %", "router, macro accuracy"),
        (f"{router.gain.mean:+.1f}", "points over the best single member"),
        (f"{oracle.macro.mean:.1f} %", "if every question went to a member that gets it right"),
    )
    items = "".join(f"<li><b>{html.escape(value)}</b>{html.escape(label)}</li>" for value, label in tiles)
    named, more = study.members[:MOST_DRAWN], len(study.members) - MOST_DRAWN
    members = html.escape(", ".join(named) + (f" and {more} more" if more > 0 else ""))
    return (
        f'<h1>Calibration report</h1>\n<p class="soft">Members: {members}.</p>\n'
        f'<p class="verdict">{html.escape(verdict(study))}</p>\n<ul class="tiles">{items}</ul>'
    )


def _standing(study: Study) -> str:
    compared = [each for each in study.standings if each.role in ("router", "learner") or each.name == "dataset oracle"]
    bars = _figure(
        figures.standing_bars(study.standings),
        "Accuracy averaged over data sets; lines are 95 % intervals. Oracles know the right answers: the best member "
        "of each data set, and of each question.",
    )
    gains = _figure(
        figures.gain_intervals(compared),
        "Paired with the best single member on the same questions; an interval right of the line is a gain.",
    )
    return f'<h2>What routing is worth</h2>\n<div class="pair">{bars}{gains}</div>\n{tables.standings(study)}'


def _by_dataset(study: Study) -> str:
    shown: list[Standing] = [each for each in study.standings if each.role != "member"]
    return f"<h2>By data set</h2>\n{tables.by_dataset(study, shown)}"


def _map(study: Study) -> str:
    drawn = study.map
    said = {
        "t-SNE": "t-SNE keeps neighbours together; far distances and sizes of islands mean nothing.",
        "PCA": "The two directions in which the questions differ most.",
    }[drawn.method]
    by_cluster = _figure(
        maps.cluster_map(drawn, study.clusters), f"By cluster, {len(drawn.points):,} questions. {said}"
    )
    by_pick = _figure(maps.pick_map(drawn, study.members), "By the member that a router fitted on all of them picks.")
    return f'<h2>Map of the questions</h2>\n<div class="pair">{by_cluster}{by_pick}</div>'


def _clusters(study: Study) -> str:
    heat = _figure(
        maps.cluster_heat(study.clusters, study.members),
        "Accuracy of each member in each cluster, %; rows are named by their most frequent data set, a frame marks the "
        "best. These clusters are for the eye, the router has its own; of many members the twelve best are drawn.",
    )
    examples = "".join(
        f"<h3>Cluster {shape.number}</h3>"
        + "".join(f"<blockquote>{html.escape(text)}</blockquote>" for text in shape.examples)
        for shape in study.clusters
        if shape.examples
    )
    return f"<h2>Clusters and members</h2>\n{heat}\n{tables.clusters(study.clusters, study.members)}{examples}"


def _costs(study: Study) -> str:
    if study.costs is None:
        return _absent("Accuracy against time", "Seconds were not measured for every member on every question.")
    curve = _figure(
        figures.cost_curve(study.costs, study.members),
        "The router's curve runs from prefer 0 (fast) to 1 (accurate). Up and to the left is better.",
    )
    return f"<h2>Accuracy against time</h2>\n{curve}\n{tables.costs(study.costs)}"


def _reliability(study: Study) -> str:
    found = study.reliability
    if found is None:
        return _absent("Is agreement honest?", "No question has two samples or more by one member.")
    diagram = _figure(
        figures.reliability_diagram(found),
        f"{found.votes:,} votes, each of one member on one question. Above the broken line answers are better than "
        "their agreement says, below it worse.",
    )
    told = f"<p>Expected calibration error {found.calibration_error:.1f} points, Brier score {found.brier:.3f}.</p>"
    return f"<h2>Is agreement honest?</h2>\n{diagram}\n{told}\n{tables.agreement(found)}"


def _sensitivity(study: Study) -> str:
    drawn = "".join(
        _figure(figures.sensitivity_lines(each), KNOBS.get(each.knob, each.knob)) for each in study.sensitivities
    )
    return (
        "<h2>How much hangs on the settings</h2>\n<p>One knob is turned at a time, the others stay at their usual "
        "values; the filled point is the usual one. Bars run from the least to the most of the "
        f"first {min(3, len(study.seeds))} splits. A knob chosen here would be chosen on the questions it is judged by."
        f'</p>\n<div class="knobs">{drawn}</div>\n'
        f"{tables.knobs(study.sensitivities)}"
    )


def _method(study: Study) -> str:
    return (
        "<h2>How this was made</h2>\n"
        f"<p>{len(study.seeds)} random splits, 70 % of each data set to fit on, 30 % to judge by (seeds "
        f"{', '.join(map(str, study.seeds))}). {study.questions:,} questions make {study.units:,} units: those with "
        "the same prompt or a common rule are never on both sides. Macro accuracy averages data sets, micro accuracy "
        f"questions. Intervals are paired percentile bootstraps of {study.draws:,} draws of units within each data "
        "set; they speak of other questions from the same data sets, not of other data sets.</p>\n"
        "<p>Nearest neighbours and perceptron follow RouterBench (arXiv 2403.12031), matrix factorisation EmbedLLM "
        "(arXiv 2410.02223), the router the Avengers (arXiv 2505.19797). All get the same vectors and keep the same "
        "settings on every split; the router also knows which data set each question it is fitted on comes from.</p>"
    )


def _absent(title: str, why: str) -> str:
    return f'<h2>{title}</h2>\n<p class="soft">{why}</p>'


def _figure(svg: str, caption: str) -> str:
    return f"<figure>{svg}<figcaption>{html.escape(caption)}</figcaption></figure>"
