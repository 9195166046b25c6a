"""How the pictures look, and the two ways out: PNG on white, SVG that takes the page's colours."""

from __future__ import annotations

import io
import re
import warnings
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from pipeline.core import files
from pipeline.report.markup import Html, tag

INK = "#1d2126"  # of every line and letter that is no series; the page's own ink in SVG
BLUE, ORANGE, TEAL, ROSE, VIOLET, OCHRE = (
    "#2f86d1",
    "#d9730d",
    "#129c88",
    "#c95691",
    "#8a6fd6",
    "#a5871b",
)
# of middling lightness (3:1 or more on white and on near-black), told apart by colour-blind readers
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
    """Write a picture for those who open the folder."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")  # a box stands for a letter, no more
        figure.savefig(buffer, format="png", facecolor="white", metadata={"Software": None})
    files.write_bytes(path, buffer.getvalue())


def svg(figure: Figure, name: str, told: str) -> Html:
    """A picture as part of the page.

    Args:
        name: unique on the page; goes before every id, or one picture would use another's parts.
        told: what it shows, for those who cannot see it.
    """
    buffer = io.StringIO()
    none = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    with matplotlib.rc_context({"svg.hashsalt": name}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")
        figure.savefig(buffer, format="svg", metadata=none)
    width = figure.get_figwidth() * 96
    text = re.sub(r"<metadata>.*?</metadata>", "", buffer.getvalue(), flags=re.DOTALL)
    text = text[text.index("<svg") :]
    # within tags only, so that a class called `id="` or by the ink's number keeps its name
    text = re.sub(r"<[^>]*>", lambda found: _own(found[0], name), text)
    head = tag("svg", role="img", aria_label=told, style=f"max-width:{width:.0f}px")
    size = re.search(r'viewBox="[^"]*"', text)[0]
    body = text[text.index(">") + 1 :]
    return Html(f"{head[: head.index('>')]} {size}>{body}")


def _own(element: str, name: str) -> str:
    element = element.replace(INK, "currentColor")
    element = element.replace(' id="', f' id="{name}-').replace('href="#', f'href="#{name}-')
    return element.replace("url(#", f"url(#{name}-")
