"""Drawing: what all figures of a report share."""

from __future__ import annotations

import html
import io
import re
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING

from avengers_edge.errors import MissingExtra

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STYLE = """
:root { color-scheme: light dark; --ink: #1c1e21; --soft: #5b6068; --paper: #ffffff; --panel: #f5f6f8; --grid: #b9bec6;
  --accent: #2f74b5; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e8eb; --soft: #a2a8b2; --paper: #15171a; --panel: #1e2126;
  --grid: #4a505a; --accent: #74b1e8; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem 1rem 4rem; max-width: 60rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; line-height: 1.2; margin: 0 0 .25rem; }
h2 { font-size: 1.2rem; margin: 2.5rem 0 .5rem; padding-top: .75rem; border-top: 1px solid var(--grid); }
h3 { font-size: 1rem; margin: 1.25rem 0 .25rem; }
p { margin: .5rem 0; max-width: 46rem; }
.soft, figcaption, caption { color: var(--soft); font-size: .875rem; }
.verdict { max-width: none; background: var(--panel); border-left: 4px solid var(--accent); padding: .75rem 1rem; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(9rem, 1fr)); gap: .75rem; padding: 0;
  list-style: none; }
.tiles li { background: var(--panel); padding: .6rem .8rem; border-radius: .4rem; }
.tiles b { display: block; font-size: 1.4rem; line-height: 1.2; font-variant-numeric: tabular-nums; }
figure { margin: 1rem 0; }
figure svg { display: block; width: 100%; max-width: 40rem; height: auto; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 24rem), 1fr)); gap: 0 1.5rem; }
.knobs { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 17rem), 1fr)); gap: 0 1.5rem; }
.wide { overflow-x: auto; }
.wide:focus-visible { outline: 2px solid var(--accent); }
table { border-collapse: collapse; font-size: .875rem; font-variant-numeric: tabular-nums; overflow-wrap: normal;
  margin: .5rem 0; }
caption { text-align: left; padding-bottom: .25rem; }
th, td { padding: .25rem .6rem; text-align: right; border-bottom: 1px solid var(--grid); white-space: nowrap; }
th { font-weight: 600; }
thead th { white-space: normal; vertical-align: bottom; min-width: 4.5rem; }
tbody th, thead th:first-child { text-align: left; }
tbody th { font-weight: 400; }
.best { font-weight: 700; }
blockquote { margin: .25rem 0; padding-left: .75rem; border-left: 3px solid var(--grid); font-size: .875rem; }
@media print {
  :root { color-scheme: light; --ink: #000; --soft: #444; --paper: #fff; --panel: #f2f2f2; --grid: #999;
    --accent: #2f74b5; }
  body { max-width: none; padding: 0; font-size: 10pt; }
  figure, table, .verdict, .tiles { break-inside: avoid; }
  h2, h3 { break-after: avoid; }
  figure svg { max-width: 14cm; }
  .wide { overflow: visible; }
}
"""


INK, PAPER, GRID = "#010203", "#fcfdfe", "#818283"
_IN_PAGE = {INK: "var(--ink)", PAPER: "var(--paper)", GRID: "var(--grid)"}

COLOURS = ("#3b82c4", "#d97a1e", "#2a9d6f", "#a56cc1", "#d1495b", "#2398a8", "#8f8a1f", "#7d7f87")
"""Legible on white and on near black; together with `MARKERS` also to those who do not see colours."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")

WIDTH = 5.0
"""Inches; a phone shows 80 % of it, so that text stays legible without scrolling."""
MOST_DRAWN = 12
"""Members in a drawing; the tables have all."""
_LONGEST_NAME = 30  # characters

_STYLE = {
    "axes.edgecolor": GRID,
    "axes.facecolor": "none",
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
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


def draw(name: str, alt: str, width: float, height: float, paint: Callable[[Figure], None]) -> str:
    """Let `paint` draw on an empty figure of that size in inches and give it as an `<svg>` element.

    `name` keeps the identifiers of several drawings on one page apart. The same drawing gives the same text.

    Raises:
        MissingExtra: matplotlib is not installed.

    """
    require_matplotlib()
    import matplotlib
    from matplotlib.figure import Figure

    content = io.StringIO()
    with matplotlib.rc_context({**_STYLE, "svg.hashsalt": name}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # the reader's browser chooses the font
        figure = Figure(figsize=(width, height), layout="constrained")
        paint(figure)
        figure.savefig(content, format="svg", metadata={"Date": None})
    return _for_page(content.getvalue(), name, alt)


def shortened(name: str) -> str:
    """Cut the middle out of a long name, which its table has whole; both ends tell members apart."""
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME // 2]}…{name[1 - _LONGEST_NAME // 2 :]}"


def mark_of(place: int) -> tuple[str, str]:
    """Give the colour and the marker of the member in that place."""
    return COLOURS[place % len(COLOURS)], MARKERS[place % len(MARKERS)]


def _for_page(svg: str, name: str, alt: str) -> str:
    """Cut a document down to an element: no prolog, no links, no fixed size, no colours of its own."""
    body = svg[svg.index("<svg") :]
    box = re.search(r'viewBox="([^"]+)"', body)
    inside = body[body.index(">") + 1 : body.rindex("</svg>")]
    inside = re.sub(r"<metadata>.*?</metadata>", "", inside, flags=re.DOTALL)
    inside = re.sub(r"<!--.*?-->\s*", "", inside, flags=re.DOTALL)
    used = set(re.findall(r'(?:href="#|url\(#)([^")]+)', inside))
    inside = re.sub(r' id="([^"]+)"', lambda found: f' id="{name}-{found[1]}"' if found[1] in used else "", inside)
    inside = re.sub(r'xlink:href="#', f'href="#{name}-', inside)
    inside = inside.replace("url(#", f"url(#{name}-")
    for drawn, shown in _IN_PAGE.items():
        inside = inside.replace(drawn, shown)
    inside = re.sub(r"(font: (?:bold )?[\d.]+px) [^;\"]+", r"\1 sans-serif", inside)
    view = box[1] if box else "0 0 1 1"
    return f'<svg viewBox="{view}" role="img" aria-label="{html.escape(alt)}">{inside.strip()}</svg>'
