"""`report/html/index.html`: all that was measured as one page that needs no network.

Sections compute plain values, `templates/` show them.
"""

from pathlib import Path
from typing import Any

from pipeline.core import files
from pipeline.pages.render import environment
from pipeline.report import (
    confidence,
    confusion,
    data,
    gallery,
    generations,
    lineage,
    masks,
    origins,
    pairs,
    remembered,
    sizes,
)
from pipeline.report.headline import headline
from pipeline.report.results import Results

TEMPLATES = Path(__file__).with_name("templates")
# In the order of the page: id and template, the link's text, what computes its values (or None).
SECTIONS = {
    "lineage": ("Lineage", lineage.section),
    "data": ("Data", data.section),
    "accuracy": ("Accuracy", generations.accuracy),
    "pseudo-labels": ("Pseudo-labels", generations.pseudo_labels),
    "meta-pseudo-labels": ("Meta Pseudo Labels", pairs.section),
    "sizes": ("Sizes", sizes.section),
    "tasks": ("Tasks", remembered.section),
    "confusion": ("Confusion", confusion.confusion),
    "classes": ("Classes", confusion.by_class),
    "gallery": ("Images", gallery.section),
    "masks": ("Images", masks.section),
    "calibration": ("Confidence", confidence.section),
    "curves": ("Curves", origins.curves),
    "origins": ("Origins", origins.origins),
}


def compute(results: Results) -> dict[str, Any]:
    """The values of every section that has something to show, by its id."""
    made = {name: of(results) for name, (_, of) in SECTIONS.items()}
    return {name: values for name, values in made.items() if values is not None}


def write(path: Path, results: Results, sections: dict[str, Any]) -> None:
    """Write the page; equal inputs give equal bytes, but for how long the stages took."""
    links = {name: SECTIONS[name][0] for name in sections}
    page = environment(TEMPLATES).get_template("page.html")
    text = page.render(head=headline(results), sections=sections, links=links)
    files.write_text(path, text)
