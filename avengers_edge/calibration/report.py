"""Findings in, one self-contained HTML file out: in words first, then drawings, each with the table of its numbers."""

from __future__ import annotations

import html
import io
import re
import warnings
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from avengers_edge._util.files import write_named
from avengers_edge.calibration.resampling import Interval
from avengers_edge.calibration.study import ClusterShape, Costs, Reliability, Role, Standing, Study
from avengers_edge.errors import AvengersError, MissingExtra

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_DRAWN = 12
"""Members in a drawing; the tables have all."""

_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
"""A browser that reads this loads nothing from anywhere, whatever a name in an outcome file holds."""

_STYLE = """
:root { color-scheme: light dark; --ink: #1c1e21; --soft: #5b6068; --paper: #fff; --panel: #f5f6f8; --grid: #b9bec6;
  --accent: #2f74b5; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e8eb; --soft: #a2a8b2; --paper: #15171a; --panel: #1e2126;
  --grid: #4a505a; --accent: #74b1e8; } }
@media print { :root { color-scheme: light; --ink: #000; --soft: #444; --paper: #fff; --panel: #f2f2f2; --grid: #999; }
  body { max-width: none; padding: 0; font-size: 10pt; } figure, table { break-inside: avoid; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem 1rem 4rem; max-width: 60rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; line-height: 1.2; margin: 0 0 .25rem; }
h2 { font-size: 1.2rem; margin: 2.5rem 0 .5rem; padding-top: .75rem; border-top: 1px solid var(--grid); }
h3 { font-size: 1rem; margin: 1.25rem 0 .25rem; }
p { margin: .5rem 0; max-width: 46rem; }
.soft, figcaption, caption { color: var(--soft); font-size: .875rem; }
.verdict { max-width: none; background: var(--panel); border-left: 4px solid var(--accent); padding: .75rem 1rem; }
figure { margin: 1rem 0; }
figure svg { display: block; width: 100%; max-width: 40rem; height: auto; }
.wide { overflow-x: auto; }
.wide:focus-visible { outline: 2px solid var(--accent); }
table { border-collapse: collapse; font-size: .875rem; font-variant-numeric: tabular-nums; overflow-wrap: normal;
  margin: .5rem 0; }
caption { text-align: left; padding-bottom: .25rem; }
th, td { padding: .25rem .6rem; text-align: right; border-bottom: 1px solid var(--grid); white-space: nowrap; }
thead th { white-space: normal; vertical-align: bottom; min-width: 4.5rem; }
tbody th, thead th:first-child { text-align: left; }
tbody th { font-weight: 400; }
.best { font-weight: 700; }
blockquote { margin: .25rem 0; padding-left: .75rem; border-left: 3px solid var(--grid); font-size: .875rem; }
"""

INK, PAPER, GRID = "#010203", "#fcfdfe", "#818283"
_IN_PAGE = {INK: "var(--ink)", PAPER: "var(--paper)", GRID: "var(--grid)"}
_COLOURS = ("#3b82c4", "#d97a1e", "#2a9d6f", "#a56cc1", "#d1495b", "#2398a8", "#8f8a1f", "#7d7f87")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
_ROLE_COLOURS: dict[Role, str] = {"router": _COLOURS[0], "oracle": _COLOURS[1]}
_WIDTH = 5.0
"""Inches; a phone shows 80 % of it, so that text stays legible without scrolling."""
_LONGEST_NAME = 30
_DRAWING = {
    "axes.edgecolor": GRID,
    "axes.facecolor": "none",
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.axisbelow": True,
    "figure.facecolor": "none",
    "font.size": 9.0,
    "grid.color": GRID,
    "grid.linewidth": 0.5,
    "legend.frameon": False,
    "svg.fonttype": "none",
    "text.color": INK,
    "text.parse_math": False,  # a $ in a name is a $
    "xtick.color": GRID,
    "xtick.labelcolor": INK,
    "ytick.color": GRID,
    "ytick.labelcolor": INK,
}


def require_matplotlib() -> None:
    """Refuse before a study takes minutes what could not be drawn after it.

    Raises:
        MissingExtra: matplotlib is not installed.

    """
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise MissingExtra("matplotlib", "calibrate", "`avengers calibrate report`") from error


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
    sections = [_head, _standing, _by_dataset, _clusters, _costs, _reliability, _method]
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        f"<title>Avengers Edge: calibration report</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(section(study) for section in sections)
        + "\n</main>\n</body>\n</html>\n"
    )


def verdict(study: Study) -> str:
    """Write in plain words whether routing pays on these questions."""
    router, single = study.standing("router"), study.standing("best single")
    gain = router.gain
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
        f"single member ({' or '.join(dict.fromkeys(study.best_single))}) on {single.macro.mean:.1f} %: "
        f"{gain.mean:+.1f} points, 95 % interval {gain.low:+.1f} to {gain.high:+.1f}. {said}"
    )


# --- sections ---


def _head(study: Study) -> str:
    named, more = study.members[:MOST_DRAWN], len(study.members) - MOST_DRAWN
    members = html.escape(", ".join(named) + (f" and {more} more" if more > 0 else ""))
    counted = f"{study.questions:,} questions in {len(study.datasets)} data sets"
    return (
        f'<h1>Calibration report</h1>\n<p class="soft">{counted}. Members: {members}.</p>\n'
        f'<p class="verdict">{html.escape(verdict(study))}</p>'
    )


def _standing(study: Study) -> str:
    bars = _figure(
        standing_bars(study.standings),
        "Accuracy averaged over data sets; lines are 95 % intervals. Oracles know the right answers: the best member "
        "of each data set, and of each question. What they have over the router is in part chance.",
    )
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
    numbers = table("Accuracy on the questions that were not fitted", heads, rows)
    return f"<h2>What routing is worth</h2>\n{bars}\n{numbers}"


def _by_dataset(study: Study) -> str:
    shown = [each for each in study.standings if each.role != "member"]
    fair = [place for place, each in enumerate(shown, 1) if each.role != "oracle"]
    rows, best = [], []
    for name, count in study.datasets.items():
        values = [each.datasets.get(name) for each in shown]
        rows.append([name, f"{count:,}", *("" if value is None else f"{value:.1f}" for value in values)])
        best.append([1 + place for place in _best_of([values[place - 1] or 0.0 for place in fair], fair)])
    heads = ["data set", "questions", *(each.name for each in shown)]
    numbers = table("Accuracy by data set, %; bold is the best of what knows no answers", heads, rows, best)
    return f"<h2>By data set</h2>\n{numbers}"


def _clusters(study: Study) -> str:
    rows, best = [], []
    for each in study.clusters:
        holds = ", ".join(f"{name} {share:.0f} %" for name, share in each.datasets)
        rows.append([str(each.number), f"{each.questions:,}", *(f"{value:.1f}" for value in each.accuracy), holds])
        best.append(_best_of(each.accuracy, range(2, 2 + len(study.members))))
    heads = ["cluster", "questions", *study.members, "most frequent data sets"]
    numbers = table("Accuracy by cluster, %; bold is the best of a row", heads, rows, best)
    return (
        "<h2>Clusters and members</h2>\n<p>These clusters are for the eye; the router has its own.</p>\n"
        f"{numbers}{''.join(map(_examples, study.clusters))}"
    )


def _examples(shape: ClusterShape) -> str:
    quotes = "".join(f"<blockquote>{html.escape(text)}</blockquote>" for text in shape.examples)
    return f"<h3>Cluster {shape.number}</h3>{quotes}" if quotes else ""


def _costs(study: Study) -> str:
    found = study.costs
    if found is None:
        return _absent("Accuracy against time", "Seconds were not measured for every member on every question.")
    curve = _figure(
        cost_curve(found), "The router's curve runs from prefer 0 (fast) to 1 (accurate). Up and to the left is better."
    )
    named = [(f"router, prefer {each.name}", each) for each in found.router]
    named += [(each.name, each) for each in found.members]
    rows = [[name, f"{each.accuracy:.2f}", f"{each.seconds:.2f}"] for name, each in named]
    numbers = table("Accuracy and time", ["", "macro %", "mean seconds"], rows)
    return f"<h2>Accuracy against time</h2>\n{curve}\n{numbers}"


def _reliability(study: Study) -> str:
    found = study.reliability
    if found is None:
        return _absent("Is agreement honest?", "No question has two samples or more by one member.")
    diagram = _figure(
        reliability_diagram(found),
        f"{found.votes:,} votes, each of one member on one question. Above the broken line answers are better than "
        "their agreement says, below it worse.",
    )
    rows = [
        [f"{each.low:.0f} to {each.high:.0f} %", f"{each.votes:,}", f"{each.agreement:.1f}", f"{each.right:.1f}"]
        for each in found.bins
    ]
    numbers = table("Votes by agreement", ["share of votes", "votes", "mean agreement %", "right %"], rows)
    errors = f"Expected calibration error {found.calibration_error:.1f} points, Brier score {found.brier:.3f}."
    return f"<h2>Is agreement honest?</h2>\n{diagram}\n<p>{errors}</p>\n{numbers}"


def _method(study: Study) -> str:
    return (
        "<h2>How this was made</h2>\n"
        f"<p>{len(study.seeds)} random splits, 70 % of each data set to fit on, 30 % to judge by (seeds "
        f"{', '.join(map(str, study.seeds))}). {study.questions:,} questions make {study.units:,} units: those with "
        "the same prompt or a common rule are never on both sides. Macro accuracy averages data sets, micro accuracy "
        f"questions. Intervals are paired percentile bootstraps of {study.draws:,} draws of units within each data "
        "set; they speak of other questions from the same data sets, not of other data sets. The router is that of "
        "the Avengers (arXiv 2505.19797); it knows which data set each question it is fitted on comes from.</p>"
    )


def _absent(title: str, why: str) -> str:
    return f'<h2>{title}</h2>\n<p class="soft">{why}</p>'


def _figure(svg: str, caption: str) -> str:
    return f"<figure>{svg}<figcaption>{html.escape(caption)}</figcaption></figure>"


def table(
    caption: str, heads: Sequence[str], rows: Sequence[Sequence[str]], best: Sequence[Collection[int]] = ()
) -> str:
    """Write a table that scrolls in itself where it is too wide; the first cell of a row heads it.

    `best` names the columns of each row that are set in bold.
    """
    head = "".join(f'<th scope="col">{html.escape(text)}</th>' for text in heads)
    lines = []
    for row, strong in zip(rows, best or [()] * len(rows), strict=True):
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


def _best_of(values: Sequence[float], places: Sequence[int]) -> list[int]:
    """Return the places of the values that look as large as the largest."""
    return [place for value, place in zip(values, places, strict=True) if f"{value:.1f}" == f"{max(values):.1f}"]


def _bounds(interval: Interval) -> str:
    return f"{interval.low:.1f} to {interval.high:.1f}"


# --- drawings ---


def standing_bars(standings: Sequence[Standing]) -> str:
    """Draw macro accuracy with its interval, a bar for each way of choosing, of the members alone the best twelve."""
    alone = sorted((each for each in standings if each.role == "member"), key=lambda each: -each.macro.mean)
    standings = [*(each for each in standings if each.role != "member"), *alone[:MOST_DRAWN]]

    def paint(figure: Figure) -> None:
        axes = figure.add_subplot()
        places = np.arange(len(standings))[::-1]
        for place, each in zip(places, standings, strict=True):
            colour, alpha = _ROLE_COLOURS.get(each.role, _COLOURS[7]), 0.45 if each.role == "member" else 0.9
            axes.barh(place, each.macro.mean, 0.68, color=colour, alpha=alpha)
            axes.plot([each.macro.low, each.macro.high], [place, place], color=INK, linewidth=1.2)
            axes.text(each.macro.high + 1, place, f"{each.macro.mean:.1f}", va="center", fontsize=8)
        axes.set_yticks(places, [_shortened(each.name) for each in standings])
        axes.set_ylim(-0.6, len(standings) - 0.4)
        axes.set_xlim(0, min(112, max(each.macro.high for each in standings) + 10))
        axes.set_xlabel("macro accuracy, %")
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x")

    told = "; ".join(f"{each.name} {each.macro.mean:.1f}" for each in standings)
    return draw("standing", f"Bars of macro accuracy in percent: {told}.", 0.7 + 0.27 * len(standings), paint)


def cost_curve(costs: Costs) -> str:
    """Draw accuracy against seconds: the router's curve over `prefer`, the members as points."""

    def paint(figure: Figure) -> None:
        axes = figure.add_subplot()
        seconds, accuracy = ([getattr(each, name) for each in costs.router] for name in ("seconds", "accuracy"))
        axes.plot(seconds, accuracy, ".-", color=INK, linewidth=1.2, label="router, prefer 0 to 1")
        for end, each in ((0, costs.router[0]), (1, costs.router[-1])):
            axes.annotate(str(end), (each.seconds, each.accuracy), (5, -10), textcoords="offset points", fontsize=8)
        for column, each in enumerate(costs.members):
            colour, marker = _COLOURS[column % len(_COLOURS)], _MARKERS[column % len(_MARKERS)]
            axes.plot(each.seconds, each.accuracy, marker, color=colour, markersize=7, label=_shortened(each.name))
        axes.set_xlim(left=0)
        axes.set_xlabel("mean seconds of an answer")
        axes.set_ylabel("macro accuracy, %")
        axes.grid()
        figure.legend(loc="outside lower center", ncols=2, fontsize=8)

    told = "; ".join(f"{each.name} {each.accuracy:.1f} % in {each.seconds:.2g} s" for each in costs.members)
    fast, best = costs.router[0], costs.router[-1]
    alt = (
        f"Accuracy against seconds. Router: {fast.accuracy:.1f} % in {fast.seconds:.2g} s at prefer 0, "
        f"{best.accuracy:.1f} % in {best.seconds:.2g} s at prefer 1. Members: {told}."
    )
    return draw("costs", alt, 3.4 + 0.1 * len(costs.members), paint)


def reliability_diagram(found: Reliability) -> str:
    """Draw how many percent of votes are right against the winner's share of them; on the diagonal is honest."""

    def paint(figure: Figure) -> None:
        top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
        top.plot([0, 100], [0, 100], "--", color=GRID, linewidth=1)
        shares, right = [each.agreement for each in found.bins], [each.right for each in found.bins]
        top.plot(shares, right, "o-", color=_COLOURS[0], linewidth=1.6)
        top.set_ylim(-2, 102)
        top.set_ylabel("right, %")
        middles = [(each.low + each.high) / 2 for each in found.bins]
        bottom.bar(middles, [each.votes for each in found.bins], 8, color=_COLOURS[7])
        bottom.set_xlim(0, 102)
        bottom.set_xlabel("share of votes for the winning answer, %")
        bottom.set_ylabel("votes")
        for axes in (top, bottom):
            axes.grid(axis="y")

    told = "; ".join(f"agreement {each.agreement:.0f}, right {each.right:.0f}" for each in found.bins)
    return draw("reliability", f"Reliability diagram in percent: {told}.", 4.0, paint)


def draw(name: str, alt: str, height: float, paint: Callable[[Figure], None]) -> str:
    """Let `paint` draw on an empty figure of that height in inches and return it as an `<svg>` element.

    `name` keeps the identifiers of several drawings on one page apart. The same drawing gives the same text.

    Raises:
        MissingExtra: matplotlib is not installed.

    """
    require_matplotlib()
    import matplotlib
    from matplotlib.figure import Figure

    content = io.StringIO()
    with matplotlib.rc_context({**_DRAWING, "svg.hashsalt": name}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # the reader's browser chooses the font
        figure = Figure(figsize=(_WIDTH, height), layout="constrained")
        paint(figure)
        figure.savefig(content, format="svg", metadata={"Date": None})
    return _for_page(content.getvalue(), name, alt)


def _for_page(svg: str, name: str, alt: str) -> str:
    """Cut a document down to an element: no prolog, no links, no fixed size, no colours of its own."""
    body = svg[svg.index("<svg") :]
    box = re.search(r'viewBox="([^"]+)"', body)
    inside = body[body.index(">") + 1 : body.rindex("</svg>")]
    inside = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->\s*", "", inside, flags=re.DOTALL)
    used = set(re.findall(r'(?:href="#|url\(#)([^")]+)', inside))
    inside = re.sub(r' id="([^"]+)"', lambda found: f' id="{name}-{found[1]}"' if found[1] in used else "", inside)
    inside = re.sub(r'xlink:href="#', f'href="#{name}-', inside).replace("url(#", f"url(#{name}-")
    for drawn, shown in _IN_PAGE.items():
        inside = inside.replace(drawn, shown)
    inside = re.sub(r"(font: (?:bold )?[\d.]+px) [^;\"]+", r"\1 sans-serif", inside)
    view = box[1] if box else "0 0 1 1"
    return f'<svg viewBox="{view}" role="img" aria-label="{html.escape(alt)}">{inside.strip()}</svg>'


def _shortened(name: str) -> str:
    """Cut the middle out of a long name, which its table has whole; both ends tell members apart."""
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME // 2]}…{name[1 - _LONGEST_NAME // 2 :]}"
