"""The style of the drawings, and the ways out: SVG in the page's colours, PNG on white."""

import html
import io
import re
import warnings
from dataclasses import dataclass
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from pipeline.core import files

INK = "#1d2126"  # of every line and letter that is no series; the page's own ink in SVG
BLUE, ORANGE, TEAL, ROSE, VIOLET, OCHRE = (
    "#2f86d1",
    "#d9730d",
    "#129c88",
    "#c95691",
    "#8a6fd6",
    "#a5871b",
)
# of middling lightness (3:1 or more on white and on near-black), distinct to colour-blind readers
SERIES = [BLUE, ORANGE, TEAL, ROSE, VIOLET, OCHRE]
DASHES = ["-", "--", ":", "-."]

matplotlib.rcParams.update(
    {
        "axes.axisbelow": True,
        "axes.edgecolor": INK,
        "axes.facecolor": "none",
        "axes.grid": True,
        "axes.labelcolor": INK,
        "axes.linewidth": 0.6,
        "axes.spines.right": False,
        "axes.spines.top": False,
        "axes.titlesize": 10,
        "figure.dpi": 110,
        "figure.facecolor": "none",
        "font.size": 9.5,
        "grid.alpha": 0.16,
        "grid.color": INK,
        "grid.linewidth": 0.6,
        "legend.fontsize": 8.5,
        "legend.frameon": False,
        "lines.linewidth": 1.6,
        "svg.fonttype": "none",  # letters stay letters: small, and in the page's typeface
        "text.color": INK,
        "text.parse_math": False,  # a class may be called "$x$"
        "xtick.color": INK,
        "ytick.color": INK,
    }
)


def canvas(width: float, height: float, columns: int = 1, rows: int = 1):
    """A figure of inches, and its axes: one, or an array (rows, columns)."""
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    return figure, axes[0, 0] if rows == columns == 1 else axes


def style(number: int) -> dict:
    """Colour and dashes of the so-and-so-many-th line; 24 differ."""
    return {
        "color": SERIES[number % len(SERIES)],
        "linestyle": DASHES[number // len(SERIES) % len(DASHES)],
    }


def png(path: Path, figure: Figure) -> None:
    """Write a picture as a file of its own."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")  # a box stands for a letter, no more
        figure.savefig(buffer, format="png", facecolor="white", metadata={"Software": None})
    files.write_bytes(path, buffer.getvalue())


@dataclass(frozen=True)
class Drawing:
    """A figure as part of the page.

    Attributes:
        label: what it shows, for those who cannot see it.
        width: at most, px.
        view: the SVG's view box.
        body: what stands within its `svg` element, markup.
    """

    label: str
    width: int
    view: str
    body: str


def svg(figure: Figure, name: str, label: str) -> Drawing:
    """A figure in the page's colours.

    Args:
        name: unique on the page; goes before every id, or one figure would use another's parts.
        label: what it shows.
    """
    buffer = io.StringIO()
    none = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    with matplotlib.rc_context({"svg.hashsalt": name}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")
        figure.savefig(buffer, format="svg", metadata=none)
    text = re.sub(r"<metadata>.*?</metadata>", "", buffer.getvalue(), flags=re.DOTALL)
    start, body = re.search(r"(<svg[^>]*>)(.*)</svg>", text, re.DOTALL).groups()
    # within tags only, so that a class called `id="` or by the ink's number keeps its name
    body = re.sub(r"<[^>]*>", lambda element: _own(element[0], html.escape(name)), body)
    view = re.search(r'viewBox="([^"]*)"', start)[1]
    return Drawing(label, round(figure.get_figwidth() * 96), view, body)


def _own(element: str, name: str) -> str:
    element = element.replace(INK, "currentColor")
    element = element.replace(' id="', f' id="{name}-').replace('href="#', f'href="#{name}-')
    return element.replace("url(#", f"url(#{name}-")
