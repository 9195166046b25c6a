"""Val images worth a look: what the model is sure of, where it doubts, what it gets wrong.

Val and not test, so that looking at mistakes does not spend the test images.
"""

from __future__ import annotations

import base64
import io

import numpy as np
import torch
from torch import Tensor

from pipeline.report.calibration import softmax
from pipeline.report.markup import Html, percent, section, tag
from pipeline.report.measure import Measured

SHOWN = 10  # images a group
LARGEST = 96  # px; larger images are averaged down


def gallery(measured: dict[str, Measured], name: str) -> Html:
    """Four groups of images as model `name` sees them."""
    seen = measured[name].seen["val"]
    probs = softmax(seen.logits.double().numpy())
    confidence, labels = probs.max(1), seen.labels.numpy()
    fails, looks = times_wrong(measured, name)
    groups = [
        (
            "Most confident",
            "The surest image of each answer: what the model takes for typical.",
            surest(probs),
        ),
        ("Most doubtful", "The lowest top probability.", np.argsort(confidence, kind="stable")),
        (
            "Most often wrong",
            "Wrong in the most models, then the least probability of the true class.",
            most_often(fails, probs[np.arange(len(labels)), labels]),
        ),
        (
            "Confidently wrong",
            f"The highest probability of a wrong answer, in {name}.",
            confidently_wrong(probs, labels),
        ),
    ]
    return section(
        "gallery",
        "Images worth a look",
        tag(
            "p",
            f"Val images, as {name} sees them: its answer, what it is where that is wrong, and how "
            "probable it finds each. “Wrong in 2 of 5” counts the models that know the task of "
            "the image.",
        ),
        (
            [
                tag("h3", title, tag("span", f" {told}")),
                _tiles(measured[name], probs, rows[:SHOWN], fails, looks),
            ]
            for title, told, rows in groups
        ),
    )


def surest(probs: np.ndarray) -> np.ndarray:
    """The surest image of each answer, surest first, then the second of each, and so on.

    Args:
        probs: (N, K).

    Returns:
        rows (N,).
    """
    confidence, answer = probs.max(1), probs.argmax(1)
    order = np.argsort(-confidence, kind="stable")
    rank = np.empty(len(order), dtype=int)
    for c in np.unique(answer):
        rank[order[answer[order] == c]] = np.arange((answer == c).sum())
    return np.lexsort((-confidence, rank))


def most_often(fails: np.ndarray, true_prob: np.ndarray) -> np.ndarray:
    """Rows that some model gets wrong, those that most do first."""
    order = np.lexsort((true_prob, -fails))
    return order[fails[order] > 0]


def confidently_wrong(probs: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Rows that are wrong, the surest first."""
    order = np.argsort(-probs.max(1), kind="stable")
    return order[probs.argmax(1)[order] != labels[order]]


def times_wrong(measured: dict[str, Measured], name: str) -> tuple[np.ndarray, np.ndarray]:
    """For each val image of model `name`: how many models get it wrong, of how many that know its
    task, both (N,)."""
    mine = measured[name].seen["val"]
    fails, looks = np.zeros((2, len(mine.labels)), dtype=int)
    for model in measured.values():
        seen = model.seen["val"]
        for task in dict.fromkeys(seen.task.tolist()):
            ours, theirs = mine.task == task, seen.task == task
            if ours.sum() == theirs.sum():
                looks[ours] += 1
                fails[ours] += ~seen.right[theirs]
    return fails, looks


def _tiles(
    model: Measured, probs: np.ndarray, rows: np.ndarray, fails: np.ndarray, looks: np.ndarray
) -> Html:
    if not len(rows):
        return tag("p", "None.", cls="note")
    return tag(
        "div",
        (_tile(model, row, probs[row], fails[row], looks[row]) for row in rows.tolist()),
        cls="tiles images",
    )


def _tile(model: Measured, row: int, probs: np.ndarray, fails: int, looks: int) -> Html:
    seen, classes = model.seen["val"], model.classes
    true, said = int(seen.labels[row]), int(probs.argmax())
    right = true == said
    return tag(
        "figure",
        tag("img", src=data_uri(seen.images[row]), alt=classes[true], cls="pixels"),
        tag(
            "figcaption",
            _line("✓ " if right else "✗ ", tag("b", classes[said]), probs[said]),
            None if right else _line("is ", classes[true], probs[true]),
            tag("span", f"wrong in {fails} of {looks}") if fails else None,
        ),
        cls="right" if right else "wrong",
        title=f"true: {classes[true]}, answer: {classes[said]}",
    )


def _line(mark: str, name: object, prob: float) -> Html:
    return tag("span", tag("span", mark, name), tag("span", percent(prob, 0)), cls="line")


def data_uri(image: Tensor) -> str:
    """uint8 (C, H, W) as a PNG in an address; of other than 1 or 3 channels, the first three or
    their mean."""
    from PIL import Image

    if max(image.shape[1:]) > LARGEST:
        scale = LARGEST / max(image.shape[1:])
        size = [max(1, round(side * scale)) for side in image.shape[1:]]
        small = torch.nn.functional.adaptive_avg_pool2d(image.float(), size)
        image = small.round().to(torch.uint8)
    if image.shape[0] >= 3:
        pixels = image[:3].permute(1, 2, 0)
    else:
        pixels = image.float().mean(0).round().to(torch.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels.contiguous().numpy()).save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
