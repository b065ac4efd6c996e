"""One matplotlib figure as SVG that fits into a page: in the page's colours and fonts, and with an alternative text.

Colours of ink, paper and grid are stand-ins while matplotlib draws, and the page's own style decides what they become,
so that one drawing serves light, dark and print.
"""

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
