"""`report/html/index.html`: all that was measured as one page that needs no network.

Sections compute plain values, `templates/` show them. No scripts and no outside files; a policy in
the page's head forbids both, besides the escaping of every name that comes from data.
"""

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from pipeline.core import files
from pipeline.report import (
    confidence,
    confusion,
    gallery,
    generations,
    lineage,
    origins,
    pairs,
    remembered,
)
from pipeline.report.formats import FILTERS
from pipeline.report.headline import headline
from pipeline.report.results import Results

# In the order of the page: id and template, the link's text, what computes its values (or None).
SECTIONS = {
    "lineage": ("Lineage", lineage.section),
    "accuracy": ("Accuracy", generations.accuracy),
    "pseudo-labels": ("Pseudo-labels", generations.pseudo_labels),
    "meta-pseudo-labels": ("Meta Pseudo Labels", pairs.section),
    "tasks": ("Tasks", remembered.section),
    "confusion": ("Confusion", confusion.confusion),
    "classes": ("Classes", confusion.by_class),
    "gallery": ("Images", gallery.section),
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
    page = environment().get_template("page.html")
    text = page.render(head=headline(results), sections=sections, links=links)
    files.write_text(path, text)


def environment() -> Environment:
    """Templates that escape all they are given, and fail on what they are not given."""
    templates = Environment(
        loader=FileSystemLoader(Path(__file__).with_name("templates")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    templates.filters |= FILTERS
    return templates
