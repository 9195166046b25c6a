"""`report/html/index.html`: all that was measured as one page that needs no network.

No scripts and no outside files; a policy in its head forbids both, beside the escaping of every
name that comes from data.
"""

from __future__ import annotations

from pathlib import Path

from pipeline.core import files
from typing import Any as Params
from pipeline.report import (
    confidence,
    confusion,
    gallery,
    generations,
    headline,
    lineage,
    origins,
    pairs,
    remembered,
)
from pipeline.report.gate import Verdict
from pipeline.report.markup import Html, join, tag
from pipeline.report.measure import LabelQuality, Measured

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
LINKS = {
    "lineage": "Lineage",
    "accuracy": "Accuracy",
    "pseudo-labels": "Pseudo-labels",
    "meta-pseudo-labels": "Meta Pseudo Labels",
    "tasks": "Tasks",
    "confusion": "Confusion",
    "classes": "Classes",
    "gallery": "Images",
    "calibration": "Confidence",
    "curves": "Curves",
    "origins": "Origins",
}


def write(
    path: Path,
    params: Params,
    measured: dict[str, Measured],
    quality: dict[str, LabelQuality],
    metrics: dict[str, float],
    verdict: Verdict,
    champion: str | None,
) -> None:
    """Write the page; equal inputs give equal bytes, but for how long the stages took.

    Args:
        path: of the HTML file.
        measured: every model that params name, parents before children.
        quality: of the pseudo-labels of each generation.
        metrics: `measure.metrics` of these.
        verdict: the gate's decision.
        champion: one sentence on the champion; None where nothing is registered.
    """
    sections = [
        lineage.drawn(params, measured, quality, verdict.ships),
        generations.accuracy(params, measured, metrics),
        generations.pseudo_labels(params, measured, quality),
        pairs.pairs(params, measured),
        remembered.tasks(params, measured, metrics),
        confusion.confusion(params, measured, verdict),
        confusion.by_class(measured, verdict.ships),
        gallery.gallery(measured, verdict.ships),
        confidence.confidence(params, measured, verdict),
        origins.curves(measured),
        origins.origins(params, measured),
    ]
    head = headline.headline(params, measured, verdict, champion)
    title = f"{verdict.ships} ships · Lineage"
    files.write_text(path, whole(title, head, [s for s in sections if s is not None]))


def whole(title: str, head: Html, sections: list[Html]) -> str:
    """The document round its parts."""
    style = Path(__file__).with_name("page.css").read_text(encoding="utf-8")
    there = [name for name in LINKS if any(f' id="{name}"' in part[:60] for part in sections)]
    return "<!doctype html>\n" + tag(
        "html",
        tag(
            "head",
            tag("meta", charset="utf-8"),
            tag("meta", http_equiv="Content-Security-Policy", content=POLICY),
            tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
            tag("meta", name="color-scheme", content="light dark"),
            tag("title", title),
            tag("style", Html(style)),
        ),
        tag(
            "body",
            head,
            tag("nav", (tag("a", LINKS[name], href=f"#{name}") for name in there)),
            tag("main", join(sections)),
        ),
        lang="en",
    )
